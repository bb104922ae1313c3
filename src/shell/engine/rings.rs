//! What the engine has the flash thread do, and what becomes of it: rings are opened, written and read through.

use std::{cell::RefCell, fs::File, rc::Rc, sync::Arc};

use smol_str::SmolStr;
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::Engine;
use crate::{
    channel::{Channel, Making, SharedChannel, recorder::Job},
    config::{Config, Durability, LiveChannel, rings},
    shell::{
        files,
        flash_job::{Event, Job as FlashJob, LoadError, Open, RingId},
        ring_file::OpenError,
    },
    store::{Ahead, recovery::BodyError, ring::Ring, writer::WriteError},
};

impl Engine {
    pub(in crate::shell) fn submit(&self, job: FlashJob) -> Result<(), FlashJob> {
        match &*self.flash.borrow() {
            Some(flash) => flash.submit(job),
            None => Err(job),
        }
    }

    /// Adds a channel and has its ring opened or made.
    pub(in crate::shell) fn add(&self, bucket: &SmolStr, channel: &LiveChannel) {
        let config = self.config();
        let id = self.next_id();
        let mut added = Channel::new(id, bucket.clone(), channel.clone());
        if let Err(why) = self.open(&config, &added) {
            tracing::error!(channel = added.name(), "{why}");
            added.failed_to_open(why, self.now());
        }
        self.channels.borrow_mut().push(Rc::new(RefCell::new(added)));
    }

    fn open(&self, config: &Config, channel: &Channel) -> Result<(), String> {
        let LiveChannel { ring_bytes, frag_count, .. } = channel.config;
        let open = Open {
            id: RingId(channel.id),
            path: files::ring_path(config, &channel.bucket, &channel.config.name),
            name: channel.name(),
            geometry: rings::geometry(&config.store, ring_bytes, frag_count)
                .map_err(|error| error.to_string())?,
            ahead: match (&channel.config.low_latency, config.store.durability) {
                (Some(_), _) => Ahead::Parts,
                (None, Durability::Relaxed) => Ahead::Segments,
                (None, Durability::Segment) => Ahead::Nothing,
            },
        };
        self.submit(FlashJob::Open(Box::new(open)))
            .map_err(|_| String::from("the flash thread has too much to do"))
    }

