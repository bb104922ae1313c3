//! Everything there is to tell, at one moment. The JSON of `/-/status` is this, field by field.
//!
//! Names are those of OSS and RFC 8216 where they have one, and end in their unit. Times are in Unix milliseconds by the
//! box's clock. What is not known is `null`.

use serde::Serialize;

use crate::{
    access::{ConsoleGrant, GateTime, sign::Signer},
    channel::{Channel, Channels, flash::Latency},
    config::{Acl, Bucket, Config, Status as Enabled},
    console::{Health, Vitals, timeline::Timeline},
    hls::Gop,
    query::encode_path,
    units::{Now, UnixMillis, UnixSecs},
};

/// What a status is taken of.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// The channels.
    pub channels: &'a Channels,
    /// What is counted beside them.
    pub vitals: &'a Vitals,
    /// The host that was asked, with its port: publish URLs name it.
    pub host: &'a str,
    /// The time.
    pub now: Now,
    /// The time that signatures are measured by.
    pub gate_time: GateTime,
}

/// The daemon at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// When this was taken.
    pub time_unix_ms: u64,
    /// How long the daemon has been running.
    pub uptime_ms: u64,
    /// Whether the box knows the time; until then signed requests are refused.
    pub is_clock_set: bool,
    /// As `/-/health` tells it.
    pub health: Health,
    /// Memory.
    pub memory: Memory,
    /// All rings together.
    pub flash: Flash,
    /// Connections.
    pub connections: Connections,
    /// HTTP.
    pub http: Http,
    /// Who was refused, and why; reasons without a refusal are left out.
    pub refusals: Vec<Refusals>,
    /// Until when the URLs of the channels are signed; `null`: those that need a signature have none.
    pub urls_expire_unix_s: Option<u64>,
    /// The channels, in the order of the configuration.
    pub channels: Vec<ChannelStatus>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Resident.
    pub resident_bytes: u64,
    /// The most that was resident.
    pub resident_bytes_max: u64,
    /// The most that this configuration can take: the sum that `sluicegate check` prints.
    pub budget_bytes: u64,
    /// `limits.memory`.
    pub limit_bytes: u64,
}

/// All rings together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Flash {
    /// Reserved for rings.
    pub reserved_bytes: u64,
    /// Bytes of segments handed to the card.
    pub written_bytes: u64,
    /// Segments put into an index, with a sync each.
    pub seals: u64,
    /// Time that the slowest of them took.
    pub seal_ms_max: u64,
    /// For the histogram in the metrics.
    #[serde(skip)]
    pub seal_latency: Latency,
}

/// Connections, and how many there may be.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Connections {
    /// HTTP.
    pub http: usize,
    /// `limits.viewers`.
    pub http_max: u32,
    /// RTMP, also those that do not publish yet.
    pub rtmp: usize,
    /// Publishers.
    pub publishers: usize,
    /// `limits.publishers`.
    pub publishers_max: u32,
}

/// What HTTP has done since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Http {
    /// Responses by the first digit of their status, from 1xx on.
    pub responses: [u64; 5],
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// Refusals of one kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Refusals {
    /// Why: a name of the gate's, or `channel` for publishers whose channel is not there, busy, disabled or not ready.
    pub reason: &'static str,
    /// HTTP requests.
    pub requests: u64,
    /// Publishers.
    pub publishers: u64,
}

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
    /// Where it plays: path and query at this address, signed if there is a right to sign.
    pub play_path: String,
    /// Where to publish, signed if there is a right to sign.
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

