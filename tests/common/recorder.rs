//! A [`SegmentSink`] that keeps its segments in memory and checks how it is called.

#![allow(dead_code, reason = "each test uses what it needs")]

use sluicegate::hls::{PartEnd, SegmentEnd, SegmentSink, SegmentStart};

/// A sealed segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) start: SegmentStart,
    pub(crate) end: SegmentEnd,
    pub(crate) bytes: Vec<u8>,
}

/// Records segments.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) segments: Vec<Segment>,
    /// Most bytes in a segment.
    pub(crate) capacity: usize,
    /// Bytes after the mark that can be taken back; more are beyond recall.
    pub(crate) recall: usize,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    start: SegmentStart,
    bytes: Vec<u8>,
    marked: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { segments: Vec::new(), capacity: 32 << 20, recall: usize::MAX, open: None }
    }
}

impl Recorder {
    /// Whether a segment is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

impl SegmentSink for Recorder {
    fn open(&mut self, start: SegmentStart) {
        assert!(self.open.is_none(), "opened twice");
        self.open = Some(Open { start, bytes: Vec::new(), marked: 0 });
    }

    fn write(&mut self, packets: &[u8]) {
        let open = self.open.as_mut().expect("written to an open segment");
        assert!(
            packets.len().is_multiple_of(188)
                && packets.chunks(188).all(|packet| packet[0] == 0x47)
        );
        open.bytes.extend_from_slice(packets);
        assert!(open.bytes.len() <= self.capacity, "more than there was room for");
    }

    fn mark(&mut self) {
        let open = self.open.as_mut().expect("marked in an open segment");
        open.marked = open.bytes.len();
    }

    fn rollback(&mut self) -> bool {
        let open = self.open.as_mut().expect("rolled back in an open segment");
        let is_recalled = open.bytes.len() - open.marked <= self.recall;
        open.bytes.truncate(open.marked);
        is_recalled
    }

    fn room(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| (self.capacity - open.bytes.len()) as u64)
    }

    fn part(&mut self, _: PartEnd) {}

    fn seal(&mut self, end: SegmentEnd) {
        let Open { start, mut bytes, marked } =
            self.open.take().expect("an open segment is sealed");
        bytes.truncate(marked);
        if marked > 0 {
            self.segments.push(Segment { start, end, bytes });
        }
    }
}
