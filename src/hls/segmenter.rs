//! Access units → where segments begin and end. Decides only: who carries a [`Step`] out writes and seals.
//!
//! A segment opens on a key frame, and ends before the first key frame at which it has lasted FragDuration. Without
//! one it ends after twice FragDuration or 60 s, whichever is longer, or when its room is used up (OSS, "LiveChannel
//! overview"); the next one then begins in the middle of a group of pictures. A long group of pictures is no
//! discontinuity (RFC 8216 §4.3.2.3): that is a change of what is sent, or a hole in the timeline.

use super::{Gop, SegmentEnd, SegmentStart};
use crate::{
    limits::{FORCED_CUT_SECS_MIN, SEGMENT_FRAMES_MIN},
    units::{TICKS_PER_SEC, Ticks90k},
};

/// Video that comes is cut by its own next picture, which then needs no key frame; after this long none comes.
const VIDEO_GONE: Ticks90k = Ticks90k::from_millis(crate::limits::TIMESTAMP_STEP_MS_MAX);

/// What becomes of an access unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Open the first segment, or the first after a hole, with it.
    Open(SegmentStart),
    /// Write it to the open segment.
    Append,
    /// Seal the open segment, then open the next with it.
    Cut {
        /// Of the open segment.
        end: SegmentEnd,
        /// Of the next.
        start: SegmentStart,
    },
    /// Leave it out: a key frame is waited for.
    Drop,
}

/// What is changing in the stream, so that the next key frame begins a segment with a discontinuity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// The video's parameter sets: what comes before that key frame cannot be decoded and is left out.
    Video,
    /// The audio's configuration, or whether there is audio at all.
    Audio,
}

/// Cuts one channel's access units into segments.
#[derive(Clone, Copy, Debug)]
pub struct Segmenter {
    frag_duration: Ticks90k,
    forced_cut: Ticks90k,
    open: Option<Open>,
    /// `open` as it was before the last access unit.
    before_last: Option<Open>,
    last_key: Option<Ticks90k>,
    change: Option<Change>,
    is_discontinuity_due: bool,
    measured: Measured,
}

/// The open segment.
#[derive(Clone, Copy, Debug)]
struct Open {
    start: Ticks90k,
    /// Its last access unit.
    last: Ticks90k,
    is_independent: bool,
    frames: u32,
    gop: Option<Gop>,
}

/// What the segments that were cut tell of the camera.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Measured {
    /// Distances between key frames in the last segment that had any.
    pub gop: Option<Gop>,
    /// Frames in 1,000 seconds, over the last segment.
    pub frames_per_1000_s: Option<u32>,
}

impl Segmenter {
    /// Cuts at `frag_duration_s` seconds. `is_discontinuity`: the first segment is one.
    pub fn new(frag_duration_s: u32, is_discontinuity: bool) -> Self {
        let secs = |secs: u32| Ticks90k(i64::from(secs) * TICKS_PER_SEC);
        Self {
            frag_duration: secs(frag_duration_s),
            forced_cut: secs(frag_duration_s.saturating_mul(2).max(FORCED_CUT_SECS_MIN)),
            open: None,
            before_last: None,
            last_key: None,
            change: None,
            is_discontinuity_due: is_discontinuity,
            measured: Measured::default(),
        }
    }

    /// How long a segment is to be.
    pub const fn frag_duration(&self) -> Ticks90k {
        self.frag_duration
    }

    /// Decides on the access unit that is decoded at `dts`; `has_room`: the open segment can take it.
    pub fn step(&mut self, dts: Ticks90k, is_key: bool, has_room: bool) -> Step {
        let distance = self.last_key.filter(|_| is_key).map(|key| dts - key);
        if is_key {
            self.last_key = Some(dts);
        }
        let step = match &mut self.open {
            None if is_key => Step::Open(self.begin(dts, is_key)),
            None => return Step::Drop,
            Some(open) => {
                if let Some(distance) = distance {
                    open.gop = Some(Gop::with(open.gop, distance));
                }
                let age = dts - open.start;
                let is_due = self.change.is_some()
                    || age >= self.frag_duration && open.frames >= SEGMENT_FRAMES_MIN;
                if !is_key && (open.frames == 0 || self.change == Some(Change::Video)) {
                    return Step::Drop;
                }
                if open.frames > 0 && (is_key && is_due || age >= self.forced_cut || !has_room) {
                    let end = open.end(dts);
                    self.measured = open.measure(&end, self.measured);
                    Step::Cut { end, start: self.begin(dts, is_key) }
                } else {
                    Step::Append
                }
            }
        };
        self.before_last = self.open;
        if let Some(open) = &mut self.open {
            open.frames += 1;
            open.last = dts;
        }
        step
    }

