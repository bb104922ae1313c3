//! A ring file as it was found → what of it is live, and where to go on. Reads only.
//!
//! The index is read from front to back, then the bodies that no sync is known to have covered, and no others.
//! Why the outcome is right is argued in [`super::layout`].

use std::io;

use thiserror::Error;

use super::{
    Flash, Record,
    geometry::{Layout, group_of},
    layout::{self, Group, NotThisRing, PageHeader, PageState, Superblock},
};
use crate::{limits::PAGE_BYTES, units::UnixMillis};

/// What a ring holds, and where it goes on.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Live records, oldest first. Their sequence numbers rise, not always by one.
    pub records: Vec<Record>,
    /// The next segment's sequence number: above all that were ever listed.
    pub next_sequence: u64,
    /// The earliest start of the next segment: no segment that was ever listed ends later.
    pub time_floor: UnixMillis,
    /// Discontinuities that may have been counted so far.
    pub discontinuities: u64,
    /// Where the next segment's bytes start.
    pub head: u64,
    /// Index pages that are torn or damaged.
    pub damaged_pages: u64,
    /// Records that were dropped because their bodies are not what was sealed.
    pub dropped: u64,
    /// For the writer: how its page stands.
    pub(super) tail: Tail,
}

/// The newest page, for the writer to go on from.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    /// What it states; `write` is the largest in the index.
    pub(super) header: PageHeader,
    /// The records of the newest record's group that stood the test.
    pub(super) group: Group,
    /// The copy that holds them.
    pub(super) copy: u64,
    /// The first live sequence number: what pages state from here on.
    pub(super) oldest: u64,
    /// Where a page lies that holds dropped records. The next page must not be taken for proof of them.
    pub(super) stale: Option<u64>,
}

