//! A request → the response: what it names, whether the gate lets it, what is there.
//!
//! There is one way through: [`locate`], [`admit`](access::admit), then what the [`Grant`] opens.
//! A refusal and a miss leave by the same door, [`OssError`], with the bucket's CORS headers on, so that a
//! page on another origin can read why it was refused.

mod own;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};

use crate::{
    access::{self, Action, Ask, CorsHeader, Grant, Origin, Policy, Scope},
    api::{self, Asked, Outcome, World, call::Call, intent::Intent},
    channel::SharedChannel,
    config::{Bucket, catalogue::ObjectPath},
    http::{
        address::{Place, Style, locate},
        error::OssError,
        object::{self, Object, Read},
        request::{BodyLength, Request},
        response::{Body, RequestId, Response},
    },
    limits::{HTTP_BODY_BYTES_MAX, OBJECT_KEY_BYTES_MAX},
    query::{Query, decode_path, encode_path},
};

/// What a request comes to.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Answer(Response),
    /// The call takes the request's body, of so many bytes: to be asked again with it.
    Body(usize),
    /// A change that has to be put on flash before it is answered.
    Change(Box<Change>),
    /// To be asked again when the channel of this number has news, or when so many milliseconds have passed since it was
    /// asked first.
    Later(u32, u64),
}

/// A change, and the answer to who asked for it.
#[derive(Debug)]
pub struct Change {
    /// What is to be changed.
    pub intent: Intent,
    done: Response,
    frame: Frame,
}

impl Change {
    /// The answer, once the change is made or found impossible.
    pub fn answer(self, outcome: Result<(), OssError>) -> Response {
        self.frame.dress(outcome.map(|()| self.done))
    }
}

/// What every answer to one request has.
#[derive(Debug)]
struct Frame {
    request_id: RequestId,
    host: String,
    is_head: bool,
    /// The headers by which a browser lets a page read the answer.
    cors: Vec<CorsHeader>,
}

impl Frame {
    fn dress(self, outcome: Result<Response, OssError>) -> Response {
        let response = outcome
            .unwrap_or_else(|error| error.response(self.request_id, &self.host, self.is_head));
        let mut response = self
            .cors
            .into_iter()
            .fold(response, |response, (name, value)| response.with(name, value));
        response.request_id = self.request_id;
        response.is_head_only = self.is_head;
        response
    }
}

/// Answers `request`. `body` is what came behind its head; `None`: nothing was read of it.
pub fn respond(
    request: &Request<'_>,
    body: Option<&[u8]>,
    origin: Origin,
    world: &World<'_>,
) -> Reply {
    let mut frame = Frame {
        request_id: world.request_id,
        host: request.host.to_owned(),
        is_head: request.method == "HEAD",
        cors: Vec::new(),
    };
    let outcome = match locate(world.config, request.host, request.path) {
        Place::Own(path) => own::answer(request, path, origin, world).map(Outcome::Answer),
        Place::Service if own::is_visit(request) => Ok(own::to_console().into()),
        Place::Service => service(request, world).map(Outcome::Answer),
        Place::NoSuchBucket(name) => Err(OssError::no_such_bucket(name)),
        Place::Undecodable(bucket) => {
            frame.cors = cors_headers(request, bucket);
            undecodable(request, bucket).map(Into::into)
        }
        Place::Bucket { bucket, key, style } => {
            frame.cors = cors_headers(request, bucket);
            match in_bucket(request, body, bucket, &key, style, world) {
                Ok(InBucket::Body(bytes)) => return Reply::Body(bytes),
                Ok(InBucket::Later(channel, wait_ms)) => {
                    return Reply::Later(channel.borrow().id, wait_ms);
                }
                Ok(InBucket::Outcome(outcome)) => {
                    note_viewer(bucket, &key, origin, world);
                    Ok(outcome)
                }
                Err(error) => Err(error),
            }
        }
    };
    match outcome {
        Ok(Outcome::Change(intent, done)) => {
            Reply::Change(Box::new(Change { intent, done, frame }))
        }
        Ok(Outcome::Answer(response)) => Reply::Answer(frame.dress(Ok(response))),
        Err(error) => Reply::Answer(frame.dress(Err(error))),
    }
}

/// What stands on every answer of a bucket.
fn cors_headers(request: &Request<'_>, bucket: &Bucket) -> Vec<CorsHeader> {
    // A preflight's own headers say what the method it asks for may do.
    let method = if request.method == "OPTIONS" { "" } else { request.method };
    access::cors_headers(&bucket.cors, request.headers.first("origin"), method)
}