    /// The last access unit was not written after all. A segment that it opened stays open for the next key frame.
    pub const fn undo(&mut self) {
        self.open = self.before_last;
    }

    /// Ends the open segment at `at`; the next one begins at a key frame, after a hole.
    pub fn close(&mut self, at: Ticks90k) -> Option<SegmentEnd> {
        self.last_key = None;
        self.is_discontinuity_due = true;
        self.open.take().map(|open| open.end(at))
    }

    /// Notes a change that the next key frame brings into force.
    pub fn change(&mut self, change: Change) {
        if self.open.is_some() && self.change != Some(Change::Video) {
            self.change = Some(change);
        }
    }

    /// Notes that the camera's clock jumped: the next segment is a discontinuity, whenever it comes.
    pub const fn clock_jumped(&mut self) {
        self.is_discontinuity_due = true;
    }

    /// Whether a segment is open.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the open segment is too old at `at` to wait for video any longer.
    pub fn is_overdue(&self, at: Ticks90k) -> bool {
        self.open
            .is_some_and(|open| at - open.start >= self.forced_cut && at - open.last >= VIDEO_GONE)
    }

    /// Whether the last access unit is its segment's first.
    pub fn is_first(&self) -> bool {
        self.open.is_some_and(|open| open.frames == 1)
    }

    /// Whether the open segment has an access unit.
    pub fn has_frames(&self) -> bool {
        self.open.is_some_and(|open| open.frames > 0)
    }

    /// What the camera does, as opposed to what it says.
    pub const fn measured(&self) -> Measured {
        self.measured
    }

    fn begin(&mut self, dts: Ticks90k, is_key: bool) -> SegmentStart {
        let is_discontinuity = self.is_discontinuity_due || is_key && self.change.is_some();
        self.is_discontinuity_due = false;
        if is_key {
            self.change = None;
        }
        self.open =
            Some(Open { start: dts, last: dts, is_independent: is_key, frames: 0, gop: None });
        SegmentStart { dts, is_discontinuity, is_parted: false }
    }
}

impl Open {
    fn end(&self, at: Ticks90k) -> SegmentEnd {
        SegmentEnd { duration: at - self.start, is_independent: self.is_independent, gop: self.gop }
    }

