//! GetVodPlaylist and PostVodPlaylist: a range of a channel's past as a playlist.

use super::{Asked, World, settings::invalid};
use crate::{
    channel::SharedChannel,
    config::{
        catalogue::{ObjectPath, Recording},
        names,
    },
    http::{
        error::OssError,
        object::MADE_PLAYLIST_TYPE,
        recording::recorded,
        response::{Body, Response},
    },
    units::UnixSecs,
};

/// Longest range, in seconds (OSS: GetVodPlaylist).
const RANGE_SECS_MAX: u64 = 86_400;

/// Answers GetVodPlaylist: a playlist of what the ring still holds of the range. Its addresses are bare names, as OSS's
/// are: they resolve beside the channel's other playlists, where a client that keeps the text puts it.
pub(super) fn playlist(asked: &Asked<'_>, world: &World<'_>) -> Result<Response, OssError> {
    let (text, _) = text(asked.running(world)?, range(asked)?)?;
    Ok(Response::new(200, Body::Made(text.into_bytes()))
        .with("Content-Type", MADE_PLAYLIST_TYPE)
        .with("Cache-Control", "no-cache"))
}

/// What PostVodPlaylist is to make, and the entity tag that it has.
pub(super) fn recording(
    asked: &Asked<'_>,
    world: &World<'_>,
) -> Result<(ObjectPath, Recording, String), OssError> {
    let (channel, name) = asked.key.split_once('/').unwrap_or((asked.key, ""));
    let running = world.channels.find(&asked.bucket.name, channel);
    let running = running.ok_or_else(OssError::no_such_live_channel)?;
    if !names::is_playlist_name(name) {
        let message =
            "The playlist's name must have 6 to 128 bytes, end with .m3u8 and contain no slash.";
        return Err(OssError::new(400, "InvalidRequest", message).ec("0044-00000403"));
    }
    let (first, last) = range(asked)?;
    let (_, etag) = text(running, (first, last))?;
    // What is recorded from here on is no part of it: a playlist that has ended does not grow.
    let last = last.min(newest_start(running).max(UnixSecs(first.0 + 1)));
    let path = ObjectPath { bucket: asked.bucket.name.clone(), key: asked.key.into() };
    let made = world.now.wall.as_secs();
    Ok((path, Recording { channel: channel.into(), first, last, made }, etag))
}

/// The second by which the newest segment has started.
fn newest_start(channel: &SharedChannel) -> UnixSecs {
    let channel = channel.borrow();
    let newest = channel.recorder().and_then(|recorder| recorder.ring().history().next_back());
    newest.map_or(UnixSecs(0), |newest| UnixSecs(newest.start.0.div_ceil(1000)))
}

/// The text of a range's playlist, and its entity tag.
fn text(
    channel: &SharedChannel,
    (first, last): (UnixSecs, UnixSecs),
) -> Result<(String, String), OssError> {
    let channel = channel.borrow();
    let recorded = recorded(&channel, first, last).ok_or_else(|| {
        let message =
            "No segment in this range: nothing was published then, or the ring has moved on.";
        OssError::new(400, "InvalidArgument", message).ec("0044-00000308")
    })?;
    recorded.object()
}

/// Reads `startTime` and `endTime`, seconds since 1970, both included.
fn range(asked: &Asked<'_>) -> Result<(UnixSecs, UnixSecs), OssError> {
    let second = |name, ec| {
        let text = asked.text(name);
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten();
        number.map(UnixSecs).ok_or_else(|| invalid(name, text, "a Unix time in seconds", ec))
    };
    let first = second("startTime", "0044-00000304")?;
    let last = second("endTime", "0044-00000305")?;
    if first >= last {
        let text = asked.text("endTime");
        return Err(invalid("endTime", text, "later than startTime", "0044-00000306"));
    }
    if last.0 - first.0 > RANGE_SECS_MAX {
        let text = asked.text("endTime");
        return Err(invalid("endTime", text, "a day after startTime at most", "0044-00000307"));
    }
    Ok((first, last))
}
