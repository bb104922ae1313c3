//! Media time and the wall clock → the moment at which a segment starts: its name and its PROGRAM-DATE-TIME.
//!
//! One rule stands above all others: a start never comes twice and never goes back, whatever the wall clock does,
//! because a segment's name is made of it and caches keep what they have once fetched under a name. The
//! ring gives the floor to begin from, so that this holds over restarts and power cuts too.
//!
//! Between two segments of one timeline the camera's own clock counts, so that PROGRAM-DATE-TIME and EXTINF agree
//! (RFC 8216 §4.3.2.6). A camera whose clock runs a little fast or slow is led back to the wall clock by a
//! slew that no viewer sees; a wall clock that was set forward is followed at once; one that was set
//! back is waited for.

use crate::{
    limits::PLAUSIBLE_UNIX_SECS_MIN,
    units::{Ticks90k, UnixMillis},
};

/// Largest correction, as a part of the time that has passed: 5 ms a second, less than a frame a segment.
const SLEW: i64 = 200;

/// Offsets that arrival jitter explains are left alone, in milliseconds.
const JITTER_MS: i64 = 250;

/// A wall clock further ahead than this was set, in milliseconds.
const STEP_MS: i64 = 2_000;

/// Gives segments their start times.
#[derive(Clone, Copy, Debug)]
pub struct SegmentClock {
    /// The least start that may be given.
    floor: UnixMillis,
    /// The last start given, and the media time it belongs to.
    last: Option<(UnixMillis, Ticks90k)>,
}

impl SegmentClock {
    /// A clock that gives no start below `floor`.
    pub fn new(floor: UnixMillis) -> Self {
        Self { floor: floor.max(UnixMillis(PLAUSIBLE_UNIX_SECS_MIN * 1000)), last: None }
    }

    /// The start of the segment whose first access unit has decoding time `dts` and arrived at `wall`.
    ///
    /// `is_new_timeline`: media time does not go on from the segment before.
    pub fn start(&mut self, dts: Ticks90k, is_new_timeline: bool, wall: UnixMillis) -> UnixMillis {
        let start = match self.last {
            Some((start, media)) if !is_new_timeline => {
                led_back(start, (dts - media).as_millis(), wall)
            }
            _ => wall,
        };
        let start = start.max(self.floor);
        self.floor = UnixMillis(start.0 + 1);
        self.last = Some((start, dts));
        start
    }

    /// No start below `floor` is given from here on.
    pub fn raise(&mut self, floor: UnixMillis) {
        self.floor = self.floor.max(floor);
    }

    /// The least start that the next segment can have: what the store has seen of time.
    pub const fn floor(&self) -> UnixMillis {
        self.floor
    }
}

/// `elapsed_ms` after `start`, moved towards `wall` as far as is allowed.
fn led_back(start: UnixMillis, elapsed_ms: i64, wall: UnixMillis) -> UnixMillis {
    let expected = start.0.saturating_add_signed(elapsed_ms);
    let ahead = wall.0.cast_signed().saturating_sub(expected.cast_signed());
    let correction = match ahead {
        STEP_MS.. => ahead,
        _ if ahead.abs() <= JITTER_MS => 0,
        _ => ahead.clamp(-elapsed_ms.abs() / SLEW, elapsed_ms.abs() / SLEW),
    };
    UnixMillis(expected.saturating_add_signed(correction))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_800_000_000_000;

    fn clock() -> SegmentClock {
        SegmentClock::new(UnixMillis(0))
    }

    fn at(secs: i64) -> Ticks90k {
        Ticks90k::from_millis(secs * 1000)
    }

    #[test]
    fn media_time_counts_within_a_timeline_and_jitter_does_not() {
        let mut clock = clock();
        assert_eq!(clock.start(at(1), true, UnixMillis(T0)).0, T0);
        assert_eq!(clock.start(at(6), false, UnixMillis(T0 + 5_180)).0, T0 + 5_000);
        assert_eq!(clock.start(at(11), false, UnixMillis(T0 + 9_900)).0, T0 + 10_000);
    }

    #[test]
    fn a_clock_in_1970_still_gives_thirteen_digits_and_never_repeats() {
        let mut clock = clock();
        let first = clock.start(at(1), true, UnixMillis(5_000));
        assert_eq!(first.0.to_string().len(), 13);
        let second = clock.start(at(1), true, UnixMillis(5_000));
        assert!(second > first);
    }

    #[test]
    fn a_step_forward_is_followed_and_a_step_back_is_waited_for() {
        let mut clock = clock();
        clock.start(at(0), true, UnixMillis(T0));
        let forward = clock.start(at(5), false, UnixMillis(T0 + 3_600_000));
        assert_eq!(forward.0, T0 + 3_600_000);
        let back = clock.start(at(10), false, UnixMillis(T0 + 10_000));
        assert_eq!(back.0, forward.0 + 5_000 - 25, "goes on by media time, a little slower");
        let reconnect = clock.start(at(900), true, UnixMillis(T0 + 20_000));
        assert!(reconnect > back, "even a new timeline does not go back");
    }

    #[test]
    fn a_camera_that_drifts_for_a_day_stays_within_a_second_of_the_wall_clock() {
        for drift_ppm in [-400_i64, -50, 50, 400] {
            let mut clock = clock();
            let mut last = UnixMillis(0);
            for n in 0..17_280 {
                let media = n * 5_000;
                let wall =
                    (T0.cast_signed() + media + media * drift_ppm / 1_000_000).cast_unsigned();
                let start = clock.start(Ticks90k::from_millis(media), n == 0, UnixMillis(wall));
                assert!(start > last);
                assert!(start.0.abs_diff(wall) < 1_000, "{drift_ppm} ppm, segment {n}");
                last = start;
            }
        }
    }

    #[test]
    fn the_ring_s_floor_holds() {
        let mut clock = SegmentClock::new(UnixMillis(T0));
        assert_eq!(clock.start(at(0), true, UnixMillis(T0 - 10_000)).0, T0);
    }
}
