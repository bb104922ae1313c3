//! A checked configuration → the text that `sluicegate check` prints: what it needs and what it gives.
//!
//! Whether the card has the room is asked by the shell, which passes the figure in.

use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
};

use thiserror::Error;

use crate::config::{
    Config, Status,
    rings::{RingPlan, bytes_per_sec, geometry, kept_secs},
    size::Size,
};

/// Bit rates for which the report says how much video a ring keeps, in Mbit/s: 480p, 720p, 1080p, 4K.
const MBIT_PER_SEC: [u64; 4] = [1, 2, 4, 8];

/// Cards by which wear is reckoned: bytes that may be written to them, in TB of 10^12 bytes, and their size in GB.
///
/// Makers of cards for video state 2,500 hours at 26 Mbit/s for 32 GB and 10,000 for 128 GB, which are 29 and 117 TB. Ordinary cards state
/// nothing.
const CARDS: [(u64, u64); 2] = [(29, 32), (117, 128)];

const SECS_PER_DAY: u64 = 86_400;

/// The rings do not fit the card.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "the rings need {} in {}, and there is room for {}: make them smaller or fewer, or put store.path on a larger card",
    Size(*.needed_bytes),
    .path.display(),
    Size(*.available_bytes)
)]
pub struct FlashTooSmall {
    /// Folder of the rings.
    pub path: PathBuf,
    /// All rings together, in bytes.
    pub needed_bytes: u64,
    /// What is free, with what the rings hold already, in bytes.
    pub available_bytes: u64,
}

/// Says whether the rings fit. `available_bytes` is what is free in `store.path`, with what the rings there hold already.
pub fn check_flash(config: &Config, available_bytes: u64) -> Result<(), FlashTooSmall> {
    let needed_bytes = config.flash_bytes();
    if needed_bytes <= available_bytes {
        return Ok(());
    }
    Err(FlashTooSmall { path: config.store.path.clone(), needed_bytes, available_bytes })
}

/// The text of `sluicegate check` for a configuration that is good. `available_flash_bytes` is as in [`check_flash`];
/// `None`: the folder cannot be looked at from here.
pub fn report(config: &Config, warnings: &[String], available_flash_bytes: Option<u64>) -> String {
    Report { config, warnings, available_flash_bytes }.to_string()
}

struct Report<'a> {
    config: &'a Config,
    warnings: &'a [String],
    available_flash_bytes: Option<u64>,
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.memory(f)?;
        self.flash(f)?;
        self.wear(f)?;
        self.addresses(f)?;
        self.warnings(f)
    }
}

impl Report<'_> {
    fn memory(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let budget = self.config.memory_budget();
        writeln!(f, "Memory, at most:")?;
        for line in &budget.lines {
            writeln!(f, "  {:>10}  {}: {}", Size(line.bytes), line.owner, line.how)?;
        }
        writeln!(
            f,
            "  {:>10}  in all, of {} allowed",
            Size(budget.total_bytes),
            Size(self.config.limits.memory_bytes)
        )
    }

    fn flash(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nFlash in {}, and the video it keeps at least:",
            self.config.store.path.display()
        )?;
        write!(f, "  {:>10}", "")?;
        for mbit_per_sec in MBIT_PER_SEC {
            write!(f, "  {:>10}", format!("{mbit_per_sec} Mbit/s"))?;
        }
        writeln!(f)?;
        for plan in self.config.ring_plans() {
            self.ring(f, &plan)?;
        }
        writeln!(f, "  {:>10}  in all", Size(self.config.flash_bytes()))?;
        match self.available_flash_bytes.map(|available| check_flash(self.config, available)) {
            None => writeln!(f, "  The room on the card was not looked at."),
            Some(Ok(())) => writeln!(
                f,
                "  There is room for {}.",
                Size(self.available_flash_bytes.unwrap_or_default())
            ),
            Some(Err(too_small)) => writeln!(f, "  Not enough room: {too_small}."),
        }
    }

    fn ring(&self, f: &mut Formatter<'_>, plan: &RingPlan<'_>) -> fmt::Result {
        write!(f, "  {:>10}", Size(plan.ring_bytes.saturating_mul(plan.count.into())))?;
        for mbit_per_sec in MBIT_PER_SEC {
            let kept = geometry(&self.config.store, plan.ring_bytes, plan.frag_count)
                .map_or(0, |geometry| kept_secs(&geometry, mbit_per_sec));
            write!(f, "  {:>10}", Span(kept))?;
        }
        let bucket = &plan.bucket.name;
        match plan.channel {
            Some(channel) => writeln!(f, "  {bucket}/{}", channel.name),
            None => writeln!(
                f,
                "  {bucket}: {} more channels, each {}",
                plan.count,
                Size(plan.ring_bytes)
            ),
        }
    }

    fn wear(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let enabled = |plan: &RingPlan<'_>| {
            plan.channel.is_none_or(|channel| channel.status == Status::Enabled)
        };
        let channels: u64 =
            self.config.ring_plans().filter(enabled).map(|plan| u64::from(plan.count)).sum();
        let cameras = channels.min(self.config.limits.publishers.into());
        let bytes_per_day =
            |mbit_per_sec| bytes_per_sec(mbit_per_sec) * SECS_PER_DAY * cameras.max(1);
        writeln!(
            f,
            "\nWear of the card, with {} {} streaming all day, each of:",
            cameras.max(1),
            if cameras <= 1 { "camera" } else { "cameras" }
        )?;
        write!(f, "  {:>10}", "")?;
        for mbit_per_sec in MBIT_PER_SEC {
            write!(f, "  {:>10}", format!("{mbit_per_sec} Mbit/s"))?;
        }
        write!(f, "\n  {:>10}", "")?;
        for mbit_per_sec in MBIT_PER_SEC {
            let gigabytes = (bytes_per_day(mbit_per_sec) + 500_000_000) / 1_000_000_000;
            write!(f, "  {:>10}", format!("{gigabytes} GB"))?;
        }
        writeln!(f, "  written a day")?;
        for (terabytes, gigabytes) in CARDS {
            write!(f, "  {:>10}", "")?;
            for mbit_per_sec in MBIT_PER_SEC {
                let days = terabytes * 1_000_000_000_000 / bytes_per_day(mbit_per_sec);
                write!(f, "  {:>10}", Span(days * SECS_PER_DAY))?;
            }
            writeln!(
                f,
                "  is how long a card lasts that is made for {terabytes} TB of writing, as {gigabytes} GB for video are"
            )?;
        }
        writeln!(f, "  Larger rings keep more video; they do not make the card last longer.")
    }

    fn addresses(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nAddresses:")?;
        for bucket in &self.config.buckets {
            write!(f, "  {0}: http://THIS-BOX/{0}/…", bucket.name)?;
            if let Some(endpoint) = &self.config.endpoint {
                write!(f, ", http://{}.{endpoint}/…", bucket.name)?;
            }
            for host in &bucket.hosts {
                write!(f, ", http://{host}/…")?;
            }
            writeln!(f)?;
        }
        if self.config.endpoint.is_none() {
            writeln!(
                f,
                "  endpoint is not set: OSS SDKs reach this box by its IP address, not by names such as cams.gateway.lan."
            )?;
        }
        Ok(())
    }

    fn warnings(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.warnings.is_empty() {
            writeln!(f, "\nWarnings:")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "  {warning}"))
    }
}

