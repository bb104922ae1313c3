//! CORS rules → what a browser is told about pages of other origins.
//!
//! Sources: OSS, "PutBucketCors" and "Options"; Fetch standard, "CORS protocol". The first rule that allows the origin, the
//! method and every requested header counts. An actual request is never refused: without a matching rule it is answered
//! without these headers, and the browser keeps the answer from the page.

use smol_str::SmolStr;

use super::Refusal;
use crate::config::{Cors, CorsRule};

/// A response header: name and value.
pub type CorsHeader = (&'static str, String);

/// Answers a preflight (OPTIONS) with the headers of its 200, from the request's `Origin`, `Access-Control-Request-Method`
/// and `Access-Control-Request-Headers`. It is not authenticated, and the object need not exist.
///
/// `Vary` is not among them: every answer gets that by [`cors_headers`].
pub fn preflight(
    cors: &Cors,
    origin: Option<&str>,
    method: Option<&str>,
    headers: Option<&str>,
) -> Result<Vec<CorsHeader>, Refusal> {
    if cors.rules.is_empty() {
        return Err(Refusal::cors(
            "CORSResponse: This CORS request is not allowed. The bucket has no CORS rules.",
        ));
    }
    let (Some(origin), Some(method)) = (origin, method) else {
        let message = "CORSResponse: This CORS request is not allowed. A preflight needs Origin and \
            Access-Control-Request-Method.";
        return Err(Refusal::cors(message));
    };
    let wanted = headers.unwrap_or("").split(',').map(str::trim).filter(|name| !name.is_empty());
    let allows_headers =
        |rule: &CorsRule| wanted.clone().all(|name| any_matches(&rule.allowed_headers, name));
    let found = cors
        .rules
        .iter()
        .filter(|rule| allows_headers(rule))
        .find_map(|rule| rule_headers(rule, origin, method));
    let (rule, mut answer) = found.ok_or_else(|| {
        Refusal::cors(
            "CORSResponse: This CORS request is not allowed. No rule of the bucket allows this origin, \
             method and headers.",
        )
    })?;
    match headers.filter(|_| wanted.clone().next().is_some()) {
        Some(headers) => answer.push((ALLOW_HEADERS, headers.to_owned())),
        None => push_list(ALLOW_HEADERS, &rule.allowed_headers, &mut answer),
    }
    Ok(answer)
}

/// The headers that go on the answer to a request which is no preflight, whatever that answer is: a page must be able to
/// read an error too. `origin`: the request's Origin header.
pub fn cors_headers(cors: &Cors, origin: Option<&str>, method: &str) -> Vec<CorsHeader> {
    let found = origin
        .and_then(|origin| cors.rules.iter().find_map(|rule| rule_headers(rule, origin, method)));
    let mut answer = Vec::new();
    if let Some((rule, headers)) = found {
        answer = headers;
        push_list(ALLOW_HEADERS, &rule.allowed_headers, &mut answer);
    }
    if cors.response_vary && !cors.rules.is_empty() {
        answer.push(("Vary", String::from("Origin")));
    }
    answer
}

const ALLOW_HEADERS: &str = "Access-Control-Allow-Headers";

/// If `rule` allows the origin and the method: itself, and what it says but for the request headers.
fn rule_headers<'r>(
    rule: &'r CorsRule,
    origin: &str,
    method: &str,
) -> Option<(&'r CorsRule, Vec<CorsHeader>)> {
    let pattern = rule.allowed_origins.iter().find(|pattern| matches(pattern, origin))?;
    if !rule.allowed_methods.iter().any(|allowed| allowed == method) {
        return None;
    }
    let mut answer = Vec::with_capacity(6);
    let allow_origin = if pattern == "*" { "*" } else { origin };
    answer.push(("Access-Control-Allow-Origin", allow_origin.to_owned()));
    push_list("Access-Control-Allow-Methods", &rule.allowed_methods, &mut answer);
    push_list("Access-Control-Expose-Headers", &rule.expose_headers, &mut answer);
    if let Some(seconds) = rule.max_age_seconds {
        answer.push(("Access-Control-Max-Age", seconds.to_string()));
    }
    Some((rule, answer))
}

fn push_list(name: &'static str, values: &[SmolStr], answer: &mut Vec<CorsHeader>) {
    if !values.is_empty() {
        answer.push((name, values.join(", ")));
    }
}

