//! The one thread that touches flash: jobs in, events out.
//!
//! Rings are made, opened, written, sealed and read through here and nowhere else, in the order of the jobs: the
//! engine never waits for a card. What takes long for a viewer or for a ring that is being made is cut into steps,
//! of which one is done between two jobs, so that it holds up a camera by one step at most.
//!
//! Neither queue grows without bound: writes are as many as there are buffers, seals [`SEALS_IN_FLIGHT_MAX`] a ring,
//! other jobs [`FLASH_JOBS_MAX`]; each has one answer at most, and beside those there are only [`Event::Making`], at
//! most a hundred a ring, and [`Event::Failed`], at most one a write, seal or sync.
//!
//! [`SEALS_IN_FLIGHT_MAX`]: crate::limits::SEALS_IN_FLIGHT_MAX

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    clock::Clock,
    flash_job::{Event, Job, LoadError, Open, RingId},
    returned::Returned,
    ring_file::{self, NewRing, OpenError, RingFile},
};
use crate::{
    channel,
    limits::{FLASH_JOBS_MAX, FLASH_LOADS_MAX, FLASH_STEP_BYTES, WRITE_BYTES},
    store::{
        Ahead, Record, Write, geometry::Layout, layout::Superblock, recovery::BodyCheck,
        ring::Ring, writer::RingWriter,
    },
    units::Millis,
};

/// The engine's end.
#[derive(Debug)]
pub struct FlashThread {
    jobs: mpsc::Sender<Job>,
    /// How many jobs in the queue are neither writes nor seals.
    waiting: Arc<AtomicUsize>,
    returned: Arc<Returned>,
    thread: JoinHandle<()>,
}

impl FlashThread {
    /// Starts the thread.
    pub fn start(clock: Clock, events: UnboundedSender<Event>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let returned = Arc::new(Returned::default());
        let worker = Worker {
            waiting: Arc::clone(&waiting),
            clock,
            events,
            returned: Arc::clone(&returned),
            rings: BTreeMap::new(),
            tasks: VecDeque::with_capacity(FLASH_LOADS_MAX),
            scratch: vec![0; WRITE_BYTES],
        };
        let thread =
            thread::Builder::new().name("flash".into()).spawn(move || worker.run(&queue))?;
        Ok(Self { jobs, waiting, returned, thread })
    }

    /// Where write buffers come back.
    pub fn returned(&self) -> Arc<Returned> {
        Arc::clone(&self.returned)
    }

    /// Hands a job over, and never waits. A job that comes back found the queue full; a write or a seal never does.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        if job.is_counted() && self.waiting.fetch_add(1, Ordering::Relaxed) >= FLASH_JOBS_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(job);
        }
        self.jobs.send(job).map_err(|e| e.0)
    }

    /// Does what has been handed over, closes all rings, and ends. Returns when that is done.
    pub fn stop(self) {
        drop(self.jobs);
        // A panic in there has been reported already, and ends the process in a release build.
        let _ = self.thread.join();
    }
}

/// The thread's end.
struct Worker {
    clock: Clock,
    waiting: Arc<AtomicUsize>,
    events: UnboundedSender<Event>,
    returned: Arc<Returned>,
    rings: BTreeMap<RingId, RingWriter<RingFile>>,
    /// What is done a step at a time, in turn.
    tasks: VecDeque<Task>,
    scratch: Vec<u8>,
}

enum Task {
    Make(Box<Making>),
    Load(Loading),
}

impl Task {
    const fn id(&self) -> RingId {
        match self {
            Self::Make(making) => making.open.id,
            Self::Load(loading) => loading.id,
        }
    }
}

struct Making {
    open: Open,
    ring: NewRing,
    began: Millis,
    percent: u64,
}

struct Loading {
    id: RingId,
    sequence: u64,
    file: RingFile,
    layout: Layout,
    check: BodyCheck,
}

impl Worker {
    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        loop {
            let job = match self.patience() {
                Some(patience) => queue.recv_timeout(patience),
                None => queue.recv().map_err(RecvTimeoutError::from),
            };
            match job {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.sync_due_rings();
            self.work_on_a_task();
        }
        while let Some((id, _)) = self.rings.first_key_value() {
            self.close(*id);
        }
    }

    /// How long to wait for a job before there is something else to do.
    fn patience(&self) -> Option<Duration> {
        if !self.tasks.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.rings.values().filter_map(RingWriter::sync_due).min()?;
        Some(Duration::from_millis(due.since(self.now())))
    }

