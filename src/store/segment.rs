//! The bytes of one open segment → writes of whole buffers, and a length and a CRC in the end.
//!
//! It gathers what the muxer writes in pooled buffers and hands out each as it is full. Only what was marked counts: a
//! broken frame behind the last mark is taken back, or, where part of it has gone to flash already, the segment ends
//! at the mark. It writes nothing itself and does not know where the ring's end is.

use crc32fast::Hasher;
use thiserror::Error;

use super::{
    Write,
    buffer::{Buffer, BufferPool},
    ring::OpenSegment,
};

/// The open segment of one channel.
#[derive(Debug)]
pub struct SegmentWriter {
    open: OpenSegment,
    buffer: Option<Buffer>,
    /// Bytes in buffers that were handed out.
    gone: u64,
    /// Bytes up to the last mark.
    marked: u64,
    /// CRC up to the last mark.
    marked_crc: Hasher,
    /// CRC of the marked bytes, and of those behind them that were handed out.
    crc: Hasher,
    /// It ends at the last mark: nothing more is taken.
    is_ended: bool,
}

/// The segment takes no more bytes: it can be finished at the last mark, or abandoned.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SegmentFull {
    /// Every write buffer is on its way to flash.
    #[error("all write buffers are on their way to flash")]
    NoBuffer,
    /// The segment has reached the length that the ring allows, or has ended at a mark.
    #[error("the segment has no room left")]
    NoRoom,
}

/// What became of a segment's bytes. [`Ring::seal`](super::ring::Ring::seal) takes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Body {
    /// Which attempt of the ring it belongs to.
    pub epoch: u32,
    /// Log position of its first byte.
    pub position: u64,
    /// How many bytes it has.
    pub bytes: u32,
    /// CRC-32 (IEEE) of them.
    pub crc: u32,
}

impl SegmentWriter {
    /// The writer of a segment that the ring has just opened.
    pub fn new(open: OpenSegment) -> Self {
        Self {
            open,
            buffer: None,
            gone: 0,
            marked: 0,
            marked_crc: Hasher::new(),
            crc: Hasher::new(),
            is_ended: false,
        }
    }

    /// Takes bytes; each buffer that is full goes to `out`.
    ///
    /// Where it fails, part of them may have been taken: roll back, then finish or abandon.
    pub fn write(
        &mut self,
        mut bytes: &[u8],
        pool: &mut BufferPool,
        mut out: impl FnMut(Write),
    ) -> Result<(), SegmentFull> {
        if self.is_ended || bytes.len() as u64 > self.room() {
            return Err(SegmentFull::NoRoom);
        }
        while !bytes.is_empty() {
            // A full buffer stays until more bytes come: up to then a rollback can still reach it.
            if let Some(full) = self.buffer.take_if(|buffer| buffer.is_full()) {
                self.crc.update(self.unmarked(&full));
                out(self.hand_out(full));
            }
            let buffer = match &mut self.buffer {
                Some(buffer) => buffer,
                none => none.insert(pool.take().ok_or(SegmentFull::NoBuffer)?),
            };
            bytes = buffer.fill(bytes);
        }
        Ok(())
    }

    /// All that was written is whole: a rollback returns to here.
    pub fn mark(&mut self) {
        if self.is_ended {
            return;
        }
        if let Some(buffer) = &self.buffer {
            self.crc.update(self.unmarked(buffer));
        }
        self.marked = self.written();
        self.marked_crc = self.crc.clone();
    }

    /// Forgets what was written after the last mark.
    ///
    /// `false`: part of it is beyond recall, so the segment ends at the mark.
    pub fn rollback(&mut self) -> bool {
        let kept = self.marked.checked_sub(self.gone).and_then(|kept| usize::try_from(kept).ok());
        match (kept, &mut self.buffer) {
            (Some(kept), Some(buffer)) => buffer.truncate(kept),
            (Some(_), None) => {}
            (None, _) => self.is_ended = true,
        }
        !self.is_ended
    }

    /// Bytes that still fit.
    pub fn room(&self) -> u64 {
        self.open.bytes_max.saturating_sub(self.written())
    }

