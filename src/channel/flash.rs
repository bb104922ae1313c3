//! How the flash of one channel does: what it cost so far, what is wrong with it, and when it is tried again.
//!
//! A card that fails is tried again with every segment; a ring that took none for a while is opened anew, since what is in the slot
//! by then may be another card. Nothing here reads or writes.

use crate::{
    limits::{FLASH_REPORT_MS, RING_RETRY_MS_MAX, RING_RETRY_MS_MIN},
    units::Millis,
};

/// What has happened since the daemon started, or since the channel was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FlashCounts {
    /// Bytes of segments handed to the card.
    pub written_bytes: u64,
    /// How long the card took to put a segment into the index, its sync included.
    pub seals: Latency,
    /// Segments that were lost because the card failed or was too slow. The playlist has a gap or a discontinuity there.
    pub segments_lost: u64,
    /// Segments that were good when they were sealed and are not any more.
    pub segments_damaged: u64,
    /// Writes and syncs that failed.
    pub failures: u64,
    /// Times that the ring was opened anew because it failed.
    pub reopened: u64,
}

/// How long something took, as a histogram.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Latency {
    /// How often it took at most as long as the bound in [`BOUNDS_MS`](Self::BOUNDS_MS) at the same place, and longer than the one before.
    pub counts: [u64; 8],
    /// How often it took longer than all of them.
    pub longer: u64,
    /// All together, in milliseconds.
    pub sum_ms: u64,
    /// The longest, in milliseconds.
    pub max_ms: u64,
}

impl Latency {
    /// Bounds of the histogram, in milliseconds: a good card takes 5, a tired one hundreds.
    pub const BOUNDS_MS: [u64; 8] = [3, 10, 30, 100, 300, 1_000, 3_000, 10_000];

    /// Counts one that took `ms`.
    pub fn add(&mut self, ms: u64) {
        let place = Self::BOUNDS_MS.iter().zip(&mut self.counts).find(|(bound, _)| ms <= **bound);
        *place.map_or(&mut self.longer, |(_, count)| count) += 1;
        self.sum_ms += ms;
        self.max_ms = self.max_ms.max(ms);
    }

    /// Takes another's in.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.longer += other.longer;
        self.sum_ms += other.sum_ms;
        self.max_ms = self.max_ms.max(other.max_ms);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.longer
    }
}

/// The state of a channel's flash.
#[derive(Debug, Default)]
pub struct FlashState {
    counts: FlashCounts,
    /// What is wrong, in words.
    trouble: Option<String>,
    /// When the ring is to be opened anew.
    retry_at: Option<Millis>,
    /// The pause before that, which doubles until a segment is sealed.
    pause_ms: u64,
    /// Lost segments that the log knows of, and when it was told.
    reported: (u64, Option<Millis>),
}

impl FlashState {
    /// What has happened.
    pub const fn counts(&self) -> &FlashCounts {
        &self.counts
    }

    /// To count what happens.
    pub const fn counts_mut(&mut self) -> &mut FlashCounts {
        &mut self.counts
    }

    /// What is wrong; `None`: nothing that is known of.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Something is wrong. `true`: that is news.
    pub fn fails(&mut self, why: String, now: Millis) -> bool {
        if self.retry_at.is_none() {
            self.pause_ms = (2 * self.pause_ms).clamp(RING_RETRY_MS_MIN, RING_RETRY_MS_MAX);
            self.retry_at = Some(now.plus(self.pause_ms));
        }
        let is_news = self.trouble.as_ref() != Some(&why);
        self.trouble = Some(why);
        is_news
    }

    /// Whether the ring is to be opened anew. Says so once.
    pub fn take_retry(&mut self, now: Millis) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }

    /// The ring could be opened; whether it takes segments is not known.
    pub fn is_open(&mut self) {
        self.trouble = None;
        self.retry_at = None;
    }

    /// A segment was sealed. `true`: that is news.
    pub fn works(&mut self) -> bool {
        self.retry_at = None;
        self.pause_ms = 0;
        self.trouble.take().is_some()
    }

    /// How many segments were lost that the log has not been told of. Nothing, if it was told a moment ago.
    pub fn take_loss(&mut self, now: Millis) -> Option<u64> {
        let (known, told) = self.reported;
        let lost = self.counts.segments_lost - known;
        let is_due = told.is_none_or(|told| now.since(told) >= FLASH_REPORT_MS);
        (lost > 0 && is_due).then(|| {
            self.reported = (self.counts.segments_lost, Some(now));
            lost
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_tried_again_with_pauses_that_double_up_to_a_bound() {
        let mut flash = FlashState::default();
        let mut now = Millis(1000);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            assert_eq!(flash.fails("no card".into(), now), pauses.is_empty(), "news is news once");
            let pause = (0..).find(|ms| flash.take_retry(now.plus(*ms))).unwrap();
            pauses.push(pause);
            now = now.plus(pause);
        }
        assert_eq!(pauses, [10_000, 20_000, 40_000, 60_000, 60_000]);
        assert!(flash.works() && flash.trouble().is_none() && !flash.works());
        flash.fails("no card".into(), now);
        assert!(flash.take_retry(now.plus(RING_RETRY_MS_MIN)), "from the beginning");
    }

    #[test]
    fn losses_are_told_at_once_and_then_once_a_minute() {
        let mut flash = FlashState::default();
        let mut told = Vec::new();
        for second in 0..180 {
            flash.counts_mut().segments_lost += u64::from((10..130).contains(&second));
            told.extend(flash.take_loss(Millis(second * 1000)).map(|lost| (second, lost)));
        }
        assert_eq!(told, [(10, 1), (70, 60), (130, 59)]);
    }

    #[test]
    fn a_histogram_counts_every_value_once() {
        let mut latency = Latency::default();
        for ms in [0, 3, 4, 300, 10_000, 10_001] {
            latency.add(ms);
        }
        assert_eq!((latency.counts, latency.longer), ([2, 1, 0, 0, 1, 0, 0, 1], 1));
        assert_eq!((latency.count(), latency.max_ms, latency.sum_ms), (6, 10_001, 20_308));
        let mut both = latency;
        both.merge(&latency);
        assert_eq!((both.count(), both.max_ms, both.sum_ms), (12, 10_001, 40_616));
    }
}
