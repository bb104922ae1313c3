//! What is below `/-/`: the daemon's own pages and figures.

use crate::{
    access::{Action, Ask, ConsoleGrant, Origin, Policy, Scope, admit_console},
    api::World,
    console::{Health, Status, View, assets, assets::Asset, metrics, table},
    http::{
        address::bucket_of_host,
        error::OssError,
        request::Request,
        response::{Body, Response},
    },
    query::Query,
};

/// Answers a request for `path`, which begins with `/-/`.
pub(super) fn answer(
    request: &Request<'_>,
    path: &str,
    origin: Origin,
    world: &World<'_>,
) -> Result<Response, OssError> {
    if !matches!(request.method, "GET" | "HEAD") {
        return Err(OssError::method_not_allowed(request.method, "PAGE"));
    }
    match path {
        "/-/" => console(request, origin, world),
        "/-/health" => Ok(health(world)),
        "/-/metrics" => admit(request, "metrics", origin, world).map(|grant| {
            let status = Status::take(&view(request, world), &grant);
            let text = metrics::metrics(&status, world.vitals);
            fresh(200, metrics::CONTENT_TYPE, text.into_bytes())
        }),
        "/-/play" => Ok(page(request, 200, &assets::player())),
        "/-/status" => admit(request, "", origin, world).map(|grant| {
            let status = Status::take(&view(request, world), &grant);
            let accepts = request.headers.first("accept").unwrap_or_default();
            if accepts.starts_with("text/plain") {
                fresh(200, "text/plain; charset=utf-8", table(&status).into_bytes())
            } else {
                fresh(200, "application/json", status.json())
            }
        }),
        path => {
            let file = assets::file(path).ok_or_else(|| OssError::no_such_key(path))?;
            Ok(page(request, 200, &file))
        }
    }
}

/// Whether somebody has typed the box's address into a browser, which OSS has no page for.
pub(super) fn is_visit(request: &Request<'_>) -> bool {
    let accepts = request.headers.first("accept").unwrap_or_default();
    let is_bare = request.query.is_empty() && request.headers.first("authorization").is_none();
    request.method == "GET" && is_bare && accepts.contains("text/html")
}

/// Shows a visitor the way in.
pub(super) fn to_console() -> Response {
    Response::new(302, Body::Empty).with("Location", "/-/").with("Cache-Control", "no-store")
}

/// Asks the gate. `alone`: the page that a link may be signed for alone.
fn admit(
    request: &Request<'_>,
    alone: &str,
    origin: Origin,
    world: &World<'_>,
) -> Result<ConsoleGrant, OssError> {
    let query = Query::parse(request.query)
        .map_err(|error| OssError::new(400, "InvalidArgument", error.to_string()))?;
    let ask = Ask {
        action: Action::Console,
        method: request.method,
        key: "",
        query: &query,
        headers: request.headers.as_slice(),
    };
    let policy = Policy::new(world.config, Scope::Console);
    let access = world.config.console;
    Ok(admit_console(&ask, origin, access, alone, &policy, world.gate_time)?)
}

/// The console page. A browser that is refused gets it too, under the status of the refusal: it asks for the figures,
/// and says in words why there are none.
fn console(request: &Request<'_>, origin: Origin, world: &World<'_>) -> Result<Response, OssError> {
    let Err(refused) = admit(request, "", origin, world) else {
        return Ok(page(request, 200, &assets::console()));
    };
    let accepts = request.headers.first("accept").unwrap_or_default();
    if cfg!(feature = "pages") && accepts.contains("text/html") {
        let mut shown = page(request, refused.status, &assets::console());
        shown.refused = refused.reason;
        Ok(shown)
    } else {
        Err(refused)
    }
}

fn view<'a>(request: &'a Request<'_>, world: &World<'a>) -> View<'a> {
    View {
        config: world.config,
        channels: world.channels,
        vitals: world.vitals,
        host: request.host,
        host_bucket: bucket_of_host(world.config, request.host),
        now: world.now,
        gate_time: world.gate_time,
    }
}

fn health(world: &World<'_>) -> Response {
    let health = Health::check(world.channels, world.now);
    let status = if health.is_good() { 200 } else { 503 };
    fresh(status, "application/json", health.json())
}

/// An answer that holds for this moment.
fn fresh(status: u16, content_type: &str, body: Vec<u8>) -> Response {
    Response::new(status, Body::Made(body))
        .with("Content-Type", content_type)
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff")
}

fn page(request: &Request<'_>, status: u16, asset: &Asset) -> Response {
    let tags = request.headers.first("if-none-match").unwrap_or_default();
    let (status, body) = if status == 200 && tags.contains(&asset.etag) {
        (304, Body::Empty)
    } else {
        (status, Body::Static(asset.body))
    };
    let mut response = Response::new(status, body)
        .with("Content-Type", asset.content_type)
        .with("Cache-Control", asset.cache_control)
        .with("ETag", &asset.etag)
        .with("Content-Security-Policy", asset.policy)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "same-origin");
    if let Some(encoding) = asset.content_encoding {
        response = response.with("Content-Encoding", encoding);
    }
    response
}
