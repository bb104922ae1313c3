//! A response → a socket whose reader may be slow.
//!
//! Segments go from the page cache to the socket slice by slice, under a lease: when the ring gives the segment up, the connection
//! is reset, so that nobody gets other bytes for it. They are copied, because `sendfile` is not: a socket whose reader is
//! slow would hold pages of the ring's file until they are others. Which response it is, and what comes behind it, is
//! [`http_conn`](super::http_conn)'s matter.

use std::{io, os::unix::fs::FileExt as _, time::Duration};

use rustix::net::sockopt::set_socket_linger;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    channel::{SharedChannel, recorder::Piece},
    http::response::{Body, Response},
    limits::{HTTP_LINGER_MS_MAX, HTTP_STALL_MS_MAX, LINGER_READS_MAX, SEND_SLICE_BYTES},
    shell::{engine::Engine, ring_file},
    store::geometry::Extent,
};

const LINGER_TIME: Duration = Duration::from_millis(HTTP_LINGER_MS_MAX);
const STALL_TIME: Duration = Duration::from_millis(HTTP_STALL_MS_MAX);

/// Closes the sending side and reads past what still comes, for a moment: closing with unread bytes would reset the
/// connection, and the client could lose the answer (RFC 9112 §9.6).
///
/// Cancel-safe: what it reads nobody wants.
pub(super) async fn linger(stream: &TcpStream, engine: &Engine) {
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
pub(super) async fn send(
    stream: &TcpStream,
    engine: &Engine,
    response: Response,
    keep_alive: bool,
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

/// More text waits for viewers than may (`HTTP_TEXT_BYTES_HELD_MAX`).
pub(super) fn too_much_text() -> io::Error {
    io::Error::other("too much text waits for viewers that do not read")
}

/// Sends bytes as they are, each wait for room no longer than a stall may be.
///
/// Not cancel-safe: how much was written is forgotten.
pub(super) async fn write_all(
    stream: &TcpStream,
    engine: &Engine,
    mut bytes: &[u8],
) -> io::Result<()> {
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
pub(super) fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}