/// A name that is not UTF-8 once it is decoded. A preflight asks for no name, and a page learns of this one only behind it.
fn undecodable(request: &Request<'_>, bucket: &Bucket) -> Result<Response, OssError> {
    if request.method == "OPTIONS" {
        return preflight(request, bucket);
    }
    if Query::parse(request.query).is_ok_and(|query| query.has("live")) {
        let message = "The LiveChannel name is not valid UTF-8.";
        return Err(OssError::new(400, "InvalidChannelName", message).ec("0017-00000259"));
    }
    Err(OssError::new(400, "InvalidObjectName", "The object name is not valid UTF-8."))
}

/// A call for all buckets: there is ListBuckets.
fn service(request: &Request<'_>, world: &World<'_>) -> Result<Response, OssError> {
    let query = parse_query(request)?;
    let policy = Policy::new(world.config, Scope::Service);
    let ask = Ask {
        action: Action::Own,
        method: request.method,
        key: "",
        query: &query,
        headers: request.headers.as_slice(),
    };
    let _grant = access::admit(&ask, &policy, world.gate_time)?;
    if !matches!(request.method, "GET" | "HEAD") {
        return Err(OssError::method_not_allowed(request.method, "SERVICE"));
    }
    api::bucket::list(&query, request.host, world)
}

fn parse_query<'a>(request: &Request<'a>) -> Result<Query<'a>, OssError> {
    Query::parse(request.query)
        .map_err(|error| OssError::new(400, "InvalidArgument", error.to_string()))
}

/// What a request in a bucket comes to.
enum InBucket {
    Outcome(Outcome),
    Body(usize),
    Later(SharedChannel, u64),
}

impl From<Read> for InBucket {
    fn from(read: Read) -> Self {
        match read {
            Read::Answer(response) => response.into(),
            Read::Later(channel, wait_ms) => Self::Later(channel, wait_ms),
        }
    }
}

impl From<Response> for InBucket {
    fn from(response: Response) -> Self {
        Self::Outcome(Outcome::Answer(response))
    }
}

fn in_bucket(
    request: &Request<'_>,
    body: Option<&[u8]>,
    bucket: &Bucket,
    key: &str,
    style: Style,
    world: &World<'_>,
) -> Result<InBucket, OssError> {
    if request.method == "OPTIONS" {
        return preflight(request, bucket).map(Into::into);
    }
    let query = parse_query(request)?;
    let policy = Policy::new(world.config, Scope::Bucket(bucket));
    if !query.has("live") && (key.len() > OBJECT_KEY_BYTES_MAX || key.starts_with(['/', '\\'])) {
        let message =
            "An object's name has 1 to 1023 bytes and does not begin with a slash or a backslash.";
        return Err(OssError::new(400, "InvalidObjectName", message));
    }
    let call = Call::of(request.method, key, &query);
    let ask = Ask {
        action: call.action(),
        method: request.method,
        key,
        query: &query,
        headers: request.headers.as_slice(),
    };
    let grant = access::admit(&ask, &policy, world.gate_time)?;
    let asked = Asked { request, query: &query, body: &[], bucket, key, style };
    if call == Call::ReadObject {
        return read_object(&asked, &grant, &policy, world).map(Into::into);
    }
    let body = match body {
        Some(body) => body,
        None if !call.takes_body() => &[],
        None => match body_bytes(request)? {
            0 => &[],
            bytes => return Ok(InBucket::Body(bytes)),
        },
    };
    check_digest(request, body)?;
    api::answer(call, &Asked { body, ..asked }, &grant, world).map(InBucket::Outcome)
}

/// The length of the body of a call that takes one, before it is read.
fn body_bytes(request: &Request<'_>) -> Result<usize, OssError> {
    match request.body {
        BodyLength::Known(bytes) => usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes <= HTTP_BODY_BYTES_MAX)
            .ok_or_else(|| {
                let message =
                    format!("A request's body may have {HTTP_BODY_BYTES_MAX} bytes here.");
                OssError::new(400, "EntityTooLarge", message)
                    .extra("MaxSizeAllowed", HTTP_BODY_BYTES_MAX.to_string())
                    .extra("ProposedSize", bytes.to_string())
            }),
        BodyLength::Chunked => Err(OssError::new(
            411,
            "MissingContentLength",
            "A request with a body must say its length in Content-Length: chunked transfer is not taken here.",
        )),
    }
}

