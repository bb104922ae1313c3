//! A `Range` header and an object's length → the bytes that are meant (RFC 9110 §14.1.2).
//!
//! One range only. What cannot be met is treated as OSS does: the whole object, unless the client asks for
//! the standard's behaviour with `x-oss-range-behavior: standard` (OSS: GetObject).

/// What a request for part of an object gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// All of it, status 200.
    Whole,
    /// These bytes, status 206.
    Bytes {
        /// First byte.
        first: u64,
        /// Last byte, included.
        last: u64,
    },
    /// Nothing: status 416, `InvalidRange`.
    Unsatisfiable,
}

/// Reads `header` for an object of `length` bytes. `is_standard`: the client asked for the standard's behaviour.
pub fn part(header: Option<&str>, length: u64, is_standard: bool) -> Part {
    let Some(set) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    match wanted(set.trim(), length) {
        Wanted::Bytes(first, last) => Part::Bytes { first, last },
        Wanted::Outside if is_standard => Part::Unsatisfiable,
        Wanted::Outside | Wanted::Unreadable => Part::Whole,
    }
}

/// Reads a `Range` header for an object whose length is not known: the first byte, and the last if it is named.
/// `None`: it is no single range that starts at a byte.
pub fn open_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let (first, last) = (number(first)??, number(last)?);
    last.is_none_or(|last| last >= first).then_some((first, last))
}

enum Wanted {
    Bytes(u64, u64),
    /// Well-formed, and not in this object.
    Outside,
    /// Malformed, or more than one range: a server may ignore it (RFC 9110 §14.2).
    Unreadable,
}

fn wanted(set: &str, length: u64) -> Wanted {
    let Some((first, last)) = set.split_once('-') else { return Wanted::Unreadable };
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return Wanted::Unreadable;
    };
    match (first, last) {
        (None, None) => Wanted::Unreadable,
        (None, Some(0)) => Wanted::Outside,
        (None, Some(_)) if length == 0 => Wanted::Outside,
        (None, Some(suffix)) => Wanted::Bytes(length.saturating_sub(suffix), length - 1),
        (Some(first), Some(last)) if last < first => Wanted::Unreadable,
        (Some(first), _) if first >= length => Wanted::Outside,
        (Some(first), last) => Wanted::Bytes(first, last.unwrap_or(u64::MAX).min(length - 1)),
    }
}

/// `Some(None)`: nothing there; `None`: something there that is no number.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_as_the_table_says() {
        let bytes = |first, last| Part::Bytes { first, last };
        let table = [
            (None, Part::Whole, Part::Whole),
            (Some("bytes=0-99"), bytes(0, 99), bytes(0, 99)),
            (Some("bytes=10-"), bytes(10, 999), bytes(10, 999)),
            (Some("bytes=-10"), bytes(990, 999), bytes(990, 999)),
            (Some("bytes=-5000"), bytes(0, 999), bytes(0, 999)),
            (Some("bytes=999-99999999999999999999"), bytes(999, 999), bytes(999, 999)),
            (Some("bytes=1000-"), Part::Whole, Part::Unsatisfiable),
            (Some("bytes=99999999999999999999-"), Part::Whole, Part::Unsatisfiable),
            (Some("bytes=-0"), Part::Whole, Part::Unsatisfiable),
            (Some("bytes=5-1"), Part::Whole, Part::Whole),
            (Some("bytes=0-1,4-5"), Part::Whole, Part::Whole),
            (Some("bytes=-"), Part::Whole, Part::Whole),
            (Some("bytes=+1-2"), Part::Whole, Part::Whole),
            (Some("items=0-1"), Part::Whole, Part::Whole),
        ];
        for (header, oss, standard) in table {
            assert_eq!(part(header, 1000, false), oss, "{header:?}");
            assert_eq!(part(header, 1000, true), standard, "{header:?} by the standard");
        }
        assert_eq!(part(Some("bytes=-1"), 0, true), Part::Unsatisfiable);
    }
}
