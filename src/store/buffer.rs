//! Write buffers: page-aligned anonymous maps, counted, lent out and given back.
//!
//! Maps and not heap: a buffer's memory goes back to the system as soon as its publisher has left.
//! Nothing here maps a file; what is written goes through `pwrite`.

use memmap2::MmapMut;

use crate::limits::{PAGE_BYTES, WRITE_BYTES};

/// The pool of all channels' write buffers.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Buffer>,
    lent: usize,
    buffers_max: usize,
}

impl BufferPool {
    /// A pool that never lends more than `buffers_most` at a time, and lends none before [`allow`](Self::allow).
    pub fn new(buffers_most: usize) -> Self {
        Self { free: Vec::with_capacity(buffers_most), lent: 0, buffers_max: 0 }
    }

    /// Sets how many buffers there may be: as many as the publishers of the moment are worth.
    ///
    /// Those above it go back to the system, lent ones when they are given back.
    pub fn allow(&mut self, buffers_max: usize) {
        self.buffers_max = buffers_max.min(self.free.capacity());
        self.free.truncate(self.buffers_max.saturating_sub(self.lent));
    }

    /// Lends a buffer, the one used last. `None`: all are lent out, or the system has no memory.
    pub fn take(&mut self) -> Option<Buffer> {
        if self.lent >= self.buffers_max {
            return None;
        }
        let buffer = match self.free.pop() {
            Some(buffer) => buffer,
            None => Buffer { map: MmapMut::map_anon(WRITE_BYTES).ok()?, len: 0 },
        };
        self.lent += 1;
        Some(buffer)
    }

    /// Takes a buffer back.
    pub fn give(&mut self, mut buffer: Buffer) {
        buffer.len = 0;
        self.lent = self.lent.saturating_sub(1);
        if self.lent + self.free.len() < self.buffers_max {
            self.free.push(buffer);
        }
    }

    /// Buffers that may still be lent.
    pub const fn left(&self) -> usize {
        self.buffers_max.saturating_sub(self.lent)
    }

    /// Buffers that are lent out.
    pub const fn lent(&self) -> usize {
        self.lent
    }

    /// Memory that the pool holds, lent or free, in bytes.
    pub const fn bytes(&self) -> usize {
        (self.lent + self.free.len()) * WRITE_BYTES
    }
}

/// [`WRITE_BYTES`] of memory, filled from the front.
#[derive(Debug)]
pub struct Buffer {
    map: MmapMut,
    len: usize,
}

impl Buffer {
    /// What has been put in.
    pub fn filled(&self) -> &[u8] {
        self.map.get(..self.len).unwrap_or_default()
    }

    /// Takes what fits of `bytes` and returns the rest.
    pub fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = self.map.get_mut(self.len..).unwrap_or_default();
        let (now, later) = bytes.split_at_checked(room.len()).unwrap_or((bytes, &[]));
        if let Some(room) = room.get_mut(..now.len()) {
            room.copy_from_slice(now);
        }
        self.len += now.len();
        later
    }

    /// Forgets what lies behind the first `len` bytes.
    pub const fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
        }
    }

    /// Fills the last page up with zeros: the kernel then need not read it from the card before it writes it.
    pub fn pad_to_page(&mut self) {
        let padded = self.len.next_multiple_of(PAGE_BYTES);
        self.map.get_mut(self.len..padded).unwrap_or_default().fill(0);
        self.len = padded;
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.len == self.map.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_as_many_as_allowed_and_the_same_memory_again() {
        let mut pool = BufferPool::new(4);
        assert!(pool.take().is_none(), "nobody publishes");
        pool.allow(2);
        let first = pool.take().unwrap();
        let address = first.map.as_ptr();
        assert_eq!(address.addr() % PAGE_BYTES, 0);
        let _second = pool.take().unwrap();
        assert!(pool.take().is_none());
        pool.give(first);
        assert_eq!(pool.take().unwrap().map.as_ptr(), address);
    }

    #[test]
    fn memory_goes_back_when_publishers_leave() {
        let mut pool = BufferPool::new(8);
        pool.allow(8);
        let lent: Vec<_> = (0..8).map(|_| pool.take().unwrap()).collect();
        assert_eq!(pool.bytes(), 8 * WRITE_BYTES);
        pool.allow(4);
        lent.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!((pool.lent(), pool.bytes()), (0, 4 * WRITE_BYTES));
        pool.allow(0);
        assert_eq!(pool.bytes(), 0);
    }

    #[test]
    fn a_buffer_fills_pads_and_forgets() {
        let mut pool = BufferPool::new(1);
        pool.allow(1);
        let mut buffer = pool.take().unwrap();
        let bytes = vec![7; WRITE_BYTES + 5];
        assert_eq!(buffer.fill(&bytes).len(), 5);
        assert!(buffer.is_full());
        buffer.truncate(PAGE_BYTES + 1);
        buffer.pad_to_page();
        assert_eq!(buffer.filled().len(), 2 * PAGE_BYTES);
        assert_eq!(buffer.filled()[PAGE_BYTES], 7);
        assert!(buffer.filled()[PAGE_BYTES + 1..].iter().all(|byte| *byte == 0));
        pool.give(buffer);
        assert!(pool.take().unwrap().filled().is_empty());
    }
}