/// A body that came with its MD5 must have it (OSS: common request headers, Content-MD5).
fn check_digest(request: &Request<'_>, body: &[u8]) -> Result<(), OssError> {
    let Some(told) = request.headers.first("content-md5").filter(|_| !body.is_empty()) else {
        return Ok(());
    };
    if STANDARD.decode(told).is_ok_and(|told| told == Md5::digest(body).as_slice()) {
        return Ok(());
    }
    let message = "The Content-MD5 you specified does not match the body.";
    Err(OssError::new(400, "InvalidDigest", message).extra("Content-MD5", told))
}

fn read_object(
    asked: &Asked<'_>,
    grant: &Grant,
    policy: &Policy<'_>,
    world: &World<'_>,
) -> Result<Read, OssError> {
    let Asked { request, query, bucket, .. } = *asked;
    let in_key = grant.hls_sign_in_key(asked.key);
    let key = in_key.unwrap_or(asked.key);
    let is_signed_playlist = in_key.is_some() || query.first("x-oss-process") == Some("hls/sign");
    let channel =
        key.split_once('/').and_then(|(channel, _)| world.channels.find(&bucket.name, channel));
    let recordings = &world.catalogue.recordings;
    let recording = (!recordings.is_empty())
        .then(|| ObjectPath { bucket: bucket.name.clone(), key: key.into() })
        .and_then(|path| recordings.get(&path));
    let base = if grant.is_signed_in_header() {
        String::new()
    } else {
        base(raw_key(request.path, asked.style), key)
    };
    let may_wait = world.may_wait;
    let object =
        Object { key, is_signed_playlist, base: &base, channel, recording, query, may_wait };
    object::read(request, &object, grant, policy, world.now)
}

/// Counts who was let in to the live playlist `key`, which may have hls/sign in it, as a viewer of its channel.
fn note_viewer(bucket: &Bucket, key: &str, origin: Origin, world: &World<'_>) {
    let key = key.strip_suffix("?x-oss-process=hls/sign").unwrap_or(key);
    let Some((channel, file)) = key.split_once('/') else { return };
    let Some(channel) = world.channels.find(&bucket.name, channel) else { return };
    let mut channel = channel.borrow_mut();
    if channel.is_playlist(file) {
        channel.fetched(origin.peer, world.now);
    }
}

/// The key as it was sent.
fn raw_key(path: &str, style: Style) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    match style {
        Style::Host => path,
        Style::Path => path.split_once('/').map_or("", |(_bucket, key)| key),
    }
}

/// What segment names in a playlist have to begin with to resolve to the folder of `key`.
///
/// A client resolves them against the address as it was sent, where a slash may be escaped and one of `hls/sign` may not.
fn base(raw_key: &str, key: &str) -> String {
    let Some((folder, _)) = key.rsplit_once('/') else { return String::new() };
    let is_folder = |raw: &str| decode_path(raw).is_some_and(|raw| raw == folder);
    let mut base = String::new();
    match raw_key.split_once('/') {
        Some((raw_folder, file)) if !file.contains('/') && is_folder(raw_folder) => {}
        _ => {
            raw_key.matches('/').for_each(|_| base.push_str("../"));
            encode_path(folder, &mut base);
            base.push('/');
        }
    }
    base
}

