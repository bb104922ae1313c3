//! One publish session: FLV tag bodies in, MPEG-TS segments out, for a [`SegmentSink`] to keep.
//!
//! Video flows: of an access unit no more is held than its first bytes, until they tell what kind of picture it is.
//! From there on its fragments become packets as they come, and if it turns out to be broken they are rolled back.
//!
//! **Which tracks a segment lists.** Video always. Audio, if its sequence header has come and, since the segment
//! before began, either that header was new or a frame came; so a track that falls silent is listed for one more segment
//! at most, and one that turns up late is listed from the next key frame on. Either way a discontinuity
//! stands between. An encoder that announced audio before its header came is given [`TRACK_WAIT_MS_MAX`].
//!
//! **What is left out.** Everything before the first key frame. Frames of a configuration that is not in force
//! before the key frame that brings it. A broken access unit, and where it was beyond recall all up to the next key frame.
//!
//! Sources: Adobe FLV 10.1 §E.4; OSS, "LiveChannel overview" (H.264 and AAC only, the rest is dropped).

mod report;

pub use report::{AudioStat, Counts, Notice, Stat, Unsupported, VideoStat};

use report::Notices;

use crate::{
    hls::{
        SegmentSink, SegmentStart,
        audio_pes::AudioPes,
        segmenter::{Change, Segmenter, Step},
        ts::{self, Continuity, Muxer},
    },
    limits::{
        ACCESS_UNIT_PREFIX_BYTES_MAX, AUDIO_PES_BYTES_MAX, AVC_CONFIG_BYTES_MAX, TRACK_WAIT_MS_MAX,
    },
    media::{
        aac::AacConfig,
        avc_config::{self, AvcConfig},
        flv::{Audio, VIDEO_HEADER_BYTES_MAX, Video},
        h264::{Broken, NalWalk, Picture, Seen, annex_b_bytes_max},
        timeline::Timeline,
    },
    units::{TICKS_PER_SEC, Ticks90k},
};

/// The start of a video message: all of a sequence header, or an access unit's first bytes.
const HEAD_BYTES_MAX: usize = VIDEO_HEADER_BYTES_MAX + AVC_CONFIG_BYTES_MAX;
const _: () =
    assert!(ACCESS_UNIT_PREFIX_BYTES_MAX <= AVC_CONFIG_BYTES_MAX, "one buffer serves both");

/// What a session leaves free before its first timestamp, so that PCR, negative composition offsets and audio that
/// starts before video do not run into the session before, or below zero.
const LEAD: Ticks90k = Ticks90k(TICKS_PER_SEC * 5 / 2);

/// What must always be left of a segment: for the audio gathered before an access unit, and for that which comes during it.
const AUDIO_ROOM: u64 = 2 * ts::bytes_max(AUDIO_PES_BYTES_MAX as u64);

const TRACK_WAIT: Ticks90k = Ticks90k::from_millis(TRACK_WAIT_MS_MAX);

/// One publish session of one channel.
#[derive(Debug)]
pub struct Ingest {
    timeline: Timeline,
    start: Ticks90k,
    segmenter: Segmenter,
    muxer: Muxer,
    video: VideoTrack,
    audio: AudioTrack,
    has_segments: bool,
    counts: Counts,
    notices: Notices,
}

/// What a channel's session leaves to the next one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Carry {
    continuity: Continuity,
    end: Ticks90k,
    has_segments: bool,
}

impl Carry {
    /// For a channel whose ring holds segments of an earlier run of the daemon.
    pub fn from_earlier_run() -> Self {
        Self { has_segments: true, ..Self::default() }
    }

    /// The same, `ms` later: the timeline goes on as long as nobody published.
    pub fn after_pause(mut self, ms: u64) -> Self {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX).min(PAUSE_MS_MAX);
        self.end = self.end + Ticks90k::from_millis(ms);
        self
    }
}

/// A longer pause counts as this long, a hundred years: ticks do not overflow.
const PAUSE_MS_MAX: i64 = 100 * 366 * 86_400_000;

/// Part of a video message, in order and without holes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VideoFragment<'a> {
    /// RTMP timestamp, in milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// Length of the whole message.
    pub message_bytes: u32,
    /// Where in it `bytes` start; 0 begins a message, whether or not the one before was complete.
    pub offset: u32,
    /// Of an FLV VIDEODATA body.
    pub bytes: &'a [u8],
}

