//! A load → the most memory that it takes, as a sum with one line per owner.
//!
//! It measures nothing: `tests/bench/run` holds it against the worst load.

use super::{
    ACCESS_UNIT_PREFIX_BYTES_MAX, AUDIO_CONFIG_BYTES_MAX, AUDIO_PES_BYTES_MAX,
    AVC_CONFIG_BYTES_MAX, CATALOGUE_BYTES_MAX, CATALOGUES_HELD, CHANNEL_BYTES, DEFLATE_BYTES,
    HTTP_BODIES_HELD_MAX, HTTP_BODY_BYTES_MAX, HTTP_CONNECTION_BYTES, HTTP_HEAD_BYTES_MAX,
    HTTP_HEADS_HELD_MAX, HTTP_TEXT_BYTES_HELD_MAX, INDEXED_SEGMENT_BYTES, PARTS_BYTES,
    PLAYLIST_BYTES_MAX, PROGRAM_BYTES, RTMP_OUTPUT_BYTES_MAX, RTMP_SESSION_BYTES, RTMP_WAITING_MAX,
    SCRATCH_BYTES, SMALL_MESSAGE_BYTES_MAX, SMALL_MESSAGES_HELD_MAX, WRITE_BUFFERS_PER_PUBLISHER,
    WRITE_BUFFERS_SHARED, WRITE_BYTES,
};

/// What of a configuration costs memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Publishers at a time.
    pub publishers: u64,
    /// HTTP connections at a time.
    pub viewers: u64,
    /// Channels, those that PutLiveChannel may create included.
    pub channels: u64,
    /// Those of them with low latency.
    pub low_latency: u64,
    /// Records in the indexes of all their rings, in bytes.
    pub index_bytes: u64,
}

/// One owner's part of the memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BudgetLine {
    /// Who holds it.
    pub owner: &'static str,
    /// How much, in bytes.
    pub bytes: u64,
    /// How it is computed.
    pub how: String,
}

/// Memory as a sum.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Budget {
    /// One line per owner.
    pub lines: Vec<BudgetLine>,
    /// Their sum, in bytes.
    pub total_bytes: u64,
}

/// The most memory that a load can take.
pub fn memory_budget(load: &Load) -> Budget {
    let Load { publishers, viewers, channels, low_latency, index_bytes } = *load;
    let small_messages = SMALL_MESSAGES_HELD_MAX * SMALL_MESSAGE_BYTES_MAX;
    let rtmp = small_messages as u64 + RTMP_OUTPUT_BYTES_MAX as u64 + RTMP_SESSION_BYTES;
    let media = AUDIO_PES_BYTES_MAX
        + ACCESS_UNIT_PREFIX_BYTES_MAX
        + AVC_CONFIG_BYTES_MAX
        + AUDIO_CONFIG_BYTES_MAX;
    let body = HTTP_HEAD_BYTES_MAX + HTTP_BODY_BYTES_MAX;
    let http_held = HTTP_HEADS_HELD_MAX * HTTP_HEAD_BYTES_MAX
        + HTTP_BODIES_HELD_MAX * body
        + HTTP_TEXT_BYTES_HELD_MAX;
    let kib = |bytes: u64| format!("{} KiB", bytes.div_ceil(1 << 10));
    let mut lines = vec![BudgetLine {
        owner: "program",
        bytes: PROGRAM_BYTES,
        how: "code, stacks, allocator".to_owned(),
    }];
    let mut each = |owner, count: u64, of: &str, bytes: u64| {
        let how = format!("{count} {of} × {}", kib(bytes));
        lines.push(BudgetLine { owner, bytes: count.saturating_mul(bytes), how });
    };
    let write_buffers = publishers
        .saturating_mul(WRITE_BUFFERS_PER_PUBLISHER as u64)
        .saturating_add(WRITE_BUFFERS_SHARED as u64);
    each("flash writes", write_buffers, "buffers", WRITE_BYTES as u64);
    each("RTMP", publishers.saturating_add(RTMP_WAITING_MAX as u64), "connections", rtmp);
    each("media", publishers, "publishers", media as u64);
    each("channels", channels, "channels", CHANNEL_BYTES);
    if low_latency > 0 {
        each("parts", low_latency, "channels with low latency", PARTS_BYTES);
    }
    each("HTTP", viewers, "viewers", HTTP_CONNECTION_BYTES);
    lines.push(BudgetLine {
        owner: "ring indexes",
        bytes: index_bytes,
        how: format!("one record per {} of ring", kib(INDEXED_SEGMENT_BYTES)),
    });
    lines.push(BudgetLine {
        owner: "requests, answers",
        bytes: http_held as u64,
        how: format!(
            "{HTTP_HEADS_HELD_MAX} heads × {}, {HTTP_BODIES_HELD_MAX} bodies × {}, {} of text",
            kib(HTTP_HEAD_BYTES_MAX as u64),
            kib(body as u64),
            kib(HTTP_TEXT_BYTES_HELD_MAX as u64),
        ),
    });
    lines.push(BudgetLine {
        owner: "catalogue",
        bytes: CATALOGUES_HELD * CATALOGUE_BYTES_MAX as u64,
        how: format!(
            "{} of text, read, being changed and being written",
            kib(CATALOGUE_BYTES_MAX as u64)
        ),
    });
    lines.push(BudgetLine {
        owner: "shared scratch",
        bytes: 2 * SCRATCH_BYTES as u64 + PLAYLIST_BYTES_MAX as u64 + DEFLATE_BYTES,
        how: format!(
            "socket and flash {} each, one playlist {}, DEFLATE {}",
            kib(SCRATCH_BYTES as u64),
            kib(PLAYLIST_BYTES_MAX as u64),
            kib(DEFLATE_BYTES),
        ),
    });
    let total_bytes = lines.iter().fold(0, |sum: u64, line| sum.saturating_add(line.bytes));
    Budget { lines, total_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_the_sum_of_its_lines_and_grows_with_every_part_of_the_load() {
        let one = Load { publishers: 1, viewers: 1, channels: 1, low_latency: 1, index_bytes: 1 };
        let base = memory_budget(&one);
        assert_eq!(base.total_bytes, base.lines.iter().map(|line| line.bytes).sum::<u64>());
        for more in [
            Load { publishers: 2, ..one },
            Load { viewers: 2, ..one },
            Load { channels: 2, ..one },
            Load { low_latency: 2, ..one },
            Load { index_bytes: 2, ..one },
        ] {
            assert!(memory_budget(&more).total_bytes > base.total_bytes, "{more:?}");
        }
    }

    #[test]
    fn a_load_beyond_all_memory_does_not_wrap_to_a_small_budget() {
        let huge = Load {
            publishers: u64::MAX,
            viewers: u64::MAX,
            channels: u64::MAX,
            low_latency: u64::MAX,
            index_bytes: u64::MAX,
        };
        assert_eq!(memory_budget(&huge).total_bytes, u64::MAX);
    }

    #[test]
    fn the_default_load_fits_the_default_memory() {
        let load = Load {
            publishers: 16,
            viewers: 128,
            channels: 16,
            low_latency: 16,
            index_bytes: 16 << 17,
        };
        assert!(memory_budget(&load).total_bytes < 48 << 20);
    }
}
