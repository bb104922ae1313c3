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
    /// Times that the flash failed.
    pub failures: u64,
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
        let records = VecDeque::from(recovered.records);
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
    pub fn fail(&mut self, synced_below: u64) {
        self.epoch = self.epoch.wrapping_add(1);
        self.pending.clear();
        self.counters.failures += 1;
        for record in self.records.iter_mut().rev() {
            if record.sequence < synced_below {
                break;
            }
            self.counters.gaps += u64::from(!record.is_gap);
            record.lose();
        }
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
            Some(newest) => Floor {
                sequence: newest.sequence + 1,
                time: newest.end(),
                discontinuities: newest.discontinuities,
                position: newest.end_position(),
            },
        }
    }

    /// Lets go of what the next segment may overwrite. Returns the first sequence number that can still be read.
    fn retire(&mut self) -> u64 {
        let next = self.next();
        let front = next.position + self.geometry.reach_bytes();
        let layout = &self.geometry.layout;
        let is_live = |record: &Record| recovery::is_live(record, layout, next.sequence, front);
        while self.records.pop_front_if(|record| !is_live(record)).is_some() {
            self.counters.retired += 1;
        }
        self.run = self.run.min(self.records.len());
        self.records.front().map_or(next.sequence, |record| record.sequence)
    }
}
