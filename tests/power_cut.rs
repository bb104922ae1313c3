//! Cuts the power at every step of random histories, and looks at what recovery makes of the flash.
//!
//! The device loses, tears and reorders whatever was written since the last sync that succeeded. After a cut each ring
//! is opened by the code that the daemon uses and compared with a plain model: what was promised is there, every
//! segment that is listed has the bytes that were sealed, and no number and no name comes again.
//!
//! A failure prints its seed; `SLUICEGATE_SEED=… cargo test --test power_cut` runs that history alone.
//! `SLUICEGATE_HISTORIES=1000` makes the run longer. What is not covered: a device that lies about a sync.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's own numbers are small, and a panic is how it fails"
)]

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    env,
    io::{Error, Result},
    rc::Rc,
};

use sluicegate::{
    limits::PARTS_AHEAD_MS,
    store::{
        Ahead, Flash, Record, Seal, Write,
        buffer::BufferPool,
        geometry::{Extent, Geometry, Layout},
        layout::Superblock,
        ring::{Listing, Ring},
        segment::SegmentWriter,
        writer::{self, RingWriter},
    },
    units::{Millis, Ticks90k, UnixMillis},
};

#[allow(dead_code, reason = "the card that is mounted needs more of it")]
#[path = "common/sectors.rs"]
mod sectors;

use sectors::{Rng, Sectors};

const NAME: &str = "cams/front-door";

/// Small, so that a history goes round them a few times. FragCount 1 and 2 fit, with segments of different lengths.
/// The index of the first has two pairs of pages, the least there is; of the second, three.
const RING_BYTES: [u64; 2] = [3 << 20, 9 << 20];

const STEPS: usize = 400;

#[test]
fn every_cut_leaves_what_was_promised() {
    let (cuts, parts) = seeds(24).fold((0, 0), |(cuts, parts), seed| {
        let history = History::run(seed, Faults::None);
        (cuts + history.cuts, parts + history.parts)
    });
    println!("{cuts} cuts, {parts} times with parts of the next segment listed");
    let is_one = env::var_os("SLUICEGATE_SEED").is_some();
    assert!(is_one || cuts > 2000 && parts > 200, "only {cuts} cuts, {parts} with parts");
}

#[test]
fn every_cut_leaves_what_was_promised_also_on_a_card_that_fails() {
    let (cuts, failures) = seeds(12).fold((0, 0), |(cuts, failures), seed| {
        let history = History::run(seed, Faults::Some);
        (cuts + history.cuts, failures + history.failures)
    });
    println!("{cuts} cuts");
    assert!(env::var_os("SLUICEGATE_SEED").is_some() || failures > 20, "only {failures} failures");
}

#[test]
fn no_flipped_bit_of_superblock_or_index_lists_wrong_bytes() {
    for seed in seeds(6) {
        let mut history = History::run(seed, Faults::None);
        let written = history.device.view();
        let index_bits = history.layout().data_offset() * 8;
        for _ in 0..200 {
            let bit = history.rng.below(index_bits);
            let mut image = written.clone();
            image[(bit / 8) as usize] ^= 1 << (bit % 8);
            let image = Rc::new(image);
            let flash = Image(Rc::clone(&image));
            let ring = open(flash, history.frag_count, history.ahead).1;
            history.model.check_bytes(&ring, &image, &format!("bit {bit} flipped"));
        }
    }
}

fn seeds(histories: u64) -> impl Iterator<Item = u64> {
    let number = |name| env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let (first, count) = match number("SLUICEGATE_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("SLUICEGATE_HISTORIES").unwrap_or(histories)),
    };
    (first..).take(count as usize)
}

// ---- The device ----

/// A card under a page cache. Cheap to clone: all clones are the same card.
#[derive(Clone)]
struct Device(Rc<RefCell<Card>>);

struct Card {
    sectors: Sectors,
    /// The call to fail, counted down.
    fail_in: Option<u64>,
    is_synced: bool,
    rng: Rng,
    /// What would be found if the power went: taken after each write, and before each sync.
    cuts: Vec<Vec<u8>>,
    /// Memory for the next ones.
    spare: Vec<Vec<u8>>,
    takes_cuts: bool,
}

