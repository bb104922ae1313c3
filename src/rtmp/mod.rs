//! Bytes of one RTMP connection → who wants to publish, and what it publishes.
//!
//! ```text
//!            handshake ──▶ chunk ──┬── commands ──▶ publish ──▶ Event::Publish, Event::End
//!   input ──▶ C0 C1 C2     reader  ├── data ──────▶ metadata ─▶ Event::Metadata
//!                                  └── media ──────────────────▶ Event::Video, Event::Audio
//!   output ◀────────────── reply ◀── answers
//! ```
//!
//! A [`Session`] is pure: it is given bytes and asked for the next event until it has none. Video is never held: it leaves
//! as slices of the input. It knows no codec and no channel; who may publish is decided above it, by
//! [`Session::accept_publish`] or [`Session::refuse_publish`].
//!
//! Nothing that a peer sends goes through `rml_rtmp` after the handshake: its reader panics on legal interleaving and on
//! short commands, recurses without limit, and buffers any length that is declared, all before anybody is
//! authenticated. Its handshake and its writers are used.
//!
//! Source: RTMP 1.0 (Adobe, December 2012).

mod address;
mod amf;
mod chunk;
mod chunk_stream;
mod handshake;
mod header;
mod metadata;
mod publish;
mod reply;

use rml_rtmp::handshake::HandshakeError;

pub use self::{address::Address, amf::AmfError, chunk::ChunkError, metadata::Metadata};
use self::{
    chunk::{Arrived, ChunkReader, Message, VideoPart},
    chunk_stream::Kind,
    handshake::{HANDSHAKE_BYTES, Handshake},
    publish::{ACK_WINDOW_BYTES, Dialogue, Outcome, State},
    reply::Replies,
};
use crate::limits::{RTMP_ACK_WINDOW_BYTES_MIN, RTMP_OUTPUT_BYTES_MAX};

/// One RTMP connection, the server's side.
pub struct Session {
    /// `None` once it is over.
    handshake: Option<Handshake>,
    chunks: ChunkReader,
    dialogue: Dialogue,
    replies: Replies,
    metadata: Metadata,
    acknowledgements: Acknowledgements,
    /// Of the video message that is arriving each part so far was handed out.
    hears_video: bool,
}

/// What a peer did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// It asks to publish. Media that come before the answer are lost; an encoder sends them behind it.
    Publish(Publish<'a>),
    /// It says what it publishes.
    Metadata(&'a Metadata),
    /// Part of a video message.
    Video(Fragment<'a>),
    /// A whole audio message (an FLV audio tag's body).
    Audio {
        /// Its time in milliseconds, modulo 2^32.
        timestamp_ms: u32,
        /// 1 to [`SMALL_MESSAGE_BYTES_MAX`](crate::limits::SMALL_MESSAGE_BYTES_MAX) bytes.
        payload: &'a [u8],
    },
    /// It has stopped publishing, and may close the connection or publish something else.
    End,
}

/// A request to publish, as it arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Publish<'a> {
    /// `app` of connect.
    pub app: &'a str,
    /// `tcUrl` of connect; empty if there is none.
    pub tc_url: &'a str,
    /// `flashVer` of connect: the encoder's name, or what it pretends to be.
    pub encoder: &'a str,
    /// The stream name, with its query.
    pub name: &'a str,
}

impl Publish<'_> {
    /// Host, path and query of what is to be published.
    pub fn address(&self) -> Address {
        Address::join(self.tc_url, self.app, self.name)
    }
}

/// Part of a video message (an FLV video tag's body), in the order of its bytes.
///
/// Parts of one message follow each other, with audio in between at most. One with `offset` 0 begins a message, even where
/// the last one is not complete: the peer has given that up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fragment<'a> {
    /// Time of the message in milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// Length of the whole message, 1 to 2^24 − 1.
    pub message_bytes: u32,
    /// Where in the message this part stands.
    pub offset: u32,
    /// At least one byte.
    pub bytes: &'a [u8],
}

