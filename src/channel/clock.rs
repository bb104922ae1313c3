//! Media time and the wall clock → the moment at which a segment starts: its name and its PROGRAM-DATE-TIME.
//!
//! One rule stands above all others: a start never comes twice and never goes back, whatever the wall clock does,
//! because a segment's name is made of it and caches keep what they have once fetched under a name. The
//! ring gives the floor to begin from, so that this holds over restarts and power cuts too.
//!
//! Between two segments of one timeline the camera's own clock counts, so that PROGRAM-DATE-TIME and EXTINF agree
//! (RFC 8216 §4.3.2.6). A camera whose clock runs a little fast or slow is led back to the wall clock by a
//! slew that no viewer sees; a wall clock that was set forward is followed at once; one that was set
//! back is waited for. A camera that is late because its network stalled catches up: that is not the clock's doing, which the
//! monotonic clock tells, and is followed only where it lasts.

use crate::{
    limits::PLAUSIBLE_UNIX_SECS_MIN,
    units::{Millis, Now, Ticks90k, UnixMillis},
};

/// Largest correction, as a part of the time that has passed: 5 ms a second, less than a frame a segment.
const SLEW: i64 = 200;

/// Offsets that arrival jitter explains are left alone, in milliseconds.
const JITTER_MS: i64 = 250;

/// A wall clock further ahead than this was set, or the camera is late, in milliseconds.
const STEP_MS: i64 = 2_000;

/// A camera that is late for so long does not catch up any more, in milliseconds.
const LATE_MS: u64 = 30_000;

/// Gives segments their start times.
#[derive(Clone, Copy, Debug)]
pub struct SegmentClock {
    /// The least start that may be given.
    floor: UnixMillis,
    /// The last start given.
    last: Option<Given>,
    /// Since when the camera is late.
    late_since: Option<Millis>,
}

/// A start, and what belongs to it.
#[derive(Clone, Copy, Debug)]
struct Given {
    start: UnixMillis,
    media: Ticks90k,
    /// The wall clock's lead over the monotonic one: it changes when the wall clock is set.
    lead_ms: i64,
}

impl SegmentClock {
    /// A clock that gives no start below `floor`.
    pub fn new(floor: UnixMillis) -> Self {
        let floor = floor.max(UnixMillis(PLAUSIBLE_UNIX_SECS_MIN * 1000));
        Self { floor, last: None, late_since: None }
    }

    /// The start of the segment whose first access unit has decoding time `dts` and arrived `now`.
    ///
    /// `is_new_timeline`: media time does not go on from the segment before.
    pub fn start(&mut self, dts: Ticks90k, is_new_timeline: bool, now: Now) -> UnixMillis {
        let start = match self.last.filter(|_| !is_new_timeline) {
            Some(last) => self.led_back(last, dts, now),
            None => {
                self.late_since = None;
                now.wall
            }
        };
        let start = start.max(self.floor);
        self.floor = UnixMillis(start.0 + 1);
        self.last = Some(Given { start, media: dts, lead_ms: lead_ms(now) });
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

    /// As long after `last` as `dts` is, moved towards the wall clock as far as is allowed.
    fn led_back(&mut self, last: Given, dts: Ticks90k, now: Now) -> UnixMillis {
        let elapsed_ms = (dts - last.media).as_millis();
        let expected = last.start.0.saturating_add_signed(elapsed_ms);
        let ahead = now.wall.0.cast_signed().saturating_sub(expected.cast_signed());
        let was_set_by = lead_ms(now).saturating_sub(last.lead_ms);
        let is_late = ahead >= STEP_MS && was_set_by < STEP_MS;
        self.late_since = self.late_since.or(Some(now.mono)).filter(|_| is_late);
        let stays_late = self.late_since.is_some_and(|since| now.mono.since(since) >= LATE_MS);
        let correction = match ahead {
            STEP_MS.. if stays_late => ahead,
            STEP_MS.. if !is_late => ahead.min(was_set_by),
            _ if ahead.abs() <= JITTER_MS => 0,
            _ => ahead.clamp(-elapsed_ms.abs() / SLEW, elapsed_ms.abs() / SLEW),
        };
        UnixMillis(expected.saturating_add_signed(correction))
    }
}

const fn lead_ms(now: Now) -> i64 {
    now.wall.0.cast_signed().saturating_sub(now.mono.0.cast_signed())
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

    /// `ms` after the first moment, by a wall clock that was set forward by `set_by` since.
    fn after(ms: u64, set_by: i64) -> Now {
        Now { mono: Millis(ms), wall: UnixMillis((T0 + ms).saturating_add_signed(set_by)) }
    }

    #[test]
    fn media_time_counts_within_a_timeline_and_jitter_does_not() {
        let mut clock = clock();
        assert_eq!(clock.start(at(1), true, after(0, 0)).0, T0);
        assert_eq!(clock.start(at(6), false, after(5_180, 0)).0, T0 + 5_000);
        assert_eq!(clock.start(at(11), false, after(9_900, 0)).0, T0 + 10_000);
    }

    #[test]
    fn a_clock_in_1970_still_gives_thirteen_digits_and_never_repeats() {
        let mut clock = clock();
        let now = Now { mono: Millis(0), wall: UnixMillis(5_000) };
        let first = clock.start(at(1), true, now);
        assert_eq!(first.0.to_string().len(), 13);
        let second = clock.start(at(1), true, now);
        assert!(second > first);
    }

    #[test]
    fn a_step_forward_is_followed_and_a_step_back_is_waited_for() {
        let mut clock = clock();
        clock.start(at(0), true, after(0, 0));
        let forward = clock.start(at(5), false, after(5_000, 3_600_000));
        assert_eq!(forward.0, T0 + 3_605_000);
        let back = clock.start(at(10), false, after(10_000, 0));
        assert_eq!(back.0, forward.0 + 5_000 - 25, "goes on by media time, a little slower");
        let reconnect = clock.start(at(900), true, after(20_000, 0));
        assert!(reconnect > back, "even a new timeline does not go back");
    }

    #[test]
    fn a_camera_that_stalls_and_catches_up_keeps_its_times_and_one_that_stays_late_is_followed() {
        let mut clock = clock();
        clock.start(at(0), true, after(0, 0));
        assert_eq!(
            clock.start(at(5), false, after(9_000, 0)).0,
            T0 + 5_025,
            "slewed, not followed"
        );
        assert_eq!(clock.start(at(10), false, after(10_100, 0)).0, T0 + 10_025, "it has caught up");
        // It forgets six seconds for good.
        let starts: Vec<_> = (3..=9)
            .map(|n| clock.start(at(5 * n), false, after(5_000 * n as u64 + 6_000, 0)).0)
            .collect();
        assert!(starts[5] < T0 + 40_300, "{starts:?}");
        assert_eq!(starts[6], T0 + 51_000, "30 s later: {starts:?}");
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
                let now = Now { mono: Millis(wall - T0), wall: UnixMillis(wall) };
                let start = clock.start(Ticks90k::from_millis(media), n == 0, now);
                assert!(start > last);
                assert!(start.0.abs_diff(wall) < 1_000, "{drift_ppm} ppm, segment {n}");
                last = start;
            }
        }
    }

    #[test]
    fn the_ring_s_floor_holds() {
        let mut clock = SegmentClock::new(UnixMillis(T0));
        assert_eq!(clock.start(at(0), true, after(0, -10_000)).0, T0);
    }
}
