//! One RTMP connection: socket ↔ [`Session`], and its media into a channel.
//!
//! It owns no read buffer: bytes are read into the one that all share and are used up before the next wait.
//! A publisher is let in once, at publish; one that is refused is told why in words that encoders show.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    channel::{SharedChannel, ingest::VideoFragment, live::PublisherId},
    limits::{
        FLASH_WAIT_MS_MAX, PUBLISHER_READ_BYTES, RTMP_IDLE_MS_MAX, RTMP_LINGER_MS_MAX,
        RTMP_SETUP_MS_MAX, TURN_BYTES_MAX,
    },
    publish::{self, NotAdmitted},
    rtmp::{Event, Fragment, Publish, PublishRefusal, Session},
    shell::{
        engine::Engine,
        peer_log::Who,
        places::{Place, Use},
        read_pace::{ReadPace, read_now, read_tail},
        rtmp_end::End,
    },
};

const SETUP_TIME: Duration = Duration::from_millis(RTMP_SETUP_MS_MAX);
const IDLE_TIME: Duration = Duration::from_millis(RTMP_IDLE_MS_MAX);
const FLASH_WAIT_TIME: Duration = Duration::from_millis(FLASH_WAIT_MS_MAX);
const LINGER_TIME: Duration = Duration::from_millis(RTMP_LINGER_MS_MAX);

/// Serves `stream`, of which `early` has been read already, until it ends.
///
/// Not cancel-safe: a publisher's segment is sealed on the way out.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, engine: Rc<Engine>, early: &[u8]) {
    let Some(place) = engine.enter_rtmp(peer.ip()) else {
        if engine.peer_log.takes(Who::Stranger, engine.now().mono) {
            tracing::warn!(%peer, "RTMP connection refused: limits.publishers encoders publish; raise it if there are more cameras");
        }
        return;
    };
    let mut connection = Connection {
        stream,
        peer,
        engine,
        place,
        session: Box::new(Session::new()),
        heard: Instant::now(),
        asked: None,
        publishing: None,
        is_refused: false,
        is_losing: false,
    };
    let end = connection.run(early).await;
    connection.leave(end).await;
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    engine: Rc<Engine>,
    place: Place,
    session: Box<Session>,
    /// When it sent something last.
    heard: Instant,
    /// What it asks for and has not been told.
    asked: Option<Asked>,
    publishing: Option<Publishing>,
    /// It was told no, and is given a moment to read it.
    is_refused: bool,
    /// The flash was waited for in vain, and has not caught up since.
    is_losing: bool,
}

/// A publish request that has not been answered.
struct Asked {
    app: String,
    tc_url: String,
    encoder: String,
    name: String,
}

