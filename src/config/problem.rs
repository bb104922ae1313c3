//! What is wrong or doubtful in a configuration, and where.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use smol_str::SmolStr;

/// What is wrong at one place of the file, and what is allowed there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file's name, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key, as `bucket[0].live_channel[1].ring`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong and what is allowed. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, key, message } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        f.write_str(message)
    }
}

/// What is allowed at one place of the file, and seldom meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning(pub Problem);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct At {
    /// Byte offset into the text.
    pub(super) offset: usize,
    /// The key that stands there, with all its parents.
    pub(super) key: String,
}

/// A value of the file as messages show it: in quotes, in one line, and cut where it is long.
pub(super) fn quoted(value: &str) -> String {
    match cut(value) {
        None => format!("{value:?}"),
        Some(start) => format!("{start:?}…"),
    }
}

/// The same of a value that stands without quotes.
pub(super) fn shortened(value: &str) -> String {
    cut(value).map_or_else(|| value.to_owned(), |start| format!("{start}…"))
}

/// The beginning of a long value.
fn cut(value: &str) -> Option<&str> {
    const CHARS_MAX: usize = 80;
    let (end, _) = value.char_indices().nth(CHARS_MAX)?;
    value.get(..end)
}

/// The file's text, and what has been noted about it.
pub(super) struct Notes<'t> {
    file: &'t str,
    text: &'t str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
}

impl<'t> Notes<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        let later_lines = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(later_lines).collect();
        Self { file, text, line_starts, problems: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn problem(&self, at: &At, message: impl Into<String>) {
        self.problems.borrow_mut().push(self.note(at, message.into()));
    }

    pub(super) fn warn(&self, at: &At, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning(self.note(at, message.into())));
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Everything that was noted, in the order of the file.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Warning>) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|Warning(note)| (note.line, note.column));
        (problems, warnings)
    }

    fn note(&self, at: &At, message: String) -> Problem {
        let line = self.line(at.offset);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(line_start..at.offset).unwrap_or_default();
        Problem {
            file: self.file.to_owned(),
            line,
            column: before.chars().count() + 1,
            key: at.key.clone(),
            message,
        }
    }
}

/// Names that may stand once only.
pub(super) struct Seen<'t> {
    pub(super) notes: &'t Notes<'t>,
    kind: &'static str,
    pub(super) places: BTreeMap<SmolStr, At>,
}

impl<'t> Seen<'t> {
    pub(super) const fn new(notes: &'t Notes<'t>, kind: &'static str) -> Self {
        Self { notes, kind, places: BTreeMap::new() }
    }

    /// Notes a name that was seen before. An empty one is a problem already.
    pub(super) fn add(&mut self, name: &str, at: &At) {
        if name.is_empty() {
            return;
        }
        if let Some(first) = self.places.get(name) {
            let (kind, key, line) = (self.kind, &first.key, self.notes.line(first.offset));
            self.notes.problem(at, format!("{name:?} is {kind} already: {key}, line {line}"));
        } else {
            self.places.insert(name.into(), at.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let notes = Notes::new("f", "a\nüb\n");
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 2), (2, 2, 1), (4, 2, 2), (5, 2, 3), (6, 3, 1), (99, 3, 1)]
        {
            let note = notes.note(&At { offset, key: String::new() }, String::new());
            assert_eq!((note.line, note.column), (line, column), "{offset}");
        }
    }

    #[test]
    fn long_and_strange_values_are_shown_short_and_in_one_line() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"ü".repeat(80)).chars().count(), 82);
        assert_eq!(quoted(&"ü".repeat(81)).chars().count(), 83);
    }

    #[test]
    fn notes_come_out_in_the_order_of_the_file() {
        let notes = Notes::new("gate.toml", "a\nb\nc\n");
        notes.problem(&At { offset: 4, key: "c".into() }, "third");
        notes.problem(&At { offset: 0, key: String::new() }, "first");
        let shown: Vec<_> = notes.finish().0.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["gate.toml:1:1: first", "gate.toml:3:1: c: third"]);
    }
}
