//! Hotlink protection: which pages may embed what a bucket has.
//!
//! Source: OSS, "Hotlink protection". In a pattern `*` is any number of characters and `?` is one. OSS's rule is that of a
//! prefix: `http://good.com` admits `http://good.com/player`, and `http://good.com.evil.org` as well. Matching at a
//! boundary is ours and closes that hole. Scheme and host are compared without case, the path with it.

use smol_str::SmolStr;

use super::{Policy, Refusal};
use crate::{
    config::{Referer, RefererMatch},
    limits::REFERER_BYTES_MAX,
};

/// Refuses a request from a page that the bucket does not allow. `sent`: its Referer header.
pub(super) fn check(sent: Option<&str>, policy: &Policy<'_>) -> Result<(), Refusal> {
    match policy.bucket() {
        Some(bucket) if !is_allowed(sent.unwrap_or(""), &bucket.referer) => {
            Err(Refusal::referer(&bucket.name))
        }
        _ => Ok(()),
    }
}

/// Whether it depends on the page what [`check`] says.
pub(super) fn has_rules(policy: &Policy<'_>) -> bool {
    policy.bucket().is_some_and(|bucket| {
        !bucket.referer.whitelist.is_empty() || !bucket.referer.blacklist.is_empty()
    })
}

/// An empty whitelist allows every page that the blacklist does not name, and a request from none.
fn is_allowed(sent: &str, rules: &Referer) -> bool {
    if sent.is_empty() {
        return rules.allow_empty || rules.whitelist.is_empty();
    }
    let page = cut(sent.as_bytes(), rules);
    let matches = |pattern: &SmolStr| matches(pattern.as_bytes(), page, rules.matching);
    !rules.blacklist.iter().any(matches)
        && (rules.whitelist.is_empty() || rules.whitelist.iter().any(matches))
}

/// What of a Referer is compared.
fn cut<'a>(sent: &'a [u8], rules: &Referer) -> &'a [u8] {
    let sent = sent.get(..REFERER_BYTES_MAX).unwrap_or(sent);
    let end = if rules.truncate_path {
        origin_length(sent, b"/?#")
    } else if rules.allow_truncate_query_string {
        sent.iter().position(|byte| *byte == b'?').unwrap_or(sent.len())
    } else {
        sent.len()
    };
    sent.get(..end).unwrap_or(sent)
}

/// Length of scheme, host and port: up to the first of `path_starts` behind `://`.
fn origin_length(address: &[u8], path_starts: &[u8]) -> usize {
    let scheme = address.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let is_path = |byte: &u8| path_starts.contains(byte);
    address.iter().skip(scheme).position(is_path).map_or(address.len(), |at| scheme + at)
}

fn matches(pattern: &[u8], page: &[u8], matching: RefererMatch) -> bool {
    let origin_bytes = origin_length(page, b"/?#");
    match matching {
        RefererMatch::Prefix => glob(pattern, page, origin_bytes, |_| true),
        RefererMatch::Boundary => {
            // Apart, so that a `*` for a host does not reach into a path: `http://evil.org/.good.com`.
            let (page_origin, page_path) = page.split_at(origin_bytes);
            let (origin, path) = pattern.split_at(origin_length(pattern, b"/"));
            let is_boundary = |rest: &[u8]| {
                path.ends_with(b"/") || rest.first().is_none_or(|next| b"/:?#".contains(next))
            };
            glob(origin, page_origin, origin_bytes, is_port)
                && glob(path, page_path, 0, is_boundary)
        }
    }
}

/// Whether `rest`, which stands behind the matched part of an origin, is at most a port.
fn is_port(rest: &[u8]) -> bool {
    matches!(rest, [] | [b':', ..])
}