/// Why a publisher is refused, in the words that encoders look for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PublishRefusal {
    /// The name is taken, or there is no such channel.
    BadName,
    /// It is not allowed to.
    Denied,
    /// It is allowed to, and what it sends cannot be recorded.
    Rejected,
}

impl PublishRefusal {
    const fn code(self) -> &'static str {
        match self {
            Self::BadName => "NetStream.Publish.BadName",
            Self::Denied => "NetStream.Publish.Denied",
            Self::Rejected => "NetStream.Publish.Rejected",
        }
    }
}

/// What ends a connection: the peer does not speak RTMP, or means harm.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// C0 asks for another version than 3.
    #[error("RTMP version {0} is not spoken here")]
    Version(u8),
    /// C1 or C2 is not understood.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// A chunk.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command's values.
    #[error(transparent)]
    Amf(#[from] AmfError),
    /// A command at a time when it means nothing.
    #[error("out of turn: {0}")]
    OutOfTurn(&'static str),
    /// A part of the address that is not there, or not UTF-8.
    #[error("no {0} in UTF-8")]
    NoText(&'static str),
    /// A part of the address longer than [`RTMP_URL_BYTES_MAX`](crate::limits::RTMP_URL_BYTES_MAX).
    #[error("{what} of {bytes} bytes is too long")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The peer does not read its answers.
    #[error("more than {RTMP_OUTPUT_BYTES_MAX} bytes of answers are unread")]
    Unread,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A connection that has said nothing yet.
    pub fn new() -> Self {
        Self {
            handshake: Some(Handshake::default()),
            chunks: ChunkReader::new(),
            dialogue: Dialogue::new(),
            replies: Replies::new(),
            metadata: Metadata::default(),
            acknowledgements: Acknowledgements::new(),
            hears_video: false,
        }
    }

    /// Takes bytes from the front of `input` and returns what they mean; `None` once they are used up.
    ///
    /// After an error the connection cannot be read on.
    pub fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Event<'a>>, Error> {
        if let Some(handshake) = &mut self.handshake {
            if !handshake.next(input, &mut self.replies)? {
                return Ok(None);
            }
            self.handshake = None;
        }
        loop {
            if self.dialogue.state() == State::Refused {
                *input = &[];
                return Ok(None);
            }
            let before = input.len();
            let arrived = self.chunks.next(input)?;
            self.acknowledgements.count(before - input.len());
            // A camera that never reads is no worse a camera: one acknowledgement waits for it, not a pile.
            if self.acknowledgements.is_due() && self.replies.waiting().is_empty() {
                self.replies.acknowledge(self.acknowledgements.acknowledge());
            }
            if self.replies.is_overfull() {
                return Err(Error::Unread);
            }
            let is_publishing = self.is_publishing();
            if let Some(Arrived::Video(part)) = &arrived {
                // The rest of a message that began before it was asked for means nothing.
                self.hears_video = is_publishing && (part.offset == 0 || self.hears_video);
            }
            match arrived {
                None => return Ok(None),
                Some(Arrived::Video(part)) if self.hears_video => {
                    let VideoPart { timestamp_ms, message_bytes, offset, bytes } = part;
                    let bytes = self.chunks.bytes(bytes);
                    return Ok(Some(Event::Video(Fragment {
                        timestamp_ms,
                        message_bytes,
                        offset,
                        bytes,
                    })));
                }
                Some(Arrived::Message(Message { kind: Kind::Audio, timestamp_ms, bytes }))
                    if is_publishing =>
                {
                    return Ok(Some(Event::Audio {
                        timestamp_ms,
                        payload: self.chunks.bytes(bytes),
                    }));
                }
                Some(Arrived::Message(Message { kind: Kind::Data, bytes, .. }))
                    if is_publishing =>
                {
                    // Metadata that cannot be read is no reason to lose the media.
                    if let Ok(Some(metadata)) =
                        Metadata::parse(without_amf3_byte(self.chunks.bytes(bytes)))
                    {
                        self.metadata = metadata;
                        return Ok(Some(Event::Metadata(&self.metadata)));
                    }
                }
                Some(Arrived::Message(Message { kind: Kind::Command, bytes, .. })) => {
                    let message = without_amf3_byte(self.chunks.bytes(bytes));
                    match self.dialogue.command(message, &mut self.replies)? {
                        Outcome::Nothing => {}
                        Outcome::Publish => {
                            return Ok(Some(Event::Publish(self.dialogue.request())));
                        }
                        Outcome::End => return Ok(Some(Event::End)),
                    }
                }
                Some(Arrived::Message(Message { kind: Kind::WindowAckSize, bytes, .. })) => {
                    if let Some(size) = self.chunks.bytes(bytes).first_chunk() {
                        self.acknowledgements.set_window(u32::from_be_bytes(*size));
                    }
                }
                Some(Arrived::Message(Message { kind: Kind::UserControl, bytes, .. })) => {
                    // Ping Request (RTMP 1.0 §7.1.7). The other events are for players.
                    if let Some([0, 6, timestamp @ ..]) =
                        self.chunks.bytes(bytes).first_chunk::<6>()
                    {
                        self.replies.pong(u32::from_be_bytes(*timestamp));
                    }
                }
                // Media before they were asked for, and messages that mean nothing to a publisher.
                Some(_) => {}
            }
        }
    }

    /// Bytes for the peer.
    pub fn output(&self) -> &[u8] {
        self.replies.waiting()
    }

    /// The peer has been sent the first `bytes` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, bytes: usize) {
        self.replies.consume(bytes);
    }

    /// Says yes to [`Event::Publish`].
    pub fn accept_publish(&mut self) {
        self.dialogue.accept(&mut self.replies);
    }

    /// Says no to [`Event::Publish`], or ends a publication that was accepted. `description` is what ffmpeg, OBS and
    /// GStreamer show. What the peer sends from here on is not heard: send the output, then close.
    pub fn refuse_publish(&mut self, refusal: PublishRefusal, description: &str) {
        self.dialogue.refuse(refusal.code(), description, &mut self.replies);
    }

    /// Whether a publication was accepted and has not ended.
    pub fn is_publishing(&self) -> bool {
        self.dialogue.state() == State::Publishing
    }
}

