//! A blocking HTTP/1.1 client that shows everything: one connection, requests as they are written, whole answers.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use super::SOON;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Status.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// Body; empty for HEAD, 204 and 304.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What stands in the first `<name>` of an XML body; empty if there is none.
    pub(crate) fn element(&self, name: &str) -> &str {
        let rest = self.text().split_once(&format!("<{name}>"));
        rest.and_then(|(_, rest)| rest.split_once("</")).map_or("", |(value, _)| value)
    }
}

/// GET on a connection of its own.
pub(crate) fn get(port: u16, target: &str) -> Reply {
    try_get(port, target).unwrap()
}

/// GET on a connection of its own, from a daemon that may be killed meanwhile.
pub(crate) fn try_get(port: u16, target: &str) -> io::Result<Reply> {
    let mut connection = Connection::try_open(port)?;
    let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    connection.stream.get_mut().write_all(head.as_bytes())?;
    connection.read(false)
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// To `127.0.0.1:port`.
    pub(crate) fn open(port: u16) -> Self {
        Self::try_open(port).unwrap()
    }

    fn try_open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        Ok(Self { stream: BufReader::new(stream), host: format!("127.0.0.1:{port}") })
    }

    /// Sends a request and reads its answer. A `Host` among `headers` replaces the usual one.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.send((head + "\r\n").as_bytes());
        self.receive(method == "HEAD")
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Reads one answer; to a HEAD request, its head alone.
    pub(crate) fn receive(&mut self, is_to_head: bool) -> Reply {
        self.read(is_to_head).unwrap()
    }

    fn read(&mut self, is_to_head: bool) -> io::Result<Reply> {
        let status_line = self.line()?;
        let status =
            status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let mut reply = Reply {
            status: status.ok_or_else(|| broken(&status_line))?,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            reply.headers.push((name.to_owned(), value.trim().to_owned()));
        }
        if !is_to_head && !matches!(reply.status, 204 | 304) {
            let length =
                reply.header("content-length").parse().map_err(|_| broken("no Content-Length"))?;
            reply.body.resize(length, 0);
            self.stream.read_exact(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// Whether the peer closes the connection rather than send more. A reset, because it left bytes unread, is a close too.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| broken(&line))
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP answer: {what:?}"))
}
