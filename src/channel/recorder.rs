//! TS packets of one channel → segments in its ring.
//!
//! Between the muxer, which knows no flash, and the ring, which knows no media: it names segments, decides TARGETDURATION,
//! and makes a gap of a segment that the flash could not take. What has to be written gathers in an outbox, in order.

use crate::{
    channel::{clock::SegmentClock, target::TargetDuration},
    hls::{SegmentEnd, SegmentSink, SegmentStart},
    limits::SEGMENT_WARM_MS,
    store::{
        Record, Seal, Write,
        buffer::BufferPool,
        ring::{Listing, Ring},
        segment::SegmentWriter,
    },
    units::{Millis, Now, UnixMillis},
};

/// Work for the flash thread, in the order in which it must be done.
#[derive(Debug)]
pub enum Job {
    /// Write bytes of the open segment.
    Write(Write),
    /// Put a segment into the index.
    Seal(Seal),
}

/// A ring, and what is being put into it.
#[derive(Debug)]
pub struct Recorder {
    ring: Ring,
    clock: SegmentClock,
    target: TargetDuration,
    open: Option<Open>,
    /// Something is missing before the next segment that no gap stands for.
    has_hole: bool,
    /// Segments whose bytes are in the page cache and known to be good, and since when.
    warm: Vec<(u64, Millis)>,
    outbox: Vec<Job>,
    /// Segments below this can be read no more; `None`: nobody has to be told.
    retired_below: Option<u64>,
    lost_segments: u64,
    /// The ring is closed, to be opened anew: what comes meanwhile is lost.
    is_offline: bool,
}

/// The segment that is being written.
#[derive(Debug)]
struct Open {
    start: SegmentStart,
    name: UnixMillis,
    /// `None`: the flash or the buffers could not take it; it becomes a gap.
    writer: Option<SegmentWriter>,
}

impl Recorder {
    /// Goes on with a ring that was opened or recovered.
    pub fn new(ring: Ring, frag_duration_s: u16) -> Self {
        let recorded = ring.history().next_back().map(|record| record.target_duration_s);
        Self {
            clock: SegmentClock::new(ring.time_floor()),
            target: TargetDuration::resume(frag_duration_s, recorded),
            ring,
            open: None,
            has_hole: false,
            warm: Vec::new(),
            outbox: Vec::new(),
            retired_below: None,
            lost_segments: 0,
            is_offline: false,
        }
    }

    /// The ring.
    pub const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// TARGETDURATION in force, in seconds; `None`: nothing was ever recorded.
    pub fn target_duration_s(&self) -> Option<u16> {
        self.target
            .seconds()
            .or_else(|| self.ring.records().next_back().map(|record| record.target_duration_s))
    }

    /// The newest time that the ring has seen.
    pub fn time_floor(&self) -> UnixMillis {
        self.clock.floor().max(self.ring.time_floor())
    }

    /// Segments that were lost because the flash failed, or it or the buffers could not take them, since this was asked last.
    pub const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost_segments, 0)
    }

    /// A sink for what arrives at `now`.
    pub const fn sink<'a>(&'a mut self, pool: &'a mut BufferPool, now: Now) -> Sink<'a> {
        Sink { recorder: self, pool, now }
    }

    /// What has to be written, oldest first.
    pub fn take_jobs(&mut self) -> impl Iterator<Item = Job> {
        self.outbox.drain(..)
    }

    /// Whether segments were retired since this was asked last: who reads one must be cut off.
    pub const fn take_retired(&mut self) -> bool {
        self.retired_below.take().is_some()
    }

    /// The flash thread has sealed a segment. The record, if it is listed from here on.
    pub fn sealed(&mut self, sequence: u64, now: Millis) -> Option<&Record> {
        let is_gap = self.ring.sealed(sequence)?.is_gap;
        if !is_gap {
            note_warm(&mut self.warm, &self.ring, sequence, now);
        }
        self.ring.record(sequence)
    }

    /// The flash failed: the open segment and those that were not synced are lost.
    pub fn fail(&mut self, synced_below: u64, pool: &mut BufferPool) {
        let loss = self.ring.fail(synced_below);
        self.lost_segments += loss.segments;
        // The open segment becomes a gap: the discontinuity stands before that.
        self.has_hole |= loss.has_hole;
        self.warm.retain(|(sequence, _)| *sequence < synced_below);
        for job in self.outbox.drain(..) {
            if let Job::Write(write) = job {
                pool.give(write.buffer);
            }
        }
        if let Some(writer) = self.open.as_mut().and_then(|open| open.writer.take()) {
            writer.abandon(pool);
        }
        self.retired_below = Some(synced_below);
    }

    /// The ring is being closed because it fails. What can be read of it stays listed.
    pub fn go_offline(&mut self, pool: &mut BufferPool) {
        self.fail(u64::MAX, pool);
        self.is_offline = true;
    }

    /// The ring was opened anew, perhaps on another card. Numbers and names go on from the ones before.
    pub fn resume(&mut self, mut ring: Ring) {
        ring.go_on_from(&self.ring);
        self.clock.raise(ring.time_floor());
        self.ring = ring;
        self.is_offline = false;
        self.warm.clear();
        self.retired_below = Some(0);
    }

    /// A segment was read and is not what was sealed: it becomes a gap. `false`: it was one, or is gone.
    pub fn spoil(&mut self, sequence: u64) -> bool {
        self.warm.retain(|(warm, _)| *warm != sequence);
        self.ring.spoil(sequence)
    }

    /// A segment has been read through and is good.
    pub fn loaded(&mut self, sequence: u64, now: Millis) {
        note_warm(&mut self.warm, &self.ring, sequence, now);
    }

    /// Whether a segment can be sent without waiting for the flash.
    pub fn is_warm(&self, sequence: u64, now: Millis) -> bool {
        self.warm
            .iter()
            .any(|(warm, since)| *warm == sequence && now.since(*since) < SEGMENT_WARM_MS)
    }
}