/// Why a ring could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is not the ring that was expected.
    #[error(transparent)]
    NotThisRing(#[from] NotThisRing),
    /// The card does not give it.
    #[error("reading it failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads the superblock, from whichever copy is whole.
pub fn read_superblock(flash: &mut impl Flash) -> Result<Superblock, ReadError> {
    let found_bytes = flash.file_bytes()?;
    let mut outcome = Err(NotThisRing::NotARing.into());
    for copy in [0, 1] {
        let at = Layout::superblock_offset(copy);
        if at + PAGE_BYTES as u64 > found_bytes {
            break;
        }
        let mut page = [0; PAGE_BYTES];
        flash.read(at, &mut page)?;
        match Superblock::parse(&page) {
            Ok(superblock) if superblock.layout.file_bytes > found_bytes => {
                let made_bytes = superblock.layout.file_bytes;
                return Err(NotThisRing::Shortened { made_bytes, found_bytes }.into());
            }
            Ok(superblock) => return Ok(superblock),
            // A damaged first copy says less than a second one that has another version.
            Err(NotThisRing::NotARing) => {}
            Err(other) => outcome = Err(other.into()),
        }
    }
    outcome
}

/// What the index says, before any body was looked at.
#[derive(Debug)]
pub struct Index {
    /// Every record that counts by its sequence number, oldest first; also those whose bytes may be overwritten.
    pub records: Vec<Record>,
    /// What the newest page states.
    pub header: PageHeader,
    /// Which page that is: its pair and copy.
    newest_page: (u64, u64),
    /// Pages that are torn or damaged.
    pub damaged_pages: u64,
}

impl Index {
    /// Reads the whole index.
    pub fn read(flash: &mut impl Flash, superblock: &Superblock) -> io::Result<Self> {
        let layout = &superblock.layout;
        // All that it will ever hold: the ring goes on with this memory.
        let records = usize::try_from(layout.index_records()).unwrap_or(0);
        let mut index = Self {
            records: Vec::with_capacity(records),
            header: PageHeader::default(),
            // An empty index is written from copy 0 on.
            newest_page: (0, 1),
            damaged_pages: 0,
        };
        let mut newest_sequence = None;
        for pair in 0..layout.pairs {
            let (copies, damaged) = read_pair(flash, superblock, pair)?;
            index.damaged_pages += damaged;
            let Some((copy, header, group)) = newest(copies) else { continue };
            if header.write >= index.header.write {
                index.header = header;
                index.newest_page = (pair, copy);
                newest_sequence = group.last().map(|record| record.sequence);
            }
            index.records.extend(group);
        }
        // A page that a failed seal left behind may have higher numbers than a page that was written after it.
        index.records.retain(|record| {
            record.sequence >= index.header.oldest && Some(record.sequence) <= newest_sequence
        });
        index.records.sort_unstable_by_key(|record| record.sequence);
        // Each page is sound in itself. Where two contradict each other, the one with the newer records counts.
        let contradicts = |two: &[Record]| match two {
            [before, after] => before.end_position() > after.position,
            _ => false,
        };
        let contradicted = index.records.windows(2).rposition(contradicts).map_or(0, |at| at + 1);
        index.records.drain(..contradicted);
        Ok(index)
    }

    /// Records whose bodies must be read before they are believed.
    pub fn unproven(&self) -> &[Record] {
        let first =
            self.records.partition_point(|record| record.sequence < self.header.synced_below);
        self.records.get(first..).unwrap_or_default()
    }

    /// Where the live records begin: the bytes of those before may be overwritten, or their page is about to be.
    ///
    /// `next_sequence` is the next segment's, `reach_bytes` how far it may go.
    fn live_from(&self, layout: &Layout, next_sequence: u64, reach_bytes: u64) -> usize {
        let factor = if self.damaged_pages == 0 { 1 } else { 2 };
        let head = self.records.last().map_or(0, Record::end_position);
        let front = head + factor * reach_bytes.max(self.header.reach_bytes.into());
        self.records.partition_point(|record| !is_live(record, layout, next_sequence, front))
    }
}

/// Whether a record stays while bytes are written up to log position `front`.
pub(super) const fn is_live(
    record: &Record,
    layout: &Layout,
    next_sequence: u64,
    front: u64,
) -> bool {
    record.position + layout.data_bytes() >= front
        && record.sequence + layout.records_max() >= next_sequence
}

/// Finds what is live in a ring where the next segment may go `reach_bytes` far.
///
/// `scratch` is where bodies are read to, piece by piece.
pub fn recover(
    flash: &mut impl Flash,
    superblock: &Superblock,
    reach_bytes: u64,
    scratch: &mut [u8],
) -> io::Result<Recovered> {
    let layout = &superblock.layout;
    let mut index = Index::read(flash, superblock)?;
    let mut proven = index.records.len() - index.unproven().len();
    let mut dropped = 0;
    while let Some(record) = index.records.get(proven) {
        if check_body(flash, layout, record, scratch).is_err() {
            dropped = (index.records.len() - proven) as u64;
            index.records.truncate(proven);
        }
        proven += 1;
    }
    let last = index.records.last().copied();
    let after_last = last.map_or(0, |last| last.sequence + 1);
    let next_sequence = after_last.max(index.header.sequence_ceiling);
    // Each number that is skipped may have been a segment with a discontinuity before it.
    let discontinuities =
        last.map_or(0, |last| last.discontinuities) + (next_sequence - after_last);
    let mut tail = read_tail(flash, superblock, &index)?;
    let live_from = index.live_from(layout, next_sequence, reach_bytes);
    index.records.drain(..live_from);
    tail.oldest = index.records.first().map_or(next_sequence, |record| record.sequence);
    if dropped > 0 && last.is_some() {
        let (pair, copy) = index.newest_page;
        tail.stale = Some(layout.page_offset(pair, copy));
    }
    Ok(Recovered {
        next_sequence,
        time_floor: last
            .map_or(UnixMillis(0), |last| last.next_start_min())
            .max(index.header.time_ceiling),
        discontinuities,
        head: last.map_or(0, |last| last.end_position()),
        damaged_pages: index.damaged_pages,
        dropped,
        tail,
        records: index.records,
    })
}

/// How the page of the newest record's group stands.
fn read_tail(flash: &mut impl Flash, superblock: &Superblock, index: &Index) -> io::Result<Tail> {
    let header = index.header;
    let (_, copy) = index.newest_page;
    let mut tail = Tail { header, copy, ..Tail::default() };
    if let Some(last) = index.records.last() {
        let (copies, _) = read_pair(flash, superblock, superblock.layout.pair_of(last.sequence))?;
        tail.copy = newest(copies).map_or(copy, |(copy, ..)| copy);
        let is_of_group = |record: &&Record| group_of(record.sequence) == group_of(last.sequence);
        let group = index.records.iter().filter(is_of_group);
        tail.group = group.copied().collect();
    }
    Ok(tail)
}

type Copies = [PageState; 2];

fn read_pair(
    flash: &mut impl Flash,
    superblock: &Superblock,
    pair: u64,
) -> io::Result<(Copies, u64)> {
    let mut both = [0; 2 * PAGE_BYTES];
    flash.read(superblock.layout.page_offset(pair, 0), &mut both)?;
    let (pages, _) = both.as_chunks::<PAGE_BYTES>();
    let mut copies = [PageState::Blank, PageState::Blank];
    for (copy, page) in copies.iter_mut().zip(pages) {
        *copy = layout::parse_page(page, superblock.ring_id(), &superblock.layout, pair);
    }
    let damaged = copies.iter().filter(|copy| **copy == PageState::Damaged).count() as u64;
    Ok((copies, damaged))
}

fn newest(copies: Copies) -> Option<(u64, PageHeader, Group)> {
    let good = copies.into_iter().zip(0..).filter_map(|(page, copy)| match page {
        PageState::Good(header, group) => Some((copy, header, group)),
        PageState::Blank | PageState::Damaged => None,
    });
    good.max_by_key(|(_, header, _)| header.write)
}

/// Why a body is not what was sealed.
#[derive(Debug, Error)]
pub enum BodyError {
    /// Its CRC does not fit.
    #[error(
        "its bytes are not the ones that were sealed: CRC {found:08x} instead of {expected:08x}"
    )]
    Corrupt {
        /// The CRC of what was read.
        found: u32,
        /// The CRC in the record.
        expected: u32,
    },
    /// The card does not give it.
    #[error("reading it failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads a whole body and compares it with its record.
