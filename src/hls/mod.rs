//! Access units → MPEG-TS segments → playlists.
//!
//! ```text
//! video ─▶ segmenter: append, cut, drop ─┐
//!    └───────────────────────────────────┴▶ ts (psi) ─▶ SegmentSink ─▶ the store ─▶ playlist
//! audio ─▶ audio_pes ─────────────────────▶
//! ```

pub mod audio_pes;
pub mod parts;
pub mod playlist;
mod psi;
pub mod segmenter;
pub mod ts;

use crate::units::Ticks90k;

/// Where the TS of one channel goes: the segmenter and the muxer above, the store below.
///
/// Each [`open`](Self::open) is followed by one [`seal`](Self::seal). In between come packets, with a
/// [`mark`](Self::mark) after each access unit or PES packet that is whole. Packets are never more than the
/// [`room`](Self::room) that was there when their access unit began.
pub trait SegmentSink {
    /// Opens a segment. Its first packets are PAT and PMT.
    fn open(&mut self, start: SegmentStart);
    /// Takes whole 188-byte packets.
    fn write(&mut self, packets: &[u8]);
    /// All that was written is whole: a rollback returns to here.
    fn mark(&mut self);
    /// Forgets what was written after the last mark. `false`: part of it is beyond recall, so the segment ends at
    /// the mark, and the caller seals it and waits for a key frame.
    fn rollback(&mut self) -> bool;
    /// Bytes that still fit the open segment. One that was lost goes on as if it were not: it becomes a gap.
    fn room(&self) -> u64;
    /// All up to the last mark, from the part before on, is a part. Only a sink that was told of
    /// [`SegmentStart::is_parted`] hears of parts.
    fn part(&mut self, part: PartEnd);
    /// Seals the open segment at the last mark. One that was never marked is empty and forgotten.
    fn seal(&mut self, end: SegmentEnd);
}

/// What is known of a segment when it opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentStart {
    /// Decoding time of its first access unit on the channel's unwrapped timeline.
    pub dts: Ticks90k,
    /// A discontinuity stands before it.
    pub is_discontinuity: bool,
    /// It is going to be listed in parts.
    pub is_parted: bool,
}

/// What is known of a part of a segment when it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartEnd {
    /// From its first access unit's decoding time to that of what comes behind it.
    pub duration: Ticks90k,
    /// It starts its segment, with an IDR picture: players may begin here.
    pub is_independent: bool,
}

/// What is known of a segment when it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentEnd {
    /// From its first access unit's decoding time to the next segment's first.
    pub duration: Ticks90k,
    /// It starts with an IDR picture.
    pub is_independent: bool,
    /// The distances between key frames that ended in it or with it; `None`: none did.
    pub gop: Option<Gop>,
}

/// Distances between key frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gop {
    /// The shortest.
    pub shortest: Ticks90k,
    /// The longest.
    pub longest: Ticks90k,
}

impl Gop {
    /// `gop` with one more distance.
    pub(crate) fn with(gop: Option<Self>, distance: Ticks90k) -> Self {
        gop.map_or(Self { shortest: distance, longest: distance }, |gop| Self {
            shortest: gop.shortest.min(distance),
            longest: gop.longest.max(distance),
        })
    }
}