#[derive(Debug, Default)]
struct VideoTrack {
    config: Option<AvcConfig>,
    message: Message,
    head: Box<heapless::Vec<u8, HEAD_BYTES_MAX>>,
}

/// Where the video message being received stands.
#[derive(Clone, Copy, Debug, Default)]
enum Message {
    /// Read past, up to the next one.
    #[default]
    Ignored,
    /// Its start is being gathered.
    Head,
    /// Its fragments are written as they come.
    Open { walk: NalWalk, dts: Ticks90k, room: u64 },
}

impl Message {
    /// Writes bytes of the access unit that is open, if one is.
    fn feed(
        &mut self,
        bytes: &[u8],
        muxer: &mut Muxer,
        sink: &mut impl SegmentSink,
    ) -> Result<(), Broken> {
        match self {
            Self::Open { walk, .. } => walk.feed(bytes, |piece| muxer.payload(piece, sink)),
            Self::Ignored | Self::Head => Ok(()),
        }
    }
}

/// What the start of an access unit's message says.
#[derive(Clone, Copy, Debug)]
struct UnitStart {
    timestamp_ms: u32,
    composition_ms: i32,
    /// By the FLV frame type.
    is_key: bool,
    /// Where the NAL units start.
    header_bytes: usize,
    /// How many bytes they have.
    bytes: u32,
}

#[derive(Debug, Default)]
struct AudioTrack {
    /// In force: the open segment lists audio.
    config: Option<AacConfig>,
    /// Comes into force with the next key frame that begins a segment; until then frames are left out.
    next: Option<AacConfig>,
    pes: AudioPes,
    /// A frame, or a header that differs, came since the open segment began.
    is_alive: bool,
    /// The encoder said that there would be audio.
    is_announced: bool,
}

impl AudioTrack {
    /// What frames are encoded with, whether or not it is in force.
    fn latest(&self) -> Option<AacConfig> {
        self.next.or(self.config)
    }

    /// Chooses for a segment that begins: a track that fell silent has to come back before it is listed again.
    fn choose(&mut self) {
        let latest = self.latest();
        (self.config, self.next) = if self.is_alive { (latest, None) } else { (None, latest) };
        self.is_alive = false;
    }
}

impl Ingest {
    /// Begins a session whose segments aim at `frag_duration_s` seconds.
    pub fn new(frag_duration_s: u32, carry: Carry) -> Self {
        let start = carry.end + LEAD;
        Self {
            timeline: Timeline::new(start),
            start,
            segmenter: Segmenter::new(frag_duration_s, carry.has_segments),
            muxer: Muxer::new(carry.continuity),
            video: VideoTrack::default(),
            audio: AudioTrack::default(),
            has_segments: carry.has_segments,
            counts: Counts::default(),
            notices: Notices::default(),
        }
    }

    /// Notes that the encoder's metadata promise AAC, so that the first segment may wait for it.
    pub const fn announce_audio(&mut self) {
        self.audio.is_announced = true;
    }

    /// Takes part of a video message.
    pub fn video(
        &mut self,
        fragment: VideoFragment<'_>,
        sink: &mut impl SegmentSink,
    ) -> Result<(), Unsupported> {
        self.counts.video_bytes += fragment.bytes.len() as u64;
        if fragment.offset == 0 {
            self.break_off(sink);
            self.video.message = Message::Head;
            self.video.head.clear();
        }
        let received = u64::from(fragment.offset) + fragment.bytes.len() as u64;
        let is_last = received >= u64::from(fragment.message_bytes);
        match self.video.message {
            Message::Ignored => {}
            Message::Head => self.head(fragment, is_last, sink)?,
            Message::Open { .. } => self.body(fragment.bytes, sink),
        }
        if is_last {
            self.end_message(sink);
        }
        Ok(())
    }

    /// Takes a whole audio message.
    pub fn audio(&mut self, timestamp_ms: u32, body: &[u8], sink: &mut impl SegmentSink) {
        self.counts.audio_bytes += body.len() as u64;
        match Audio::parse(body) {
            Audio::Config(config) => self.configure_audio(config),
            Audio::Frame(frame) => self.audio_frame(timestamp_ms, frame, sink),
            Audio::Unsupported(what) => {
                self.counts.unusable += 1;
                self.notices.add(Notice::UnsupportedAudio(what));
            }
            Audio::Garbage => self.counts.unusable += 1,
        }
    }

