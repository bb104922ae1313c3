//! Host and path of a request → the bucket and object they name, in each of OSS's address styles.
//!
//! Virtual hosted (`BUCKET.ENDPOINT/KEY`), cname (a host name that the configuration gives to a bucket) and path
//! (`HOST/BUCKET/KEY`). Whatever the style, the resource that is signed is `/BUCKET/KEY`.

use crate::{
    config::{Bucket, Config},
    query::decode_path,
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
    /// A path that is not UTF-8 once decoded.
    Undecodable,
}

/// How a request named its bucket: answers name it the same way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// As the first segment of the path.
    Path,
    /// By the host, which is the whole of its address.
    Host,
}

/// Finds out what `host` and `path` name.
pub fn locate<'a>(config: &'a Config, host: &str, path: &'a str) -> Place<'a> {
    if path == "/-" || path.starts_with("/-/") {
        return Place::Own(path);
    }
    let raw = path.strip_prefix('/').unwrap_or(path);
    if let Some(bucket) = bucket_of_host(config, host) {
        return in_bucket(bucket, raw, Style::Host);
    }
    let (name, raw_key) = raw.split_once('/').unwrap_or((raw, ""));
    if name.is_empty() {
        return Place::Service;
    }
    match config.buckets.iter().find(|bucket| bucket.name == name) {
        Some(bucket) => in_bucket(bucket, raw_key, Style::Path),
        None => Place::NoSuchBucket(name),
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

/// `host` without its port; an IPv6 literal keeps its brackets.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
        }
        _ => host,
    }
}

fn in_bucket<'a>(bucket: &'a Bucket, raw_key: &str, style: Style) -> Place<'a> {
    match decode_path(raw_key) {
        Some(key) => Place::Bucket { bucket, key: key.into_owned(), style },
        None => Place::Undecodable,
    }
}
