//! Units of time, and every conversion between them.
//!
//! Media time ([`Ticks90k`]) and the two clocks of the box ([`Millis`], [`UnixMillis`]) are separate types
//! on purpose: they do not add, and a camera's clock never moves a timer.

use std::{fmt, ops};

/// Ticks in one second of media time (ISO/IEC 13818-1 §2.4.3.7).
pub const TICKS_PER_SEC: i64 = 90_000;

/// Media time in 90 kHz ticks, unwrapped: it does not fold at 33 bits. Negative only for differences.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticks90k(pub i64);

impl Ticks90k {
    /// The tick on which millisecond `ms` of media time falls.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms * (TICKS_PER_SEC / 1000))
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SEC / 1000)
    }

    /// Seconds rounded to the nearest, halves up: how EXTINF is compared with TARGETDURATION (RFC 8216 §4.3.3.1).
    pub const fn as_secs_rounded(self) -> i64 {
        (self.0 + TICKS_PER_SEC / 2).div_euclid(TICKS_PER_SEC)
    }

    /// The 33 bits that a PES header has room for (ISO/IEC 13818-1 §2.4.3.7).
    pub const fn on_the_wire(self) -> u64 {
        self.0.rem_euclid(1 << 33).unsigned_abs()
    }
}

impl ops::Add for Ticks90k {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl ops::Sub for Ticks90k {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

/// Milliseconds of the box's monotonic clock since the process started. What every timer and deadline counts in.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus `ms` milliseconds.
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z by the box's wall clock, which may be wrong and may step.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The same moment in whole seconds.
    pub const fn as_secs(self) -> UnixSecs {
        UnixSecs(self.0 / 1000)
    }
}

/// Seconds since 1970-01-01T00:00:00Z. What `Expires` counts in.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixSecs(pub u64);

/// What the time is, taken once a turn by the shell and passed down.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Millis,
    /// The wall clock, as the operating system has it.
    pub wall: UnixMillis,
}

/// A date and time of day in UTC, taken apart for printing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Civil {
    /// Year of the common era.
    pub year: u64,
    /// Month, 1 to 12.
    pub month: u64,
    /// Day of the month, 1 to 31.
    pub day: u64,
    /// Hour, 0 to 23.
    pub hour: u64,
    /// Minute, 0 to 59.
    pub minute: u64,
    /// Second, 0 to 59.
    pub second: u64,
    /// Day of the week, 0 for Sunday.
    pub weekday: usize,
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl UnixSecs {
    /// Takes this moment apart, by the proleptic Gregorian calendar.
    #[allow(clippy::cast_possible_truncation, reason = "a remainder of 7 fits")]
    pub const fn civil(self) -> Civil {
        let days = self.0 / 86_400;
        let second_of_day = self.0 % 86_400;
        // Days since 0000-03-01: with March first, the leap day is the last of the year.
        let z = days + 719_468;
        let era = z / 146_097;
        let day_of_era = z % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Civil {
            year: era * 400 + year_of_era + (month <= 2) as u64,
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            weekday: ((days + 4) % 7) as usize,
        }
    }

    /// Seconds since 1970 of a UTC date and time; `None` where it is before 1970 or no such date.
    pub fn from_civil(
        year: u64,
        month: u64,
        day: u64,
        hour: u64,
        minute: u64,
        second: u64,
    ) -> Option<Self> {
        if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        // Before anything is computed: a peer may write any number of days.
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
        let day_of_era_year = (153 * m + 2) / 5 + day - 1;
        let days = 365 * y + y / 4 - y / 100 + y / 400 + day_of_era_year;
        let secs = Self((days.checked_sub(719_468)?) * 86_400 + hour * 3600 + minute * 60 + second);
        // A day that the month does not have comes back as another date.
        let back = Self(secs.0 - second).civil();
        (back.day == day && back.month == month).then_some(secs)
    }

    /// Reads an HTTP date in its preferred form (RFC 9110 §5.6.7), e.g. `Tue, 14 Nov 2023 22:13:20 GMT`.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let (weekday, rest) = text.trim().split_once(", ")?;
        if !WEEKDAYS.contains(&weekday) {
            return None;
        }
        let mut parts = rest.split(' ');
        let day = parts.next()?.parse().ok()?;
        let name = parts.next()?;
        let month = MONTHS.iter().zip(1..).find(|(month, _)| **month == name)?.1;
        let year = parts.next()?.parse().ok()?;
        let mut clock = parts.next()?.split(':');
        let mut two_digits = || clock.next().filter(|d| d.len() == 2)?.parse::<u64>().ok();
        let (hour, minute, second) = (two_digits()?, two_digits()?, two_digits()?);
        if parts.next() != Some("GMT") || parts.next().is_some() {
            return None;
        }
        Self::from_civil(year, month, day, hour, minute, second)
    }

    /// Shows this moment as an HTTP date (RFC 9110 §5.6.7).
    pub const fn http_date(self) -> HttpDate {
        HttpDate(self)
    }

    /// Shows this moment as OSS writes times in XML: `2023-11-14T22:13:20.000Z`, always `.000`.
    pub const fn oss_date(self) -> OssDate {
        OssDate(self)
    }
}

