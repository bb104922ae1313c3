//! The head of an HTTP/1.1 request → borrowed fields.
//!
//! Takes the strict reading of RFC 9112 wherever a lenient one would let two readers disagree about where a request
//! ends (§6.3, §11.2): a request like that is refused and its connection closed. Reads no body.

use heapless::Vec;
use httparse::Status;

use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};

/// A request's head. Borrows from the buffer that it was read into.
#[derive(Debug)]
pub struct Request<'a> {
    /// `GET`, `HEAD`, `OPTIONS` …, as sent.
    pub method: &'a str,
    /// The target before the first `?`, as sent: nothing is decoded.
    pub path: &'a str,
    /// The target behind the first `?`, as sent; empty if there is none.
    pub query: &'a str,
    /// The host that was asked, with its port, as sent.
    pub host: &'a str,
    /// The header lines.
    pub headers: Headers<'a>,
    /// The connection may serve another request.
    pub keep_alive: bool,
    /// Bytes of body behind the head.
    pub body: BodyLength,
}

/// How the length of a request's body is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyLength {
    /// So many bytes; 0 where there is none.
    Known(u64),
    /// By chunked transfer coding (RFC 9112 §7.1).
    Chunked,
}

/// Header lines in the order they came, names as sent.
#[derive(Debug, Default)]
pub struct Headers<'a>(Vec<(&'a str, &'a str), HTTP_HEADERS_MAX>);

impl<'a> Headers<'a> {
    /// The first value of `name`, which is compared without case.
    pub fn first(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All lines.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }

    /// All lines, as the gate wants them.
    pub fn as_slice(&self) -> &[(&'a str, &'a str)] {
        &self.0
    }

    fn count(&self, name: &str) -> usize {
        self.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count()
    }
}

/// Why a head is refused. The connection closes after the answer: where the request ends is not certain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// RFC 9112 §3, §5 are not kept.
    #[error("the request head is malformed: {0}")]
    Malformed(&'static str),
    /// Longer than [`HTTP_HEAD_BYTES_MAX`] or more lines than [`HTTP_HEADERS_MAX`].
    #[error(
        "the request head is longer than {HTTP_HEAD_BYTES_MAX} bytes or {HTTP_HEADERS_MAX} header lines"
    )]
    TooLarge,
    /// A transfer coding other than chunked (RFC 9112 §6.1).
    #[error("this transfer coding is not supported")]
    TransferCoding,
}

/// Reads the request head at the start of `bytes`.
///
/// `None`: it is not complete. Otherwise the request and the number of bytes that its head took.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Error> {
    let mut lines = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut lines);
    let head_bytes = match parsed.parse(bytes) {
        Ok(Status::Complete(head_bytes)) if head_bytes <= HTTP_HEAD_BYTES_MAX => head_bytes,
        Ok(Status::Partial) if bytes.len() < HTTP_HEAD_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Error::TooLarge),
        Err(httparse::Error::HeaderName) => return Err(Error::Malformed("a header name")),
        Err(httparse::Error::HeaderValue) => return Err(Error::Malformed("a header value")),
        Err(_) => return Err(Error::Malformed("the request line")),
    };
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Error::Malformed("the request line"));
    };
    let mut headers = Headers::default();
    for line in parsed.headers.iter() {
        let value = str::from_utf8(line.value)
            .map_err(|_| Error::Malformed("a header value that is not UTF-8"))?;
        headers.0.push((line.name, value.trim())).map_err(|_| Error::TooLarge)?;
    }
    let (target, host) = split_absolute(target, &headers, minor)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !path.starts_with('/') && path != "*" {
        return Err(Error::Malformed("the request target must start with a slash"));
    }
    let body = body_length(&headers)?;
    let wanted = headers.first("connection").unwrap_or("");
    let keep_alive = if minor == 0 {
        wanted.eq_ignore_ascii_case("keep-alive")
    } else {
        !wanted.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"))
    };
    Ok(Some((Request { method, path, query, host, headers, keep_alive, body }, head_bytes)))
}

