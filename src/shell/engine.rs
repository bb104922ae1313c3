//! What all connections share on the one engine thread: the configuration in force, the channels, the flash thread's
//! queue, and the quotas that bound how many there may be.

mod rings;

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::HashMap,
    fs::File,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot,
};

use crate::{
    access::{GateTime, Origin},
    api::World,
    channel::{Channels, SharedChannel, live::PublisherId},
    config::{Config, catalogue::Catalogue},
    console::Vitals,
    http::{
        request::Request,
        response::{RequestId, Response},
    },
    limits::{
        HTTP_BODIES_HELD_MAX, HTTP_HEADS_HELD_MAX, HTTP_TEXT_BYTES_HELD_MAX, RTMP_WAITING_MAX,
        SCRATCH_BYTES, WRITE_BUFFERS_PER_PUBLISHER, WRITE_BUFFERS_PER_READ, WRITE_BUFFERS_SHARED,
    },
    publish::{self, NotAdmitted},
    respond::{Reply, respond},
    rtmp::Publish,
    shell::{
        changes::Changes,
        clock::Clock,
        files::Whole,
        flash::FlashThread,
        flash_job::Event,
        memory::Meter,
        news::News,
        peer_log::PeerLog,
        places::{Place, Places},
        quota::{Quota, Share},
        returned::Returned,
        ring_file,
    },
    store::buffer::BufferPool,
    units::{Now, UnixSecs},
};

/// Those who wait for one segment; they are told whether it is good.
type Waiting = Vec<oneshot::Sender<bool>>;

/// The engine. One per process, shared by all connections on one thread.
pub(super) struct Engine {
    clock: Clock,
    /// Part of request ids: differs from run to run.
    run: u32,
    requests: Cell<u64>,
    /// As the file has it.
    pub(super) file_config: RefCell<Config>,
    /// The one in force: the file's, with what the catalogue adds.
    config: RefCell<Rc<Config>>,
    config_read: Cell<UnixSecs>,
    pub(super) catalogue: RefCell<Rc<Catalogue>>,
    pub(super) changes: Changes,
    channels: RefCell<Channels>,
    files: RefCell<HashMap<u32, Arc<File>>>,
    last_id: Cell<u32>,
    pool: RefCell<BufferPool>,
    /// `None` once the daemon stops.
    flash: RefCell<Option<FlashThread>>,
    /// Who waits for which segment of which channel to be read through.
    loads: RefCell<HashMap<(u32, u64), Waiting>>,
    /// The clock is not before all that is plausible.
    is_clock_set: Cell<bool>,
    scratch: RefCell<Box<[u8]>>,
    vitals: RefCell<Vitals>,
    memory: Meter,
    viewers: Rc<Places>,
    encoders: Rc<Places>,
    /// What peers cause to be logged.
    pub(super) peer_log: PeerLog,
    /// For connections that hold part of a request.
    heads: Rc<Quota>,
    /// For connections that hold part of a body.
    bodies: Rc<Quota>,
    /// One for each byte of text that waits for its reader.
    text_bytes: Rc<Quota>,
    /// A ring is open, or cannot be.
    pub(super) ring_opened: Notify,
    /// A write buffer is free again that somebody waited for.
    buffer_returned: Notify,
    returned: Arc<Returned>,
    /// What channels with low latency tell those who wait for a part.
    pub(super) news: News,
    /// Segments were retired: who sends one looks whether it is still there.
    pub(super) retired: Notify,
    /// A publisher lost its channel: all look whether it was them.
    pub(super) cut: Notify,
}

