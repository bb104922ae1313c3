//! One TOML table → typed values, with a problem noted for whatever is not as it should be.
//!
//! A value that is missing or bad comes out as `None`, so that reading goes on to the next problem.

use std::{fmt::Display, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::{At, Notes, quoted, shortened},
    size::{Size, parse_size},
};

/// A table of the file. Each key that it is asked for is known; [`finish`](Self::finish) reports the others.
pub(super) struct Table<'t> {
    /// Where it begins.
    pub(super) at: At,
    pub(super) notes: &'t Notes<'t>,
    entries: Option<&'t DeTable<'t>>,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// The whole file.
    pub(super) fn root(entries: &'t DeTable<'t>, notes: &'t Notes<'t>) -> Self {
        Self { at: At::default(), notes, entries: Some(entries), known: Vec::new() }
    }

    /// The place of a key's value; of the table where it has none.
    pub(super) fn at(&self, key: &str) -> At {
        let offset = self.entry(key).map_or(self.at.offset, |value| value.span().start);
        At { offset, key: dotted(&self.at.key, key) }
    }

    /// Notes a key that has no value. Of a table that is no table it says nothing.
    pub(super) fn require(&self, key: &str) {
        if self.entries.is_some() && self.entry(key).is_none() {
            self.notes.problem(&self.at(key), "is missing");
        }
    }

    /// Whether a key has a value, good or bad.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether a key has an array without entries.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        self.entry(key)
            .and_then(|value| value.get_ref().as_array())
            .is_some_and(|array| array.is_empty())
    }

    /// A string that `read` accepts.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        text(self.notes, &self.at(key), value, read)
    }

    /// An array of at most `len_max` strings that `read` accepts, with their places.
    pub(super) fn texts<T>(
        &mut self,
        key: &'static str,
        len_max: usize,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<(At, T)> {
        let mut texts = Vec::new();
        for (at, value) in self.array(key, "an array of strings", len_max) {
            if let Some(read) = text(self.notes, &at, value, &read) {
                texts.push((at, read));
            }
        }
        texts
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        self.text(key, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, meaning)| *meaning).ok_or_else(|| {
                let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("{} is not one of {}", quoted(text), all.join(", "))
            })
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        value.as_bool().or_else(|| self.wrong_type(key, value, "true or false"))
    }

    /// A whole number in a range.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u32>,
    ) -> Option<u32> {
        let value = self.take(key)?;
        let Some(whole) = Whole::of(value) else {
            return self.wrong_type(key, value, "a whole number");
        };
        let number = whole.number.and_then(|number| u32::try_from(number).ok());
        let in_range = number.filter(|number| allowed.contains(number));
        if in_range.is_none() {
            let (low, high) = (allowed.start(), allowed.end());
            let message = format!("{} is not within {low} to {high}", whole.shown);
            self.notes.problem(&self.at(key), message);
        }
        in_range
    }

    /// A time in a range, in milliseconds: a number of seconds, with or without a fraction.
    pub(super) fn millis(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u32>,
    ) -> Option<u32> {
        let value = self.take(key)?;
        let secs = match value {
            DeValue::Float(float) => {
                float.as_str().parse::<f64>().ok().map(|secs| (secs, secs.to_string()))
            }
            // What is below zero, or more than the type holds, is beyond every range.
            _ => Whole::of(value).map(|whole| {
                let secs = whole.number.and_then(|secs| u32::try_from(secs).ok());
                (secs.map_or(f64::INFINITY, f64::from), whole.shown)
            }),
        };
        let Some((secs, shown)) = secs else {
            return self.wrong_type(key, value, "seconds such as 0.33");
        };
        let ms = secs * 1000.0;
        let is_in_range = (f64::from(*allowed.start())..=f64::from(*allowed.end())).contains(&ms);
        if !is_in_range {
            let bound = |ms: &u32| f64::from(*ms) / 1000.0;
            let (low, high) = (bound(allowed.start()), bound(allowed.end()));
            let message = format!("{shown} s is not within {low} to {high}");
            self.notes.problem(&self.at(key), message);
            return None;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between two numbers that fit"
        )]
        let whole_ms = ms.round() as u32;
        Some(whole_ms)
    }

    /// A size in a range, in bytes: a number, or a string with a unit.
    pub(super) fn size(&mut self, key: &'static str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let at = self.at(key);
        let outside = |shown: &dyn Display| {
            let (low, high) = (Size(*allowed.start()), Size(*allowed.end()));
            format!("{shown} is not within {low} to {high}")
        };
        let size = match (value, Whole::of(value)) {
            (DeValue::String(text), _) => parse_size(text),
            (_, Some(Whole { shown, .. })) if shown.starts_with('-') => {
                Err(format!("{shown} is not a size: it is below zero"))
            }
            (_, Some(Whole { number, shown })) => {
                number.and_then(|number| u64::try_from(number).ok()).ok_or_else(|| outside(&shown))
            }
            _ => Err(wrong_type(value, "a size such as \"256MiB\"")),
        };
        let in_range = size.and_then(|size| {
            if allowed.contains(&size) { Ok(size) } else { Err(outside(&Size(size))) }
        });
        in_range.map_err(|message| self.notes.problem(&at, message)).ok()
    }

    /// A table that may be missing: then everything in it is.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        let entries = self
            .take(key)
            .and_then(|value| value.as_table().or_else(|| self.wrong_type(key, value, "a table")));
        Self { at: self.at(key), notes: self.notes, entries, known: Vec::new() }
    }

    /// An array of at most `len_max` tables.
    pub(super) fn tables(&mut self, key: &'static str, len_max: usize) -> Vec<Self> {
        let mut tables = Vec::new();
        for (at, value) in self.array(key, "an array of tables", len_max) {
            match value.as_table() {
                Some(entries) => {
                    tables.push(Self {
                        at,
                        notes: self.notes,
                        entries: Some(entries),
                        known: Vec::new(),
                    });
                }
                None => self.notes.problem(&at, wrong_type(value, "a table")),
            }
        }
        tables
    }

    /// Reports the keys that nothing asked for.
    pub(super) fn finish(self) {
        for key in self.entries.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let at = At { offset: key.span().start, key: dotted(&self.at.key, name) };
            let message = match nearest(name, &self.known) {
                Some(meant) => format!("is not a known key; did you mean `{meant}`?"),
                None => format!("is not a known key; there are: {}", self.known.join(", ")),
            };
            self.notes.problem(&at, message);
        }
    }

    fn entry(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.entries?.get(key)
    }

    fn take(&mut self, key: &'static str) -> Option<&'t DeValue<'t>> {
        self.known.push(key);
        self.entry(key).map(Spanned::get_ref)
    }

    fn array(
        &mut self,
        key: &'static str,
        expected: &str,
        len_max: usize,
    ) -> impl Iterator<Item = (At, &'t DeValue<'t>)> + use<'t> {
        let at = self.at(key);
        let array = self
            .take(key)
            .and_then(|value| value.as_array().or_else(|| self.wrong_type(key, value, expected)));
        if let Some(array) = array.filter(|array| array.len() > len_max) {
            self.notes.problem(
                &at,
                format!("has {} entries; at most {len_max} are allowed", array.len()),
            );
        }
        array.into_iter().flat_map(|array| array.iter()).enumerate().take(len_max).map(
            move |(index, value)| {
                (
                    At { offset: value.span().start, key: format!("{}[{index}]", at.key) },
                    value.get_ref(),
                )
            },
        )
    }

    fn wrong_type<T>(&self, key: &str, value: &DeValue<'_>, expected: &str) -> Option<T> {
        self.notes.problem(&self.at(key), wrong_type(value, expected));
        None
    }
}

