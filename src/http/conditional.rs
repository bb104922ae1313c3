//! Conditional headers and an object's validators → whether it is sent (RFC 9110 §13.2.2).

use crate::{http::request::Headers, units::UnixSecs};

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client expects.
    PreconditionFailed,
}

/// Weighs the conditions in `headers` against an object's `etag` (with its quotes) and time of last change.
///
/// The order is the standard's; a date that cannot be read is no condition (RFC 9110 §13.1.3).
pub fn weigh(headers: &Headers<'_>, etag: &str, last_modified: UnixSecs) -> Verdict {
    let date = |name| headers.first(name).and_then(UnixSecs::parse_http_date);
    if let Some(list) = headers.first("if-match") {
        if !names(list, etag) {
            return Verdict::PreconditionFailed;
        }
    } else if date("if-unmodified-since").is_some_and(|since| last_modified > since) {
        return Verdict::PreconditionFailed;
    }
    if let Some(list) = headers.first("if-none-match") {
        if names(list, etag) {
            return Verdict::NotModified;
        }
    } else if date("if-modified-since").is_some_and(|since| last_modified <= since) {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Whether the `Range` header of a request still means this object (RFC 9110 §13.1.5).
pub fn range_applies(headers: &Headers<'_>, etag: &str, last_modified: UnixSecs) -> bool {
    match headers.first("if-range") {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == etag,
        Some(date) => UnixSecs::parse_http_date(date) == Some(last_modified),
    }
}

/// Whether a list of entity tags names `etag`. Weak marks are looked through, and missing quotes forgiven: SDKs leave them out.
fn names(list: &str, etag: &str) -> bool {
    let bare = etag.trim_matches('"');
    list.split(',')
        .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
        .any(|tag| tag == "*" || tag == bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::parse;

    const CHANGED: UnixSecs = UnixSecs(1_700_000_000);

    fn verdict(lines: &str) -> Verdict {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        let (request, _) = parse(text.as_bytes()).unwrap().unwrap();
        weigh(&request.headers, "\"AB12\"", CHANGED)
    }

    #[test]
    fn weighs_conditions_in_the_standard_s_order() {
        let at = "Tue, 14 Nov 2023 22:13:20 GMT";
        let before = "Tue, 14 Nov 2023 22:13:19 GMT";
        let table = [
            (String::from("X: y"), Verdict::Send),
            (String::from("If-None-Match: \"AB12\""), Verdict::NotModified),
            (String::from("If-None-Match: W/\"AB12\", \"x\""), Verdict::NotModified),
            (String::from("If-None-Match: AB12"), Verdict::NotModified),
            (String::from("If-None-Match: *"), Verdict::NotModified),
            (String::from("If-None-Match: \"x\""), Verdict::Send),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {at}"), Verdict::Send),
            (format!("If-Modified-Since: {at}"), Verdict::NotModified),
            (format!("If-Modified-Since: {before}"), Verdict::Send),
            (String::from("If-Modified-Since: yesterday"), Verdict::Send),
            (format!("If-Unmodified-Since: {before}"), Verdict::PreconditionFailed),
            (format!("If-Unmodified-Since: {at}"), Verdict::Send),
            (String::from("If-Match: \"x\""), Verdict::PreconditionFailed),
            (format!("If-Match: \"AB12\"\r\nIf-Unmodified-Since: {before}"), Verdict::Send),
        ];
        for (lines, expected) in table {
            assert_eq!(verdict(&lines), expected, "{lines}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_not_this_object_s() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nIf-Range: \"old\"\r\n\r\n";
        let (request, _) = parse(text.as_bytes()).unwrap().unwrap();
        assert!(!range_applies(&request.headers, "\"AB12\"", CHANGED));
        assert!(range_applies(&request.headers, "\"old\"", CHANGED));
    }
}