/// Seconds, printed in the two largest units that matter.
struct Span(u64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (minutes, hours, days) = (self.0 / 60, self.0 / 3600, self.0 / SECS_PER_DAY);
        let text = match self.0 {
            0..120 => format!("{} s", self.0),
            120..7200 => format!("{minutes} min"),
            7200..172_800 => format!("{hours} h {} min", minutes % 60),
            _ => format!("{days} days"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[access_key]]
        id = "LTAI5tGateway1"
        secret = "0123456789abcdef"
        [[bucket]]
        name = "cams"
        hosts = ["cams.example.com"]
        dynamic_channels = { max = 4, ring = "64MiB" }
        live_channel = [{ name = "front-door" }, { name = "yard", status = "disabled", ring = "1GiB" }]
    "#;

    fn config() -> (Config, Vec<String>) {
        let no_files = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let (config, warnings) = Config::parse(FILE, "gate.toml", &no_files).unwrap();
        (config, warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_report_says_what_is_needed_and_what_is_kept() {
        let (config, warnings) = config();
        let text = report(&config, &warnings, Some(4 << 30));
        for part in [
            "of 48 MiB allowed",
            "flash writes: 33 buffers × 64 KiB",
            "     256 MiB      30 min      15 min       7 min",
            "cams/front-door",
            "cams: 4 more channels, each 64 MiB",
            "     1.5 GiB  in all",
            "There is room for 4 GiB.",
            "with 5 cameras streaming all day",
            "      56 GB      112 GB      225 GB      449 GB  written a day",
            "   129 days     64 days  is how long a card lasts that is made for 29 TB",
            "http://cams.example.com/…",
            "endpoint is not set",
            "gate.toml:9:25: bucket[0].live_channel[0].frag_count: the playlist of this channel (and of 1 more)",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn a_card_that_is_too_small_is_named_with_both_figures() {
        let (config, _) = config();
        assert_eq!(check_flash(&config, config.flash_bytes()), Ok(()));
        let refused = check_flash(&config, 1 << 30).unwrap_err().to_string();
        assert!(
            refused.contains("need 1.5 GiB in /var/lib/sluicegate, and there is room for 1 GiB"),
            "{refused}"
        );
        assert!(report(&config, &[], Some(1 << 30)).contains(&refused));
        assert!(report(&config, &[], None).contains("was not looked at"));
    }

    #[test]
    fn spans_are_shown_as_one_would_say_them() {
        for (secs, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7260, "2 h 1 min"),
            (172_800, "2 days"),
        ] {
            assert_eq!(Span(secs).to_string(), text);
        }
    }
}
