//! What buckets, LiveChannels, playlists, hosts and keys may be called (OSS: bucket naming, PutLiveChannel; RFC 1123 §2.1).

use std::net::IpAddr;

use smol_str::SmolStr;

use super::problem::quoted;
use crate::limits::ACCESS_KEY_BYTES_MAX;

/// Whether a bucket may be called so.
pub fn is_bucket_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether a LiveChannel may be called so.
///
/// A URL's dot segments never reach a server (RFC 3986 §5.2.4); and where the host names the bucket, what lies below `/-/` is
/// the gateway's own.
pub fn is_channel_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && is_path_segment(name) && !matches!(name, "." | ".." | "-")
}

/// Whether a playlist may be called so.
pub fn is_playlist_name(name: &str) -> bool {
    (6..=128).contains(&name.len()) && is_path_segment(name) && name.ends_with(".m3u8")
}

/// Whether this is a host name, in lower or upper case.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label) && name.parse::<IpAddr>().is_err()
}

/// Whether a region may be called so: it is a part of V4 scopes, which are split at `/`.
fn is_region(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(is_inner)
}

/// Whether an AccessKeyId may be so: it stands between `:`, `/` and `,` in Authorization headers.
fn is_key_id(id: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=ACCESS_KEY_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_inner)
}

/// Whether a LiveChannel may be described so.
pub fn is_description(text: &str) -> bool {
    text.len() <= 128 && is_text(text)
}

fn is_path_segment(name: &str) -> bool {
    !name.contains(['/', '\\']) && is_text(name)
}

/// Whether XML can say it (XML 1.0 §2.2), in one line.
fn is_text(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

// What the configuration holds, read as a name: the error says what is allowed.

pub(super) fn bucket_name(text: &str) -> Result<SmolStr, String> {
    must(
        text,
        is_bucket_name,
        "3 to 63 of a-z, 0-9 and \"-\", with a letter or digit first and last",
    )
}

pub(super) fn channel_name(text: &str) -> Result<SmolStr, String> {
    must(
        text,
        is_channel_name,
        "1 to 63 bytes without \"/\", \"\\\" and control characters, and not \".\", \"..\" or \"-\"",
    )
}

pub(super) fn playlist_name(text: &str) -> Result<SmolStr, String> {
    must(
        text,
        is_playlist_name,
        "6 to 128 bytes that end with \".m3u8\", without \"/\", \"\\\" and control characters",
    )
}

pub(super) fn host_name(text: &str) -> Result<SmolStr, String> {
    must(
        &text.to_ascii_lowercase(),
        is_host_name,
        "a host name such as \"gateway.lan\": no scheme, no port, no IP address",
    )
}

pub(super) fn region(text: &str) -> Result<SmolStr, String> {
    must(text, is_region, "1 to 64 of a-z, 0-9 and \"-\", such as \"cn-hangzhou\"")
}

pub(super) fn description(text: &str) -> Result<SmolStr, String> {
    must(text, is_description, "at most 128 bytes without control characters")
}

/// The message does not show the text: who mistakes the two keys has put the secret here.
pub(super) fn key_id(text: &str) -> Result<SmolStr, String> {
    is_key_id(text).then(|| text.into()).ok_or_else(|| {
        "is not allowed: 1 to 128 of A-Z, a-z, 0-9, \".\", \"_\" and \"-\"".to_owned()
    })
}

fn must(text: &str, holds: fn(&str) -> bool, allowed: &str) -> Result<SmolStr, String> {
    if holds(text) {
        Ok(text.into())
    } else {
        Err(format!("{} is not allowed: {allowed}", quoted(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule, what it allows, what it refuses.
    type Case<'a> = (fn(&str) -> bool, &'a [&'a str], &'a [&'a str]);

    #[test]
    fn names_are_told_apart_by_oss_rules() {
        let long = "x".repeat(64);
        let cases: [Case<'_>; 6] = [
            (
                is_bucket_name,
                &["abc", "a-1", "0b0", &long[1..]],
                &["", "ab", "-ab", "ab-", "Abc", "a.b", "a_b", &long],
            ),
            (
                is_channel_name,
                &["a", "前门", "a b", "a?b", "...", "--", "-a", &long[1..]],
                &["", "a/b", "a\\b", "a\nb", ".", "..", "-", &long],
            ),
            (
                is_playlist_name,
                &["a.m3u8", "直播.m3u8"],
                &["", ".m3u8", "a.m3u", "a/b.m3u8", "a.M3U8", "a\0.m3u8"],
            ),
            (
                is_host_name,
                &["a", "gateway.lan", "A.b", "cam_1.lan", "localhost"],
                &["", "a..b", "a.", "-a", "a:80", "http://a", "10.0.0.1", "::1", "a b"],
            ),
            (is_region, &["cn-hangzhou", "lan"], &["", "CN", "a/b", &"x".repeat(65)]),
            (is_key_id, &["LTAI5tGateway1", "STS.x_y-z"], &["", "a:b", "a/b", "a b", "ä"]),
        ];
        for (number, (holds, good, bad)) in cases.iter().enumerate() {
            for name in *good {
                assert!(holds(name), "rule {number} refuses {name:?}");
            }
            for name in *bad {
                assert!(!holds(name), "rule {number} allows {name:?}");
            }
        }
    }
}
