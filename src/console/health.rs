//! Whether everything that was due was done: for alarms, without a name in it.

use serde::Serialize;

use crate::{channel::Channels, units::Now};

/// The daemon's health. Its JSON follows "Health Check Response Format for HTTP APIs" (draft-inadarei-api-health-check).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Health {
    /// `pass` or `fail`.
    pub status: &'static str,
    /// Channels that somebody publishes to.
    pub live_channels: usize,
    /// Those of them whose next segment should have been listed.
    pub late_channels: usize,
    /// Channels whose ring cannot be opened, or whose flash failed and has sealed nothing since.
    pub failed_rings: usize,
}

impl Health {
    /// Looks at all channels.
    pub fn check(channels: &Channels, now: Now) -> Self {
        let mut health =
            Self { status: "pass", live_channels: 0, late_channels: 0, failed_rings: 0 };
        for channel in channels.iter() {
            let channel = channel.borrow();
            health.live_channels += usize::from(channel.session().is_some());
            health.late_channels +=
                usize::from(channel.segment_due().is_some_and(|due| now.mono > due));
            health.failed_rings += usize::from(channel.flash().trouble().is_some());
        }
        if health.late_channels + health.failed_rings > 0 {
            health.status = "fail";
        }
        health
    }

    /// As one line of JSON.
    pub fn json(&self) -> Vec<u8> {
        // Numbers and a word always have a JSON form, and memory does not fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Whether nothing is late and no flash fails.
    pub const fn is_good(&self) -> bool {
        self.late_channels + self.failed_rings == 0
    }
}