    fn work(&mut self, job: Job) {
        if job.is_counted() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        match job {
            Job::Open(open) => self.open(*open),
            Job::Write(id, Write { epoch, position, buffer }) => {
                let ring = self.rings.get_mut(&id);
                let written = ring.map(|ring| ring.write(epoch, position, buffer.filled()));
                if self.returned.put(buffer) {
                    self.tell(Event::BufferReturned);
                }
                if let Some(Err(error)) = written {
                    self.tell(Event::Failed { id, error });
                }
                if self.rings.get(&id).is_some_and(|ring| ring.ahead() == Ahead::Parts) {
                    self.tell(Event::Written { id });
                }
            }
            Job::Seal(id, seal) => {
                let now = self.now();
                match self.rings.get_mut(&id).map(|ring| ring.seal(&seal, now)) {
                    Some(Ok(true)) => {
                        let (sequence, took_ms) = (seal.record.sequence, self.now().since(now));
                        self.tell(Event::Sealed { id, sequence, took_ms });
                    }
                    Some(Err(error)) => self.tell(Event::Failed { id, error }),
                    Some(Ok(false)) | None => {}
                }
            }
            Job::Load(id, record) => self.load(id, &record),
            Job::Close(id) => self.close(id),
            Job::Remove(channel, path) => {
                self.tell(Event::Removed { channel, outcome: ring_file::remove(&path) });
            }
            Job::Keep(path, text) => {
                let outcome = ring_file::replace(&path, &text);
                let outcome = outcome.map_err(|error| format!("{}: {error}", path.display()));
                self.tell(Event::Kept { outcome });
            }
        }
    }

    fn open(&mut self, open: Open) {
        let id = open.id;
        let opened = match open.path.try_exists() {
            Ok(true) => RingFile::open(&open.path).and_then(|file| self.recover(&open, file)),
            Ok(false) => self.make(open),
            // It may be there: a new one must not take its place.
            Err(error) => Err(OpenError::Open(error)),
        };
        if let Err(error) = opened {
            self.tell(Event::OpenFailed { id, error });
        }
    }

    fn recover(&mut self, open: &Open, file: RingFile) -> Result<(), OpenError> {
        let &Open { id, geometry, ahead, .. } = open;
        let shared = file.file();
        let (writer, recovered) = RingWriter::open(file, geometry, &open.name, ahead)?;
        self.rings.insert(id, writer);
        self.tell(Event::Opened {
            id,
            damaged_pages: recovered.damaged_pages,
            dropped: recovered.dropped,
            ring: Box::new(Ring::new(geometry, recovered)),
            file: shared,
        });
        Ok(())
    }

    fn make(&mut self, open: Open) -> Result<(), OpenError> {
        let superblock = Superblock::new(open.geometry.layout, &open.name);
        let ring = NewRing::begin(&open.path, superblock.ok_or(OpenError::NameTooLong)?)?;
        if ring.done_bytes() == ring.total_bytes() {
            let file = ring.finish()?;
            return self.recover(&open, file);
        }
        let making = Making { open, ring, began: self.now(), percent: 0 };
        self.tasks.push_back(Task::Make(Box::new(making)));
        Ok(())
    }

    fn load(&mut self, id: RingId, record: &Record) {
        let sequence = record.sequence;
        let refused = match self.rings.get_mut(&id) {
            None => LoadError::NotOpen,
            Some(_) if self.tasks.len() >= FLASH_LOADS_MAX => LoadError::Busy,
            Some(ring) => {
                let (file, layout) = (ring.flash().clone(), ring.layout());
                let check = BodyCheck::new(record);
                self.tasks.push_back(Task::Load(Loading { id, sequence, file, layout, check }));
                return;
            }
        };
        self.tell(Event::Loaded { id, sequence, outcome: Err(refused) });
    }

    fn close(&mut self, id: RingId) {
        // What is read of it says nothing of the one that may be opened next under its id.
        let (its, others) =
            std::mem::take(&mut self.tasks).into_iter().partition(|task| task.id() == id);
        self.tasks = others;
        for task in its {
            if let Task::Load(Loading { sequence, .. }) = task {
                self.tell(Event::Loaded { id, sequence, outcome: Err(LoadError::NotOpen) });
            }
        }
        let outcome = self.rings.remove(&id).map_or(Ok(()), |mut ring| {
            let closed = ring.close();
            // Viewers may hold the file for a while; the lock must not outlive the ring.
            let _ = ring.flash().unlock();
            closed
        });
        self.tell(Event::Closed { id, outcome });
    }

