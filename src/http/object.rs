//! A granted read of an object → playlist or segment.
//!
//! Objects are `CHANNEL/FILE`: the live playlist under its name, recordings under theirs, and segments named by their
//! start in Unix milliseconds. Nothing is a file, so no path can lead anywhere else.

use std::{fmt::Write as _, io::Write as _, rc::Rc};

use flate2::{Compression, write::GzEncoder};

use crate::{
    access::{Grant, PlaylistSigner, Policy},
    channel::{Channel, SharedChannel, window::Window, write_segment_name},
    config::catalogue::Recording,
    hls::playlist,
    http::{
        conditional::{self, Verdict},
        error::OssError,
        low_latency,
        range::{self, Part},
        recording::recorded,
        request::Request,
        response::{Body, Response},
    },
    limits::PLAYLIST_BYTES_MAX,
    query::Query,
    store::Record,
    units::{Now, UnixMillis, UnixSecs},
};

/// Media type of a live playlist (RFC 8216 §10).
const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
/// Media type that OSS gives to playlists it makes on request (OSS: GetVodPlaylist).
pub const MADE_PLAYLIST_TYPE: &str = "application/x-mpegURL";
/// Media type of a segment (RFC 8216 §3.2).
const SEGMENT_TYPE: &str = "video/mp2t";

/// A cache in front asks once a second for all who watch; a player is told of a segment a second later at most.
const LIVE_LIFE: &str = "public, max-age=1";

/// What comes of reading an object.
#[derive(Debug)]
pub enum Read {
    /// It is there.
    Answer(Response),
    /// It is not there yet, and its client waits for it: to be asked for again when the channel has news, or when so many
    /// milliseconds have passed since it was asked for first.
    Later(SharedChannel, u64),
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Its key.
    pub key: &'a str,
    /// A playlist whose addresses are to be signed is asked for (`x-oss-process=hls/sign`).
    pub is_signed_playlist: bool,
    /// What stands before a segment's name in the playlist, so that it resolves: empty, unless the request's path has the
    /// slash of the key escaped, as oss2 sends it.
    pub base: &'a str,
    /// The channel that the key's first part names, if there is one.
    pub channel: Option<&'a SharedChannel>,
    /// The recording that has the key, if there is one.
    pub recording: Option<&'a Recording>,
    /// The request's query.
    pub query: &'a Query<'a>,
    /// Its client may be kept waiting for what is not there yet.
    pub may_wait: bool,
}

/// Reads an object. A route that has not asked the gate has no [`Grant`] to call it with:
///
/// ```
/// use sluicegate::{access::{Grant, Policy}, http::{object::{self, Object}, request::Request}, units::Now};
/// fn route(request: &Request<'_>, object: &Object<'_>, grant: &Grant, policy: &Policy<'_>, now: Now) {
///     let _ = object::read(request, object, grant, policy, now);
/// }
/// ```
/// ```compile_fail,E0061
/// use sluicegate::{access::{Grant, Policy}, http::{object::{self, Object}, request::Request}, units::Now};
/// fn route(request: &Request<'_>, object: &Object<'_>, policy: &Policy<'_>, now: Now) {
///     let _ = object::read(request, object, policy, now);
/// }
/// ```
pub fn read(
    request: &Request<'_>,
    object: &Object<'_>,
    grant: &Grant,
    policy: &Policy<'_>,
    now: Now,
) -> Result<Read, OssError> {
    let no_such_key = || OssError::no_such_key(object.key);
    let (folder, file) = object.key.split_once('/').ok_or_else(no_such_key)?;
    let shared = object.channel.ok_or_else(no_such_key)?;
    let mut channel = shared.borrow_mut();
    if channel.is_opening() {
        let why = channel.trouble().unwrap_or_default();
        let sentence = format!("This channel cannot answer yet: {why}. Try again in a moment.");
        return Err(OssError::new(503, "ServiceUnavailable", sentence));
    }
    if let Some(start) = segment_name(file) {
        let Some(record) = channel.segment(start).copied() else {
            let open = channel.open_segment(start, now).ok_or_else(no_such_key)?;
            drop(channel);
            return part(request, object, shared, open, grant);
        };
        drop(channel);
        return segment(request, shared, &record, grant).map(Read::Answer);
    }
    let is_live = channel.is_playlist(file);
    // Of two with one name the live playlist is the one that is written while somebody publishes, the recording after it.
    let recording = object.recording.filter(|_| !(is_live && channel.session().is_some()));
    if is_live
        && recording.is_none()
        && let Some(wait_ms) = low_latency::wait_ms(object.query, &channel, now)?
        && object.may_wait
    {
        return Ok(Read::Later(Rc::clone(shared), wait_ms));
    }
    let signed = || SignedAddresses::new(object, folder, grant, policy);
    let found = match (recording, object.is_signed_playlist) {
        (Some(recording), false) => recorded_playlist(request, object, recording, &channel, grant),
        (Some(recording), true) => {
            let recorded = recorded(&channel, recording.first, recording.last);
            recorded.map(|recorded| {
                let mut addresses = signed()?;
                let text = recorded.text(|start, out| addresses.write(start, out))?;
                signed_playlist(request, text)
            })
        }
        (None, _) if !is_live => None,
        (None, false) => live_playlist(request, object, &mut channel, grant, now),
        (None, true) => channel.window(now).map(|window| {
            let Window { records, kind, target_duration_s, parts } = window;
            let mut addresses = signed()?;
            let mut text = String::with_capacity(4096);
            playlist::render(records, kind, target_duration_s, &parts, &mut text, |start, out| {
                addresses.write(start, out);
            });
            signed_playlist(request, text)
        }),
    };
    found.ok_or_else(no_such_key)?.map(Read::Answer)
}