pub fn check_body(
    flash: &mut impl Flash,
    layout: &Layout,
    record: &Record,
    scratch: &mut [u8],
) -> Result<(), BodyError> {
    let mut check = BodyCheck::new(record);
    while !check.step(flash, layout, scratch)? {}
    Ok(())
}

/// A body that is being read and compared with its record, a piece at a time.
#[derive(Debug)]
pub struct BodyCheck {
    at: u64,
    left_bytes: u64,
    expected: u32,
    hasher: crc32fast::Hasher,
}

impl BodyCheck {
    /// A check that has read nothing so far.
    pub fn new(record: &Record) -> Self {
        Self {
            at: record.position,
            left_bytes: record.bytes.into(),
            expected: record.crc,
            hasher: crc32fast::Hasher::new(),
        }
    }

    /// Reads one piece of at most `scratch`. `true`: that was all, and it is what was sealed.
    pub fn step(
        &mut self,
        flash: &mut impl Flash,
        layout: &Layout,
        scratch: &mut [u8],
    ) -> Result<bool, BodyError> {
        let extent = layout.extent(self.at, self.left_bytes.min(scratch.len() as u64));
        let piece = usize::try_from(extent.bytes).ok().and_then(|bytes| scratch.get_mut(..bytes));
        let piece = piece.unwrap_or_default();
        flash.read(extent.offset, piece)?;
        self.hasher.update(piece);
        self.at += extent.bytes;
        self.left_bytes -= extent.bytes;
        if self.left_bytes > 0 {
            return Ok(false);
        }
        let found = self.hasher.clone().finalize();
        let expected = self.expected;
        if found == expected { Ok(true) } else { Err(BodyError::Corrupt { found, expected }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{
            layout::encode_page,
            memory_flash::{MemoryFlash, NAME, formatted, geometry},
        },
        units::Ticks90k,
    };

    fn superblock() -> Superblock {
        Superblock::new(geometry().layout, NAME).unwrap()
    }

    /// A record of one page, whose bytes are zeros like all of an empty ring.
    fn record(sequence: u64) -> Record {
        Record {
            sequence,
            discontinuities: 0,
            start: UnixMillis(1_700_000_000_000 + sequence),
            duration: Ticks90k(90),
            position: sequence * PAGE_BYTES as u64,
            bytes: 4096,
            crc: crc32fast::hash(&[0; PAGE_BYTES]),
            target_duration_s: 5,
            is_discontinuity: false,
            is_independent: true,
            is_gap: false,
        }
    }

    fn put(flash: &mut MemoryFlash, write: u64, synced_below: u64, records: &[Record]) {
        let layout = geometry().layout;
        let header = PageHeader { write, synced_below, ..PageHeader::default() };
        let page = encode_page(superblock().ring_id(), &header, &records.iter().copied().collect());
        let at = layout.page_offset(layout.pair_of(records[0].sequence), write % 2);
        flash.write(at, &page).unwrap();
    }

    fn found(flash: &mut MemoryFlash) -> (Vec<u64>, u64) {
        let recovered = recover(flash, &superblock(), 0, &mut vec![0; 4096]).unwrap();
        (recovered.records.iter().map(|record| record.sequence).collect(), recovered.dropped)
    }

    #[test]
    fn the_newest_page_of_a_pair_counts() {
        let mut flash = formatted();
        put(&mut flash, 1, 0, &[record(0), record(1)]);
        put(&mut flash, 2, 0, &[record(0)]);
        assert_eq!(found(&mut flash), (vec![0], 0));
        put(&mut flash, 3, 0, &[record(0), record(1), record(2)]);
        assert_eq!(found(&mut flash), (vec![0, 1, 2], 0));
    }

    #[test]
    fn a_page_with_higher_numbers_that_is_older_than_the_newest_does_not_count() {
        let mut flash = formatted();
        put(&mut flash, 5, 63, &[record(63)]);
        put(&mut flash, 6, 62, &[record(61), record(62)]);
        assert_eq!(found(&mut flash), (vec![61, 62], 0));
    }

    #[test]
    fn of_pages_that_contradict_each_other_the_newer_records_count() {
        let mut flash = formatted();
        put(&mut flash, 1, 99, &[record(61), Record { position: 9 << 20, ..record(62) }]);
        put(&mut flash, 2, 99, &[record(63), record(64)]);
        assert_eq!(found(&mut flash), (vec![63, 64], 0));
    }

    #[test]
    fn the_first_unproven_record_that_fails_takes_all_behind_it_along() {
        let bad = |sequence| Record { crc: 1, ..record(sequence) };
        let mut flash = formatted();
        put(&mut flash, 1, 2, &[bad(0), record(1), record(2), bad(3), record(4), bad(5)]);
        assert_eq!(found(&mut flash), (vec![0, 1, 2], 3), "what was synced is not read");
        put(&mut flash, 2, 0, &[bad(0), record(1)]);
        assert_eq!(found(&mut flash), (vec![], 2));
    }

    #[test]
    fn a_damaged_page_doubles_the_reach() {
        let data = geometry().layout.data_bytes() / PAGE_BYTES as u64;
        let mut flash = formatted();
        // The two are a page short of a whole lap apart.
        put(&mut flash, 2, 99, &[record(0), Record { position: (data - 2) * 4096, ..record(1) }]);
        assert_eq!(found(&mut flash), (vec![0, 1], 0));
        let with_reach = |flash: &mut MemoryFlash, reach| {
            recover(flash, &superblock(), reach, &mut vec![0; 4096]).unwrap().records.len()
        };
        assert_eq!((with_reach(&mut flash, 4096), with_reach(&mut flash, 8192)), (2, 1));
        flash.write(geometry().layout.page_offset(1, 0), &[1]).unwrap();
        assert_eq!((with_reach(&mut flash, 2048), with_reach(&mut flash, 4096)), (2, 1));
    }

    #[test]
    fn no_index_however_it_looks_makes_recovery_panic() {
        let mut random = 1_u64;
        for _ in 0..300 {
            let mut flash = formatted();
            for pair in 0..geometry().layout.pairs {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let from = (random >> 4) / 4096 * 4096;
                let records: Vec<_> = (0..3)
                    .map(|nth| Record { position: from + nth * 4096, ..record(pair * 63 + nth) })
                    .collect();
                let header = PageHeader {
                    write: random >> 3,
                    reach_bytes: u32::MAX,
                    sequence_ceiling: random >> 3,
                    ..PageHeader::default()
                };
                let group = records.iter().copied().collect();
                let page = encode_page(superblock().ring_id(), &header, &group);
                flash.write(geometry().layout.page_offset(pair, 0), &page).unwrap();
            }
            let recovered =
                recover(&mut flash, &superblock(), 1 << 20, &mut vec![0; 4096]).unwrap();
            assert_eq!(recovered.damaged_pages, 0, "the pages are whole, however wild");
        }
    }
}
