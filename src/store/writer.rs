//! Writes and seals of one ring → writes and syncs of its file, in the order that makes a power cut harmless.
//!
//! The rules are those of [`super::layout`]: *Copy*, *Reach*, *Proof* and *Ceiling* are each one place in here.
//! It runs on the flash thread and knows no segment but by its record. After a failure it counts its `epoch` up:
//! what was sent before the ring knew of it is dropped, and what comes with the next epoch is tried again.

use std::{io, mem, ops::Range};

use thiserror::Error;

use super::{
    Ahead, Flash, Record, Seal,
    geometry::{Geometry, Layout, group_of},
    layout::{self, Group, PageHeader, Superblock},
    recovery::{self, ReadError, Recovered},
};
use crate::{
    limits::{
        PAGE_BYTES, PARTS_AHEAD_MS, RELAXED_AHEAD_MS, RELAXED_SEGMENTS_MAX, RELAXED_SYNC_MS,
        WRITE_BYTES,
    },
    units::{Millis, UnixMillis},
};

/// Writes what makes a file of the right length, all zeros, an empty ring, and syncs it.
pub fn format(flash: &mut impl Flash, superblock: &Superblock) -> io::Result<()> {
    let page = superblock.encode();
    flash.write(Layout::superblock_offset(0), &page)?;
    flash.write(Layout::superblock_offset(1), &page)?;
    flash.sync()
}

/// The one that writes to a ring's file.
#[derive(Debug)]
pub struct RingWriter<F> {
    flash: F,
    geometry: Geometry,
    ring_id: u32,
    ahead: Ahead,
    epoch: u32,
    /// A page has to be synced before anything else is written: after a failure, where recovery dropped records,
    /// or where the reach has grown.
    needs_page: bool,
    /// Where a page lies whose records recovery dropped.
    stale: Option<u64>,
    /// Records of the newest record's group.
    group: Group,
    /// The copy that may be written.
    spare: u64,
    /// Pages written so far.
    writes: u64,
    /// The first sequence number that counts.
    oldest: u64,
    /// Log positions that were written last, without a hole.
    body: Range<u64>,
    /// What recovery found: nothing goes back behind it.
    floor: Ceiling,
    /// What the newest page that was written promises.
    written: Promise,
    /// It was written after the last sync.
    is_page_dirty: bool,
    /// What the newest page that was synced promises.
    durable: Promise,
    /// When the oldest sealed segment that is not synced was sealed.
    unsynced_since: Option<Millis>,
    /// The file was asked for its length since the newest seal, and had it.
    is_length_checked: bool,
}

/// Up to where segments may have been listed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Ceiling {
    sequence: u64,
    time: UnixMillis,
}

/// What holds once a page is on flash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Promise {
    /// Every sealed record below this sequence number is in the index.
    below: u64,
    /// Where the newest of them ends, in log positions.
    end: u64,
    /// When the newest of them ends.
    end_time: UnixMillis,
    /// How far behind `end` bytes may be written.
    reach_bytes: u64,
    /// What may be listed before the next page is synced.
    ceiling: Ceiling,
}

/// A write, a seal or a sync failed, and with it all of the ring that was not synced.
#[derive(Debug, Error)]
#[error("{what} failed: {source}")]
pub struct WriteError {
    what: &'static str,
    source: io::Error,
    /// Segments from this sequence number on are lost, also where they are listed.
    pub synced_below: u64,
}

