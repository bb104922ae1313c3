//! Makes signed URLs: for `sluicegate sign`, the console and the demo. As the SDKs do, in version 1.
//!
//! Sources: OSS, "RTMP ingest URLs and signed ingest URLs", "Add signatures to URLs", hls/sign.

use std::fmt::Write as _;

use super::{mac, publish, v1};
use crate::{
    config::AccessKey,
    query::{encode, encode_path},
    units::UnixSecs,
};

/// Signs for one bucket until one moment.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The key to sign with.
    pub key: &'a AccessKey,
    /// The bucket's name.
    pub bucket: &'a str,
    /// The last second at which the URL is valid.
    pub expires: UnixSecs,
}

impl Signer<'_> {
    /// `BASE/BUCKET/live/CHANNEL?…`, with which an encoder may publish. `base`: `rtmp://HOST[:PORT]`.
    pub fn publish_url(&self, base: &str, channel: &str, playlist_name: Option<&str>) -> String {
        let url = Self::unsigned_publish_url(base, self.bucket, channel);
        url + "?" + &self.publish_query(channel, playlist_name)
    }

    /// The same, where the host of `base` names the bucket: `BASE/live/CHANNEL?…`.
    pub fn publish_url_by_host(&self, base: &str, channel: &str, playlist: Option<&str>) -> String {
        let url = Self::unsigned_publish_url_by_host(base, channel);
        url + "?" + &self.publish_query(channel, playlist)
    }

    /// `BASE/BUCKET/live/CHANNEL`, for a bucket where everybody may publish.
    pub fn unsigned_publish_url(base: &str, bucket: &str, channel: &str) -> String {
        let base = base.trim_end_matches('/');
        Self::unsigned_publish_url_by_host(&format!("{base}/{bucket}"), channel)
    }

    /// The same, where the host of `base` names the bucket: `BASE/live/CHANNEL`.
    pub fn unsigned_publish_url_by_host(base: &str, channel: &str) -> String {
        let mut url = format!("{}/live/", base.trim_end_matches('/'));
        write_channel(channel, &mut url);
        url
    }

    /// The query of a publish URL. `playlist_name`: under which name the playlist is to be found, if not the configured one.
    pub fn publish_query(&self, channel: &str, playlist_name: Option<&str>) -> String {
        let playlist_name = playlist_name.filter(|name| !name.is_empty());
        let parameters = playlist_name.map(|name| ("playlistName", name)).into_iter();
        let expires = self.expires.0.to_string();
        let text = publish::string_to_sign(&expires, parameters, self.bucket, channel);
        let mut query = String::new();
        if let Some(name) = playlist_name {
            query.push_str("playlistName=");
            encode(name, &mut query);
            query.push('&');
        }
        write_signature(&text, self.key, self.expires, &mut query);
        query
    }

    /// `BASE/BUCKET/KEY?…`, with which a player may read the playlist `object` and its segments.
    /// `base`: `http://HOST[:PORT]`.
    pub fn play_url(&self, base: &str, object: &str) -> String {
        let base = base.trim_end_matches('/');
        self.play_url_by_host(&format!("{base}/{}", self.bucket), object)
    }

    /// The same, where the host of `base` names the bucket: `BASE/KEY?…`.
    pub fn play_url_by_host(&self, base: &str, object: &str) -> String {
        let mut url = format!("{}/", base.trim_end_matches('/'));
        encode_path(object, &mut url);
        url + "?" + &self.play_query(object)
    }

    /// The query of a play URL: hls/sign, so that the segments' addresses come signed as well.
    pub fn play_query(&self, object: &str) -> String {
        let (bucket, expires) = (self.bucket, self.expires.0);
        let text = format!("GET\n\n\n{expires}\n/{bucket}/{object}?x-oss-process=hls/sign");
        let mut query = String::from("x-oss-process=hls%2Fsign&");
        write_signature(&text, self.key, self.expires, &mut query);
        query
    }
}

/// The query with which a page of the console may be read until `expires`; without a name, all of them.
pub fn console_query(page: &str, key: &AccessKey, expires: UnixSecs) -> String {
    let mut query = String::new();
    write_signature(&format!("GET\n\n\n{}\n/-/{page}", expires.0), key, expires, &mut query);
    query
}

fn write_signature(string_to_sign: &str, key: &AccessKey, expires: UnixSecs, out: &mut String) {
    out.push_str("OSSAccessKeyId=");
    encode(&key.id, out);
    // Writing to a String does not fail.
    let _ = write!(out, "&Expires={}&Signature=", expires.0);
    mac::write_base64_value(v1::sign(string_to_sign, key), out);
}

/// Writes a channel's name as SDKs write it into a publish URL, which is as it is; only what would end the path there is
/// percent-coded.
fn write_channel(channel: &str, out: &mut String) {
    for character in channel.chars() {
        if character.is_ascii() && (character <= ' ' || "\"#%<>?\\^`{|}\u{7f}".contains(character))
        {
            encode(character.encode_utf8(&mut [0; 4]), out);
        } else {
            out.push(character);
        }
    }
}
