//! Access units → where the parts of a low-latency segment end.
//!
//! A part may never be longer than its target, and players stumble over one that is much shorter than the others: so a
//! group of pictures is divided into parts that are alike, by the length that the groups before it had. A
//! camera whose groups are not alike cannot be served so; its segments are listed when they are complete.
//!
//! Source: draft-pantos-hls-rfc8216bis §4.4.3.7, §4.4.4.9.

use crate::{hls::PartEnd, limits::PARTS_PER_SEGMENT_MAX, units::Ticks90k};

/// Groups of pictures that must be alike, one after the other, before they are divided.
const STEADY_GOPS: u32 = 2;

/// By how many access units groups that are alike may differ: cameras round their times.
const GOP_SLACK: u32 = 1;

/// Whether a camera's pictures can be divided into parts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cadence {
    /// Its groups of pictures are still being measured.
    #[default]
    Unknown,
    /// They are alike: segments are listed in parts.
    Steady,
    /// They are not alike.
    Uneven,
    /// A part has no room for two of its pictures.
    Sparse,
    /// A segment would have more than [`PARTS_PER_SEGMENT_MAX`] parts.
    Long,
}

/// A part that is complete: a range of the bytes of its segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Where it begins, in bytes from the segment's start.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// How long it plays.
    pub duration: Ticks90k,
    /// It starts its segment, with an IDR picture: players may begin here.
    pub is_independent: bool,
}

/// Cuts the parts of one publish session.
#[derive(Debug)]
pub struct PartCutter {
    target: Ticks90k,
    frag_duration: Ticks90k,
    /// Where the part that is open began, and whether players may begin there.
    part: Option<(Ticks90k, bool)>,
    /// The mean distance of two access units in the group before.
    frame: Ticks90k,
    /// Access units of this group.
    frames: u32,
    /// Of the open part.
    part_frames: u32,
    /// When it began.
    gop_start: Option<Ticks90k>,
    /// Access units of the one before, and how long it was.
    gop: Option<(u32, Ticks90k)>,
    /// Groups that have been measured, and how many of them are alike, up to the last.
    gops: u32,
    alike: u32,
    /// Parts of a group, where the open segment is listed in parts.
    parts: Option<u32>,
}

impl PartCutter {
    /// Cuts parts of at most `target`, of segments of `frag_duration`.
    pub const fn new(target: Ticks90k, frag_duration: Ticks90k) -> Self {
        Self {
            target,
            frag_duration,
            part: None,
            frame: Ticks90k(0),
            frames: 0,
            part_frames: 0,
            gop_start: None,
            gop: None,
            gops: 0,
            alike: 0,
            parts: None,
        }
    }

    /// The part that ends before the access unit that is decoded at `dts`. `opens`: that one begins a segment.
    pub fn step(&mut self, dts: Ticks90k, is_key: bool, opens: bool) -> Option<PartEnd> {
        let ended = self
            .part
            .filter(|(start, _)| opens || self.is_due(dts, *start, is_key))
            .map(|(start, is_independent)| PartEnd { duration: dts - start, is_independent });
        self.measure(dts, is_key);
        if opens {
            self.parts = if is_key { self.parts_of_a_gop().ok() } else { None };
        }
        if opens || ended.is_some() {
            // PAT and PMT stand at the start of a segment, so a player begins nowhere else.
            self.part = self.parts.map(|_| (dts, is_key && opens));
            self.part_frames = 0;
        }
        self.part_frames += 1;
        ended
    }

    /// Whether the open segment is listed in parts.
    pub const fn is_parted(&self) -> bool {
        self.parts.is_some()
    }

    /// What the camera's groups of pictures are like.
    pub fn cadence(&self) -> Cadence {
        self.parts_of_a_gop().err().unwrap_or(Cadence::Steady)
    }

    /// The segment ended without a key frame, or something is missing: what was measured means nothing.
    pub const fn reset(&mut self) {
        *self = Self::new(self.target, self.frag_duration);
    }

    fn is_due(&self, dts: Ticks90k, start: Ticks90k, is_key: bool) -> bool {
        // With one more of the usual length the part would be too long. One that is longer than usual is not reckoned with:
        // parts would be short because a picture was once late. Who lists parts leaves out what became too long.
        if is_key || dts + self.frame - start > self.target {
            return true;
        }
        let (Some(parts), Some((gop, _))) = (self.parts, self.gop) else { return false };
        // What would be less than half a part goes on: behind one that ended early, and behind the length that was expected.
        let is_long_enough = 2 * self.part_frames * parts >= gop;
        let ends = (1..parts).any(|part| part * gop / parts == self.frames);
        ends && is_long_enough && self.frames < gop
    }

    fn measure(&mut self, dts: Ticks90k, is_key: bool) {
        if is_key {
            if let Some(start) = self.gop_start {
                let is_alike =
                    self.gop.is_some_and(|(gop, _)| gop.abs_diff(self.frames) <= GOP_SLACK);
                self.alike = if is_alike { self.alike + 1 } else { 1 };
                self.gops += 1;
                let lasts = dts - start;
                self.gop = Some((self.frames, lasts));
                self.frame = Ticks90k(lasts.0 / i64::from(self.frames.max(1)));
            }
            self.gop_start = Some(dts);
            self.frames = 0;
        }
        self.frames += 1;
    }