/// Takes the absolute form apart (RFC 9112 §3.2.2: a server must accept it, and its host is the one that counts).
fn split_absolute<'a>(
    target: &'a str,
    headers: &Headers<'a>,
    minor: u8,
) -> Result<(&'a str, &'a str), Error> {
    match headers.count("host") {
        0 if minor > 0 => return Err(Error::Malformed("no Host header")),
        0 | 1 => {}
        _ => return Err(Error::Malformed("more than one Host header")),
    }
    let host = headers.first("host").unwrap_or("");
    let Some(rest) = target.strip_prefix("http://") else { return Ok((target, host)) };
    let slash = rest.find('/').ok_or(Error::Malformed("an absolute target without a path"))?;
    let (host, path) = rest.split_at(slash);
    Ok((path, host))
}

fn body_length(headers: &Headers<'_>) -> Result<BodyLength, Error> {
    let lengths = headers.count("content-length");
    if let Some(coding) = headers.first("transfer-encoding") {
        if lengths > 0 || headers.count("transfer-encoding") > 1 {
            return Err(Error::Malformed("two different lengths of the body"));
        }
        return if coding.eq_ignore_ascii_case("chunked") {
            Ok(BodyLength::Chunked)
        } else {
            Err(Error::TransferCoding)
        };
    }
    match (lengths, headers.first("content-length")) {
        (1, Some(text)) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map(BodyLength::Known).map_err(|_| Error::Malformed("Content-Length"))
        }
        (0, _) => Ok(BodyLength::Known(0)),
        _ => Err(Error::Malformed("Content-Length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request<'_> {
        parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn reads_the_fields_and_decodes_nothing() {
        let r = request(
            "GET /cams/a%2Fb.ts?x=%41&y HTTP/1.1\r\nHost: Box:8080\r\nrange:  bytes=0-1 \r\n\r\nrest",
        );
        assert_eq!(
            (r.method, r.path, r.query, r.host),
            ("GET", "/cams/a%2Fb.ts", "x=%41&y", "Box:8080")
        );
        assert_eq!(r.headers.first("Range"), Some("bytes=0-1"));
        assert!(r.keep_alive);
        assert_eq!(r.body, BodyLength::Known(0));
    }

    #[test]
    fn says_how_many_bytes_the_head_took() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /";
        assert_eq!(parse(text).unwrap().unwrap().1, text.len() - 5);
        for cut in 0..text.len() - 5 {
            assert!(parse(&text[..cut]).unwrap().is_none(), "{cut}");
        }
    }

    #[test]
    fn an_absolute_target_brings_its_own_host() {
        let r = request("GET http://cams.lan:81/x?q HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!((r.path, r.query, r.host), ("/x", "q", "cams.lan:81"));
    }

    #[test]
    fn keep_alive_is_the_default_of_1_1_and_the_exception_of_1_0() {
        assert!(!request("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
        assert!(!request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").keep_alive);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let table = [
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: +3",
            "Content-Length: 3, 3",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: gzip, chunked",
            "Host: b",
            "Bad Name: x",
            "X: a\0b",
        ];
        for lines in table {
            let text = format!("PUT /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
            assert!(parse(text.as_bytes()).is_err(), "{lines}");
        }
        assert!(parse(b"GET / HTTP/1.1\r\n\r\n").is_err(), "no Host");
        assert!(parse(b"GET x HTTP/1.1\r\nHost: a\r\n\r\n").is_err(), "no slash");
        assert!(parse(b"\x16\x03\x01\x02\x00\x01").is_err(), "TLS");
    }

    #[test]
    fn a_head_over_the_bound_is_refused_however_it_arrives() {
        let mut text = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        text.resize(HTTP_HEAD_BYTES_MAX, b'x');
        assert_eq!(parse(&text).unwrap_err(), Error::TooLarge);
        text.extend_from_slice(b"\r\n\r\n");
        assert_eq!(parse(&text).unwrap_err(), Error::TooLarge);
        let many =
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(HTTP_HEADERS_MAX));
        assert_eq!(parse(many.as_bytes()).unwrap_err(), Error::TooLarge);
    }

    #[test]
    fn random_bytes_never_panic() {
        let seed = std::env::var("SLUICEGATE_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(0x5eed_u64);
        println!("SLUICEGATE_SEED={seed}");
        let mut state = seed | 1;
        let base = b"GET /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        for _ in 0..20_000 {
            let mut text = *base;
            for _ in 0..3 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = usize::try_from(state % 47).unwrap();
                text[at] = state.to_le_bytes()[5];
            }
            let _ = parse(&text);
        }
    }
}
