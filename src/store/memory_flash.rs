//! A ring in memory for unit tests, that notes what is asked of it. What a card does when the power
//! goes is modelled in `tests/power_cut.rs`.

use std::io;

use super::{
    Ahead, Flash, Seal,
    geometry::Geometry,
    layout::Superblock,
    ring::{Listing, Ring},
    segment::Body,
    writer::{self, RingWriter},
};
use crate::units::{Millis, Ticks90k, UnixMillis};

/// Bytes, and the calls since they were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFlash {
    /// The file.
    pub(super) bytes: Vec<u8>,
    /// Where was written.
    pub(super) writes: Vec<u64>,
    /// How often was synced.
    pub(super) syncs: usize,
    /// How many bytes were read.
    pub(super) bytes_read: usize,
    /// Syncs from this one on fail.
    pub(super) fails_from: Option<usize>,
}

impl Flash for MemoryFlash {
    fn file_bytes(&mut self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.bytes_read += into.len();
        into.copy_from_slice(&self.bytes[usize::try_from(at).unwrap()..][..into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.writes.push(at);
        let at = usize::try_from(at).unwrap();
        self.bytes.resize(self.bytes.len().max(at + bytes.len()), 0);
        self.bytes[at..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        let is_failing = self.fails_from.is_some_and(|from| self.syncs >= from);
        if is_failing { Err(io::Error::other("no")) } else { Ok(()) }
    }

    fn refresh(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) const NAME: &str = "cams/front-door";

/// The geometry of a small ring: two pairs of index pages, segments of up to 900 KiB.
pub(super) fn geometry() -> Geometry {
    Geometry::new(3 << 20, 1, 4096).unwrap()
}

/// An empty ring.
pub(crate) fn formatted() -> MemoryFlash {
    let layout = geometry().layout;
    let bytes = vec![0; usize::try_from(layout.file_bytes).unwrap()];
    let mut flash = MemoryFlash { bytes, ..MemoryFlash::default() };
    writer::format(&mut flash, &Superblock::new(layout, NAME).unwrap()).unwrap();
    MemoryFlash { bytes: flash.bytes, ..MemoryFlash::default() }
}

/// A ring and its writer, without a thread between them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) ring: Ring,
    pub(super) writer: RingWriter<MemoryFlash>,
}

impl Pair {
    pub(crate) fn open(flash: MemoryFlash, is_relaxed: bool) -> Self {
        Self::open_with(flash, if is_relaxed { Ahead::Segments } else { Ahead::Nothing })
    }

    /// The same, with what may be listed ahead of its sync.
    pub(super) fn open_with(flash: MemoryFlash, ahead: Ahead) -> Self {
        let (writer, recovered) = RingWriter::open(flash, geometry(), NAME, ahead).unwrap();
        Self { ring: Ring::new(geometry(), recovered), writer }
    }

    /// Writes a segment and hands out its seal.
    pub(super) fn write(&mut self, bytes: u32) -> Seal {
        let open = self.ring.open_segment().unwrap();
        let body = vec![b'x'; usize::try_from(bytes).unwrap()];
        self.writer.write(open.epoch, open.position, &body).unwrap();
        let crc = crc32fast::hash(&body);
        let body = Body { epoch: open.epoch, position: open.position, bytes, crc };
        self.ring.seal(body, listing(&self.ring)).unwrap()
    }

    /// Writes a segment and lists it.
    pub(super) fn record(&mut self, bytes: u32) -> u64 {
        let seal = self.write(bytes);
        assert!(self.writer.seal(&seal, Millis(0)).unwrap());
        self.ring.sealed(seal.record.sequence).unwrap().sequence
    }

    pub(super) fn into_flash(mut self) -> MemoryFlash {
        MemoryFlash {
            bytes: std::mem::take(&mut self.writer.flash().bytes),
            ..MemoryFlash::default()
        }
    }
}

/// A ring of one segment, for tests of what is made of rings. It starts at second 1,700,000,000.
pub(crate) fn ring_of_one_segment() -> Ring {
    let mut pair = Pair::open(formatted(), false);
    pair.record(188);
    pair.ring
}

/// A second that begins where the ring goes on.
pub(super) fn listing(ring: &Ring) -> Listing {
    Listing {
        start: ring.time_floor().max(UnixMillis(1_700_000_000_000)),
        duration: Ticks90k(90_000),
        target_duration_s: 5,
        is_discontinuity: false,
        is_independent: true,
    }
}