    /// Bytes up to the last mark: what [`finish`](Self::finish) would keep.
    pub const fn marked(&self) -> u64 {
        self.marked
    }

    /// Its sequence number.
    pub const fn sequence(&self) -> u64 {
        self.open.sequence
    }

    /// Log position of its first byte.
    pub const fn position(&self) -> u64 {
        self.open.position
    }

    /// Bytes that were handed out: they are on their way to flash, or there.
    pub const fn handed_out(&self) -> u64 {
        self.gone
    }

    /// The bytes behind those, up to the last mark.
    pub fn held(&self) -> &[u8] {
        let marked = usize::try_from(self.marked.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        let filled = self.buffer.as_ref().map_or(&[][..], Buffer::filled);
        filled.get(..marked).unwrap_or(filled)
    }

    /// Ends the segment at the last mark; what is not handed out so far goes to `out`, filled up to a whole page.
    ///
    /// `None`: nothing was marked, there is no segment.
    pub fn finish(mut self, pool: &mut BufferPool, out: impl FnOnce(Write)) -> Option<Body> {
        self.rollback();
        match self.buffer.take() {
            Some(mut rest) if self.marked > self.gone => {
                rest.pad_to_page();
                out(self.hand_out(rest));
            }
            Some(unused) => pool.give(unused),
            None => {}
        }
        let bytes = u32::try_from(self.marked).ok().filter(|bytes| *bytes > 0)?;
        let OpenSegment { epoch, position, .. } = self.open;
        Some(Body { epoch, position, bytes, crc: self.marked_crc.finalize() })
    }

    /// Gives the segment up. What was handed out will be overwritten by the next one.
    pub fn abandon(self, pool: &mut BufferPool) {
        if let Some(buffer) = self.buffer {
            pool.give(buffer);
        }
    }

    fn written(&self) -> u64 {
        self.gone + self.buffer.as_ref().map_or(0, |buffer| buffer.filled().len() as u64)
    }

    /// What of the buffer lies behind the last mark: `crc` has not seen it.
    fn unmarked<'a>(&self, buffer: &'a Buffer) -> &'a [u8] {
        let marked = usize::try_from(self.marked.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        buffer.filled().get(marked..).unwrap_or_default()
    }

