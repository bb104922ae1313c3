//! [`Status`] → Prometheus' text format, version 0.0.4 (Prometheus: "Exposition formats", "Metric and label naming").
//!
//! Labels are buckets and channels, of which the configuration has a bounded number, and words of the program's own.

use std::fmt::{Display, Write as _};

use crate::{
    channel::flash::Latency,
    console::{ChannelStatus, Status, Vitals, status::refusals},
};

/// `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes all metrics.
pub fn metrics(status: &Status, vitals: &Vitals) -> String {
    let mut out = Text(String::with_capacity(16 << 10));
    daemon(status, &mut out);
    traffic(status, vitals, &mut out);
    flash(status, &mut out);
    channels(status, &mut out);
    out.0
}

fn daemon(status: &Status, out: &mut Text) {
    out.family("sluicegate_build_info", Kind::Gauge, "Version of the program, as a label.");
    out.sample("sluicegate_build_info", &[("version", status.version)], 1);
    out.gauge(
        "process_start_time_seconds",
        "When the daemon started, in seconds since 1970.",
        millis(status.time_unix_ms.saturating_sub(status.uptime_ms)),
    );
    out.gauge("process_resident_memory_bytes", "Resident memory.", status.memory.resident_bytes);
    out.gauge(
        "sluicegate_memory_peak_bytes",
        "The most memory that was resident.",
        status.memory.resident_bytes_max,
    );
    out.gauge(
        "sluicegate_memory_budget_bytes",
        "The most memory that this configuration can take.",
        status.memory.budget_bytes,
    );
    out.gauge("sluicegate_memory_limit_bytes", "limits.memory.", status.memory.limit_bytes);
    out.gauge(
        "sluicegate_healthy",
        "1 if no segment is late and no flash fails.",
        u8::from(status.health.is_good()),
    );
    out.gauge(
        "sluicegate_clock_set",
        "1 if the box knows the time; signed requests are refused until then.",
        u8::from(status.is_clock_set),
    );
}

fn traffic(status: &Status, vitals: &Vitals, out: &mut Text) {
    let connections = &status.connections;
    out.gauge("sluicegate_http_connections", "HTTP connections.", connections.http);
    out.gauge("sluicegate_http_connections_limit", "limits.viewers.", connections.http_max);
    out.gauge("sluicegate_rtmp_connections", "RTMP connections.", connections.rtmp);
    out.gauge("sluicegate_publishers", "Publishers.", connections.publishers);
    out.gauge("sluicegate_publishers_limit", "limits.publishers.", connections.publishers_max);
    let name = "sluicegate_http_responses_total";
    out.family(name, Kind::Counter, "HTTP responses by class of their status.");
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(status.http.responses) {
        out.sample(name, &[("class", class)], count);
    }
    out.counter(
        "sluicegate_http_sent_bytes_total",
        "Bytes sent over HTTP.",
        status.http.sent_bytes,
    );
    let name = "sluicegate_refusals_total";
    out.family(name, Kind::Counter, "Requests and publishers that were refused, and why.");
    for refusals in refusals(vitals) {
        for (protocol, count) in [("http", refusals.requests), ("rtmp", refusals.publishers)] {
            out.sample(name, &[("protocol", protocol), ("reason", refusals.reason)], count);
        }
    }
}

fn flash(status: &Status, out: &mut Text) {
    let latency = &status.flash.seal_latency;
    out.gauge(
        "sluicegate_flash_reserved_bytes",
        "Reserved for rings.",
        status.flash.reserved_bytes,
    );
    let name = "sluicegate_flash_seal_seconds";
    let help = "How long the card took to put a segment into the index, its sync included.";
    out.family(name, Kind::Histogram, help);
    let bucket = "sluicegate_flash_seal_seconds_bucket";
    let mut sum = 0;
    for (ms, count) in Latency::BOUNDS_MS.iter().zip(latency.counts) {
        sum += count;
        out.sample(bucket, &[("le", &millis(*ms).to_string())], sum);
    }
    out.sample(bucket, &[("le", "+Inf")], latency.count());
    out.sample("sluicegate_flash_seal_seconds_sum", &[], millis(latency.sum_ms));
    out.sample("sluicegate_flash_seal_seconds_count", &[], latency.count());
}

