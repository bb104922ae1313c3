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
pub mod tally;
pub mod target;
pub mod window;

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    net::IpAddr,
    rc::Rc,
};

use smol_str::SmolStr;

use crate::{
    config::LiveChannel,
    hls::parts::Cadence,
    limits::BROKEN_STREAM_MS_MAX,
    store::{Record, buffer::BufferPool, ring::Ring},
    units::{Millis, Now, Ticks90k, UnixMillis, UnixSecs},
};
use audience::Audience;
use flash::FlashState;
use ingest::{Carry, Counts, Ingest, Notice, Stat, Unsupported, VideoFragment};
use live::{Publisher, PublisherId, Refused, Seat, Session};
use rates::{Rate, Rates};
use recorder::{Job, Recorder};
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

    /// All of them, in the order of the configuration.
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
    told: (u64, Option<usize>, bool),
}

/// How a channel's ring stands.
#[derive(Debug)]
enum Storage {
    /// The flash thread is opening or making it.
    Opening {
        /// How far it is, where making it takes time.
        making: Option<Making>,
    },
    /// It can be read and written.
    Ready(Box<Recorder>),
    /// It cannot be used. The state of the flash says why.
    Failed,
}

/// How far a ring is that cannot be reserved at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Making {
    /// Part that is done, in percent.
    pub percent: u64,
    /// When it will be ready if it goes on like this, in seconds from now.
    pub left_s: u64,
}

