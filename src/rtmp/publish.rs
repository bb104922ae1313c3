//! Commands of an RTMP peer → one publisher's life: connect, createStream, publish, end. Source: RTMP 1.0 §7.2.
//!
//! What encoders need beyond the specification is here too: `releaseStream`, `FCPublish`, `FCUnpublish` and `_checkbw`
//! come from Adobe's encoder, all others send them, and some wait for the answer. Nothing is played.

use rml_rtmp::rml_amf0::Amf0Value;

use super::{
    Error, Publish,
    amf::{Reader, Value},
    reply::{Replies, STREAM_ID},
};
use crate::limits::{ENCODER_NAME_CHARS_MAX, RTMP_URL_BYTES_MAX};

/// How many bytes may go unacknowledged in either direction before the peer says otherwise (RTMP 1.0 §5.4.4).
pub(super) const ACK_WINDOW_BYTES: u32 = 2_500_000;

/// Where a publisher stands.
pub(super) struct Dialogue {
    state: State,
    request: Request,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// It has yet to connect.
    Fresh,
    /// It is connected and publishes nothing.
    Connected,
    /// It asked to publish and waits for the answer.
    Asking,
    /// It publishes.
    Publishing,
    /// It was told no. Whatever else it says is not heard.
    Refused,
}

/// What the peer said of itself, until it is answered.
#[derive(Default)]
struct Request {
    app: String,
    tc_url: String,
    encoder: String,
    name: String,
}

/// What a command means to whoever runs the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Nothing.
    Nothing,
    /// The peer wants to publish [`Dialogue::request`].
    Publish,
    /// The peer has published.
    End,
}

impl Dialogue {
    pub(super) fn new() -> Self {
        Self { state: State::Fresh, request: Request::default() }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) fn request(&self) -> Publish<'_> {
        let Request { app, tc_url, encoder, name } = &self.request;
        Publish { app, tc_url, encoder, name }
    }

    /// Lets the peer publish, if it asked.
    pub(super) fn accept(&mut self, replies: &mut Replies) {
        if self.state == State::Asking {
            replies.publish_started();
            self.state = State::Publishing;
            self.request.name = String::new();
        }
    }

    /// Tells the peer no, before or while it publishes.
    pub(super) fn refuse(&mut self, code: &str, description: &str, replies: &mut Replies) {
        replies.failed(code, description);
        self.state = State::Refused;
        self.request = Request::default();
    }

    /// Carries out one command: its name, its transaction, a command object, arguments (RTMP 1.0 §7.2).
    pub(super) fn command(
        &mut self,
        message: &[u8],
        replies: &mut Replies,
    ) -> Result<Outcome, Error> {
        let mut values = Reader::new(message);
        let Some(Value::String(name)) = values.next()? else { return Ok(Outcome::Nothing) };
        let transaction_id = values.next()?.as_ref().and_then(Value::as_number).unwrap_or(0.0);
        let object = values.next()?;
        let answer = |replies: &mut Replies, value| {
            // Transaction 0 wants no answer.
            if transaction_id != 0.0 {
                replies.result(transaction_id, value);
            }
        };
        match (name, self.state) {
            (b"connect", State::Fresh) => {
                self.connect(object.as_ref())?;
                replies.connected(transaction_id, ACK_WINDOW_BYTES);
            }
            (b"connect", _) => return Err(Error::OutOfTurn("connect")),
            // Answers to what was never asked.
            (b"_result" | b"_error" | b"onStatus", _) => {}
            (_, State::Fresh) => return Err(Error::OutOfTurn("a command before connect")),
            (b"releaseStream" | b"FCPublish" | b"_checkbw", _) => answer(replies, Amf0Value::Null),
            (b"createStream", _) => answer(replies, Amf0Value::Number(f64::from(STREAM_ID))),
            (b"publish", State::Connected) => {
                // The type of publishing that may follow (live, record, append) is all the same to a LiveChannel.
                self.request.name = text(values.next()?.as_ref(), "stream name")?;
                self.state = State::Asking;
                return Ok(Outcome::Publish);
            }
            (b"publish", _) => return Err(Error::OutOfTurn("publish")),
            (b"FCUnpublish" | b"closeStream" | b"deleteStream", state) => {
                answer(replies, Amf0Value::Null);
                if matches!(state, State::Asking | State::Publishing) {
                    self.state = State::Connected;
                    return Ok(Outcome::End);
                }
            }
            (b"play" | b"play2", _) => {
                replies
                    .failed("NetStream.Play.Failed", "RTMP is for publishing here; play over HLS.");
            }
            _ if transaction_id != 0.0 => replies.call_failed(transaction_id),
            _ => {}
        }
        Ok(Outcome::Nothing)
    }

    /// `connect` (RTMP 1.0 §7.2.1.1).
    fn connect(&mut self, object: Option<&Value<'_>>) -> Result<(), Error> {
        if let Some(Value::Object(properties)) = object {
            for (name, value) in properties.clone() {
                match name {
                    b"app" => self.request.app = text(Some(&value), "app")?,
                    b"tcUrl" => self.request.tc_url = text(Some(&value), "tcUrl")?,
                    b"flashVer" => {
                        let name = value.as_str().unwrap_or_default();
                        self.request.encoder = name.chars().take(ENCODER_NAME_CHARS_MAX).collect();
                    }
                    _ => {}
                }
            }
        }
        self.state = State::Connected;
        Ok(())
    }
}