/// The start time that a segment's file name tells: thirteen digits and `.ts`.
fn segment_name(file: &str) -> Option<UnixMillis> {
    let digits = file.strip_suffix(".ts")?;
    let is_name = digits.len() == 13 && digits.bytes().all(|b| b.is_ascii_digit());
    is_name.then(|| digits.parse().ok().map(UnixMillis))?
}

/// A segment's entity tag. The name is never used again, so it tells this content from every other; the checksum is the
/// content's own.
pub fn segment_etag(record: &Record) -> String {
    format!("\"{:016X}{:08X}{:08X}\"", record.start.0, record.crc, record.bytes)
}

fn segment(
    request: &Request<'_>,
    channel: &SharedChannel,
    record: &Record,
    grant: &Grant,
) -> Result<Response, OssError> {
    let length = u64::from(record.bytes);
    let etag = segment_etag(record);
    let last_modified = record.end().as_secs();
    let described = |status, body| {
        Response::new(status, body)
            .with("Content-Type", SEGMENT_TYPE)
            .with("ETag", &etag)
            .with("Last-Modified", last_modified.http_date())
            .with("Accept-Ranges", "bytes")
            .with("Cache-Control", segment_cache_control(grant))
            .with("x-oss-object-type", "Normal")
            .with("x-oss-storage-class", "Standard")
    };
    match conditional::weigh(&request.headers, &etag, last_modified) {
        Verdict::NotModified => return Ok(described(304, Body::Empty)),
        Verdict::PreconditionFailed => return Err(precondition_failed()),
        Verdict::Send => {}
    }
    let range = request.headers.first("range");
    let range =
        range.filter(|_| conditional::range_applies(&request.headers, &etag, last_modified));
    let is_standard = request.headers.first("x-oss-range-behavior") == Some("standard");
    let body = |first, bytes| Body::Segment {
        channel: Rc::clone(channel),
        sequence: record.sequence,
        first,
        bytes,
    };
    Ok(match range::part(range, length, is_standard) {
        Part::Whole => described(200, body(0, length)),
        Part::Bytes { first, last } => described(206, body(first, last - first + 1))
            .with("Content-Range", format_args!("bytes {first}-{last}/{length}")),
        Part::Unsatisfiable => {
            return Err(OssError::new(
                416,
                "InvalidRange",
                "The requested range is not satisfiable.",
            )
            .extra("ActualObjectSize", length.to_string()));
        }
    })
}

