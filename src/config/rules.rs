//! The tables `referer` and `cors` of a bucket (OSS: hotlink protection; PutBucketCors).

use smol_str::SmolStr;

use super::{
    Acl, Cors, CorsRule, Referer, RefererMatch,
    problem::{At, quoted},
    table::Table,
};
use crate::limits::{CORS_RULES_MAX, CORS_VALUES_MAX, PATTERN_BYTES_MAX, REFERER_PATTERNS_MAX};

/// Methods that a CORS rule may allow (OSS: PutBucketCors, AllowedMethod).
const METHODS: [&str; 5] = ["GET", "PUT", "DELETE", "POST", "HEAD"];

/// Largest MaxAgeSeconds (OSS: PutBucketCors).
const MAX_AGE_SECONDS_MAX: u32 = 999_999_999;

pub(super) fn referer(mut table: Table<'_>) -> Referer {
    let whitelist = table.texts("whitelist", REFERER_PATTERNS_MAX, pattern);
    let blacklist = table.texts("blacklist", REFERER_PATTERNS_MAX, pattern);
    let referer = Referer {
        allow_empty: table.flag("allow_empty").unwrap_or(true),
        blacklist: blacklist.iter().map(|(_, pattern)| pattern.clone()).collect(),
        allow_truncate_query_string: table.flag("allow_truncate_query_string").unwrap_or(true),
        truncate_path: table.flag("truncate_path").unwrap_or(false),
        matching: table
            .word(
                "match",
                &[("prefix", RefererMatch::Prefix), ("boundary", RefererMatch::Boundary)],
            )
            .unwrap_or(RefererMatch::Prefix),
        whitelist: whitelist.iter().map(|(_, pattern)| pattern.clone()).collect(),
    };
    let notes = table.notes;
    if referer.truncate_path && !referer.allow_truncate_query_string {
        notes.problem(&table.at("truncate_path"), "needs allow_truncate_query_string = true");
    }
    if !referer.allow_empty && referer.whitelist.is_empty() {
        notes.warn(
            &table.at("allow_empty"),
            "has no effect: with an empty whitelist everybody passes, with a Referer and without",
        );
    }
    for list in [&whitelist, &blacklist] {
        if let Some((at, pattern)) = list.iter().find(|(_, pattern)| never_matches(pattern)) {
            notes.warn(
                at,
                format!("never matches: a Referer begins with \"http://\" or \"https://\"; write \"http://{pattern}\" or \"*{pattern}\""),
            );
        }
        let mut others = list.iter().filter(|(_, pattern)| !never_matches(pattern));
        if referer.truncate_path
            && let Some((at, origin)) =
                others.find_map(|(at, pattern)| Some((at, before_path(pattern)?)))
        {
            notes.warn(
                at,
                format!("never matches: truncate_path cuts a Referer off before its path; write {origin:?}"),
            );
        }
    }
    if let Some((at, pattern)) =
        whitelist.iter().find(|(_, pattern)| is_open_ended(pattern) && !never_matches(pattern))
        && referer.matching == RefererMatch::Prefix
    {
        notes.warn(
            at,
            format!(
                "matches every longer name too, such as {:?}: that is OSS's rule; match = \"boundary\" closes it",
                format!("{pattern}.evil.org/")
            ),
        );
    }
    table.finish();
    referer
}

pub(super) fn cors(mut table: Table<'_>, acl: Acl) -> Cors {
    let rules = table.tables("rule", CORS_RULES_MAX);
    let cors = Cors {
        response_vary: table.flag("response_vary").unwrap_or(false),
        rules: rules.into_iter().map(cors_rule).collect(),
    };
    if cors.response_vary && cors.rules.is_empty() {
        table.notes.problem(&table.at("response_vary"), "needs at least one [[bucket.cors.rule]]");
    }
    // Shared caches keep what is public only, and with one origin's answer they serve the others.
    let mut origins = cors.rules.iter().flat_map(|rule| &rule.allowed_origins);
    if acl != Acl::Private && !cors.response_vary && origins.any(|origin| origin != "*") {
        table.notes.warn(
            &table.at("response_vary"),
            "answers differ by origin and caches are not told: set response_vary = true",
        );
    }
    table.finish();
    cors
}

