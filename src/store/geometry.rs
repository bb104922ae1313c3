//! The size of a ring → where everything in its file lies, and how long its segments may become.
//!
//! Where things lie follows from the file's length alone, so that FragCount may change between two runs.
//! How long a segment may become follows from both. Nothing here reads or writes.

use thiserror::Error;

use super::RECORDS_PER_PAGE;
use crate::limits::{
    GUARD_BYTES, INDEXED_SEGMENT_BYTES, PAGE_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};

const PAGE: u64 = PAGE_BYTES as u64;

/// Sequence numbers in a group.
const GROUP: u64 = RECORDS_PER_PAGE as u64;

/// The group of a sequence number: those of a group share their pages.
pub const fn group_of(sequence: u64) -> u64 {
    sequence / GROUP
}

/// Where the parts of a ring file lie: two superblocks, the index, the data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    /// Length of the file, in bytes.
    pub file_bytes: u64,
    /// Pairs of index pages. At least 2.
    pub pairs: u64,
}

impl Layout {
    /// The layout of a file of this length; `None` where it has no room for any data.
    pub fn new(file_bytes: u64) -> Option<Self> {
        let records = file_bytes.div_ceil(INDEXED_SEGMENT_BYTES);
        // One pair more than the records need: the one whose old group is being replaced holds nothing that counts.
        let layout = Self { file_bytes, pairs: records.div_ceil(GROUP) + 1 };
        let has_data = file_bytes.is_multiple_of(PAGE) && layout.data_offset() < file_bytes;
        has_data.then_some(layout)
    }

    /// Where the superblock's copy 0 or 1 lies.
    pub const fn superblock_offset(copy: u64) -> u64 {
        copy * PAGE
    }

    /// Where copy 0 or 1 of a pair of index pages lies.
    pub const fn page_offset(&self, pair: u64, copy: u64) -> u64 {
        (2 + 2 * pair + copy) * PAGE
    }

    /// Where the data begins: the superblocks and the index end here.
    pub const fn data_offset(&self) -> u64 {
        self.page_offset(self.pairs, 0)
    }

    /// Length of the data, in bytes.
    pub const fn data_bytes(&self) -> u64 {
        self.file_bytes - self.data_offset()
    }

    /// The pair that holds the record of a sequence number.
    pub const fn pair_of(&self, sequence: u64) -> u64 {
        group_of(sequence) % self.pairs
    }

    /// Records that the index has room for.
    pub const fn index_records(&self) -> u64 {
        GROUP * self.pairs
    }

    /// How far back of the next sequence number a record may lie and count.
    pub const fn records_max(&self) -> u64 {
        GROUP * (self.pairs - 1)
    }

    /// The first of `bytes` bytes at log position `position` that lie in one piece of the file.
    ///
    /// A segment may go on at the beginning of the data where it met the end: ask again for the rest.
    pub fn extent(&self, position: u64, bytes: u64) -> Extent {
        let in_data = position % self.data_bytes();
        Extent {
            offset: self.data_offset() + in_data,
            bytes: bytes.min(self.data_bytes() - in_data),
        }
    }
}

/// A piece of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    /// Where it starts in the file.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A layout, and how long the segments in it may become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geometry {
    /// Where things lie.
    pub layout: Layout,
    /// Longest segment, in bytes; whole pages.
    pub segment_bytes_max: u64,
}

impl Geometry {
    /// The geometry of a ring of `ring_bytes`, rounded down to whole erase blocks of the card.
    ///
    /// A segment that left the playlist has to stay for as long as the longest playlist that listed it
    /// (RFC 8216 §6.2.2): the ring holds FragCount listed ones, as many that are not listed any more, and the open one.
    pub fn new(
        ring_bytes: u64,
        frag_count: u32,
        flash_block_bytes: u64,
    ) -> Result<Self, RingTooSmall> {
        let block = flash_block_bytes.max(1).next_multiple_of(PAGE);
        let segments = 2 * u64::from(frag_count.max(1)) + 1;
        Self::of_file(ring_bytes / block * block, segments).ok_or_else(|| {
            let least = (segments * SEGMENT_BYTES_MIN + GUARD_BYTES).next_multiple_of(block);
            let needed_bytes = (0..)
                .map(|more| least + more * block)
                .find(|n| Self::of_file(*n, segments).is_some());
            RingTooSmall { ring_bytes, frag_count, needed_bytes: needed_bytes.unwrap_or(u64::MAX) }
        })
    }

