//! The camera's clock → the channel's: 32-bit wrapping milliseconds → 90 kHz ticks that never go back.
//!
//! A millisecond is 90 ticks exactly, and each time is counted from the last believed one, so nothing is rounded and
//! nothing adds up. Sources: RTMP 1.0 §5.3.1 (timestamps modulo 2^32), Adobe FLV 10.1 §E.4.3.2 (composition time),
//! ISO/IEC 13818-1 §2.4.3.7 (PTS, DTS).
//!
//! What a timestamp may do, measured from the track's last output, or from the other track's if that is far ahead:
//!
//! | it is | then |
//! |---|---|
//! | ahead by at most [`TIMESTAMP_STEP_MS_MAX`] | it is believed |
//! | equal, or back by at most [`TIMESTAMP_BACK_MS_MAX`] | it is believed, and moved to one tick after the last |
//! | elsewhere, but near by the other track's clock | that clock is taken over: the two are in step again |
//! | elsewhere | it is stamped one usual step after the last |
//! | so [`TIMESTAMP_OUTLIERS_MAX`] times in a row | the camera's clock has jumped: a new timeline goes on from the last |

use crate::{
    limits::{
        COMPOSITION_SHIFT_MS_MAX, TIMESTAMP_BACK_MS_MAX, TIMESTAMP_OUTLIERS_MAX,
        TIMESTAMP_STEP_MS_MAX,
    },
    units::{TICKS_PER_SEC, Ticks90k},
};

const TICKS_PER_MS: i64 = TICKS_PER_SEC / 1000;
const STEP_MAX: i64 = TIMESTAMP_STEP_MS_MAX * TICKS_PER_MS;
const BACK_MAX: i64 = TIMESTAMP_BACK_MS_MAX * TICKS_PER_MS;
const SHIFT_MAX: i64 = COMPOSITION_SHIFT_MS_MAX * TICKS_PER_MS;

/// The step between frames while none has been measured: 25 fps.
const STEP_ASSUMED: i64 = TICKS_PER_SEC / 25;

/// The longest distance between frames that is taken for a usual step.
const USUAL_STEP_MAX: i64 = TICKS_PER_SEC;

/// Maps the timestamps of one publish session.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    start: i64,
    video: Track,
    audio: Track,
    /// What decoding times are put forward by, so that none is later than its presentation time.
    shift: i64,
    last_dts: Option<i64>,
    last_pts: i64,
    counts: Counts,
}

/// What happened to timestamps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Equal to the track's last one or a little before it.
    pub nudged: u64,
    /// Too far off to be believed.
    pub restamped: u64,
    /// The camera's clock jumped for good.
    pub jumps: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            nudged: self.nudged + other.nudged,
            restamped: self.restamped + other.restamped,
            jumps: self.jumps + other.jumps,
        }
    }
}

/// The times of one video access unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VideoTimes {
    /// Decoding time; each is later than the one before.
    pub dts: Ticks90k,
    /// Presentation time, not before `dts`.
    pub pts: Ticks90k,
    /// The camera's clock jumped here.
    pub is_jump: bool,
}

/// The times of one audio frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AudioTimes {
    /// Presentation time; each is later than the one before.
    pub pts: Ticks90k,
    /// The camera's clock jumped here.
    pub is_jump: bool,
}

impl Timeline {
    /// A timeline whose first timestamp, of whichever track, falls on `start`.
    pub fn new(start: Ticks90k) -> Self {
        let track = Track { anchor: None, last: start.0, step: STEP_ASSUMED, doubted: 0 };
        Self {
            start: start.0,
            video: track,
            audio: track,
            shift: 0,
            last_dts: None,
            last_pts: start.0,
            counts: Counts::default(),
        }
    }

