//! The fuzz targets' properties over their kept corpus: every input that once was a finding, and one of each kind.
//!
//! `tests/fuzz/run` looks for more.

#![allow(clippy::expect_used, reason = "a test that panics has failed")]

#[path = "fuzz/properties/mod.rs"]
mod properties;

use std::{fs, path::Path};

/// Panics where it does not hold.
type Property = fn(&[u8]);

const TARGETS: &[(&str, Property)] = &[
    ("amf", properties::amf::hold),
    ("catalogue", properties::catalogue::hold),
    ("config", properties::config::hold),
    ("ingest", properties::ingest::hold),
    ("media", properties::media::hold),
    ("request", properties::request::hold),
    ("ring", properties::ring::hold),
    ("rtmp", properties::rtmp::hold),
    ("signature", properties::signature::hold),
    ("xml", properties::xml::hold),
];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("names are UTF-8");
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("readable"))).collect();
    names.sort();
    names
}

#[test]
fn every_property_holds_over_the_kept_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (target, hold) in TARGETS {
        let names = names(&corpus.join(target));
        assert!(names.len() >= 3, "{target}: a corpus of {}", names.len());
        for name in names {
            // Captured, and so shown if the property panics.
            println!("{target}/{name}");
            hold(&fs::read(corpus.join(target).join(&name)).expect("readable"));
        }
    }
}

#[test]
fn every_target_has_a_property_and_a_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let expected: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let targets: Vec<_> =
        names(&fuzz.join("targets")).iter().map(|name| name.replace(".rs", "")).collect();
    assert_eq!(targets, expected);
    assert_eq!(names(&fuzz.join("corpus")), expected);
}