    /// Ends the session: what is whole is sealed.
    pub fn end(mut self, sink: &mut impl SegmentSink) -> Carry {
        self.break_off(sink);
        self.seal(self.timeline.next_dts(), sink);
        Carry {
            continuity: self.muxer.continuity(),
            end: self.timeline.end(),
            has_segments: self.has_segments,
        }
    }

    /// What the session has seen and done.
    pub fn stat(&self) -> Stat {
        let measured = self.segmenter.measured();
        let video = self.video.config.as_ref().map(|config| {
            let said = config.sps.map_or_else(VideoStat::default, |sps| VideoStat {
                width: sps.width,
                height: sps.height,
                profile: sps.profile,
                level: sps.level,
                frames_per_1000_s: sps.frames_per_1000_s.unwrap_or(0),
            });
            match (said.frames_per_1000_s, measured.frames_per_1000_s) {
                (0, Some(frames_per_1000_s)) => VideoStat { frames_per_1000_s, ..said },
                _ => said,
            }
        });
        let audio = self.audio.latest();
        Stat {
            video,
            audio: audio.map(|config| AudioStat {
                sample_rate: config.sample_rate,
                channels: config.channels,
            }),
            measured,
            counts: self.counts,
            timestamps: self.timeline.counts(),
        }
    }

    /// The next thing to log.
    pub fn notice(&mut self) -> Option<Notice> {
        self.notices.next()
    }
}

/// Video messages.
impl Ingest {
    /// Gathers the start of a message until it is known what to do with it.
    fn head(
        &mut self,
        fragment: VideoFragment<'_>,
        is_last: bool,
        sink: &mut impl SegmentSink,
    ) -> Result<(), Unsupported> {
        let rest = gather(&mut self.video.head, VIDEO_HEADER_BYTES_MAX, fragment.bytes);
        let Some(tag) = Video::parse(&self.video.head) else { return Ok(()) };
        match tag {
            Video::Nothing => self.video.message = Message::Ignored,
            // A single odd tag among H.264 is an encoder's slip, not its codec.
            Video::Unsupported(what) if self.video.config.is_none() => {
                self.video.message = Message::Ignored;
                return Err(Unsupported { what });
            }
            Video::Garbage | Video::Unsupported(_) => {
                self.counts.unusable += 1;
                self.video.message = Message::Ignored;
            }
            Video::Config { header_bytes } => {
                let rest = gather(&mut self.video.head, header_bytes + AVC_CONFIG_BYTES_MAX, rest);
                let bytes = self.video.head.len() - header_bytes + rest.len();
                if bytes > AVC_CONFIG_BYTES_MAX {
                    self.refuse_video(avc_config::Error::TooLong { bytes });
                    self.video.message = Message::Ignored;
                } else if is_last {
                    self.configure_video(header_bytes);
                    self.video.message = Message::Ignored;
                }
            }
            Video::AccessUnit { header_bytes, is_key, composition_ms } => {
                let rest =
                    gather(&mut self.video.head, header_bytes + ACCESS_UNIT_PREFIX_BYTES_MAX, rest);
                let unit = UnitStart {
                    timestamp_ms: fragment.timestamp_ms,
                    composition_ms,
                    is_key,
                    header_bytes,
                    bytes: fragment
                        .message_bytes
                        .saturating_sub(u32::try_from(header_bytes).unwrap_or(0)),
                };
                self.prefix(unit, is_last || !rest.is_empty(), sink);
                self.body(rest, sink);
            }
        }
        Ok(())
    }

    /// Looks into an access unit's first bytes, and begins it once they tell what it is. `is_all`: more will not be gathered.
    fn prefix(&mut self, unit: UnitStart, is_all: bool, sink: &mut impl SegmentSink) {
        self.video.message = Message::Ignored;
        let Some(config) = &self.video.config else {
            self.counts.video_dropped += 1;
            return;
        };
        let walk = NalWalk::new(config.length_bytes, unit.bytes);
        let mut probe = walk;
        let prefix = self.video.head.get(unit.header_bytes..).unwrap_or_default();
        if probe.feed(prefix, |_| ()).is_err() {
            self.counts.video_broken += 1;
            return;
        }
        let seen = probe.seen();
        if seen.picture.is_none() && !is_all {
            self.video.message = Message::Head;
            return;
        }
        if let Some((dts, room)) = self.begin_access_unit(unit, seen, sink) {
            self.video.message = Message::Open { walk, dts, room };
            let prefix = self.video.head.get(unit.header_bytes..).unwrap_or_default();
            if self.video.message.feed(prefix, &mut self.muxer, sink).is_err() {
                self.break_off(sink);
            }
        }
    }

