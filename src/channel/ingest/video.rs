//! Video messages → access units in the segments where they belong.

use super::{
    AUDIO_ROOM, Ingest, Notice, Unsupported,
    video_track::{Message, OpenUnit, Tags, UnitStart, gather},
};
use crate::{
    hls::{
        SegmentEnd, SegmentSink,
        segmenter::{Change, Step},
        ts,
    },
    limits::{
        ACCESS_UNIT_PREFIX_BYTES_MAX, AVC_CONFIG_BYTES_MAX, KEY_FRAME_WAIT_MS_MAX,
        TRACK_WAIT_MS_MAX,
    },
    media::{
        avc_config::{self, AvcConfig},
        flv::{VIDEO_HEADER_BYTES_MAX, Video},
        h264::{Broken, NalWalk, Picture, Seen, annex_b_bytes_max},
    },
    units::Ticks90k,
};

/// Pictures or messages that are lost from the start on before the log says why: some encoders send a few too early.
const LOST_BEFORE_TOLD: u64 = 50;

/// Bytes in a NAL unit's length prefix, where nothing says it.
const LENGTH_BYTES_USUAL: u8 = 4;

const KEY_FRAME_WAIT: Ticks90k = Ticks90k::from_millis(KEY_FRAME_WAIT_MS_MAX);
const TRACK_WAIT: Ticks90k = Ticks90k::from_millis(TRACK_WAIT_MS_MAX);

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