    fn sync_due_rings(&mut self) {
        let now = self.now();
        for (id, ring) in &mut self.rings {
            if let Err(error) = ring.sync_if_due(now) {
                let _ = self.events.send(Event::Failed { id: *id, error });
            }
        }
    }

    fn work_on_a_task(&mut self) {
        match self.tasks.pop_front() {
            Some(Task::Load(loading)) => self.go_on_loading(loading),
            Some(Task::Make(making)) => self.go_on_making(making),
            None => {}
        }
    }

    fn go_on_loading(&mut self, mut loading: Loading) {
        let Loading { id, sequence, file, layout, check } = &mut loading;
        for _ in 0..FLASH_STEP_BYTES / WRITE_BYTES {
            let outcome = match check.step(file, layout, &mut self.scratch) {
                Ok(false) => continue,
                Ok(true) => Ok(()),
                Err(error) => Err(error.into()),
            };
            let (id, sequence) = (*id, *sequence);
            self.tell(Event::Loaded { id, sequence, outcome });
            return;
        }
        self.tasks.push_back(Task::Load(loading));
    }

    fn go_on_making(&mut self, mut making: Box<Making>) {
        let id = making.open.id;
        match making.ring.step() {
            Ok(true) => {
                let (done, total) = (making.ring.done_bytes(), making.ring.total_bytes());
                let percent = done * 100 / total;
                if percent > making.percent {
                    making.percent = percent;
                    let left_ms = self.now().since(making.began) * (100 - percent) / percent;
                    let making = channel::Making { percent, left_s: left_ms.div_ceil(1000) };
                    self.tell(Event::Making { id, making });
                }
                self.tasks.push_back(Task::Make(making));
            }
            Ok(false) => {
                let Making { open, ring, .. } = *making;
                if let Err(error) = ring.finish().and_then(|file| self.recover(&open, file)) {
                    self.tell(Event::OpenFailed { id, error });
                }
            }
            Err(error) => self.tell(Event::OpenFailed { id, error }),
        }
    }

    fn now(&self) -> Millis {
        self.clock.now().mono
    }

