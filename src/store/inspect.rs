//! A ring file → what it holds, for `sluicegate store ls` and `verify`. Reads only, and needs no configuration.
//!
//! It may be used while the daemon writes the same ring. Then a page can be caught half written, and a segment may be
//! overwritten while its body is read: what it reports of such a ring is right but for its two ends.

use super::{
    Flash, Record,
    geometry::Layout,
    layout::{NotThisRing, Superblock},
    recovery::{self, BodyError, ReadError},
};
use crate::limits::WRITE_BYTES;

/// What a ring file holds.
#[derive(Debug)]
pub struct Inspection<F> {
    flash: F,
    superblock: Superblock,
    /// Live segments, oldest first.
    pub records: Vec<Record>,
    /// Index pages that are torn or damaged. One may be after a power cut.
    pub damaged_pages: u64,
    /// Segments at the end whose bytes never reached the flash whole: a start of the daemon drops them.
    pub dropped: u64,
    scratch: Vec<u8>,
}

impl<F: Flash> Inspection<F> {
    /// Reads the index, and those bodies that no sync is known to have covered.
    pub fn new(mut flash: F) -> Result<Self, ReadError> {
        let superblock = recovery::read_superblock(&mut flash)?;
        let mut scratch = vec![0; WRITE_BYTES];
        // No segment is opened: what the page says of the reach is all there is to it.
        let found = recovery::recover(&mut flash, &superblock, 0, &mut scratch)?;
        Ok(Self {
            flash,
            superblock,
            records: found.records,
            damaged_pages: found.damaged_pages,
            dropped: found.dropped,
            scratch,
        })
    }

    /// `bucket/channel`.
    pub fn name(&self) -> &str {
        &self.superblock.name
    }

    /// Checks that the ring is the one of the channel `name`, as the configuration wants it.
    pub fn expect(&self, layout: &Layout, name: &str) -> Result<(), NotThisRing> {
        self.superblock.expect(layout, name)
    }

    /// Where things lie.
    pub const fn layout(&self) -> &Layout {
        &self.superblock.layout
    }

    /// Reads every byte of a segment against its checksum.
    pub fn verify(&mut self, record: &Record) -> Result<(), BodyError> {
        let layout = self.superblock.layout;
        recovery::check_body(&mut self.flash, &layout, record, &mut self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory_flash::{NAME, Pair, formatted};

    #[test]
    fn lists_what_a_start_would_find_and_names_what_went_bad() {
        let mut pair = Pair::open(formatted(), false);
        (0..5).for_each(|_| {
            pair.record(10_000);
        });
        pair.writer.close().unwrap();
        let records: Vec<_> = pair.ring.history().copied().collect();
        let bad = pair.ring.extent(&records[2], 5000, 1).unwrap();
        let mut flash = pair.into_flash();
        flash.bytes[usize::try_from(bad.offset).unwrap()] ^= 0x10;
        let mut inspection = Inspection::new(flash).unwrap();
        assert_eq!((inspection.name(), &inspection.records), (NAME, &records));
        assert_eq!((inspection.damaged_pages, inspection.dropped), (0, 0));
        let good: Vec<_> = records.iter().map(|record| inspection.verify(record).is_ok()).collect();
        assert_eq!(good, [true, true, false, true, true]);
        assert!(inspection.flash.writes.is_empty());
    }
}
