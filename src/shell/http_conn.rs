//! One HTTP connection: socket ↔ [`respond`](crate::respond).
//!
//! An idle connection owns no buffer: it reads into one that all share, and only a request that arrives in pieces is
//! kept. What it does when it is not idle is boxed, so that its state is small while it is. A body is read only of a call that takes one
//! and was let in. Every wait has a deadline. How an answer gets out is [`http_send`](super::http_send)'s matter.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    access::Origin,
    http::{
        error,
        request::{self, BodyLength},
        response::{Body, Response},
    },
    limits::{
        HTTP_ANSWERS_PER_TURN_MAX, HTTP_BODY_MS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_MS_MAX,
        HTTP_IDLE_MS_MAX, HTTP_SEND_BUFFER_BYTES,
    },
    respond::{Change, Reply},
    shell::{
        engine::Engine,
        http_send::{linger, reset, send, too_much_text, write_all},
        places::{Place, Use},
        quota::Share,
        rtmp_conn,
    },
};

const HEAD_TIME: Duration = Duration::from_millis(HTTP_HEAD_MS_MAX);
const BODY_TIME: Duration = Duration::from_millis(HTTP_BODY_MS_MAX);
const IDLE_TIME: Duration = Duration::from_millis(HTTP_IDLE_MS_MAX);

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
