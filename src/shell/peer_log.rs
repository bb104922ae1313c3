//! What peers do → lines of the log, so many a minute: whoever knocks ten thousand times must not fill a log that may
//! be kept on flash.
//!
//! Those who were let in and those who were not have shares of their own, so that no stranger silences the cameras.

use std::cell::Cell;

use crate::{
    limits::{LOG_WINDOW_MS, PUBLISHER_LOG_LINES_MAX, STRANGER_LOG_LINES_MAX},
    units::Millis,
};

/// Whose doing a line tells of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Who {
    /// Somebody who was not let in.
    Stranger,
    /// Somebody who publishes, or did.
    Publisher,
}

/// How many lines have been written.
#[derive(Debug, Default)]
pub(super) struct PeerLog {
    strangers: Share,
    publishers: Share,
}

#[derive(Debug, Default)]
struct Share {
    since: Cell<Millis>,
    lines: Cell<u64>,
}

impl PeerLog {
    /// Whether one more line may be written; else it is counted.
    pub(super) fn takes(&self, who: Who, now: Millis) -> bool {
        let (share, max) = match who {
            Who::Stranger => (&self.strangers, STRANGER_LOG_LINES_MAX),
            Who::Publisher => (&self.publishers, PUBLISHER_LOG_LINES_MAX),
        };
        if share.lines.get() == 0 {
            share.since.set(now);
        }
        share.lines.update(|lines| lines + 1);
        share.lines.get() <= max
    }

    /// Tells of a window that has ended how many lines were left out in it, if any were.
    pub(super) fn tell_left_out(&self, now: Millis) {
        for (who, lines) in self.left_out(now) {
            match who {
                Who::Stranger => tracing::warn!(
                    "{lines} more connections were refused or closed within a minute: somebody scans or floods this box; \
                     keep the ports from whoever neither publishes nor watches"
                ),
                Who::Publisher => tracing::warn!(
                    "{lines} more lines about publishers were left out within a minute: encoders connect and break off again \
                     and again; look at their power and their network"
                ),
            }
        }
    }

    /// For whom a window has ended, and how many lines were left out in it, if any were.
    fn left_out(&self, now: Millis) -> impl Iterator<Item = (Who, u64)> {
        let ended = |share: &Share, max| {
            let is_over = share.lines.get() > 0 && now.since(share.since.get()) >= LOG_WINDOW_MS;
            let lines = if is_over { share.lines.replace(0) } else { 0 };
            lines.saturating_sub(max)
        };
        [
            (Who::Stranger, ended(&self.strangers, STRANGER_LOG_LINES_MAX)),
            (Who::Publisher, ended(&self.publishers, PUBLISHER_LOG_LINES_MAX)),
        ]
        .into_iter()
        .filter(|(_, lines)| *lines > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_its_share_and_one_line_more_and_silences_nobody_else() {
        let log = PeerLog::default();
        let mut written = 0;
        for ms in 0..10_000 {
            written += u64::from(log.takes(Who::Stranger, Millis(ms * 5)));
            assert_eq!(log.left_out(Millis(ms * 5)).count(), 0);
        }
        assert_eq!(written, STRANGER_LOG_LINES_MAX);
        assert!(log.takes(Who::Publisher, Millis(49_999)));
        let left_out: Vec<_> = log.left_out(Millis(LOG_WINDOW_MS)).collect();
        assert_eq!(left_out, [(Who::Stranger, 10_000 - STRANGER_LOG_LINES_MAX)]);
        assert!(log.takes(Who::Stranger, Millis(LOG_WINDOW_MS + 1)), "a new window");
        assert_eq!(log.left_out(Millis(LOG_WINDOW_MS + 49_999)).count(), 0);
    }
}