/// A range of a segment of which only parts are listed: what is listed, or what a preload hint has promised.
fn part(
    request: &Request<'_>,
    object: &Object<'_>,
    channel: &SharedChannel,
    (sequence, listed_bytes): (u64, u64),
    grant: &Grant,
) -> Result<Read, OssError> {
    let range = request.headers.first("range").and_then(range::open_range);
    let (first, last) = range.ok_or_else(|| OssError::no_such_key(object.key))?;
    if first == listed_bytes && object.may_wait {
        let wait_ms = low_latency::hint_wait_ms(&channel.borrow());
        return Ok(Read::Later(Rc::clone(channel), wait_ms));
    }
    if first >= listed_bytes {
        return Err(OssError::no_such_key(object.key));
    }
    let asked = last.unwrap_or(u64::MAX);
    let last = asked.min(listed_bytes - 1);
    let body =
        Body::Segment { channel: Rc::clone(channel), sequence, first, bytes: last - first + 1 };
    // The length of the whole is not known (RFC 9110 §14.4).
    Ok(Read::Answer(
        Response::new(206, body)
            .with("Content-Type", SEGMENT_TYPE)
            .with("Content-Range", format_args!("bytes {first}-{last}/*"))
            .with("Accept-Ranges", "bytes")
            // The same range may be longer when it is asked for again.
            .with(
                "Cache-Control",
                if last < asked { "no-store" } else { segment_cache_control(grant) },
            ),
    ))
}

/// A segment's bytes never change, nor do those of a part: their name is never used again.
const fn segment_cache_control(grant: &Grant) -> &'static str {
    if grant.is_for_asker_alone() { "private, max-age=3600" } else { "public, max-age=3600" }
}

fn precondition_failed() -> OssError {
    OssError::new(
        412,
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold.",
    )
}

/// The live playlist as the ring has it; the same text for all, made once per change.
fn live_playlist(
    request: &Request<'_>,
    object: &Object<'_>,
    channel: &mut Channel,
    grant: &Grant,
    now: Now,
) -> Option<Result<Response, OssError>> {
    let rendered = channel.playlist(now)?;
    let told = Told {
        media_type: PLAYLIST_TYPE,
        etag: &rendered.etag,
        changed: Some(rendered.changed),
        life: if grant.is_for_asker_alone() { "private, no-cache" } else { LIVE_LIFE },
    };
    if let Some(answer) = told.without_text(request) {
        return Some(answer);
    }
    let described = |body| told.answer(request, 200, body);
    if !object.base.is_empty() {
        return Some(Ok(described(Body::Made(with_base(&rendered.text, object.base)))));
    }
    Some(Ok(if wants_gzip(request) {
        let packed = rendered.gzip.get_or_insert_with(|| gzip(&rendered.text).into());
        described(Body::Shared(Rc::clone(packed))).with("Content-Encoding", "gzip")
    } else {
        described(Body::Shared(Rc::clone(&rendered.text)))
    }))
}

/// What the answers to a request for a playlist say of it.
struct Told<'a> {
    media_type: &'static str,
    etag: &'a str,
    /// `None`: nobody knows.
    changed: Option<UnixSecs>,
    /// For whom it is good, and how long.
    life: &'static str,
}

impl Told<'_> {
    fn answer(&self, request: &Request<'_>, status: u16, body: Body) -> Response {
        let answer = Response::new(status, body)
            .with("Content-Type", self.media_type)
            .with("ETag", format_args!("{}{}", mark(request), self.etag))
            .with("Cache-Control", self.life)
            .with("Vary", "Accept-Encoding")
            .with("x-oss-object-type", "Normal")
            .with("x-oss-storage-class", "Standard");
        match self.changed {
            Some(changed) => answer.with("Last-Modified", changed.http_date()),
            None => answer,
        }
    }

    /// The answer where the request's conditions have it that the text is not sent.
    ///
    /// It has not changed only if its tag says so: it changes within a second, and without a new segment, so that a date
    /// says nothing.
    fn without_text(&self, request: &Request<'_>) -> Option<Result<Response, OssError>> {
        let has_tags = request.headers.first("if-none-match").is_some();
        match conditional::weigh(&request.headers, self.etag, self.changed.unwrap_or_default()) {
            Verdict::NotModified if has_tags => Some(Ok(self.answer(request, 304, Body::Empty))),
            Verdict::PreconditionFailed => Some(Err(precondition_failed())),
            Verdict::NotModified | Verdict::Send => None,
        }
    }
}

