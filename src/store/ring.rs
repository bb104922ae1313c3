//! One ring as the engine sees it: what may be read, what is on its way to flash, where the next segment goes.
//!
//! It does no I/O. What it hands out ([`Seal`], and [`OpenSegment`] for the writes) goes to the flash thread in that
//! order; the answers come back as [`sealed`](Ring::sealed) and [`fail`](Ring::fail).
//!
//! The oldest segments are *retired* when a segment opens, as far ahead as it may grow and a guard further: from then on
//! they cannot be found any more, and who is reading one must be cut off before the first write goes out. So nobody is
//! ever sent other bytes than were sealed. Recovery retires the same ones, from the records alone.

use std::{collections::VecDeque, ops::Range};

use thiserror::Error;

use super::{
    Record, Seal,
    geometry::{Extent, Geometry},
    recovery::{self, Recovered},
    segment::Body,
};
use crate::{
    limits::SEALS_IN_FLIGHT_MAX,
    units::{Ticks90k, UnixMillis},
};

/// The state of one ring.
#[derive(Debug)]
pub struct Ring {
    geometry: Geometry,
    /// Those that may be read, oldest first; their numbers and start times rise.
    records: VecDeque<Record>,
    /// How many of the newest have numbers without a hole between them.
    run: usize,
    /// Sealed, and not yet confirmed by the flash thread.
    pending: heapless::Deque<Record, SEALS_IN_FLIGHT_MAX>,
    epoch: u32,
    /// Where the ring goes on if nothing is sealed after recovery.
    floor: Floor,
    counters: Counters,
}

/// What the next segment must not go back behind.
#[derive(Clone, Copy, Debug)]
struct Floor {
    sequence: u64,
    time: UnixMillis,
    discontinuities: u64,
    position: u64,
}

impl Floor {
    const fn behind(newest: &Record) -> Self {
        Self {
            sequence: newest.sequence + 1,
            time: newest.next_start_min(),
            discontinuities: newest.discontinuities,
            position: newest.end_position(),
        }
    }

    /// Nothing goes back behind `record`, also where the ring does not hold it any more.
    fn raise(&mut self, record: &Record) {
        if record.sequence >= self.sequence {
            *self = Self::behind(record);
        }
    }
}

/// What has happened to a ring since it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Segments that were listed, gaps among them.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Gaps that were listed, and segments that became one.
    pub gaps: u64,
    /// Segments that made room for others.
    pub retired: u64,
}

/// Room for one segment. [`SegmentWriter::new`](super::segment::SegmentWriter::new) takes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenSegment {
    /// Which attempt of the ring it belongs to.
    pub epoch: u32,
    /// The sequence number it will have.
    pub sequence: u64,
    /// Log position of its first byte.
    pub position: u64,
    /// How long it may become, in bytes.
    pub bytes_max: u64,
    /// Who still reads a segment with a lower sequence number must be cut off before anything is written.
    pub readable_from: u64,
}

/// What the playlist will say of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listing {
    /// When it starts, by the channel's own clock; not before [`Ring::time_floor`].
    pub start: UnixMillis,
    /// How long it plays.
    pub duration: Ticks90k,
    /// TARGETDURATION in force, in seconds.
    pub target_duration_s: u16,
    /// A discontinuity stands before it.
    pub is_discontinuity: bool,
    /// It starts with an IDR picture.
    pub is_independent: bool,
}

/// What a failure of the flash costs, beside the open segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Loss {
    /// Segments that are lost.
    pub segments: u64,
    /// There was a stretch of time behind the newest listed segment that will have no place in the playlist.
    pub has_hole: bool,
}

/// The card is behind: [`SEALS_IN_FLIGHT_MAX`] seals wait for it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{SEALS_IN_FLIGHT_MAX} sealed segments wait for the flash")]
pub struct TooManySeals;

/// Why a segment cannot be sealed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SealError {
    /// The card is behind.
    #[error(transparent)]
    TooManySeals(#[from] TooManySeals),
    /// The ring failed while the segment was open, and its bytes were dropped.
    #[error("the flash failed while the segment was open")]
    Failed,
    /// It would have a name that is not later than the one before it.
    #[error("it starts at {start:?}, before {floor:?}")]
    TooEarly {
        /// When it starts.
        start: UnixMillis,
        /// The earliest that is possible.
        floor: UnixMillis,
    },
}