impl<F: Flash> RingWriter<F> {
    /// Recovers the ring, from what is on flash and not merely in the page cache.
    ///
    /// What it finds is for [`Ring::new`](super::ring::Ring::new): that ring goes with this writer.
    ///
    /// `ahead`: what may be listed before it is synced.
    pub fn open(
        mut flash: F,
        geometry: Geometry,
        name: &str,
        ahead: Ahead,
    ) -> Result<(Self, Recovered), ReadError> {
        // After a crash, and after a sync that failed, the page cache may hold what the flash does not. If the index were
        // read from there, the first page to be written could go over the only copy that is on flash.
        flash.refresh()?;
        let superblock = recovery::read_superblock(&mut flash)?;
        superblock.expect(&geometry.layout, name)?;
        let mut scratch = vec![0; WRITE_BYTES];
        let recovered =
            recovery::recover(&mut flash, &superblock, geometry.reach_bytes(), &mut scratch)?;
        let tail = &recovered.tail;
        let last = tail.group.last();
        let ceiling =
            Ceiling { sequence: tail.header.sequence_ceiling, time: tail.header.time_ceiling };
        let durable = Promise {
            below: last.map_or(0, |last| last.sequence + 1),
            end: recovered.head,
            end_time: last.map_or(UnixMillis(0), Record::next_start_min),
            // Where there is no record, there is none to be spared either.
            reach_bytes: last.map_or(geometry.reach_bytes(), |_| tail.header.reach_bytes.into()),
            ceiling,
        };
        let writer = Self {
            flash,
            geometry,
            ring_id: superblock.ring_id(),
            ahead,
            epoch: 0,
            stale: tail.stale,
            needs_page: tail.stale.is_some() || durable.reach_bytes < geometry.reach_bytes(),
            group: tail.group.clone(),
            spare: 1 - tail.copy,
            writes: tail.header.write,
            oldest: tail.oldest,
            body: 0..0,
            floor: Ceiling { sequence: recovered.next_sequence, time: recovered.time_floor },
            written: durable,
            is_page_dirty: false,
            durable,
            unsynced_since: None,
            is_length_checked: false,
        };
        Ok((writer, recovered))
    }

    /// Writes bytes of the open segment at a log position. What belongs to an earlier epoch is dropped.
    pub fn write(&mut self, epoch: u32, position: u64, bytes: &[u8]) -> Result<(), WriteError> {
        if epoch != self.epoch {
            return Ok(());
        }
        let written = self.try_write(position, bytes);
        written.map_err(|(what, source)| self.fail(what, source))
    }

    fn try_write(&mut self, position: u64, bytes: &[u8]) -> Attempt {
        let layout = self.geometry.layout;
        let end = position + bytes.len() as u64;
        let meets_the_end = layout.extent(position, u64::MAX).bytes <= bytes.len() as u64;
        if !self.is_length_checked || meets_the_end || self.ahead == Ahead::Parts {
            self.check_length()?;
        }
        self.repair()?;
        // Reach.
        if end > self.durable.end + self.durable.reach_bytes {
            self.write_page(self.ceiling())?;
            self.sync()?;
        }
        let is_in_place =
            position >= self.written.end && end <= self.durable.end + self.durable.reach_bytes;
        if !is_in_place {
            let no =
                io::Error::new(io::ErrorKind::InvalidInput, "it is out of its segment's reach");
            return Err(("writing a segment", no));
        }
        let mut left = bytes;
        let mut at = position;
        while !left.is_empty() {
            let extent = layout.extent(at, left.len() as u64);
            let in_one_piece = usize::try_from(extent.bytes).unwrap_or(usize::MAX);
            let (piece, rest) = left.split_at_checked(in_one_piece).unwrap_or((left, &[]));
            self.flash.write(extent.offset, piece).map_err(|e| ("writing a segment", e))?;
            at += extent.bytes;
            left = rest;
        }
        let start = if position == self.body.end { self.body.start } else { position };
        self.body = start..end;
        Ok(())
    }

    /// Puts a segment into the index, whose bytes have all been written. What belongs to an earlier epoch is dropped.
    ///
    /// `true`: it may be listed. That it is on flash is said too, unless the ring is relaxed.
    pub fn seal(&mut self, seal: &Seal, now: Millis) -> Result<bool, WriteError> {
        if seal.epoch != self.epoch {
            return Ok(false);
        }
        match self.try_seal(&seal.record, now) {
            Ok(()) => Ok(true),
            Err((what, source)) => {
                // Nobody has been told of it: it never was, and its number is used again.
                if self.group.last().is_some_and(|last| last.sequence == seal.record.sequence) {
                    self.group.pop();
                }
                Err(self.fail(what, source))
            }
        }
    }

    fn try_seal(&mut self, record: &Record, now: Millis) -> Attempt {
        self.check_length()?;
        self.is_length_checked = false;
        self.repair()?;
        // A segment whose writes did not all come through here must not be listed, whoever lost them.
        let end = record.position + u64::from(record.bytes);
        if record.bytes > 0 && !(self.body.start <= record.position && end <= self.body.end) {
            let no = io::Error::new(io::ErrorKind::InvalidInput, "not all of it was written");
            return Err(("sealing a segment", no));
        }
        let group = group_of(record.sequence);
        if self.group.last().is_some_and(|last| group_of(last.sequence) != group) {
            // Copy: a group is left only when it is synced.
            if self.is_page_dirty {
                self.sync()?;
            }
            self.group.clear();
            self.spare = 0;
        }
        if self.group.push(*record).is_err() {
            let no = io::Error::new(io::ErrorKind::InvalidInput, "its group is full");
            return Err(("sealing a segment", no));
        }
        self.write_page(self.ceiling())?;
        // Ceiling.
        let may_wait = self.ahead == Ahead::Segments
            && record.sequence < self.durable.ceiling.sequence
            && record.end() <= self.durable.ceiling.time;
        if may_wait {
            self.unsynced_since.get_or_insert(now);
            Ok(())
        } else {
            self.sync()
        }
    }

