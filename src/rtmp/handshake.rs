//! C0, C1, C2 → S0, S1, S2. Source: RTMP 1.0 §5.2.
//!
//! `rml_rtmp` speaks both handshakes, the plain one and the digest one that Adobe's encoders want (and draws the random
//! filler itself). It keeps all that it is given, so it is given one packet's bytes at a time.

use rml_rtmp::handshake::{Handshake as Exchange, HandshakeProcessResult, PeerType};

use super::{Error, reply::Replies};

/// Unencrypted RTMP, the only version there is (RTMP 1.0 §5.2.2).
const VERSION: u8 = 3;

/// Where C0, C1 and C2 end, counted from the connection's first byte.
const PACKET_ENDS: [usize; 3] = [1, 1 + 1536, HANDSHAKE_BYTES];

/// Bytes that a client sends before its first chunk.
pub(super) const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;

/// The server's side of a handshake under way.
#[derive(Default)]
pub(super) struct Handshake {
    /// Made when the first byte comes: a connection that says nothing costs nothing.
    exchange: Option<Box<Exchange>>,
    received: usize,
}

impl Handshake {
    /// Takes bytes from the front of `input`; `true`: the handshake is over, what is left are chunks.
    pub(super) fn next(&mut self, input: &mut &[u8], replies: &mut Replies) -> Result<bool, Error> {
        for end in PACKET_ENDS {
            let wanted = end.saturating_sub(self.received);
            let (taken, rest) = input.split_at(wanted.min(input.len()));
            let Some(first) = taken.first() else { continue };
            if self.exchange.is_none() && *first != VERSION {
                return Err(Error::Version(*first));
            }
            let exchange =
                self.exchange.get_or_insert_with(|| Box::new(Exchange::new(PeerType::Server)));
            let (HandshakeProcessResult::InProgress { response_bytes }
            | HandshakeProcessResult::Completed { response_bytes, .. }) =
                exchange.process_bytes(taken)?;
            replies.send(&response_bytes);
            self.received += taken.len();
            *input = rest;
        }
        Ok(self.received == HANDSHAKE_BYTES)
    }
}