impl From<Publish<'_>> for Asked {
    fn from(Publish { app, tc_url, encoder, name }: Publish<'_>) -> Self {
        Self {
            app: app.to_owned(),
            tc_url: tc_url.to_owned(),
            encoder: encoder.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl Asked {
    fn publish(&self) -> Publish<'_> {
        Publish { app: &self.app, tc_url: &self.tc_url, encoder: &self.encoder, name: &self.name }
    }
}

struct Publishing {
    channel: SharedChannel,
    id: PublisherId,
    pace: ReadPace,
    /// What the encoder calls itself: in its metadata, or else when it connected.
    encoder: String,
    /// The log says what is being recorded.
    is_told: bool,
}

/// What a turn left in the socket.
enum Turn {
    /// Nothing.
    Drained,
    /// There may be more.
    More,
}

impl Connection {
    /// Not cancel-safe: begun anew it would take `early` twice.
    async fn run(&mut self, early: &[u8]) -> End {
        let setup_deadline = Instant::now() + SETUP_TIME;
        if let Err(end) = self.take(early) {
            return end;
        }
        loop {
            // Right after a start the rings are still being opened; a camera that is quicker waits for its own.
            while self.asked.is_some() {
                tokio::select! {
                    opened = timeout_at(setup_deadline, self.engine.ring_opened.notified()) => {
                        if opened.is_err() {
                            return End::NeverPublished;
                        }
                    }
                    () = self.place.lost() => return End::Displaced,
                }
                self.ask();
            }
            if let Err(end) = self.flush().await {
                return end;
            }
            if self.is_refused {
                return End::Refused;
            }
            let mut is_tail_due = false;
            let readable = match &self.publishing {
                None => tokio::select! {
                    readable = timeout_at(setup_deadline, self.stream.readable()) => match readable {
                        Ok(readable) => readable,
                        Err(_) => return End::NeverPublished,
                    },
                    () = self.place.lost() => return End::Displaced,
                },
                // Counted from the last byte: others that ask for the channel wake this one too.
                Some(_) if self.heard.elapsed() >= IDLE_TIME => return End::Silent,
                Some(Publishing { pace, .. }) => tokio::select! {
                    // What stays below the socket's low-water mark is fetched when its time has passed.
                    readable = timeout(pace.tail_time(), self.stream.readable()) => {
                        is_tail_due = readable.is_err();
                        readable.unwrap_or(Ok(()))
                    }
                    // Somebody lost a channel. If it was this one, the bytes that come now are not taken.
                    () = self.engine.cut.notified() => Ok(()),
                },
            };
            if let Err(error) = readable {
                return error.into();
            }
            if self.has_lost_its_channel() {
                return End::Cut;
            }
            self.wait_for_buffers().await;
            if self.has_lost_its_channel() {
                return End::Cut;
            }
            match self.turn(is_tail_due) {
                Err(end) => return end,
                Ok(Turn::Drained) => {}
                // The others have their turn, even if this one never stops sending.
                Ok(Turn::More) => tokio::task::yield_now().await,
            }
        }
    }

    fn has_lost_its_channel(&self) -> bool {
        self.publishing.as_ref().is_some_and(|p| !p.channel.borrow().is_published_by(p.id))
    }

    /// Leaves a publisher's bytes in its socket while the flash is behind, for as long as that may take.
    ///
    /// Cancel-safe: nothing is held.
    async fn wait_for_buffers(&mut self) {
        if self.publishing.is_none() || self.engine.has_buffers() {
            self.is_losing = false;
            return;
        }
        if !self.is_losing && timeout(FLASH_WAIT_TIME, self.engine.buffers()).await.is_err() {
            tracing::warn!(peer = %self.peer, "the flash is too slow: a segment is lost");
            self.is_losing = true;
        }
    }

    /// Takes what has arrived, up to a turn's worth; where the tail is due, also what is too little to be woken for. Does not wait.
    fn turn(&mut self, is_tail_due: bool) -> Result<Turn, End> {
        let engine = Rc::clone(&self.engine);
        let mut scratch = engine.scratch();
        let mut taken = 0;
        let mut turn = Turn::More;
        while taken < TURN_BYTES_MAX {
            let room = scratch.get_mut(..PUBLISHER_READ_BYTES).unwrap_or_default();
            let read = if is_tail_due && taken == 0 {
                read_tail(&self.stream, room)
            } else {
                read_now(&mut self.stream, room)
            };
            match read? {
                None => {
                    turn = Turn::Drained;
                    break;
                }
                Some(0) => return Err(End::Closed),
                Some(read) => {
                    self.heard = Instant::now();
                    self.take(scratch.get(..read).unwrap_or_default())?;
                    taken += read;
                    // A short read has emptied the socket: asking again would only cost a call.
                    if read < PUBLISHER_READ_BYTES {
                        turn = Turn::Drained;
                        break;
                    }
                    if !engine.has_buffers() {
                        break;
                    }
                }
            }
        }
        if let Some(publishing) = &mut self.publishing {
            publishing.pace.note(taken, &self.stream)?;
        }
        Ok(turn)
    }

    /// Feeds bytes to the session and carries out what it says.
    fn take(&mut self, mut input: &[u8]) -> Result<(), End> {
        let now = self.engine.now();
        while !self.is_refused {
            let event =
                self.session.next(&mut input).map_err(|error| End::Broken(error.to_string()))?;
            let Some(event) = event else { break };
            match (event, &mut self.publishing) {
                (Event::Publish(publish), None) => {
                    self.asked = Some(Asked::from(publish));
                    self.ask();
                }
                (Event::Metadata(metadata), Some(publishing)) => {
                    if metadata.has_audio {
                        publishing.channel.borrow_mut().announce_audio();
                    }
                    if !metadata.encoder.is_empty() {
                        publishing.encoder.clone_from(&metadata.encoder);
                    }
                }
                (
                    Event::Video(Fragment { timestamp_ms, message_bytes, offset, bytes }),
                    Some(publishing),
                ) => {
                    let fragment = VideoFragment { timestamp_ms, message_bytes, offset, bytes };
                    let taken = publishing.channel.borrow_mut().video(
                        publishing.id,
                        fragment,
                        &mut self.engine.pool(),
                        now,
                    );
                    if let Err(unsupported) = taken {
                        self.refuse_media(&unsupported.to_string());
                    }
                }
                (Event::Audio { timestamp_ms, payload }, Some(publishing)) => {
                    let mut channel = publishing.channel.borrow_mut();
                    channel.audio(
                        publishing.id,
                        timestamp_ms,
                        payload,
                        &mut self.engine.pool(),
                        now,
                    );
                }
                // Also before its ring was open: it is not to have the channel when that is.
                (Event::End, _) => return Err(End::Unpublished),
                _ => {}
            }
        }
        self.tell();
        if let Some(publishing) = &self.publishing {
            self.engine.dispatch(&publishing.channel);
        }
        Ok(())
    }

    /// Logs what there is to say of the stream: once what it is, and each trouble with it once.
    fn tell(&mut self) {
        let Some(Publishing { channel, encoder, is_told, .. }) = &mut self.publishing else {
            return;
        };
        let (peer, now) = (self.peer, self.engine.now().mono);
        let mut channel = channel.borrow_mut();
        while let Some(notice) = channel.notice() {
            if self.engine.peer_log.takes(Who::Publisher, now) {
                tracing::warn!(%peer, channel = channel.name(), encoder, "{notice}");
            }
        }
        if !*is_told && let Some(stat) = channel.stat().filter(|stat| stat.counts.video_frames > 0)
        {
            *is_told = true;
            if self.engine.peer_log.takes(Who::Publisher, now) {
                tracing::info!(%peer, channel = channel.name(), encoder, "recording {stat}");
            }
        }
    }

    /// Asks for what the encoder asked for, and answers it, unless it is to be asked for again.
    fn ask(&mut self) {
        let Some(asked) = &self.asked else { return };
        let (peer, now, log) = (self.peer, self.engine.now().mono, &self.engine.peer_log);
        match self.engine.publish(&asked.publish(), peer) {
            Ok((channel, id)) => {
                self.session.accept_publish();
                self.place.set(Use::Busy);
                let encoder = asked.encoder.clone();
                if log.takes(Who::Publisher, now) {
                    tracing::info!(%peer, channel = channel.borrow().name(), encoder, "publishing");
                }
                let pace = ReadPace::new(channel.borrow().config.low_latency.is_some());
                self.publishing = Some(Publishing { channel, id, pace, encoder, is_told: false });
            }
            Err(NotAdmitted::NotYet) => return,
            Err(NotAdmitted::Refused(refused)) => {
                if log.takes(Who::Stranger, now) {
                    let channel = publish::asked_for(&asked.publish(), &self.engine.config());
                    tracing::warn!(%peer, channel, encoder = asked.encoder, "publish refused: {}", refused.advice);
                }
                self.session.refuse_publish(refused.kind, &refused.description);
                self.is_refused = true;
            }
        }
        self.asked = None;
    }

    /// Tells an encoder that what it sends cannot be recorded.
    fn refuse_media(&mut self, why: &str) {
        if let Some(Publishing { channel, encoder, .. }) = &self.publishing
            && self.engine.peer_log.takes(Who::Publisher, self.engine.now().mono)
        {
            let channel = channel.borrow().name();
            tracing::warn!(peer = %self.peer, channel, encoder, "publisher refused: {why}");
        }
        self.session.refuse_publish(PublishRefusal::Rejected, why);
        self.is_refused = true;
    }

    /// Writes what waits for the peer, as far as it goes: a camera that never reads its acknowledgements still records.
    /// Only a reason for a refusal is waited for.
    ///
    /// Cancel-safe: what was written is off the output before the next wait.
    async fn flush(&mut self) -> Result<(), End> {
        while !self.session.output().is_empty() {
            match self.stream.try_write(self.session.output()) {
                Ok(written) => self.session.consume_output(written),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                Err(_) if !self.is_refused => break,
                Err(_) => {
                    let writable = timeout(LINGER_TIME, self.stream.writable()).await;
                    writable.map_err(|_| End::Refused)??;
                }
            }
        }
        Ok(())
    }

    /// Not cancel-safe: dropped before its first turn it leaves the channel taken.
    async fn leave(mut self, end: End) {
        if matches!(end, End::Unpublished) {
            let _ = self.flush().await;
        }
        self.place.set(Use::Idle);
        match self.publishing.take() {
            Some(publishing) => self.leave_channel(publishing, &end),
            None if end.is_told_of_strangers()
                && self.engine.peer_log.takes(Who::Stranger, self.engine.now().mono) =>
            {
                end.tell_of_stranger(self.peer);
            }
            None => {}
        }
        if matches!(end, End::Refused | End::Unpublished) {
            // Closing with unread bytes would reset the connection: the encoder would lose the reason, or take its own
            // goodbye for a failure.
            tokio::select! {
                _ = timeout(LINGER_TIME, Self::drain(&self.stream, &self.engine)) => {}
                () = self.place.lost() => {}
            }
        }
    }

    /// Frees the channel, and logs what came over the connection and why it ended.
    fn leave_channel(&self, Publishing { channel, id, encoder, .. }: Publishing, end: &End) {
        let now = self.engine.now();
        // Of a channel that went to somebody else, the figures are that one's.
        let came = channel.borrow().stat().unwrap_or_default().counts;
        let is_clean = matches!(end, End::Unpublished);
        channel.borrow_mut().unpublish(id, is_clean, &mut self.engine.pool(), now);
        self.engine.dispatch(&channel);
        if self.engine.peer_log.takes(Who::Publisher, now.mono) {
            end.tell_of_publisher(self.peer, &channel.borrow(), &encoder, &came);
        }
    }

    /// Cancel-safe: what it reads nobody wants.
    async fn drain(stream: &TcpStream, engine: &Engine) {
        loop {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut engine.scratch()) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }
}