fn cors_rule(mut table: Table<'_>) -> CorsRule {
    for key in ["allowed_origins", "allowed_methods"] {
        table.require(key);
        if table.is_empty(key) {
            table.notes.problem(&table.at(key), "needs at least one value");
        }
    }
    let origins = table.texts("allowed_origins", CORS_VALUES_MAX, one_star);
    let is_address =
        |origin: &str| origin.split_once("://").is_some_and(|(_, host)| host.contains('/'));
    if let Some((at, _)) = origins.iter().find(|(_, origin)| is_address(origin)) {
        table.notes.warn(
            at,
            "never matches: an origin is a scheme, a host and a port, without \"/\" after them",
        );
    }
    let rule = CorsRule {
        allowed_origins: values(origins),
        allowed_methods: values(table.texts("allowed_methods", CORS_VALUES_MAX, method)),
        allowed_headers: values(table.texts("allowed_headers", CORS_VALUES_MAX, one_star)),
        expose_headers: values(table.texts("expose_headers", CORS_VALUES_MAX, header)),
        max_age_seconds: table.number("max_age_seconds", 0..=MAX_AGE_SECONDS_MAX),
    };
    table.finish();
    rule
}

fn values(placed: Vec<(At, SmolStr)>) -> Vec<SmolStr> {
    placed.into_iter().map(|(_, value)| value).collect()
}

fn pattern(text: &str) -> Result<SmolStr, String> {
    let is_one = (1..=PATTERN_BYTES_MAX).contains(&text.len())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    let allowed = || {
        format!("{} is not allowed: 1 to {PATTERN_BYTES_MAX} bytes without spaces", quoted(text))
    };
    is_one.then(|| text.into()).ok_or_else(allowed)
}

fn one_star(text: &str) -> Result<SmolStr, String> {
    if text.matches('*').count() > 1 {
        return Err(format!("{} is not allowed: it may hold one \"*\"", quoted(text)));
    }
    pattern(text)
}

fn method(text: &str) -> Result<SmolStr, String> {
    let allowed = || format!("{} is not one of {}", quoted(text), METHODS.join(", "));
    METHODS.contains(&text).then(|| text.into()).ok_or_else(allowed)
}

fn header(text: &str) -> Result<SmolStr, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b);
    let is_name = (1..=PATTERN_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_token);
    is_name
        .then(|| text.into())
        .ok_or_else(|| format!("{} is not the name of a header", quoted(text)))
}

/// Whether a Referer, which begins with a scheme, can't match.
fn never_matches(pattern: &str) -> bool {
    !pattern.contains("://") && !pattern.starts_with(['*', '?'])
}

/// What of a pattern stands before the path, if it has one.
fn before_path(pattern: &str) -> Option<&str> {
    let origin = pattern.split_once("://").map_or(pattern, |(_, host)| host);
    // A star that stands for the scheme may stand for its slashes too, or for one of them.
    let host = origin.trim_start_matches(['*', '?', '/']);
    let path_bytes = host.len() - host.find('/')?;
    pattern.get(..pattern.len() - path_bytes)
}

/// Whether a pattern stops within the host's name, so that a longer name matches it as well.
fn is_open_ended(pattern: &str) -> bool {
    let host = pattern.split_once("://").map_or(pattern, |(_, host)| host);
    !host.contains('/') && host != "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_end_within_the_host_are_told_from_those_that_do_not() {
        for (pattern, open_ended) in [
            ("http://good.com", true),
            ("*.good.com", true),
            ("http://*", false),
            ("*", false),
            ("http://good.com/", false),
            ("https://good.com/cams*", false),
        ] {
            assert_eq!(is_open_ended(pattern), open_ended, "{pattern}");
        }
    }

    #[test]
    fn values_are_read_by_oss_rules() {
        assert!(one_star("https://*.example.com").is_ok());
        assert!(one_star("https://*.*.com").is_err());
        assert!(method("GET").is_ok());
        assert!(method("get").is_err());
        assert!(header("x-oss-request-id").is_ok());
        for bad in ["", "*", "a b", "a:b"] {
            assert!(header(bad).is_err(), "{bad}");
        }
    }
}