/// The text of a part of the address, whose name is `what`.
fn text(value: Option<&Value<'_>>, what: &'static str) -> Result<String, Error> {
    let text = value.and_then(Value::as_str).ok_or(Error::NoText(what))?;
    if text.len() > RTMP_URL_BYTES_MAX {
        return Err(Error::TooLong { what, bytes: text.len() });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rml_rtmp::{
        chunk_io::ChunkDeserializer,
        messages::RtmpMessage::{self, Amf0Command, SetChunkSize, UserControl},
        rml_amf0,
    };

    use super::*;
    use crate::limits::{RTMP_OUTPUT_BYTES_MAX, RTMP_REASON_CHARS_MAX};

    struct Talk {
        dialogue: Dialogue,
        replies: Replies,
        reader: ChunkDeserializer,
    }

    impl Talk {
        fn new() -> Self {
            Self {
                dialogue: Dialogue::new(),
                replies: Replies::new(),
                reader: ChunkDeserializer::new(),
            }
        }

        fn connected() -> Self {
            let mut talk = Self::new();
            talk.say("connect", 1.0, &[object(&[("app", "live")])]).unwrap();
            talk.answers();
            talk
        }

        fn publishing() -> Self {
            let mut talk = Self::connected();
            talk.say("publish", 5.0, &[Amf0Value::Null, string("cam")]).unwrap();
            talk.dialogue.accept(&mut talk.replies);
            talk.answers();
            talk
        }

        fn say(
            &mut self,
            name: &str,
            transaction_id: f64,
            values: &[Amf0Value],
        ) -> Result<Outcome, Error> {
            let mut all = vec![string(name), Amf0Value::Number(transaction_id)];
            all.extend_from_slice(values);
            self.dialogue.command(&rml_amf0::serialize(&all).unwrap(), &mut self.replies)
        }

        /// The answers so far, as a client reads them.
        fn answers(&mut self) -> Vec<RtmpMessage> {
            let mut messages = Vec::new();
            let mut bytes = self.replies.waiting();
            while let Some(payload) = self.reader.get_next_message(bytes).unwrap() {
                bytes = &[];
                let message = payload.to_rtmp_message().unwrap();
                if let SetChunkSize { size } = message {
                    self.reader.set_max_chunk_size(size as usize).unwrap();
                }
                messages.push(message);
            }
            self.replies.consume(usize::MAX);
            messages
        }
    }

    fn string(text: &str) -> Amf0Value {
        Amf0Value::Utf8String(text.to_owned())
    }

    fn object(properties: &[(&str, &str)]) -> Amf0Value {
        Amf0Value::Object(
            properties.iter().map(|(name, value)| ((*name).to_owned(), string(value))).collect(),
        )
    }

    /// Name, transaction and last argument of a command.
    fn command(message: &RtmpMessage) -> (&str, f64, Amf0Value) {
        let Amf0Command { command_name, transaction_id, additional_arguments, .. } = message else {
            panic!("{message:?}")
        };
        (
            command_name,
            *transaction_id,
            additional_arguments.last().cloned().unwrap_or(Amf0Value::Undefined),
        )
    }

    fn properties(value: Amf0Value) -> HashMap<String, Amf0Value> {
        value.get_object_properties().unwrap()
    }

    #[test]
    fn connect_is_answered_with_windows_chunk_size_and_success() {
        let mut talk = Talk::new();
        let connect = [
            ("app", "b/live"),
            ("tcUrl", "rtmp://h/b/live"),
            ("flashVer", "FMLE/3.0"),
            ("swfUrl", "x"),
        ];
        assert_eq!(talk.say("connect", 1.0, &[object(&connect)]).unwrap(), Outcome::Nothing);
        let answers = talk.answers();
        assert_eq!(answers[0], RtmpMessage::WindowAcknowledgement { size: ACK_WINDOW_BYTES });
        assert!(matches!(answers[1], RtmpMessage::SetPeerBandwidth { size: ACK_WINDOW_BYTES, .. }));
        assert!(matches!(answers[2], SetChunkSize { .. }));
        let (name, transaction_id, info) = command(&answers[3]);
        assert_eq!((name, transaction_id), ("_result", 1.0));
        assert_eq!(properties(info)["code"], string("NetConnection.Connect.Success"));
        assert_eq!(answers.len(), 4);

        assert_eq!(
            talk.say("publish", 0.0, &[Amf0Value::Null, string("cam?a=1")]).unwrap(),
            Outcome::Publish
        );
        let expected = Publish {
            app: "b/live",
            tc_url: "rtmp://h/b/live",
            encoder: "FMLE/3.0",
            name: "cam?a=1",
        };
        assert_eq!(talk.dialogue.request(), expected);
    }

    #[test]
    fn what_encoders_wait_for_is_answered() {
        let mut talk = Talk::connected();
        for (transaction_id, (name, result)) in [
            ("_checkbw", Amf0Value::Null),
            ("releaseStream", Amf0Value::Null),
            ("FCPublish", Amf0Value::Null),
            ("createStream", Amf0Value::Number(1.0)),
            ("createStream", Amf0Value::Number(1.0)),
            ("FCUnpublish", Amf0Value::Null),
        ]
        .into_iter()
        .enumerate()
        {
            let transaction_id = transaction_id as f64 + 2.0;
            assert_eq!(
                talk.say(name, transaction_id, &[Amf0Value::Null]).unwrap(),
                Outcome::Nothing
            );
            let answers = talk.answers();
            assert_eq!(answers.len(), 1, "{name}");
            assert_eq!(command(&answers[0]), ("_result", transaction_id, result), "{name}");

            talk.say(name, 0.0, &[Amf0Value::Null]).unwrap();
            assert!(talk.answers().is_empty(), "{name}: transaction 0 wants no answer");
        }
    }

    #[test]
    fn publish_has_a_type_or_has_none() {
        for kind in [
            &[][..],
            &[string("live")],
            &[string("LIVE")],
            &[string("Record")],
            &[string("append")],
        ] {
            let mut talk = Talk::connected();
            let values = [&[Amf0Value::Null, string("cam")], kind].concat();
            assert_eq!(talk.say("publish", 5.0, &values).unwrap(), Outcome::Publish);
            assert!(talk.answers().is_empty(), "the caller has not decided");
            talk.dialogue.accept(&mut talk.replies);
            assert_eq!(talk.dialogue.state(), State::Publishing);
            let answers = talk.answers();
            assert!(matches!(answers[0], UserControl { stream_id: Some(STREAM_ID), .. }));
            for (answer, name) in answers[1..].iter().zip(["onFCPublish", "onStatus"]) {
                let (found, _, info) = command(answer);
                assert_eq!(found, name);
                assert_eq!(properties(info)["code"], string("NetStream.Publish.Start"));
            }
        }
    }

    #[test]
    fn a_refusal_is_an_error_on_the_stream_with_its_reason() {
        for mut talk in [Talk::connected(), Talk::publishing()] {
            talk.dialogue.refuse("NetStream.Publish.Denied", &"ä".repeat(9999), &mut talk.replies);
            assert_eq!(talk.dialogue.state(), State::Refused);
            let answers = talk.answers();
            let (name, transaction_id, info) = command(&answers[0]);
            assert_eq!((name, transaction_id), ("onStatus", 0.0));
            let info = properties(info);
            assert_eq!(info["level"], string("error"));
            assert_eq!(info["code"], string("NetStream.Publish.Denied"));
            assert_eq!(info["description"], string(&"ä".repeat(RTMP_REASON_CHARS_MAX)));
        }
    }

    #[test]
    fn a_publication_ends_once_and_another_may_follow() {
        for first in ["FCUnpublish", "deleteStream", "closeStream"] {
            let mut talk = Talk::publishing();
            assert_eq!(talk.say(first, 0.0, &[Amf0Value::Null]).unwrap(), Outcome::End, "{first}");
            for again in ["FCUnpublish", "deleteStream", "closeStream"] {
                assert_eq!(talk.say(again, 0.0, &[Amf0Value::Null]).unwrap(), Outcome::Nothing);
            }
            assert_eq!(
                talk.say("publish", 0.0, &[Amf0Value::Null, string("b")]).unwrap(),
                Outcome::Publish
            );
            assert_eq!(talk.dialogue.request().app, "live");
        }
    }

    #[test]
    fn playing_and_unknown_calls_fail_clearly() {
        let mut talk = Talk::connected();
        for (name, answer, code) in [
            ("play", "onStatus", "NetStream.Play.Failed"),
            ("getStreamLength", "_error", "NetConnection.Call.Failed"),
            ("anything", "_error", "NetConnection.Call.Failed"),
        ] {
            talk.say(name, 4.0, &[Amf0Value::Null, string("cam")]).unwrap();
            let answers = talk.answers();
            let (found, _, info) = command(&answers[0]);
            assert_eq!(found, answer, "{name}");
            assert_eq!(properties(info)["code"], string(code), "{name}");
        }
        talk.say("setSomething", 0.0, &[Amf0Value::Null]).unwrap();
        talk.say("_error", 7.0, &[Amf0Value::Null]).unwrap();
        assert!(talk.answers().is_empty());
    }

    #[test]
    fn commands_out_of_turn_end_the_connection() {
        let publish = [Amf0Value::Null, string("cam")];
        assert!(matches!(Talk::new().say("createStream", 1.0, &[]), Err(Error::OutOfTurn(_))));
        assert!(matches!(Talk::new().say("publish", 1.0, &publish), Err(Error::OutOfTurn(_))));
        assert!(matches!(
            Talk::connected().say("connect", 1.0, &[]),
            Err(Error::OutOfTurn("connect"))
        ));
        assert!(matches!(
            Talk::publishing().say("publish", 1.0, &publish),
            Err(Error::OutOfTurn("publish"))
        ));
    }

    #[test]
    fn an_address_is_text_of_bounded_length() {
        let long = "a".repeat(RTMP_URL_BYTES_MAX + 1);
        let too_long = |result| matches!(result, Err(Error::TooLong { bytes, .. }) if bytes == RTMP_URL_BYTES_MAX + 1);
        assert!(too_long(Talk::new().say("connect", 1.0, &[object(&[("app", &long)])])));
        assert!(too_long(Talk::new().say("connect", 1.0, &[object(&[("tcUrl", &long)])])));
        assert!(too_long(Talk::connected().say("publish", 1.0, &[Amf0Value::Null, string(&long)])));
        assert!(
            Talk::connected().say("publish", 1.0, &[Amf0Value::Null, string(&long[1..])]).is_ok()
        );
        let no_text = |values: &[Amf0Value]| Talk::connected().say("publish", 1.0, values);
        assert!(matches!(no_text(&[]), Err(Error::NoText("stream name"))));
        assert!(matches!(
            no_text(&[Amf0Value::Null, Amf0Value::Number(1.0)]),
            Err(Error::NoText("stream name"))
        ));
    }

    #[test]
    fn commands_of_fewer_than_three_values_are_no_trouble() {
        let mut talk = Talk::connected();
        for message in [&b""[..], b"\x05", b"\x02\x00\x01x", b"\x02\x00\x07publish"] {
            let outcome = talk.dialogue.command(message, &mut talk.replies);
            assert!(
                matches!(outcome, Ok(Outcome::Nothing) | Err(Error::NoText(_))),
                "{message:?}: {outcome:?}"
            );
        }
    }

    #[test]
    fn a_peer_that_reads_no_answers_is_found_out() {
        let mut talk = Talk::connected();
        let mut asked = 0;
        while !talk.replies.is_overfull() {
            talk.say("createStream", 2.0, &[Amf0Value::Null]).unwrap();
            asked += 1;
            assert!(asked < RTMP_OUTPUT_BYTES_MAX);
        }
        assert!(talk.replies.waiting().len() <= RTMP_OUTPUT_BYTES_MAX);
    }
}
