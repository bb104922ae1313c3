//! What a publish session has to tell: refusals for the encoder, notices for the log, figures for whoever asks.

use std::fmt;

use crate::{
    hls::segmenter::Measured,
    media::{aac, avc_config, timeline},
};

/// A stream that cannot be recorded: the encoder is told and its connection closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} video cannot be recorded here: set the encoder to H.264 (AVC)")]
pub struct Unsupported {
    /// The codec's name.
    pub what: &'static str,
}

/// Something for the log; each kind comes once a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Notice {
    /// Video is not recorded until a better header comes.
    #[error("video is not recorded: {0}")]
    VideoConfig(avc_config::Error),
    /// Nothing says how the pictures are encoded.
    #[error(
        "nothing is recorded: the encoder sends pictures, and neither a sequence header nor parameter sets (SPS, PPS) with its key frames"
    )]
    NoSequenceHeader,
    /// The pictures are of another form.
    #[error(
        "nothing is recorded: no picture can be read; they must be NAL units with their lengths before them (AVC as FLV has it), not with start codes"
    )]
    BrokenPictures,
    /// The codec is not known.
    #[error("nothing is recorded: the video is of no known codec; set the encoder to H.264 (AVC)")]
    UnknownVideo,
    /// Audio is not recorded until a better header comes.
    #[error("audio is not recorded: {0}")]
    AudioConfig(aac::Error),
    /// Audio is not recorded.
    #[error("audio is not recorded: {0} is not AAC; set the encoder's audio to AAC")]
    UnsupportedAudio(&'static str),
    /// Nothing is recorded so far, for want of a picture to begin with.
    #[error(
        "nothing is recorded, because no key frame (IDR picture) came for {waited_s} s: set the encoder's key frame \
         interval to {frag_duration_s} s, and turn intra refresh off"
    )]
    NoKeyFrame {
        /// How long, in seconds.
        waited_s: i64,
        /// FragDuration, in seconds.
        frag_duration_s: u32,
    },
    /// Segments are longer than they should be.
    #[error(
        "key frames are up to {gop_s} s apart, so segments are that long and viewers that late: set the encoder's key \
         frame interval to {frag_duration_s} s or less"
    )]
    LongGop {
        /// The longest distance, in seconds.
        gop_s: i64,
        /// FragDuration, in seconds.
        frag_duration_s: u32,
    },
}

/// What a session has seen and done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stat {
    /// Video, once its sequence header came.
    pub video: Option<VideoStat>,
    /// Audio, once its sequence header came.
    pub audio: Option<AudioStat>,
    /// Measured over the segments cut so far.
    pub measured: Measured,
    /// What went not as it should.
    pub counts: Counts,
}

impl fmt::Display for Stat {
    /// What is recorded: `H.264 1280x720 25 fps, AAC 44100 Hz stereo`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("H.264")?;
        if let Some(VideoStat { width, height, frames_per_1000_s, .. }) = self.video {
            if width > 0 {
                write!(f, " {width}x{height}")?;
            }
            if frames_per_1000_s > 0 {
                write!(f, " {} fps", f64::from(frames_per_1000_s) / 1000.0)?;
            }
        }
        match self.audio {
            None => f.write_str(", no audio"),
            Some(AudioStat { sample_rate, channels }) => match channels {
                1 => write!(f, ", AAC {sample_rate} Hz mono"),
                2 => write!(f, ", AAC {sample_rate} Hz stereo"),
                more => write!(f, ", AAC {sample_rate} Hz, {more} channels"),
            },
        }
    }
}

/// Of H.264 video. What the SPS does not say is 0.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VideoStat {
    /// Width, in samples.
    pub width: u32,
    /// Height, in samples.
    pub height: u32,
    /// `profile_idc`.
    pub profile: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Frames in 1,000 seconds: as the SPS says, else as measured.
    pub frames_per_1000_s: u32,
}

/// Of AAC audio.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AudioStat {
    /// Samples per second, in Hz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
}

/// What a session counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Bytes of video messages.
    pub video_bytes: u64,
    /// Bytes of audio messages.
    pub audio_bytes: u64,
    /// Access units written.
    pub video_frames: u64,
    /// Access units that could not be written: no configuration, no key frame yet, no room.
    pub video_dropped: u64,
    /// Access units that were broken.
    pub video_broken: u64,
    /// Audio frames that could not be written, from the first key frame on.
    pub audio_dropped: u64,
    /// Messages of no known or no supported kind, and malformed sequence headers.
    pub unusable: u64,
    /// What happened to timestamps.
    pub timestamps: timeline::Counts,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            video_bytes: self.video_bytes + other.video_bytes,
            audio_bytes: self.audio_bytes + other.audio_bytes,
            video_frames: self.video_frames + other.video_frames,
            video_dropped: self.video_dropped + other.video_dropped,
            video_broken: self.video_broken + other.video_broken,
            audio_dropped: self.audio_dropped + other.audio_dropped,
            unusable: self.unusable + other.unusable,
            timestamps: self.timestamps.plus(&other.timestamps),
        }
    }
}

impl fmt::Display for Counts {
    /// What came, and what was wrong with it: `200 pictures; 3 broken`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pictures", self.video_frames)?;
        for (count, what) in [
            (self.video_dropped, "pictures could not be used"),
            (self.video_broken, "were broken"),
            (self.audio_dropped, "audio frames could not be used"),
            (self.unusable, "messages made no sense"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Notices that wait to be logged.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// One of each kind at most, in the order of their coming.
    all: heapless::Vec<Notice, 8>,
    told: usize,
}

impl Notices {
    /// Adds a notice, unless there was one of its kind.
    pub(super) fn add(&mut self, notice: Notice) {
        let kind = std::mem::discriminant(&notice);
        if self.all.iter().all(|other| std::mem::discriminant(other) != kind) {
            // There is room for each kind.
            _ = self.all.push(notice);
        }
    }

    pub(super) fn next(&mut self) -> Option<Notice> {
        let notice = self.all.get(self.told).copied()?;
        self.told += 1;
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_notice_comes_once() {
        let mut notices = Notices::default();
        assert_eq!(notices.next(), None);
        let video = Notice::VideoConfig(avc_config::Error::LengthBytes);
        let audio = Notice::AudioConfig(aac::Error::FrameLength);
        notices.add(video);
        notices.add(Notice::VideoConfig(avc_config::Error::NoParameterSets));
        assert_eq!((notices.next(), notices.next()), (Some(video), None));
        notices.add(Notice::UnsupportedAudio("MP3"));
        notices.add(audio);
        notices.add(video);
        let rest: Vec<_> = std::iter::from_fn(|| notices.next()).collect();
        assert_eq!(rest, [Notice::UnsupportedAudio("MP3"), audio]);
        assert_eq!(
            rest[0].to_string(),
            "audio is not recorded: MP3 is not AAC; set the encoder's audio to AAC"
        );
    }
}
