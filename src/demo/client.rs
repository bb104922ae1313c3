//! A publish URL and media → the bytes of an RTMP publisher, by `rml_rtmp`'s `ClientSession`.
//!
//! It is the camera of the demo and of the tests: written by other hands than the server it talks to, so the two cannot
//! agree on a common mistake. It opens no socket: it is fed what the server sent and asked what to send.
//! (`ClientSession` asks the clock for the time of its own commands.)

use rml_rtmp::{
    handshake::{Handshake, HandshakeError, HandshakeProcessResult, PeerType},
    sessions::{
        ClientSession, ClientSessionConfig, ClientSessionError, ClientSessionEvent,
        ClientSessionResult, PublishRequestType, StreamMetadata,
    },
    time::RtmpTimestamp,
};

/// A publisher.
pub struct Client {
    /// `None` once it is over.
    handshake: Option<Handshake>,
    session: ClientSession,
    app: String,
    name: String,
    is_publishing: bool,
    output: Vec<u8>,
}

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not `rtmp://HOST[:PORT]/APP/NAME[?QUERY]`.
    #[error("{0} is no RTMP publish URL")]
    Url(String),
    /// The server's handshake is not understood.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// The server's messages are not understood, or media come before it is ready.
    #[error(transparent)]
    Session(#[from] ClientSessionError),
    /// The server says no, for this reason.
    #[error("the server refuses: {0}")]
    Refused(String),
}

impl Client {
    /// A publisher to `url`, whose handshake is ready to be sent.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let (tc_url, app, name) = split_url(url).ok_or_else(|| ClientError::Url(url.to_owned()))?;
        let mut config = ClientSessionConfig::new();
        config.flash_version = concat!("sluicegate-demo/", env!("CARGO_PKG_VERSION")).to_owned();
        config.tc_url = Some(tc_url.to_owned());
        let (session, _) = ClientSession::new(config)?;
        let mut handshake = Handshake::new(PeerType::Client);
        let output = handshake.generate_outbound_p0_and_p1()?;
        Ok(Self {
            handshake: Some(handshake),
            session,
            app: app.to_owned(),
            name: name.to_owned(),
            is_publishing: false,
            output,
        })
    }

    /// Takes what the server sent.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let Some(handshake) = &mut self.handshake else { return self.receive_messages(bytes) };
        match handshake.process_bytes(bytes)? {
            HandshakeProcessResult::InProgress { response_bytes } => {
                self.output.extend_from_slice(&response_bytes);
                Ok(())
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                self.output.extend_from_slice(&response_bytes);
                self.handshake = None;
                let connect = self.session.request_connection(self.app.clone())?;
                self.send(connect);
                self.receive_messages(&remaining_bytes)
            }
        }
    }

    /// Bytes for the server.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// The server has been sent the first `bytes` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, bytes: usize) {
        self.output.drain(..bytes.min(self.output.len()));
    }

    /// Whether the server said yes. Media may be sent from then on.
    pub const fn is_publishing(&self) -> bool {
        self.is_publishing
    }

    /// Sends `onMetaData`.
    pub fn send_metadata(&mut self, metadata: &StreamMetadata) -> Result<(), ClientError> {
        let message = self.session.publish_metadata(metadata)?;
        self.send(message);
        Ok(())
    }

    /// Sends a video message: the body of an FLV video tag.
    pub fn send_video(&mut self, timestamp_ms: u32, body: &[u8]) -> Result<(), ClientError> {
        let time = RtmpTimestamp::new(timestamp_ms);
        let message = self.session.publish_video_data(body.to_vec().into(), time, false)?;
        self.send(message);
        Ok(())
    }

    /// Sends an audio message: the body of an FLV audio tag.
    pub fn send_audio(&mut self, timestamp_ms: u32, body: &[u8]) -> Result<(), ClientError> {
        let time = RtmpTimestamp::new(timestamp_ms);
        let message = self.session.publish_audio_data(body.to_vec().into(), time, false)?;
        self.send(message);
        Ok(())
    }

    /// Ends the publication.
    pub fn stop(&mut self) -> Result<(), ClientError> {
        self.is_publishing = false;
        for message in self.session.stop_publishing()? {
            self.send(message);
        }
        Ok(())
    }

    fn receive_messages(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let mut events = Vec::new();
        for result in self.session.handle_input(bytes)? {
            match result {
                ClientSessionResult::RaisedEvent(event) => events.push(event),
                // All of them go before what the events lead to: one of them sets the chunk size.
                message => self.send(message),
            }
        }
        for event in events {
            match event {
                ClientSessionEvent::ConnectionRequestAccepted => {
                    let publish = self
                        .session
                        .request_publishing(self.name.clone(), PublishRequestType::Live)?;
                    self.send(publish);
                }
                ClientSessionEvent::PublishRequestAccepted => self.is_publishing = true,
                ClientSessionEvent::ConnectionRequestRejected { description: reason }
                | ClientSessionEvent::UnhandleableOnStatusCode { code: reason } => {
                    return Err(ClientError::Refused(reason));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, message: ClientSessionResult) {
        if let ClientSessionResult::OutboundResponse(packet) = message {
            self.output.extend_from_slice(&packet.bytes);
        }
    }
}

/// Splits a publish URL as ffmpeg does: into tcUrl, app, and the stream name with the query.
fn split_url(url: &str) -> Option<(&str, &str, &str)> {
    let (path, _) = url.split_once('?').unwrap_or((url, ""));
    let (tc_url, name) = path.rsplit_once('/')?;
    let (_, app) = tc_url.strip_prefix("rtmp://")?.split_once('/')?;
    if app.is_empty() || name.is_empty() {
        return None;
    }
    Some((tc_url, app, url.get(tc_url.len() + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_before_its_last_segment_and_the_query_stays_with_the_name() {
        let split = split_url("rtmp://h:1935/b/live/cam?a=1/2&b=3");
        assert_eq!(split, Some(("rtmp://h:1935/b/live", "b/live", "cam?a=1/2&b=3")));
        for bad in [
            "",
            "http://h/live/cam",
            "rtmp://h",
            "rtmp://h/live",
            "rtmp://h/live/",
            "rtmp:///live/",
        ] {
            assert!(split_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_handshake_is_the_first_thing_to_send() {
        let mut client = Client::new("rtmp://h/live/cam").unwrap();
        assert_eq!(client.output().len(), 1537);
        client.consume_output(usize::MAX);
        assert!(client.output().is_empty() && !client.is_publishing());
    }
}
