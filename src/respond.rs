//! A request → the response: what it names, whether the gate lets it, what is there.
//!
//! There is one way through: [`locate`], [`admit`](access::admit), then what the [`Grant`](access::Grant) opens.
//! A refusal and a miss leave by the same door, [`OssError`], with the bucket's CORS headers on, so that a
//! page on another origin can read why it was refused.

use crate::{
    access::{self, Action, Ask, GateTime, Policy, Refusal, Scope},
    channel::Channels,
    config::{Bucket, Config},
    console,
    http::{
        address::{Place, locate},
        error::OssError,
        object::{self, Object},
        request::Request,
        response::{Body, RequestId, Response},
    },
    query::{Query, encode_path},
    units::Now,
};

/// What a response is made from.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// The channels.
    pub channels: &'a Channels,
    /// The time.
    pub now: Now,
    /// The time that signatures are measured by.
    pub gate_time: GateTime,
    /// Names the request.
    pub request_id: RequestId,
}

/// Answers `request`, whose body is not looked at: nothing that is served takes one.
pub fn respond(request: &Request<'_>, world: &World<'_>) -> Response {
    let is_head = request.method == "HEAD";
    let shown = |error: &OssError| error.response(world.request_id, request.host, is_head);
    let mut response = match locate(world.config, request.host, request.path) {
        Place::Own(path) => own_page(request, path).unwrap_or_else(|error| shown(&error)),
        Place::Service => shown(&Refusal::anonymous().into()),
        Place::NoSuchBucket(name) => shown(&OssError::no_such_bucket(name)),
        Place::Undecodable => {
            shown(&OssError::new(400, "InvalidObjectName", "The object name is not valid UTF-8."))
        }
        Place::Bucket { bucket, key, .. } => {
            let answer = in_bucket(request, bucket, &key, world);
            with_cors(answer.unwrap_or_else(|error| shown(&error)), request, bucket)
        }
    };
    response.request_id = world.request_id;
    response.is_head_only = is_head;
    response
}

/// A page of the daemon's own. They are static and hold no data, so they need no grant.
fn own_page(request: &Request<'_>, path: &str) -> Result<Response, OssError> {
    let asset = console::asset(path).ok_or_else(|| OssError::no_such_key(path))?;
    if !matches!(request.method, "GET" | "HEAD") {
        return Err(OssError::method_not_allowed(request.method, "PAGE"));
    }
    let is_known =
        request.headers.first("if-none-match").is_some_and(|tags| tags.contains(asset.etag));
    let (status, body) =
        if is_known { (304, Body::Empty) } else { (200, Body::Static(asset.body)) };
    let mut response = Response::new(status, body)
        .with("Content-Type", asset.content_type)
        .with("Cache-Control", asset.cache_control)
        .with("ETag", asset.etag)
        .with("Content-Security-Policy", console::CONTENT_SECURITY_POLICY)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "same-origin");
    if let Some(encoding) = asset.content_encoding {
        response = response.with("Content-Encoding", encoding);
    }
    Ok(response)
}

fn in_bucket(
    request: &Request<'_>,
    bucket: &Bucket,
    key: &str,
    world: &World<'_>,
) -> Result<Response, OssError> {
    if request.method == "OPTIONS" {
        return preflight(request, bucket);
    }
    let query = Query::parse(request.query)
        .map_err(|error| OssError::new(400, "InvalidArgument", error.to_string()))?;
    let policy = Policy::new(world.config, Scope::Bucket(bucket));
    let action = action(request.method, key, &query);
    let ask = Ask {
        action,
        method: request.method,
        key,
        query: &query,
        headers: request.headers.as_slice(),
    };
    let grant = access::admit(&ask, &policy, world.gate_time)?;
    match action {
        Action::ReadObject => {
            let in_key = grant.hls_sign_in_key(key);
            let key = in_key.unwrap_or(key);
            let is_signed_playlist =
                in_key.is_some() || query.first("x-oss-process") == Some("hls/sign");
            let channel = key
                .split_once('/')
                .and_then(|(channel, _)| world.channels.find(&bucket.name, channel));
            let base = base(request.path, key);
            let object = Object { key, is_signed_playlist, base: &base, channel };
            object::read(request, &object, &grant, &policy, world.now)
        }
        Action::WriteObject => Err(read_only(request.method, "OBJECT")),
        Action::Own | Action::Console => {
            Err(OssError::new(501, "NotImplemented", "This call is not offered by this gateway."))
        }
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

/// What a request in a bucket wants to do.
fn action(method: &str, key: &str, query: &Query<'_>) -> Action {
    let is_owner_call = key.is_empty() || ["acl", "live", "vod"].iter().any(|name| query.has(name));
    match method {
        _ if is_owner_call => Action::Own,
        "GET" | "HEAD" => Action::ReadObject,
        _ => Action::WriteObject,
    }
}

/// Objects are what cameras push and nothing else.
fn read_only(method: &str, resource: &'static str) -> OssError {
    OssError::method_not_allowed(method, resource)
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

/// Adds the headers by which a browser lets a page read the answer.
fn with_cors(response: Response, request: &Request<'_>, bucket: &Bucket) -> Response {
    // A preflight's own headers say what the method it asks for may do; this adds what stands on every answer.
    let method = if request.method == "OPTIONS" { "" } else { request.method };
    let headers = access::cors_headers(&bucket.cors, request.headers.first("origin"), method);
    headers.into_iter().fold(response, |response, (name, value)| response.with(name, value))
}