    /// What may be listed before it is synced.
    pub const fn ahead(&self) -> Ahead {
        self.ahead
    }

    /// When [`sync_if_due`](Self::sync_if_due) has something to do.
    pub fn sync_due(&self) -> Option<Millis> {
        Some(self.unsynced_since?.plus(RELAXED_SYNC_MS))
    }

    /// Syncs what a relaxed ring has sealed, if it has waited long enough.
    pub fn sync_if_due(&mut self, now: Millis) -> Result<(), WriteError> {
        if self.sync_due().is_none_or(|due| now < due) {
            return Ok(());
        }
        self.sync().map_err(|(what, source)| self.fail(what, source))
    }

    /// Leaves the ring so that the next start skips and checks as little as can be.
    pub fn close(&mut self) -> Result<(), WriteError> {
        let listed = Ceiling { sequence: self.written.below, time: self.written.end_time };
        let ceiling = self.above_floor(listed);
        if self.needs_page || (ceiling == self.durable.ceiling && !self.is_page_dirty) {
            return Ok(());
        }
        let closed = self.write_page(ceiling).and_then(|()| self.sync());
        closed.map_err(|(what, source)| self.fail(what, source))
    }

    /// The file.
    pub const fn flash(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Where things lie in the file.
    pub const fn layout(&self) -> Layout {
        self.geometry.layout
    }

    /// What was not synced is given up: of the bytes of a failed write or sync nothing is known, also if
    /// the next sync succeeds (Linux reports a write-back error once and takes the pages for clean).
    fn fail(&mut self, what: &'static str, source: io::Error) -> WriteError {
        let synced_below = self.durable.below;
        self.group
            .iter_mut()
            .filter(|record| record.sequence >= synced_below)
            .for_each(Record::lose);
        self.epoch = self.epoch.wrapping_add(1);
        self.needs_page = true;
        if self.ahead == Ahead::Parts {
            // Parts may be listed of a segment that is never sealed: closing must not give its number and its name back.
            self.floor = self.above_floor(self.durable.ceiling);
        }
        self.written = self.durable;
        self.is_page_dirty = false;
        self.unsynced_since = None;
        self.is_length_checked = false;
        WriteError { what, source, synced_below }
    }

    /// A file that somebody has cut is not written: it would become long again, with zeros where segments were.
    ///
    /// Asked at a segment's first write, and before its seal: only a write up to the end of the file, before which it is
    /// asked too, could have made it as long as it was in between. Parts that are listed cannot wait for the seal.
    fn check_length(&mut self) -> Attempt {
        let what = "asking for its length";
        let found = self.flash.file_bytes().map_err(|e| (what, e))?;
        if found >= self.geometry.layout.file_bytes {
            self.is_length_checked = true;
            return Ok(());
        }
        Err((what, io::Error::new(io::ErrorKind::UnexpectedEof, "somebody has cut the file")))
    }

    /// Makes the index say what was given up, and how far it is to be reached, before anything else is written.
    fn repair(&mut self) -> Attempt {
        if self.needs_page {
            self.write_page(self.ceiling())?;
            self.sync()?;
            if let Some(at) = self.stale {
                // Once a later page says that all before it was synced, nothing tells these records from good ones.
                self.flash.write(at, &[0; PAGE_BYTES]).map_err(|e| ("writing the index", e))?;
                self.sync()?;
                self.stale = None;
            }
            self.needs_page = false;
        }
        Ok(())
    }

    /// Ceiling: what may be listed once the next page is synced.
    fn ceiling(&self) -> Ceiling {
        let newest = self.group.last();
        // The open segment counts as one more, and starts where the newest ends or a little later.
        let (segments, ms) = match self.ahead {
            Ahead::Nothing => {
                let (sequence, time) = (self.durable.below, self.durable.end_time);
                return self.above_floor(Ceiling { sequence, time });
            }
            Ahead::Parts => (1, PARTS_AHEAD_MS + 1),
            Ahead::Segments => (RELAXED_SEGMENTS_MAX, RELAXED_AHEAD_MS),
        };
        self.above_floor(Ceiling {
            sequence: newest.map_or(0, |last| last.sequence + 1 + segments),
            time: UnixMillis(newest.map_or(0, |last| last.end().0 + ms)),
        })
    }

    fn above_floor(&self, ceiling: Ceiling) -> Ceiling {
        Ceiling {
            sequence: ceiling.sequence.max(self.floor.sequence),
            time: ceiling.time.max(self.floor.time),
        }
    }

    /// Writes the page of the newest group to the copy that may be written.
    fn write_page(&mut self, ceiling: Ceiling) -> Attempt {
        let Some(last) = self.group.last() else { return Ok(()) };
        let reach_bytes = self.geometry.reach_bytes();
        let promise = Promise {
            below: last.sequence + 1,
            end: last.end_position(),
            end_time: last.next_start_min(),
            reach_bytes,
            ceiling,
        };
        self.writes += 1;
        let header = PageHeader {
            write: self.writes,
            reach_bytes: u32::try_from(reach_bytes).unwrap_or(u32::MAX),
            oldest: self.oldest,
            // Proof.
            synced_below: self.durable.below,
            sequence_ceiling: ceiling.sequence,
            time_ceiling: ceiling.time,
        };
        let page = layout::encode_page(self.ring_id, &header, &self.group);
        let pair = self.geometry.layout.pair_of(last.sequence);
        let at = self.geometry.layout.page_offset(pair, self.spare);
        self.flash.write(at, &page).map_err(|e| ("writing the index", e))?;
        // If blanking failed, the next attempt's page takes its place: that one must stay.
        self.stale = self.stale.filter(|stale| *stale != at);
        self.written = promise;
        self.is_page_dirty = true;
        Ok(())
    }

    fn sync(&mut self) -> Attempt {
        self.flash.sync().map_err(|e| ("syncing", e))?;
        self.durable = self.written;
        if mem::take(&mut self.is_page_dirty) {
            // Copy: the page that was written is the one to be spared from here on.
            self.spare = 1 - self.spare;
        }
        self.unsynced_since = None;
        Ok(())
    }
}

type Attempt = Result<(), (&'static str, io::Error)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        layout::{NotThisRing, PageState},
        memory_flash::{MemoryFlash, NAME, Pair, formatted, geometry, listing},
        ring::Ring,
        segment::Body,
    };

