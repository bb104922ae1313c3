//! What one chunk stream remembers between its chunks: its last message header, and the message under way.
//!
//! Chunks of type 1 to 3 leave out what stays as it was, and a message's chunks may stand between those of others, so
//! that each chunk stream has a state of its own. Source: RTMP 1.0 §5.3.1 (headers), §5.4 and §7.1 (message types).

use super::header::MessageHeader;
use crate::limits::SMALL_MESSAGE_BYTES_MAX;

/// What one chunk stream remembers: its last message header, and the message under way.
#[derive(Default)]
pub(super) struct ChunkStream {
    pub(super) id: u32,
    pub(super) header: MessageHeader,
    /// Time of its last message in milliseconds, modulo 2^32.
    pub(super) timestamp_ms: u32,
    /// Bytes of the message under way that have come.
    pub(super) received: u32,
    pub(super) body: Body,
}

impl ChunkStream {
    /// Begins the message of a chunk of type `format`. `None`: it is longer than one that has to be understood may be.
    pub(super) fn begin_message(&mut self, format: u8, header: MessageHeader) -> Option<()> {
        self.header = header;
        self.timestamp_ms = match format {
            0 => self.header.timestamp_field,
            // The delta after a type 0 chunk is that chunk's timestamp (RTMP 1.0 §5.3.1.2.4).
            _ => self.timestamp_ms.wrapping_add(self.header.timestamp_field),
        };
        self.received = 0;
        self.body = Body::of(self.kind(), self.header.message_bytes)?;
        Some(())
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::of(self.header.type_id)
    }

    /// Whether `first` alone is the header of a chunk that goes on with the message under way: of type 3, one byte long.
    /// (Longer ones are of ids above 63, for which the sum is no byte.)
    pub(super) fn continues_with(&self, first: u8) -> bool {
        u32::from(first) == 0xC0 + self.id
            && !self.header.is_extended
            && !matches!(self.body, Body::Idle)
    }

    pub(super) const fn holds_bytes(&self) -> bool {
        matches!(&self.body, Body::Small(gathered) if !gathered.is_empty())
    }
}

/// What becomes of the bytes of the message under way.
#[derive(Default)]
pub(super) enum Body {
    /// There is none.
    #[default]
    Idle,
    /// They are handed out as they come.
    Video,
    /// They are gathered; empty while none had to be.
    Small(Vec<u8>),
    /// They are read past.
    Skipped,
}

impl Body {
    fn of(kind: Kind, bytes: u32) -> Option<Self> {
        let is_small = bytes as usize <= SMALL_MESSAGE_BYTES_MAX;
        match kind {
            _ if bytes == 0 => Some(Self::Idle),
            Kind::Video => Some(Self::Video),
            Kind::Other => Some(Self::Skipped),
            _ if is_small => Some(Self::Small(Vec::new())),
            // An encoder may embed what it likes beside its media. A command or control message must be understood.
            Kind::Audio | Kind::Data => Some(Self::Skipped),
            _ => None,
        }
    }
}

/// Message types that matter to a publisher (RTMP 1.0 §5.4 and §7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    SetChunkSize,
    Abort,
    UserControl,
    WindowAckSize,
    Audio,
    Video,
    Data,
    Command,
    /// Acknowledgements, peer bandwidth, shared objects, aggregates, and what nobody has defined.
    Other,
}

impl Kind {
    pub(super) fn of(type_id: u8) -> Self {
        match type_id {
            1 => Self::SetChunkSize,
            2 => Self::Abort,
            4 => Self::UserControl,
            5 => Self::WindowAckSize,
            8 => Self::Audio,
            9 => Self::Video,
            15 | 18 => Self::Data,
            17 | 20 => Self::Command,
            _ => Self::Other,
        }
    }
}
