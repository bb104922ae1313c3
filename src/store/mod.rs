//! The segment store: one preallocated ring file per LiveChannel.
//!
//! A segment is bytes and a [`Record`]; the store knows no TS and no HLS. It does no I/O of its own: it says
//! what to read, write and sync through [`Flash`], on the one thread that owns the flash.
//!
//! ```text
//! engine thread                                        flash thread
//! Ring::open_segment ─▶ SegmentWriter ───Write──▶ RingWriter::write
//! Ring::seal ────────────────────────────Seal──▶ RingWriter::seal    page and body: one sync
//! Ring::sealed: it is listed ◀───────────────────────┤
//! Ring::fail: what was not synced is lost ◀──────────┘
//! ```
//!
//! Read [`layout`] first: the format, and why power may go at any byte.

pub mod buffer;
pub mod geometry;
pub mod inspect;
pub mod layout;
#[cfg(test)]
pub(crate) mod memory_flash;
pub mod recovery;
pub mod ring;
pub mod segment;
pub mod writer;

use crate::{
    limits::PAGE_BYTES,
    units::{Ticks90k, UnixMillis},
};
use buffer::Buffer;

/// Records on one index page, and sequence numbers in one group: a page has 64 lines, the first is its header.
pub const RECORDS_PER_PAGE: usize = PAGE_BYTES / 64 - 1;

/// By what part of its duration a segment's end may overlap the next one's start.
const START_SLACK: u64 = 100;

/// What the store needs of a ring file: five calls, so that a test can stand below them.
pub trait Flash {
    /// Length of the file, in bytes.
    fn file_bytes(&mut self) -> std::io::Result<u64>;
    /// Fills `into` from byte `at`; a shorter file is an error.
    fn read(&mut self, at: u64, into: &mut [u8]) -> std::io::Result<()>;
    /// Writes all of `bytes` at byte `at`. Promises nothing about the power.
    fn write(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()>;
    /// Returns once everything written before is on the flash.
    fn sync(&mut self) -> std::io::Result<()>;
    /// Syncs, and forgets what the system has cached: what is read from here on is what is on flash.
    fn refresh(&mut self) -> std::io::Result<()>;
}

/// What may be listed before a sync has put it on flash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ahead {
    /// Nothing.
    Nothing,
    /// Parts of the open segment.
    Parts,
    /// Segments, up to [`RELAXED_SEGMENTS_MAX`](crate::limits::RELAXED_SEGMENTS_MAX) of them.
    Segments,
}

/// What is known of one sealed segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// Media sequence number (RFC 8216 §4.3.3.2); never used twice.
    pub sequence: u64,
    /// Discontinuities from the ring's beginning up to and including the one before this segment, if there is one:
    /// what EXT-X-DISCONTINUITY-SEQUENCE is made of (RFC 8216 §4.3.3.3).
    pub discontinuities: u64,
    /// When it starts, by the channel's own clock that never goes back; also its name.
    pub start: UnixMillis,
    /// How long it plays.
    pub duration: Ticks90k,
    /// Where its bytes start, counted from the ring's beginning and never folded.
    pub position: u64,
    /// How many bytes it has.
    pub bytes: u32,
    /// CRC-32 (IEEE) of its bytes.
    pub crc: u32,
    /// TARGETDURATION in force when it was sealed, in seconds.
    pub target_duration_s: u16,
    /// A discontinuity stands before it.
    pub is_discontinuity: bool,
    /// It starts with an IDR picture.
    pub is_independent: bool,
    /// It was lost: it has a place in the playlist and no bytes (EXT-X-GAP).
    pub is_gap: bool,
}

impl Record {
    /// Where the next segment's bytes start: segments begin on pages.
    pub const fn end_position(&self) -> u64 {
        self.position + (self.bytes as u64).next_multiple_of(PAGE_BYTES as u64)
    }

    /// When the next segment may start: names differ even where this one has no duration.
    pub const fn end(&self) -> UnixMillis {
        let whole_ms = self.duration.as_millis();
        let ms = if whole_ms < 1 { 1 } else { whole_ms.unsigned_abs() };
        UnixMillis(self.start.0.saturating_add(ms))
    }

    /// The least start of the segment behind this one. A little before its end, so that the clock of a camera that runs
    /// fast can be led back to the wall clock's; never its own start, which is a name.
    pub const fn next_start_min(&self) -> UnixMillis {
        let slack_ms = self.duration.as_millis().unsigned_abs() / START_SLACK;
        let start = self.end().0.saturating_sub(slack_ms);
        UnixMillis(if start > self.start.0 { start } else { self.start.0 + 1 })
    }

    /// Makes a gap of a segment whose bytes cannot be vouched for.
    pub(crate) const fn lose(&mut self) {
        self.bytes = 0;
        self.crc = 0;
        self.is_gap = true;
    }
}

/// What goes to the flash thread while a segment is open.
#[derive(Debug)]
pub struct Write {
    /// Which attempt of the ring it belongs to: see [`ring::Ring::fail`].
    pub epoch: u32,
    /// Log position of its first byte.
    pub position: u64,
    /// The bytes. The flash thread gives the buffer back.
    pub buffer: Buffer,
}

/// What goes to the flash thread when a segment is complete and all its writes have gone before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seal {
    /// Which attempt of the ring it belongs to: see [`ring::Ring::fail`].
    pub epoch: u32,
    /// What is to be put into the index.
    pub record: Record,
}
