//! Signs the addresses in a playlist as the request for the playlist was signed (OSS: hls/sign).
//!
//! A segment's URL has the same key, the same end and the same token as the playlist's, and its own signature. All
//! that does not change from segment to segment is hashed once: one segment costs the blocks that its name is in.

use std::fmt::Write as _;

use hmac::Mac;
use sha2::{Digest, Sha256};

use super::{
    Ask, Refusal, mac,
    v1::UrlV1,
    v4::{self, UrlV4},
};
use crate::{
    config::AccessKey,
    limits::HLS_SIGN_TOKEN_BYTES_MAX,
    query::{encode, encode_path},
};

/// Makes the query of one segment's URL after the other.
#[derive(Debug)]
pub struct PlaylistSigner(Version);

#[derive(Debug)]
enum Version {
    V1 {
        /// Has taken the string to sign up to where the key begins.
        mac: mac::HmacSha1,
        /// What is signed behind the key.
        resource_tail: String,
        query_head: String,
        query_tail: String,
    },
    V4 {
        /// Has taken the canonical request up to where the key begins.
        hash: Sha256,
        /// The canonical request behind the key.
        canonical_tail: String,
        /// Has taken the string to sign up to the hash.
        mac: mac::HmacSha256,
        query_head: String,
        /// The key percent-coded, then the hash: kept for its room.
        scratch: String,
    },
}

impl PlaylistSigner {
    pub(super) fn v1(url: &UrlV1, bucket: &str, key: &AccessKey) -> Self {
        let mut mac: mac::HmacSha1 = mac::keyed(key.secret.as_bytes());
        mac.update(format!("GET\n\n\n{}\n/{bucket}/", url.expires.0).as_bytes());
        let mut query_head = String::from("?OSSAccessKeyId=");
        encode(&url.access_key_id, &mut query_head);
        // Writing to a String does not fail.
        let _ = write!(query_head, "&Expires={}&Signature=", url.expires.0);
        let (mut resource_tail, mut query_tail) = (String::new(), String::new());
        if let Some(token) = &url.security_token {
            let equals = if token.is_empty() { "" } else { "=" };
            let _ = write!(resource_tail, "?security-token{equals}{token}");
            query_tail.push_str("&security-token=");
            encode(token, &mut query_tail);
        }
        Self(Version::V1 { mac, resource_tail, query_head, query_tail })
    }

    pub(super) fn v4(url: &UrlV4, bucket: &str, key: &AccessKey) -> Self {
        let UrlV4 { date, region, .. } = url;
        let mut mac = v4::signing_key(key, date, region);
        mac.update(v4::string_to_sign_head(date, region).as_bytes());
        let mut target = String::new();
        v4::write_target("GET", bucket, &mut target);
        // In the canonical order, so that the URL has what is signed word for word.
        let mut query = String::from("x-oss-credential=");
        encode(&v4::credential(&url.access_key_id, date, region), &mut query);
        let _ = write!(query, "&x-oss-date={date}&x-oss-expires={}", url.expires_secs);
        if let Some(token) = url.security_token.as_deref().filter(|token| !token.is_empty()) {
            query.push_str("&x-oss-security-token=");
            encode(token, &mut query);
        }
        let _ = write!(query, "&x-oss-signature-version={}", v4::ALGORITHM);
        Self(Version::V4 {
            hash: Sha256::new_with_prefix(target),
            canonical_tail: format!("\n{query}\n\n\n{}", v4::PAYLOAD),
            mac,
            query_head: format!("?{query}&x-oss-signature="),
            scratch: String::new(),
        })
    }

    /// Appends the query, its `?` included, with which the object `key` of the playlist's bucket may be read.
    pub fn query_for(&mut self, key: &str, out: &mut String) {
        match &mut self.0 {
            Version::V1 { mac, resource_tail, query_head, query_tail } => {
                let mut mac = mac.clone();
                mac.update(key.as_bytes());
                mac.update(resource_tail.as_bytes());
                out.push_str(query_head);
                mac::write_base64_value(mac, out);
                out.push_str(query_tail);
            }
            Version::V4 { hash, canonical_tail, mac, query_head, scratch } => {
                scratch.clear();
                encode_path(key, scratch);
                let hash =
                    hash.clone().chain_update(&*scratch).chain_update(canonical_tail).finalize();
                scratch.clear();
                mac::write_hex(&hash, scratch);
                let mut mac = mac.clone();
                mac.update(scratch.as_bytes());
                out.push_str(query_head);
                mac::write_hex(&mac.finalize().into_bytes(), out);
            }
        }
    }
}

/// Checks the header `x-oss-hls-sign-token` of a hls/sign request. OSS documents its form only, so that is all it does.
pub(super) fn check_token(ask: &Ask<'_>) -> Result<(), Refusal> {
    let is_hls_sign = ask.query.first("x-oss-process") == Some("hls/sign");
    let Some(token) = ask.header("x-oss-hls-sign-token").filter(|_| is_hls_sign) else {
        return Ok(());
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if token.len() <= HLS_SIGN_TOKEN_BYTES_MAX && token.bytes().all(is_word) {
        return Ok(());
    }
    let message = format!(
        "It must have at most {HLS_SIGN_TOKEN_BYTES_MAX} characters of 0-9, A-Z, a-z, `_`, `-` and `.`."
    );
    Err(Refusal::invalid("x-oss-hls-sign-token", token, message))
}
