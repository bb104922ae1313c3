//! What there is to tell of one LiveChannel, at one moment.

use serde::Serialize;

use crate::{
    access::sign::Signer,
    channel::Channel,
    config::{Acl, Bucket, LowLatency, Status as Enabled},
    console::{View, hint, timeline::Timeline},
    hls::parts::Cadence,
    query::{encode_path, without_port},
    units::{Now, UnixMillis},
};

/// One LiveChannel.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelStatus {
    /// Its bucket.
    pub bucket: String,
    /// Its name.
    pub channel: String,
    /// Its description.
    pub description: String,
    /// `Live`, `Idle` or `Disabled` (OSS: GetLiveChannelStat).
    pub status: &'static str,
    /// What is wrong, or could be better, in a sentence each.
    pub hints: Vec<String>,
    /// Where it plays: path and query at this address, signed if there is a right to sign; empty: not at this address,
    /// whose host is another bucket.
    pub play_path: String,
    /// Where to publish, signed if there is a right to sign; empty where `play_path` is.
    pub publish_url: String,
    /// Whether publishing takes a signature that `publish_url` lacks.
    pub is_publish_url_unsigned: bool,
    /// Who publishes.
    pub publisher: Option<PublisherStatus>,
    /// Publish sessions so far.
    pub sessions: u64,
    /// Video that arrives.
    pub video: Option<Video>,
    /// Audio that arrives.
    pub audio: Option<Audio>,
    /// Viewers: addresses that fetched the playlist within three target durations.
    pub viewers: usize,
    /// FragDuration.
    pub frag_duration_s: u32,
    /// FragCount.
    pub frag_count: u32,
    /// EXT-X-TARGETDURATION; `null`: nothing was ever recorded.
    pub target_duration_s: Option<u16>,
    /// Low latency; `null`: the channel is not to have it.
    pub low_latency: Option<LowLatencyStatus>,
    /// The newest segment.
    pub newest_segment: Option<Segment>,
    /// Whether the next segment should have been listed.
    pub is_late: bool,
    /// The ring.
    pub ring: RingStatus,
    /// Counted over all sessions.
    pub counts: CountStatus,
}

/// Who publishes.
#[derive(Clone, Debug, Serialize)]
pub struct PublisherStatus {
    /// Where from (OSS: RemoteAddr).
    pub remote_addr: String,
    /// What the encoder calls itself.
    pub encoder: String,
    /// Whether its URL was signed.
    pub is_signed: bool,
    /// Since when (OSS: ConnectedTime).
    pub connected_unix_ms: u64,
}

/// H.264 that arrives.
#[derive(Clone, Debug, Serialize)]
pub struct Video {
    /// Codec (OSS: Codec).
    pub codec: &'static str,
    /// `profile_idc`.
    pub profile_idc: u8,
    /// `level_idc`: ten times the level.
    pub level_idc: u8,
    /// In samples.
    pub width: u32,
    /// In samples.
    pub height: u32,
    /// Frames per second, measured over the last segment, or as the stream says before there is one.
    pub frame_rate: f64,
    /// Bytes per second over the last seconds (OSS: Bandwidth).
    pub bytes_per_s: u64,
    /// Shortest distance of key frames in the last segment that tells.
    pub gop_shortest_ms: Option<i64>,
    /// Longest.
    pub gop_longest_ms: Option<i64>,
}

/// Low latency.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LowLatencyStatus {
    /// `idle`: nobody publishes; `measuring` the camera's key frames; `parts`: segments are listed in parts;
    /// `plain`: they cannot be, and a hint says why.
    pub state: &'static str,
    /// Longest part.
    pub part_ms: u32,
}

/// AAC that arrives.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Audio {
    /// Codec (OSS: Codec).
    pub codec: &'static str,
    /// Samples per second.
    pub sample_rate_hz: u32,
    /// Channels.
    pub channels: u8,
    /// Bytes per second over the last seconds (OSS: Bandwidth).
    pub bytes_per_s: u64,
}

/// A segment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Segment {
    /// Media sequence number.
    pub media_sequence: u64,
    /// When it starts.
    pub start_unix_ms: u64,
    /// How long it plays.
    pub duration_ms: i64,
    /// How long it is.
    pub bytes: u32,
    /// Since it was listed; `null`: that was before the daemon started.
    pub age_ms: Option<u64>,
}

/// A ring.
#[derive(Clone, Debug, Serialize)]
pub struct RingStatus {
    /// `ready`, `opening`, `making` or `failed`.
    pub state: &'static str,
    /// What is wrong with it.
    pub fault: Option<String>,
    /// Flash reserved for it.
    pub reserved_bytes: u64,
    /// Bytes of segments that can be read.
    pub used_bytes: u64,
    /// Bytes of segments that it has room for.
    pub capacity_bytes: u64,
    /// Segments that can be read.
    pub segments: usize,
    /// From the oldest segment's start to the newest one's end.
    pub span_ms: u64,
    /// The same as a picture.
    pub timeline: Option<Timeline>,
    /// Bytes of segments handed to the card.
    pub written_bytes: u64,
    /// Segments put into the index, with a sync each.
    pub seals: u64,
    /// Time that they took on average.
    pub seal_ms_mean: u64,
    /// Time that the slowest of them took.
    pub seal_ms_max: u64,
    /// Times that the ring was opened anew because it failed.
    pub reopened: u64,
}