    /// Maps a video timestamp and its composition offset.
    ///
    /// Decoding times are what an encoder with negative offsets has wrong: it starts them too late. From the first
    /// negative offset on they are put forward, all by the same; presentation times, and with them lip sync, stay.
    pub fn video(&mut self, timestamp_ms: u32, composition_ms: i32) -> VideoTimes {
        let (at, is_jump) =
            self.video.stamp(&self.audio, self.start, timestamp_ms, &mut self.counts);
        let mut composition = i64::from(composition_ms) * TICKS_PER_MS;
        if composition.abs() > STEP_MAX {
            self.counts.restamped += 1;
            composition = 0;
        }
        self.shift = self.shift.max(-composition).min(SHIFT_MAX);
        let earliest = self.last_dts.map_or(i64::MIN, |last| last + 1);
        let dts = (at - self.shift).max(earliest);
        let pts = (at + composition).max(dts);
        self.last_dts = Some(dts);
        self.last_pts = self.last_pts.max(pts);
        VideoTimes { dts: Ticks90k(dts), pts: Ticks90k(pts), is_jump }
    }

    /// Maps an audio timestamp.
    pub fn audio(&mut self, timestamp_ms: u32) -> AudioTimes {
        let (at, is_jump) =
            self.audio.stamp(&self.video, self.start, timestamp_ms, &mut self.counts);
        self.last_pts = self.last_pts.max(at);
        AudioTimes { pts: Ticks90k(at), is_jump }
    }

    /// Decoding time at which the next video frame is due.
    pub fn next_dts(&self) -> Ticks90k {
        Ticks90k(self.last_dts.unwrap_or(self.start) + self.video.step)
    }

    /// A moment after everything that was mapped: where another session may go on.
    pub fn end(&self) -> Ticks90k {
        Ticks90k(self.last_pts + self.video.step.max(self.audio.step))
    }

    /// What happened so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

/// One track's clock.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// The last timestamp that was believed, and where it fell. The next one is counted from here.
    anchor: Option<Anchor>,
    /// The last output.
    last: i64,
    /// The last usual distance between two outputs.
    step: i64,
    /// Timestamps in a row that were not believed.
    doubted: u32,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    timestamp_ms: u32,
    ticks: i64,
}

impl Anchor {
    /// Where a timestamp falls by this clock.
    fn map(self, timestamp_ms: u32) -> i64 {
        let passed_ms = timestamp_ms.wrapping_sub(self.timestamp_ms).cast_signed();
        self.ticks + i64::from(passed_ms) * TICKS_PER_MS
    }
}

