//! A publish command → the channel that it may publish to, or the words that tell its encoder why not.
//!
//! The RTMP counterpart of [`respond`](crate::respond): one way through, and the gate stands in it.

use std::{net::SocketAddr, rc::Rc};

use crate::{
    access::{self, GateTime, Policy, PublishAsk, Reason, Refusal, Scope},
    channel::{
        Channels, NotOpen, SharedChannel,
        live::{self, Publisher, PublisherId},
    },
    config::{Config, names::is_playlist_name},
    http::address::bucket_of_host,
    query::{Query, decode_path},
    rtmp::{Publish, PublishRefusal},
    store::buffer::BufferPool,
    units::Now,
};

/// Why a publisher is not let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotAdmitted {
    /// It may ask again in a moment: the ring is being opened.
    NotYet,
    /// It is refused.
    Refused(Refused),
}

/// A refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The code that encoders look for.
    pub kind: PublishRefusal,
    /// What the encoder shows: OSS's code, and a sentence.
    pub description: String,
    /// For the log: what to do about it. Nothing of the query is in it.
    pub advice: String,
    /// Why the gate refused, for counters; `None`: it was not the gate.
    pub reason: Option<Reason>,
}

/// Lets a publisher in.
pub fn publish(
    request: &Publish<'_>,
    peer: SocketAddr,
    config: &Config,
    channels: &Channels,
    pool: &mut BufferPool,
    gate_time: GateTime,
    now: Now,
) -> Result<(SharedChannel, PublisherId), NotAdmitted> {
    let address = request.address();
    let bad_name =
        |code: &str, message: String| Refused::new(PublishRefusal::BadName, code, message);
    let (bucket, app) = match bucket_of_host(config, &address.host) {
        Some(bucket) => (bucket, address.folder.as_str()),
        None => {
            let (name, app) = address.folder.split_once('/').unwrap_or((&address.folder, ""));
            let bucket = config.buckets.iter().find(|bucket| bucket.name == name);
            let found = bucket.ok_or_else(|| bad_name("NoSuchBucket", format!("there is no bucket {name:?}: the address is rtmp://HOST/BUCKET/live/CHANNEL")));
            (found?, app)
        }
    };
    if app != "live" {
        let why =
            format!("the app is {app:?}, not live: the address is rtmp://HOST/BUCKET/live/CHANNEL");
        return Err(bad_name("InvalidArgument", why).into());
    }
    // librtmp decodes the name before it sends it, so a `+` of a signature arrives as it is; nobody sends one for a space here.
    let raw = address.query.replace('+', "%2B");
    let query =
        Query::parse(&raw).map_err(|error| bad_name("InvalidArgument", error.to_string()))?;
    // The SDKs put the name into the URL as it is; some encoders escape it.
    let as_it_came = channels.find(&bucket.name, &address.channel);
    let decoded = decode_path(&address.channel);
    let found = as_it_came.or_else(|| channels.find(&bucket.name, decoded.as_deref()?));
    let name = found.map(|channel| channel.borrow().config.name.clone());
    // The gate comes first: who may not publish does not learn which channels there are.
    let ask = PublishAsk { channel: name.as_deref().unwrap_or(&address.channel), query: &query };
    let grant = access::admit_publish(&ask, &Policy::new(config, Scope::Bucket(bucket)), gate_time)
        .map_err(denied)?;
    let Some(channel) = found else {
        let why =
            format!("there is no LiveChannel {:?} in bucket {}", address.channel, bucket.name);
        return Err(bad_name("NoSuchLiveChannel", why).into());
    };
    // Whom this one replaces makes room for it.
    let is_other = |other: &&SharedChannel| !Rc::ptr_eq(other, channel);
    let others =
        channels.iter().filter(is_other).filter(|other| other.borrow().session().is_some());
    if others.count() >= config.limits.publishers as usize {
        let why = String::from("limits.publishers is reached");
        return Err(Refused::new(PublishRefusal::Rejected, "ServiceUnavailable", why).into());
    }
    let publisher = Publisher {
        peer,
        encoder: request.encoder.to_owned(),
        is_signed: grant.is_signed(),
        playlist_name: playlist_name(&query).map_err(|error| bad_name("InvalidArgument", error))?,
    };
    let id =
        channel.borrow_mut().publish(publisher, pool, now).map_err(|not_open| match not_open {
            NotOpen::Opening => NotAdmitted::NotYet,
            NotOpen::Refused(live::Refused::Disabled) => {
                Refused::new(PublishRefusal::Denied, "LiveChannelDisabled", not_open.to_string())
                    .into()
            }
            NotOpen::Refused(live::Refused::Busy(_)) => {
                bad_name("ChannelStillLive", not_open.to_string()).into()
            }
            NotOpen::NotReady(_) => {
                Refused::new(PublishRefusal::Rejected, "ServiceUnavailable", not_open.to_string())
                    .into()
            }
        })?;
    Ok((channel.clone(), id))
}

/// What a publisher asks for, as `BUCKET/CHANNEL`, for the log: whatever it was, and nothing of its query.
pub fn asked_for(request: &Publish<'_>, config: &Config) -> String {
    let address = request.address();
    let bucket = bucket_of_host(config, &address.host).map(|bucket| bucket.name.as_str());
    let bucket = bucket.or_else(|| address.folder.split('/').next()).unwrap_or_default();
    let both = format!("{bucket}/{}", address.channel);
    both.chars().take(ASKED_CHARS_MAX).collect()
}

/// Longest bucket and channel that the log shows of a publisher that was not let in, in characters.
const ASKED_CHARS_MAX: usize = 128;

/// The playlist name that a publish URL asks for, checked as PutLiveChannel checks one.
fn playlist_name(query: &Query<'_>) -> Result<Option<String>, String> {
    match query.first("playlistName").filter(|name| !name.is_empty()) {
        Some(name) if !is_playlist_name(name) => Err(String::from(
            "playlistName must have 6 to 128 bytes, end with .m3u8 and contain no slash, backslash or control character",
        )),
        name => Ok(name.map(str::to_owned)),
    }
}

impl Refused {
    /// A refusal with one of OSS's codes. The encoder and the log are told the same.
    pub fn new(kind: PublishRefusal, code: &str, why: String) -> Self {
        Self { kind, description: format!("{code}: {why}"), advice: why, reason: None }
    }
}

impl From<Refused> for NotAdmitted {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

fn denied(refusal: Refusal) -> Refused {
    Refused {
        kind: PublishRefusal::Denied,
        description: format!("{}: {}", refusal.code(), refusal.message()),
        advice: refusal.advice().to_owned(),
        reason: Some(refusal.reason()),
    }
}