    fn of_file(file_bytes: u64, segments: u64) -> Option<Self> {
        let layout = Layout::new(file_bytes)?;
        let share = layout.data_bytes().checked_sub(GUARD_BYTES)? / segments / PAGE * PAGE;
        let segment_bytes_max = share.min(SEGMENT_BYTES_MAX);
        (share >= SEGMENT_BYTES_MIN).then_some(Self { layout, segment_bytes_max })
    }

    /// How far ahead of its start an open segment takes the ring's oldest bytes away.
    pub const fn reach_bytes(&self) -> u64 {
        self.segment_bytes_max + GUARD_BYTES
    }

    /// Memory that the ring's records take, in bytes.
    pub const fn records_memory_bytes(&self) -> u64 {
        self.layout.index_records() * size_of::<super::Record>() as u64
    }
}

/// A ring has no room for what its playlist promises.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "a ring of {ring_bytes} bytes is too small for FragCount {frag_count}: it needs {needed_bytes} bytes or more"
)]
pub struct RingTooSmall {
    /// What was asked for.
    pub ring_bytes: u64,
    /// Segments in the playlist.
    pub frag_count: u32,
    /// The least that will do, in whole erase blocks.
    pub needed_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn sixteen_mebibytes_hold_six_listed_segments_of_more_than_a_mebibyte() {
        let geometry = Geometry::new(16 * MIB, 6, 4 * MIB).unwrap();
        assert!(geometry.segment_bytes_max >= MIB * 12 / 10, "{geometry:?}");
        assert_eq!(geometry.layout.file_bytes, 16 * MIB);
    }

    #[test]
    fn the_size_that_a_refusal_names_is_the_least_that_will_do() {
        for frag_count in [1, 3, 6, 25, 100] {
            for block in [4096, MIB, 4 * MIB] {
                let refused = Geometry::new(MIB, frag_count, block).unwrap_err();
                let needed = refused.needed_bytes;
                assert!(Geometry::new(needed, frag_count, block).is_ok(), "{refused}");
                assert!(Geometry::new(needed - block, frag_count, block).is_err(), "{refused}");
            }
        }
    }

    #[test]
    fn live_segments_guard_and_the_open_one_fit_at_every_size() {
        for ring_mib in [4, 16, 64, 100, 256, 1024, 4096, 65_536] {
            for frag_count in [1, 3, 6, 30, 100] {
                let Ok(geometry) = Geometry::new(ring_mib * MIB, frag_count, 4 * MIB) else {
                    continue;
                };
                let layout = geometry.layout;
                let kept = layout.data_bytes() - geometry.reach_bytes();
                assert!(kept >= 2 * u64::from(frag_count) * geometry.segment_bytes_max);
                assert!(layout.records_max() >= 2 * u64::from(frag_count));
                assert!(geometry.segment_bytes_max <= SEGMENT_BYTES_MAX);
                assert!(geometry.segment_bytes_max.is_multiple_of(PAGE));
                assert!(layout.data_offset().is_multiple_of(PAGE));
                // The index is read in one go when the daemon starts.
                assert!(layout.data_offset() <= 2 * MIB * ring_mib.div_ceil(1024) + 8 * PAGE);
            }
        }
    }

    #[test]
    fn a_range_that_meets_the_end_goes_on_at_the_beginning() {
        let layout = Geometry::new(16 * MIB, 3, 4096).unwrap().layout;
        let data = layout.data_bytes();
        let first = layout.extent(5 * data - 10, 25);
        assert_eq!(first, Extent { offset: layout.file_bytes - 10, bytes: 10 });
        let second = layout.extent(5 * data, 15);
        assert_eq!(second, Extent { offset: layout.data_offset(), bytes: 15 });
    }

    #[test]
    fn odd_and_empty_sizes_are_refused_and_not_divided_by() {
        for ring_bytes in [0, 1, 4095, 8192, 16384] {
            assert!(Geometry::new(ring_bytes, 0, 0).is_err());
            assert!(Layout::new(ring_bytes).is_none());
        }
    }
}