    fn open(flash: MemoryFlash, geometry: Geometry, name: &str) -> Result<(), NotThisRing> {
        match RingWriter::open(flash, geometry, name, Ahead::Nothing) {
            Ok(_) => Ok(()),
            Err(ReadError::NotThisRing(why)) => Err(why),
            Err(ReadError::Io(e)) => panic!("{e}"),
        }
    }

    #[test]
    fn a_segment_costs_one_page_and_one_sync() {
        let mut pair = Pair::open(formatted(), false);
        for _ in 0..20 {
            let (writes, syncs) = (pair.writer.flash().writes.len(), pair.writer.flash().syncs);
            pair.record(5000);
            let flash = pair.writer.flash();
            assert_eq!((flash.writes.len() - writes, flash.syncs - syncs), (2, 1));
        }
    }

    #[test]
    fn pages_take_turns_within_a_pair_and_pairs_take_turns() {
        let mut pair = Pair::open(formatted(), false);
        let layout = geometry().layout;
        let mut found = Vec::new();
        for _ in 0..130 {
            pair.record(1);
            found.push(*pair.writer.flash().writes.last().unwrap());
        }
        let place = |sequence: u64| layout.page_offset(layout.pair_of(sequence), sequence % 63 % 2);
        assert_eq!(found, (0..130).map(place).collect::<Vec<_>>());
    }

    #[test]
    fn a_body_that_meets_the_end_of_the_ring_goes_on_at_its_beginning() {
        let mut pair = Pair::open(formatted(), false);
        let data = geometry().layout.data_bytes();
        while pair.ring.history().next_back().is_none_or(|last| last.end_position() < data) {
            pair.record(300_000);
        }
        let last = *pair.ring.history().next_back().unwrap();
        assert!(last.position < data && last.end_position() > data);
        let again = Pair::open(pair.into_flash(), false);
        assert_eq!(again.ring.history().next_back(), Some(&last));
    }