/// Whether `pattern` fits the beginning of `text` so that `may_end` agrees with what is left of it. The first
/// `caseless_bytes` of `text` are compared without case.
///
/// Only the last `*` is ever tried again, which is enough: an earlier one has matched as little as it can.
fn glob(
    pattern: &[u8],
    text: &[u8],
    caseless_bytes: usize,
    may_end: impl Fn(&[u8]) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut behind_star = None;
    loop {
        let is_same = |a: &u8, b: &u8| a == b || t < caseless_bytes && a.eq_ignore_ascii_case(b);
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                p += 1;
                behind_star = Some((p, t));
            }
            (Some(b'?'), Some(_)) => (p, t) = (p + 1, t + 1),
            (Some(a), Some(b)) if is_same(a, b) => (p, t) = (p + 1, t + 1),
            (None, _) if may_end(text.get(t..).unwrap_or_default()) => return true,
            _ => match behind_star {
                Some((star_p, star_t)) if star_t < text.len() => {
                    (p, t) = (star_p, star_t + 1);
                    behind_star = Some((p, t));
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(whitelist: &[&str], blacklist: &[&str]) -> Referer {
        Referer {
            allow_empty: false,
            whitelist: whitelist.iter().map(SmolStr::new).collect(),
            blacklist: blacklist.iter().map(SmolStr::new).collect(),
            allow_truncate_query_string: false,
            truncate_path: false,
            matching: RefererMatch::Prefix,
        }
    }

    #[test]
    fn a_pattern_is_a_prefix_or_ends_at_a_boundary() {
        // pattern, Referer, as a prefix, at a boundary
        let table = [
            ("http://good.com", "http://good.com", true, true),
            ("http://good.com", "http://good.com/", true, true),
            ("http://good.com", "http://good.com/a?b", true, true),
            ("http://good.com", "http://good.com:8080/", true, true),
            ("http://good.com", "http://good.com?x", true, true),
            ("http://good.com", "http://good.com.evil.org/", true, false),
            ("http://good.com", "http://good.community/", true, false),
            ("http://good.com", "http://good.com@evil.org/", true, false),
            ("http://good.com", "https://good.com/", false, false),
            ("http://good.com", "http://a.good.com/", false, false),
            ("http://good.com", "http://goo", false, false),
            ("http://good.com:8080", "http://good.com:8080/x", true, true),
            ("http://good.com:80", "http://good.com:8080/x", true, false),
            ("http://good.com/", "http://good.com/player", true, true),
            ("http://good.com/a", "http://good.com/a/b", true, true),
            ("http://good.com/a", "http://good.com/ab", true, false),
            ("http://good.com/a", "http://good.com/A", false, false),
            ("HTTP://Good.com", "http://gOOD.com/", true, true),
            ("*.good.com", "http://a.good.com/", true, true),
            ("*.good.com", "https://a.b.good.com:81/x", true, true),
            ("*.good.com", "http://good.com/", false, false),
            ("*.good.com", "http://evil.org/.good.com", true, false),
            ("http://*.good.com", "http://evil.org/?.good.com", true, false),
            ("http://*.good.com", "http://x.good.com.evil.org/y.good.com", true, false),
            ("http://*.good.com/cam/*", "http://x.good.com/cam/1", true, true),
            ("http://cam?.lan", "http://cam1.lan/", true, true),
            ("http://cam?.lan", "http://cam.lan/", false, false),
            ("http://cam?.lan", "http://cam12.lan/", false, false),
            ("*", "http://any.where/", true, true),
            ("good.com", "http://good.com/", false, false),
            ("http://*a*b", "http://xaxab", true, true),
            ("http://*a*b", "http://xbxa", false, false),
            ("**", "x", true, true),
        ];
        for (pattern, sent, as_prefix, at_boundary) in table {
            let is = |matching| matches(pattern.as_bytes(), sent.as_bytes(), matching);
            assert_eq!(is(RefererMatch::Prefix), as_prefix, "{pattern} {sent} prefix");
            assert_eq!(is(RefererMatch::Boundary), at_boundary, "{pattern} {sent} boundary");
        }
    }

    #[test]
    fn the_blacklist_goes_before_the_whitelist_and_an_empty_whitelist_allows() {
        let table = [
            (rules(&[], &[]), "http://any/", true),
            (rules(&[], &["http://bad"]), "http://bad/", false),
            (rules(&[], &["http://bad"]), "http://any/", true),
            (rules(&["http://good"], &[]), "http://good/", true),
            (rules(&["http://good"], &[]), "http://any/", false),
            (rules(&["*"], &["http://bad"]), "http://bad/", false),
            (rules(&["http://good"], &["http://good/x"]), "http://good/x", false),
        ];
        for (rules, sent, allowed) in table {
            assert_eq!(is_allowed(sent, &rules), allowed, "{sent} {rules:?}");
        }
    }

    #[test]
    fn a_missing_referer_passes_where_that_is_allowed_or_nothing_is_listed() {
        for (allow_empty, whitelist, allowed) in [
            (true, &["http://good"][..], true),
            (false, &["http://good"], false),
            (false, &[], true),
            (true, &[], true),
        ] {
            let rules = Referer { allow_empty, ..rules(whitelist, &["http://bad"]) };
            assert_eq!(is_allowed("", &rules), allowed, "{rules:?}");
        }
    }

    #[test]
    fn what_is_cut_off_is_not_compared() {
        let whole = rules(&["http://good/a?token"], &[]);
        assert!(is_allowed("http://good/a?token=1", &whole));
        let no_query = Referer { allow_truncate_query_string: true, ..whole };
        assert!(!is_allowed("http://good/a?token=1", &no_query));
        let no_path = Referer { truncate_path: true, ..rules(&["http://good/a"], &[]) };
        assert!(!is_allowed("http://good/a", &no_path));
        // Wildcards still mean what they mean: nothing of the path is left to find a host in.
        let wild = Referer {
            truncate_path: true,
            allow_truncate_query_string: true,
            ..rules(&["http://*.good.com"], &[])
        };
        assert!(is_allowed("http://a.good.com/x", &wild));
        assert!(!is_allowed("http://evil.org/.good.com", &wild));
    }

    #[test]
    fn a_longer_referer_is_matched_by_its_beginning() {
        let long = format!("http://good/{}", "a".repeat(REFERER_BYTES_MAX));
        assert!(is_allowed(&long, &rules(&["http://good"], &[])));
        assert!(!is_allowed(&format!("{long}end"), &rules(&["*end"], &[])));
    }

    #[test]
    fn globs_agree_with_a_plain_recursive_reading() {
        fn plain(pattern: &[u8], text: &[u8], whole: bool) -> bool {
            match pattern.split_first() {
                None => !whole || text.is_empty(),
                Some((b'*', rest)) => {
                    (0..=text.len()).any(|taken| plain(rest, &text[taken..], whole))
                }
                Some((first, rest)) => text.split_first().is_some_and(|(t, tail)| {
                    (*first == b'?' || first == t) && plain(rest, tail, whole)
                }),
            }
        }
        let words = |letters: &'static [u8], length: u32| {
            (0..=length).flat_map(move |n| {
                let base = letters.len();
                (0..base.pow(n)).map(move |i| {
                    (0..n).map(|d| letters[i / base.pow(d) % base]).collect::<Vec<_>>()
                })
            })
        };
        for pattern in words(b"ab*?", 4) {
            for text in words(b"ab", 5) {
                assert_eq!(
                    glob(&pattern, &text, 0, |_| true),
                    plain(&pattern, &text, false),
                    "{pattern:?} {text:?}"
                );
                assert_eq!(
                    glob(&pattern, &text, 0, <[u8]>::is_empty),
                    plain(&pattern, &text, true),
                    "{pattern:?} {text:?}"
                );
            }
        }
    }
}