    /// Takes what the flash thread tells, for as long as it lives.
    ///
    /// Not cancel-safe: what has been told and not taken is lost with it.
    pub(in crate::shell) async fn listen(self: Rc<Self>, mut events: UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            self.take(event);
        }
    }

    fn take(&self, event: Event) {
        match event {
            Event::BufferReturned => self.buffer_returned.notify_waiters(),
            Event::Written { id } => self.written(id),
            Event::Sealed { id, sequence, took_ms } => self.sealed(id, sequence, took_ms),
            Event::Failed { id, error } => self.failed(id, &error),
            Event::Loaded { id, sequence, outcome } => self.loaded(id, sequence, &outcome),
            Event::Opened { id, ring, file, damaged_pages, dropped } => {
                self.opened(id, *ring, file, damaged_pages, dropped);
            }
            Event::Making { id, making } => self.making(id, making),
            Event::OpenFailed { id, error } => self.open_failed(id, &error),
            Event::Closed { id, outcome } => closed(id, outcome),
            Event::Removed { channel, outcome } => self.ring_removed(&channel, outcome),
            Event::Kept { outcome } => self.changes.kept(outcome),
        }
    }

    fn written(&self, id: RingId) {
        let Some(channel) = self.channel_of(id) else { return };
        if let Some(recorder) = channel.borrow_mut().recorder_mut() {
            recorder.written();
        }
        self.news.written(id.0);
    }

    fn sealed(&self, id: RingId, sequence: u64, took_ms: u64) {
        let Some(channel) = self.channel_of(id) else { return };
        if channel.borrow_mut().sealed(sequence, took_ms, self.now()) {
            tracing::info!(
                channel = channel.borrow().name(),
                "the flash works again: segments are recorded"
            );
        }
        self.dispatch(&channel);
    }

    fn failed(&self, id: RingId, error: &WriteError) {
        let Some(channel) = self.channel_of(id) else { return };
        let (why, below) = (self.about_ring(&channel, error), error.synced_below);
        let is_news =
            channel.borrow_mut().flash_failed(why.clone(), below, &mut self.pool(), self.now());
        if is_news {
            tracing::error!(
                channel = channel.borrow().name(),
                "{why}; segments that were not synced are lost, the next ones are tried again"
            );
        }
        self.dispatch(&channel);
    }

    fn loaded(&self, id: RingId, sequence: u64, outcome: &Result<(), LoadError>) {
        if let Some(channel) = self.channel_of(id) {
            match outcome {
                Ok(()) => {
                    if let Some(recorder) = channel.borrow_mut().recorder_mut() {
                        recorder.loaded(sequence, self.now().mono);
                    }
                }
                Err(error) => {
                    if let LoadError::Body(BodyError::Corrupt { .. }) = error {
                        channel.borrow_mut().spoil(sequence);
                    }
                    tracing::warn!(
                        channel = channel.borrow().name(),
                        sequence,
                        "segment not sent: {error}"
                    );
                }
            }
        }
        for waiting in self.loads.borrow_mut().remove(&(id.0, sequence)).unwrap_or_default() {
            let _ = waiting.send(outcome.is_ok());
        }
    }

    fn opened(&self, id: RingId, ring: Ring, file: Arc<File>, damaged_pages: u64, dropped: u64) {
        let Some(channel) = self.channel_of(id) else { return };
        self.files.borrow_mut().insert(id.0, file);
        let segments = ring.history().len();
        channel.borrow_mut().opened(ring, self.now());
        self.ring_opened.notify_waiters();
        let name = channel.borrow().name();
        tracing::info!(channel = name, segments, "the ring is open");
        if damaged_pages + dropped > 0 {
            tracing::warn!(
                channel = name,
                "the power went, or the daemon was killed, in the middle of a write: {dropped} segments that were never \
                 listed and {damaged_pages} index pages at the end of the ring are not whole and do not count"
            );
        }
    }

    fn making(&self, id: RingId, making: Making) {
        let Some(channel) = self.channel_of(id) else { return };
        if channel.borrow_mut().opening(making) {
            tracing::info!(channel = channel.borrow().name(), "the ring is being made: {making}");
        }
        self.ring_opened.notify_waiters();
    }

    fn open_failed(&self, id: RingId, error: &OpenError) {
        let Some(channel) = self.channel_of(id) else { return };
        let why = self.about_ring(&channel, error);
        if channel.borrow_mut().failed_to_open(why.clone(), self.now()) {
            tracing::error!(channel = channel.borrow().name(), "{why}");
        }
        self.ring_opened.notify_waiters();
    }

    /// The channel of a ring, unless it was left since.
    fn channel_of(&self, id: RingId) -> Option<SharedChannel> {
        self.channels.borrow().by_id(id.0).cloned()
    }

    /// Hands what a channel has to write to the flash thread.
    pub(in crate::shell) fn dispatch(&self, channel: &SharedChannel) {
        let mut channel = channel.borrow_mut();
        let id = channel.id;
        if channel.take_news() {
            self.news.listed(id);
        }
        if channel.take_retired() {
            self.retired.notify_waiters();
        }
        if let Some(lost) = channel.take_loss(self.now()) {
            let why =
                channel.trouble().unwrap_or_else(|| String::from("the flash did not keep up"));
            tracing::warn!(
                channel = channel.name(),
                "segments lost: {lost}; {why}; the playlist has a gap or a discontinuity there"
            );
        }
        for job in channel.take_jobs() {
            let job = match job {
                Job::Write(write) => {
                    let bytes = write.buffer.filled().len() as u64;
                    channel.flash_mut().counts_mut().written_bytes += bytes;
                    FlashJob::Write(RingId(id), write)
                }
                Job::Seal(seal) => FlashJob::Seal(RingId(id), seal),
            };
            // Buffers and seals in flight are bounded by themselves, far below what the queue holds.
            if let Err(FlashJob::Write(_, write)) = self.submit(job) {
                self.pool().give(write.buffer);
            }
        }
    }

    /// Makes sure that a segment can be sent without waiting for the flash. `false`: it is damaged or gone.
    ///
    /// Cancel-safe: the segment is read through all the same, for whoever wants it next.
    pub(in crate::shell) async fn warm(&self, channel: &SharedChannel, sequence: u64) -> bool {
        let waiting = {
            let channel = channel.borrow();
            let Some(recorder) = channel.recorder() else { return false };
            if recorder.is_warm(sequence, self.now().mono) {
                return true;
            }
            let Some(record) = recorder.ring().record(sequence).copied() else {
                // Of a segment that is being written all that is listed is at hand.
                return recorder.parted(sequence).is_some();
            };
            let (tell, told) = oneshot::channel();
            let mut loads = self.loads.borrow_mut();
            let name = (channel.id, sequence);
            if !loads.contains_key(&name)
                && self.submit(FlashJob::Load(RingId(channel.id), record)).is_err()
            {
                return false;
            }
            loads.entry(name).or_default().push(tell);
            told
        };
        waiting.await.unwrap_or(false)
    }

    /// A ring is left: segments are sent from its file no more.
    pub(in crate::shell) fn forget_file(&self, id: u32) {
        self.files.borrow_mut().remove(&id);
        self.news.forget(id);
    }

    /// The file of a channel's ring.
    pub(in crate::shell) fn file(&self, id: u32) -> Option<Arc<File>> {
        self.files.borrow().get(&id).cloned()
    }

    /// Rings that fail are opened anew from time to time: the card may be another one by then.
    pub(super) fn reopen_failed_rings(&self) {
        let config = self.config();
        for channel in self.channels.borrow().iter() {
            if !channel.borrow_mut().take_retry(&mut self.pool(), self.now()) {
                self.dispatch(channel);
                continue;
            }
            self.dispatch(channel);
            let id = RingId(channel.borrow().id);
            let closed = self.submit(FlashJob::Close(id)).is_ok();
            if !closed || self.open(&config, &channel.borrow()).is_err() {
                let why = String::from("the flash thread has too much to do");
                channel.borrow_mut().failed_to_open(why, self.now());
            }
        }
    }

    /// What happened to the ring of a channel, with the name of its file.
    fn about_ring(&self, channel: &SharedChannel, error: &dyn std::error::Error) -> String {
        let (config, channel) = (self.config(), channel.borrow());
        let path = files::ring_path(&config, &channel.bucket, &channel.config.name);
        format!("ring {}: {error}", path.display())
    }
}

fn closed(id: RingId, outcome: Result<(), WriteError>) {
    if let Err(error) = outcome {
        tracing::warn!("ring {} was not left in order: {error}", id.0);
    }
}