/// What a channel counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CountStatus {
    /// Bytes of video messages.
    pub video_bytes: u64,
    /// Bytes of audio messages.
    pub audio_bytes: u64,
    /// Pictures recorded.
    pub video_frames: u64,
    /// Pictures left out: no configuration, no key frame yet, no room.
    pub video_frames_dropped: u64,
    /// Pictures that came broken.
    pub video_frames_broken: u64,
    /// Audio frames left out.
    pub audio_frames_dropped: u64,
    /// Messages of no known or no supported kind.
    pub unusable_messages: u64,
    /// Timestamps that did not go forward, and were moved to right behind the last one.
    pub timestamps_nudged: u64,
    /// Timestamps that were too far off to be believed, and were made up.
    pub timestamps_restamped: u64,
    /// Times that the camera's clock jumped for good.
    pub clock_jumps: u64,
    /// Segments listed, since the ring was opened.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Gaps listed.
    pub gaps: u64,
    /// Segments that made room for others.
    pub segments_retired: u64,
    /// Segments lost because the card failed or was too slow.
    pub segments_lost: u64,
    /// Segments that were good when they were sealed and are not any more.
    pub segments_damaged: u64,
    /// Writes and syncs that failed.
    pub flash_failures: u64,
}

impl ChannelStatus {
    /// Looks at one channel. `signer` signs its URLs; `None`: there is no right to.
    pub(super) fn take(
        channel: &Channel,
        bucket: &Bucket,
        signer: Option<Signer<'_>>,
        view: &View<'_>,
    ) -> Self {
        let now = view.now;
        let config = &channel.config;
        let session = channel.session();
        let stat = channel.stat();
        let rate = channel.rate();
        let gop = stat.and_then(|stat| stat.measured.gop);
        let video = stat.and_then(|stat| {
            let video = stat.video?;
            let frames_per_1000_s =
                stat.measured.frames_per_1000_s.unwrap_or(video.frames_per_1000_s);
            Some(Video {
                codec: "H264",
                profile_idc: video.profile,
                level_idc: video.level,
                width: video.width,
                height: video.height,
                frame_rate: f64::from(frames_per_1000_s) / 1000.0,
                bytes_per_s: rate.video_bytes_per_s,
                gop_shortest_ms: gop.map(|gop| gop.shortest.as_millis()),
                gop_longest_ms: gop.map(|gop| gop.longest.as_millis()),
            })
        });
        let audio = stat.and_then(|stat| stat.audio).map(|audio| Audio {
            codec: "AAC",
            sample_rate_hz: audio.sample_rate,
            channels: audio.channels,
            bytes_per_s: rate.audio_bytes_per_s,
        });
        let newest = channel.recorder().and_then(|recorder| recorder.ring().history().next_back());
        let way = Way::to(bucket, view);
        let is_signing_needed = bucket.acl != Acl::PublicReadWrite;
        Self {
            bucket: channel.bucket.to_string(),
            channel: config.name.to_string(),
            description: config.description.to_string(),
            status: match session {
                _ if config.status == Enabled::Disabled => "Disabled",
                Some(_) => "Live",
                None => "Idle",
            },
            hints: [
                gop.and_then(|gop| hint::gop(gop, config.frag_duration_s)),
                channel.cadence().and_then(hint::low_latency),
            ]
            .into_iter()
            .flatten()
            .collect(),
            play_path: play_path(
                channel,
                way,
                signer.as_ref().filter(|_| bucket.acl == Acl::Private),
            ),
            publish_url: publish_url(
                channel,
                way,
                view,
                signer.as_ref().filter(|_| is_signing_needed),
            ),
            is_publish_url_unsigned: is_signing_needed && signer.is_none(),
            publisher: session.map(|session| PublisherStatus {
                remote_addr: session.publisher.peer.to_string(),
                encoder: session.publisher.encoder.clone(),
                is_signed: session.publisher.is_signed,
                connected_unix_ms: session.since.wall.0,
            }),
            sessions: channel.seat().sessions(),
            video,
            audio,
            viewers: channel.viewers(now),
            frag_duration_s: config.frag_duration_s,
            frag_count: config.frag_count,
            target_duration_s: channel.recorder().and_then(|recorder| recorder.target_duration_s()),
            low_latency: config.low_latency.map(|LowLatency { part_ms }| LowLatencyStatus {
                state: match channel.cadence() {
                    None => "idle",
                    Some(Cadence::Unknown) => "measuring",
                    Some(Cadence::Steady) => "parts",
                    Some(Cadence::Uneven | Cadence::Sparse | Cadence::Long) => "plain",
                },
                part_ms,
            }),
            newest_segment: newest.map(|record| Segment {
                media_sequence: record.sequence,
                start_unix_ms: record.start.0,
                duration_ms: record.duration.as_millis(),
                bytes: record.bytes,
                age_ms: channel.produced_at().map(|at| now.mono.since(at)),
            }),
            is_late: channel.segment_due().is_some_and(|due| now.mono > due),
            ring: ring_status(channel, now),
            counts: count_status(channel),
        }
    }
}