/// Prints as `Tue, 14 Nov 2023 22:13:20 GMT`.
#[derive(Clone, Copy, Debug)]
pub struct HttpDate(UnixSecs);

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0.civil();
        let weekday = WEEKDAYS.get(t.weekday).unwrap_or(&"");
        let month =
            MONTHS.iter().zip(1..).find(|(_, n)| *n == t.month).map_or("", |(name, _)| name);
        write!(
            f,
            "{weekday}, {:02} {month} {} {:02}:{:02}:{:02} GMT",
            t.day, t.year, t.hour, t.minute, t.second
        )
    }
}

/// Prints as `2023-11-14T22:13:20.000Z`.
#[derive(Clone, Copy, Debug)]
pub struct OssDate(UnixSecs);

impl fmt::Display for OssDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", IsoMillis(UnixMillis(self.0.0 * 1000)))
    }
}

/// Prints as `2023-11-14T22:13:20.123Z`, the form of PROGRAM-DATE-TIME (RFC 8216 §4.3.2.6).
#[derive(Clone, Copy, Debug)]
pub struct IsoMillis(pub UnixMillis);

impl fmt::Display for IsoMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0.as_secs().civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year,
            t.month,
            t.day,
            t.hour,
            t.minute,
            t.second,
            self.0.0 % 1000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_print_in_the_forms_that_the_sdks_match_by_regular_expression() {
        let t = UnixSecs(1_700_000_000);
        assert_eq!(t.http_date().to_string(), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(t.oss_date().to_string(), "2023-11-14T22:13:20.000Z");
        assert_eq!(
            IsoMillis(UnixMillis(1_700_000_000_042)).to_string(),
            "2023-11-14T22:13:20.042Z"
        );
        assert_eq!(UnixSecs(0).http_date().to_string(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn every_day_of_two_centuries_survives_the_way_there_and_back() {
        for day in 0..73_050 {
            let t = UnixSecs(day * 86_400 + 12_345);
            let c = t.civil();
            assert_eq!(
                UnixSecs::from_civil(c.year, c.month, c.day, c.hour, c.minute, c.second),
                Some(t)
            );
            assert_eq!(UnixSecs::parse_http_date(&t.http_date().to_string()), Some(t));
        }
    }

    #[test]
    fn refuses_days_that_do_not_exist() {
        assert_eq!(UnixSecs::from_civil(2023, 2, 29, 0, 0, 0), None);
        assert_eq!(UnixSecs::from_civil(2023, 1, u64::MAX, 0, 0, 0), None);
        assert_eq!(UnixSecs::from_civil(2023, 1, u64::MAX / 86_400 - 700_000, 0, 0, 0), None);
        assert_eq!(UnixSecs::from_civil(2100, 2, 29, 0, 0, 0), None);
        assert!(UnixSecs::from_civil(2024, 2, 29, 0, 0, 0).is_some());
        for bad in [
            "",
            "Tue, 14 Nov 2023 22:13:20",
            "Tue, 14 Nov 2023 2:13:20 GMT",
            "Tue, 14 Foo 2023 22:13:20 GMT",
        ] {
            assert_eq!(UnixSecs::parse_http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_round_to_the_nearest_second() {
        assert_eq!(Ticks90k(4 * 90_000 + 44_999).as_secs_rounded(), 4);
        assert_eq!(Ticks90k(4 * 90_000 + 45_000).as_secs_rounded(), 5);
    }

    #[test]
    fn the_wire_form_folds_at_33_bits() {
        assert_eq!(Ticks90k((1 << 33) + 5).on_the_wire(), 5);
        assert_eq!(Ticks90k(-1).on_the_wire(), (1 << 33) - 1);
    }
}