impl Ingest {
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
                if self.video.config.is_none() && self.counts.unusable == LOST_BEFORE_TOLD {
                    self.notices.add(Notice::UnknownVideo);
                }
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
                self.prefix(unit, is_last || !rest.is_empty(), is_last && rest.is_empty(), sink);
                self.body(rest, sink);
            }
        }
        Ok(())
    }

    /// Looks into an access unit's first bytes, and begins it once they tell what it is. `is_all`: more will not be gathered.
    fn prefix(
        &mut self,
        unit: UnitStart,
        is_all: bool,
        is_last: bool,
        sink: &mut impl SegmentSink,
    ) {
        self.video.message = Message::Ignored;
        if self.video.config.is_none() && !is_all {
            self.video.message = Message::Head;
            return;
        }
        let Some(length_bytes) = self.length_bytes(unit) else {
            self.counts.video_dropped += 1;
            if self.counts.video_dropped == LOST_BEFORE_TOLD {
                self.notices.add(Notice::NoSequenceHeader);
            }
            return;
        };
        let walk = NalWalk::new(length_bytes, unit.bytes);
        let mut probe = walk;
        let prefix = self.video.head.get(unit.header_bytes..).unwrap_or_default();
        if probe.feed(prefix, |_| ()).is_err() {
            match self.video.take_kept(unit.timestamp_ms) {
                // It may be a slice of that one.
                Some(kept) => self.take_back(kept, sink),
                None => self.counts.video_broken += 1,
            }
            if self.counts.video_frames == 0 && self.counts.video_broken == LOST_BEFORE_TOLD {
                self.notices.add(Notice::BrokenPictures);
            }
            return;
        }
        let seen = probe.seen();
        if seen.is_continuation.is_none() && !is_all {
            self.video.message = Message::Head;
            return;
        }
        if is_last && probe.finish() == Err(Broken::NoPicture) {
            // Parameter sets, supplemental information or a delimiter in a tag of their own: no access unit.
            self.note_sets(unit);
            return;
        }
        let open = match seen.is_continuation {
            Some(true) => self.continue_access_unit(unit, sink),
            _ => {
                if self.video.kept.is_some() && self.video.tags == Tags::Unknown {
                    self.video.tags = Tags::Pictures;
                }
                self.end_access_unit(sink);
                self.begin_access_unit(unit, seen, sink)
            }
        };
        if let Some(open) = open {
            self.video.message = Message::Open { walk, unit: open };
            let prefix = self.video.head.get(unit.header_bytes..).unwrap_or_default();
            if self.video.message.feed(prefix, &mut self.muxer, sink).is_err() {
                self.break_off(sink);
            }
        }
    }

    /// How long the length prefixes are. A camera that sends its parameter sets among the pictures alone has the usual ones.
    fn length_bytes(&mut self, unit: UnitStart) -> Option<u8> {
        if self.video.config.is_none() {
            let units = self.video.head.get(unit.header_bytes..).unwrap_or_default();
            self.video.config = AvcConfig::in_band(LENGTH_BYTES_USUAL, units);
            self.segmenter.change(Change::Video);
        }
        self.video.config.as_ref().map(|config| config.length_bytes)
    }

    /// Notes the parameter sets among an access unit's first bytes. Where they say something else of the picture than the last ones, what
    /// comes is another stream; a repetition is none.
    fn note_sets(&mut self, unit: UnitStart) {
        let Some(before) = self.video.sets() else { return };
        let units = self.video.head.get(unit.header_bytes..).unwrap_or_default();
        let Some(sets) = AvcConfig::in_band(before.length_bytes, units) else { return };
        if sets.sps != before.sps {
            self.segmenter.change(Change::Video);
        }
        self.video.in_band = Some(sets);
    }

    /// Goes on with the access unit that is kept; `None`: this is no part of it, and the beginning of none.
    fn continue_access_unit(
        &mut self,
        unit: UnitStart,
        sink: &mut impl SegmentSink,
    ) -> Option<OpenUnit> {
        self.video.tags = Tags::Slices;
        let Some(kept) = self.video.take_kept(unit.timestamp_ms) else {
            self.counts.video_broken += 1;
            return None;
        };
        let room = self.room_for(unit);
        if sink.room() < room + AUDIO_ROOM {
            self.take_back(kept, sink);
            return None;
        }
        Some(OpenUnit { room, ..kept })
    }

    /// Begins an access unit in the segment where it belongs; `None`: it is left out.
    fn begin_access_unit(
        &mut self,
        unit: UnitStart,
        seen: Seen,
        sink: &mut impl SegmentSink,
    ) -> Option<OpenUnit> {
        let times = self.timeline.video(unit.timestamp_ms, unit.composition_ms);
        if times.is_jump {
            self.segmenter.clock_jumped();
        }
        let is_key = seen.picture.map_or(unit.is_key, |picture| picture == Picture::Idr);
        if is_key && seen.has_sps && seen.has_pps {
            self.note_sets(unit);
        }
        let room = self.room_for(unit);
        if self.audio.pes.is_due(times.dts) {
            self.flush_audio(Ticks90k(i64::MAX), sink);
        }
        let has_room = self.segmenter.is_open() && sink.room() >= room + AUDIO_ROOM;
        let step = match self.waits_for_audio(times.dts) {
            true => Step::Drop,
            false => self.segmenter.step(times.dts, is_key, has_room),
        };
        let part = match (&mut self.parts, &step) {
            (None, _) | (_, Step::Drop) => None,
            (Some(parts), Step::Append) => parts.step(times.dts, is_key, false),
            (Some(parts), Step::Open(_) | Step::Cut { .. }) => parts.step(times.dts, is_key, true),
        };
        match step {
            Step::Append => {
                if let Some(part) = part {
                    self.flush_audio(times.dts, sink);
                    sink.part(part);
                }
            }
            Step::Open(start) => self.open(start, is_key, sink),
            Step::Cut { end, start } => {
                self.note_long_gop(&end);
                self.flush_audio(times.dts, sink);
                self.muxer.bridge_pcr(times.dts, sink);
                self.muxer.mark(sink);
                if let Some(part) = part {
                    sink.part(part);
                }
                sink.seal(end);
                self.open(start, is_key, sink);
            }
            Step::Drop => {
                self.counts.video_dropped += 1;
                if !is_key {
                    self.note_no_key_frame(times.dts);
                }
                return None;
            }
        }
        self.video.waits_since = None;
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
            && let Some(sets) = self.video.sets()
        {
            self.muxer.payload(&sets.parameter_sets, sink);
        }
        Some(OpenUnit { timestamp_ms: unit.timestamp_ms, dts: times.dts, room })
    }

    /// Notes a picture that was left out because none has come to begin with.
    fn note_no_key_frame(&mut self, dts: Ticks90k) {
        let waited = dts - *self.video.waits_since.get_or_insert(dts);
        if waited >= KEY_FRAME_WAIT {
            let (waited_s, frag_duration_s) = (waited.as_secs_rounded(), self.frag_duration_s);
            self.notices.add(Notice::NoKeyFrame { waited_s, frag_duration_s });
        }
    }

    /// Notes a segment that is longer than it should be because no key frame came earlier.
    fn note_long_gop(&mut self, end: &SegmentEnd) {
        let frag_duration_s = self.frag_duration_s;
        let gop_s = end.gop.map_or(0, |gop| gop.longest.as_secs_rounded());
        if gop_s > frag_duration_s.into() {
            self.notices.add(Notice::LongGop { gop_s, frag_duration_s });
        }
    }

    /// The most bytes that an access unit can take, whatever its NAL units are like.
    fn room_for(&self, unit: UnitStart) -> u64 {
        let es_bytes = self.video.sets().map_or(0, |sets| {
            annex_b_bytes_max(sets.length_bytes, unit.bytes) + sets.parameter_sets.len() as u64
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
            Message::Open { unit, .. } => {
                self.video.message = Message::Ignored;
                self.video.kept = Some(OpenUnit { room: ts::bytes_max(0), ..unit });
                if self.video.tags == Tags::Pictures {
                    self.end_access_unit(sink);
                }
            }
        }
    }

    /// Ends the access unit that is kept, if one is.
    pub(super) fn end_access_unit(&mut self, sink: &mut impl SegmentSink) {
        if self.video.kept.take().is_some() {
            self.muxer.end_access_unit(sink);
            self.muxer.mark(sink);
            self.has_segments = true;
            self.counts.video_frames += 1;
        }
    }

    /// Takes back the access unit that was begun and will not be whole.
    pub(super) fn break_off(&mut self, sink: &mut impl SegmentSink) {
        if let Message::Open { unit, .. } = self.video.message {
            self.video.message = Message::Ignored;
            self.take_back(unit, sink);
        }
    }

    fn take_back(&mut self, unit: OpenUnit, sink: &mut impl SegmentSink) {
        self.counts.video_broken += 1;
        self.undo();
        if !self.muxer.rollback(sink) {
            self.close(unit.dts, sink);
        }
    }

    fn configure_video(&mut self, header_bytes: usize) {
        match AvcConfig::parse(self.video.head.get(header_bytes..).unwrap_or_default()) {
            Ok(config) if self.video.config.as_ref() == Some(&config) => {}
            Ok(config) => {
                self.video.config = Some(config);
                self.video.in_band = None;
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
