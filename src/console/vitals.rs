//! What the daemon counts beside its channels. The shell keeps it up.

use crate::access::Reason;

/// Since the daemon started.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// Memory that is resident, in bytes; 0: not known.
    pub resident_bytes: u64,
    /// The most that was, in bytes; 0: not known.
    pub resident_bytes_max: u64,
    /// HTTP connections.
    pub http_connections: usize,
    /// RTMP connections.
    pub rtmp_connections: usize,
    /// HTTP responses by the first digit of their status, from 1xx on.
    pub responses: [u64; 5],
    /// Bytes sent over HTTP, heads among them.
    pub sent_bytes: u64,
    /// HTTP requests that the gate refused, by [`Reason::index`].
    pub requests_refused: [u64; Reason::ALL.len()],
    /// Publishers that the gate refused, by [`Reason::index`].
    pub publishers_refused: [u64; Reason::ALL.len()],
    /// Publishers that were refused for what the gate does not look at: no such channel, busy, disabled, not ready, too many.
    pub publishers_not_admitted: u64,
}

impl Vitals {
    /// A request was answered.
    pub fn answered(&mut self, status: u16, refused: Option<Reason>) {
        if let Some(count) = self.responses.get_mut(usize::from(status / 100).wrapping_sub(1)) {
            *count += 1;
        }
        count(&mut self.requests_refused, refused);
    }

    /// A publisher was refused. `None`: not by the gate.
    pub fn publisher_refused(&mut self, reason: Option<Reason>) {
        count(&mut self.publishers_refused, reason);
        self.publishers_not_admitted += u64::from(reason.is_none());
    }
}

fn count(counts: &mut [u64], reason: Option<Reason>) {
    if let Some(count) = reason.and_then(|reason| counts.get_mut(reason.index())) {
        *count += 1;
    }
}
