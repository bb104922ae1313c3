//! Audio messages → PES packets of several frames each.

use super::{Ingest, Notice};
use crate::{
    hls::{SegmentSink, audio_pes::AudioPes, segmenter::Change, ts},
    media::{aac::AacConfig, flv::Audio},
    units::Ticks90k,
};

#[derive(Debug, Default)]
pub(super) struct AudioTrack {
    /// In force: the open segment lists audio.
    pub(super) config: Option<AacConfig>,
    /// Comes into force with the next key frame that begins a segment; until then frames are left out.
    next: Option<AacConfig>,
    pub(super) pes: AudioPes,
    /// A frame, or a header that differs, came since the open segment began.
    pub(super) is_alive: bool,
    /// The encoder said that there would be audio.
    pub(super) is_announced: bool,
}

impl AudioTrack {
    /// What frames are encoded with, whether or not it is in force.
    pub(super) fn latest(&self) -> Option<AacConfig> {
        self.next.or(self.config)
    }

    /// Chooses for a segment that begins: a track that fell silent has to come back before it is listed again.
    pub(super) fn choose(&mut self) {
        let (before, latest) = (self.config, self.latest());
        (self.config, self.next) = if self.is_alive { (latest, None) } else { (None, latest) };
        self.is_alive = false;
        if self.config != before {
            self.pes.clear();
        }
    }
}

impl Ingest {
    /// Takes a whole audio message.
    pub fn audio(&mut self, timestamp_ms: u32, body: &[u8], sink: &mut impl SegmentSink) {
        self.counts.audio_bytes += body.len() as u64;
        match Audio::parse(body) {
            // ffmpeg -c copy out of a TS: the real one follows.
            Audio::Config([]) => {}
            Audio::Config(config) => self.configure_audio(config),
            Audio::Frame(frame) => self.audio_frame(timestamp_ms, frame, sink),
            Audio::Unsupported(what) => {
                self.counts.unusable += 1;
                self.notices.add(Notice::UnsupportedAudio(what));
                // What was announced is this.
                self.audio.is_announced = false;
            }
            Audio::Garbage => self.counts.unusable += 1,
        }
    }

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
        if self.segmenter.is_overdue(times.pts) {
            self.end_access_unit(sink);
            if self.video.room_kept().is_none() {
                // Audio alone would go on until the room is used up, and nothing would be listed.
                self.seal(times.pts, sink);
            }
        }
        let config = match (self.audio.config, self.audio.next) {
            (Some(config), None) if self.segmenter.has_frames() => config,
            _ => {
                // Sound from before the first key frame is not missed: the recording begins with that.
                if self.counts.video_frames > 0 {
                    self.counts.audio_dropped += 1;
                }
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
    pub(super) fn flush_audio(&mut self, until: Ticks90k, sink: &mut impl SegmentSink) {
        let Some(config) = self.audio.config else { return };
        let Some((pts, adts)) = self.audio.pes.before(&config, until) else { return };
        let kept_for_video = self.video.room_kept();
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
