//! Everything there is to tell, at one moment. The JSON of `/-/status` is this, field by field.
//!
//! Names are those of OSS and RFC 8216 where they have one, and end in their unit. Times are in Unix milliseconds by the
//! box's clock. What is not known is `null`.

use serde::Serialize;

use crate::{
    access::{ConsoleGrant, GateTime, sign::Signer},
    channel::{Channels, flash::Latency},
    config::{Bucket, Config},
    console::{Health, Vitals, channel_status::ChannelStatus},
    units::{Now, UnixSecs},
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
    /// The bucket that the host means by itself, if there is one: under it there is no other.
    pub host_bucket: Option<&'a Bucket>,
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
    /// The channels, in the order in which they were added.
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
                Some(ChannelStatus::take(&channel, bucket, signer, view))
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
