//! Sizes of memory and flash: `"256MiB"` → bytes, and back for people to read.

use std::fmt;

use super::problem::quoted;

const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Prints bytes as `256 MiB`, or `1.5 GiB` where a tenth is lost at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, bytes)) = UNITS.iter().find(|(_, bytes)| self.0 >= *bytes) else {
            return f.pad(&format!("{} bytes", self.0));
        };
        let (whole, rest) = (self.0 / bytes, self.0 % bytes);
        let text = match rest {
            0 => format!("{whole} {unit}"),
            _ => format!("{whole}.{} {unit}", rest * 10 / bytes),
        };
        f.pad(&text)
    }
}

/// Reads a size as the configuration spells it. The error says what is allowed.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let bytes = match unit.trim_start() {
        "" | "B" => Some(1),
        unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes),
    };
    let size = bytes.and_then(|bytes| digits.parse::<u64>().ok()?.checked_mul(bytes));
    size.ok_or_else(|| {
        format!(
            "{} is not a size: write \"64KiB\", \"256MiB\", \"4GiB\" or a whole number of bytes",
            quoted(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_the_manual_spells_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("17B", 17),
            ("64KiB", 65_536),
            ("256 MiB", 256 << 20),
            ("4GiB", 4 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5GiB",
            "256MB",
            "256M",
            "1mib",
            "16777216TiB",
            "99999999999999999999",
            " 1",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for (bytes, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB")]
        {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
