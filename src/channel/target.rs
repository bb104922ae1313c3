//! What the camera sends → TARGETDURATION, which is chosen once and kept (RFC 8216 §4.3.3.1, §6.2.1).
//!
//! It is not known before the first segment is whole: a camera whose key frames are further apart than FragDuration
//! makes longer segments than were asked for. So the first segment decides, with head room where the distance
//! of its key frames varies; every record carries the value, so that a restart goes on with it.

use crate::hls::SegmentEnd;

/// TARGETDURATION of one channel, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TargetDuration {
    frag_duration_s: u16,
    /// `None` until a segment has decided.
    seconds: Option<u16>,
}

impl TargetDuration {
    /// What the newest record of the ring says, if it has one.
    ///
    /// A value of more than twice FragDuration stems from another configuration or a camera that may have been
    /// changed: the next segment decides anew, or a viewer's latency would suffer for as long as the ring lives.
    pub fn resume(frag_duration_s: u16, recorded_s: Option<u16>) -> Self {
        Self {
            frag_duration_s,
            seconds: recorded_s.filter(|s| (frag_duration_s..=2 * frag_duration_s).contains(s)),
        }
    }

    /// FragDuration is this from here on. Where it was another, the value in force counts as that of another configuration.
    pub fn aim_at(&mut self, frag_duration_s: u16) {
        if self.frag_duration_s != frag_duration_s {
            *self = Self::resume(frag_duration_s, self.seconds);
        }
    }

    /// Takes a segment's measure and returns the value in force with it.
    pub fn after(&mut self, end: &SegmentEnd) -> u16 {
        let needed = whole_secs(end.duration.as_secs_rounded());
        let chosen = match self.seconds {
            // A longer segment than was promised: the promise is broken whatever is done, so it is broken once and for all.
            Some(seconds) => seconds.max(needed),
            None => self.first(end).max(needed),
        };
        self.seconds = Some(chosen);
        chosen
    }

    /// The value in force; `None` before the first segment.
    pub const fn seconds(&self) -> Option<u16> {
        self.seconds
    }

    fn first(&self, end: &SegmentEnd) -> u16 {
        let head_room = end.gop.filter(|gop| gop.longest.0 > gop.shortest.0 + gop.shortest.0 / 10);
        // The last key frame before FragDuration may be followed by the longest distance seen.
        let varying = head_room.map_or(0, |gop| {
            whole_secs(gop.longest.as_secs_rounded()).saturating_add(self.frag_duration_s)
        });
        varying.max(self.frag_duration_s)
    }
}

fn whole_secs(seconds: i64) -> u16 {
    u16::try_from(seconds.max(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hls::Gop, units::Ticks90k};

    fn end(ms: i64, gop: Option<(i64, i64)>) -> SegmentEnd {
        let gop = gop.map(|(shortest, longest)| Gop {
            shortest: Ticks90k::from_millis(shortest),
            longest: Ticks90k::from_millis(longest),
        });
        SegmentEnd { duration: Ticks90k::from_millis(ms), is_independent: true, gop }
    }

    #[test]
    fn another_frag_duration_has_it_decided_anew() {
        let mut target = TargetDuration::resume(10, None);
        assert_eq!(target.after(&end(10_000, None)), 10);
        target.aim_at(10);
        assert_eq!(target.seconds(), Some(10));
        target.aim_at(1);
        assert_eq!((target.seconds(), target.after(&end(1_000, None))), (None, 1));
    }

    #[test]
    fn the_first_segment_decides() {
        let table = [
            (5, end(5000, Some((1000, 1000))), 5, "the asked length"),
            (5, end(6000, Some((2000, 2000))), 6, "2 s key frames do not divide 5 s"),
            (2, end(10_000, Some((10_000, 10_000))), 10, "key frames further apart than asked"),
            (
                5,
                end(5200, Some((400, 3000))),
                8,
                "key frames where the encoder likes: 5 + 3 s may come",
            ),
            (5, end(60_000, None), 60, "no key frame at all"),
            (5, end(800, None), 5, "a stream that ended at once"),
        ];
        for (frag, end, expected, why) in table {
            assert_eq!(TargetDuration::resume(frag, None).after(&end), expected, "{why}");
        }
    }

    #[test]
    fn it_is_kept_and_only_ever_raised() {
        let mut target = TargetDuration::resume(5, None);
        for ms in [5000, 5480, 1000, 5000] {
            assert_eq!(target.after(&end(ms, Some((1000, 1000)))), 5);
        }
        assert_eq!(target.after(&end(5500, None)), 6);
        assert_eq!(target.after(&end(5000, None)), 6);
    }

    #[test]
    fn a_restart_goes_on_with_it_unless_it_is_out_of_reach() {
        assert_eq!(TargetDuration::resume(5, Some(8)).seconds(), Some(8));
        assert_eq!(TargetDuration::resume(2, Some(10)).seconds(), None, "FragDuration was lowered");
        assert_eq!(TargetDuration::resume(10, Some(5)).seconds(), None, "FragDuration was raised");
    }
}
