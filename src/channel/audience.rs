//! Who fetched the playlist lately → how many watch.
//!
//! HLS has no sessions: whoever watches fetches the playlist again and again. Players are told apart by their
//! address, so two behind one router, or on one machine, count as one.

use std::net::IpAddr;

use crate::{limits::AUDIENCE_MAX, units::Millis};

/// A playlist that was fetched within so many target durations is being watched (RFC 8216 §6.3.4: players ask again after
/// half a target duration to one).
const TARGET_DURATIONS: u64 = 3;

/// The addresses that fetched a channel's playlist, and when.
#[derive(Debug, Default)]
pub struct Audience(Vec<(IpAddr, Millis)>);

impl Audience {
    /// `viewer` has fetched the playlist.
    pub fn fetched(&mut self, viewer: IpAddr, target_duration_s: u16, now: Millis) {
        self.0.retain(|(other, at)| {
            *other != viewer && now.since(*at) <= Self::patience_ms(target_duration_s)
        });
        if self.0.len() < AUDIENCE_MAX {
            self.0.push((viewer, now));
        }
    }

    /// How many watch.
    pub fn viewers(&self, target_duration_s: u16, now: Millis) -> usize {
        let patience_ms = Self::patience_ms(target_duration_s);
        self.0.iter().filter(|(_, at)| now.since(*at) <= patience_ms).count()
    }

    const fn patience_ms(target_duration_s: u16) -> u64 {
        1000 * TARGET_DURATIONS * target_duration_s as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fetched_within_three_target_durations_watches() {
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let mut audience = Audience::default();
        for n in [1, 2, 1] {
            audience.fetched(address(n), 2, Millis(0));
        }
        assert_eq!(audience.viewers(2, Millis(6_000)), 2);
        audience.fetched(address(1), 2, Millis(6_001));
        assert_eq!(audience.viewers(2, Millis(6_001)), 1);
        for n in 0..10_000 {
            audience.fetched(address(n), 2, Millis(6_001));
        }
        assert_eq!(audience.viewers(2, Millis(6_001)), AUDIENCE_MAX);
        assert_eq!(audience.viewers(2, Millis(20_000)), 0);
    }
}