fn preflight(request: &Request<'_>, bucket: &Bucket) -> Result<Response, OssError> {
    let header = |name| request.headers.first(name);
    let (method, headers) =
        (header("access-control-request-method"), header("access-control-request-headers"));
    let headers = access::preflight(&bucket.cors, header("origin"), method, headers)?;
    Ok(headers.into_iter().fold(Response::new(200, Body::Empty), |response, (name, value)| {
        response.with(name, value)
    }))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, path::Path, rc::Rc};

    use super::*;
    use crate::{
        access::{GateTime, sign::Signer},
        channel::{Channel, Channels},
        config::{Config, catalogue::Catalogue},
        console::Vitals,
        http::request,
        store::memory_flash::ring_of_one_segment,
        units::{Millis, Now, UnixMillis, UnixSecs},
    };

    /// A second after the one that the ring holds.
    const NOW: Now = Now { mono: Millis(1), wall: UnixMillis(1_700_000_002_000) };

    /// A private bucket with a channel that has recorded one segment.
    fn gateway() -> (Config, Channels) {
        let text = "endpoint = \"gw.lan\"\n[[access_key]]\nid = \"a\"\nsecret = \"abcdefgh12345678\"\n\
                    [[bucket]]\nname = \"cams\"\nlive_channel = [{ name = \"door\" }]\n";
        let no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let config = Config::parse(text, "test.toml", &no_files).unwrap().0;
        let mut channels = Channels::default();
        for (bucket, live) in config.live_channels() {
            let mut channel = Channel::new(1, bucket.name.clone(), live.clone());
            channel.opened(ring_of_one_segment(), NOW);
            channels.push(Rc::new(RefCell::new(channel)));
        }
        (config, channels)
    }

    fn get((config, channels): &(Config, Channels), host: &str, target: &str) -> Response {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        let world = World {
            config,
            config_read: UnixSecs(0),
            catalogue: &Catalogue::default(),
            channels,
            vitals: &Vitals::default(),
            now: NOW,
            gate_time: GateTime { now: NOW.wall.as_secs(), plausible_min: UnixSecs(0) },
            request_id: RequestId::default(),
            may_wait: false,
        };
        let origin = Origin { peer: [192, 168, 1, 9].into(), local: [192, 168, 1, 5].into() };
        match respond(&request, None, origin, &world) {
            Reply::Answer(response) => response,
            reply => panic!("{target}: {reply:?}"),
        }
    }

    /// Where `address` leads on a page that stands at `path` (RFC 3986 §5.2, as far as playlists need it).
    fn resolve(path: &str, address: &str) -> String {
        let (address, query) = address.split_once('?').unwrap_or((address, ""));
        let mut pieces: Vec<_> = path.split('/').collect();
        pieces.pop();
        for piece in address.split('/') {
            match piece {
                ".." => drop(pieces.pop()),
                piece => pieces.push(piece),
            }
        }
        format!("{}?{query}", pieces.join("/"))
    }

    /// Every spelling of `door/playlist.m3u8?x-oss-process=hls/sign` as one key, and of the key without it.
    fn spellings() -> Vec<String> {
        let mut spellings = Vec::new();
        for key in [
            "door/playlist.m3u8",
            "door%2Fplaylist.m3u8",
            "door%2fplaylist.m3u8",
            "%64oor/playlist.m3u8",
        ] {
            for end in [
                "",
                "%3Fx-oss-process%3Dhls%2Fsign",
                "%3fx-oss-process=hls%2fsign",
                "%3Fx-oss-process%3Dhls/sign",
            ] {
                spellings.push(format!("{key}{end}"));
            }
        }
        spellings
    }

    /// The query that signs such an address. It is the same signature, whether hls/sign stands in the key or in the query.
    fn signed_for(spelling: &str, config: &Config) -> String {
        let key = &config.access_keys[0];
        let signer = Signer { key, bucket: "cams", expires: UnixSecs(4_000_000_000) };
        let query = signer.play_query("door/playlist.m3u8");
        let (_, behind) = query.split_once('&').unwrap();
        if spelling.contains("process") { behind.into() } else { query }
    }

    #[test]
    fn segments_resolve_from_every_spelling_of_their_playlist_s_address() {
        let gateway = gateway();
        for (host, root) in [("10.0.0.5", "/cams/"), ("cams.gw.lan", "/")] {
            for spelling in spellings() {
                let path = format!("{root}{spelling}");
                let query = signed_for(&spelling, &gateway.0);
                let playlist = get(&gateway, host, &format!("{path}?{query}"));
                let Body::Made(text) = &playlist.body else { panic!("{path}: {playlist:?}") };
                let text = str::from_utf8(text).unwrap();
                let address = text.lines().find(|line| !line.starts_with('#')).unwrap();
                let target = resolve(&path, address);
                let segment = get(&gateway, host, &target);
                assert!(
                    matches!(segment.body, Body::Segment { .. }),
                    "{path}: {target} {segment:?}"
                );
            }
        }
    }

    #[test]
    fn who_fetches_the_playlist_watches_however_its_address_is_spelled() {
        for spelling in spellings() {
            let gateway = gateway();
            let viewers = || gateway.1.find("cams", "door").unwrap().borrow().viewers(NOW);
            let query = signed_for(&spelling, &gateway.0);
            assert_eq!(viewers(), 0);
            get(&gateway, "10.0.0.5", &format!("/cams/{spelling}?{query}x"));
            assert_eq!(viewers(), 0, "{spelling}: the signature is wrong");
            get(&gateway, "10.0.0.5", &format!("/cams/{spelling}?{query}"));
            assert_eq!(viewers(), 1, "{spelling}");
        }
    }
}
