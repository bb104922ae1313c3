//! One HTTP connection: socket ↔ [`respond`](crate::respond).
//!
//! An idle connection owns no buffer: it reads into one that all share, and only a request that arrives in pieces is
//! kept. What it does when it is not idle is boxed, so that its state is small while it is. A body is read only of a call that takes one and was let in. Segments go from the page cache to the socket slice by slice, under a lease:
//! when the ring gives the segment up, the connection is reset, so that nobody gets other bytes for it. They are copied, because `sendfile` is not:
//! a socket whose reader is slow would hold pages of the ring's file until they are others. Every wait has a deadline.

use std::{io, net::SocketAddr, os::unix::fs::FileExt as _, rc::Rc, time::Duration};

use rustix::net::sockopt::{set_socket_linger, set_socket_send_buffer_size};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    access::Origin,
    channel::{SharedChannel, recorder::Piece},
    http::{
        error,
        request::{self, BodyLength},
        response::{Body, Response},
    },
    limits::{
        HTTP_ANSWERS_PER_TURN_MAX, HTTP_BODY_MS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_MS_MAX,
        HTTP_IDLE_MS_MAX, HTTP_LINGER_MS_MAX, HTTP_SEND_BUFFER_BYTES, HTTP_STALL_MS_MAX,
        LINGER_READS_MAX, SEND_SLICE_BYTES,
    },
    respond::{Change, Reply},
    shell::{
        engine::Engine,
        places::{Place, Use},
        quota::Share,
        ring_file, rtmp_conn,
    },
    store::geometry::Extent,
};

const HEAD_TIME: Duration = Duration::from_millis(HTTP_HEAD_MS_MAX);
const BODY_TIME: Duration = Duration::from_millis(HTTP_BODY_MS_MAX);
const IDLE_TIME: Duration = Duration::from_millis(HTTP_IDLE_MS_MAX);
const LINGER_TIME: Duration = Duration::from_millis(HTTP_LINGER_MS_MAX);
const STALL_TIME: Duration = Duration::from_millis(HTTP_STALL_MS_MAX);

/// Leave to send a body (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// First byte of an RTMP connection (RTMP 1.0 §5.2.2: its version). No HTTP method starts with it.
const RTMP_VERSION: u8 = 3;

/// Serves `stream` until it ends. Its first byte tells HTTP from RTMP.
///
/// Not cancel-safe: a response that was begun is finished, or its connection closed.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, engine: Rc<Engine>) {
    let Some(place) = engine.enter_http(peer.ip()) else {
        let response = Response::new(503, Body::Static(b"All viewer connections are in use.\n"))
            .with("Retry-After", 5);
        let told = Box::pin(send(&stream, &engine, response, false));
        let _ = timeout(Duration::from_secs(1), told).await;
        return;
    };
    // Where it cannot be set, the system's own bound holds.
    let _ = set_socket_send_buffer_size(&stream, HTTP_SEND_BUFFER_BYTES);
    let local = stream.local_addr().map_or(peer, |local| local).ip();
    let origin = Origin { peer: peer.ip(), local };
    let mut connection = Connection {
        stream,
        origin,
        engine,
        place,
        unread: Vec::new(),
        awaited_bytes: None,
        waits_until: None,
        held: None,
    };
    match connection.run().await {
        Ok(End::Closed) => {}
        Ok(End::Rtmp) => {
            let Connection { stream, engine, place, unread, .. } = connection;
            drop(place);
            Box::pin(rtmp_conn::serve(stream, peer, engine, &unread)).await;
        }
        Err(error) => tracing::debug!(%peer, %error, "a viewer's connection ended"),
    }
}

struct Connection {
    stream: TcpStream,
    origin: Origin,
    engine: Rc<Engine>,
    /// Idle while it waits for its client.
    place: Place,
    /// What has arrived of a request that is not complete. Empty and without memory while the connection idles.
    unread: Vec<u8>,
    /// How long the request is of which the head has been read and the body has not.
    awaited_bytes: Option<usize>,
    /// Until when it waits for what is not there yet.
    waits_until: Option<Instant>,
    /// Its place among the connections that hold one.
    held: Option<Share>,
}

enum End {
    Closed,
    Rtmp,
}

/// What came of looking at the bytes that are there.
enum Turn {
    Wait,
    /// The request's body has to be read first; its client may wait for leave to send it.
    Body {
        is_leave_awaited: bool,
    },
    Answer(Response, KeepAlive),
    Change(Box<Change>, KeepAlive),
    /// What is asked for is not there yet: this channel has it, in so many milliseconds at most.
    Later(u32, u64),
    Closed,
    Rtmp,
}

type KeepAlive = bool;