    /// Where the engine has gone there is nobody to tell.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        fs::{self, File, OpenOptions},
        os::unix::fs::FileExt,
        path::{Path, PathBuf},
        process,
    };

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::{
        config::ChannelPath,
        store::{
            buffer::BufferPool,
            geometry::Geometry,
            recovery::{BodyError, ReadError},
            ring::Listing,
            segment::SegmentWriter,
        },
        units::{Ticks90k, UnixMillis},
    };

    const ID: RingId = RingId(7);

    /// A folder of its own for each test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = env::temp_dir().join(format!("sluicegate-flash-{test}-{}", process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn ring(&self) -> PathBuf {
            self.0.join("front-door.ring")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn geometry() -> Geometry {
        Geometry::new(4 << 20, 1, 4096).unwrap()
    }

    fn job(path: &Path, name: &str) -> Job {
        let (path, name) = (path.to_path_buf(), name.to_owned());
        Job::Open(Box::new(Open {
            id: ID,
            path,
            name,
            geometry: geometry(),
            ahead: Ahead::Nothing,
        }))
    }

    fn start() -> (FlashThread, UnboundedReceiver<Event>) {
        let (events, inbox) = unbounded_channel();
        (FlashThread::start(Clock::start(), events).unwrap(), inbox)
    }

    fn opened(inbox: &mut UnboundedReceiver<Event>) -> (Box<Ring>, Arc<File>) {
        match inbox.blocking_recv() {
            Some(Event::Opened { id: ID, ring, file, damaged_pages: 0, dropped: 0 }) => {
                (ring, file)
            }
            other => panic!("{other:?}"),
        }
    }

    fn refused(inbox: &mut UnboundedReceiver<Event>) -> OpenError {
        match inbox.blocking_recv() {
            Some(Event::OpenFailed { id: ID, error }) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Records a segment of these bytes and lists it.
    fn record(
        bytes: &[u8],
        ring: &mut Ring,
        pool: &mut BufferPool,
        flash: &FlashThread,
        inbox: &mut UnboundedReceiver<Event>,
    ) -> Record {
        let mut jobs = Vec::new();
        let mut segment = SegmentWriter::new(ring.open_segment().unwrap());
        segment.write(bytes, pool, |write| jobs.push(Job::Write(ID, write))).unwrap();
        segment.mark();
        let body = segment.finish(pool, |write| jobs.push(Job::Write(ID, write))).unwrap();
        let listing = Listing {
            start: ring.time_floor().max(UnixMillis(1_700_000_000_000)),
            duration: Ticks90k(450_000),
            target_duration_s: 5,
            is_discontinuity: false,
            is_independent: true,
        };
        jobs.push(Job::Seal(ID, ring.seal(body, listing).unwrap()));
        jobs.into_iter().for_each(|job| flash.submit(job).unwrap());
        match inbox.blocking_recv() {
            Some(Event::Sealed { id: ID, sequence, .. }) => {
                flash.returned().fetch(pool);
                *ring.sealed(sequence).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn pool() -> BufferPool {
        let mut pool = BufferPool::new(16);
        pool.allow(16);
        pool
    }

    #[test]
    fn what_is_sealed_can_be_read_from_the_file_and_is_there_after_a_restart() {
        let folder = Folder::new("restart");
        let (flash, mut inbox) = start();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        let (mut ring, file) = opened(&mut inbox);
        let length = fs::metadata(folder.ring()).unwrap().len();
        let mut pool = pool();
        let bodies: Vec<Vec<u8>> =
            (0..20).map(|nth| vec![nth; 200_000 + usize::from(nth)]).collect();
        for body in &bodies {
            let record = record(body, &mut ring, &mut pool, &flash, &mut inbox);
            let mut found = vec![0; body.len()];
            let mut read = 0;
            while let Some(extent) = ring.extent(&record, read as u64, u64::MAX) {
                let piece = &mut found[read..][..usize::try_from(extent.bytes).unwrap()];
                file.read_exact_at(piece, extent.offset).unwrap();
                read += piece.len();
            }
            assert!(found == *body);
        }
        assert_eq!(pool.lent(), 0);
        let kept: Vec<_> = ring.history().copied().collect();
        flash.stop();
        assert!(matches!(inbox.blocking_recv(), Some(Event::Closed { id: ID, outcome: Ok(()) })));

        let (flash, mut inbox) = start();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        let (ring, _) = opened(&mut inbox);
        let found: Vec<_> = ring.history().copied().collect();
        assert!(found.len() > 10 && kept.ends_with(&found), "{found:?}");
        assert_eq!(ring.next_sequence(), 20);
        assert_eq!(fs::metadata(folder.ring()).unwrap().len(), length, "a ring keeps its length");
        flash.stop();
    }

    #[test]
    fn a_segment_whose_bytes_went_bad_is_found_when_it_is_read() {
        let folder = Folder::new("bad");
        let (flash, mut inbox) = start();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        let (mut ring, _) = opened(&mut inbox);
        let mut pool = pool();
        let good = record(&[1; 300_000], &mut ring, &mut pool, &flash, &mut inbox);
        let bad = record(&[2; 300_000], &mut ring, &mut pool, &flash, &mut inbox);
        let other = OpenOptions::new().write(true).open(folder.ring()).unwrap();
        other.write_all_at(&[3], ring.extent(&bad, 299_999, 1).unwrap().offset).unwrap();
        for (record, is_good) in [(good, true), (bad, false)] {
            flash.submit(Job::Load(ID, record)).unwrap();
            match inbox.blocking_recv() {
                Some(Event::Loaded { id: ID, sequence, outcome }) => {
                    assert_eq!(sequence, record.sequence);
                    let is_corrupt =
                        matches!(&outcome, Err(LoadError::Body(BodyError::Corrupt { .. })));
                    assert_eq!((outcome.is_ok(), is_corrupt), (is_good, !is_good));
                }
                other => panic!("{other:?}"),
            }
        }
        flash.stop();
    }

    #[test]
    fn a_ring_is_opened_by_one_at_a_time_and_by_its_own_channel_only() {
        let folder = Folder::new("lock");
        let (flash, mut inbox) = start();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        let (_ring, held_by_a_viewer) = opened(&mut inbox);
        let (second, mut second_inbox) = start();
        second.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        assert!(matches!(refused(&mut second_inbox), OpenError::Locked));
        flash.submit(Job::Close(ID)).unwrap();
        assert!(matches!(inbox.blocking_recv(), Some(Event::Closed { id: ID, outcome: Ok(()) })));
        second.submit(job(&folder.ring(), "cams/back-door")).unwrap();
        let error = refused(&mut second_inbox);
        assert!(matches!(error, OpenError::Read(ReadError::NotThisRing(_))), "{error}");
        second.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        opened(&mut second_inbox);
        drop(held_by_a_viewer);
        second.stop();
        flash.stop();
    }

    #[test]
    fn what_cannot_be_made_or_opened_leaves_nothing_behind() {
        let folder = Folder::new("refused");
        let (flash, mut inbox) = start();
        fs::write(folder.ring(), "not a ring").unwrap();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        let error = refused(&mut inbox);
        assert_eq!(
            error.to_string(),
            "not a ring of Sluicegate, or both of its superblocks are damaged: remove the file to begin a new ring"
        );
        fs::remove_file(folder.ring()).unwrap();
        let huge = Geometry::new(1 << 60, 1, 4096).unwrap();
        let (path, name) = (folder.ring(), String::from("cams/front-door"));
        let open = Open { id: ID, path, name, geometry: huge, ahead: Ahead::Nothing };
        flash.submit(Job::Open(Box::new(open))).unwrap();
        assert!(
            matches!(refused(&mut inbox), OpenError::NoSpace { needed_bytes } if needed_bytes == 1 << 60)
        );
        fs::write(folder.0.join("file"), "").unwrap();
        flash.submit(job(&folder.0.join("file/a.ring"), "cams/front-door")).unwrap();
        assert!(matches!(refused(&mut inbox), OpenError::Open(_)));
        fs::remove_file(folder.0.join("file")).unwrap();
        flash.submit(job(&folder.ring(), &"x".repeat(200))).unwrap();
        assert!(matches!(refused(&mut inbox), OpenError::NameTooLong));
        flash.stop();
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn a_draft_that_a_cut_left_behind_is_made_anew() {
        let folder = Folder::new("draft");
        fs::write(folder.0.join("front-door.ring.new"), vec![0xff; 1 << 20]).unwrap();
        let (flash, mut inbox) = start();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        let (ring, _) = opened(&mut inbox);
        assert_eq!((ring.history().len(), ring.next_sequence()), (0, 0));
        flash.stop();
        assert!(!folder.0.join("front-door.ring.new").exists());
    }

    #[test]
    fn a_removed_ring_is_gone_and_its_name_is_free() {
        let folder = Folder::new("remove");
        let (flash, mut inbox) = start();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        opened(&mut inbox);
        flash.submit(Job::Close(ID)).unwrap();
        let channel = ChannelPath { bucket: "cams".into(), channel: "front-door".into() };
        flash.submit(Job::Remove(channel.clone(), folder.ring())).unwrap();
        flash.submit(Job::Remove(channel, folder.ring())).unwrap();
        assert!(matches!(inbox.blocking_recv(), Some(Event::Closed { outcome: Ok(()), .. })));
        assert!(matches!(inbox.blocking_recv(), Some(Event::Removed { outcome: Ok(()), .. })));
        assert!(!folder.ring().exists());
        assert!(matches!(inbox.blocking_recv(), Some(Event::Removed { outcome: Ok(()), .. })));
        flash.submit(job(&folder.ring(), "cams/back-door")).unwrap();
        opened(&mut inbox);
        flash.stop();
    }

    #[test]
    fn jobs_for_a_ring_that_is_not_open_give_their_buffers_back() {
        let (flash, mut inbox) = start();
        let returned = flash.returned();
        let mut pool = pool();
        let buffer = pool.take().unwrap();
        flash.submit(Job::Write(ID, Write { epoch: 0, position: 0, buffer })).unwrap();
        flash.stop();
        assert!(inbox.blocking_recv().is_none(), "nobody waited for it");
        returned.fetch(&mut pool);
        assert_eq!(pool.lent(), 0);
    }

    #[test]
    fn a_ring_is_filled_with_zeros_where_its_length_cannot_be_reserved() {
        let folder = Folder::new("zeros");
        let superblock = Superblock::new(geometry().layout, "cams/front-door").unwrap();
        let mut ring = NewRing::begin(&folder.ring(), superblock).unwrap();
        ring.pretend_that_nothing_was_reserved();
        let mut steps = 1;
        while ring.step().unwrap() {
            assert_eq!(ring.done_bytes(), steps * FLASH_STEP_BYTES as u64);
            steps += 1;
        }
        assert_eq!(steps, geometry().layout.file_bytes / FLASH_STEP_BYTES as u64);
        assert!(!folder.ring().exists(), "it has no name before it is complete");
        drop(ring.finish().unwrap());
        let (flash, mut inbox) = start();
        flash.submit(job(&folder.ring(), "cams/front-door")).unwrap();
        opened(&mut inbox);
        flash.stop();
    }
}
