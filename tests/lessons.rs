//! `tests/lessons.md`, held against the tests that it names: a table that nobody checks is wrong within a month.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::{fs, path::Path};

/// The lessons that concern publishing, segments and memory.
const NUMBERS: [std::ops::RangeInclusive<u32>; 2] = [1..=51, 61..=75];

/// The cells of each row.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| no."));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The tests that a row names: file and function.
fn named(row: &str) -> Vec<(&str, &str)> {
    row.split('`').filter_map(|piece| piece.split_once(".rs::")).collect()
}

fn is_a_test(file: &str, name: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{file}.rs"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let Some((before, _)) = text.split_once(&format!("fn {name}()")) else { return false };
    before.trim_end().ends_with("#[test]")
}

#[test]
fn every_lesson_has_a_row_and_every_test_that_a_row_names_exists() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lessons.md");
    let table = fs::read_to_string(path).expect("the table is there");
    let rows = rows(&table);
    let numbers: Vec<u32> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, NUMBERS.into_iter().flatten().collect::<Vec<_>>());
    for row in &rows {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        for (file, name) in named(row[2]) {
            assert!(is_a_test(file, name), "{}: {file}.rs has no test {name}", row[0]);
        }
    }
    assert!(rows.iter().filter(|row| !named(row[2]).is_empty()).count() > 45);
}

#[test]
fn a_name_that_no_test_has_is_found() {
    assert_eq!(named("`tests/a.rs::b`, same as `c`"), [("tests/a", "b")]);
    assert!(is_a_test("tests/lessons", "a_name_that_no_test_has_is_found"));
    assert!(!is_a_test("tests/lessons", "rows"));
    assert!(!is_a_test("tests/lessons", "a_name"));
    assert!(!is_a_test("tests/nowhere", "a_name_that_no_test_has_is_found"));
}