    fn measure(&self, end: &SegmentEnd, before: Measured) -> Measured {
        let rate = (i64::from(self.frames) * 1000 * TICKS_PER_SEC).checked_div(end.duration.0);
        Measured {
            gop: self.gop.or(before.gop),
            frames_per_1000_s: rate.and_then(|rate| rate.try_into().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps through frames of `step_ms`, a key frame each `gop` of them; returns the length of each segment that was cut, in ms.
    fn segments_ms(segmenter: &mut Segmenter, step_ms: i64, gop: i64, frames: i64) -> Vec<i64> {
        let steps = (0..frames)
            .map(|n| segmenter.step(Ticks90k::from_millis(n * step_ms), n % gop == 0, true));
        let cut = |step| {
            if let Step::Cut { end, .. } = step { Some(end.duration.as_millis()) } else { None }
        };
        steps.filter_map(cut).collect()
    }

    fn at(ms: i64) -> Ticks90k {
        Ticks90k::from_millis(ms)
    }

    fn start(ms: i64, is_discontinuity: bool) -> SegmentStart {
        SegmentStart { dts: at(ms), is_discontinuity, is_parted: false }
    }

    fn end(ms: i64, is_independent: bool, gop_ms: Option<(i64, i64)>) -> SegmentEnd {
        let gop =
            gop_ms.map(|(shortest, longest)| Gop { shortest: at(shortest), longest: at(longest) });
        SegmentEnd { duration: at(ms), is_independent, gop }
    }

    #[test]
    fn cuts_at_the_first_keyframe_on_or_after_the_target() {
        // FragDuration in s, ms a frame, frames a group, expected lengths in ms.
        let table: &[(u32, i64, i64, i64)] = &[
            (5, 40, 50, 6_000),
            (5, 40, 125, 5_000),
            (5, 40, 250, 10_000),
            (1, 40, 50, 2_000),
            (2, 200, 5, 2_000),
            (100, 1000, 7, 105_000),
            // Groups longer than the forced cut: every 60 s, whether or not a key frame is there.
            (5, 40, 1_000_000, 60_000),
            (40, 1000, 1_000_000, 80_000),
            // One frame a second, all of them key frames: never fewer than two in a segment.
            (1, 1000, 1, 2_000),
            (3, 1000, 1, 3_000),
        ];
        for (frag, step_ms, gop, expected) in table {
            let lengths =
                segments_ms(&mut Segmenter::new(*frag, false), *step_ms, *gop, 400_000 / step_ms);
            assert!(
                lengths.len() >= 3 && lengths.iter().all(|ms| ms == expected),
                "{frag} s: {lengths:?}"
            );
        }
    }

    #[test]
    fn opens_on_a_key_frame_only() {
        let mut segmenter = Segmenter::new(5, false);
        assert_eq!(segmenter.step(at(0), false, true), Step::Drop);
        assert_eq!(segmenter.step(at(40), true, true), Step::Open(start(40, false)));
        assert_eq!(segmenter.step(at(80), false, true), Step::Append);
    }

    #[test]
    fn a_full_segment_is_cut_without_a_key_frame_and_without_a_discontinuity() {
        let mut segmenter = Segmenter::new(5, true);
        assert_eq!(segmenter.step(at(0), true, false), Step::Open(start(0, true)));
        let cut = segmenter.step(at(40), false, false);
        assert_eq!(cut, Step::Cut { end: end(40, true, None), start: start(40, false) });
        let next = segmenter.step(at(5_040), true, true);
        assert_eq!(next, Step::Append, "one frame is not enough for a segment");
        let next = segmenter.step(at(5_080), true, true);
        assert_eq!(
            next,
            Step::Cut { end: end(5_040, false, Some((40, 5_040))), start: start(5_080, false) }
        );
    }

    #[test]
    fn a_change_cuts_at_the_next_key_frame_with_a_discontinuity() {
        for (change, before_key) in [(Change::Audio, Step::Append), (Change::Video, Step::Drop)] {
            let mut segmenter = Segmenter::new(5, false);
            segmenter.step(at(0), true, true);
            segmenter.change(change);
            assert_eq!(segmenter.step(at(40), false, true), before_key);
            let cut = segmenter.step(at(80), true, true);
            assert_eq!(
                cut,
                Step::Cut { end: end(80, true, Some((80, 80))), start: start(80, true) }
            );
            assert_eq!(segmenter.step(at(120), true, true), Step::Append, "once");
        }
    }

    #[test]
    fn a_change_before_the_first_segment_is_none() {
        let mut segmenter = Segmenter::new(5, false);
        segmenter.change(Change::Video);
        assert_eq!(segmenter.step(at(0), true, true), Step::Open(start(0, false)));
    }

    #[test]
    fn a_jump_of_the_clock_marks_the_next_segment_and_cuts_nothing() {
        let mut segmenter = Segmenter::new(5, false);
        segmenter.step(at(0), true, true);
        segmenter.clock_jumped();
        assert_eq!(segmenter.step(at(40), true, true), Step::Append);
        let cut = segmenter.step(at(5_000), true, true);
        assert_eq!(
            cut,
            Step::Cut { end: end(5_000, true, Some((40, 4_960))), start: start(5_000, true) }
        );
    }

    #[test]
    fn after_a_hole_the_next_key_frame_is_a_discontinuity() {
        let mut segmenter = Segmenter::new(5, false);
        segmenter.step(at(0), true, true);
        assert_eq!(segmenter.close(at(100)), Some(end(100, true, None)));
        assert_eq!(segmenter.close(at(100)), None);
        assert_eq!(segmenter.step(at(120), false, true), Step::Drop);
        assert_eq!(segmenter.step(at(200), true, true), Step::Open(start(200, true)));
    }

    #[test]
    fn a_segment_whose_first_frame_was_undone_waits_for_a_key_frame() {
        let mut segmenter = Segmenter::new(1, false);
        segmenter.step(at(0), true, true);
        segmenter.undo();
        assert!(!segmenter.has_frames());
        assert_eq!(segmenter.step(at(40), false, true), Step::Drop);
        assert_eq!(
            segmenter.step(at(2_000), true, false),
            Step::Append,
            "there is nothing to cut off"
        );
        assert!(segmenter.is_first());
        assert_eq!(segmenter.step(at(2_040), false, true), Step::Append);
        let cut = segmenter.step(at(4_000), true, true);
        assert_eq!(
            cut,
            Step::Cut { end: end(4_000, true, Some((2_000, 2_000))), start: start(4_000, false) }
        );
    }

    #[test]
    fn measures_what_the_camera_does() {
        let mut segmenter = Segmenter::new(5, false);
        segments_ms(&mut segmenter, 40, 50, 1_000);
        let gop = Some(Gop { shortest: at(2_000), longest: at(2_000) });
        assert_eq!(segmenter.measured(), Measured { gop, frames_per_1000_s: Some(25_000) });
    }

    #[test]
    fn without_video_an_open_segment_grows_too_old() {
        let mut segmenter = Segmenter::new(5, false);
        segmenter.step(at(0), true, true);
        assert!(!segmenter.is_overdue(at(59_999)) && segmenter.is_overdue(at(60_000)));
    }
}