fn any_matches(patterns: &[SmolStr], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether `pattern`, which has at most one `*`, fits the whole of `text`; without case, as hosts and header names are.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return text.eq_ignore_ascii_case(pattern);
    };
    let (head, tail, text) = (head.as_bytes(), tail.as_bytes(), text.as_bytes());
    let Some((start, rest)) = text.split_at_checked(head.len()) else { return false };
    let Some(end) = rest.len().checked_sub(tail.len()).and_then(|at| rest.get(at..)) else {
        return false;
    };
    start.eq_ignore_ascii_case(head) && end.eq_ignore_ascii_case(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<SmolStr> {
        list.iter().map(SmolStr::new).collect()
    }

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        CorsRule {
            allowed_origins: names(origins),
            allowed_methods: names(methods),
            allowed_headers: names(headers),
            expose_headers: Vec::new(),
            max_age_seconds: None,
        }
    }

    #[test]
    fn one_star_may_stand_anywhere() {
        let table = [
            ("*", "null", true),
            ("http://a.lan", "http://a.lan", true),
            ("http://a.lan", "HTTP://A.lan", true),
            ("http://a.lan", "http://a.lan:8080", false),
            ("http://a.lan", "https://a.lan", false),
            ("http://*.lan", "http://a.lan", true),
            ("http://*.lan", "http://a.b.lan", true),
            ("http://*.lan", "http://.lan", true),
            ("http://*.lan", "http://lan", false),
            ("http://*.lan", "http://a.lan.evil.org", false),
            ("http://ab*ba", "http://aba", false),
            ("x-*", "X-Custom", true),
            ("é*", "\u{65}", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_allows_all_of_it_counts() {
        let first = rule(&["http://a.lan"], &["GET"], &[]);
        let second = CorsRule {
            expose_headers: names(&["ETag", "Date"]),
            max_age_seconds: Some(60),
            ..rule(&["*"], &["GET", "HEAD"], &["range", "x-*"])
        };
        let cors = Cors { response_vary: true, rules: vec![first, second] };
        let get = |headers| preflight(&cors, Some("http://a.lan"), Some("GET"), headers).unwrap();
        let plain = |list: &[(&'static str, &str)]| {
            list.iter().map(|(n, v)| (*n, String::from(*v))).collect::<Vec<_>>()
        };
        assert_eq!(
            get(None),
            plain(&[
                ("Access-Control-Allow-Origin", "http://a.lan"),
                ("Access-Control-Allow-Methods", "GET")
            ])
        );
        assert_eq!(
            get(Some("Range, X-Any")),
            plain(&[
                ("Access-Control-Allow-Origin", "*"),
                ("Access-Control-Allow-Methods", "GET, HEAD"),
                ("Access-Control-Expose-Headers", "ETag, Date"),
                ("Access-Control-Max-Age", "60"),
                ("Access-Control-Allow-Headers", "Range, X-Any"),
            ])
        );
        assert_eq!(
            preflight(&cors, Some("http://a.lan"), Some("GET"), Some("range,cookie"))
                .unwrap_err()
                .status(),
            403
        );
    }

    #[test]
    fn a_preflight_without_origin_or_method_or_rules_is_refused() {
        let cors = Cors { response_vary: false, rules: vec![rule(&["*"], &["GET"], &["*"])] };
        for (origin, method) in [
            (None, Some("GET")),
            (Some("http://a"), None),
            (Some("http://a"), Some("PUT")),
            (Some("http://a"), Some("get")),
        ] {
            let refusal = preflight(&cors, origin, method, None).unwrap_err();
            assert_eq!((refusal.status(), refusal.code()), (403, "AccessForbidden"));
            assert!(
                refusal.message().starts_with("CORSResponse: This CORS request is not allowed.")
            );
        }
        assert!(preflight(&Cors::default(), Some("http://a"), Some("GET"), None).is_err());
    }

    #[test]
    fn vary_is_on_every_answer_or_on_none() {
        let vary = Cors { response_vary: true, rules: vec![rule(&["http://a"], &["GET"], &[])] };
        let has_vary = |cors: &Cors, origin: Option<&str>| {
            cors_headers(cors, origin, "GET").iter().any(|(name, _)| *name == "Vary")
        };
        assert!(
            has_vary(&vary, None)
                && has_vary(&vary, Some("http://a"))
                && has_vary(&vary, Some("http://b"))
        );
        assert!(!has_vary(&Cors { response_vary: true, rules: Vec::new() }, None));
        assert!(!has_vary(&Cors { response_vary: false, ..vary }, Some("http://a")));
    }
}