    /// Begins an access unit in the segment where it belongs; `None`: it is left out. Returns the room that is kept for it.
    fn begin_access_unit(
        &mut self,
        unit: UnitStart,
        seen: Seen,
        sink: &mut impl SegmentSink,
    ) -> Option<(Ticks90k, u64)> {
        let times = self.timeline.video(unit.timestamp_ms, unit.composition_ms);
        if times.is_jump {
            self.segmenter.clock_jumped();
        }
        let is_key = seen.picture.map_or(unit.is_key, |picture| picture == Picture::Idr);
        let room = self.room_for(unit);
        if self.segmenter.is_open() && sink.room() == 0 {
            self.close(times.dts, sink);
        }
        if self.audio.pes.is_due(times.dts) {
            self.flush_audio(Ticks90k(i64::MAX), sink);
        }
        let has_room = self.segmenter.is_open() && sink.room() >= room + AUDIO_ROOM;
        let step = match self.waits_for_audio(times.dts) {
            true => Step::Drop,
            false => self.segmenter.step(times.dts, is_key, has_room),
        };
        match step {
            Step::Append => {}
            Step::Open(start) => self.open(start, is_key, sink),
            Step::Cut { end, start } => {
                self.flush_audio(times.dts, sink);
                self.muxer.bridge_pcr(times.dts, sink);
                self.muxer.mark(sink);
                sink.seal(end);
                self.open(start, is_key, sink);
            }
            Step::Drop => {
                self.counts.video_dropped += 1;
                return None;
            }
        }
        if sink.room() < room + AUDIO_ROOM {
            // Not even an empty segment can take it.
            self.undo();
            self.counts.video_dropped += 1;
            return None;
        }
        if self.segmenter.is_first() {
            self.muxer.tables(self.audio.config.is_some(), sink);
        }
        self.muxer.begin_access_unit(times.dts, times.pts, is_key, sink);
        if is_key
            && !(seen.has_sps && seen.has_pps)
            && let Some(config) = &self.video.config
        {
            self.muxer.payload(&config.parameter_sets, sink);
        }
        Some((times.dts, room))
    }

    /// The most bytes that an access unit can take, whatever its NAL units are like.
    fn room_for(&self, unit: UnitStart) -> u64 {
        let es_bytes = self.video.config.as_ref().map_or(0, |config| {
            annex_b_bytes_max(config.length_bytes, unit.bytes) + config.parameter_sets.len() as u64
        });
        ts::bytes_max(es_bytes)
    }

    fn waits_for_audio(&self, dts: Ticks90k) -> bool {
        let is_awaited = self.audio.is_announced && self.audio.latest().is_none();
        is_awaited && !self.segmenter.is_open() && dts - self.start < TRACK_WAIT
    }

    /// Writes bytes of the open access unit.
    fn body(&mut self, bytes: &[u8], sink: &mut impl SegmentSink) {
        if self.video.message.feed(bytes, &mut self.muxer, sink).is_err() {
            self.break_off(sink);
        }
    }

    /// The message is complete.
    fn end_message(&mut self, sink: &mut impl SegmentSink) {
        match self.video.message {
            Message::Ignored => {}
            Message::Head => {
                self.counts.unusable += 1;
                self.video.message = Message::Ignored;
            }
            Message::Open { walk, .. } if walk.finish().is_err() => self.break_off(sink),
            Message::Open { .. } => {
                self.muxer.end_access_unit(sink);
                self.muxer.mark(sink);
                self.has_segments = true;
                self.counts.video_frames += 1;
                self.video.message = Message::Ignored;
            }
        }
    }

    /// Takes back the access unit that was begun and will not be whole.
    fn break_off(&mut self, sink: &mut impl SegmentSink) {
        if let Message::Open { dts, .. } = self.video.message {
            self.video.message = Message::Ignored;
            self.counts.video_broken += 1;
            self.undo();
            if !self.muxer.rollback(sink) {
                self.close(dts, sink);
            }
        }
    }

    /// The access unit that was stepped is not in the segment.
    fn undo(&mut self) {
        self.segmenter.undo();
        if !self.segmenter.has_frames() {
            // Audio cannot stand before the tables, which come with the next key frame.
            self.audio.pes.clear();
        }
    }