fn text<T>(
    notes: &Notes<'_>,
    at: &At,
    value: &DeValue<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let read = match value {
        DeValue::String(text) => read(text),
        _ => Err(wrong_type(value, "a string in quotes")),
    };
    read.map_err(|message| notes.problem(at, message)).ok()
}

fn wrong_type(value: &DeValue<'_>, expected: &str) -> String {
    format!("is of type {}; it must be {expected}", value.type_str())
}

/// A whole number of the file.
struct Whole {
    /// `None`: it has more digits than any that is allowed.
    number: Option<i64>,
    /// As messages show it.
    shown: String,
}

impl Whole {
    fn of(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let shown = number.map_or_else(|| shortened(&integer.to_string()), |n| n.to_string());
        Some(Self { number, shown })
    }
}

/// `parent.key`, with the key quoted where TOML would want it quoted.
fn dotted(parent: &str, key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let dot = if parent.is_empty() { "" } else { "." };
    if is_bare { format!("{parent}{dot}{key}") } else { format!("{parent}{dot}{key:?}") }
}

/// The known key that was probably meant: the same letters in OSS's spelling (`FragDuration`), or two typing errors away.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let letters = |key: &str| -> Vec<char> {
        key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let meant = letters(key);
    let by_distance = known.iter().map(|known| (distance(&meant, &letters(known)), *known));
    let (errors, nearest) = by_distance.min_by_key(|(errors, _)| *errors)?;
    (errors <= 2 && errors < meant.len()).then_some(nearest)
}

/// Letters to insert, delete or replace to make `b` of `a` (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (row_number, a) in (1..).zip(a) {
        let mut next = vec![row_number];
        let mut left = row_number;
        for (above, b) in row.windows(2).zip(b) {
            let &[diagonal, above] = above else { break };
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_typing_errors() {
        for (a, b, errors) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("ring", "ring", 0),
            ("rinh", "ring", 1),
            ("kitten", "sitting", 3),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&chars(a), &chars(b)), errors, "{a} {b}");
        }
    }

    #[test]
    fn a_key_is_guessed_by_its_letters_and_not_from_nothing() {
        let known = ["frag_duration", "frag_count", "ring", "acl"];
        for (key, meant) in [
            ("FragDuration", Some("frag_duration")),
            ("fragcont", Some("frag_count")),
            ("rings", Some("ring")),
            ("xy", None),
            ("", None),
            ("bitrate", None),
        ] {
            assert_eq!(nearest(key, &known), meant, "{key}");
        }
    }

    #[test]
    fn keys_are_quoted_where_toml_quotes_them() {
        assert_eq!(dotted("", "a_b-1"), "a_b-1");
        assert_eq!(dotted("a[0]", "b\n"), "a[0].\"b\\n\"");
    }
}
