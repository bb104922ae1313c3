//! TS packets of one channel → segments in its ring.
//!
//! Between the muxer, which knows no flash, and the ring, which knows no media: it names segments, decides TARGETDURATION,
//! and makes a gap of a segment that the flash could not take. What has to be written gathers in an outbox, in order.

use std::mem;

use crate::{
    channel::{
        clock::SegmentClock,
        parts::{PartLog, Parted},
        target::TargetDuration,
    },
    hls::{PartEnd, SegmentEnd, SegmentSink, SegmentStart},
    limits::{PARTS_AHEAD_MS, SEGMENT_WARM_MS},
    store::{
        Record, Seal, Write,
        buffer::BufferPool,
        geometry::Extent,
        ring::{Listing, Ring},
        segment::SegmentWriter,
    },
    units::{Millis, Now, Ticks90k, UnixMillis},
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
    /// Segments were retired, and who reads one has not been told.
    has_retired: bool,
    lost_segments: u64,
    /// The ring is closed, to be opened anew: what comes meanwhile is lost.
    is_offline: bool,
    /// Where segments are listed in parts.
    parts: Option<Box<Parts>>,
}

/// What there is of parts.
#[derive(Debug)]
struct Parts {
    /// Longest part.
    target: Ticks90k,
    log: PartLog,
}

