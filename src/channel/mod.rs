//! One LiveChannel: who publishes to it, what is recorded, and the window of it that viewers see.
//!
//! It wires media → hls → store and owns that channel's state; it decides nothing about rights. What it is asked to show is
//! shown from the ring's records, so the playlist and the store cannot disagree.

pub mod audience;
pub mod clock;
pub mod flash;
pub mod ingest;
pub mod live;
pub mod parts;
pub mod rates;
pub mod recorder;
mod storage;
pub mod tally;
pub mod target;
pub mod window;

use std::{cell::RefCell, fmt::Write as _, net::IpAddr, rc::Rc};

use smol_str::SmolStr;

use crate::{
    config::LiveChannel,
    hls::parts::Cadence,
    limits::BROKEN_STREAM_MS_MAX,
    store::buffer::BufferPool,
    units::{Millis, Now, Ticks90k, UnixMillis, UnixSecs},
};
use audience::Audience;
use flash::FlashState;
use ingest::{Carry, Counts, Ingest, Notice, Stat, Unsupported, VideoFragment};
use live::{Publisher, PublisherId, Refused, Seat, Session};
use rates::{Rate, Rates};
use recorder::Recorder;
pub use storage::Making;
use storage::Storage;
use tally::Tally;
use window::Rendered;

/// A channel as connections share it on the one engine thread.
pub type SharedChannel = Rc<RefCell<Channel>>;

/// All channels.
#[derive(Debug, Default)]
pub struct Channels(Vec<SharedChannel>);

impl Channels {
    /// The channel of this name in this bucket.
    pub fn find(&self, bucket: &str, name: &str) -> Option<&SharedChannel> {
        self.iter().find(|channel| {
            let channel = channel.borrow();
            channel.bucket == bucket && channel.config.name == name
        })
    }

    /// The channel with this number.
    pub fn by_id(&self, id: u32) -> Option<&SharedChannel> {
        self.iter().find(|channel| channel.borrow().id == id)
    }

    /// All of them, in the order in which they were added: that of the configuration, and behind those what came later.
    pub fn iter(&self) -> impl Iterator<Item = &SharedChannel> {
        self.0.iter()
    }

    /// Adds one.
    pub fn push(&mut self, channel: SharedChannel) {
        self.0.push(channel);
    }

    /// Keeps those that `keep` says.
    pub fn retain(&mut self, keep: impl FnMut(&SharedChannel) -> bool) {
        self.0.retain(keep);
    }
}

/// One LiveChannel.
#[derive(Debug)]
pub struct Channel {
    /// Names it to the flash thread. Never used twice.
    pub id: u32,
    /// The bucket that it is in.
    pub bucket: SmolStr,
    /// Its configuration.
    pub config: LiveChannel,
    storage: Storage,
    flash: FlashState,
    seat: Seat,
    ingest: Option<Ingest>,
    rates: Rates,
    tally: Tally,
    audience: Audience,
    carry: Carry,
    /// The playlist name that the last push asked for.
    pushed_playlist: Option<SmolStr>,
    /// When nobody publishes: from when on the stream counts as ended.
    ends_at: Option<Millis>,
    /// When the last session ended.
    left_at: Option<Millis>,
    listed_at: UnixSecs,
    /// The least first sequence number of the window: what has left it does not come back.
    window_first: u64,
    rendered: Option<Rendered>,
    /// What those who wait for parts were told last: the last segment, the parts of the one behind it, whether somebody publishes.
    told: (u64, Option<(usize, bool)>, bool),
}

/// Why a channel takes no publisher.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotOpen {
    /// By the rules of the channel.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its ring is being opened: to be asked again.
    #[error("the ring is being opened")]
    Opening,
    /// Its ring is not usable.
    #[error("the ring is not ready: {0}")]
    NotReady(String),
}