/// One sample for each channel and each pair of labels.
type PerChannel<'m> = (&'m str, Kind, &'m str, &'m dyn Fn(&ChannelStatus, &mut Samples<'_>));

fn channels(status: &Status, out: &mut Text) {
    use Kind::{Counter, Gauge};
    let families: [PerChannel<'_>; 30] = [
        ("channel_live", Gauge, "1 while somebody publishes.", &|c, s| {
            s.one(u8::from(c.status == "Live"));
        }),
        ("channel_enabled", Gauge, "1 unless the channel is disabled.", &|c, s| {
            s.one(u8::from(c.status != "Disabled"));
        }),
        ("channel_sessions_total", Counter, "Publish sessions.", &|c, s| s.one(c.sessions)),
        ("channel_viewers", Gauge, "Addresses that fetched the playlist lately.", &|c, s| {
            s.one(c.viewers);
        }),
        ("ingest_bytes_total", Counter, "Bytes of media received.", &|c, s| {
            s.labelled("media", "video", c.counts.video_bytes);
            s.labelled("media", "audio", c.counts.audio_bytes);
        }),
        ("ingest_video_frames_total", Counter, "Pictures recorded.", &|c, s| {
            s.one(c.counts.video_frames);
        }),
        ("ingest_dropped_frames_total", Counter, "Pictures and audio frames left out.", &|c, s| {
            s.labelled("media", "video", c.counts.video_frames_dropped);
            s.labelled("media", "audio", c.counts.audio_frames_dropped);
        }),
        ("ingest_broken_frames_total", Counter, "Pictures that came broken.", &|c, s| {
            s.one(c.counts.video_frames_broken);
        }),
        ("ingest_unusable_messages_total", Counter, "Messages of no supported kind.", &|c, s| {
            s.one(c.counts.unusable_messages);
        }),
        ("ingest_moved_timestamps_total", Counter, "Timestamps that were not kept.", &|c, s| {
            s.labelled("how", "nudged", c.counts.timestamps_nudged);
            s.labelled("how", "restamped", c.counts.timestamps_restamped);
        }),
        ("ingest_clock_jumps_total", Counter, "Times that a camera's clock jumped.", &|c, s| {
            s.one(c.counts.clock_jumps);
        }),
        ("ingest_frame_rate_hertz", Gauge, "Pictures per second.", &|c, s| {
            s.some(c.video.as_ref().map(|video| video.frame_rate));
        }),
        ("ingest_key_frame_interval_seconds", Gauge, "Longest measured GOP.", &|c, s| {
            s.some(c.video.as_ref().and_then(|video| video.gop_longest_ms).map(signed_millis));
        }),
        ("segments_total", Counter, "Segments listed, gaps among them.", &|c, s| {
            s.one(c.counts.segments);
        }),
        ("segment_bytes_total", Counter, "Bytes of segments listed.", &|c, s| {
            s.one(c.counts.segment_bytes);
        }),
        ("segment_gaps_total", Counter, "Gaps listed.", &|c, s| s.one(c.counts.gaps)),
        ("segments_lost_total", Counter, "Segments that the flash could not take.", &|c, s| {
            s.one(c.counts.segments_lost);
        }),
        ("segments_retired_total", Counter, "Segments that made room.", &|c, s| {
            s.one(c.counts.segments_retired);
        }),
        ("segment_age_seconds", Gauge, "Since the newest segment was listed.", &|c, s| {
            s.some(c.newest_segment.and_then(|segment| segment.age_ms).map(millis));
        }),
        ("segment_late", Gauge, "1 if the next segment should have been listed.", &|c, s| {
            s.one(u8::from(c.is_late));
        }),
        ("target_duration_seconds", Gauge, "EXT-X-TARGETDURATION.", &|c, s| {
            s.some(c.target_duration_s);
        }),
        ("ring_ready", Gauge, "1 if the ring can be read and written.", &|c, s| {
            s.one(u8::from(c.ring.state == "ready"));
        }),
        ("ring_capacity_bytes", Gauge, "Segments that the ring has room for.", &|c, s| {
            s.one(c.ring.capacity_bytes);
        }),
        ("ring_used_bytes", Gauge, "Segments that can be read.", &|c, s| s.one(c.ring.used_bytes)),
        ("ring_segments", Gauge, "Segments that can be read.", &|c, s| s.one(c.ring.segments)),
        ("ring_span_seconds", Gauge, "From the oldest segment to the newest.", &|c, s| {
            s.one(millis(c.ring.span_ms));
        }),
        ("flash_written_bytes_total", Counter, "Bytes of segments handed to the card.", &|c, s| {
            s.one(c.ring.written_bytes);
        }),
        ("flash_reopened_total", Counter, "Times that a ring was opened anew.", &|c, s| {
            s.one(c.ring.reopened);
        }),
        ("segments_damaged_total", Counter, "Segments that did not stay good.", &|c, s| {
            s.one(c.counts.segments_damaged);
        }),
        ("flash_failures_total", Counter, "Writes and syncs that failed.", &|c, s| {
            s.one(c.counts.flash_failures);
        }),
    ];
    for (name, kind, help, sample) in families {
        let name = format!("sluicegate_{name}");
        out.family(&name, kind, help);
        for channel in &status.channels {
            sample(channel, &mut Samples { out, name: &name, channel });
        }
    }
}

/// Writes the samples of one family for one channel.
struct Samples<'a> {
    out: &'a mut Text,
    name: &'a str,
    channel: &'a ChannelStatus,
}

impl Samples<'_> {
    fn one(&mut self, value: impl Display) {
        let ChannelStatus { bucket, channel, .. } = self.channel;
        self.out.sample(self.name, &[("bucket", bucket), ("channel", channel)], value);
    }

    fn some(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(value);
        }
    }

    fn labelled(&mut self, label: &str, word: &str, value: impl Display) {
        let ChannelStatus { bucket, channel, .. } = self.channel;
        let labels = [("bucket", bucket.as_str()), ("channel", channel), (label, word)];
        self.out.sample(self.name, &labels, value);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The text. Writing to a String does not fail.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str(r"\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str(r"\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }
}

/// Prints microseconds as seconds.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (secs, us) = (self.0 / 1_000_000, self.0 % 1_000_000);
        match format!("{us:06}").trim_end_matches('0') {
            "" => write!(f, "{secs}"),
            fraction => write!(f, "{secs}.{fraction}"),
        }
    }
}

const fn millis(ms: u64) -> Seconds {
    Seconds(ms.saturating_mul(1000))
}

const fn signed_millis(ms: i64) -> Seconds {
    millis(ms.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_keep_what_was_measured() {
        for (us, text) in [
            (0, "0"),
            (1, "0.000001"),
            (1_500_000, "1.5"),
            (60_000_000, "60"),
            (12_345, "0.012345"),
        ] {
            assert_eq!(Seconds(us).to_string(), text);
        }
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        let mut out = Text(String::new());
        out.sample("m", &[("channel", "a\"} 1\nx\\"), ("media", "video")], 7);
        assert_eq!(out.0, "m{channel=\"a\\\"} 1\\nx\\\\\",media=\"video\"} 7\n");
        out.sample("n", &[], 8);
        assert!(out.0.ends_with("\nn 8\n"));
    }
}