/// When to tell the peer how much of its bytes has arrived (RTMP 1.0 §5.4.3). Some stop sending until they are told.
struct Acknowledgements {
    /// Since the connection began, modulo 2^32.
    received_bytes: u32,
    acknowledged_bytes: u32,
    window_bytes: u32,
}

impl Acknowledgements {
    const fn new() -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "3073")]
        let received_bytes = HANDSHAKE_BYTES as u32;
        Self { received_bytes, acknowledged_bytes: 0, window_bytes: ACK_WINDOW_BYTES }
    }

    fn set_window(&mut self, bytes: u32) {
        self.window_bytes = bytes.max(RTMP_ACK_WINDOW_BYTES_MIN);
    }

    fn count(&mut self, bytes: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "the total is modulo 2^32")]
        let bytes = bytes as u32;
        self.received_bytes = self.received_bytes.wrapping_add(bytes);
    }

    /// Half a window goes by at most, so that a peer which stops at a whole one need not.
    const fn is_due(&self) -> bool {
        self.received_bytes.wrapping_sub(self.acknowledged_bytes) >= self.window_bytes / 2
    }

    /// The total to acknowledge.
    const fn acknowledge(&mut self) -> u32 {
        self.acknowledged_bytes = self.received_bytes;
        self.received_bytes
    }
}