impl Status {
    /// Looks at everything. What it says of the channels is for those only whom the gate let in:
    ///
    /// ```compile_fail,E0061
    /// use sluicegate::console::{Status, View};
    /// fn forgotten(view: &View<'_>) -> Status {
    ///     Status::take(view)
    /// }
    /// ```
    pub fn take(view: &View<'_>, grant: &ConsoleGrant) -> Self {
        let View { config, channels, vitals, now, gate_time, .. } = *view;
        let signer = grant.signer(&config.access_keys, gate_time);
        let statuses: Vec<_> = channels
            .iter()
            .filter_map(|channel| {
                let channel = channel.borrow();
                let bucket = config.buckets.iter().find(|bucket| bucket.name == channel.bucket)?;
                let signer =
                    signer.map(|(key, expires)| Signer { key, bucket: &bucket.name, expires });
                Some(channel_status(&channel, bucket, signer, view))
            })
            .collect();
        let mut seal_latency = Latency::default();
        let mut written_bytes = 0;
        for channel in channels.iter() {
            let channel = channel.borrow();
            written_bytes += channel.flash().counts().written_bytes;
            seal_latency.merge(&channel.flash().counts().seals);
        }
        let health = Health::check(channels, now);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            time_unix_ms: now.wall.0,
            uptime_ms: now.mono.0,
            is_clock_set: gate_time.is_plausible(),
            health,
            memory: Memory {
                resident_bytes: vitals.resident_bytes,
                resident_bytes_max: vitals.resident_bytes_max,
                budget_bytes: config.memory_budget().total_bytes,
                limit_bytes: config.limits.memory_bytes,
            },
            flash: Flash {
                reserved_bytes: config.flash_bytes(),
                written_bytes,
                seals: seal_latency.count(),
                seal_ms_max: seal_latency.max_ms,
                seal_latency,
            },
            connections: Connections {
                http: vitals.http_connections,
                http_max: config.limits.viewers,
                rtmp: vitals.rtmp_connections,
                publishers: health.live_channels,
                publishers_max: config.limits.publishers,
            },
            http: Http { responses: vitals.responses, sent_bytes: vitals.sent_bytes },
            refusals: refusals(vitals)
                .filter(|refusals| refusals.requests + refusals.publishers > 0)
                .collect(),
            urls_expire_unix_s: signer.map(|(_, UnixSecs(expires))| expires),
            channels: statuses,
        }
    }

    /// As JSON.
    pub fn json(&self) -> Vec<u8> {
        // Numbers, texts and lists always have a JSON form, and memory does not fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Refusals of all kinds, also those of which there were none.
pub(super) fn refusals(vitals: &Vitals) -> impl Iterator<Item = Refusals> {
    let by_the_gate = crate::access::Reason::ALL.into_iter();
    let counts = vitals.requests_refused.into_iter().zip(vitals.publishers_refused);
    let not_admitted = vitals.publishers_not_admitted;
    by_the_gate
        .zip(counts)
        .map(|(reason, (requests, publishers))| Refusals {
            reason: reason.label(),
            requests,
            publishers,
        })
        .chain([Refusals { reason: "channel", requests: 0, publishers: not_admitted }])
}

fn channel_status(
    channel: &Channel,
    bucket: &Bucket,
    signer: Option<Signer<'_>>,
    view: &View<'_>,
) -> ChannelStatus {
    let now = view.now;
    let config = &channel.config;
    let session = channel.session();
    let stat = channel.stat();
    let rate = channel.rate();
    let gop = stat.and_then(|stat| stat.measured.gop);
    let video = stat.and_then(|stat| {
        let video = stat.video?;
        let frames_per_1000_s = stat.measured.frames_per_1000_s.unwrap_or(video.frames_per_1000_s);
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
    let is_signing_needed = bucket.acl != Acl::PublicReadWrite;
    ChannelStatus {
        bucket: channel.bucket.to_string(),
        channel: config.name.to_string(),
        description: config.description.to_string(),
        status: match session {
            _ if config.status == Enabled::Disabled => "Disabled",
            Some(_) => "Live",
            None => "Idle",
        },
        hints: gop.and_then(|gop| gop_hint(gop, config.frag_duration_s)).into_iter().collect(),
        play_path: play_path(channel, bucket, signer.as_ref()),
        publish_url: publish_url(channel, view, signer.as_ref().filter(|_| is_signing_needed)),
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
        segments: ring.segments,
        segment_bytes: ring.bytes,
        gaps: ring.gaps,
        segments_retired: ring.retired,
        segments_lost: flash.segments_lost,
        segments_damaged: flash.segments_damaged,
        flash_failures: flash.failures,
    }
}

/// `/BUCKET/CHANNEL/PLAYLIST`, signed where that is needed and there is a right.
fn play_path(channel: &Channel, bucket: &Bucket, signer: Option<&Signer<'_>>) -> String {
    let object = format!("{}/{}", channel.config.name, channel.config.playlist_name);
    match signer.filter(|_| bucket.acl == Acl::Private) {
        Some(signer) => signer.play_url("", &object),
        None => {
            let mut path = format!("/{}/", bucket.name);
            encode_path(&object, &mut path);
            path
        }
    }
}

/// `rtmp://HOST:PORT/BUCKET/live/CHANNEL`, where HOST is as the console was reached.
fn publish_url(channel: &Channel, view: &View<'_>, signer: Option<&Signer<'_>>) -> String {
    let listen = &view.config.listen;
    let port = listen.rtmp.first().or(listen.http.first()).map_or(1935, std::net::SocketAddr::port);
    let host = match view.host.rsplit_once(':') {
        Some((host, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => view.host,
    };
    let base = format!("rtmp://{host}:{port}");
    match signer {
        Some(signer) => signer.publish_url(&base, &channel.config.name, None),
        None => Signer::unsigned_publish_url(&base, &channel.bucket, &channel.config.name),
    }
}

/// What to change at the camera where its key frames make segments longer than they were asked to be.
fn gop_hint(gop: Gop, frag_duration_s: u32) -> Option<String> {
    let (gop_ms, asked_ms) = (gop.longest.as_millis(), 1000 * i64::from(frag_duration_s));
    // A twentieth too early is what clocks and frame times make of a whole number.
    let gops = (asked_ms - asked_ms / 20 + gop_ms - 1).checked_div(gop_ms)?;
    let segment_ms = gops * gop_ms;
    (segment_ms * 100 > asked_ms * 110).then(|| {
        format!(
            "Key frames come every {} s, so segments last {} s instead of {frag_duration_s}: set the camera's key frame \
             interval (GOP) to 1 s.",
            seconds(gop_ms),
            seconds(segment_ms),
        )
    })
}

/// Milliseconds as seconds with at most one decimal.
fn seconds(ms: i64) -> String {
    let tenths = (ms + 50) / 100;
    match tenths % 10 {
        0 => format!("{}", tenths / 10),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ticks90k;

    #[test]
    fn the_hint_names_the_segments_that_the_key_frames_make() {
        let table = [
            (1000, 5, None),
            (2000, 5, Some("last 6 s instead of 5")),
            (2500, 5, None),
            (4000, 1, Some("every 4 s, so segments last 4 s instead of 1")),
            (1001, 5, None),
            (5005, 5, None),
            (8330, 2, Some("every 8.3 s, so segments last 8.3 s")),
            (40, 1, None),
        ];
        for (gop_ms, frag_duration_s, expected) in table {
            let longest = Ticks90k::from_millis(gop_ms);
            let hint = gop_hint(Gop { shortest: longest, longest }, frag_duration_s);
            match expected {
                None => assert_eq!(hint, None, "{gop_ms} {frag_duration_s}"),
                Some(part) => assert!(hint.as_deref().unwrap_or("").contains(part), "{hint:?}"),
            }
        }
        let zero = Gop { shortest: Ticks90k(0), longest: Ticks90k(0) };
        assert_eq!(gop_hint(zero, 1), None);
    }
}
