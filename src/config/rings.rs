//! The configured rings → what they take of flash and of memory, and how much video they keep.

use super::{Bucket, Config, LiveChannel, Store};
use crate::{
    limits::{Budget, Load, memory_budget},
    store::geometry::{Geometry, RingTooSmall},
};

/// Flash for a channel where the file names none, in bytes: seven minutes at 4 Mbit/s.
pub const RING_BYTES_DEFAULT: u64 = 256 << 20;

/// FragDuration where the file names none, in seconds (OSS: PutLiveChannel).
pub const FRAG_DURATION_S_DEFAULT: u32 = 5;

/// FragCount where the file names none (OSS: PutLiveChannel).
pub const FRAG_COUNT_DEFAULT: u32 = 3;

/// A ring that the configuration asks for, or several alike.
#[derive(Clone, Copy, Debug)]
pub struct RingPlan<'c> {
    /// The bucket that it belongs to.
    pub bucket: &'c Bucket,
    /// The channel that it belongs to; `None`: channels that PutLiveChannel may create.
    pub channel: Option<&'c LiveChannel>,
    /// How many such rings.
    pub count: u32,
    /// Flash for each, in bytes.
    pub ring_bytes: u64,
    /// Segments in the live playlist; the default for channels that are not created yet.
    pub frag_count: u32,
}

impl Config {
    /// All rings that the configuration asks for, in the order of the file.
    pub fn ring_plans(&self) -> impl Iterator<Item = RingPlan<'_>> {
        self.buckets.iter().flat_map(|bucket| {
            // Those that were made over the API are among the ones that may be.
            let is_defined = |channel: &&LiveChannel| channel.modified.is_none();
            let defined =
                bucket.live_channels.iter().filter(is_defined).map(move |channel| RingPlan {
                    bucket,
                    channel: Some(channel),
                    count: 1,
                    ring_bytes: channel.ring_bytes,
                    frag_count: channel.frag_count,
                });
            let dynamic = bucket.dynamic_channels.map(|dynamic| RingPlan {
                bucket,
                channel: None,
                count: dynamic.max,
                ring_bytes: dynamic.ring_bytes,
                frag_count: FRAG_COUNT_DEFAULT,
            });
            defined.chain(dynamic)
        })
    }

    /// Flash that all rings take together, in bytes.
    pub fn flash_bytes(&self) -> u64 {
        let sizes = self.ring_plans().map(|plan| plan.ring_bytes.saturating_mul(plan.count.into()));
        sizes.fold(0, u64::saturating_add)
    }

    /// The most memory that the daemon takes with this configuration.
    pub fn memory_budget(&self) -> Budget {
        let index_bytes = self.ring_plans().filter_map(|plan| {
            let geometry = geometry(&self.store, plan.ring_bytes, plan.frag_count).ok()?;
            Some(geometry.records_memory_bytes().saturating_mul(plan.count.into()))
        });
        memory_budget(&Load {
            publishers: self.limits.publishers.into(),
            viewers: self.limits.viewers.into(),
            low_latency: self
                .live_channels()
                .filter(|(_, channel)| channel.low_latency.is_some())
                .count() as u64,
            channels: self.ring_plans().map(|plan| u64::from(plan.count)).sum(),
            index_bytes: index_bytes.fold(0, u64::saturating_add),
        })
    }
}

/// How a ring of this size is laid out, or why it cannot be.
pub fn geometry(store: &Store, ring_bytes: u64, frag_count: u32) -> Result<Geometry, RingTooSmall> {
    Geometry::new(ring_bytes, frag_count, store.flash_block_bytes)
}

/// Bytes of segments that a second of video makes at `mbit_per_sec`, audio included.
///
/// TS packets, PES headers and whole pages cost about 4 % (ISO/IEC 13818-1 §2.4.3.2).
pub const fn bytes_per_sec(mbit_per_sec: u64) -> u64 {
    mbit_per_sec * 130_000
}

/// Seconds of video that a ring keeps at least, at `mbit_per_sec`.
pub fn kept_secs(geometry: &Geometry, mbit_per_sec: u64) -> u64 {
    let kept_bytes = geometry.layout.data_bytes().saturating_sub(geometry.reach_bytes());
    kept_bytes.checked_div(bytes_per_sec(mbit_per_sec)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ring_keeps_what_its_description_says() {
        let geometry = Geometry::new(RING_BYTES_DEFAULT, FRAG_COUNT_DEFAULT, 4 << 20).unwrap();
        assert_eq!(kept_secs(&geometry, 4) / 60, 7);
        assert_eq!(kept_secs(&geometry, 0), u64::MAX);
    }

    #[test]
    fn a_channel_keeps_its_whole_playlist_at_the_rate_that_fills_its_segments() {
        for ring_bytes in [16 << 20, RING_BYTES_DEFAULT, 4 << 30] {
            let geometry = Geometry::new(ring_bytes, 6, 4 << 20).unwrap();
            let mbit_per_sec = geometry.segment_bytes_max / 130_000 / 2;
            assert!(kept_secs(&geometry, mbit_per_sec) >= 2 * 6 * 2, "{ring_bytes}");
        }
    }
}