impl Connection {
    /// Not cancel-safe: an answer that was begun would end in its middle.
    async fn run(&mut self) -> io::Result<End> {
        let mut deadline = Instant::now() + HEAD_TIME;
        let mut answers = 0;
        loop {
            if answers == HTTP_ANSWERS_PER_TURN_MAX {
                answers = 0;
                tokio::task::yield_now().await;
            }
            match self.turn()? {
                Turn::Wait => {
                    answers = 0;
                    if self.unread.is_empty() {
                        self.held = None;
                    } else if self.held.is_none() {
                        deadline = Instant::now() + HEAD_TIME;
                        self.held = self.engine.take_head_share();
                        if self.held.is_none() {
                            return Box::pin(self.turn_away()).await;
                        }
                    }
                    self.place.set(Use::Idle);
                    tokio::select! {
                        readable = timeout_at(deadline, self.stream.readable()) => match readable {
                            Ok(readable) => readable?,
                            Err(_) => return Ok(End::Closed),
                        },
                        () = self.place.lost() => return Ok(End::Closed),
                    }
                    self.place.set(Use::Busy);
                }
                Turn::Body { is_leave_awaited } => {
                    deadline = Instant::now() + BODY_TIME;
                    self.held = self.engine.take_body_share();
                    if self.held.is_none() {
                        return Box::pin(self.turn_away()).await;
                    }
                    if is_leave_awaited {
                        Box::pin(write_all(&self.stream, &self.engine, CONTINUE)).await?;
                    }
                }
                Turn::Answer(response, keep_alive) => {
                    if !Box::pin(self.answer_with(response, keep_alive)).await? {
                        return Ok(End::Closed);
                    }
                    deadline = Instant::now() + IDLE_TIME;
                    answers += 1;
                }
                Turn::Change(change, keep_alive) => {
                    let response = Box::pin(self.engine.change(*change)).await;
                    if !Box::pin(self.answer_with(response, keep_alive)).await? {
                        return Ok(End::Closed);
                    }
                    deadline = Instant::now() + IDLE_TIME;
                    answers += 1;
                }
                Turn::Later(channel, wait_ms) => {
                    let until = Instant::now() + Duration::from_millis(wait_ms);
                    let until = *self.waits_until.get_or_insert(until);
                    // The request is kept, to be answered anew. It is whole.
                    self.held = None;
                    let Some(_held) = self.engine.hold_text(self.unread.capacity()) else {
                        return self.turn_away().await;
                    };
                    let news = self.engine.news.of(channel);
                    self.place.set(Use::Sending);
                    tokio::select! {
                        _ = timeout_at(until, news.listed.notified()) => {}
                        () = self.place.lost() => return Ok(End::Closed),
                    }
                    self.place.set(Use::Busy);
                }
                Turn::Closed => return Ok(End::Closed),
                Turn::Rtmp => return Ok(End::Rtmp),
            }
        }
    }

    /// Sends an answer. Whether the connection goes on.
    ///
    /// Not cancel-safe: how much was sent is forgotten.
    async fn answer_with(&mut self, response: Response, keep_alive: KeepAlive) -> io::Result<bool> {
        // The requests behind this one wait as long as its reader lets it.
        let Some(_held) = self.engine.hold_text(self.unread.capacity()) else {
            return Err(too_much_text());
        };
        self.place.set(Use::Sending);
        let answered = async {
            send(&self.stream, &self.engine, response, keep_alive).await?;
            if !keep_alive {
                linger(&self.stream, &self.engine).await;
            }
            Ok(keep_alive)
        };
        let keep_alive = tokio::select! {
            answered = answered => answered,
            () = self.place.lost() => {
                reset(&self.stream);
                Err(io::Error::other("its place was needed for somebody who has fewer"))
            }
        };
        self.place.set(Use::Busy);
        // What came behind the request has its own time, and needs its own share.
        self.held = None;
        keep_alive
    }

    /// There is no room to hold this request. Not cancel-safe, as `answer_with`.
    async fn turn_away(&mut self) -> io::Result<End> {
        let busy = error::busy(
            "Too many requests are half received, or wait for a part.",
            self.engine.next_request_id(),
        );
        self.answer_with(busy, false).await?;
        Ok(End::Closed)
    }

