//! A response: status, header lines and what its body is made of. The shell sends it.

use std::{fmt::Write, rc::Rc};

use crate::{access::Reason, channel::SharedChannel, units::UnixSecs};

/// A response whose head can be written once the date and the connection's fate are known.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines beyond those that every answer has, each ended by CRLF.
    lines: String,
    /// The body.
    pub body: Body,
    /// The body's length is told, the body is not sent: HEAD.
    pub is_head_only: bool,
    /// Names the request in the head, and in an error's body.
    pub request_id: RequestId,
    /// Why the gate refused, for counters.
    pub refused: Option<Reason>,
}

/// What a body is made of.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes made for this answer.
    Made(Vec<u8>),
    /// Bytes that other answers share.
    Shared(Rc<[u8]>),
    /// Bytes in the program.
    Static(&'static [u8]),
    /// Bytes of a segment, sent from flash under a lease.
    Segment {
        /// Whose ring holds it.
        channel: SharedChannel,
        /// Its media sequence number.
        sequence: u64,
        /// First byte.
        first: u64,
        /// Number of bytes.
        bytes: u64,
    },
}

impl Body {
    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Made(bytes) => bytes.len() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
            Self::Static(bytes) => bytes.len() as u64,
            Self::Segment { bytes, .. } => *bytes,
        }
    }
}

impl Response {
    /// A response without header lines of its own.
    pub const fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            lines: String::new(),
            body,
            is_head_only: false,
            request_id: RequestId { run: 0, number: 0 },
            refused: None,
        }
    }

    /// Adds the line `name: value`. A value with a control character in it is left out: it could end the line.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let start = self.lines.len();
        let _ = write!(self.lines, "{name}: {value}\r\n");
        let line = self.lines.get(start..).unwrap_or("").trim_end_matches("\r\n");
        if line.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f) {
            self.lines.truncate(start);
        }
        self
    }

    /// Writes the whole head, its empty line included, to `out`.
    ///
    /// `Date` and `x-oss-request-id` stand on every answer: an SDK cannot read an error without the first and
    /// support cannot find one without the second (OSS: common response headers).
    pub fn write_head(&self, date: UnixSecs, keep_alive: bool, out: &mut String) {
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\nServer: AliyunOSS\r\nDate: {}\r\nx-oss-request-id: {}\r\nConnection: {}\r\n{}",
            self.status,
            reason(self.status),
            date.http_date(),
            self.request_id,
            if keep_alive { "keep-alive" } else { "close" },
            self.lines,
        );
        // 304 describes a body that is not here; its length would have to be that of the other answer (RFC 9110 §8.6).
        if self.status != 304 && self.status != 204 {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.bytes());
        }
        out.push_str("\r\n");
    }
}

/// Names one request in answers and logs: 24 upper-case hexadecimal digits, as OSS's.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestId {
    /// When the daemon started, so that ids of two runs differ.
    pub run: u32,
    /// Number of the request in this run.
    pub number: u64,
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08X}{:016X}", self.run, self.number)
    }
}

/// The reason phrases of RFC 9110 §15 for the codes in use.
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_head_has_what_the_sdks_need() {
        let mut head = String::new();
        let mut response = Response::new(200, Body::Static(b"abc")).with("ETag", "\"1\"");
        response.request_id = RequestId { run: 0xAB, number: 1 };
        response.write_head(UnixSecs(0), true, &mut head);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nServer: AliyunOSS\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             x-oss-request-id: 000000AB0000000000000001\r\nConnection: keep-alive\r\nETag: \"1\"\r\n\
             Content-Length: 3\r\n\r\n"
        );
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let mut head = String::new();
        let response =
            Response::new(200, Body::Empty).with("A", "x\r\nSet-Cookie: y").with("B", "z");
        response.write_head(UnixSecs(0), false, &mut head);
        assert!(!head.contains("Set-Cookie") && head.contains("B: z\r\n"));
    }

    #[test]
    fn an_answer_without_a_body_of_its_own_tells_no_length() {
        for status in [204, 304] {
            let mut head = String::new();
            Response::new(status, Body::Empty).write_head(UnixSecs(0), true, &mut head);
            assert!(!head.contains("Content-Length"), "{status}");
        }
    }
}
