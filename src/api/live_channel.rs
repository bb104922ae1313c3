//! GetLiveChannelInfo, GetLiveChannelStat, GetLiveChannelHistory, ListLiveChannel.
//!
//! The shapes are those that SDK parsers insist on: times end in `.000Z`, rates and sizes are whole numbers, booleans are
//! lower case, and nothing has a namespace.

use super::{Asked, World, call::LiveRead, settings, xml_answer};
use crate::{
    channel::Channel,
    config::{LiveChannel, Status},
    http::{error::OssError, response::Response, xml::Document},
    query::encode_path,
    units::UnixSecs,
};

/// LiveChannels in one answer, where the request names no number (OSS: ListLiveChannel).
const KEYS_DEFAULT: usize = 100;

/// LiveChannels in one answer, at most (OSS: ListLiveChannel).
const KEYS_MAX: usize = 1000;

/// Answers what is read of one LiveChannel.
pub(super) fn read(
    read: LiveRead,
    asked: &Asked<'_>,
    world: &World<'_>,
) -> Result<Response, OssError> {
    let channel = asked.running(world)?.borrow();
    Ok(xml_answer(match read {
        LiveRead::Stat => {
            Document::write("LiveChannelStat", |document| write_stat(&channel, document))
        }
        LiveRead::History => Document::write("LiveChannelHistory", |history| {
            for push in channel.seat().history() {
                history.parent("LiveRecord", |record| {
                    record.text("StartTime", push.start.oss_date());
                    record.text("EndTime", push.end.oss_date());
                    record.text("RemoteAddr", push.peer);
                });
            }
        }),
        LiveRead::Info | LiveRead::List => {
            Document::write("LiveChannelConfiguration", |document| {
                settings::write(&channel.config, document);
            })
        }
    }))
}

/// What arrives: from the sequence headers, and from what was counted over the last seconds.
fn write_stat(channel: &Channel, document: &mut Document) {
    let session = channel.session();
    document.text(
        "Status",
        match (channel.config.status, session) {
            (_, Some(_)) => "Live",
            (Status::Disabled, None) => "Disabled",
            (Status::Enabled, None) => "Idle",
        },
    );
    let (Some(session), Some(stat)) = (session, channel.stat()) else { return };
    let rate = channel.rate();
    document.text("ConnectedTime", session.since.wall.as_secs().oss_date());
    document.text("RemoteAddr", session.publisher.peer);
    if let Some(video) = stat.video {
        document.parent("Video", |document| {
            document.text("Width", video.width);
            document.text("Height", video.height);
            // A whole number: one with a fraction makes the Python SDK fail.
            document.text("FrameRate", (video.frames_per_1000_s + 500) / 1000);
            document.text("Bandwidth", rate.video_bytes_per_s);
            document.text("Codec", "H264");
        });
    }
    if let Some(audio) = stat.audio {
        document.parent("Audio", |document| {
            document.text("Bandwidth", rate.audio_bytes_per_s);
            document.text("SampleRate", audio.sample_rate);
            document.text("Codec", "AAC");
        });
    }
}

/// Answers ListLiveChannel.
pub(super) fn list(asked: &Asked<'_>, world: &World<'_>) -> Result<Response, OssError> {
    let max_keys = asked.count("max-keys", KEYS_DEFAULT, KEYS_MAX)?;
    let (prefix, marker) = (asked.text("prefix"), asked.text("marker"));
    let mut channels: Vec<&LiveChannel> = asked
        .bucket
        .live_channels
        .iter()
        .filter(|channel| channel.name.starts_with(prefix) && channel.name.as_str() > marker)
        .collect();
    channels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let is_truncated = channels.len() > max_keys;
    channels.truncate(max_keys);
    Ok(xml_answer(Document::write("ListLiveChannelResult", |result| {
        result.text("Prefix", prefix);
        result.text("Marker", marker);
        result.text("MaxKeys", max_keys);
        result.text("IsTruncated", is_truncated);
        if let (true, Some(last)) = (is_truncated, channels.last()) {
            result.text("NextMarker", &last.name);
        }
        for channel in channels {
            result.parent("LiveChannel", |entry| {
                entry.text("Name", &channel.name);
                entry.text("Description", &channel.description);
                entry.text("Status", channel.status.word());
                entry.text("LastModified", last_modified(channel, world).oss_date());
                write_urls(asked, &channel.name, &channel.playlist_name, entry);
            });
        }
    })))
}

/// A channel that the file defines is as old as the file's reading.
fn last_modified(channel: &LiveChannel, world: &World<'_>) -> UnixSecs {
    channel.modified.unwrap_or(world.config_read)
}

/// Writes where to publish to a channel and where to play it, in the style of the request, unsigned.
pub(super) fn write_urls(
    asked: &Asked<'_>,
    channel: &str,
    playlist_name: &str,
    document: &mut Document,
) {
    let (host, bucket) = (asked.request.host, &asked.bucket.name);
    let mut publish = asked.style.base("rtmp", host, bucket) + "/live/";
    encode_path(channel, &mut publish);
    let mut play = asked.style.base("http", host, bucket) + "/";
    encode_path(&format!("{channel}/{playlist_name}"), &mut play);
    document.parent("PublishUrls", |urls| urls.text("Url", publish));
    document.parent("PlayUrls", |urls| urls.text("Url", play));
}
