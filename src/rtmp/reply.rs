//! Answers to an RTMP peer → bytes, by `rml_rtmp`'s AMF0 writer and chunk serializer. Source: RTMP 1.0 §5.4, §7.
//!
//! Everything written here is ours and short, so writing cannot fail. Bytes wait here until the peer takes them; a peer
//! that does not is found out by [`Replies::is_overfull`].

use rml_rtmp::{
    chunk_io::ChunkSerializer,
    messages::{PeerBandwidthLimitType, RtmpMessage, UserControlEventType},
    rml_amf0::Amf0Value,
    time::RtmpTimestamp,
};

use crate::limits::{RTMP_OUTPUT_BYTES_MAX, RTMP_REASON_CHARS_MAX};

/// Chunk size of our answers, in bytes: above the longest, so that each is one chunk.
const CHUNK_BYTES: u32 = 4096;

/// The one message stream that a connection may create (RTMP 1.0 §7.2.1.3).
pub(super) const STREAM_ID: u32 = 1;

/// The message stream of the connection itself.
const CONNECTION: u32 = 0;

/// Bytes that wait for the peer.
pub(super) struct Replies {
    serializer: ChunkSerializer,
    waiting: Vec<u8>,
    is_overfull: bool,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self { serializer: ChunkSerializer::new(), waiting: Vec::new(), is_overfull: false }
    }

    pub(super) fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Forgets the first `bytes` bytes that wait.
    pub(super) fn consume(&mut self, bytes: usize) {
        if bytes >= self.waiting.len() {
            // A publisher is answered a few times in its life: the room goes back.
            self.waiting = Vec::new();
        } else {
            self.waiting.drain(..bytes);
        }
    }

    /// Whether the peer let more than [`RTMP_OUTPUT_BYTES_MAX`] pile up. Some of it is lost then.
    pub(super) const fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Sends bytes as they are.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.waiting.len() + bytes.len() > RTMP_OUTPUT_BYTES_MAX {
            self.is_overfull = true;
        } else {
            self.waiting.extend_from_slice(bytes);
        }
    }

    /// Acknowledgement: bytes received since the connection began (RTMP 1.0 §5.4.3).
    pub(super) fn acknowledge(&mut self, received_bytes: u32) {
        self.message(RtmpMessage::Acknowledgement { sequence_number: received_bytes }, CONNECTION);
    }

    /// Ping Response (RTMP 1.0 §7.1.7).
    pub(super) fn pong(&mut self, timestamp_ms: u32) {
        let timestamp = Some(RtmpTimestamp::new(timestamp_ms));
        self.user_control(UserControlEventType::PingResponse, None, timestamp);
    }

    /// The answer to `connect` (RTMP 1.0 §7.2.1.1), with what goes before it: how often to acknowledge our bytes and
    /// expect us to acknowledge theirs, and our chunk size, which the answer itself needs.
    pub(super) fn connected(&mut self, transaction_id: f64, window_bytes: u32) {
        self.message(RtmpMessage::WindowAcknowledgement { size: window_bytes }, CONNECTION);
        let limit_type = PeerBandwidthLimitType::Dynamic;
        self.message(RtmpMessage::SetPeerBandwidth { size: window_bytes, limit_type }, CONNECTION);
        let packet = self.serializer.set_max_chunk_size(CHUNK_BYTES, RtmpTimestamp::new(0));
        #[expect(clippy::expect_used, reason = "only a chunk size above 31 bits fails")]
        let packet = packet.expect("the chunk size is allowed");
        self.send(&packet.bytes);

        // Encoders look for a Flash Media Server; this is the version that other servers name too.
        let server =
            object([("fmsVer", text("FMS/3,0,1,123")), ("capabilities", Amf0Value::Number(31.0))]);
        let mut info =
            status_info("status", "NetConnection.Connect.Success", "Connection succeeded.");
        info.push(("objectEncoding", Amf0Value::Number(0.0)));
        self.command("_result", transaction_id, server, vec![object(info)], CONNECTION);
    }

    /// `_result` of a command (RTMP 1.0 §7.2.1.2).
    pub(super) fn result(&mut self, transaction_id: f64, value: Amf0Value) {
        self.command("_result", transaction_id, Amf0Value::Null, vec![value], CONNECTION);
    }

    /// `_error` of a command that is not known here (RTMP 1.0 §7.2.1.2).
    pub(super) fn call_failed(&mut self, transaction_id: f64) {
        let info =
            status_info("error", "NetConnection.Call.Failed", "This command is not known here.");
        self.command("_error", transaction_id, Amf0Value::Null, vec![object(info)], CONNECTION);
    }

    /// Publishing may start (RTMP 1.0 §7.2.2.6). Adobe's encoder waits for `onFCPublish` as well.
    pub(super) fn publish_started(&mut self) {
        self.user_control(UserControlEventType::StreamBegin, Some(STREAM_ID), None);
        let info = status_info("status", "NetStream.Publish.Start", "Publishing.");
        self.command("onFCPublish", 0.0, Amf0Value::Null, vec![object(info.clone())], STREAM_ID);
        self.command("onStatus", 0.0, Amf0Value::Null, vec![object(info)], STREAM_ID);
    }

    /// Something on the message stream failed (RTMP 1.0 §7.2.2).
    pub(super) fn failed(&mut self, code: &str, description: &str) {
        let description: String = description.chars().take(RTMP_REASON_CHARS_MAX).collect();
        let info = object(status_info("error", code, &description));
        self.command("onStatus", 0.0, Amf0Value::Null, vec![info], STREAM_ID);
    }

    fn user_control(
        &mut self,
        event_type: UserControlEventType,
        stream_id: Option<u32>,
        timestamp: Option<RtmpTimestamp>,
    ) {
        let message =
            RtmpMessage::UserControl { event_type, stream_id, buffer_length: None, timestamp };
        self.message(message, CONNECTION);
    }

    fn command(
        &mut self,
        name: &str,
        transaction_id: f64,
        object: Amf0Value,
        arguments: Vec<Amf0Value>,
        stream_id: u32,
    ) {
        let message = RtmpMessage::Amf0Command {
            command_name: name.to_owned(),
            transaction_id,
            command_object: object,
            additional_arguments: arguments,
        };
        self.message(message, stream_id);
    }

    /// Every message has a whole header of type 0: the few bytes are not worth a state to keep.
    fn message(&mut self, message: RtmpMessage, stream_id: u32) {
        let payload = message.into_message_payload(RtmpTimestamp::new(0), stream_id);
        let packet =
            payload.ok().and_then(|payload| self.serializer.serialize(&payload, true, false).ok());
        #[expect(
            clippy::expect_used,
            reason = "only strings above 64 KiB and messages above 16 MiB fail"
        )]
        let packet = packet.expect("our answers are short");
        self.send(&packet.bytes);
    }
}

fn text(text: &str) -> Amf0Value {
    Amf0Value::Utf8String(text.to_owned())
}

/// The information object of `onStatus` and its like (RTMP 1.0 §7.2.2).
fn status_info(level: &str, code: &str, description: &str) -> Vec<(&'static str, Amf0Value)> {
    vec![("level", text(level)), ("code", text(code)), ("description", text(description))]
}

fn object(properties: impl IntoIterator<Item = (&'static str, Amf0Value)>) -> Amf0Value {
    Amf0Value::Object(
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    )
}