impl Channel {
    /// A channel whose ring is being opened.
    pub fn new(id: u32, bucket: SmolStr, config: LiveChannel) -> Self {
        Self {
            id,
            bucket,
            config,
            storage: Storage::Opening { making: None },
            flash: FlashState::default(),
            seat: Seat::default(),
            ingest: None,
            rates: Rates::default(),
            tally: Tally::default(),
            audience: Audience::default(),
            carry: Carry::default(),
            pushed_playlist: None,
            ends_at: None,
            left_at: None,
            listed_at: UnixSecs(0),
            window_first: 0,
            rendered: None,
            told: (0, None, false),
        }
    }

    /// `BUCKET/CHANNEL`, for people.
    pub fn name(&self) -> String {
        format!("{}/{}", self.bucket, self.config.name)
    }

    /// The longest part of a segment, where parts are listed.
    fn part_target(&self) -> Option<Ticks90k> {
        let low_latency = self.config.low_latency.as_ref()?;
        Some(Ticks90k::from_millis(low_latency.part_ms.into()))
    }

    /// How the camera keeps time, where segments are to be listed in parts and somebody publishes.
    pub fn cadence(&self) -> Option<Cadence> {
        self.ingest.as_ref()?.cadence()
    }

    /// Lets a publisher in, or says why not. The one who publishes may lose the channel by it.
    pub fn publish(
        &mut self,
        publisher: Publisher,
        pool: &mut BufferPool,
        now: Now,
    ) -> Result<PublisherId, NotOpen> {
        match &self.storage {
            Storage::Ready(_) => {}
            Storage::Opening { making: None } => return Err(NotOpen::Opening),
            Storage::Opening { .. } | Storage::Failed => {
                return Err(NotOpen::NotReady(self.trouble().unwrap_or_default()));
            }
        }
        if self.seat.admits(&publisher, self.config.status, self.config.takeover)? {
            self.cut(pool, now);
        }
        self.pushed_playlist = publisher.playlist_name.as_deref().map(SmolStr::from);
        let away_ms = self.left_at.map_or(0, |left_at| now.mono.since(left_at));
        let carry = std::mem::take(&mut self.carry).after_pause(away_ms);
        let ingest = Ingest::new(self.config.frag_duration_s, carry);
        let frag_duration_s = frag_duration_s(&self.config);
        if let Some(recorder) = self.recorder_mut() {
            recorder.aim_at(frag_duration_s);
        }
        self.ingest = Some(ingest.in_parts(self.part_target()));
        self.rates = Rates::default();
        self.rates.look(0, 0, now.mono);
        self.ends_at = None;
        Ok(self.seat.take(publisher, now))
    }

    /// The encoder's metadata promise AAC, so the first segment may wait for it.
    pub const fn announce_audio(&mut self) {
        if let Some(ingest) = &mut self.ingest {
            ingest.announce_audio();
        }
    }

    /// The next thing about the stream that belongs into the log.
    pub fn notice(&mut self) -> Option<Notice> {
        self.ingest.as_mut()?.notice()
    }

    /// Whether `id` still has the channel.
    pub fn is_published_by(&self, id: PublisherId) -> bool {
        self.seat.session().is_some_and(|session| session.id == id)
    }

    /// Takes part of a video message. Of a publisher that lost the channel nothing is taken.
    pub fn video(
        &mut self,
        id: PublisherId,
        fragment: VideoFragment<'_>,
        pool: &mut BufferPool,
        now: Now,
    ) -> Result<(), Unsupported> {
        match (&mut self.ingest, &mut self.storage) {
            (Some(ingest), Storage::Ready(recorder))
                if self.seat.session().is_some_and(|session| session.id == id) =>
            {
                ingest.video(fragment, &mut recorder.sink(pool, now))
            }
            _ => Ok(()),
        }
    }

    /// Takes an audio message. Of a publisher that lost the channel nothing is taken.
    pub fn audio(
        &mut self,
        id: PublisherId,
        timestamp_ms: u32,
        body: &[u8],
        pool: &mut BufferPool,
        now: Now,
    ) {
        if let (Some(ingest), Storage::Ready(recorder)) = (&mut self.ingest, &mut self.storage)
            && self.seat.session().is_some_and(|session| session.id == id)
        {
            ingest.audio(timestamp_ms, body, &mut recorder.sink(pool, now));
        }
    }