fn ring_status(channel: &Channel, now: Now) -> RingStatus {
    let ring = channel.recorder().map(|recorder| recorder.ring());
    let records = ring.map(|ring| ring.history());
    let flash = channel.flash();
    let counts = flash.counts();
    let span = ring.and_then(|ring| ring.span());
    // What is on its way is no hole; what should have been there is.
    let until = match channel.segment_due() {
        Some(due) if now.mono <= due => UnixMillis(0),
        _ => now.wall,
    };
    RingStatus {
        state: match () {
            () if flash.trouble().is_some() => "failed",
            () if ring.is_some() => "ready",
            () if channel.is_making() => "making",
            () => "opening",
        },
        fault: flash.trouble().map(str::to_owned).or_else(|| channel.trouble()),
        reserved_bytes: channel.config.ring_bytes,
        used_bytes: records.clone().map_or(0, |records| {
            records.map(|record| record.end_position() - record.position).sum()
        }),
        capacity_bytes: ring.map_or(0, |ring| ring.geometry().layout.data_bytes()),
        segments: records.clone().map_or(0, |records| records.filter(|r| !r.is_gap).count()),
        span_ms: span.map_or(0, |span| span.end.0.saturating_sub(span.start.0)),
        timeline: records.and_then(|records| Timeline::draw(records, until)),
        written_bytes: counts.written_bytes,
        seals: counts.seals.count(),
        seal_ms_mean: counts.seals.sum_ms.checked_div(counts.seals.count()).unwrap_or(0),
        seal_ms_max: counts.seals.max_ms,
        reopened: counts.reopened,
    }
}

fn count_status(channel: &Channel) -> CountStatus {
    let (counts, flash) = (channel.counts(), channel.flash().counts());
    let ring = channel.recorder().map(|recorder| recorder.ring().counters()).unwrap_or_default();
    CountStatus {
        video_bytes: counts.video_bytes,
        audio_bytes: counts.audio_bytes,
        video_frames: counts.video_frames,
        video_frames_dropped: counts.video_dropped,
        video_frames_broken: counts.video_broken,
        audio_frames_dropped: counts.audio_dropped,
        unusable_messages: counts.unusable,
        timestamps_nudged: counts.timestamps.nudged,
        timestamps_restamped: counts.timestamps.restamped,
        clock_jumps: counts.timestamps.jumps,
        segments: ring.segments,
        segment_bytes: ring.bytes,
        gaps: ring.gaps,
        segments_retired: ring.retired,
        segments_lost: flash.segments_lost,
        segments_damaged: flash.segments_damaged,
        flash_failures: flash.failures,
    }
}

/// How the host that the console was reached by leads to a bucket.
#[derive(Clone, Copy)]
enum Way {
    /// The path names the bucket.
    Path,
    /// The host is the bucket.
    Host,
    /// Not at all: the host is another bucket.
    None,
}

impl Way {
    fn to(bucket: &Bucket, view: &View<'_>) -> Self {
        match view.host_bucket {
            None => Self::Path,
            Some(named) if named.name == bucket.name => Self::Host,
            Some(_) => Self::None,
        }
    }
}

/// `/BUCKET/CHANNEL/PLAYLIST` or `/CHANNEL/PLAYLIST`, signed if there is a `signer`.
fn play_path(channel: &Channel, way: Way, signer: Option<&Signer<'_>>) -> String {
    let object = format!("{}/{}", channel.config.name, channel.config.playlist_name);
    let unsigned = |mut path: String| {
        encode_path(&object, &mut path);
        path
    };
    match (way, signer) {
        (Way::Path, Some(signer)) => signer.play_url("", &object),
        (Way::Path, None) => unsigned(format!("/{}/", channel.bucket)),
        (Way::Host, Some(signer)) => signer.play_url_by_host("", &object),
        (Way::Host, None) => unsigned(String::from("/")),
        (Way::None, _) => String::new(),
    }
}

/// `rtmp://HOST:PORT/BUCKET/live/CHANNEL` or `rtmp://HOST:PORT/live/CHANNEL`, where HOST is as the console was reached.
fn publish_url(
    channel: &Channel,
    way: Way,
    view: &View<'_>,
    signer: Option<&Signer<'_>>,
) -> String {
    let listen = &view.config.listen;
    let port = listen.rtmp.first().or(listen.http.first()).map_or(1935, std::net::SocketAddr::port);
    let base = format!("rtmp://{}:{port}", without_port(view.host));
    let name = &channel.config.name;
    match (way, signer) {
        (Way::Path, Some(signer)) => signer.publish_url(&base, name, None),
        (Way::Path, None) => Signer::unsigned_publish_url(&base, &channel.bucket, name),
        (Way::Host, Some(signer)) => signer.publish_url_by_host(&base, name, None),
        (Way::Host, None) => Signer::unsigned_publish_url_by_host(&base, name),
        (Way::None, _) => String::new(),
    }
}