impl Device {
    fn of(image: Vec<u8>, unit: usize) -> Self {
        Self(Rc::new(RefCell::new(Card {
            sectors: Sectors::new(image, unit),
            fail_in: None,
            is_synced: true,
            rng: Rng(unit as u64),
            cuts: Vec::new(),
            spare: Vec::new(),
            takes_cuts: false,
        })))
    }

    /// What a program reads.
    fn view(&self) -> Vec<u8> {
        self.0.borrow().sectors.view.clone()
    }
}

impl Card {
    fn fails(&mut self) -> bool {
        self.fail_in = self.fail_in.and_then(|calls| calls.checked_sub(1));
        self.fail_in == Some(0)
    }

    /// Keeps what is on flash, whatever that is.
    fn lose_power(&mut self) {
        self.sectors.lose_power(&mut self.rng);
        self.is_synced = true;
    }

    fn maybe_cut(&mut self) {
        if self.takes_cuts {
            let mut image = self.spare.pop().unwrap_or_default();
            self.sectors.cut_into(&mut image, &mut self.rng);
            self.cuts.push(image);
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.sectors.write(at as usize, bytes);
        self.is_synced = false;
    }
}

impl Flash for Device {
    fn file_bytes(&mut self) -> Result<u64> {
        Ok(self.0.borrow().sectors.view.len() as u64)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(&self.0.borrow().sectors.view[at as usize..][..into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut card = self.0.borrow_mut();
        if card.fails() {
            let some = card.rng.below(bytes.len() as u64) as usize / 512 * 512;
            card.write(at, &bytes[..some]);
            return Err(Error::other("the card refused a write"));
        }
        card.write(at, bytes);
        card.maybe_cut();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let mut card = self.0.borrow_mut();
        card.maybe_cut();
        if card.fails() {
            card.sectors.fail_sync();
            return Err(Error::other("the card refused a sync"));
        }
        card.sectors.sync();
        card.is_synced = true;
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        self.sync()?;
        self.0.borrow_mut().lose_power();
        Ok(())
    }
}

/// What a cut left on flash. Recovery writes nothing.
#[derive(Clone)]
struct Image(Rc<Vec<u8>>);

impl Flash for Image {
    fn file_bytes(&mut self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(&self.0[at as usize..][..into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        panic!("{} bytes are written at {at} before anything was recorded", bytes.len());
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        Ok(())
    }
}

// ---- The model ----

/// What was sealed, what was listed, and what must be found.
#[derive(Default)]
struct Model {
    /// By sequence number: every record that ever went to the flash thread, and what its bytes grow from.
    sealed: BTreeMap<u64, Vec<(Record, u64)>>,
    /// Records that must be there, as long as nothing needed their room.
    promised: BTreeMap<u64, Record>,
    /// Records that may become promised with the next sync.
    listed: BTreeMap<u64, Record>,
    listed_below: u64,
    listed_until: UnixMillis,
    may_skip: bool,
}

/// Noise that repeats after a prime number of bytes: quick to make, and no sector is like another.
fn noise(grows_from: u64) -> [u8; 509] {
    let mut rng = Rng(grows_from);
    let mut noise = [0; 509];
    noise
        .chunks_mut(8)
        .for_each(|part| part.copy_from_slice(&rng.next().to_le_bytes()[..part.len()]));
    noise
}

fn body(grows_from: u64, bytes: usize) -> Vec<u8> {
    noise(grows_from).iter().copied().cycle().take(bytes).collect()
}

/// Whether `found` is what stands in a body from byte `at` on.
fn is_of_body(noise: &[u8; 509], at: usize, found: &[u8]) -> bool {
    let (first, rest) = found.split_at(found.len().min((509 - at % 509) % 509));
    noise[at % 509..].starts_with(first) && rest.chunks(509).all(|part| noise.starts_with(part))
}

impl Model {
    fn list(&mut self, record: Record) {
        self.listed.insert(record.sequence, record);
        self.listed_below = self.listed_below.max(record.sequence + 1);
        self.listed_until = self.listed_until.max(record.next_start_min());
    }

    /// Parts of a segment are listed that was never sealed. If it is lost, its number and its name must not come again.
    fn list_parts(&mut self, sequence: u64, name: UnixMillis) {
        self.listed_below = self.listed_below.max(sequence + 1);
        self.listed_until = self.listed_until.max(UnixMillis(name.0 + 1));
    }

    /// Every record of the ring is one that was sealed, and its bytes are in `image`.
    fn check_bytes(&self, ring: &Ring, image: &[u8], when: &str) {
        for record in ring.history().filter(|record| !record.is_gap) {
            let sealed = self.sealed.get(&record.sequence).into_iter().flatten();
            let known = sealed.into_iter().find(|(sealed, _)| sealed == record);
            let (_, grows_from) = known.unwrap_or_else(|| panic!("{when}: unknown {record:?}"));
            let noise = noise(*grows_from);
            let mut at = 0;
            while let Some(Extent { offset, bytes }) = ring.extent(record, at, u64::MAX) {
                let found = &image[offset as usize..][..bytes as usize];
                assert!(
                    is_of_body(&noise, at as usize, found),
                    "{when}: other bytes in {record:?}"
                );
                at += bytes;
            }
        }
    }

    /// Whether a ring that was found after a cut is one that may be. Up to log position `front` it may have been written.
    fn check(&self, ring: &Ring, image: &[u8], front: u64, when: &str) {
        self.check_bytes(ring, image, when);
        let (sequence, below) = (ring.next_sequence(), self.listed_below);
        assert!(sequence >= below, "{when}: number {sequence} comes again, below {below}");
        let (floor, until) = (ring.time_floor(), self.listed_until);
        assert!(floor >= until, "{when}: a name comes again, {floor:?} is before {until:?}");
        assert!(
            self.may_skip || ring.records().len() == ring.history().len(),
            "{when}: a hole, though nothing was listed before its sync"
        );
        for (record, next) in ring.history().zip(ring.history().skip(1)) {
            let mut between = self.listed.range(record.sequence + 1..next.sequence);
            assert!(between.next().is_none(), "{when}: a hole between {record:?} and {next:?}");
        }
        let layout = ring.geometry().layout;
        for record in self.promised.values() {
            let has_room = record.position + layout.data_bytes() >= front
                && record.sequence + layout.records_max() >= ring.next_sequence();
            let found = ring.record(record.sequence);
            assert!(
                !has_room || found == Some(record),
                "{when}: {record:?} is lost, found {found:?}"
            );
        }
    }
}

// ---- A history ----

#[derive(Clone, Copy, PartialEq)]
enum Faults {
    None,
    Some,
}

enum Job {
    Write(Write),
    Seal(Seal),
}

/// One ring's life: an engine and a flash thread with a queue between them, in any order that can be.
struct History {
    seed: u64,
    rng: Rng,
    faults: Faults,
    device: Device,
    frag_count: u32,
    ahead: Ahead,
    ring: Ring,
    writer: RingWriter<Device>,
    pool: BufferPool,
    jobs: VecDeque<Job>,
    segment: Option<(SegmentWriter, u64, Vec<u8>)>,
    /// Whether the open one may be listed in parts.
    is_parted: bool,
    /// Segments of which there are parts, and their names.
    parted: BTreeMap<u64, UnixMillis>,
    /// The last one that was sealed since the ring was opened.
    sealed: Option<u64>,
    model: Model,
    now: Millis,
    start: UnixMillis,
    grown: u64,
    cuts: usize,
    failures: usize,
    /// Times that parts were listed.
    parts: usize,
}

fn geometry(ring_bytes: u64, frag_count: u32) -> Geometry {
    Geometry::new(ring_bytes, frag_count, 4096).expect("the ring is large enough")
}

fn open<F: Flash>(mut flash: F, frag_count: u32, ahead: Ahead) -> (RingWriter<F>, Ring, u64) {
    let ring_bytes = flash.file_bytes().expect("nothing fails");
    let geometry = geometry(ring_bytes, frag_count);
    let (writer, recovered) =
        RingWriter::open(flash, geometry, NAME, ahead).expect("a ring is found");
    // The longest reach of any FragCount in these histories.
    let reach = self::geometry(ring_bytes, 1).reach_bytes()
        * if recovered.damaged_pages > 0 { 2 } else { 1 };
    let front = recovered.head + reach;
    (writer, Ring::new(geometry, recovered), front)
}

fn any_ahead(rng: &mut Rng) -> Ahead {
    [Ahead::Nothing, Ahead::Parts, Ahead::Segments][rng.below(3) as usize]
}

impl History {
    fn run(seed: u64, faults: Faults) -> Self {
        println!("SLUICEGATE_SEED={seed}");
        let mut rng = Rng(seed);
        let unit = if rng.one_in(2) { 512 } else { 4096 };
        let ring_bytes = RING_BYTES[usize::from(rng.one_in(6))];
        let mut device = Device::of(vec![0; ring_bytes as usize], unit);
        device.0.borrow_mut().rng = Rng(rng.next());
        let superblock =
            Superblock::new(geometry(ring_bytes, 1).layout, NAME).expect("the name is short");
        writer::format(&mut device, &superblock).expect("nothing fails");
        let (frag_count, ahead) = (1 + rng.below(2) as u32, any_ahead(&mut rng));
        let (writer, ring, _) = open(device.clone(), frag_count, ahead);
        let mut pool = BufferPool::new(30);
        pool.allow(30);
        device.0.borrow_mut().takes_cuts = true;
        let mut history = Self {
            seed,
            rng,
            faults,
            device,
            frag_count,
            ahead,
            ring,
            writer,
            pool,
            jobs: VecDeque::new(),
            segment: None,
            is_parted: false,
            parted: BTreeMap::new(),
            sealed: None,
            model: Model { may_skip: ahead != Ahead::Nothing, ..Model::default() },
            now: Millis(0),
            start: UnixMillis(1_700_000_000_000),
            grown: seed << 32,
            cuts: 0,
            failures: 0,
            parts: 0,
        };
        for step in 0..STEPS {
            history.step(step);
        }
        history
    }

    fn step(&mut self, step: usize) {
        self.now = self.now.plus(self.rng.below(3000));
        match self.rng.below(100) {
            0 => self.restart(step),
            1 => {
                // The shell does so between two jobs.
                let _ = self.writer.sync_if_due(self.now).map_err(|e| self.failed(e.synced_below));
                self.settle(step);
            }
            2 if self.faults == Faults::Some => {
                self.device.0.borrow_mut().fail_in = Some(1 + self.rng.below(4));
            }
            3 => {
                // A viewer was sent for a segment whose bytes are not the ones that were sealed.
                let listed =
                    self.ring.next_sequence() - self.rng.below(4).min(self.ring.next_sequence());
                self.ring.spoil(listed);
            }
            4..40 => self.produce(),
            _ => self.consume(step),
        }
    }

    /// The engine's part: a piece of a segment, or the end of one.
    fn produce(&mut self) {
        let Some((mut segment, grows_from, marked)) = self.segment.take() else {
            self.open_or_gap();
            return;
        };
        let full = match self.rng.below(8) {
            0 => self.longest(1 << 20),
            1..4 => self.rng.below(self.longest(150_000)),
            _ => self.rng.below(self.longest(20_000)),
        };
        let to = (marked.len() as u64 + full.min(segment.room())) as usize;
        let bytes = body(grows_from, to);
        let jobs = &mut self.jobs;
        let written = segment.write(&bytes[marked.len()..], &mut self.pool, |write| {
            jobs.push_back(Job::Write(write));
        });
        match self.rng.below(10) {
            // A broken frame, or no buffer for a whole one: the segment ends before it, or goes on without it.
            how if how == 0 || written.is_err() => {
                if segment.rollback() {
                    self.segment = Some((segment, grows_from, marked));
                } else {
                    self.seal(segment, grows_from);
                }
            }
            1 => {
                let was_listed = self.parted.contains_key(&segment.sequence());
                segment.abandon(&mut self.pool);
                // What was listed in parts keeps its place.
                if was_listed {
                    self.gap();
                }
            }
            2..6 => {
                segment.mark();
                if self.is_parted {
                    self.parted.insert(segment.sequence(), self.start);
                }
                self.segment = Some((segment, grows_from, bytes));
            }
            _ => {
                segment.mark();
                if self.is_parted {
                    self.parted.insert(segment.sequence(), self.start);
                }
                self.seal(segment, grows_from);
            }
        }
    }

    fn open_or_gap(&mut self) {
        if self.rng.one_in(15) {
            self.gap();
        } else if let Ok(open) = self.ring.open_segment() {
            self.model.promised.retain(|sequence, _| *sequence >= open.readable_from);
            self.grown += 1;
            let floor = self.ring.time_floor();
            self.start = self.start.max(floor);
            if self.rng.one_in(4) {
                self.start.0 += self.rng.below(2 * PARTS_AHEAD_MS);
            }
            self.is_parted = self.ahead == Ahead::Parts && self.start.0 <= floor.0 + PARTS_AHEAD_MS;
            self.segment = Some((SegmentWriter::new(open), self.grown, Vec::new()));
        }
    }

    fn gap(&mut self) {
        let listing = self.listing();
        if let Ok((seal, _)) = self.ring.seal_gap(listing) {
            self.start = seal.record.end();
            self.model.sealed.entry(seal.record.sequence).or_default().push((seal.record, 0));
            self.jobs.push_back(Job::Seal(seal));
        }
    }

    /// Long segments come to the ceiling of time and to the reach, short ones to the ceiling of numbers, and to the
    /// end of the index before that of the ring.
    fn longest(&self, of_long_ones: u64) -> u64 {
        if self.seed.is_multiple_of(2) { of_long_ones } else { of_long_ones / 20 }
    }

    fn listing(&mut self) -> Listing {
        let duration = Ticks90k::from_millis(self.rng.below(self.longest(20_000)) as i64);
        let is_discontinuity = self.rng.one_in(9);
        let start = self.start.max(self.ring.time_floor());
        Listing { start, duration, target_duration_s: 5, is_discontinuity, is_independent: true }
    }

    fn seal(&mut self, segment: SegmentWriter, grows_from: u64) {
        let jobs = &mut self.jobs;
        let body = segment.finish(&mut self.pool, |write| jobs.push_back(Job::Write(write)));
        let listing = self.listing();
        if let Some(seal) = body.and_then(|body| self.ring.seal(body, listing).ok()) {
            self.start = seal.record.end();
            let sealed = self.model.sealed.entry(seal.record.sequence).or_default();
            sealed.push((seal.record, grows_from));
            self.jobs.push_back(Job::Seal(seal));
        }
    }

    /// The flash thread's part: one job, with a cut after each of its steps.
    fn consume(&mut self, step: usize) {
        let outcome = match self.jobs.pop_front() {
            None => return,
            Some(Job::Write(Write { epoch, position, buffer })) => {
                let outcome = self.writer.write(epoch, position, buffer.filled());
                self.pool.give(buffer);
                outcome.map(|()| None)
            }
            Some(Job::Seal(seal)) => {
                let sealed = self.writer.seal(&seal, self.now);
                sealed.map(|is_sealed| is_sealed.then_some(seal.record.sequence))
            }
        };
        self.check_cuts(step);
        match outcome {
            Ok(None) => {}
            Ok(Some(sequence)) => {
                self.sealed = Some(sequence);
                let record = *self.ring.sealed(sequence).expect("the ring waits for it");
                self.model.list(record);
            }
            Err(error) => self.failed(error.synced_below),
        }
        self.settle(step);
    }

    fn failed(&mut self, synced_below: u64) {
        self.failures += 1;
        self.ring.fail(synced_below);
        self.model.listed.retain(|sequence, _| *sequence < synced_below);
        self.parted.clear();
        if let Some((segment, ..)) = self.segment.take() {
            segment.abandon(&mut self.pool);
        }
    }

    /// What has been synced is promised; and nobody reads other bytes than were sealed.
    fn settle(&mut self, step: usize) {
        self.check_cuts(step);
        self.list_parts();
        if self.device.0.borrow().is_synced {
            self.model.promised.append(&mut self.model.listed);
        }
        let image = &self.device.0.borrow().sectors.view;
        if self.rng.one_in(20) {
            self.model.check_bytes(&self.ring, image, &format!("seed {}, step {step}", self.seed));
        }
    }

    /// Lists parts of the segment behind the last one, by the daemon's rule.
    fn list_parts(&mut self) {
        let Some(last) = self.ring.records().next_back().map(|last| last.sequence) else { return };
        if self.sealed == Some(last)
            && let Some(name) = self.parted.get(&(last + 1))
        {
            self.parts += 1;
            self.model.list_parts(last + 1, *name);
        }
    }

    fn check_cuts(&mut self, step: usize) {
        let cuts = std::mem::take(&mut self.device.0.borrow_mut().cuts);
        for image in cuts {
            self.cuts += 1;
            let cut = self.cuts;
            let frag_count = 1 + self.rng.below(2) as u32;
            let ahead = any_ahead(&mut self.rng);
            let image = Rc::new(image);
            let (writer, ring, front) = open(Image(Rc::clone(&image)), frag_count, ahead);
            drop(writer);
            let when = format!("seed {}, step {step}, cut {cut}", self.seed);
            self.model.check(&ring, &image, front, &when);
            self.device.0.borrow_mut().spare.extend(Rc::into_inner(image));
        }
    }

    /// The daemon ends, in one of the ways that it can, and starts again.
    fn restart(&mut self, step: usize) {
        let how = self.rng.below(5);
        if matches!(how, 0 | 4) && self.ahead == Ahead::Parts {
            // What was listed in parts is sealed, and what was handed over is done, before a ring is left.
            if let Some((segment, grows_from, marked)) = self.segment.take() {
                match marked.is_empty() {
                    true => segment.abandon(&mut self.pool),
                    false => self.seal(segment, grows_from),
                }
            }
            while !self.jobs.is_empty() {
                self.consume(step);
            }
        }
        if let Some((segment, ..)) = self.segment.take() {
            segment.abandon(&mut self.pool);
        }
        let is_dropped = |job: Job| match job {
            Job::Write(write) => self.pool.give(write.buffer),
            Job::Seal(_) => {}
        };
        self.jobs.drain(..).for_each(is_dropped);
        match how {
            // The daemon ends, or leaves a ring that fails and opens it anew.
            0 | 4 => {
                let _ = self.writer.close();
                self.check_cuts(step);
            }
            // A crash: the page cache stays.
            1 => {}
            _ => self.device.0.borrow_mut().lose_power(),
        }
        self.device.0.borrow_mut().fail_in = None;
        (self.sealed, self.parted) = (None, BTreeMap::new());
        (self.frag_count, self.ahead) = (1 + self.rng.below(2) as u32, any_ahead(&mut self.rng));
        let (writer, mut ring, front) = open(self.device.clone(), self.frag_count, self.ahead);
        self.device.0.borrow_mut().cuts.clear();
        let image = self.device.view();
        let when = format!("seed {}, step {step}, restart {how}", self.seed);
        self.model.check(&ring, &image, front, &when);
        if how == 4 {
            self.ring.fail(u64::MAX);
            ring.go_on_from(&self.ring);
        }
        (self.writer, self.ring) = (writer, ring);
        self.model.may_skip |= self.ahead != Ahead::Nothing;
        self.model.listed.clear();
        self.model.promised =
            self.ring.history().map(|record| (record.sequence, *record)).collect();
    }

    fn layout(&self) -> Layout {
        self.ring.geometry().layout
    }
}
