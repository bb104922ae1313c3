//! Host and path of a request → the bucket and object they name, in each of OSS's address styles.
//!
//! Virtual hosted (`BUCKET.ENDPOINT/KEY`), cname (a host name that the configuration gives to a bucket) and path
//! (`HOST/BUCKET/KEY`). Whatever the style, the resource that is signed is `/BUCKET/KEY`.

use crate::{
    config::{Bucket, Config, names::is_bucket_name},
    query::{decode_path, without_port},
};

/// What a request is about.
#[derive(Debug, Eq, PartialEq)]
pub enum Place<'a> {
    /// The daemon's own pages, below `/-/`: the path as sent.
    Own(&'a str),
    /// The service: all buckets.
    Service,
    /// A bucket that the configuration has, and a key in it; an empty key is the bucket itself.
    Bucket {
        /// The bucket.
        bucket: &'a Bucket,
        /// The key, decoded; empty for the bucket itself.
        key: String,
        /// How the request named the bucket.
        style: Style,
    },
    /// A bucket that the configuration does not have.
    NoSuchBucket(&'a str),
    /// A key in this bucket that is not UTF-8 once decoded.
    Undecodable(&'a Bucket),
}

/// How a request named its bucket: answers name it the same way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// As the first segment of the path.
    Path,
    /// By the host, which is the whole of its address.
    Host,
}

impl Style {
    /// What a bucket's addresses begin with: `SCHEME://HOST` or `SCHEME://HOST/BUCKET`.
    ///
    /// `host` is the one that was asked, port included: RTMP is taken on the HTTP ports too.
    pub fn base(self, scheme: &str, host: &str, bucket: &str) -> String {
        match self {
            Self::Path => format!("{scheme}://{host}/{bucket}"),
            Self::Host => format!("{scheme}://{host}"),
        }
    }
}

/// Finds out what `host` and `path` name.
///
/// Below the endpoint, a host name that is no bucket may still be another name of the box, if the path names a bucket; if
/// it does not, the host is the bucket that was meant.
pub fn locate<'a>(config: &'a Config, host: &'a str, path: &'a str) -> Place<'a> {
    if path == "/-" || path.starts_with("/-/") {
        return Place::Own(path);
    }
    let raw = path.strip_prefix('/').unwrap_or(path);
    if let Some(bucket) = bucket_of_host(config, host) {
        return in_bucket(bucket, raw, Style::Host);
    }
    let (name, raw_key) = raw.split_once('/').unwrap_or((raw, ""));
    match config.buckets.iter().find(|bucket| bucket.name == name) {
        Some(bucket) => in_bucket(bucket, raw_key, Style::Path),
        None => match label_below_endpoint(config, host) {
            Some(label) => Place::NoSuchBucket(label),
            None if name.is_empty() => Place::Service,
            None => Place::NoSuchBucket(name),
        },
    }
}

/// The bucket that a host name means by itself, if there is one. `host` may carry a port.
pub fn bucket_of_host<'c>(config: &'c Config, host: &str) -> Option<&'c Bucket> {
    let host = without_port(host);
    let is = |name: &str| host.eq_ignore_ascii_case(name);
    if let Some(bucket) =
        config.buckets.iter().find(|bucket| bucket.hosts.iter().any(|name| is(name)))
    {
        return Some(bucket);
    }
    let (first, rest) = host.split_once('.')?;
    let is_ours =
        config.endpoint.as_ref().is_some_and(|endpoint| rest.eq_ignore_ascii_case(endpoint))
            || rest.eq_ignore_ascii_case("localhost");
    if !is_ours {
        return None;
    }
    config.buckets.iter().find(|bucket| first.eq_ignore_ascii_case(&bucket.name))
}

/// What stands before the endpoint in a host name, if that can be a bucket's name.
fn label_below_endpoint<'h>(config: &Config, host: &'h str) -> Option<&'h str> {
    let (label, rest) = without_port(host).split_once('.')?;
    let is_below = rest.eq_ignore_ascii_case(config.endpoint.as_deref()?);
    (is_below && is_bucket_name(label)).then_some(label)
}

fn in_bucket<'a>(bucket: &'a Bucket, raw_key: &str, style: Style) -> Place<'a> {
    match decode_path(raw_key) {
        Some(key) => Place::Bucket { bucket, key: key.into_owned(), style },
        None => Place::Undecodable(bucket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = "endpoint = \"gw.lan\"\n[[access_key]]\nid = \"a\"\nsecret = \"abcdefgh12345678\"\n\
                    [[bucket]]\nname = \"cams\"\nhosts = [\"cams.example.com\"]\n";
        let no_files = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        Config::parse(text, "test.toml", &no_files).unwrap().0
    }

    #[test]
    fn every_style_names_the_same_object() {
        let config = config();
        let table = [
            ("192.168.1.5:8080", "/cams/door/a.ts", Style::Path),
            ("[::1]:8080", "/cams/door%2Fa.ts", Style::Path),
            ("CAMS.gw.lan:8080", "/door/a.ts", Style::Host),
            ("cams.localhost", "/door/a.ts", Style::Host),
            ("cams.example.com:80", "/door/a.ts", Style::Host),
        ];
        for (host, path, expected) in table {
            let Place::Bucket { key, style, .. } = locate(&config, host, path) else {
                panic!("{host}{path}")
            };
            assert_eq!((key.as_str(), style), ("door/a.ts", expected), "{host}{path}");
        }
    }

    #[test]
    fn what_is_no_object_is_told_apart() {
        let config = config();
        assert_eq!(locate(&config, "gw.lan", "/-/play"), Place::Own("/-/play"));
        assert_eq!(locate(&config, "gw.lan", "/"), Place::Service);
        assert_eq!(locate(&config, "gw.lan", "/none/x"), Place::NoSuchBucket("none"));
        assert_eq!(locate(&config, "none.gw.lan:80", "/?live"), Place::NoSuchBucket("none"));
        assert_eq!(locate(&config, "none.gw.lan", "/door/x"), Place::NoSuchBucket("none"));
        assert_eq!(locate(&config, "box.lan", "/"), Place::Service);
        assert!(matches!(locate(&config, "none.gw.lan", "/cams/x"), Place::Bucket { .. }));
        let cams = &config.buckets[0];
        assert_eq!(locate(&config, "gw.lan", "/cams/%FF"), Place::Undecodable(cams));
        assert!(
            matches!(locate(&config, "x", "/cams"), Place::Bucket { key, .. } if key.is_empty())
        );
        assert!(
            matches!(locate(&config, "x", "/cams/a+b"), Place::Bucket { key, .. } if key == "a+b")
        );
    }

    #[test]
    fn addresses_are_given_in_the_style_of_the_request() {
        assert_eq!(Style::Path.base("rtmp", "10.0.0.5:8080", "cams"), "rtmp://10.0.0.5:8080/cams");
        assert_eq!(Style::Host.base("http", "cams.gw.lan", "cams"), "http://cams.gw.lan");
    }
}