    fn hand_out(&mut self, buffer: Buffer) -> Write {
        let position = self.open.position + self.gone;
        self.gone += buffer.filled().len() as u64;
        Write { epoch: self.open.epoch, position, buffer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PAGE_BYTES, WRITE_BYTES};

    const OPEN: OpenSegment = OpenSegment {
        epoch: 3,
        sequence: 9,
        position: 40_960,
        bytes_max: 1 << 20,
        readable_from: 0,
    };

    struct Bench {
        pool: BufferPool,
        flash: Vec<u8>,
        writer: SegmentWriter,
    }

    impl Bench {
        fn new(buffers: usize) -> Self {
            let mut pool = BufferPool::new(buffers);
            pool.allow(buffers);
            Self { pool, flash: Vec::new(), writer: SegmentWriter::new(OPEN) }
        }

        fn write(&mut self, bytes: &[u8]) -> Result<(), SegmentFull> {
            let mut lent = Vec::new();
            let done = self.writer.write(bytes, &mut self.pool, |write| lent.push(write));
            for write in lent {
                keep(&mut self.flash, &write);
                self.pool.give(write.buffer);
            }
            done
        }

        /// The body, the bytes of it that went to flash, and how many buffers were not given back.
        fn finish(mut self) -> (Option<Body>, Vec<u8>, usize) {
            let mut last = None;
            let body = self.writer.finish(&mut self.pool, |write| last = Some(write));
            if let Some(write) = last {
                keep(&mut self.flash, &write);
                self.pool.give(write.buffer);
            }
            if let Some(body) = body {
                assert_eq!(body.position, OPEN.position);
                self.flash.truncate(body.bytes as usize);
                assert_eq!(crc32fast::hash(&self.flash), body.crc);
            }
            (body, self.flash, self.pool.lent())
        }
    }

    fn keep(flash: &mut Vec<u8>, write: &Write) {
        assert_eq!((write.epoch, write.position), (3, OPEN.position + flash.len() as u64));
        assert!(write.buffer.filled().len().is_multiple_of(PAGE_BYTES));
        flash.extend(write.buffer.filled());
    }

    fn noise(len: usize) -> Vec<u8> {
        (0_u64..).map(|i| (i * 7919 / 8).to_le_bytes()[0]).take(len).collect()
    }

    #[test]
    fn what_is_marked_arrives_in_order_with_its_crc() {
        for len in [1, 188, 4096, WRITE_BYTES - 1, WRITE_BYTES, WRITE_BYTES + 1, 5 * WRITE_BYTES] {
            for piece in [188, 5000, 3 * WRITE_BYTES] {
                let bytes = noise(len);
                let mut bench = Bench::new(20);
                for part in bytes.chunks(piece) {
                    bench.write(part).unwrap();
                    bench.writer.mark();
                }
                let (body, flash, lent) = bench.finish();
                assert_eq!(body.unwrap().bytes as usize, len);
                assert!(flash == bytes, "{len} in pieces of {piece}");
                assert_eq!(lent, 0);
            }
        }
    }

    #[test]
    fn a_broken_frame_is_taken_back_and_the_segment_goes_on() {
        let mut bench = Bench::new(20);
        bench.write(&[1; 1000]).unwrap();
        bench.writer.mark();
        bench.write(&[2; 1000]).unwrap();
        assert!(bench.writer.rollback());
        bench.write(&[3; 500]).unwrap();
        bench.writer.mark();
        let (body, flash, _) = bench.finish();
        assert_eq!(body.unwrap().bytes, 1500);
        assert_eq!(flash[999..1001], [1, 3]);
    }

    #[test]
    fn a_broken_frame_that_is_partly_on_flash_ends_the_segment_at_the_mark() {
        for marked in [0, 188, WRITE_BYTES - 188, WRITE_BYTES + 188] {
            let mut bench = Bench::new(20);
            bench.write(&noise(marked)).unwrap();
            bench.writer.mark();
            bench.write(&[9; 3 * WRITE_BYTES]).unwrap();
            assert!(!bench.writer.rollback());
            assert_eq!(bench.write(&[1; 188]), Err(SegmentFull::NoRoom));
            bench.writer.mark();
            let (body, flash, lent) = bench.finish();
            assert_eq!(body.map_or(0, |body| body.bytes as usize), marked);
            assert!(marked == 0 || flash == noise(marked));
            assert_eq!(lent, 0);
        }
    }

    #[test]
    fn a_frame_that_exactly_fills_a_buffer_can_be_taken_back() {
        let mut bench = Bench::new(20);
        bench.write(&[1; 188]).unwrap();
        bench.writer.mark();
        bench.write(&[2; WRITE_BYTES - 188]).unwrap();
        assert!(bench.writer.rollback());
        assert_eq!(bench.finish().0.unwrap().bytes, 188);
    }

    #[test]
    fn without_a_buffer_the_segment_can_still_end_at_its_mark() {
        let mut bench = Bench::new(1);
        let mut held = Vec::new();
        let bytes = noise(WRITE_BYTES);
        bench.write(&bytes).unwrap();
        bench.writer.mark();
        let more = bench.writer.write(&[1; 188], &mut bench.pool, |write| held.push(write));
        assert_eq!(more, Err(SegmentFull::NoBuffer));
        assert!(!held.is_empty(), "what was full has been handed out");
        let body = bench.writer.finish(&mut bench.pool, |_| panic!("nothing is left")).unwrap();
        assert_eq!((body.bytes as usize, body.crc), (WRITE_BYTES, crc32fast::hash(&bytes)));
    }

    #[test]
    fn room_ends_where_the_ring_says() {
        let mut bench = Bench::new(20);
        bench.write(&vec![0; (1 << 20) - 100]).unwrap();
        assert_eq!(bench.writer.room(), 100);
        assert_eq!(bench.write(&[0; 188]), Err(SegmentFull::NoRoom));
        bench.writer.abandon(&mut bench.pool);
        assert_eq!(bench.pool.lent(), 0);
    }
}
