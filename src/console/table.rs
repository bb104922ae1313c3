//! [`Status`] → a table for a terminal: one line per channel, and what is wrong below it.

use std::fmt::Write as _;

use crate::{
    config::size::Size,
    console::{ChannelStatus, Status},
};

const HEADINGS: [&str; 10] = [
    "CHANNEL",
    "STATE",
    "PUBLISHER",
    "VIDEO",
    "RATE",
    "AUDIO",
    "GOP",
    "SEGMENT",
    "RING",
    "VIEWERS",
];

/// Writes the table.
pub fn table(status: &Status) -> String {
    let rows: Vec<[String; HEADINGS.len()]> = status.channels.iter().map(row).collect();
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let heading = HEADINGS.get(column).map_or(0, |heading| heading.len());
        cells.fold(heading, usize::max)
    });
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line(&mut HEADINGS.into_iter());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
    let troubles = troubles(status);
    if !troubles.is_empty() {
        out.push('\n');
        out.push_str(&troubles);
    }
    let _ = writeln!(
        out,
        "\n{} after {}; memory {}, at most {}; written to flash {}, slowest seal {} ms; {} of {} HTTP connections",
        if status.health.is_good() { "Healthy" } else { "NOT HEALTHY" },
        span(status.uptime_ms),
        Size(status.memory.resident_bytes),
        Size(status.memory.budget_bytes),
        Size(status.flash.written_bytes),
        status.flash.seal_ms_max,
        status.connections.http,
        status.connections.http_max,
    );
    out
}

fn row(channel: &ChannelStatus) -> [String; HEADINGS.len()] {
    let none = || String::from("-");
    let video = channel.video.as_ref();
    let bytes_per_s =
        video.map_or(0, |v| v.bytes_per_s) + channel.audio.map_or(0, |a| a.bytes_per_s);
    [
        format!("{}/{}", channel.bucket, channel.channel),
        match channel.low_latency {
            Some(low_latency) if low_latency.state == "parts" => format!("{}, LL", channel.status),
            _ => channel.status.to_owned(),
        },
        channel.publisher.as_ref().map_or_else(none, |p| p.remote_addr.clone()),
        video.map_or_else(none, |v| {
            let rate = (v.frame_rate * 10.0).round() / 10.0;
            format!("{} {}x{} {rate} fps", v.codec, v.width, v.height)
        }),
        video.map_or_else(none, |_| megabits(bytes_per_s)),
        channel.audio.map_or_else(none, |a| {
            format!(
                "{} {}.{} kHz x{}",
                a.codec,
                a.sample_rate_hz / 1000,
                a.sample_rate_hz % 1000 / 100,
                a.channels
            )
        }),
        video
            .and_then(|v| v.gop_longest_ms)
            .map_or_else(none, |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100)),
        channel.newest_segment.map_or_else(none, |segment| match segment.age_ms {
            Some(age_ms) => format!("{} ago", span(age_ms)),
            None => String::from("earlier"),
        }),
        match channel.ring.state {
            "ready" => span(channel.ring.span_ms),
            state => state.to_owned(),
        },
        channel.viewers.to_string(),
    ]
}

/// A line for each thing that is not as it should be.
fn troubles(status: &Status) -> String {
    let mut out = String::new();
    if !status.is_clock_set {
        out.push_str(
            "The clock of this box is not set: signed requests are refused until it is.\n",
        );
    }
    for channel in &status.channels {
        let late = channel.is_late.then_some("the next segment is late");
        let lost = channel.counts.segments_lost;
        let lost =
            (lost > 0).then(|| format!("{lost} segments were lost: the flash did not keep up"));
        let sentences = late
            .into_iter()
            .chain(channel.ring.fault.as_deref())
            .chain(lost.as_deref())
            .chain(channel.hints.iter().map(String::as_str));
        for sentence in sentences {
            let _ = writeln!(out, "{}/{}: {sentence}", channel.bucket, channel.channel);
        }
    }
    out
}

/// Bytes per second as megabits.
fn megabits(bytes_per_s: u64) -> String {
    let hundredths = bytes_per_s.saturating_mul(8) / 10_000;
    format!("{}.{:02} Mbit/s", hundredths / 100, hundredths % 100)
}

/// A time as people say it: `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
fn span(ms: u64) -> String {
    let secs = ms / 1000;
    match secs {
        0..60 => format!("{secs}.{} s", ms % 1000 / 100),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_are_told_in_two_units_at_most() {
        for (ms, text) in [
            (3_240, "3.2 s"),
            (250_000, "4 min 10 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(megabits(500_000), "4.00 Mbit/s");
        assert_eq!(megabits(1_300), "0.01 Mbit/s");
    }
}
