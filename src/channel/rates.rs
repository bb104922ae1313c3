//! Bytes counted so far, looked at once a second → how many come per second.

use crate::units::Millis;

/// Looks that are kept: with one a second, the average is over the last eight seconds.
const LOOKS_MAX: usize = 9;

/// The recent rates of one publish session (OSS: GetLiveChannelStat, Bandwidth).
#[derive(Debug, Default)]
pub struct Rates(heapless::HistoryBuf<Look, LOOKS_MAX>);

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Millis,
    video_bytes: u64,
    audio_bytes: u64,
}

/// Bytes per second of message payload, averaged over the last seconds. 0 until there are two looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rate {
    /// Of video messages.
    pub video_bytes_per_s: u64,
    /// Of audio messages.
    pub audio_bytes_per_s: u64,
}

impl Rates {
    /// Takes a look at what has been counted since the session began.
    pub fn look(&mut self, video_bytes: u64, audio_bytes: u64, now: Millis) {
        self.0.write(Look { at: now, video_bytes, audio_bytes });
    }

    /// What it comes to.
    pub fn rate(&self) -> Rate {
        let (Some(first), Some(last)) = (self.0.oldest_ordered().next(), self.0.recent()) else {
            return Rate::default();
        };
        let per_s = |first: u64, last: u64, ms: u64| {
            last.saturating_sub(first).saturating_mul(1000).checked_div(ms).unwrap_or(0)
        };
        let ms = last.at.since(first.at);
        Rate {
            video_bytes_per_s: per_s(first.video_bytes, last.video_bytes, ms),
            audio_bytes_per_s: per_s(first.audio_bytes, last.audio_bytes, ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_eight_seconds() {
        let mut rates = Rates::default();
        assert_eq!(rates.rate(), Rate::default());
        for second in 0..=20_u64 {
            // 500 KB/s for twelve seconds, then 100 KB/s.
            let video = 500_000 * second.min(12) + 100_000 * second.saturating_sub(12);
            rates.look(video, 16_000 * second, Millis(1000 * second));
            match second {
                0 => assert_eq!(rates.rate(), Rate::default()),
                1..=12 => assert_eq!(rates.rate().video_bytes_per_s, 500_000),
                _ => {}
            }
        }
        let rate = Rate { video_bytes_per_s: 100_000, audio_bytes_per_s: 16_000 };
        assert_eq!(rates.rate(), rate);
    }
}