    /// Reads what has arrived and answers if it is a whole request. Does not wait.
    fn turn(&mut self) -> io::Result<Turn> {
        // A request that came behind the one just answered is served before the socket is looked at.
        if let Some(turn) = self.answer_unread() {
            return Ok(turn);
        }
        let engine = Rc::clone(&self.engine);
        let mut scratch = engine.scratch();
        let room =
            self.awaited_bytes.unwrap_or(HTTP_HEAD_BYTES_MAX).saturating_sub(self.unread.len());
        let room = room.min(scratch.len());
        let arrived = match self.stream.try_read(scratch.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return Ok(Turn::Closed),
            Ok(n) => scratch.get(..n).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turn::Wait),
            Err(error) => return Err(error),
        };
        if self.unread.is_empty() {
            if arrived.first() == Some(&RTMP_VERSION) {
                self.unread.extend_from_slice(arrived);
                return Ok(Turn::Rtmp);
            }
            let (turn, used) = self.answer(arrived);
            self.unread.extend_from_slice(arrived.get(used..).unwrap_or_default());
            return Ok(turn.unwrap_or(Turn::Wait));
        }
        self.unread.extend_from_slice(arrived);
        Ok(self.answer_unread().unwrap_or(Turn::Wait))
    }

    fn answer_unread(&mut self) -> Option<Turn> {
        if self.unread.is_empty() || self.awaited_bytes.is_some_and(|all| self.unread.len() < all) {
            return None;
        }
        let mut unread = std::mem::take(&mut self.unread);
        let (turn, used) = self.answer(&unread);
        if used == unread.len() {
            // Nothing is kept for an idle connection, not even room.
            return turn;
        }
        unread.drain(..used);
        self.unread = unread;
        turn
    }

    /// Answers the request at the start of `bytes`, if it is whole, and says how many bytes it took.
    fn answer(&mut self, bytes: &[u8]) -> (Option<Turn>, usize) {
        let refused = |response| (Some(Turn::Answer(response, false)), bytes.len());
        let (request, head_bytes) = match request::parse(bytes) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return (None, 0),
            Err(error) => return refused(error::malformed(&error, self.engine.next_request_id())),
        };
        let all_bytes = self.awaited_bytes.take();
        let body = all_bytes.and_then(|all| bytes.get(head_bytes..all));
        // A body that is not wanted is not read, and what follows it is not looked for.
        let is_read = body.is_some() || request.body == BodyLength::Known(0);
        let keep_alive = request.keep_alive && is_read;
        let used = if keep_alive { all_bytes.unwrap_or(head_bytes) } else { bytes.len() };
        let may_wait = self.waits_until.is_none_or(|until| Instant::now() < until);
        let reply = self.engine.respond(&request, body, self.origin, may_wait);
        if !matches!(reply, Reply::Later(..)) {
            self.waits_until = None;
        }
        match reply {
            Reply::Later(channel, wait_ms) => (Some(Turn::Later(channel, wait_ms)), 0),
            Reply::Answer(response) => (Some(Turn::Answer(response, keep_alive)), used),
            Reply::Change(change) => (Some(Turn::Change(change, keep_alive)), used),
            Reply::Body(body_bytes) => {
                let all = head_bytes + body_bytes;
                self.awaited_bytes = Some(all);
                let expects = request.headers.first("expect").unwrap_or_default();
                let is_leave_awaited =
                    expects.eq_ignore_ascii_case("100-continue") && bytes.len() < all;
                (Some(Turn::Body { is_leave_awaited }), 0)
            }
        }
    }
}

/// Closes the sending side and reads past what still comes, for a moment: closing with unread bytes would reset the
/// connection, and the client could lose the answer (RFC 9112 §9.6).
///
/// Cancel-safe: what it reads nobody wants.
async fn linger(stream: &TcpStream, engine: &Engine) {
    let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Write);
    let drained = async {
        for _ in 0..LINGER_READS_MAX {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut engine.scratch()) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    let _ = timeout(LINGER_TIME, drained).await;
}

/// Sends a whole response.
///
/// Not cancel-safe: how much was sent is forgotten, so who drops it resets or closes the connection.
async fn send(
    stream: &TcpStream,
    engine: &Engine,
    response: Response,
    keep_alive: KeepAlive,
) -> io::Result<()> {
    engine.count_response(&response);
    let mut head = String::with_capacity(512);
    response.write_head(engine.now().wall.as_secs(), keep_alive, &mut head);
    let mut head = head.into_bytes();
    let text_bytes = match &response.body {
        Body::Made(_) | Body::Shared(_) => {
            head.len() + usize::try_from(response.body.bytes()).unwrap_or(usize::MAX)
        }
        _ => head.len(),
    };
    let Some(_held) = engine.hold_text(text_bytes) else {
        return Err(too_much_text());
    };
    if response.is_head_only {
        return write_all(stream, engine, &head).await;
    }
    match response.body {
        Body::Empty => write_all(stream, engine, &head).await,
        Body::Made(body) => {
            head.reserve_exact(body.len());
            head.extend_from_slice(&body);
            // Only the copy is counted as held.
            drop(body);
            write_all(stream, engine, &head).await
        }
        Body::Shared(body) => {
            head.reserve_exact(body.len());
            head.extend_from_slice(&body);
            write_all(stream, engine, &head).await
        }
        Body::Static(body) => {
            write_all(stream, engine, &head).await?;
            write_all(stream, engine, body).await
        }
        Body::Segment { channel, sequence, first, bytes } => {
            send_segment(stream, engine, &head, &channel, sequence, first, bytes).await
        }
    }
}