    #[test]
    fn a_relaxed_ring_syncs_for_time_for_numbers_and_for_reach() {
        let mut pair = Pair::open(formatted(), true);
        pair.record(1);
        assert_eq!(
            pair.writer.flash().syncs,
            1,
            "the first page promises nothing before it is synced"
        );
        pair.record(1);
        assert_eq!(pair.writer.flash().syncs, 1);
        assert_eq!(pair.writer.sync_due(), Some(Millis(RELAXED_SYNC_MS)));
        pair.writer.sync_if_due(Millis(RELAXED_SYNC_MS - 1)).unwrap();
        assert_eq!(pair.writer.flash().syncs, 1);
        pair.writer.sync_if_due(Millis(RELAXED_SYNC_MS)).unwrap();
        assert_eq!((pair.writer.flash().syncs, pair.writer.sync_due()), (2, None));
        let before = pair.writer.flash().syncs;
        (0..=RELAXED_SEGMENTS_MAX).for_each(|_| {
            pair.record(1);
        });
        assert_eq!(pair.writer.flash().syncs, before + 1);
        let before = pair.writer.flash().syncs;
        pair.record(800_000);
        pair.record(800_000);
        assert_eq!(pair.writer.flash().syncs, before + 1);
    }

    #[test]
    fn a_relaxed_ring_that_was_not_closed_skips_what_may_have_been_listed() {
        let mut pair = Pair::open(formatted(), true);
        let last = (0..5).map(|_| pair.record(1)).last().unwrap();
        let end = pair.ring.time_floor();
        let cut = Pair::open(
            MemoryFlash { bytes: pair.writer.flash().bytes.clone(), ..formatted() },
            true,
        );
        assert_eq!(cut.ring.next_sequence(), last + 1 + RELAXED_SEGMENTS_MAX);
        assert!(cut.ring.time_floor() >= UnixMillis(end.0 + RELAXED_AHEAD_MS));
        assert_eq!((cut.ring.history().len(), cut.ring.records().len()), (5, 0));
        pair.writer.close().unwrap();
        let closed = Pair::open(pair.into_flash(), true);
        assert_eq!((closed.ring.next_sequence(), closed.ring.time_floor()), (last + 1, end));
        assert_eq!(closed.ring.records().len(), 5);
    }

    /// A ring of which recovery has dropped all records but the first.
    fn with_dropped_records() -> Pair {
        let mut pair = Pair::open(formatted(), true);
        (0..3).for_each(|_| {
            pair.record(5000);
        });
        let bad = pair.ring.extent(pair.ring.record(1).unwrap(), 4999, 1).unwrap();
        let mut flash = pair.into_flash();
        flash.bytes[usize::try_from(bad.offset).unwrap()] ^= 1;
        let mut pair = Pair::open(flash, true);
        assert_eq!((pair.ring.history().len(), pair.writer.flash().writes.len()), (1, 0));
        pair
    }

    /// Both copies of the first page are whole, and name the first record and the one of `sequence` and no other.
    fn assert_clean(flash: &MemoryFlash, sequence: u64) {
        for copy in [0, 1] {
            let at = usize::try_from(geometry().layout.page_offset(0, copy)).unwrap();
            let page = flash.bytes[at..].first_chunk().unwrap();
            let id = Superblock::new(geometry().layout, NAME).unwrap().ring_id();
            let PageState::Good(_, group) = layout::parse_page(page, id, &geometry().layout, 0)
            else {
                panic!("the page is not whole");
            };
            assert!(group.iter().all(|record| record.sequence == 0 || record.sequence == sequence));
        }
    }

    #[test]
    fn dropped_records_leave_the_index_before_anything_is_written() {
        let mut pair = with_dropped_records();
        let sequence = pair.record(5000);
        assert_clean(&pair.into_flash(), sequence);
    }

    #[test]
    fn the_page_that_took_the_place_of_dropped_records_is_not_blanked_when_blanking_them_had_failed()
     {
        let mut pair = with_dropped_records();
        let doomed = pair.ring.open_segment().unwrap();
        // The page of the first record is synced, the blanking is not.
        pair.writer.flash().fails_from = Some(pair.writer.flash().syncs + 2);
        let error = pair.writer.write(doomed.epoch, doomed.position, &[1; 4096]).unwrap_err();
        pair.writer.flash().fails_from = None;
        pair.ring.fail(error.synced_below);
        let sequence = pair.record(5000);
        assert_clean(&pair.into_flash(), sequence);
    }