    /// A publisher has left. `is_clean`: it said so; else it may come back, and players are kept waiting for a while.
    pub fn unpublish(&mut self, id: PublisherId, is_clean: bool, pool: &mut BufferPool, now: Now) {
        if self.seat.leave(id, now).is_none() {
            return;
        }
        if let (Some(ingest), Storage::Ready(recorder)) = (self.ingest.take(), &mut self.storage) {
            self.tally.leave(&ingest.counts());
            self.carry = ingest.end(&mut recorder.sink(pool, now));
        }
        self.left_at = Some(now.mono);
        self.ends_at = Some(now.mono.plus(if is_clean { 0 } else { BROKEN_STREAM_MS_MAX }));
    }

    /// Takes the channel from whoever publishes.
    pub fn cut(&mut self, pool: &mut BufferPool, now: Now) {
        if let Some(id) = self.seat.session().map(|session| session.id) {
            self.unpublish(id, false, pool, now);
        }
    }

    /// Who publishes.
    pub const fn session(&self) -> Option<&Session> {
        self.seat.session()
    }

    /// The seat of the one who publishes.
    pub const fn seat(&self) -> &Seat {
        &self.seat
    }

    /// What is known of the stream that arrives.
    pub fn stat(&self) -> Option<Stat> {
        self.ingest.as_ref().map(Ingest::stat)
    }

    /// How many bytes arrive per second; of somebody who publishes.
    pub fn rate(&self) -> Rate {
        self.rates.rate()
    }

    /// What only time changes. To be called once a second.
    pub fn tick(&mut self, now: Now) {
        if let Some(ingest) = &self.ingest {
            let counts = ingest.counts();
            self.rates.look(counts.video_bytes, counts.audio_bytes, now.mono);
        }
    }

    /// What was counted over all sessions.
    pub fn counts(&self) -> Counts {
        self.tally.counts(self.ingest.as_ref().map(Ingest::counts).unwrap_or_default())
    }

    /// When a segment with bytes was listed last, in this run of the daemon.
    pub const fn produced_at(&self) -> Option<Millis> {
        self.tally.produced_at()
    }

    /// By when the next segment is due; `None`: nobody publishes.
    pub fn segment_due(&self) -> Option<Millis> {
        let since = self.seat.session()?.since.mono;
        let target_duration_s = self.recorder().and_then(Recorder::target_duration_s);
        Some(self.tally.due(since, target_duration_s, self.config.frag_duration_s))
    }

    /// `viewer` has fetched the live playlist.
    pub fn fetched(&mut self, viewer: IpAddr, now: Now) {
        let target_duration_s = self.target_duration_s();
        self.audience.fetched(viewer, target_duration_s, now.mono);
    }

    /// How many watch.
    pub fn viewers(&self, now: Now) -> usize {
        self.audience.viewers(self.target_duration_s(), now.mono)
    }

    /// TARGETDURATION, in seconds: as the ring has it, or as the configuration lets expect.
    fn target_duration_s(&self) -> u16 {
        let recorded = self.recorder().and_then(Recorder::target_duration_s);
        recorded.unwrap_or_else(|| frag_duration_s(&self.config))
    }

    /// Takes another configuration, of the same ring.
    pub fn configure(&mut self, config: LiveChannel) {
        self.config = config;
        self.rendered = None;
    }
}

/// Writes a segment's file name: thirteen digits of milliseconds and `.ts`.
pub fn write_segment_name(start: UnixMillis, out: &mut String) {
    let _ = write!(out, "{:013}.ts", start.0);
}

/// FragDuration is 1 to 100 seconds.
fn frag_duration_s(config: &LiveChannel) -> u16 {
    u16::try_from(config.frag_duration_s).unwrap_or(u16::MAX)
}
