//! AAC frames → the payload of one PES packet: several ADTS frames behind one timestamp.
//!
//! A PES packet for each frame would cost as many bytes as quiet speech. Sources: ISO/IEC 13818-1 §2.4.3.7 (the PTS
//! belongs to the first frame), ISO/IEC 13818-7 §6.2 (ADTS).

use crate::{
    limits::{AUDIO_PES_BYTES_MAX, AUDIO_PES_TICKS_MAX},
    media::aac::{ADTS_FRAME_BYTES_MAX, ADTS_HEADER_BYTES, AacConfig, adts_frame_bytes},
    units::Ticks90k,
};

const _: () =
    assert!(ADTS_FRAME_BYTES_MAX <= AUDIO_PES_BYTES_MAX, "every frame fits an empty packet");

/// Gathers frames that follow each other without a gap.
#[derive(Debug, Default)]
pub struct AudioPes {
    adts: Box<heapless::Vec<u8, AUDIO_PES_BYTES_MAX>>,
    pts: Ticks90k,
    frames: u32,
}

impl AudioPes {
    /// Whether a frame can be pushed: it follows on the ones before, and neither length nor time grow too long.
    pub fn takes(&self, config: &AacConfig, pts: Ticks90k, frame: &[u8]) -> bool {
        let gap = pts - (self.pts + config.duration(self.frames));
        self.frames == 0
            || gap.0.abs() <= config.duration(1).0
                && config.duration(self.frames + 1).0 <= AUDIO_PES_TICKS_MAX
                && self.adts.len() + ADTS_HEADER_BYTES + frame.len() <= AUDIO_PES_BYTES_MAX
    }

    /// Adds a frame that it [`takes`](Self::takes). `false`: the frame is too long for ADTS.
    pub fn push(&mut self, config: &AacConfig, pts: Ticks90k, frame: &[u8]) -> bool {
        let Some(header) = config.adts_header(frame.len()) else { return false };
        let bytes_before = self.adts.len();
        let is_whole = self
            .adts
            .extend_from_slice(&header)
            .and_then(|()| self.adts.extend_from_slice(frame))
            .is_ok();
        if !is_whole {
            self.adts.truncate(bytes_before);
            return false;
        }
        if self.frames == 0 {
            self.pts = pts;
        }
        self.frames += 1;
        true
    }

    /// Whether the frames have waited long enough for more, at `now` of media time.
    pub fn is_due(&self, now: Ticks90k) -> bool {
        self.frames > 0 && (now - self.pts).0 >= AUDIO_PES_TICKS_MAX
    }

    /// Presentation time of the first frame, and the frames that start before `until`; `None`: no frame does.
    pub fn before(&self, config: &AacConfig, until: Ticks90k) -> Option<(Ticks90k, &[u8])> {
        let (_, bytes) = self.split(config, until);
        self.adts.get(..bytes).filter(|adts| !adts.is_empty()).map(|adts| (self.pts, adts))
    }

    /// Forgets the frames that start before `until`.
    pub fn forget_before(&mut self, config: &AacConfig, until: Ticks90k) {
        let (frames, bytes) = self.split(config, until);
        self.pts = self.pts + config.duration(frames);
        self.frames -= frames;
        self.adts.copy_within(bytes.., 0);
        self.adts.truncate(self.adts.len() - bytes);
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.adts.clear();
        self.frames = 0;
    }

    /// How many frames start before `until`, and the bytes that they take.
    fn split(&self, config: &AacConfig, until: Ticks90k) -> (u32, usize) {
        let (mut frames, mut bytes) = (0, 0);
        while frames < self.frames && self.pts + config.duration(frames) < until {
            bytes += self.adts.get(bytes..).and_then(adts_frame_bytes).unwrap_or(0);
            frames += 1;
        }
        (frames, bytes.min(self.adts.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AacConfig {
        AacConfig::parse(&[0x12, 0x10]).unwrap()
    }

    fn filled(frames: u32) -> AudioPes {
        let mut pes = AudioPes::default();
        for frame in 0..frames {
            let pts = config().duration(frame);
            assert!(pes.takes(&config(), pts, &[7; 100]) && pes.push(&config(), pts, &[7; 100]));
        }
        pes
    }

    #[test]
    fn a_fifth_of_a_second_is_gathered() {
        let pes = filled(8);
        assert!(!pes.takes(&config(), config().duration(8), &[7; 100]));
        assert_eq!(pes.before(&config(), Ticks90k(i64::MAX)).unwrap().1.len(), 8 * 107);
        assert!(!pes.is_due(Ticks90k(17_999)) && pes.is_due(Ticks90k(18_000)));
    }

    #[test]
    fn a_gap_or_a_step_back_ends_the_packet() {
        let pes = filled(3);
        let expected = config().duration(3);
        for (off, takes) in [(0, true), (90, true), (-2089, true), (2090, false), (-2090, false)] {
            assert_eq!(pes.takes(&config(), expected + Ticks90k(off), &[7]), takes, "{off}");
        }
    }

    #[test]
    fn the_longest_frame_fits_alone_and_nothing_longer() {
        let mut pes = AudioPes::default();
        assert!(pes.takes(&config(), Ticks90k(0), &[7; 8184]));
        assert!(!pes.push(&config(), Ticks90k(0), &[7; 8185]));
        assert!(pes.push(&config(), Ticks90k(0), &[7; 8184]));
        assert!(!pes.takes(&config(), config().duration(1), &[7; 1]));
        assert!(!pes.push(&config(), config().duration(1), &[7; 1]));
        assert_eq!(pes.before(&config(), Ticks90k(1)).unwrap().1.len(), 8191);
    }

    #[test]
    fn a_cut_falls_between_frames() {
        let mut pes = filled(5);
        let cut = config().duration(3);
        assert_eq!(pes.before(&config(), Ticks90k(0)), None);
        assert_eq!(
            pes.before(&config(), cut).map(|(pts, adts)| (pts.0, adts.len())),
            Some((0, 321))
        );
        pes.forget_before(&config(), cut);
        let (pts, rest) = pes.before(&config(), Ticks90k(i64::MAX)).unwrap();
        assert_eq!((pts, rest.len(), &rest[..2]), (cut, 214, &[0xff, 0xf1][..]));
        assert!(pes.takes(&config(), config().duration(5), &[7]));
    }
}
