//! The configuration from outside: every file of `data/config` against what it is expected to say, the example that is
//! installed, and random damage. The files were written by hand for this test.
//!
//! `SLUICEGATE_BLESS=1` writes the expectations anew; read the difference before you keep it.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, ffi::OsStr, fs, io, path::Path};

use sluicegate::config::{
    Config, LowLatency, Problem, Warning,
    rings::{FRAG_COUNT_DEFAULT, FRAG_DURATION_S_DEFAULT, RING_BYTES_DEFAULT},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/config");

/// What every secret in the data begins with.
const SECRET: &str = "hush";

fn secrets(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("good.secret" | "gateway.secret") => Ok(format!("{SECRET}-0123456789abcdef\r\n")),
        Some("short.secret") => Ok(format!("{SECRET}\n")),
        Some("two-lines.secret") => Ok(format!("{SECRET}-01234567\n{SECRET}-89abcdef\n")),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn parse(text: &str, file: &str) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    Config::parse(text, file, &secrets)
}

/// What `sluicegate check` would say about a file, one line each.
fn said(text: &str, file: &str) -> String {
    match parse(text, file) {
        Ok((_, warnings)) => {
            warnings.iter().map(|warning| format!("warning: {warning}\n")).collect()
        }
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

#[test]
fn every_file_says_what_is_expected_of_it() {
    let mut count = 0;
    for entry in fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some(OsStr::new("toml")) {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = said(&fs::read_to_string(&path).unwrap(), name);
        assert!(!said.contains(SECRET), "{name} gives a secret away:\n{said}");
        let expectation = path.with_extension("expect");
        if env::var_os("SLUICEGATE_BLESS").is_some() {
            fs::write(&expectation, &said).unwrap();
        }
        let expected = fs::read_to_string(&expectation).unwrap();
        assert_eq!(said, expected, "{name} says\n{said}\nand not\n{expected}");
        count += 1;
    }
    assert!(count >= 14, "only {count} files were found");
}

#[test]
fn the_example_that_is_installed_is_good_and_gives_no_cause_for_a_warning() {
    let text = include_str!("../board/sluicegate.example.toml");
    let (config, warnings) = parse(text, "sluicegate.toml").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.buckets.len(), 1);
    assert_eq!(config.live_channels().count(), 1);

    let refused = Config::parse(text, "sluicegate.toml", &|_| Err(io::ErrorKind::NotFound.into()))
        .unwrap_err();
    assert_eq!(refused.len(), 1, "it starts with no secret but one's own: {refused:?}");
}

/// The commented lines of the example are its documentation: they have to be true.
#[test]
fn what_the_example_shows_as_default_is_the_default() {
    let text = include_str!("../board/sluicegate.example.toml");
    let is_shown = |line: &str| line.contains(" = ") || line.contains("[");
    let uncommented: String = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(shown) if is_shown(shown) && !shown.contains("://<") => format!("{shown}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let shown = parse(&uncommented, "sluicegate.toml").unwrap().0;
    let silent = parse(text, "sluicegate.toml").unwrap().0;
    assert_eq!(
        (&shown.listen, &shown.store, &shown.limits, &shown.console, &shown.region),
        (&silent.listen, &silent.store, &silent.limits, &silent.console, &silent.region)
    );
    assert_eq!(shown.buckets[0].live_channels, silent.buckets[0].live_channels);
    assert_eq!(shown.buckets[0].acl, silent.buckets[0].acl);
    assert_eq!(shown.buckets[0].dynamic_channels.unwrap().max, 4);
    assert_eq!(shown.buckets[0].cors.rules.len(), 1);
}

#[test]
fn defaults_are_those_of_oss() {
    use sluicegate::config::*;
    let (config, _) =
        parse("[[bucket]]\nname = \"cams\"\nlive_channel = [{ name = \"a\" }]", "f").unwrap();
    let expected = Config {
        file: "f".into(),
        endpoint: None,
        region: "cn-hangzhou".into(),
        listen: Listen {
            http: vec!["[::]:8080".parse().unwrap()],
            rtmp: vec!["[::]:1935".parse().unwrap()],
        },
        store: Store {
            path: "/var/lib/sluicegate".into(),
            durability: Durability::Segment,
            flash_block_bytes: 4 << 20,
        },
        limits: Limits { publishers: 16, viewers: 128, memory_bytes: 48 << 20 },
        console: ConsoleAccess::Signed,
        access_keys: vec![],
        buckets: vec![Bucket {
            name: "cams".into(),
            acl: Acl::Private,
            hosts: vec![],
            dynamic_channels: None,
            referer: Referer {
                allow_empty: true,
                whitelist: vec![],
                blacklist: vec![],
                allow_truncate_query_string: true,
                truncate_path: false,
                matching: RefererMatch::Prefix,
            },
            cors: Cors::default(),
            live_channels: vec![LiveChannel {
                name: "a".into(),
                description: "".into(),
                status: Status::Enabled,
                frag_duration_s: FRAG_DURATION_S_DEFAULT,
                frag_count: FRAG_COUNT_DEFAULT,
                playlist_name: "playlist.m3u8".into(),
                ring_bytes: RING_BYTES_DEFAULT,
                takeover: Takeover::Reject,
                low_latency: None,
                modified: None,
            }],
        }],
    };
    assert_eq!(config, expected);
    assert_eq!(
        (FRAG_DURATION_S_DEFAULT, FRAG_COUNT_DEFAULT, RING_BYTES_DEFAULT),
        (5, 3, 256 << 20)
    );
}

#[test]
fn every_key_of_the_full_file_arrives() {
    let (config, _) = parse(include_str!("data/config/full.toml"), "full.toml").unwrap();
    let secrets: Vec<_> = config.access_keys.iter().map(|key| key.secret.as_str()).collect();
    assert_eq!(secrets, ["hush-0123456789abcdef"; 2]);
    assert!(!format!("{config:?}").contains(SECRET), "Debug shows a secret");
    let bucket = &config.buckets[0];
    assert_eq!(config.endpoint.as_deref(), Some("gateway.lan"));
    assert_eq!(bucket.hosts, ["cams.example.com"]);
    assert_eq!(bucket.dynamic_channels.unwrap().ring_bytes, 64 << 20);
    assert_eq!(bucket.referer.whitelist, ["http://*.example.com"]);
    assert_eq!(bucket.live_channels[0].low_latency, Some(LowLatency { part_ms: 330 }));
    let rule = &bucket.cors.rules[0];
    assert_eq!(rule.allowed_origins, ["http://192.168.1.20:8080"]);
    assert_eq!(rule.allowed_methods, ["GET", "HEAD"]);
    assert_eq!(rule.allowed_headers, ["*"]);
    assert_eq!(rule.expose_headers, ["ETag"]);
    assert_eq!(rule.max_age_seconds, Some(600));
}

/// SplitMix64: enough chance for a test, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Damages a text in one way.
fn damage(text: &str, chance: &mut Chance) -> String {
    const PIECES: &[&str] = &[
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\r\n",
        "\t",
        "#",
        "\0",
        "\u{feff}",
        "é",
        "直",
        "-1",
        "0",
        "18446744073709551616",
        "1e9",
        "0xff",
        "nan",
        "true",
        "1979-05-27",
        "\"4GiB\"",
        "\"*\"",
        "x",
        "_",
    ];
    let mut lines: Vec<&str> = text.lines().collect();
    let (one, other) = (chance.below(lines.len()), chance.below(lines.len()));
    match chance.below(5) {
        0 => drop(lines.remove(one)),
        1 => lines.swap(one, other),
        2 => lines.insert(one, lines[other]),
        3 => {
            let mut chars: Vec<char> = text.chars().collect();
            let from = chance.below(chars.len());
            let to = (from + 1 + chance.below(20)).min(chars.len());
            chars.drain(from..to);
            return chars.into_iter().collect();
        }
        _ => {
            let mut chars: Vec<char> = text.chars().collect();
            let at = chance.below(chars.len());
            chars.splice(at..at, PIECES[chance.below(PIECES.len())].chars());
            return chars.into_iter().collect();
        }
    }
    lines.join("\n")
}

#[test]
fn damaged_files_are_read_or_refused_with_places_that_exist() {
    let seed = env::var("SLUICEGATE_SEED").map_or(0x51ce, |seed| seed.parse().unwrap());
    println!("SLUICEGATE_SEED={seed}");
    let mut chance = Chance(seed);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..3000 {
        let mut text = include_str!("data/config/full.toml").to_owned();
        for _ in 0..=chance.below(4) {
            text = damage(&text, &mut chance);
        }
        let notes: Vec<Problem> = match parse(&text, "f") {
            Ok((_, warnings)) => {
                good += 1;
                warnings.into_iter().map(|Warning(note)| note).collect()
            }
            Err(problems) => {
                bad += 1;
                assert!(!problems.is_empty(), "refused without a reason:\n{text}");
                problems
            }
        };
        let lines: Vec<&str> = text.split('\n').collect();
        for note in &notes {
            let line =
                lines.get(note.line - 1).unwrap_or_else(|| panic!("{note} is below:\n{text}"));
            assert!(
                (1..=line.chars().count() + 1).contains(&note.column),
                "{note} is beside:\n{text}"
            );
            assert!(!note.message.contains('\n'), "{note:?} takes two lines");
        }
    }
    assert!(
        good > 100 && bad > 100,
        "the damage is too small or too large: {good} good, {bad} bad"
    );
}
