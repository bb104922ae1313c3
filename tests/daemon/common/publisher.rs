//! A publisher under the test's control, on a blocking socket: it may stop, break off, or come from another address.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use sluicegate::demo::{
    client::Client,
    flv::{TagKind, clip_for_ever},
};

use super::SOON;

/// A connection to `port`, from an address of the loopback network: each is another peer to the daemon.
pub(crate) fn connect_from(address: [u8; 4], port: u16) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((address, 0)))?;
    connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// Somebody who publishes the clip.
pub(crate) struct Publisher {
    stream: TcpStream,
    client: Client,
    tags: Box<dyn Iterator<Item = sluicegate::demo::flv::Tag<'static>> + Send>,
}

impl Publisher {
    /// Publishes to `url`. An error says why it was refused.
    pub(crate) fn open(url: &str) -> Result<Self, String> {
        Self::open_from([127, 0, 0, 1], url)
    }

    /// The same, from another address.
    pub(crate) fn open_from(address: [u8; 4], url: &str) -> Result<Self, String> {
        let port = url.split(['/', ':']).nth(4).and_then(|port| port.parse().ok()).unwrap();
        let stream = connect_from(address, port).map_err(|error| error.to_string())?;
        let client = Client::new(url).unwrap();
        let mut publisher = Self { stream, client, tags: Box::new(clip_for_ever()) };
        while !publisher.client.is_publishing() {
            publisher.flush().map_err(|error| error.to_string())?;
            let mut bytes = [0; 4096];
            match publisher.stream.read(&mut bytes) {
                Ok(0) => return Err(String::from("closed")),
                Ok(read) => {
                    publisher.client.receive(&bytes[..read]).map_err(|error| error.to_string())?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        publisher.flush().map_err(|error| error.to_string())?;
        Ok(publisher)
    }

    /// Sends the next `ms` milliseconds of the clip, as fast as they are taken.
    pub(crate) fn send_ms(&mut self, ms: u32) -> io::Result<()> {
        let mut end = None;
        for tag in &mut self.tags {
            let sent = match tag.kind {
                TagKind::Video => self.client.send_video(tag.timestamp_ms, tag.body),
                TagKind::Audio => self.client.send_audio(tag.timestamp_ms, tag.body),
                TagKind::Script => Ok(()),
            };
            sent.map_err(io::Error::other)?;
            if tag.timestamp_ms >= *end.get_or_insert(tag.timestamp_ms + ms) {
                break;
            }
        }
        self.flush()
    }

    /// Leaves out the next `ms` milliseconds of the clip.
    pub(crate) fn skip_ms(&mut self, ms: u32) {
        let start = self.tags.next().map_or(0, |tag| tag.timestamp_ms);
        let _ = self.tags.by_ref().find(|tag| tag.timestamp_ms >= start + ms);
    }

    /// Says goodbye as encoders do, and waits until the daemon has closed.
    pub(crate) fn stop(mut self) {
        self.client.stop().unwrap();
        self.flush().unwrap();
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(self.is_closed());
    }

    /// Whether the daemon closes the connection before [`SOON`].
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(self.client.output())?;
        self.client.consume_output(usize::MAX);
        Ok(())
    }
}
