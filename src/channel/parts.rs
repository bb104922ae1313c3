//! The parts of a channel's newest segments: what a low-latency playlist lists ahead of the segments, and where
//! the bytes of a segment are that is not complete.
//!
//! They are in the write buffer until it is full, then with the flash thread, then in the ring's file: never in two
//! places, and never in a place of their own. Nothing here reads or writes.

use crate::{
    hls::{PartEnd, parts::Part},
    limits::{PARTED_SEGMENTS_MAX, PARTS_PER_SEGMENT_MAX, WRITE_BYTES},
    units::{Ticks90k, UnixMillis},
};

/// The newest segments that are listed in parts, oldest first; and how far their writes are.
#[derive(Debug, Default)]
pub struct PartLog {
    segments: heapless::Deque<Parted, PARTED_SEGMENTS_MAX>,
    /// Writes that were handed to the flash thread.
    issued: u64,
    /// Writes that it is done with. It keeps their order.
    done: u64,
    /// The last segment that it has sealed since the ring was opened.
    sealed: Option<u64>,
}

/// One segment in parts.
#[derive(Debug)]
pub struct Parted {
    /// Its media sequence number.
    pub sequence: u64,
    /// Its name.
    pub start: UnixMillis,
    /// A discontinuity stands before it.
    pub is_discontinuity: bool,
    /// No part comes behind the last one.
    pub is_complete: bool,
    /// Its parts so far, without a hole between them.
    pub parts: heapless::Vec<Part, PARTS_PER_SEGMENT_MAX>,
    /// Log position of its first byte.
    pub position: u64,
    /// The number of its first write.
    first_write: u64,
}

impl Parted {
    /// How many parts it has, and whether those are all.
    pub fn progress(&self) -> (usize, bool) {
        (self.parts.len(), self.is_complete)
    }

    /// Where its last part ends, in bytes from the segment's start.
    pub fn bytes(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.offset + part.bytes)
    }
}

impl PartLog {
    /// A segment is opened. The oldest makes room.
    pub fn open(
        &mut self,
        sequence: u64,
        start: UnixMillis,
        is_discontinuity: bool,
        position: u64,
    ) {
        if self.segments.is_full() {
            self.segments.pop_front();
        }
        let (parts, first_write) = (heapless::Vec::new(), self.issued);
        let is_complete = false;
        let parted =
            Parted { sequence, start, is_discontinuity, is_complete, parts, position, first_write };
        // There is room.
        let _ = self.segments.push_back(parted);
    }

    /// The open segment has one more part, which ends at byte `end`.
    ///
    /// Behind one that lasts longer than `target`, because pictures are missing, and behind more than there is room for
    /// no part comes any more: the segment is listed when it is complete.
    pub fn part(&mut self, sequence: u64, part: PartEnd, end: u64, target: Ticks90k) {
        let open = self.segments.back_mut().filter(|open| open.sequence == sequence);
        let Some(parted) = open.filter(|open| !open.is_complete) else { return };
        let PartEnd { duration, is_independent } = part;
        let offset = parted.bytes();
        // Nothing was written in it: what comes next is part of it.
        let Some(bytes) = end.checked_sub(offset).filter(|bytes| *bytes > 0) else { return };
        let part = Part { offset, bytes, duration, is_independent };
        parted.is_complete = duration > target || parted.parts.push(part).is_err();
    }

    /// The open segment is complete, with so many bytes in so much time. One whose parts are not all of it has none.
    pub fn seal(&mut self, sequence: u64, bytes: u64, duration: Ticks90k, target: Ticks90k) {
        let Some(parted) = self.of(sequence) else { return };
        let told = parted.parts.iter().fold(Ticks90k(0), |sum, part| sum + part.duration);
        let rest = PartEnd { duration: duration - told, is_independent: false };
        if rest.duration.0 > 0 {
            self.part(sequence, rest, bytes, target);
        }
        match self.segments.back_mut().filter(|open| open.sequence == sequence) {
            Some(parted) if parted.bytes() == bytes => parted.is_complete = true,
            _ => self.forget(sequence),
        }
    }

    /// The flash thread has sealed a segment. With it went down which number and which name the segment behind it may have.
    pub const fn sealed(&mut self, sequence: u64) {
        self.sealed = Some(sequence);
    }

    /// Whether that was this one, so that parts of the segment behind it may be listed: they would never come again
    /// under their name.
    pub fn has_sealed(&self, sequence: u64) -> bool {
        self.sealed == Some(sequence)
    }

