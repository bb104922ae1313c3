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
    query::{Query, encode_path},
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
    if call == Call::ReadObject {
        return read_object(request, bucket, key, &query, &grant, &policy, world).map(Into::into);
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
    let asked = Asked { request, query: &query, body, bucket, key, style };
    api::answer(call, &asked, &grant, world).map(InBucket::Outcome)
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
    request: &Request<'_>,
    bucket: &Bucket,
    key: &str,
    query: &Query<'_>,
    grant: &Grant,
    policy: &Policy<'_>,
    world: &World<'_>,
) -> Result<Read, OssError> {
    let in_key = grant.hls_sign_in_key(key);
    let key = in_key.unwrap_or(key);
    let is_signed_playlist = in_key.is_some() || query.first("x-oss-process") == Some("hls/sign");
    let channel =
        key.split_once('/').and_then(|(channel, _)| world.channels.find(&bucket.name, channel));
    let recordings = &world.catalogue.recordings;
    let recording = (!recordings.is_empty())
        .then(|| ObjectPath { bucket: bucket.name.clone(), key: key.into() })
        .and_then(|path| recordings.get(&path));
    let base = if grant.is_signed_in_header() { String::new() } else { base(request.path, key) };
    let may_wait = world.may_wait;
    let object =
        Object { key, is_signed_playlist, base: &base, channel, recording, query, may_wait };
    object::read(request, &object, grant, policy, world.now)
}

/// Counts who was let in to the live playlist `key` as a viewer of its channel.
fn note_viewer(bucket: &Bucket, key: &str, origin: Origin, world: &World<'_>) {
    let Some((channel, file)) = key.split_once('/') else { return };
    let Some(channel) = world.channels.find(&bucket.name, channel) else { return };
    let mut channel = channel.borrow_mut();
    if channel.is_playlist(file) {
        channel.fetched(origin.peer, world.now);
    }
}

/// What segment names in a playlist have to begin with to resolve to the key's folder.
fn base(path: &str, key: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    let is_escaped = file.to_ascii_lowercase().contains("%2f");
    let mut base = String::new();
    if let (true, Some((folder, _))) = (is_escaped, key.rsplit_once('/')) {
        encode_path(folder, &mut base);
        base.push('/');
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