impl Track {
    /// Maps a timestamp and says whether the clock jumped.
    fn stamp(
        &mut self,
        other: &Self,
        start: i64,
        timestamp_ms: u32,
        counts: &mut Counts,
    ) -> (i64, bool) {
        let is_first = self.anchor.is_none();
        let last = if is_first { other.anchor.map_or(start, |_| other.last) } else { self.last };
        let furthest = if other.anchor.is_some() { last.max(other.last) } else { last };
        let map = |anchor: Anchor| {
            let ticks = anchor.map(timestamp_ms);
            (last - BACK_MAX..=furthest + STEP_MAX).contains(&ticks).then_some(ticks)
        };
        let is_jump = !is_first && self.doubted + 1 == TIMESTAMP_OUTLIERS_MAX;
        let believed = match self.anchor.and_then(map).or_else(|| other.anchor.and_then(map)) {
            Some(ticks) => Some((ticks, false)),
            None if is_first => Some((last, false)),
            None if is_jump => Some((furthest + self.step, true)),
            None => None,
        };
        let (ticks, is_jump) = if let Some((ticks, is_jump)) = believed {
            self.anchor = Some(Anchor { timestamp_ms, ticks });
            self.doubted = 0;
            counts.jumps += u64::from(is_jump);
            (ticks, is_jump)
        } else {
            self.doubted += 1;
            counts.restamped += 1;
            // A track that had nothing to say for long comes back to where the other one is.
            let is_left_behind = furthest - last > STEP_MAX;
            (if is_left_behind { furthest } else { last } + self.step, false)
        };
        if is_first {
            self.last = ticks;
        } else if ticks > self.last {
            self.step = (ticks - self.last).min(USUAL_STEP_MAX);
            self.last = ticks;
        } else {
            self.last += 1;
            counts.nudged += 1;
        }
        (self.last, is_jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Ticks90k = Ticks90k(225_000);

    fn millis(ms: i64) -> i64 {
        START.0 + ms * TICKS_PER_MS
    }

    /// Decoding times of video alone, in ticks.
    fn video(timestamps_ms: &[u32]) -> (Vec<i64>, Counts) {
        let mut timeline = Timeline::new(START);
        let dts = timestamps_ms.iter().map(|ms| timeline.video(*ms, 0).dts.0).collect();
        (dts, timeline.counts())
    }

    #[test]
    fn a_day_of_frames_is_mapped_to_the_tick_over_every_wrap() {
        // 33.37 ms as an encoder writes them: rounded down. The day starts an hour before 2^32.
        let first = u64::from(u32::MAX) - 3_600_000;
        let mut timeline = Timeline::new(START);
        for frame in 0..24 * 3600 * 30_000 / 1001 {
            let ms = frame * 1001 / 30;
            let times = timeline.video(((first + ms) % (1 << 32)) as u32, 0);
            assert_eq!(times.dts.0, millis(ms as i64));
            let heard = timeline.audio(((first + ms + 7) % (1 << 32)) as u32);
            assert_eq!(heard.pts.0, millis(ms as i64 + 7));
        }
        assert_eq!(timeline.counts(), Counts::default());
    }

    #[test]
    fn equal_and_backward_timestamps_are_nudged_and_the_clock_is_kept() {
        let (dts, counts) = video(&[0, 40, 40, 30, 80, 120]);
        assert_eq!(
            dts,
            [millis(0), millis(40), millis(40) + 1, millis(40) + 2, millis(80), millis(120)]
        );
        assert_eq!(counts, Counts { nudged: 2, ..Counts::default() });
    }

    #[test]
    fn a_lone_outlier_is_stamped_anew() {
        for outlier in [3_600_000, 80_u32.wrapping_sub(600), u32::MAX / 2 + 80, 5_041] {
            let (dts, counts) = video(&[0, 40, outlier, 120, 160]);
            assert_eq!(dts, [0, 40, 80, 120, 160].map(millis), "{outlier}");
            assert_eq!(counts, Counts { restamped: 1, ..Counts::default() });
        }
    }

    #[test]
    fn a_lasting_jump_goes_on_from_the_last_output() {
        for base in [3_600_000, 10_000_u32.wrapping_neg()] {
            let ms =
                [0, 40, base, base.wrapping_add(40), base.wrapping_add(80), base.wrapping_add(120)];
            let (dts, counts) = video(&ms);
            assert_eq!(dts, [0, 40, 80, 120, 160, 200].map(millis));
            assert_eq!(counts, Counts { restamped: 2, jumps: 1, ..Counts::default() });
        }
    }

    #[test]
    fn both_tracks_jump_together_and_stay_in_step() {
        let mut timeline = Timeline::new(START);
        let mut jumps = 0;
        for frame in 0..200_u32 {
            let ms = frame * 40 + if frame < 100 { 0 } else { 900_000 };
            let seen = timeline.video(ms, 0);
            let heard = timeline.audio(ms + 5);
            jumps += u32::from(seen.is_jump) + u32::from(heard.is_jump);
            if !(100..103).contains(&frame) {
                assert_eq!(heard.pts.0 - seen.dts.0, 5 * TICKS_PER_MS, "frame {frame}");
            }
        }
        assert_eq!((jumps, timeline.counts().jumps), (1, 1));
    }

    #[test]
    fn tracks_on_clocks_of_their_own_are_aligned_where_they_first_meet() {
        let mut timeline = Timeline::new(START);
        for frame in 0..100_u32 {
            assert_eq!(timeline.video(frame * 40, 0).dts.0, millis(i64::from(frame) * 40));
            assert_eq!(timeline.audio(7_000_000 + frame * 40).pts.0, millis(i64::from(frame) * 40));
        }
        assert_eq!(timeline.counts(), Counts::default());
    }

    #[test]
    fn a_track_that_stalled_comes_back_in_step() {
        for stalled_ms in [4_000, 6_000, 70_000, 7_200_000] {
            let mut timeline = Timeline::new(START);
            timeline.video(0, 0);
            for ms in (0..stalled_ms).step_by(20) {
                timeline.audio(ms);
            }
            assert_eq!(timeline.video(stalled_ms, 0).dts.0, millis(stalled_ms.into()));
            assert_eq!(timeline.audio(stalled_ms).pts.0, millis(stalled_ms.into()));
            assert_eq!(timeline.counts(), Counts::default());
        }
    }

    #[test]
    fn a_garbage_first_timestamp_sets_no_duration() {
        let mut timeline = Timeline::new(START);
        assert_eq!(timeline.video(3_999_999_999, 0).dts, START);
        assert_eq!(timeline.audio(0).pts, START);
        assert_eq!(timeline.video(40, 0).dts.0, millis(40));
        assert_eq!(timeline.audio(23).pts.0, millis(23));
        assert_eq!(timeline.counts(), Counts::default());
        // Without audio it takes as many frames as any jump.
        let (dts, _) = video(&[3_999_999_999, 40, 80, 120, 160]);
        assert_eq!(dts, [0, 40, 80, 120, 160].map(millis));
    }

    #[test]
    fn positive_offsets_pass_through() {
        let mut timeline = Timeline::new(START);
        for (ms, composition_ms) in [(0, 80), (40, 160), (80, 80), (120, 0), (160, 40)] {
            let times = timeline.video(ms, composition_ms);
            assert_eq!(times.dts.0, millis(ms.into()));
            assert_eq!(times.pts.0, millis(i64::from(ms) + i64::from(composition_ms)));
        }
    }

    #[test]
    fn negative_offsets_move_decoding_times_once_and_presentation_times_never() {
        let mut timeline = Timeline::new(START);
        let first: Vec<_> =
            [(0, 0), (40, 80), (80, -40)].map(|(ms, c)| timeline.video(ms, c)).into();
        assert_eq!(first[1].pts.0, millis(120));
        assert_eq!(
            (first[2].dts.0, first[2].pts.0),
            (millis(40) + 1, millis(40) + 1),
            "a tick late, once"
        );
        for group in 1..50 {
            for (frame, composition_ms) in [(0, 0), (1, 80), (2, -40), (3, -40)] {
                let ms = group * 160 + frame * 40;
                let times = timeline.video(ms, composition_ms);
                assert_eq!(times.dts.0, millis(i64::from(ms) - 40));
                assert_eq!(times.pts.0, millis(i64::from(ms) + i64::from(composition_ms)));
            }
        }
    }

    #[test]
    fn order_holds_whatever_the_camera_sends() {
        let seed = std::env::var("SLUICEGATE_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(0x5eed_u64);
        println!("SLUICEGATE_SEED={seed}");
        let mut state = seed;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        let mut timeline = Timeline::new(START);
        let (mut ms, mut last_dts, mut last_heard) = (random(), i64::MIN, i64::MIN);
        for _ in 0..200_000 {
            ms = match random() % 64 {
                0 => random(),
                1 => ms.wrapping_sub(random() % 6000),
                2 => ms.wrapping_add(random() % 6000),
                3 => ms,
                _ => ms.wrapping_add(random() % 80),
            };
            if random() % 2 == 0 {
                let offset = (random() % 9000).cast_signed() - 4500;
                let times = timeline.video(ms, offset);
                assert!(times.pts >= times.dts && times.dts.0 > last_dts);
                last_dts = times.dts.0;
            } else {
                let pts = timeline.audio(ms).pts.0;
                assert!(pts > last_heard);
                last_heard = pts;
            }
        }
        assert!(last_dts >= 0 && timeline.end().0 > last_dts.max(last_heard));
    }
}