    /// Into how many parts a group is divided, so that each has room for one access unit more than is expected.
    fn parts_of_a_gop(&self) -> Result<u32, Cadence> {
        let (gop, lasts) = self.gop.filter(|_| self.gops >= STEADY_GOPS).ok_or(Cadence::Unknown)?;
        if self.alike < STEADY_GOPS {
            return Err(Cadence::Uneven);
        }
        let fit = self.target.0.checked_div(self.frame.0).and_then(|fit| u32::try_from(fit).ok());
        let most = fit.and_then(|fit| fit.checked_sub(GOP_SLACK)).filter(|most| *most > 0);
        let parts = gop.div_ceil(most.ok_or(Cadence::Sparse)?).max(1);
        // A segment ends with the group in which it is long enough.
        let gops = self.frag_duration.0.checked_div(lasts.0).ok_or(Cadence::Uneven)? + 1;
        if i64::from(parts) * gops > PARTS_PER_SEGMENT_MAX as i64 {
            return Err(Cadence::Long);
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ticks90k = Ticks90k::from_millis(330);
    const FRAG_DURATION: Ticks90k = Ticks90k::from_millis(2000);

    /// The lengths in ms of the parts that a camera's access units come to, by segment; a segment is one group.
    fn parts_ms(gops: &[u32], frame_ms: &dyn Fn(i64) -> i64) -> Vec<Vec<i64>> {
        let mut cutter = PartCutter::new(TARGET, FRAG_DURATION);
        let (mut segments, mut n) = (vec![Vec::new()], 0);
        for gop in gops {
            for frame in 0..*gop {
                let is_key = frame == 0;
                let dts = Ticks90k::from_millis(frame_ms(n));
                if let Some(part) = cutter.step(dts, is_key, is_key) {
                    segments.last_mut().unwrap().push(part.duration.as_millis());
                }
                if is_key && n > 0 {
                    segments.push(Vec::new());
                }
                n += 1;
            }
        }
        segments
    }

    #[test]
    fn groups_that_are_alike_are_divided_into_parts_that_are_alike() {
        for (gop, frame) in [(50, 40), (25, 40), (60, 33), (10, 100), (30, 33), (12, 40)] {
            let segments = parts_ms(&[gop; 8], &|n| n * frame);
            assert!(segments[..2].iter().all(Vec::is_empty), "measured first: {segments:?}");
            for parts in &segments[2..7] {
                let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
                assert!(*most <= 330 && most - least <= frame, "{gop} × {frame}: {parts:?}");
                assert_eq!(parts.iter().sum::<i64>(), i64::from(gop) * frame);
            }
        }
    }

    #[test]
    fn times_that_are_rounded_and_groups_off_by_one_make_no_short_tail() {
        let gops = [50, 50, 51, 50, 50, 51, 50, 51];
        let segments = parts_ms(&gops, &|n| n * 1000 / 25 + n % 2);
        for parts in &segments[4..7] {
            let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
            assert!(*most <= 330 && least * 2 >= *most, "{parts:?}");
        }
    }

    #[test]
    fn a_picture_that_is_late_once_makes_no_short_parts() {
        // The 130th of 25 a second comes after 160 ms, and all behind it are as late.
        let segments = parts_ms(&[50; 8], &|n| n * 40 + if n >= 130 { 120 } else { 0 });
        let behind: Vec<_> = segments[3..7].iter().flatten().collect();
        assert!(behind.iter().all(|ms| (200..=280).contains(*ms)), "{behind:?}");
        let late = segments[2].iter().filter(|ms| **ms > 330).count();
        assert!(late <= 1 && segments[2].iter().all(|ms| *ms >= 160), "{:?}", segments[2]);
    }

    #[test]
    fn a_camera_without_a_beat_is_served_plainly() {
        let segments = parts_ms(&[50, 20, 70, 33, 50, 12, 61], &|n| n * 40);
        assert!(segments.iter().all(Vec::is_empty), "{segments:?}");
        let cadence = |gop: i64, frame_ms: i64, frag_ms: i64| {
            let mut cutter = PartCutter::new(TARGET, Ticks90k::from_millis(frag_ms));
            for n in 0..3 * gop + 1 {
                let is_key = n % gop == 0;
                cutter.step(Ticks90k::from_millis(n * frame_ms), is_key, is_key);
            }
            cutter.cadence()
        };
        assert_eq!(cadence(25, 40, 2000), Cadence::Steady);
        assert_eq!(cadence(2, 1000, 2000), Cadence::Sparse, "a picture a second");
        assert_eq!(cadence(25, 40, 30_000), Cadence::Long, "124 parts");
        assert_eq!(cadence(500, 40, 2000), Cadence::Long, "a key frame in 20 s");
    }

    #[test]
    fn a_group_that_turns_out_longer_goes_on_in_whole_parts() {
        let segments = parts_ms(&[50, 50, 50, 90, 50, 50, 50, 50], &|n| n * 40);
        assert!(!segments[3].is_empty() && segments[3].iter().all(|ms| *ms <= 330));
        assert_eq!(segments[3].iter().sum::<i64>(), 3600);
        assert!(segments[4].is_empty() && segments[5].is_empty(), "the beat is lost: {segments:?}");
        assert!(!segments[6].is_empty(), "and found again: {segments:?}");
    }
}