/// Messages of the AMF3 kinds (types 15 and 17) are AMF0 behind a byte of 0, which no AMF0 command or data message starts with.
fn without_amf3_byte(message: &[u8]) -> &[u8] {
    message.strip_prefix(&[0]).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use rml_rtmp::{
        chunk_io::{ChunkDeserializer, ChunkSerializer},
        handshake::PeerType,
        messages::{RtmpMessage, UserControlEventType},
        rml_amf0::Amf0Value,
        time::RtmpTimestamp,
    };

    use super::*;

    /// A client after its handshake.
    struct Peer {
        session: Session,
        serializer: ChunkSerializer,
        reader: ChunkDeserializer,
    }

    impl Peer {
        fn new() -> Self {
            let mut client = rml_rtmp::handshake::Handshake::new(PeerType::Client);
            let mut session = Session::new();
            let hello = client.generate_outbound_p0_and_p1().unwrap();
            assert_eq!(session.next(&mut &hello[..]).unwrap(), None);
            let rml_rtmp::handshake::HandshakeProcessResult::Completed { response_bytes, .. } =
                client.process_bytes(session.output()).unwrap()
            else {
                panic!("S0, S1 and S2 were not all sent");
            };
            session.consume_output(HANDSHAKE_BYTES);
            assert_eq!(session.next(&mut &response_bytes[..]).unwrap(), None);
            Self { session, serializer: ChunkSerializer::new(), reader: ChunkDeserializer::new() }
        }

        fn publishing() -> Self {
            let mut peer = Self::new();
            peer.command("connect", vec![]);
            peer.command("publish", vec![Amf0Value::Utf8String("cam".into())]);
            peer.session.accept_publish();
            peer.answers();
            peer
        }

        fn bytes(&mut self, message: RtmpMessage) -> Vec<u8> {
            let payload = message.into_message_payload(RtmpTimestamp::new(0), 1).unwrap();
            self.serializer.serialize(&payload, false, false).unwrap().bytes
        }

        /// Sends a message to whose events nobody listens.
        fn send(&mut self, message: RtmpMessage) -> Result<(), Error> {
            let bytes = self.bytes(message);
            let mut input = &bytes[..];
            while self.session.next(&mut input)?.is_some() {}
            Ok(())
        }

        fn command(&mut self, name: &str, arguments: Vec<Amf0Value>) {
            let command = RtmpMessage::Amf0Command {
                command_name: name.into(),
                transaction_id: 0.0,
                command_object: Amf0Value::Null,
                additional_arguments: arguments,
            };
            self.send(command).unwrap();
        }

        fn answers(&mut self) -> Vec<RtmpMessage> {
            let mut messages = Vec::new();
            let mut bytes = self.session.output();
            while let Some(payload) = self.reader.get_next_message(bytes).unwrap() {
                bytes = &[];
                let message = payload.to_rtmp_message().unwrap();
                if let RtmpMessage::SetChunkSize { size } = message {
                    self.reader.set_max_chunk_size(size as usize).unwrap();
                }
                messages.push(message);
            }
            self.session.consume_output(usize::MAX);
            messages
        }
    }

    fn audio(bytes: usize) -> RtmpMessage {
        RtmpMessage::AudioData { data: vec![0xAF; bytes].into() }
    }

    #[test]
    fn a_connection_starts_with_version_3() {
        for version in [0, 6, b'G', 0x16] {
            assert!(
                matches!(Session::new().next(&mut &[version, 0][..]), Err(Error::Version(v)) if v == version)
            );
        }
        let mut session = Session::new();
        assert_eq!(session.next(&mut &[][..]).unwrap(), None);
        assert_eq!(session.output(), b"");
        assert_eq!(session.next(&mut &[3][..]).unwrap(), None);
        assert_eq!(
            session.output().len(),
            1 + 1536,
            "S0 and S1 wait for C0 only (RTMP 1.0 §5.2.1)"
        );
    }

    #[test]
    fn the_plain_handshake_is_answered_with_an_echo() {
        let c1: Vec<u8> = (0..1536_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut session = Session::new();
        for mut byte in [&[3][..], &c1].concat().chunks(1) {
            assert_eq!(session.next(&mut byte).unwrap(), None);
        }
        assert_eq!(session.output().len(), 1 + 2 * 1536);
        assert_eq!(session.output()[1537..], c1);
    }

    #[test]
    fn media_count_only_while_a_publication_is_accepted() {
        let mut peer = Peer::new();
        let bytes = peer.bytes(audio(3));
        assert_eq!(peer.session.next(&mut &bytes[..]).unwrap(), None);

        peer = Peer::publishing();
        let bytes = peer.bytes(audio(3));
        let event = peer.session.next(&mut &bytes[..]).unwrap();
        assert_eq!(event, Some(Event::Audio { timestamp_ms: 0, payload: &[0xAF; 3] }));

        peer.command("deleteStream", vec![]);
        let bytes = peer.bytes(audio(3));
        assert!(!peer.session.is_publishing());
        assert_eq!(peer.session.next(&mut &bytes[..]).unwrap(), None);
    }

    #[test]
    fn a_refused_peer_is_not_heard_and_does_not_fail() {
        let mut peer = Peer::publishing();
        peer.session.refuse_publish(PublishRefusal::Rejected, "only H.264");
        assert!(!peer.session.is_publishing());
        let mut input = &[0xFF; 100][..];
        assert_eq!(peer.session.next(&mut input).unwrap(), None);
        assert!(input.is_empty() && !peer.session.output().is_empty());
    }

    #[test]
    fn received_bytes_are_acknowledged_with_their_total_before_the_window_is_full() {
        let mut peer = Peer::publishing();
        peer.send(RtmpMessage::WindowAcknowledgement { size: 100_000 }).unwrap();
        let mut totals = Vec::new();
        for _ in 0..200 {
            peer.send(audio(1000)).unwrap();
            totals.extend(peer.answers().into_iter().map(|answer| match answer {
                RtmpMessage::Acknowledgement { sequence_number } => sequence_number,
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(totals.len(), 4, "{totals:?}");
        let mut last = 0;
        for total in totals {
            assert!((40_000..60_000).contains(&(total - last)), "{total} after {last}");
            last = total;
        }
    }

    #[test]
    fn acknowledgements_do_not_pile_up_for_a_peer_that_never_reads() {
        let mut peer = Peer::publishing();
        peer.send(RtmpMessage::WindowAcknowledgement { size: 0 }).unwrap();
        for _ in 0..10_000 {
            peer.send(audio(1000)).unwrap();
        }
        assert_eq!(peer.answers().len(), 1);
    }

    #[test]
    fn a_ping_is_answered_and_other_user_control_events_are_not() {
        let mut peer = Peer::publishing();
        let ping = |event_type| RtmpMessage::UserControl {
            event_type,
            stream_id: Some(1),
            buffer_length: Some(1),
            timestamp: Some(RtmpTimestamp::new(1234)),
        };
        peer.send(ping(UserControlEventType::SetBufferLength)).unwrap();
        peer.send(RtmpMessage::Unknown { type_id: 4, data: vec![0, 26, 0, 0].into() }).unwrap();
        assert!(peer.answers().is_empty());
        peer.send(ping(UserControlEventType::PingRequest)).unwrap();
        let answers = peer.answers();
        let [
            RtmpMessage::UserControl {
                event_type: UserControlEventType::PingResponse,
                timestamp,
                ..
            },
        ] = &answers[..]
        else {
            panic!("{answers:?}")
        };
        assert_eq!(*timestamp, Some(RtmpTimestamp::new(1234)));
    }

    #[test]
    fn metadata_that_cannot_be_read_costs_nothing() {
        let mut peer = Peer::publishing();
        for data in [
            &b"\x02\x00\x0aonMetaData\x03\x00"[..],
            b"\x11\x01",
            b"",
            &[0x0A, 0, 0, 0, 1].repeat(1000),
        ] {
            peer.send(RtmpMessage::Unknown { type_id: 18, data: data.to_vec().into() }).unwrap();
        }
        let amf3 = b"\x00\x02\x00\x0aonMetaData\x03\x00\x08hasAudio\x01\x01\x00\x00\x09";
        let bytes = peer.bytes(RtmpMessage::Unknown { type_id: 15, data: amf3.to_vec().into() });
        let event = peer.session.next(&mut &bytes[..]).unwrap();
        assert!(
            matches!(event, Some(Event::Metadata(Metadata { has_audio: true, .. }))),
            "{event:?}"
        );
    }

    #[test]
    fn commands_marked_as_amf3_are_understood() {
        let mut peer = Peer::new();
        let connect = b"\x00\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03\x00\x00\x09";
        peer.send(RtmpMessage::Unknown { type_id: 17, data: connect.to_vec().into() }).unwrap();
        assert_eq!(peer.answers().len(), 4);
    }
}
