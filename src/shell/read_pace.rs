//! How many bytes a publisher's socket has to hold before the engine is woken to read them.
//!
//! A camera sends in pieces of a packet or two. To be woken for each costs more than all that is done with it, so
//! the kernel is told (`SO_RCVLOWAT`) to wait for as much as comes in [`READ_PACE_MS`]. A key frame is larger than that,
//! so a segment is still cut when its first bytes arrive; what stays below the mark is fetched by the clock.

use std::{
    io,
    os::fd::AsRawFd as _,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rustix::{io::Errno, net::RecvFlags};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use crate::limits::{READ_LOW_BYTES_MAX, READ_PACE_LOW_LATENCY_MS, READ_PACE_MS};

/// How often the mark is set anew.
const PERIOD: Duration = Duration::from_secs(1);

/// The mark of one socket.
#[derive(Debug)]
pub(super) struct ReadPace {
    since: Instant,
    bytes: usize,
    low_bytes: usize,
    pace_ms: usize,
}

impl ReadPace {
    /// `is_low_latency`: viewers wait for each picture.
    pub(super) fn new(is_low_latency: bool) -> Self {
        let pace_ms = if is_low_latency { READ_PACE_LOW_LATENCY_MS } else { READ_PACE_MS };
        Self { since: Instant::now(), bytes: 0, low_bytes: 1, pace_ms }
    }

    /// How long what stays below the mark may wait.
    pub(super) const fn tail_time(&self) -> Duration {
        Duration::from_millis(2 * self.pace_ms as u64)
    }

    /// So many bytes were read.
    pub(super) fn note(&mut self, bytes: usize, stream: &TcpStream) -> io::Result<()> {
        self.bytes += bytes;
        let period = self.since.elapsed();
        if period < PERIOD {
            return Ok(());
        }
        let low_bytes = low_bytes(self.bytes, period, self.pace_ms);
        (self.since, self.bytes) = (Instant::now(), 0);
        // Small changes are not worth a call.
        if low_bytes.abs_diff(self.low_bytes) > self.low_bytes / 4 {
            set_low_water_mark(stream, low_bytes)?;
            self.low_bytes = low_bytes;
        }
        Ok(())
    }
}

/// The mark for a sender of `bytes` in `period`.
fn low_bytes(bytes: usize, period: Duration, pace_ms: usize) -> usize {
    let ms = usize::try_from(period.as_millis()).unwrap_or(usize::MAX).max(1);
    (bytes.saturating_mul(pace_ms) / ms).clamp(1, READ_LOW_BYTES_MAX)
}

/// Reads what is there into `room`. `None`: nothing is.
///
/// Unlike `try_read` it notes that a short read has emptied the socket, which spares a call that would find nothing.
pub(super) fn read_now(stream: &mut TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
    let mut buffer = ReadBuf::new(room);
    // Nobody is to be woken by this: whoever reads waits for the socket to be readable again.
    match Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
        Poll::Ready(Ok(())) => Ok(Some(buffer.filled().len())),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Ok(None),
    }
}

/// Reads what is there into `room`, however little: below the low-water mark tokio hears of nothing. `None`: nothing is.
pub(super) fn read_tail(stream: &TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::net::recv(stream, room, RecvFlags::DONTWAIT) {
        Ok((read, _)) => Ok(Some(read)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets `SO_RCVLOWAT` (socket(7)).
#[allow(unsafe_code, reason = "no safe wrapper of this socket option is to be had")]
fn set_low_water_mark(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the kernel reads exactly the
    // `c_int` that it is shown.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size_of_val(&value).try_into().unwrap_or_default(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_what_comes_in_one_pace_and_fits_one_read() {
        let second = Duration::from_secs(1);
        assert_eq!(low_bytes(0, second, 80), 1);
        assert_eq!(low_bytes(100_000, second, 80), 8_000);
        assert_eq!(low_bytes(100_000_000, second, 80), READ_LOW_BYTES_MAX);
        assert_eq!(low_bytes(5, Duration::ZERO, 80), 400);
    }
}
