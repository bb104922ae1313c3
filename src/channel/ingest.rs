//! One publish session: FLV tag bodies in, MPEG-TS segments out, for a [`SegmentSink`] to keep.
//!
//! Video flows: of an access unit no more is held than its first bytes, until they tell what kind of picture it is.
//! From there on its fragments become packets as they come, and if it turns out to be broken they are rolled back.
//!
//! **Which tracks a segment lists.** Video always. Audio, if its sequence header has come and, since the segment
//! before began, either that header was new or a frame came; so a track that falls silent is listed for one more segment
//! at most, and one that turns up late is listed from the next key frame on. Either way a discontinuity
//! stands between. An encoder that announced audio before its header came is given [`TRACK_WAIT_MS_MAX`](crate::limits::TRACK_WAIT_MS_MAX).
//!
//! **What is left out.** Everything before the first key frame. Frames of a configuration that is not in force
//! before the key frame that brings it. Slices in a tag of their own that belong to no picture before them. A broken access unit, and where it was beyond recall all up to the next key frame.
//!
//! Sources: Adobe FLV 10.1 §E.4; OSS, "LiveChannel overview" (H.264 and AAC only, the rest is dropped).

mod audio;
mod report;
mod video;
mod video_track;

pub use report::{AudioStat, Counts, Notice, Stat, Unsupported, VideoStat};
pub use video::VideoFragment;

use audio::AudioTrack;
use report::Notices;
use video_track::VideoTrack;

use crate::{
    hls::{
        SegmentSink, SegmentStart,
        parts::{Cadence, PartCutter},
        segmenter::Segmenter,
        ts::{self, Continuity, Muxer},
    },
    limits::AUDIO_PES_BYTES_MAX,
    media::timeline::Timeline,
    units::{TICKS_PER_SEC, Ticks90k},
};

/// What a session leaves free before its first timestamp, so that PCR, negative composition offsets and audio that
/// starts before video do not run into the session before, or below zero.
const LEAD: Ticks90k = Ticks90k(TICKS_PER_SEC * 5 / 2);

/// What must always be left of a segment: for the audio gathered before an access unit, and for that which comes during it.
const AUDIO_ROOM: u64 = 2 * ts::bytes_max(AUDIO_PES_BYTES_MAX as u64);

/// One publish session of one channel.
#[derive(Debug)]
pub struct Ingest {
    frag_duration_s: u32,
    timeline: Timeline,
    start: Ticks90k,
    segmenter: Segmenter,
    /// Where segments are listed in parts.
    parts: Option<PartCutter>,
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

impl Ingest {
    /// Begins a session whose segments aim at `frag_duration_s` seconds.
    pub fn new(frag_duration_s: u32, carry: Carry) -> Self {
        let start = carry.end + LEAD;
        Self {
            frag_duration_s,
            timeline: Timeline::new(start),
            start,
            segmenter: Segmenter::new(frag_duration_s, carry.has_segments),
            parts: None,
            muxer: Muxer::new(carry.continuity),
            video: VideoTrack::default(),
            audio: AudioTrack::default(),
            has_segments: carry.has_segments,
            counts: Counts::default(),
            notices: Notices::default(),
        }
    }

    /// The same, with segments in parts of at most `target`.
    #[must_use]
    pub fn in_parts(self, target: Option<Ticks90k>) -> Self {
        let frag_duration = self.segmenter.frag_duration();
        let cutter = |target| PartCutter::new(target, frag_duration);
        Self { parts: target.map(cutter), ..self }
    }

    /// How a channel with low latency is served.
    pub fn cadence(&self) -> Option<Cadence> {
        self.parts.as_ref().map(PartCutter::cadence)
    }

    /// Notes that the encoder's metadata promise AAC, so that the first segment may wait for it.
    pub const fn announce_audio(&mut self) {
        self.audio.is_announced = true;
    }

    /// Ends the session: what is whole is sealed.
    pub fn end(mut self, sink: &mut impl SegmentSink) -> Carry {
        self.break_off(sink);
        self.end_access_unit(sink);
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
        let video = self.video.sets().map(|config| {
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
            counts: self.counts(),
        }
    }

    /// What the session has counted.
    pub const fn counts(&self) -> Counts {
        Counts { timestamps: self.timeline.counts(), ..self.counts }
    }

    /// The next thing to log.
    pub fn notice(&mut self) -> Option<Notice> {
        self.notices.next()
    }
}

/// Segments.
impl Ingest {
    fn open(&mut self, mut start: SegmentStart, is_key: bool, sink: &mut impl SegmentSink) {
        start.is_parted = self.parts.as_ref().is_some_and(PartCutter::is_parted);
        // Without a key frame the segment goes on with what the one before began.
        if is_key {
            self.audio.choose();
            let lists_audio = self.audio.config.is_some();
            start.is_discontinuity |=
                self.muxer.lists_audio().is_some_and(|before| before != lists_audio);
        }
        sink.open(start);
    }

    /// The access unit that was stepped is not in the segment.
    fn undo(&mut self) {
        self.segmenter.undo();
        if !self.segmenter.has_frames() {
            // Audio cannot stand before the tables, which come with the next key frame.
            self.audio.pes.clear();
        }
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
        if let Some(parts) = &mut self.parts {
            parts.reset();
        }
        if let Some(end) = self.segmenter.close(at) {
            // A segment that was cut off is no proof of silence.
            self.audio.is_alive = true;
            sink.seal(end);
        }
    }
}