impl Ring {
    /// The ring that recovery found. It belongs to the writer that was opened with it.
    pub fn new(geometry: Geometry, recovered: Recovered) -> Self {
        let floor = Floor {
            sequence: recovered.next_sequence,
            time: recovered.time_floor,
            discontinuities: recovered.discontinuities,
            position: recovered.head,
        };
        let mut records = VecDeque::from(recovered.records);
        // All that it will ever need, as the budget has it: growing would take twice as much.
        let room = usize::try_from(geometry.layout.index_records()).unwrap_or(0);
        records.reserve_exact(room.saturating_sub(records.len()));
        let neighbours = records.iter().rev().zip(records.iter().rev().skip(1));
        let run = neighbours.take_while(|(later, r)| r.sequence + 1 == later.sequence).count() + 1;
        // What comes next is the end of a run only if no number is skipped.
        let is_followed = records.back().is_some_and(|last| last.sequence + 1 == floor.sequence);
        Self {
            geometry,
            run: if is_followed { run } else { 0 },
            records,
            pending: heapless::Deque::new(),
            epoch: 0,
            floor,
            counters: Counters::default(),
        }
    }

    /// Segments that one playlist can list, oldest first: their sequence numbers have no hole.
    ///
    /// Holes come from power cuts where durability is `relaxed`, and from damaged index pages. What lies before one can
    /// still be read, but no live playlist can number both sides.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> + ExactSizeIterator + Clone {
        self.records.range(self.records.len() - self.run..)
    }

    /// Every segment that can be read, oldest first, also before a hole.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Record> + ExactSizeIterator + Clone {
        self.records.iter()
    }

    /// The segments that start from `first` to `last`, both included, oldest first.
    pub fn between(
        &self,
        first: UnixMillis,
        last: UnixMillis,
    ) -> impl DoubleEndedIterator<Item = &Record> + ExactSizeIterator + Clone {
        let from = self.records.partition_point(|record| record.start < first);
        let to = self.records.partition_point(|record| record.start <= last);
        self.records.range(from..to.max(from))
    }

    /// The segment of this name.
    pub fn find(&self, start: UnixMillis) -> Option<&Record> {
        self.records.get(self.records.binary_search_by_key(&start, |record| record.start).ok()?)
    }

    /// The segment of this sequence number.
    pub fn record(&self, sequence: u64) -> Option<&Record> {
        self.records
            .get(self.records.binary_search_by_key(&sequence, |record| record.sequence).ok()?)
    }

    /// Whether the bytes of a segment are still its own. To be asked before each piece of it is sent.
    pub fn is_readable(&self, sequence: u64) -> bool {
        self.record(sequence).is_some_and(|record| !record.is_gap)
    }

    /// The piece of the file that holds a segment's bytes from `offset` on, at most `bytes_max` of them.
    ///
    /// `None`: it ends before `offset`.
    pub fn extent(&self, record: &Record, offset: u64, bytes_max: u64) -> Option<Extent> {
        let left = u64::from(record.bytes).checked_sub(offset).filter(|left| *left > 0)?;
        Some(self.geometry.layout.extent(record.position + offset, left.min(bytes_max)))
    }

    /// From the start of the oldest segment that can be read to the end of the newest.
    pub fn span(&self) -> Option<Range<UnixMillis>> {
        Some(self.records.front()?.start..self.records.back()?.end())
    }

    /// The sequence number of the next segment.
    pub fn next_sequence(&self) -> u64 {
        self.next().sequence
    }

    /// The earliest start of the next segment.
    pub fn time_floor(&self) -> UnixMillis {
        self.next().time
    }

    /// What has happened since the ring was opened.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The segment that is listed next, once its seal is on flash.
    pub fn next_listed(&self) -> Option<&Record> {
        self.pending.front()
    }

    /// Whether a sealed segment waits to be listed.
    pub fn is_sealing(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Where things lie.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Makes room for a segment. It is the caller's to have one open at a time.
    pub fn open_segment(&mut self) -> Result<OpenSegment, TooManySeals> {
        if self.pending.is_full() {
            return Err(TooManySeals);
        }
        let next = self.next();
        Ok(OpenSegment {
            epoch: self.epoch,
            sequence: next.sequence,
            position: next.position,
            bytes_max: self.geometry.segment_bytes_max,
            readable_from: self.retire(),
        })
    }

    /// Seals a segment whose writes have all been handed to the flash thread; the seal goes there next.
    pub fn seal(&mut self, body: Body, listing: Listing) -> Result<Seal, SealError> {
        let next = self.next();
        if (body.epoch, body.position) != (self.epoch, next.position) {
            return Err(SealError::Failed);
        }
        self.push(body.bytes, body.crc, listing)
    }

    /// Seals a gap: a stretch of time that has a place in the playlist and no bytes. No segment may be open.
    ///
    /// Beside the seal it tells from which sequence number on segments can be read, as [`OpenSegment`] does.
    pub fn seal_gap(&mut self, listing: Listing) -> Result<(Seal, u64), SealError> {
        let seal = self.push(0, 0, listing)?;
        Ok((seal, self.retire()))
    }

    /// The flash thread has sealed a segment: it is listed from here on. `None`: the ring does not know it any more.
    pub fn sealed(&mut self, sequence: u64) -> Option<&Record> {
        let record = *self.pending.front().filter(|record| record.sequence == sequence)?;
        self.pending.pop_front();
        self.counters.segments += 1;
        self.counters.bytes += u64::from(record.bytes);
        self.counters.gaps += u64::from(record.is_gap);
        self.records.push_back(record);
        self.run += 1;
        self.records.back()
    }

    /// The flash failed: what it had not synced is lost.
    ///
    /// The open segment and those that wait for their seal never were; whoever writes one must drop it. Listed ones from
    /// `synced_below` on, which there are only where durability is `relaxed`, become gaps, and who reads one must be
    /// cut off. The next segment is a new attempt: the flash thread sets its index right before it writes it.
    pub fn fail(&mut self, synced_below: u64) -> Loss {
        self.epoch = self.epoch.wrapping_add(1);
        let mut loss = Loss {
            segments: self.pending.iter().filter(|record| !record.is_gap).count() as u64,
            has_hole: !self.pending.is_empty(),
        };
        self.pending.clear();
        for record in self.records.iter_mut().rev() {
            if record.sequence < synced_below {
                break;
            }
            loss.segments += u64::from(!record.is_gap);
            self.counters.gaps += u64::from(!record.is_gap);
            record.lose();
        }
        loss
    }

    /// Makes a gap of a listed segment whose bytes turned out not to be the ones that were sealed. `false`: there is none.
    pub fn spoil(&mut self, sequence: u64) -> bool {
        if !self.is_readable(sequence) {
            return false;
        }
        // It keeps its place in the file, also where the next segment's follows from it or will, if those that wait for their seal fail.
        if let Some(last) = self.records.back().filter(|last| last.sequence == sequence) {
            self.floor.raise(last);
        }
        let found = self.records.binary_search_by_key(&sequence, |record| record.sequence);
        if let Some(record) = found.ok().and_then(|at| self.records.get_mut(at)) {
            record.lose();
        }
        self.counters.gaps += 1;
        true
    }

    /// Goes on where `other` stopped, of which this is the ring as it was opened anew: no number, no name and no count of discontinuities
    /// goes back behind what was listed there, also if this one is on another card.
    pub fn go_on_from(&mut self, other: &Self) {
        let (next, before) = (self.next(), other.next());
        let sequence = next.sequence.max(before.sequence);
        if sequence > next.sequence {
            self.run = 0;
        }
        self.floor = Floor {
            sequence,
            time: next.time.max(before.time),
            discontinuities: next.discontinuities.max(before.discontinuities),
            position: next.position,
        };
    }

    fn push(&mut self, bytes: u32, crc: u32, listing: Listing) -> Result<Seal, SealError> {
        let next = self.next();
        let Listing { start, duration, target_duration_s, is_discontinuity, is_independent } =
            listing;
        if start < next.time {
            return Err(SealError::TooEarly { start, floor: next.time });
        }
        let record = Record {
            sequence: next.sequence,
            discontinuities: next.discontinuities + u64::from(is_discontinuity),
            start,
            duration,
            position: next.position,
            bytes,
            crc,
            target_duration_s,
            is_discontinuity,
            is_independent,
            is_gap: bytes == 0,
        };
        self.pending.push_back(record).map_err(|_| TooManySeals)?;
        Ok(Seal { epoch: self.epoch, record })
    }

    /// What comes after the newest segment, listed or not.
    fn next(&self) -> Floor {
        let newest = self.pending.back().or(self.records.back());
        match newest.filter(|record| record.sequence >= self.floor.sequence) {
            None => self.floor,
            Some(newest) => Floor::behind(newest),
        }
    }

    /// Lets go of what the next segment may overwrite. Returns the first sequence number that can still be read.
    fn retire(&mut self) -> u64 {
        let next = self.next();
        let front = next.position + self.geometry.reach_bytes();
        let layout = &self.geometry.layout;
        let is_live = |record: &Record| recovery::is_live(record, layout, next.sequence, front);
        while let Some(retired) = self.records.pop_front_if(|record| !is_live(record)) {
            self.counters.retired += 1;
            // All that were listed may go before those ahead of them have been sealed, which may fail.
            self.floor.raise(&retired);
        }
        self.run = self.run.min(self.records.len());
        self.records.front().map_or(next.sequence, |record| record.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::GUARD_BYTES,
        store::memory_flash::{MemoryFlash, Pair, formatted, geometry, listing},
        units::Millis,
    };

    #[test]
    fn opening_takes_exactly_what_the_segment_and_the_guard_may_reach() {
        let mut pair = Pair::open(formatted(), false);
        let (data, reach) = (geometry().layout.data_bytes(), geometry().reach_bytes());
        for _ in 0..200 {
            let open = pair.ring.open_segment().unwrap();
            for record in pair.ring.history() {
                assert!(record.position + data >= open.position + open.bytes_max + GUARD_BYTES);
                assert!(open.sequence - record.sequence <= geometry().layout.records_max());
            }
            assert_eq!(
                pair.ring.history().next().map_or(open.sequence, |first| first.sequence),
                open.readable_from
            );
            if let Some(retired) = open.readable_from.checked_sub(1) {
                assert!(!pair.ring.is_readable(retired));
            }
            pair.record(40_000);
        }
        let kept = pair.ring.history().len() as u64 * 40_960;
        assert!(kept + 2 * 40_960 > data - reach, "no more is given up than has to be");
        assert_eq!(pair.ring.counters().retired, 200 - pair.ring.history().len() as u64);
    }

    #[test]
    fn recovery_finds_what_the_ring_would_keep_for_the_next_segment() {
        // Large ones are retired for their bytes, small ones for their places in the index.
        for (segments, bytes) in
            [(1, 9), (5, 30_000), (50, 30_000), (300, 30_000), (64, 1), (300, 1)]
        {
            let mut pair = Pair::open(formatted(), false);
            for nth in 0..segments {
                pair.record(1 + bytes * (nth % 5));
            }
            pair.ring.open_segment().unwrap();
            let kept: Vec<_> = pair.ring.history().copied().collect();
            let next = (pair.ring.next_sequence(), pair.ring.time_floor());
            let again = Pair::open(pair.into_flash(), false).ring;
            assert_eq!(again.history().copied().collect::<Vec<_>>(), kept);
            assert_eq!((again.next_sequence(), again.time_floor()), next);
        }
    }

    #[test]
    fn a_segment_is_found_by_name_and_by_number_once_it_is_sealed() {
        let mut pair = Pair::open(formatted(), false);
        let seal = pair.write(1000);
        assert_eq!((pair.ring.find(seal.record.start), pair.ring.span()), (None, None));
        assert!(!pair.ring.is_readable(0));
        pair.writer.seal(&seal, Millis(0)).unwrap();
        pair.ring.sealed(0).unwrap();
        assert_eq!(pair.ring.find(seal.record.start), Some(&seal.record));
        assert_eq!(pair.ring.find(UnixMillis(seal.record.start.0 + 1)), None);
        assert_eq!(pair.ring.record(0), Some(&seal.record));
        assert_eq!(pair.ring.span(), Some(seal.record.start..seal.record.end()));
        let first = pair.ring.extent(&seal.record, 0, 600).unwrap();
        assert_eq!((first.offset, first.bytes), (geometry().layout.data_offset(), 600));
        assert_eq!(pair.ring.extent(&seal.record, 600, 600).unwrap().bytes, 400);
        assert_eq!(pair.ring.extent(&seal.record, 1000, 600), None);
        assert_eq!(pair.ring.extent(&seal.record, 2000, 600), None);
    }

    #[test]
    fn a_card_that_does_not_answer_stops_new_segments() {
        let mut pair = Pair::open(formatted(), false);
        (0..SEALS_IN_FLIGHT_MAX).for_each(|_| {
            pair.write(1);
        });
        assert_eq!(pair.ring.open_segment(), Err(TooManySeals));
        assert_eq!(
            pair.ring.seal_gap(listing(&pair.ring)).unwrap_err(),
            SealError::TooManySeals(TooManySeals)
        );
        pair.ring.sealed(0).unwrap();
        assert!(pair.ring.open_segment().is_ok());
    }

    #[test]
    fn a_gap_has_a_number_and_a_time_and_no_bytes() {
        let mut pair = Pair::open(formatted(), false);
        pair.record(1000);
        let (gap, readable_from) = pair.ring.seal_gap(listing(&pair.ring)).unwrap();
        assert_eq!((gap.record.is_gap, gap.record.bytes, readable_from), (true, 0, 0));
        pair.writer.seal(&gap, Millis(0)).unwrap();
        pair.ring.sealed(1).unwrap();
        assert!(!pair.ring.is_readable(1));
        assert_eq!(pair.record(1000), 2);
        let again = Pair::open(pair.into_flash(), false).ring;
        assert_eq!(
            again.records().map(|record| record.is_gap).collect::<Vec<_>>(),
            [false, true, false]
        );
    }

    #[test]
    fn a_failure_takes_back_what_nobody_has_seen_and_makes_gaps_of_the_rest() {
        let mut pair = Pair::open(formatted(), true);
        (0..3).for_each(|_| {
            pair.record(1000);
        });
        let _pending = pair.write(1000);
        let open = pair.ring.open_segment().unwrap();
        let body = Body { epoch: open.epoch, position: open.position, bytes: 1000, crc: 0 };
        // The first one was synced, the other two were listed without.
        pair.ring.fail(1);
        assert_eq!(pair.ring.seal(body, listing(&pair.ring)), Err(SealError::Failed));
        assert_eq!(pair.ring.sealed(3), None);
        let readable: Vec<_> = (0..5).filter(|sequence| pair.ring.is_readable(*sequence)).collect();
        assert_eq!((readable, pair.ring.next_sequence()), (vec![0], 3));
        assert_eq!(
            pair.ring.counters(),
            Counters { segments: 3, bytes: 3000, gaps: 2, retired: 0 }
        );
    }

    #[test]
    fn a_spoilt_segment_is_a_gap_and_keeps_its_place_in_the_file() {
        let mut pair = Pair::open(formatted(), false);
        let last = (0..3).map(|_| pair.record(5000)).last().unwrap();
        let end = pair.ring.record(last).unwrap().end_position();
        assert!(pair.ring.spoil(last) && !pair.ring.spoil(last) && !pair.ring.spoil(99));
        assert!(!pair.ring.is_readable(last) && pair.ring.is_readable(last - 1));
        let next = pair.record(5000);
        assert_eq!((next, pair.ring.record(next).unwrap().position), (last + 1, end));
        assert_eq!(pair.ring.records().len(), 4);
        // Also where a seal is on its way, and fails.
        let end = pair.ring.record(next).unwrap().end_position();
        pair.write(5000);
        assert!(pair.ring.spoil(next));
        pair.ring.fail(next + 1);
        assert_eq!(pair.ring.open_segment().unwrap().position, end);
        // Numbers that recovery skipped stay skipped.
        let mut pair = Pair::open(formatted(), true);
        let last = (0..3).map(|_| pair.record(5000)).last().unwrap();
        let mut again = Pair::open(pair.into_flash(), true).ring;
        let (skipped, floor) = (again.next_sequence(), again.time_floor());
        assert!(skipped > last + 1 && again.spoil(last));
        assert_eq!((again.next_sequence(), again.time_floor()), (skipped, floor));
    }

    #[test]
    fn a_segment_that_made_room_for_those_that_fail_keeps_its_number_and_its_place() {
        let mut pair = Pair::open(formatted(), false);
        let last = (0..3).map(|_| pair.record(5000)).last().unwrap();
        let (end, floor) = (pair.ring.record(last).unwrap().end_position(), pair.ring.time_floor());
        // They are sealed, and on their way to the flash.
        while pair.ring.history().len() > 0 {
            let open = pair.ring.open_segment().unwrap();
            let bytes = 850 << 10;
            let body = Body { epoch: open.epoch, position: open.position, bytes, crc: 0 };
            pair.ring.seal(body, listing(&pair.ring)).unwrap();
        }
        pair.ring.fail(last + 1);
        assert_eq!((pair.ring.next_sequence(), pair.ring.time_floor()), (last + 1, floor));
        assert_eq!(pair.ring.open_segment().unwrap().position, end);
    }

    #[test]
    fn a_ring_that_is_opened_anew_goes_on_where_it_stopped_also_on_another_card() {
        let mut pair = Pair::open(formatted(), false);
        let last = (0..5).map(|_| pair.record(1000)).last().unwrap();
        let (time, old) = (pair.ring.time_floor(), pair.ring);
        let mut same = Pair::open(
            MemoryFlash { bytes: pair.writer.flash().bytes.clone(), ..MemoryFlash::default() },
            false,
        );
        same.ring.go_on_from(&old);
        assert_eq!(same.ring.records().len(), 5);
        assert_eq!(same.record(1000), last + 1);
        let mut other = Pair::open(formatted(), false);
        other.ring.go_on_from(&old);
        assert_eq!((other.ring.records().len(), other.ring.time_floor()), (0, time));
        assert_eq!([other.record(1000), other.record(1000)], [last + 1, last + 2]);
        let again = Pair::open(other.into_flash(), false).ring;
        assert_eq!((again.records().len(), again.next_sequence()), (2, last + 3));
    }

    #[test]
    fn names_never_go_back() {
        let mut pair = Pair::open(formatted(), false);
        pair.record(1000);
        let floor = pair.ring.time_floor();
        let early = Listing { start: UnixMillis(floor.0 - 1), ..listing(&pair.ring) };
        assert_eq!(
            pair.ring.seal_gap(early).unwrap_err(),
            SealError::TooEarly { start: early.start, floor }
        );
        let instant = Listing { duration: Ticks90k(0), ..listing(&pair.ring) };
        pair.ring.seal_gap(instant).unwrap();
        assert_eq!(pair.ring.time_floor(), UnixMillis(floor.0 + 1));
    }

    #[test]
    fn a_hole_ends_the_playlist_and_not_the_history() {
        let mut pair = Pair::open(formatted(), true);
        (0..3).for_each(|_| {
            pair.record(1000);
        });
        let cut =
            MemoryFlash { bytes: pair.writer.flash().bytes.clone(), ..MemoryFlash::default() };
        let mut pair = Pair::open(cut, true);
        assert_eq!((pair.ring.records().len(), pair.ring.history().len()), (0, 3));
        let first = pair.record(1000);
        pair.record(1000);
        assert_eq!(
            pair.ring.records().map(|record| record.sequence).collect::<Vec<_>>(),
            [first, first + 1]
        );
        pair.writer.close().unwrap();
        let again = Pair::open(pair.into_flash(), true).ring;
        assert_eq!((again.records().len(), again.history().len()), (2, 5));
        let skipped = first - 3;
        assert_eq!(
            again.record(first).unwrap().discontinuities,
            skipped,
            "each number may have been one"
        );
    }
}
