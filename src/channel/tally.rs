//! What a channel adds up beyond one publish session, and by what its health is judged.

use crate::{
    channel::ingest::Counts,
    limits::{FORCED_CUT_SECS_MIN, SEGMENT_LATE_SLACK_MS},
    units::Millis,
};

/// Since the daemon has the channel.
#[derive(Debug, Default)]
pub struct Tally {
    /// Of sessions that are over.
    past: Counts,
    /// When a segment with bytes was listed last.
    produced_at: Option<Millis>,
}

impl Tally {
    /// A session with these counts is over.
    pub(super) fn leave(&mut self, counts: &Counts) {
        self.past = self.past.plus(counts);
    }

    /// All sessions together, where the one that lasts has counted `present`.
    pub fn counts(&self, present: Counts) -> Counts {
        self.past.plus(&present)
    }

    /// A segment, or a gap, is listed.
    pub(super) const fn listed(&mut self, is_gap: bool, now: Millis) {
        if !is_gap {
            self.produced_at = Some(now);
        }
    }

    /// When a segment was listed last, in this run of the daemon.
    pub const fn produced_at(&self) -> Option<Millis> {
        self.produced_at
    }

    /// By when the next segment of a session that began at `since` is due.
    ///
    /// A playlist may go 1.5 target durations without news (RFC 8216 §6.2.1); the first segment has until a cut is forced.
    pub fn due(
        &self,
        since: Millis,
        target_duration_s: Option<u16>,
        frag_duration_s: u32,
    ) -> Millis {
        let after_ms = match (self.produced_at, target_duration_s) {
            (Some(at), Some(target)) if at >= since => {
                return at.plus(1500 * u64::from(target) + SEGMENT_LATE_SLACK_MS);
            }
            _ => 1000 * u64::from(frag_duration_s.saturating_mul(2).max(FORCED_CUT_SECS_MIN)),
        };
        since.plus(after_ms + SEGMENT_LATE_SLACK_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline;

    #[test]
    fn a_segment_is_due_one_and_a_half_target_durations_after_the_last() {
        let mut tally = Tally::default();
        let since = Millis(10_000);
        assert_eq!(tally.due(since, None, 5), Millis(70_000 + SEGMENT_LATE_SLACK_MS));
        assert_eq!(tally.due(since, None, 100), Millis(210_000 + SEGMENT_LATE_SLACK_MS));
        tally.listed(false, Millis(9_000));
        assert_eq!(
            tally.due(since, Some(4), 5),
            Millis(70_000 + SEGMENT_LATE_SLACK_MS),
            "a segment of the session before does not count"
        );
        tally.listed(false, Millis(20_000));
        assert_eq!(tally.due(since, Some(4), 5), Millis(26_000 + SEGMENT_LATE_SLACK_MS));
        tally.listed(true, Millis(24_000));
        assert_eq!(
            tally.due(since, Some(4), 5),
            Millis(26_000 + SEGMENT_LATE_SLACK_MS),
            "a gap is none"
        );
    }

    #[test]
    fn sessions_add_up() {
        let mut tally = Tally::default();
        let timestamps = timeline::Counts { jumps: 1, ..timeline::Counts::default() };
        let session = Counts { video_frames: 10, audio_bytes: 3, timestamps, ..Counts::default() };
        tally.leave(&session);
        tally.leave(&session);
        assert_eq!(tally.counts(session).video_frames, 30);
        assert_eq!(tally.counts(Counts::default()).audio_bytes, 6);
        assert_eq!(tally.counts(Counts::default()).timestamps.jumps, 2);
    }
}