    #[test]
    fn a_segment_that_was_listed_in_parts_and_failed_keeps_its_number_when_the_ring_is_closed() {
        let mut pair = Pair::open_with(formatted(), Ahead::Parts);
        let listed_in_parts = pair.record(5000) + 1;
        let doomed = pair.write(5000);
        assert_eq!(doomed.record.sequence, listed_in_parts);
        pair.writer.flash().fails_from = Some(0);
        let error = pair.writer.seal(&doomed, Millis(0)).unwrap_err();
        pair.writer.flash().fails_from = None;
        pair.ring.fail(error.synced_below);
        let open = pair.ring.open_segment().unwrap();
        pair.writer.write(open.epoch, open.position, &[1; 4096]).unwrap();
        pair.writer.close().unwrap();
        assert!(Pair::open(pair.into_flash(), false).ring.next_sequence() > listed_in_parts);
    }

    #[test]
    fn closing_saves_the_next_start_from_reading_a_body() {
        let mut pair = Pair::open(formatted(), false);
        pair.record(100_000);
        let index_bytes = |pair: &mut Pair| pair.writer.flash().bytes_read;
        let mut cut = Pair::open(
            MemoryFlash { bytes: pair.writer.flash().bytes.clone(), ..formatted() },
            false,
        );
        assert!(index_bytes(&mut cut) > 100_000);
        pair.writer.close().unwrap();
        let mut closed = Pair::open(pair.into_flash(), false);
        assert!(index_bytes(&mut closed) < 100_000);
        closed.writer.close().unwrap();
        assert!(
            closed.writer.flash().writes.is_empty(),
            "closing what was not used writes nothing"
        );
    }

    #[test]
    fn after_a_failure_old_jobs_are_dropped_and_the_next_attempt_repairs_the_index() {
        let mut pair = Pair::open(formatted(), false);
        pair.record(5000);
        let doomed = pair.write(5000);
        pair.writer.flash().fails_from = Some(0);
        let error = pair.writer.seal(&doomed, Millis(0)).unwrap_err();
        assert_eq!((error.synced_below, error.to_string()), (1, "syncing failed: no".into()));
        pair.writer.flash().fails_from = None;
        let writes = pair.writer.flash().writes.len();
        let late = pair.write(5000);
        assert!(!pair.writer.seal(&late, Millis(0)).unwrap());
        assert_eq!(pair.writer.flash().writes.len(), writes, "nothing of the old epoch is written");
        pair.ring.fail(error.synced_below);
        assert_eq!(
            pair.record(7000),
            1,
            "the number of a segment that nobody has seen is used again"
        );
        let again = Pair::open(pair.into_flash(), false);
        let found: Vec<_> = again.ring.records().map(|record| record.bytes).collect();
        assert_eq!(found, [5000, 7000]);
    }

    #[test]
    fn a_segment_of_which_a_write_was_lost_is_not_sealed() {
        for lost in 0..3 {
            let mut pair = Pair::open(formatted(), false);
            pair.record(5000);
            let open = pair.ring.open_segment().unwrap();
            for nth in (0..3).filter(|nth| *nth != lost) {
                pair.writer.write(open.epoch, open.position + nth * 4096, &[1; 4096]).unwrap();
            }
            let crc = crc32fast::hash(&[1; 3 * 4096]);
            let body = Body { epoch: open.epoch, position: open.position, bytes: 3 * 4096, crc };
            let seal = pair.ring.seal(body, listing(&pair.ring)).unwrap();
            let error = pair.writer.seal(&seal, Millis(0)).unwrap_err();
            assert_eq!(error.to_string(), "sealing a segment failed: not all of it was written");
        }
    }

    #[test]
    fn a_write_out_of_its_segments_reach_is_refused() {
        let mut pair = Pair::open(formatted(), false);
        pair.record(5000);
        let far = 8192 + geometry().reach_bytes();
        assert!(pair.writer.write(0, far, &[0; 4096]).is_err());
        assert!(pair.writer.write(1, 0, &[0; 4096]).is_err(), "sealed bytes are not written again");
        assert_eq!(Pair::open(pair.into_flash(), false).ring.records().len(), 1);
    }