impl Engine {
    /// Starts the flash thread, and has every ring opened or made.
    pub(super) fn start(whole: Whole) -> Result<(Rc<Self>, UnboundedReceiver<Event>), String> {
        let Whole { file_config, config, catalogue, .. } = whole;
        let clock = Clock::start();
        let store = &config.store.path;
        ring_file::make_folder(store).map_err(|error| {
            format!("cannot make the store's folder {}: {error}", store.display())
        })?;
        let (tell, events) = unbounded_channel();
        let flash = FlashThread::start(clock, tell)
            .map_err(|error| format!("the flash thread cannot start: {error}"))?;
        let (publishers, viewers) =
            (config.limits.publishers as usize, config.limits.viewers as usize);
        let [.., a, b, c, d] = clock.now().wall.0.to_be_bytes();
        let engine = Rc::new(Self {
            clock,
            run: u32::from_be_bytes([a, b, c, d]),
            requests: Cell::new(0),
            channels: RefCell::default(),
            files: RefCell::default(),
            last_id: Cell::new(0),
            pool: RefCell::new(BufferPool::new(write_buffers(publishers))),
            returned: flash.returned(),
            flash: RefCell::new(Some(flash)),
            loads: RefCell::default(),
            is_clock_set: Cell::new(true),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            vitals: RefCell::default(),
            memory: Meter::open(),
            viewers: Places::new(viewers),
            encoders: Places::new(publishers + RTMP_WAITING_MAX),
            peer_log: PeerLog::default(),
            heads: Quota::new(HTTP_HEADS_HELD_MAX),
            bodies: Quota::new(HTTP_BODIES_HELD_MAX),
            text_bytes: Quota::new(HTTP_TEXT_BYTES_HELD_MAX),
            ring_opened: Notify::new(),
            buffer_returned: Notify::new(),
            news: News::default(),
            retired: Notify::new(),
            cut: Notify::new(),
            file_config: RefCell::new(file_config),
            config: RefCell::new(Rc::new(config)),
            config_read: Cell::new(clock.now().wall.as_secs()),
            changes: Changes::new(catalogue.as_ref().err().cloned()),
            catalogue: RefCell::new(Rc::new(catalogue.unwrap_or_default())),
        });
        engine.remove_deleted_rings();
        let config = engine.config();
        for (bucket, channel) in config.live_channels() {
            engine.add(&bucket.name, channel);
        }
        Ok((engine, events))
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.config.borrow())
    }

    /// Puts another configuration in force.
    pub(super) fn set_config(&self, config: Rc<Config>) {
        *self.config.borrow_mut() = config;
    }

    /// The file was read, and is in force.
    pub(super) fn config_is_read(&self) {
        self.config_read.set(self.now().wall.as_secs());
    }

    /// The channels.
    pub(super) fn channels(&self) -> RefMut<'_, Channels> {
        self.channels.borrow_mut()
    }

    /// What the time is.
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// The buffer that everybody reads into. Nobody keeps it over a wait.
    pub(super) fn scratch(&self) -> RefMut<'_, Box<[u8]>> {
        self.scratch.borrow_mut()
    }

    /// The write buffers.
    pub(super) fn pool(&self) -> RefMut<'_, BufferPool> {
        self.pool.borrow_mut()
    }

    /// Whether there are buffers for what one read from a publisher may bring.
    pub(super) fn has_buffers(&self) -> bool {
        let is_enough = |pool: &BufferPool| pool.left() >= WRITE_BUFFERS_PER_READ;
        let mut pool = self.pool();
        if !is_enough(&pool) {
            self.returned.fetch(&mut pool);
        }
        is_enough(&pool)
    }

    /// Waits until there are.
    ///
    /// Cancel-safe: nothing is held.
    pub(super) async fn buffers(&self) {
        while !self.has_buffers() {
            self.returned.expect();
            // One that came back before that told nobody.
            if self.has_buffers() {
                return;
            }
            self.buffer_returned.notified().await;
        }
    }

    /// A place for one more HTTP connection.
    pub(super) fn enter_http(&self, address: IpAddr) -> Option<Place> {
        Places::enter(&self.viewers, address)
    }

    /// A place for one more RTMP connection.
    pub(super) fn enter_rtmp(&self, address: IpAddr) -> Option<Place> {
        Places::enter(&self.encoders, address)
    }

    /// A share for one more half-received request, if there is one.
    pub(super) fn take_head_share(&self) -> Option<Share> {
        Quota::take(&self.heads)
    }

    /// A share for one more half-received body, if there is one.
    pub(super) fn take_body_share(&self) -> Option<Share> {
        Quota::take(&self.bodies)
    }

    /// Room for `bytes` of text that is being sent, if there is some.
    pub(super) fn hold_text(&self, bytes: usize) -> Option<Share> {
        Quota::take_many(&self.text_bytes, bytes)
    }

    /// Names the next request.
    pub(super) fn next_request_id(&self) -> RequestId {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        RequestId { run: self.run, number }
    }

    /// Answers a request. `body` is what came behind its head; `None`: nothing was read of it.
    ///
    /// `may_wait`: its client may be kept waiting for what is not there yet.
    pub(super) fn respond(
        &self,
        request: &Request<'_>,
        body: Option<&[u8]>,
        origin: Origin,
        may_wait: bool,
    ) -> Reply {
        self.with_world(|world| respond(request, body, origin, &World { may_wait, ..*world }))
    }

    /// A response is about to be sent.
    pub(super) fn count_response(&self, response: &Response) {
        self.vitals.borrow_mut().answered(response.status, response.refused);
    }

    /// So many bytes were sent over HTTP.
    pub(super) fn count_sent(&self, bytes: u64) {
        self.vitals.borrow_mut().sent_bytes += bytes;
    }

    /// Shows `look` all that answers are made from.
    pub(super) fn with_world<T>(&self, look: impl FnOnce(&World<'_>) -> T) -> T {
        let (config, catalogue) = (self.config(), Rc::clone(&self.catalogue.borrow()));
        let (channels, now) = (self.channels.borrow(), self.now());
        {
            let mut vitals = self.vitals.borrow_mut();
            vitals.http_connections = self.viewers.taken();
            vitals.rtmp_connections = self.encoders.taken();
        }
        look(&World {
            config: &config,
            config_read: self.config_read.get(),
            catalogue: &catalogue,
            channels: &channels,
            vitals: &self.vitals.borrow(),
            now,
            gate_time: self.gate_time(now, &channels),
            request_id: self.next_request_id(),
            may_wait: false,
        })
    }

    /// Lets a publisher in, or says why not.
    pub(super) fn publish(
        &self,
        request: &Publish<'_>,
        peer: SocketAddr,
    ) -> Result<(SharedChannel, PublisherId), NotAdmitted> {
        let (config, channels, now) = (self.config(), self.channels.borrow(), self.now());
        self.pool().allow(write_buffers(self.publishers() + 1));
        let gate_time = self.gate_time(now, &channels);
        let admitted =
            publish::publish(request, peer, &config, &channels, &mut self.pool(), gate_time, now);
        // A publisher that was replaced finds out for itself.
        self.cut.notify_waiters();
        if let Err(NotAdmitted::Refused(refused)) = &admitted {
            self.vitals.borrow_mut().publisher_refused(refused.reason);
        }
        admitted
    }

    fn publishers(&self) -> usize {
        let channels = self.channels.borrow();
        channels.iter().filter(|channel| channel.borrow().session().is_some()).count()
    }

    /// The time that signatures are measured by: no store has seen a later one.
    fn gate_time(&self, now: Now, channels: &Channels) -> GateTime {
        let newest = channels.iter().filter_map(|channel| channel.borrow().newest_end()).max();
        GateTime::new(now.wall.as_secs(), newest.map_or(UnixSecs(0), |end| end.as_secs()))
    }

    pub(super) fn next_id(&self) -> u32 {
        self.last_id.update(|id| id + 1);
        self.last_id.get()
    }

    /// What only time changes.
    pub(super) fn tick(&self) {
        let now = self.now();
        for channel in self.channels.borrow().iter() {
            channel.borrow_mut().tick(now);
        }
        self.measure_memory();
        self.tell_of_the_clock();
        self.return_buffers();
        self.reopen_failed_rings();
        self.peer_log.tell_left_out(self.now().mono);
    }

    /// Sees how much memory is resident.
    fn measure_memory(&self) {
        if let Some(memory) = self.memory.resident() {
            let mut vitals = self.vitals.borrow_mut();
            vitals.resident_bytes = memory.now_bytes;
            vitals.resident_bytes_max = memory.most_bytes;
        }
    }

    /// Logs that signed requests are refused for want of the time, and that they no longer are.
    fn tell_of_the_clock(&self) {
        let is_plausible = self.gate_time(self.now(), &self.channels.borrow()).is_plausible();
        if is_plausible != self.is_clock_set.replace(is_plausible) {
            if is_plausible {
                tracing::info!("the clock is set: signed requests are let in");
            } else {
                tracing::error!(
                    "the clock of this box is not set, so signed requests are refused: let it reach a time server (NTP), or set it by hand"
                );
            }
        }
    }

    /// Buffers that nobody needs go back to the system.
    fn return_buffers(&self) {
        self.returned.fetch(&mut self.pool());
        self.pool().allow(write_buffers(self.publishers()));
    }

    /// Seals what is open, and hands out the flash thread, which closes every ring when it is stopped.
    pub(super) fn stop(&self) -> Option<FlashThread> {
        for channel in self.channels.borrow().iter() {
            channel.borrow_mut().cut(&mut self.pool(), self.now());
            self.dispatch(channel);
        }
        self.cut.notify_waiters();
        self.flash.borrow_mut().take()
    }
}

/// How many write buffers so many publishers may have; with none, all go back to the system.
const fn write_buffers(publishers: usize) -> usize {
    match publishers {
        0 => 0,
        some => some * WRITE_BUFFERS_PER_PUBLISHER + WRITE_BUFFERS_SHARED,
    }
}
