//! OSS's calls → answers in OSS's XML, or the change that one asks for.
//!
//! What is read is read from the configuration and the channels as they are. What changes something is only
//! described here, as an [`Intent`]: it has to be on flash before it is true, and flash is the shell's. A call gets here
//! with the gate's [`Grant`] only. Source: OSS API reference, by the name of each call.

pub mod bucket;
pub mod call;
pub mod element;
pub mod intent;
pub mod live_channel;
pub mod objects;
pub mod settings;
pub mod vod;

use crate::{
    access::{GateTime, Grant},
    channel::{Channels, SharedChannel},
    config::{Bucket, ChannelPath, Config, catalogue::Catalogue},
    console::Vitals,
    http::{
        address::Style,
        error::OssError,
        request::Request,
        response::{Body, RequestId, Response},
        xml::Document,
    },
    query::Query,
    units::{Now, UnixSecs},
};
use call::{Call, Fixed, LiveRead};
use intent::Intent;

/// What a response is made from.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The configuration in force, with what the catalogue adds to it.
    pub config: &'a Config,
    /// When it was read.
    pub config_read: UnixSecs,
    /// What was made over the API.
    pub catalogue: &'a Catalogue,
    /// The channels.
    pub channels: &'a Channels,
    /// What the daemon counts beside them.
    pub vitals: &'a Vitals,
    /// The time.
    pub now: Now,
    /// The time that signatures are measured by.
    pub gate_time: GateTime,
    /// Names the request.
    pub request_id: RequestId,
    /// Its client may be kept waiting for what is not there yet.
    pub may_wait: bool,
}

/// A call in a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its request.
    pub request: &'a Request<'a>,
    /// The request's query.
    pub query: &'a Query<'a>,
    /// The request's body; empty where it has none.
    pub body: &'a [u8],
    /// The bucket.
    pub bucket: &'a Bucket,
    /// The key, decoded; empty for the bucket itself.
    pub key: &'a str,
    /// How the request named the bucket.
    pub style: Style,
}

/// What a call comes to.
#[derive(Debug)]
pub enum Outcome {
    /// An answer.
    Answer(Response),
    /// A change, and the answer once it is made.
    Change(Intent, Response),
}

impl From<Response> for Outcome {
    fn from(response: Response) -> Self {
        Self::Answer(response)
    }
}

/// Answers a call about anything but the content of an object.
pub fn answer(
    call: Call,
    asked: &Asked<'_>,
    _grant: &Grant,
    world: &World<'_>,
) -> Result<Outcome, OssError> {
    let done = |status| Response::new(status, Body::Empty);
    match call {
        Call::ReadObject => Err(OssError::no_such_key(asked.key)),
        Call::ObjectAcl => Ok(bucket::object_acl(asked, world)?.into()),
        Call::DeleteObject => {
            let intent = intent::delete_object(asked, world)?;
            Ok(intent.map_or_else(|| done(204).into(), |i| Outcome::Change(i, done(204))))
        }
        Call::Live(LiveRead::List) => Ok(live_channel::list(asked, world)?.into()),
        Call::Live(read) => Ok(live_channel::read(read, asked, world)?.into()),
        Call::PutLiveChannel => {
            settings::check_channel_name(asked.key)?;
            let settings = settings::parse(asked.body, world.now.wall.as_secs())?;
            let xml = Document::write("CreateLiveChannelResult", |result| {
                live_channel::write_urls(asked, asked.key, &settings.playlist_name, result);
            });
            Ok(Outcome::Change(Intent::PutChannel(asked.channel(), settings), xml_answer(xml)))
        }
        Call::PutLiveChannelStatus => {
            let status = asked.query.first("status").unwrap_or_default();
            let status = settings::status(status, "0017-00000255")?;
            Ok(Outcome::Change(Intent::PutStatus(asked.channel(), status), done(200)))
        }
        Call::DeleteLiveChannel => {
            Ok(Outcome::Change(Intent::DeleteChannel(asked.channel()), done(204)))
        }
        Call::PostVodPlaylist => {
            let (path, recording, etag) = vod::recording(asked, world)?;
            let intent = Intent::PutRecording(path, recording);
            Ok(Outcome::Change(intent, done(200).with("ETag", etag)))
        }
        Call::GetVodPlaylist => Ok(vod::playlist(asked, world)?.into()),
        Call::Bucket(read) => Ok(bucket::read(read, asked, world)?.into()),
        Call::PutBucket => bucket::put(asked, world),
        Call::Fixed(fixed) => Err(is_fixed(fixed, asked, world)),
        Call::NotOffered(name) => {
            let message = format!(
                "This gateway has no {name}: it has LiveChannels, what they recorded, and what its configuration file sets."
            );
            Err(OssError::new(400, "NotImplemented", message).extra("Header", name))
        }
        Call::BadMethod(resource) => {
            Err(OssError::method_not_allowed(asked.request.method, resource))
        }
    }
}

impl<'a> Asked<'a> {
    /// The LiveChannel that the key names.
    fn channel(&self) -> ChannelPath {
        ChannelPath { bucket: self.bucket.name.clone(), channel: self.key.into() }
    }

    /// The running LiveChannel that the key names.
    fn running<'w>(&self, world: &World<'w>) -> Result<&'w SharedChannel, OssError> {
        let found = world.channels.find(&self.bucket.name, self.key);
        found.ok_or_else(OssError::no_such_live_channel)
    }

    /// A whole number in the query, from 1 to `max`; `default` where it is missing or empty.
    fn count(&self, name: &'static str, default: usize, max: usize) -> Result<usize, OssError> {
        let Some(text) = self.query.first(name).filter(|text| !text.is_empty()) else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| {
            let message = format!("{name} must be a whole number from 1 to {max}.");
            OssError::invalid_argument(name, text, message)
        })
    }

    fn text(&self, name: &str) -> &str {
        self.query.first(name).unwrap_or_default()
    }
}

/// 200 with a document.
fn xml_answer(xml: Vec<u8>) -> Response {
    Response::new(200, Body::Made(xml)).with("Content-Type", "application/xml")
}

/// 405 for what only the configuration file, or a camera, can change: it says which, and where.
fn is_fixed(fixed: Fixed, asked: &Asked<'_>, world: &World<'_>) -> OssError {
    let key = match fixed {
        Fixed::Bucket => "the [[bucket]] tables",
        Fixed::Acl => "acl",
        Fixed::Cors => "[bucket.cors]",
        Fixed::Referer => "[bucket.referer]",
        Fixed::Object => {
            let message = "Objects here are what cameras publish and the recordings that PostVodPlaylist makes of it: they cannot be written or deleted one by one. How long they are kept is set by `ring` in the configuration file";
            return not_allowed(asked, "OBJECT", &format!("{message} {}.", world.config.file));
        }
    };
    let message = format!(
        "This is set by the configuration file {}, and nothing was changed: change {key} of bucket {} there, and reload it with SIGHUP.",
        world.config.file, asked.bucket.name
    );
    not_allowed(asked, "BUCKET", &message)
}

fn not_allowed(asked: &Asked<'_>, resource: &'static str, message: &str) -> OssError {
    OssError {
        message: message.to_owned().into(),
        ..OssError::method_not_allowed(asked.request.method, resource)
    }
}