    fn configure_video(&mut self, header_bytes: usize) {
        match AvcConfig::parse(self.video.head.get(header_bytes..).unwrap_or_default()) {
            Ok(config) if self.video.config.as_ref() == Some(&config) => {}
            Ok(config) => {
                self.video.config = Some(config);
                self.segmenter.change(Change::Video);
            }
            Err(error) => self.refuse_video(error),
        }
    }

    /// A configuration that was good stays in force: the next key frame shows whether it still is.
    fn refuse_video(&mut self, error: avc_config::Error) {
        self.counts.unusable += 1;
        self.notices.add(Notice::VideoConfig(error));
    }
}

/// Audio messages.
impl Ingest {
    fn configure_audio(&mut self, config: &[u8]) {
        match AacConfig::parse(config) {
            Ok(config) if self.audio.latest() == Some(config) => {}
            Ok(config) => {
                self.audio.next = Some(config);
                self.audio.is_alive = true;
                self.segmenter.change(Change::Audio);
            }
            Err(error) => {
                self.counts.unusable += 1;
                self.notices.add(Notice::AudioConfig(error));
            }
        }
    }

    fn audio_frame(&mut self, timestamp_ms: u32, frame: &[u8], sink: &mut impl SegmentSink) {
        if self.audio.latest().is_none() {
            self.counts.audio_dropped += 1;
            return;
        }
        let times = self.timeline.audio(timestamp_ms);
        if times.is_jump {
            self.segmenter.clock_jumped();
        }
        self.audio.is_alive = true;
        if self.audio.next.is_some() {
            self.segmenter.change(Change::Audio);
        }
        if self.segmenter.is_overdue(times.pts)
            && !matches!(self.video.message, Message::Open { .. })
        {
            // Audio alone would go on until the room is used up, and nothing would be listed.
            self.seal(times.pts, sink);
        }
        let config = match (self.audio.config, self.audio.next) {
            (Some(config), None) if self.segmenter.has_frames() => config,
            _ => {
                self.counts.audio_dropped += 1;
                return;
            }
        };
        if !self.audio.pes.takes(&config, times.pts, frame) {
            self.flush_audio(Ticks90k(i64::MAX), sink);
        }
        if !self.audio.pes.push(&config, times.pts, frame) {
            self.counts.audio_dropped += 1;
        }
    }

    /// Writes the gathered frames that start before `until`.
    fn flush_audio(&mut self, until: Ticks90k, sink: &mut impl SegmentSink) {
        let Some(config) = self.audio.config else { return };
        let Some((pts, adts)) = self.audio.pes.before(&config, until) else { return };
        let kept_for_video =
            if let Message::Open { room, .. } = self.video.message { Some(room) } else { None };
        if sink.room() >= ts::bytes_max(adts.len() as u64) + kept_for_video.unwrap_or(0) {
            self.muxer.audio(pts, adts, sink);
            // Within an access unit audio shares that unit's fate: there is one mark for all.
            if kept_for_video.is_none() {
                self.muxer.mark(sink);
            }
        } else {
            self.counts.audio_dropped += 1;
        }
        self.audio.pes.forget_before(&config, until);
    }
}

/// Segments.
impl Ingest {
    fn open(&mut self, mut start: SegmentStart, is_key: bool, sink: &mut impl SegmentSink) {
        // Without a key frame the segment goes on with what the one before began.
        if is_key {
            self.audio.choose();
            let lists_audio = self.audio.config.is_some();
            start.is_discontinuity |=
                self.muxer.lists_audio().is_some_and(|before| before != lists_audio);
        }
        sink.open(start);
    }

    /// Ends the segment with all that is whole.
    fn seal(&mut self, at: Ticks90k, sink: &mut impl SegmentSink) {
        if self.segmenter.has_frames() {
            self.flush_audio(Ticks90k(i64::MAX), sink);
        }
        self.close(at, sink);
    }

    /// Ends the segment at its last mark, and waits for a key frame.
    fn close(&mut self, at: Ticks90k, sink: &mut impl SegmentSink) {
        self.audio.pes.clear();
        if let Some(end) = self.segmenter.close(at) {
            sink.seal(end);
        }
    }
}

/// Moves bytes to `head` until it has `limit` of them, and returns the rest.
fn gather<'a>(
    head: &mut heapless::Vec<u8, HEAD_BYTES_MAX>,
    limit: usize,
    bytes: &'a [u8],
) -> &'a [u8] {
    let missing = limit.min(HEAD_BYTES_MAX).saturating_sub(head.len());
    let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
    // There is room: `missing` is counted from the capacity.
    _ = head.extend_from_slice(taken);
    rest
}