impl fmt::Display for Making {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, left_s } = self;
        match left_s {
            0..120 => write!(f, "{percent} % done, ready in about {left_s} s"),
            _ => write!(f, "{percent} % done, ready in about {} min", left_s.div_ceil(60)),
        }
    }
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

    // ---- Storage ----

    /// Its ring is open; perhaps anew, because it failed.
    pub fn opened(&mut self, ring: Ring, now: Now) {
        self.flash.is_open();
        if let Storage::Ready(recorder) = &mut self.storage {
            self.flash.counts_mut().reopened += 1;
            recorder.resume(ring);
            self.rendered = None;
            return;
        }
        if ring.history().len() > 0 {
            self.carry = Carry::from_earlier_run();
        }
        self.ends_at = Some(now.mono.plus(BROKEN_STREAM_MS_MAX));
        self.storage = Storage::Ready(Box::new(Recorder::new(
            ring,
            frag_duration_s(&self.config),
            self.part_target(),
        )));
    }

    /// Its ring is being made. `true`: a tenth more than when the log was told last.
    pub fn opening(&mut self, making: Making) -> bool {
        let tenth = match &self.storage {
            Storage::Opening { making: Some(making) } => making.percent / 10,
            // A ring that is made anew: what was recorded on the old one can still be seen.
            Storage::Ready(_) => return false,
            Storage::Opening { making: None } | Storage::Failed => 0,
        };
        self.storage = Storage::Opening { making: Some(making) };
        making.percent / 10 > tenth
    }

    /// Its ring cannot be used. `true`: that is news.
    pub fn failed_to_open(&mut self, why: String, now: Now) -> bool {
        if self.recorder().is_none() {
            self.storage = Storage::Failed;
        }
        self.flash.fails(why, now.mono)
    }

    /// Its flash failed: what was not synced is lost. `true`: that is news.
    pub fn flash_failed(
        &mut self,
        why: String,
        synced_below: u64,
        pool: &mut BufferPool,
        now: Now,
    ) -> bool {
        if let Some(recorder) = self.recorder_mut() {
            recorder.fail(synced_below, pool);
        }
        self.flash.counts_mut().failures += 1;
        self.flash.fails(why, now.mono)
    }

    /// Whether its ring is to be opened anew. If so, it counts as closed from here on.
    pub fn take_retry(&mut self, pool: &mut BufferPool, now: Now) -> bool {
        let is_due = self.flash.take_retry(now.mono);
        if is_due && let Some(recorder) = self.recorder_mut() {
            recorder.go_offline(pool);
        }
        is_due
    }

    /// A segment was read and is not what was sealed: nobody is sent it any more.
    pub fn spoil(&mut self, sequence: u64) {
        if self.recorder_mut().is_some_and(|recorder| recorder.spoil(sequence)) {
            self.flash.counts_mut().segments_damaged += 1;
        }
    }

    /// How its flash does.
    pub const fn flash(&self) -> &FlashState {
        &self.flash
    }

    /// To be told how its flash does.
    pub const fn flash_mut(&mut self) -> &mut FlashState {
        &mut self.flash
    }

    /// Whether its ring is on the way, so that what is asked for may be there in a moment.
    pub const fn is_opening(&self) -> bool {
        matches!(self.storage, Storage::Opening { .. })
    }

    /// Whether its ring is being made, which takes time.
    pub const fn is_making(&self) -> bool {
        matches!(self.storage, Storage::Opening { making: Some(_) })
    }

    /// What keeps its ring from being used, or what is wrong with it, in words.
    pub fn trouble(&self) -> Option<String> {
        match &self.storage {
            Storage::Opening { making: None } => Some(String::from("the ring is being opened")),
            Storage::Opening { making: Some(making) } => {
                Some(format!("the ring is being made: {making}"))
            }
            Storage::Ready(_) | Storage::Failed => self.flash.trouble().map(str::to_owned),
        }
    }

    /// The newest time that its ring has seen: the end of the last segment.
    pub fn newest_end(&self) -> Option<UnixMillis> {
        self.recorder()?.ring().history().next_back().map(Record::end)
    }

    /// Its recorder, once its ring is open.
    pub const fn recorder(&self) -> Option<&Recorder> {
        match &self.storage {
            Storage::Ready(recorder) => Some(recorder),
            _ => None,
        }
    }

    /// Its recorder, to be told what the flash did.
    pub const fn recorder_mut(&mut self) -> Option<&mut Recorder> {
        match &mut self.storage {
            Storage::Ready(recorder) => Some(recorder),
            _ => None,
        }
    }

    /// What has to be written, oldest first.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        self.recorder_mut().map(|recorder| recorder.take_jobs().collect()).unwrap_or_default()
    }

    /// Whether segments were retired since this was asked last: who reads one must be cut off.
    pub const fn take_retired(&mut self) -> bool {
        match self.recorder_mut() {
            Some(recorder) => recorder.take_retired(),
            None => false,
        }
    }

    /// Segments that were lost and that the log has not been told of; `None`: there is nothing to tell for the moment.
    pub fn take_loss(&mut self, now: Now) -> Option<u64> {
        if let Storage::Ready(recorder) = &mut self.storage {
            self.flash.counts_mut().segments_lost += recorder.take_lost();
        }
        self.flash.take_loss(now.mono)
    }

    /// The flash thread has sealed a segment, in `took_ms`. `true`: the flash works again.
    pub fn sealed(&mut self, sequence: u64, took_ms: u64, now: Now) -> bool {
        let mut works_again = false;
        if let Storage::Ready(recorder) = &mut self.storage
            && let Some(record) = recorder.sealed(sequence, now.mono)
        {
            self.flash.counts_mut().seals.add(took_ms);
            // A gap has no bytes: that it could be put down says little of a card that refuses segments.
            works_again = !record.is_gap && self.flash.works();
            self.listed_at = now.wall.as_secs();
            self.tally.listed(record.is_gap, now.mono);
            if self.seat.session().is_none() {
                // The end of a stream whose publisher has left; a playlist may go 1.5 target durations without news.
                let due = now.mono.plus(1500 * u64::from(record.target_duration_s));
                self.ends_at = self.ends_at.map(|ends_at| ends_at.max(due));
            }
        }
        works_again
    }

    // ---- Publishing ----

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
