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
    publish::NotAdmitted,
    rtmp::{Event, Fragment, Publish, PublishRefusal, Session},
    shell::engine::Engine,
};

const SETUP_TIME: Duration = Duration::from_millis(RTMP_SETUP_MS_MAX);
const IDLE_TIME: Duration = Duration::from_millis(RTMP_IDLE_MS_MAX);
const FLASH_WAIT_TIME: Duration = Duration::from_millis(FLASH_WAIT_MS_MAX);
const LINGER_TIME: Duration = Duration::from_millis(RTMP_LINGER_MS_MAX);

/// Serves `stream`, of which `early` has been read already, until it ends.
///
/// Not cancel-safe: a publisher's segment is sealed on the way out.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, engine: Rc<Engine>, early: &[u8]) {
    let Some(_seat) = engine.take_rtmp_seat() else {
        tracing::warn!(%peer, "RTMP connection refused: all are in use; raise limits.publishers if that many cameras publish");
        return;
    };
    let mut connection = Connection {
        stream,
        peer,
        engine,
        session: Box::new(Session::new()),
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
    session: Box<Session>,
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
    encoder: String,
}

/// Why a connection is over.
enum End {
    /// The encoder said so.
    Unpublished,
    /// The encoder closed without a word.
    Closed,
    /// It sent nothing for [`RTMP_IDLE_MS_MAX`].
    Silent,
    /// It took longer than [`RTMP_SETUP_MS_MAX`] to publish.
    NeverPublished,
    /// It was refused and has been told.
    Refused,
    /// Another publisher took the channel, it was disabled or is gone, or the daemon stops.
    Cut,
    /// It broke the protocol, or its socket broke.
    Broken(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Connection {
    async fn run(&mut self, early: &[u8]) -> End {
        let setup_deadline = Instant::now() + SETUP_TIME;
        if let Err(end) = self.take(early) {
            return end;
        }
        loop {
            // Right after a start the rings are still being opened; a camera that is quicker waits for its own.
            while self.asked.is_some() {
                if timeout_at(setup_deadline, self.engine.ring_opened.notified()).await.is_err() {
                    return End::NeverPublished;
                }
                self.ask();
            }
            if let Err(end) = self.flush().await {
                return end;
            }
            if self.is_refused {
                return End::Refused;
            }
            let readable = match &self.publishing {
                None => match timeout_at(setup_deadline, self.stream.readable()).await {
                    Ok(readable) => readable,
                    Err(_) => return End::NeverPublished,
                },
                Some(_) => tokio::select! {
                    readable = timeout(IDLE_TIME, self.stream.readable()) => match readable {
                        Ok(readable) => readable,
                        Err(_) => return End::Silent,
                    },
                    // Somebody lost a channel. If it was this one, the bytes that come now are not taken.
                    () = self.engine.cut.notified() => Ok(()),
                },
            };
            if self.publishing.as_ref().is_some_and(|p| !p.channel.borrow().is_published_by(p.id)) {
                return End::Cut;
            }
            if let Err(error) = readable {
                return error.into();
            }
            self.wait_for_buffers().await;
            if let Err(end) = self.turn() {
                return end;
            }
            // The others have their turn, even if this one never stops sending.
            tokio::task::yield_now().await;
        }
    }

    /// Leaves a publisher's bytes in its socket while the flash is behind, for as long as that may take.
    async fn wait_for_buffers(&mut self) {
        if self.publishing.is_none() || self.engine.has_buffers() {
            self.is_losing = false;
            return;
        }
        let freed = async {
            while !self.engine.has_buffers() {
                self.engine.buffer_freed.notified().await;
            }
        };
        if !self.is_losing && timeout(FLASH_WAIT_TIME, freed).await.is_err() {
            tracing::warn!(peer = %self.peer, "the flash is too slow: a segment is lost");
            self.is_losing = true;
        }
    }

    /// Takes what has arrived, up to a turn's worth. Does not wait.
    fn turn(&mut self) -> Result<(), End> {
        let engine = Rc::clone(&self.engine);
        let mut scratch = engine.scratch();
        let mut taken = 0;
        while taken < TURN_BYTES_MAX {
            match self.stream.try_read(scratch.get_mut(..PUBLISHER_READ_BYTES).unwrap_or_default())
            {
                Ok(0) => return Err(End::Closed),
                Ok(read) => {
                    self.take(scratch.get(..read).unwrap_or_default())?;
                    taken += read;
                    // A short read has emptied the socket: asking again would only cost a call.
                    if read < PUBLISHER_READ_BYTES || !engine.has_buffers() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Feeds bytes to the session and carries out what it says.
    fn take(&mut self, mut input: &[u8]) -> Result<(), End> {
        let now = self.engine.now();
        while !self.is_refused {
            let event =
                self.session.next(&mut input).map_err(|error| End::Broken(error.to_string()))?;
            let Some(event) = event else { break };
            match (event, &self.publishing) {
                (Event::Publish(publish), None) => {
                    self.asked = Some(Asked::from(publish));
                    self.ask();
                }
                (Event::Metadata(metadata), Some(publishing)) if metadata.has_audio => {
                    publishing.channel.borrow_mut().announce_audio();
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
                (Event::End, Some(_)) => return Err(End::Unpublished),
                _ => {}
            }
        }
        if let Some(publishing) = &self.publishing {
            let mut channel = publishing.channel.borrow_mut();
            while let Some(notice) = channel.notice() {
                tracing::warn!(peer = %self.peer, channel = channel.name(), "{notice}");
            }
            drop(channel);
            self.engine.dispatch(&publishing.channel);
        }
        Ok(())
    }

    /// Asks for what the encoder asked for, and answers it, unless it is to be asked for again.
    fn ask(&mut self) {
        let Some(asked) = &self.asked else { return };
        let encoder = asked.encoder.clone();
        match self.engine.publish(&asked.publish(), self.peer) {
            Ok((channel, id)) => {
                self.session.accept_publish();
                tracing::info!(peer = %self.peer, channel = channel.borrow().name(), encoder, "publishing");
                self.publishing = Some(Publishing { channel, id, encoder });
            }
            Err(NotAdmitted::NotYet) => return,
            Err(NotAdmitted::Refused(refused)) => {
                tracing::warn!(peer = %self.peer, encoder, "publish refused: {}", refused.advice);
                self.session.refuse_publish(refused.kind, &refused.description);
                self.is_refused = true;
            }
        }
        self.asked = None;
    }

    /// Tells an encoder that what it sends cannot be recorded.
    fn refuse_media(&mut self, why: &str) {
        tracing::warn!(peer = %self.peer, "publisher refused: {why}");
        self.session.refuse_publish(PublishRefusal::Rejected, why);
        self.is_refused = true;
    }

    /// Writes what waits for the peer, as far as it goes: a camera that never reads its acknowledgements still records.
    /// Only a reason for a refusal is waited for.
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

    async fn leave(mut self, end: End) {
        let peer = self.peer;
        if let Some(Publishing { channel, id, encoder }) = self.publishing.take() {
            let is_clean = matches!(end, End::Unpublished);
            channel.borrow_mut().unpublish(
                id,
                is_clean,
                &mut self.engine.pool(),
                self.engine.now(),
            );
            self.engine.dispatch(&channel);
            let name = channel.borrow().name();
            match &end {
                End::Unpublished => {
                    tracing::info!(%peer, channel = name, encoder, "publishing ended")
                }
                End::Closed => {
                    tracing::info!(%peer, channel = name, encoder, "the encoder closed its connection")
                }
                End::Silent => {
                    let secs = RTMP_IDLE_MS_MAX / 1000;
                    tracing::warn!(%peer, channel = name, encoder, "nothing came for {secs} s: the channel is free again");
                }
                End::Cut => {
                    tracing::info!(%peer, channel = name, encoder, "the publisher lost its channel")
                }
                End::Broken(why) => {
                    tracing::warn!(%peer, channel = name, encoder, "publisher's connection closed: {why}")
                }
                End::Refused | End::NeverPublished => {}
            }
        } else {
            match &end {
                End::Broken(why) => tracing::info!(%peer, "RTMP connection closed: {why}"),
                End::NeverPublished => {
                    tracing::info!(%peer, "RTMP connection closed: it did not publish in time")
                }
                _ => {}
            }
        }
        if matches!(end, End::Refused | End::Unpublished) {
            // Closing with unread bytes would reset the connection: the encoder would lose the reason, or take its own
            // goodbye for a failure.
            let _ = timeout(LINGER_TIME, self.drain()).await;
        }
    }

    async fn drain(&mut self) {
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            let mut scratch = self.engine.scratch();
            match self.stream.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