/// Where the next bytes of a segment are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// In the ring's file.
    File(Extent),
    /// In the write buffer.
    Held(&'a [u8]),
    /// With the flash thread: to be asked again when it has written them.
    Underway,
    /// The ring has given the segment up, or lost it.
    Gone,
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
    ///
    /// `part_target`: segments are listed in parts that are no longer.
    pub fn new(ring: Ring, frag_duration_s: u16, part_target: Option<Ticks90k>) -> Self {
        let parts = part_target.map(|target| Box::new(Parts { target, log: PartLog::default() }));
        let recorded = ring.history().next_back().map(|record| record.target_duration_s);
        Self {
            clock: SegmentClock::new(ring.time_floor()),
            target: TargetDuration::resume(frag_duration_s, recorded),
            ring,
            open: None,
            has_hole: false,
            warm: Vec::new(),
            outbox: Vec::new(),
            has_retired: false,
            lost_segments: 0,
            is_offline: false,
            parts,
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

    /// Segments of this length are wanted from here on.
    pub fn aim_at(&mut self, frag_duration_s: u16) {
        self.target.aim_at(frag_duration_s);
    }

    /// The newest time that the ring has seen.
    pub fn time_floor(&self) -> UnixMillis {
        self.clock.floor().max(self.ring.time_floor())
    }

    /// Segments that were lost because the flash failed, or it or the buffers could not take them, since this was asked last.
    pub const fn take_lost(&mut self) -> u64 {
        mem::replace(&mut self.lost_segments, 0)
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
        mem::replace(&mut self.has_retired, false)
    }

    /// The flash thread has sealed a segment. The record, if it is listed from here on.
    pub fn sealed(&mut self, sequence: u64, now: Millis) -> Option<&Record> {
        let is_gap = self.ring.sealed(sequence)?.is_gap;
        if !is_gap {
            note_warm(&mut self.warm, &self.ring, sequence, now);
        }
        if let Some(parts) = &mut self.parts {
            parts.log.sealed(sequence);
        }
        self.ring.record(sequence)
    }

    /// The flash failed: the open segment and those that were not synced are lost.
    ///
    /// One that was listed in parts, and that its players have, keeps its number: it becomes a gap.
    pub fn fail(&mut self, synced_below: u64, pool: &mut BufferPool) {
        let shown =
            self.ahead().filter(|shown| !shown.parts.is_empty()).map(|shown| shown.sequence);
        let shown = self.ring.next_listed().filter(|next| Some(next.sequence) == shown).copied();
        self.drop_unsynced(synced_below, pool);
        let Some(Record { start, duration, target_duration_s, is_discontinuity, .. }) = shown
        else {
            return;
        };
        let is_independent = false;
        let listing =
            Listing { start, duration, target_duration_s, is_discontinuity, is_independent };
        // There is room for one seal: there are none any more.
        self.outbox.extend(self.ring.seal_gap(listing).ok().map(|(seal, _)| Job::Seal(seal)));
    }

    fn drop_unsynced(&mut self, synced_below: u64, pool: &mut BufferPool) {
        let loss = self.ring.fail(synced_below);
        self.lost_segments += loss.segments;
        // The open segment becomes a gap: the discontinuity stands before that.
        self.has_hole |= loss.has_hole;
        self.warm.retain(|(sequence, _)| *sequence < synced_below);
        let mut writes_dropped = 0;
        for job in self.outbox.drain(..) {
            if let Job::Write(write) = job {
                pool.give(write.buffer);
                writes_dropped += 1;
            }
        }
        let listed_below = self.ring.records().next_back().map_or(0, |last| last.sequence + 1);
        if let Some(parts) = &mut self.parts {
            parts.log.fail(synced_below.min(listed_below), writes_dropped);
        }
        if let Some(writer) = self.open.as_mut().and_then(|open| open.writer.take()) {
            writer.abandon(pool);
        }
        self.has_retired = true;
    }

    /// The ring is being closed because it fails. What can be read of it stays listed.
    pub fn go_offline(&mut self, pool: &mut BufferPool) {
        self.drop_unsynced(u64::MAX, pool);
        self.is_offline = true;
    }

    /// The ring was opened anew, perhaps on another card. Numbers and names go on from the ones before.
    pub fn resume(&mut self, mut ring: Ring) {
        ring.go_on_from(&self.ring);
        self.clock.raise(ring.time_floor());
        self.ring = ring;
        self.is_offline = false;
        if let Some(parts) = &mut self.parts {
            parts.log = PartLog::default();
        }
        self.warm.clear();
        self.has_retired = true;
    }

    /// A segment was read and is not what was sealed: it becomes a gap. `false`: it was one, or is gone.
    pub fn spoil(&mut self, sequence: u64) -> bool {
        self.cooled(sequence);
        self.ring.spoil(sequence)
    }

    /// The flash thread is done with a write. To be told where segments are listed in parts.
    pub const fn written(&mut self) {
        if let Some(parts) = &mut self.parts {
            parts.log.written();
        }
    }

    /// The parts of a segment, if it has any.
    pub fn parted(&self, sequence: u64) -> Option<&Parted> {
        self.parts.as_ref()?.log.of(sequence)
    }

    /// The segment behind the last one that is listed, if it is listed in parts.
    pub fn ahead(&self) -> Option<&Parted> {
        let last = self.ring.records().next_back()?.sequence;
        let log = &self.parts.as_ref()?.log;
        log.of(last + 1).filter(|_| log.has_sealed(last))
    }

    /// Where the bytes of a segment from `offset` on are, at most `bytes_max` of them in one piece.
    pub fn piece(&self, sequence: u64, offset: u64, bytes_max: u64) -> Piece<'_> {
        if let Some(record) = self.ring.record(sequence) {
            let extent = self.ring.extent(record, offset, bytes_max);
            let extent = extent.filter(|_| self.ring.is_readable(sequence));
            return extent.map_or(Piece::Gone, Piece::File);
        }
        let Some(parts) = &self.parts else { return Piece::Gone };
        let Some(parted) = parts.log.of(sequence) else { return Piece::Gone };
        let open = self.open.as_ref().and_then(|open| open.writer.as_ref());
        if let Some(writer) = open.filter(|writer| writer.sequence() == sequence)
            && let Some(in_buffer) = offset.checked_sub(writer.handed_out())
        {
            let held = usize::try_from(in_buffer).ok().and_then(|from| writer.held().get(from..));
            let held = held.unwrap_or_default();
            let most = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(held.len());
            return Piece::Held(held.get(..most).unwrap_or_default());
        }
        match parts.log.written_bytes(parted).checked_sub(offset) {
            None | Some(0) => Piece::Underway,
            Some(written) => {
                let layout = &self.ring.geometry().layout;
                Piece::File(layout.extent(parted.position + offset, written.min(bytes_max)))
            }
        }
    }

    /// A segment has been read through and is good.
    pub fn loaded(&mut self, sequence: u64, now: Millis) {
        note_warm(&mut self.warm, &self.ring, sequence, now);
    }

    /// The page cache has let go of some of a segment.
    pub fn cooled(&mut self, sequence: u64) {
        self.warm.retain(|(warm, _)| *warm != sequence);
    }

    /// Whether a segment can be sent without waiting for the flash, as a rule.
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
        let Recorder { ring, clock, has_retired, open, is_offline, parts, has_hole, .. } =
            &mut *self.recorder;
        // Behind what the ring has, though the wall clock may be.
        clock.raise(ring.time_floor());
        let name = clock.start(start.dts, start.is_discontinuity, self.now);
        let room = if *is_offline { None } else { ring.open_segment().ok() };
        let writer = room.map(|room| {
            *has_retired = true;
            SegmentWriter::new(room)
        });
        // One that starts later than the flash was told before could come under its name again after a power cut.
        if let (Some(parts), Some(writer)) = (parts, &writer)
            && start.is_parted
            && name.0 <= ring.time_floor().0 + PARTS_AHEAD_MS
        {
            let is_discontinuity = start.is_discontinuity || *has_hole;
            parts.log.open(writer.sequence(), name, is_discontinuity, writer.position());
        }
        *open = Some(Open { start, name, writer });
    }

    fn write(&mut self, packets: &[u8]) {
        let Recorder { open, outbox, parts, .. } = &mut *self.recorder;
        let Some(open) = open else { return };
        let Some(writer) = &mut open.writer else { return };
        let before = outbox.len();
        let taken = writer.write(packets, self.pool, |write| outbox.push(Job::Write(write)));
        if let Some(parts) = parts {
            parts.log.issue(outbox.len() - before);
        }
        if taken.is_err()
            && let Some(writer) = open.writer.take()
        {
            if let Some(parts) = parts {
                parts.log.forget(writer.sequence());
            }
            writer.abandon(self.pool);
        }
    }

    fn part(&mut self, part: PartEnd) {
        let Recorder { open, parts, .. } = &mut *self.recorder;
        let writer = open.as_ref().and_then(|open| open.writer.as_ref());
        if let (Some(parts), Some(writer)) = (parts, writer) {
            parts.log.part(writer.sequence(), part, writer.marked(), parts.target);
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
            has_retired,
            is_offline,
            parts,
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
        let before = outbox.len();
        let sequence = writer.as_ref().map(SegmentWriter::sequence);
        let finished =
            writer.map(|writer| writer.finish(self.pool, |write| outbox.push(Job::Write(write))));
        if let (Some(parts), Some(sequence)) = (parts.as_mut(), sequence) {
            parts.log.issue(outbox.len() - before);
            match finished.flatten() {
                Some(body) => {
                    parts.log.seal(sequence, body.bytes.into(), end.duration, parts.target);
                }
                None => parts.log.forget(sequence),
            }
        }
        let seal = match finished {
            Some(Some(body)) => {
                let seal = ring.seal(body, listing);
                // The flash failed in between.
                *lost_segments += u64::from(seal.is_err());
                if let (Some(parts), Some(sequence), Err(_)) = (parts, sequence, &seal) {
                    parts.log.forget(sequence);
                }
                seal
            }
            // Not one whole access unit: there was no segment.
            Some(None) => {
                *has_hole |= start.is_discontinuity;
                return;
            }
            None => {
                *lost_segments += 1;
                let gap = ring.seal_gap(listing);
                *has_retired |= gap.is_ok();
                gap.map(|(seal, _)| seal)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory_flash::{Pair, formatted};

    const WALL: u64 = 1_800_000_000_000;

    /// Opens a segment at `ms` that has one part.
    fn open(recorder: &mut Recorder, pool: &mut BufferPool, ms: i64) {
        let at = Millis(ms.unsigned_abs());
        let now = Now { mono: at, wall: UnixMillis(WALL + at.0) };
        let mut sink = recorder.sink(pool, now);
        let dts = Ticks90k::from_millis(ms);
        sink.open(SegmentStart { dts, is_discontinuity: false, is_parted: true });
        sink.write(&[7; 188]);
        sink.mark();
        sink.part(PartEnd { duration: Ticks90k::from_millis(300), is_independent: true });
    }

    /// Seals it, and returns what is put into the index.
    fn seal(recorder: &mut Recorder, pool: &mut BufferPool) -> Vec<Record> {
        let duration = Ticks90k::from_millis(300);
        let now = Now { mono: Millis(0), wall: UnixMillis(WALL) };
        let end = SegmentEnd { duration, is_independent: true, gop: None };
        recorder.sink(pool, now).seal(end);
        seals(recorder)
    }

    fn seals(recorder: &mut Recorder) -> Vec<Record> {
        let jobs = recorder.take_jobs();
        jobs.filter_map(|job| if let Job::Seal(seal) = job { Some(seal.record) } else { None })
            .collect()
    }

    #[test]
    fn what_was_listed_in_parts_keeps_its_number_when_the_flash_fails() {
        let mut pool = BufferPool::new(8);
        pool.allow(8);
        let ring = Pair::open(formatted(), false).ring;
        let mut recorder = Recorder::new(ring, 1, Some(Ticks90k::from_millis(330)));
        open(&mut recorder, &mut pool, 0);
        seal(&mut recorder, &mut pool);
        recorder.sealed(0, Millis(0)).unwrap();
        open(&mut recorder, &mut pool, 300);
        let shown = seal(&mut recorder, &mut pool)[0];
        assert_eq!(recorder.ahead().map(|parted| parted.sequence), Some(1));
        open(&mut recorder, &mut pool, 600);
        recorder.fail(1, &mut pool);
        let gap = seals(&mut recorder)[0];
        assert_eq!((gap.sequence, gap.start, gap.is_gap), (1, shown.start, true));
        let next = seal(&mut recorder, &mut pool)[0];
        assert_eq!((next.sequence, next.is_gap), (2, true), "the open one behind it");
        // A card that goes on failing is not asked again and again.
        recorder.fail(1, &mut pool);
        assert_eq!(seals(&mut recorder), []);
    }
}