/// A playlist's text with `base` before every address.
fn with_base(text: &[u8], base: &str) -> Vec<u8> {
    const URI: &str = "URI=\"";
    let mut out = String::with_capacity(text.len() * 2);
    for line in String::from_utf8_lossy(text).split_inclusive('\n') {
        match line.split_once(URI) {
            Some((tag, rest)) if line.starts_with('#') => {
                [tag, URI, base, rest].into_iter().for_each(|piece| out.push_str(piece));
            }
            _ if line.starts_with('#') => out.push_str(line),
            _ => [base, line].into_iter().for_each(|piece| out.push_str(piece)),
        }
    }
    out.into_bytes()
}

/// The playlist of a recording; made when it is read, because the ring moves on.
fn recorded_playlist(
    request: &Request<'_>,
    object: &Object<'_>,
    recording: &Recording,
    channel: &Channel,
    grant: &Grant,
) -> Option<Result<Response, OssError>> {
    let recorded = recorded(channel, recording.first, recording.last)?;
    let text = recorded.text(|start, out| {
        out.push_str(object.base);
        write_segment_name(start, out);
    });
    let life = if grant.is_for_asker_alone() { "private, no-cache" } else { "no-cache" };
    Some(text.and_then(|text| made_playlist(request, text, Some(recording.made), life)))
}

/// Segment addresses with a signature like the request's (OSS: `x-oss-process=hls/sign`).
struct SignedAddresses<'a> {
    base: &'a str,
    folder: &'a str,
    signer: PlaylistSigner,
    /// The key that is signed; its room is used again.
    key: String,
}

impl<'a> SignedAddresses<'a> {
    fn new(
        object: &Object<'a>,
        folder: &'a str,
        grant: &Grant,
        policy: &Policy<'_>,
    ) -> Result<Self, OssError> {
        let signer = grant.playlist_signer(policy)?;
        Ok(Self { base: object.base, folder, signer, key: String::with_capacity(96) })
    }

    fn write(&mut self, start: UnixMillis, out: &mut String) {
        self.key.clear();
        let _ = write!(self.key, "{}/", self.folder);
        write_segment_name(start, &mut self.key);
        out.push_str(self.base);
        write_segment_name(start, out);
        self.signer.query_for(&self.key, out);
    }
}

/// A playlist with every address signed. It is its reader's alone.
fn signed_playlist(request: &Request<'_>, text: String) -> Result<Response, OssError> {
    if text.len() > PLAYLIST_BYTES_MAX {
        return Err(OssError::new(
            400,
            "InvalidRequest",
            "The signed playlist is larger than 1 MB.",
        ));
    }
    made_playlist(request, text, None, "private, no-cache")
}

/// The answer with a text that was made for it, packed if the client wants it so.
fn made_playlist(
    request: &Request<'_>,
    text: String,
    changed: Option<UnixSecs>,
    life: &'static str,
) -> Result<Response, OssError> {
    let etag = playlist::etag(&text);
    let told = Told { media_type: MADE_PLAYLIST_TYPE, etag: &etag, changed, life };
    if let Some(answer) = told.without_text(request) {
        return answer;
    }
    Ok(if wants_gzip(request) {
        told.answer(request, 200, Body::Made(gzip(text.as_bytes())))
            .with("Content-Encoding", "gzip")
    } else {
        told.answer(request, 200, Body::Made(text.into_bytes()))
    })
}

/// Whether the client lists gzip among what it takes. Never unasked: some players cannot undo it (RFC 8216 §6.2.1).
fn wants_gzip(request: &Request<'_>) -> bool {
    request.headers.first("accept-encoding").is_some_and(|list| {
        list.split(',').any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
            let weight = weight
                .trim()
                .trim_start_matches("q=")
                .trim_start_matches('0')
                .trim_start_matches('.');
            name.trim().eq_ignore_ascii_case("gzip")
                && weight.bytes().any(|b| matches!(b, b'1'..=b'9'))
        })
    })
}

/// What stands before a playlist's entity tag: packed and unpacked are not the same bytes (RFC 9110 §8.8.3.3).
fn mark(request: &Request<'_>) -> &'static str {
    if wants_gzip(request) { "W/" } else { "" }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 2), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}