    /// A segment is not listed in parts after all.
    pub fn forget(&mut self, sequence: u64) {
        self.segments.pop_back_if(|open| open.sequence == sequence);
    }

    /// The ring failed: segments from this one on are lost, and writes that were issued and not handed over.
    pub fn fail(&mut self, kept_below: u64, writes_dropped: u64) {
        while self.segments.pop_back_if(|open| open.sequence >= kept_below).is_some() {}
        self.done += writes_dropped;
    }

    /// So many writes were handed to the flash thread.
    pub const fn issue(&mut self, writes: usize) {
        self.issued += writes as u64;
    }

    /// The flash thread is done with one.
    pub const fn written(&mut self) {
        self.done += 1;
    }

    /// The segment of this number.
    pub fn of(&self, sequence: u64) -> Option<&Parted> {
        self.segments.iter().find(|parted| parted.sequence == sequence)
    }

    /// How many bytes of a segment are in the ring's file.
    pub const fn written_bytes(&self, parted: &Parted) -> u64 {
        self.done.saturating_sub(parted.first_write) * WRITE_BYTES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ticks90k = Ticks90k::from_millis(330);

    fn part(ms: i64) -> PartEnd {
        PartEnd { duration: Ticks90k::from_millis(ms), is_independent: false }
    }

    fn log() -> PartLog {
        let mut log = PartLog::default();
        log.open(7, UnixMillis(1000), false, 0);
        log.part(7, part(300), 100, TARGET);
        log.part(7, part(300), 250, TARGET);
        log
    }

    #[test]
    fn parts_have_no_hole_and_come_to_the_whole_segment() {
        let mut log = log();
        let ranges: Vec<_> =
            log.of(7).unwrap().parts.iter().map(|part| (part.offset, part.bytes)).collect();
        assert_eq!(ranges, [(0, 100), (100, 150)]);
        log.seal(7, 300, Ticks90k::from_millis(800), TARGET);
        assert_eq!(log.of(7).unwrap().parts.last().unwrap().duration, Ticks90k::from_millis(200));
        assert_eq!(log.of(7).unwrap().bytes(), 300);
    }

    #[test]
    fn a_segment_that_is_not_the_sum_of_its_parts_has_none() {
        let mut late = log();
        late.seal(7, 300, Ticks90k::from_millis(2000), TARGET);
        assert!(late.of(7).is_none(), "the rest would be longer than a part may be");
        let mut short = log();
        short.seal(7, 200, Ticks90k::from_millis(600), TARGET);
        assert!(short.of(7).is_none(), "part of the last part was taken back");
        let mut long = PartLog::default();
        long.open(7, UnixMillis(1), false, 0);
        let last = PARTS_PER_SEGMENT_MAX as u64 + 1;
        (1..=last).for_each(|n| long.part(7, part(100), n, TARGET));
        assert!(long.of(7).unwrap().is_complete, "more parts than there is room for");
        long.seal(7, last, Ticks90k::from_millis(6500), TARGET);
        assert!(long.of(7).is_none());
    }

    #[test]
    fn no_part_is_listed_that_is_longer_than_its_target_nor_any_behind_it() {
        let mut log = log();
        log.part(7, part(331), 300, TARGET);
        log.part(7, part(100), 400, TARGET);
        assert_eq!(log.of(7).unwrap().parts.len(), 2);
        assert!(log.of(7).unwrap().is_complete, "nothing is hinted at");
        log.seal(7, 500, Ticks90k::from_millis(1100), TARGET);
        assert!(log.of(7).is_none());
    }

    #[test]
    fn bytes_are_in_the_file_when_their_write_is_done_and_not_before() {
        let mut log = PartLog::default();
        log.issue(3);
        log.open(7, UnixMillis(1), false, 0);
        log.issue(2);
        (0..3).for_each(|_| log.written());
        assert_eq!(log.written_bytes(log.of(7).unwrap()), 0);
        log.written();
        assert_eq!(log.written_bytes(log.of(7).unwrap()), WRITE_BYTES as u64);
    }

    #[test]
    fn what_the_ring_lost_is_listed_no_more_and_its_writes_are_not_waited_for() {
        let mut log = log();
        log.issue(2);
        log.fail(7, 1);
        assert!(log.of(7).is_none());
        log.open(8, UnixMillis(2), false, 0);
        log.issue(1);
        (0..2).for_each(|_| log.written());
        assert_eq!(log.written_bytes(log.of(8).unwrap()), WRITE_BYTES as u64);
    }
}