/// No more are kept than the ring has: a publisher that sends faster than its own clock would make more.
fn note_warm(warm: &mut Vec<(u64, Millis)>, ring: &Ring, sequence: u64, now: Millis) {
    let is_warm = |since| now.since(since) < SEGMENT_WARM_MS;
    warm.retain(|(other, since)| *other != sequence && is_warm(*since) && ring.is_readable(*other));
    warm.push((sequence, now));
}

/// Takes the TS of one moment.
#[derive(Debug)]
pub struct Sink<'a> {
    recorder: &'a mut Recorder,
    pool: &'a mut BufferPool,
    now: Now,
}

impl SegmentSink for Sink<'_> {
    fn open(&mut self, start: SegmentStart) {
        let Recorder { ring, clock, retired_below, open, is_offline, .. } = &mut *self.recorder;
        let name = clock.start(start.dts, start.is_discontinuity, self.now.wall);
        let room = if *is_offline { None } else { ring.open_segment().ok() };
        let writer = room.map(|room| {
            *retired_below = Some(room.readable_from);
            SegmentWriter::new(room)
        });
        *open = Some(Open { start, name, writer });
    }

    fn write(&mut self, packets: &[u8]) {
        let Recorder { open, outbox, .. } = &mut *self.recorder;
        let Some(open) = open else { return };
        let Some(writer) = &mut open.writer else { return };
        if writer.write(packets, self.pool, |write| outbox.push(Job::Write(write))).is_err()
            && let Some(writer) = open.writer.take()
        {
            writer.abandon(self.pool);
        }
    }

    fn mark(&mut self) {
        if let Some(writer) = self.writer() {
            writer.mark();
        }
    }

    fn rollback(&mut self) -> bool {
        self.writer().is_none_or(SegmentWriter::rollback)
    }

    fn room(&self) -> u64 {
        // A segment that is lost goes on as if it were not, so that the gap has the length that it would have had.
        let open = self.recorder.open.as_ref();
        open.and_then(|open| open.writer.as_ref()).map_or(u64::MAX, SegmentWriter::room)
    }

    fn seal(&mut self, end: SegmentEnd) {
        let Recorder {
            ring,
            target,
            open,
            has_hole,
            outbox,
            lost_segments,
            retired_below,
            is_offline,
            ..
        } = &mut *self.recorder;
        let Some(Open { start, name, writer }) = open.take() else { return };
        if *is_offline {
            *lost_segments += 1;
            *has_hole = true;
            return;
        }
        let listing = Listing {
            start: name,
            duration: end.duration,
            target_duration_s: target.after(&end),
            is_discontinuity: start.is_discontinuity || *has_hole,
            is_independent: end.is_independent,
        };
        let seal = match writer
            .map(|writer| writer.finish(self.pool, |write| outbox.push(Job::Write(write))))
        {
            Some(Some(body)) => ring.seal(body, listing),
            // Not one whole access unit: there was no segment.
            Some(None) => {
                *has_hole |= start.is_discontinuity;
                return;
            }
            None => {
                *lost_segments += 1;
                ring.seal_gap(listing).map(|(seal, readable_from)| {
                    *retired_below = Some(readable_from);
                    seal
                })
            }
        };
        *has_hole = seal.is_err();
        outbox.extend(seal.ok().map(Job::Seal));
    }
}

impl Sink<'_> {
    const fn writer(&mut self) -> Option<&mut SegmentWriter> {
        match &mut self.recorder.open {
            Some(open) => open.writer.as_mut(),
            None => None,
        }
    }
}