fn too_much_text() -> io::Error {
    io::Error::other("too much text waits for viewers that do not read")
}

/// Not cancel-safe: how much was written is forgotten.
async fn write_all(stream: &TcpStream, engine: &Engine, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => {
                engine.count_sent(written as u64);
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout(STALL_TIME, stream.writable())
                    .await
                    .map_err(|_| io::ErrorKind::TimedOut)??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a segment's bytes, or resets the connection when the ring gives the segment up before the viewer has them.
///
/// Not cancel-safe, as `send`.
async fn send_segment(
    stream: &TcpStream,
    engine: &Engine,
    head: &[u8],
    channel: &SharedChannel,
    sequence: u64,
    mut first: u64,
    mut left: u64,
) -> io::Result<()> {
    // Before the head goes out: a segment that turns out to be damaged gets no 200.
    if !engine.warm(channel, sequence).await {
        reset(stream);
        return Err(io::Error::other("the segment could not be read from flash"));
    }
    write_all(stream, engine, head).await?;
    // Where the page cache had let go of it, it is read anew once: one that does not stay would be read for each slice.
    let mut was_cold = false;
    while left > 0 {
        if !engine.warm(channel, sequence).await {
            reset(stream);
            return Err(io::Error::other("the segment could not be read from flash"));
        }
        match send_piece(stream, engine, channel, sequence, first, left, was_cold) {
            Ok(Sent::Bytes(0)) => {
                reset(stream);
                return Err(io::Error::other("the ring file is shorter than it was"));
            }
            Ok(Sent::Bytes(sent)) => {
                engine.count_sent(sent);
                first += sent;
                left -= sent;
                tokio::task::yield_now().await;
            }
            Ok(Sent::Gone) => {
                reset(stream);
                return Err(io::Error::other(
                    "the viewer was too slow: the ring needed the segment's room",
                ));
            }
            Ok(Sent::Cold) => {
                was_cold = true;
                channel.borrow_mut().cooled(sequence);
            }
            Ok(Sent::Underway) => {
                let news = engine.news.of(channel.borrow().id);
                timeout(STALL_TIME, news.written.notified())
                    .await
                    .map_err(|_| io::ErrorKind::TimedOut)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::select! {
                    ready = timeout(STALL_TIME, stream.writable()) => ready.map_err(|_| io::ErrorKind::TimedOut)??,
                    // Round again: the slice will not be there any more if it was ours that went.
                    () = engine.retired.notified() => {}
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What became of the next bytes of a segment.
enum Sent {
    /// So many are in the socket.
    Bytes(u64),
    /// They are on their way to the file, out of reach for a moment.
    Underway,
    /// They are on the card alone.
    Cold,
    /// There are none any more.
    Gone,
}

/// Sends what the socket takes of a segment's next bytes, from where they are. Does not wait, not for the card either unless it may.
fn send_piece(
    stream: &TcpStream,
    engine: &Engine,
    channel: &SharedChannel,
    sequence: u64,
    first: u64,
    left: u64,
    may_wait: bool,
) -> io::Result<Sent> {
    let channel = channel.borrow();
    let sent = match channel.piece(sequence, first, left.min(SEND_SLICE_BYTES as u64)) {
        Piece::Gone => return Ok(Sent::Gone),
        Piece::Underway => return Ok(Sent::Underway),
        Piece::Held(bytes) => stream.try_write(bytes)?,
        Piece::File(Extent { offset, bytes }) => {
            let Some(file) = engine.file(channel.id) else { return Ok(Sent::Gone) };
            let mut scratch = engine.scratch();
            let bytes = usize::try_from(bytes).unwrap_or(SEND_SLICE_BYTES).min(scratch.len());
            let into = scratch.get_mut(..bytes).unwrap_or_default();
            let read = if may_wait {
                file.read_at(into, offset)?
            } else {
                let Some(read) = ring_file::read_cached(&file, offset, into)? else {
                    return Ok(Sent::Cold);
                };
                read
            };
            stream.try_write(scratch.get(..read).unwrap_or_default())?
        }
    };
    Ok(Sent::Bytes(sent as u64))
}

/// Makes closing the connection drop what its socket still holds: the rest of it would not come.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}
