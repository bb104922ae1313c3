//! The time that signatures are measured by, and the three ways to be out of it.

use super::Refusal;
use crate::{
    limits::{PLAUSIBLE_UNIX_SECS_MIN, SIGNATURE_SKEW_SECS_MAX},
    units::UnixSecs,
};

/// What the gate takes for the time.
///
/// A box without a battery-backed clock wakes up in the past, where URLs that have expired would be valid again. So the
/// time is never earlier than the newest segment in the store, and while it is not plausible nothing signed is let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GateTime {
    /// The time.
    pub now: UnixSecs,
    /// No time before this is believed.
    pub plausible_min: UnixSecs,
}

impl GateTime {
    /// The later of the wall clock and the newest time that the store has seen.
    pub fn new(wall: UnixSecs, newest_stored: UnixSecs) -> Self {
        Self { now: wall.max(newest_stored), plausible_min: UnixSecs(PLAUSIBLE_UNIX_SECS_MIN) }
    }

    /// Whether the time can be right.
    pub fn is_plausible(self) -> bool {
        self.now >= self.plausible_min
    }

    pub(super) fn check_set(self) -> Result<(), Refusal> {
        if self.is_plausible() { Ok(()) } else { Err(Refusal::clock_unset(self)) }
    }

    /// The second `expires` itself still counts (OSS: refused if the time is *later* than Expires).
    pub(super) fn check_expires(self, expires: UnixSecs) -> Result<(), Refusal> {
        if self.now <= expires { Ok(()) } else { Err(Refusal::expired(expires, self.now)) }
    }

    /// A URL's life begins at its date; one that is dated ahead would outlive the longest that it may say.
    pub(super) fn check_not_ahead(self, dated: UnixSecs) -> Result<(), Refusal> {
        if dated <= self.now { Ok(()) } else { self.check_skew(dated) }
    }

    pub(super) fn check_skew(self, sent: UnixSecs) -> Result<(), Refusal> {
        let is_near = self.now.0.abs_diff(sent.0) <= SIGNATURE_SKEW_SECS_MAX;
        if is_near { Ok(()) } else { Err(Refusal::skewed(sent, self.now)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_store_does_not_make_old_urls_valid_again() {
        let recorded = UnixSecs(PLAUSIBLE_UNIX_SECS_MIN + 1000);
        let woken = GateTime::new(UnixSecs(0), recorded);
        assert!(woken.is_plausible());
        assert!(woken.check_expires(UnixSecs(recorded.0 - 1)).is_err());
        assert!(woken.check_expires(recorded).is_ok());
    }

    #[test]
    fn without_a_plausible_time_nothing_is_measured() {
        let empty = GateTime::new(UnixSecs(PLAUSIBLE_UNIX_SECS_MIN - 1), UnixSecs(0));
        assert_eq!(empty.check_set().unwrap_err().code(), "AccessDenied");
        assert!(GateTime::new(UnixSecs(PLAUSIBLE_UNIX_SECS_MIN), UnixSecs(0)).check_set().is_ok());
    }

    #[test]
    fn fifteen_minutes_either_way_are_near_enough() {
        let now = GateTime::new(UnixSecs(PLAUSIBLE_UNIX_SECS_MIN), UnixSecs(0));
        for (sent, is_near) in [(-901, false), (-900, true), (0, true), (900, true), (901, false)] {
            let sent = UnixSecs(now.now.0.saturating_add_signed(sent));
            assert_eq!(now.check_skew(sent).is_ok(), is_near, "{sent:?}");
            assert_eq!(now.check_not_ahead(sent).is_ok(), is_near || sent < now.now, "{sent:?}");
        }
    }
}
