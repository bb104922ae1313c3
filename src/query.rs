//! The part of a URL behind its `?` → pairs, percent-decoded exactly once; percent-coding both ways; hosts without ports.
//!
//! The same for HTTP and RTMP URLs (RFC 3986 §2.1, §3.2, §3.4). In a query `+` is a space, because SDKs send it so; in a path
//! it is a plus sign. A `%` without two hex digits behind it stays as it is. Nothing here knows what a name means.

use std::borrow::Cow;

use crate::limits::QUERY_PAIRS_MAX;

/// A query as pairs of name and value, in the order they came.
///
/// `live` and `live=` are the same pair. A name may come twice; [`first`](Self::first) is what everybody asks, so that
/// a signature and what it opens never look at different values.
#[derive(Clone, Debug, Default)]
pub struct Query<'a>(heapless::Vec<Pair<'a>, QUERY_PAIRS_MAX>);

/// A name and its value, decoded.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Why a query is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// More than [`QUERY_PAIRS_MAX`] pairs.
    #[error("the query has more than {QUERY_PAIRS_MAX} parameters")]
    TooMany,
    /// A name or value that is not UTF-8 once decoded. Counted from 1.
    #[error("query parameter {nth} is not UTF-8")]
    NotUtf8 {
        /// Which pair, from 1.
        nth: usize,
    },
}

impl<'a> Query<'a> {
    /// Reads what stands behind the `?`.
    pub fn parse(raw: &'a str) -> Result<Self, Error> {
        Self::parse_pieces([raw])
    }

    /// Reads a query that came in pieces, as encoders that split an RTMP URL send it.
    pub fn parse_pieces(pieces: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut pairs = heapless::Vec::new();
        for raw in
            pieces.into_iter().flat_map(|piece| piece.split('&')).filter(|raw| !raw.is_empty())
        {
            let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
            let not_utf8 = Error::NotUtf8 { nth: pairs.len() + 1 };
            let pair = (decode(name, true).ok_or(not_utf8)?, decode(value, true).ok_or(not_utf8)?);
            pairs.push(pair).map_err(|_| Error::TooMany)?;
        }
        Ok(Self(pairs))
    }

    /// The first value of `name`; empty if it has none.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Whether `name` is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// All pairs, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Decodes a path or an object key, once. `None`: it is not UTF-8 then.
pub fn decode_path(raw: &str) -> Option<Cow<'_, str>> {
    decode(raw, false)
}

fn decode(raw: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|b| b == b'%' || (b == b'+' && plus_is_space)) {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => match escaped(tail) {
                Some((byte, tail)) => {
                    bytes.push(byte);
                    rest = tail;
                }
                None => bytes.push(b'%'),
            },
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The byte that the two hex digits at the start of `text` mean, and what follows them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = text.split_first_chunk()?;
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some((digit(high)? << 4 | digit(low)?, rest))
}

/// Writes `text` percent-coded: all but the unreserved characters (RFC 3986 §2.3) become `%XX`, the slash too.
pub fn encode(text: &str, out: &mut String) {
    encode_but(text, b"", out);
}

/// Writes a path or an object key percent-coded: as [`encode`], but slashes stay.
pub fn encode_path(path: &str, out: &mut String) {
    encode_but(path, b"/", out);
}

fn encode_but(text: &str, kept: &[u8], out: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// `host` without its port; an IPv6 literal keeps its brackets.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(raw: &str) -> Vec<(String, String)> {
        let query = Query::parse(raw).unwrap();
        query.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn pairs_are_decoded_exactly_once() {
        let table: [(&str, &[(&str, &str)]); 9] = [
            ("", &[]),
            ("&&", &[]),
            ("live", &[("live", "")]),
            ("live=", &[("live", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a+b=c+%2B%20d", &[("a b", "c + d")]),
            ("a=%2541", &[("a", "%41")]),
            ("x-oss-process=hls%2fsign&v=%E4%B8%AD", &[("x-oss-process", "hls/sign"), ("v", "中")]),
            ("a=%&b=%4&c=%zz", &[("a", "%"), ("b", "%4"), ("c", "%zz")]),
        ];
        for (raw, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(n, v)| (String::from(*n), String::from(*v))).collect();
            assert_eq!(pairs(raw), expected, "{raw}");
        }
    }

    #[test]
    fn the_first_of_two_equal_names_counts() {
        let query = Query::parse("Expires=1&Expires=2&flag").unwrap();
        assert_eq!(query.first("Expires"), Some("1"));
        assert_eq!(query.first("flag"), Some(""));
        assert_eq!(query.first("expires"), None);
        assert!(query.has("flag"));
    }

    #[test]
    fn pieces_of_a_split_query_are_one_query() {
        let query = Query::parse_pieces(["a=1", "", "b=2&c"]).unwrap();
        assert_eq!(query.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "")]);
    }

    #[test]
    fn refuses_what_is_not_utf8_and_what_is_too_much() {
        assert_eq!(Query::parse("a=1&b=%FF").unwrap_err(), Error::NotUtf8 { nth: 2 });
        assert_eq!(Query::parse("%C3=1").unwrap_err(), Error::NotUtf8 { nth: 1 });
        assert!(Query::parse(&"a&".repeat(QUERY_PAIRS_MAX)).is_ok());
        assert_eq!(Query::parse(&"a&".repeat(QUERY_PAIRS_MAX + 1)).unwrap_err(), Error::TooMany);
    }

    #[test]
    fn a_plus_in_a_path_is_a_plus() {
        assert_eq!(decode_path("a+b%20c%2Fd").as_deref(), Some("a+b c/d"));
        assert_eq!(decode_path("%ff"), None);
        assert!(matches!(decode_path("plain/key.ts"), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn what_was_encoded_decodes_to_itself() {
        let text = "a b+c%2F/~-._中\u{0}\n?&=#";
        let mut query = String::new();
        encode(text, &mut query);
        assert_eq!(query, "a%20b%2Bc%252F%2F~-._%E4%B8%AD%00%0A%3F%26%3D%23");
        assert_eq!(decode(&query, true).as_deref(), Some(text));
        let mut path = String::new();
        encode_path(text, &mut path);
        assert_eq!(path, query.replace("%2F", "/"));
        assert_eq!(decode_path(&path).as_deref(), Some(text));
    }

    #[test]
    fn ports_come_off_and_brackets_stay() {
        for (host, name) in
            [("a:1", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b")]
        {
            assert_eq!(without_port(host), name);
        }
    }
}
