//! The `[[bucket]]` tables, with the channels in them.

use super::{
    Acl, Bucket, Config, DynamicChannels, LiveChannel, LowLatency, Status, Store, Takeover, names,
    problem::{At, Notes, Seen},
    rings::{
        FRAG_COUNT_DEFAULT, FRAG_DURATION_S_DEFAULT, RING_BYTES_DEFAULT, bytes_per_sec, geometry,
        kept_secs,
    },
    rules,
    size::Size,
    table::Table,
};
use crate::limits::{BUCKET_HOSTS_MAX, CHANNELS_MAX, PART_MS_MIN, RING_BYTES_MAX};

/// Segments that a live playlist should list at least (HLS authoring specification for Apple devices, 8.11).
const FRAG_COUNT_GOOD: u32 = 6;

/// The bit rate that warnings about rings assume: a 1080p camera.
const USUAL_MBIT_PER_SEC: u64 = 4;

/// What is known of the buckets that were read so far.
pub(super) struct Buckets<'t> {
    store: &'t Store,
    names: Seen<'t>,
    hosts: Seen<'t>,
    /// Channels whose playlist lists fewer segments than is good.
    short_playlists: Vec<At>,
}

impl<'t> Buckets<'t> {
    pub(super) const fn new(store: &'t Store, notes: &'t Notes<'t>) -> Self {
        Self {
            store,
            names: Seen::new(notes, "a bucket"),
            hosts: Seen::new(notes, "a host"),
            short_playlists: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, mut table: Table<'_>) -> Bucket {
        table.require("name");
        let name = table.text("name", names::bucket_name).unwrap_or_default();
        self.names.add(&name, &table.at("name"));
        let hosts = table.texts("hosts", BUCKET_HOSTS_MAX, names::host_name);
        for (at, host) in &hosts {
            self.hosts.add(host, at);
        }
        let words = [
            ("private", Acl::Private),
            ("public-read", Acl::PublicRead),
            ("public-read-write", Acl::PublicReadWrite),
        ];
        let acl = table.word("acl", &words).unwrap_or(Acl::Private);
        match acl {
            Acl::Private => {}
            Acl::PublicRead => table
                .notes
                .warn(&table.at("acl"), "everybody who reaches this box may watch all channels of this bucket"),
            Acl::PublicReadWrite => table.notes.warn(
                &table.at("acl"),
                "everybody who reaches this box may watch all channels of this bucket and publish to them",
            ),
        }
        let dynamic_channels = table
            .has("dynamic_channels")
            .then(|| self.dynamic_channels(table.table("dynamic_channels")));
        let mut seen = Seen::new(table.notes, "a LiveChannel of this bucket");
        let live_channels: Vec<_> = table
            .tables("live_channel", CHANNELS_MAX as usize)
            .into_iter()
            .map(|channel| self.live_channel(channel, acl, &mut seen))
            .collect();
        if live_channels.is_empty() && dynamic_channels.is_none() {
            table.notes.warn(
                &table.at,
                "has no live_channel and no dynamic_channels: nothing can be published to it",
            );
        }
        let bucket = Bucket {
            name,
            acl,
            hosts: hosts.into_iter().map(|(_, host)| host).collect(),
            dynamic_channels,
            referer: rules::referer(table.table("referer")),
            cors: rules::cors(table.table("cors"), acl),
            live_channels,
        };
        table.finish();
        bucket
    }

    fn dynamic_channels(&self, mut table: Table<'_>) -> DynamicChannels {
        table.require("max");
        let dynamic = DynamicChannels {
            max: table.number("max", 1..=CHANNELS_MAX).unwrap_or(1),
            ring_bytes: self.ring_bytes(&mut table, FRAG_DURATION_S_DEFAULT, FRAG_COUNT_DEFAULT),
        };
        table.finish();
        dynamic
    }

    fn live_channel(&mut self, mut table: Table<'_>, acl: Acl, seen: &mut Seen<'_>) -> LiveChannel {
        table.require("name");
        let name = table.text("name", names::channel_name).unwrap_or_default();
        seen.add(&name, &table.at("name"));
        let frag_duration_s =
            table.number("frag_duration", 1..=100).unwrap_or(FRAG_DURATION_S_DEFAULT);
        let frag_count = table.number("frag_count", 1..=100).unwrap_or(FRAG_COUNT_DEFAULT);
        let (has_low_latency, parts) = (table.has("low_latency"), table.table("low_latency"));
        for (given, other) in [("frag_duration", "frag_count"), ("frag_count", "frag_duration")] {
            if table.has(given) && !table.has(other) {
                let message = format!("stands without {other}: both or neither are given");
                table.notes.problem(&table.at(given), message);
            }
        }
        if frag_count < FRAG_COUNT_GOOD {
            self.short_playlists.push(table.at("frag_count"));
        }
        let takeover = table
            .word("takeover", &[("reject", Takeover::Reject), ("replace", Takeover::Replace)])
            .unwrap_or(Takeover::Reject);
        if takeover == Takeover::Replace && acl == Acl::PublicReadWrite {
            table.notes.warn(
                &table.at("takeover"),
                "only a signed publisher replaces another; those of this bucket need no signature",
            );
        }
        let channel = LiveChannel {
            name,
            description: table.text("description", names::description).unwrap_or_default(),
            status: table
                .word("status", &[("enabled", Status::Enabled), ("disabled", Status::Disabled)])
                .unwrap_or(Status::Enabled),
            frag_duration_s,
            frag_count,
            playlist_name: table
                .text("playlist_name", names::playlist_name)
                .unwrap_or("playlist.m3u8".into()),
            ring_bytes: self.ring_bytes(&mut table, frag_duration_s, frag_count),
            takeover,
            low_latency: has_low_latency.then(|| low_latency(parts, frag_duration_s)).flatten(),
            modified: None,
        };
        table.finish();
        channel
    }

    /// The size of a ring that can be laid out.
    fn ring_bytes(&self, table: &mut Table<'_>, frag_duration_s: u32, frag_count: u32) -> u64 {
        let ring_bytes = table.size("ring", 0..=RING_BYTES_MAX).unwrap_or(RING_BYTES_DEFAULT);
        let (at, notes) = (table.at("ring"), table.notes);
        let geometry = match geometry(self.store, ring_bytes, frag_count) {
            Ok(geometry) => geometry,
            Err(refused) => {
                notes.problem(
                    &at,
                    format!(
                        "{} is too small for a playlist of {frag_count} segments: at least {} is needed",
                        Size(ring_bytes),
                        Size(refused.needed_bytes)
                    ),
                );
                return ring_bytes;
            }
        };
        if geometry.layout.file_bytes != ring_bytes {
            let (used, block) =
                (Size(geometry.layout.file_bytes), Size(self.store.flash_block_bytes));
            notes.warn(
                &at,
                format!(
                    "{} are not whole erase blocks of {block}: {used} of them are used",
                    Size(ring_bytes)
                ),
            );
        }
        let kept_secs = kept_secs(&geometry, USUAL_MBIT_PER_SEC);
        if kept_secs < 60 {
            notes.warn(
                &at,
                format!("{} keeps {kept_secs} s at {USUAL_MBIT_PER_SEC} Mbit/s", Size(ring_bytes)),
            );
        }
        let segment_bytes = u64::from(frag_duration_s) * bytes_per_sec(USUAL_MBIT_PER_SEC);
        if geometry.segment_bytes_max < segment_bytes {
            notes.warn(
                &at,
                format!(
                    "a segment may have {}, which is {} s at {USUAL_MBIT_PER_SEC} Mbit/s: before its {frag_duration_s} s it is cut without a key frame; a larger ring or a shorter frag_duration helps",
                    Size(geometry.segment_bytes_max),
                    geometry.segment_bytes_max / bytes_per_sec(USUAL_MBIT_PER_SEC),
                ),
            );
        }
        ring_bytes
    }

    /// Checks what takes all buckets to see.
    pub(super) fn finish(self, config: &Config) {
        let notes = self.names.notes;
        if let Some((first, others)) = self.short_playlists.split_first() {
            let also = match others.len() {
                0 => String::new(),
                more => format!(" (and of {more} more)"),
            };
            notes.warn(
                first,
                format!("the playlist of this channel{also} lists fewer than {FRAG_COUNT_GOOD} segments: players that lag a little stall sooner"),
            );
        }
        let Some(endpoint) = &config.endpoint else { return };
        for (host, at) in &self.hosts.places {
            if host == endpoint {
                notes.problem(at, format!("{host:?} is the endpoint: it means all buckets"));
            }
            let prefix =
                host.strip_suffix(endpoint.as_str()).and_then(|prefix| prefix.strip_suffix('.'));
            let meant =
                prefix.and_then(|name| config.buckets.iter().find(|bucket| bucket.name == name));
            if let Some(meant) = meant.filter(|bucket| !bucket.hosts.contains(host)) {
                notes.problem(
                    at,
                    format!("{host:?} means the bucket {:?} already, by the endpoint", meant.name),
                );
            }
        }
    }
}

/// Parts are at least two to a segment.
fn low_latency(mut table: Table<'_>, frag_duration_s: u32) -> Option<LowLatency> {
    table.require("part");
    let most_ms = frag_duration_s.saturating_mul(1000) / 2;
    let part_ms = table.millis("part", PART_MS_MIN..=most_ms.max(PART_MS_MIN));
    table.finish();
    Some(LowLatency { part_ms: part_ms? })
}