    #[test]
    fn a_file_that_became_shorter_is_not_made_long_again() {
        let mut pair = Pair::open(formatted(), false);
        pair.record(5000);
        pair.writer.flash().bytes.truncate(1 << 20);
        let open = pair.ring.open_segment().unwrap();
        let error = pair.writer.write(open.epoch, open.position, &[1; 4096]).unwrap_err();
        assert_eq!(error.to_string(), "asking for its length failed: somebody has cut the file");
        assert_eq!(pair.writer.flash().bytes.len(), 1 << 20);
    }

    #[test]
    fn a_segment_is_not_sealed_in_a_file_that_became_shorter_while_it_was_written() {
        let data_bytes = geometry().layout.data_bytes();
        // The second segment goes over the end of the file, and would make it long again.
        for start in [0, data_bytes - 200_000] {
            let mut pair = Pair::open(formatted(), false);
            while pair.ring.open_segment().unwrap().position < start {
                pair.record(100_000);
            }
            let open = pair.ring.open_segment().unwrap();
            let (body, mut position) = (vec![1; 500_000], open.position);
            let recorded = body.chunks(64 << 10).try_for_each(|piece| {
                pair.writer.write(open.epoch, position, piece)?;
                position += piece.len() as u64;
                pair.writer.flash().bytes.truncate(1 << 20);
                Ok(())
            });
            assert!(position > open.position, "asked for each segment, not for each write");
            let (bytes, crc) = (500_000, crc32fast::hash(&body));
            let body = Body { epoch: open.epoch, position: open.position, bytes, crc };
            let seal = pair.ring.seal(body, listing(&pair.ring)).unwrap();
            let sealed = recorded.and_then(|()| pair.writer.seal(&seal, Millis(0)));
            let error = sealed.unwrap_err().to_string();
            assert_eq!(error, "asking for its length failed: somebody has cut the file");
            let found_bytes = pair.writer.flash().bytes.len() as u64;
            assert!(found_bytes < geometry().layout.file_bytes, "it is long again");
        }
    }

    #[test]
    fn a_smaller_frag_count_is_on_flash_before_its_longer_segments_are() {
        let small = Geometry::new(3 << 20, 2, 4096).unwrap();
        let (mut writer, recovered) =
            RingWriter::open(formatted(), small, NAME, Ahead::Nothing).unwrap();
        let mut ring = Ring::new(small, recovered);
        let (gap, _) = ring.seal_gap(listing(&ring)).unwrap();
        writer.seal(&gap, Millis(0)).unwrap();
        let mut pair = Pair::open(
            MemoryFlash { bytes: mem::take(&mut writer.flash().bytes), ..formatted() },
            false,
        );
        pair.record(1);
        let flash = pair.writer.flash();
        let page = geometry().layout.page_offset(0, 1);
        assert_eq!((flash.writes.first(), flash.syncs), (Some(&page), 2));
    }

    #[test]
    fn every_way_to_open_the_wrong_file_has_its_own_sentence() {
        let layout = geometry().layout;
        assert_eq!(open(formatted(), geometry(), NAME), Ok(()));
        let other = open(formatted(), geometry(), "cams/back-door").unwrap_err();
        assert!(other.to_string().starts_with(
            "it belongs to LiveChannel \"cams/front-door\", not to \"cams/back-door\""
        ));
        let larger = Geometry::new(4 << 20, 1, 4096).unwrap();
        let found = open(formatted(), larger, NAME).unwrap_err();
        assert_eq!(
            found,
            NotThisRing::OtherSize {
                found_bytes: layout.file_bytes,
                expected_bytes: larger.layout.file_bytes
            }
        );
        let mut short = formatted();
        short.bytes.truncate(1 << 20);
        let found = open(short, geometry(), NAME).unwrap_err();
        assert_eq!(
            found,
            NotThisRing::Shortened { made_bytes: layout.file_bytes, found_bytes: 1 << 20 }
        );
        for bytes in [0, 1, 4095, 4096, 8192] {
            let empty = MemoryFlash { bytes: vec![0; bytes], ..MemoryFlash::default() };
            assert_eq!(open(empty, geometry(), NAME), Err(NotThisRing::NotARing), "{bytes}");
        }
    }

    #[test]
    fn either_superblock_will_do() {
        for damaged in [0, 4096] {
            let mut flash = formatted();
            flash.bytes[damaged + 100..][..300].fill(0xff);
            assert_eq!(open(flash, geometry(), NAME), Ok(()));
        }
    }
}
