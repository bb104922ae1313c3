//! The profiles in `board/`, and what is installed: every configuration is good, what is said of it is what the program says,
//! and systemd's limits follow from the memory it is allowed.
//!
//! `SLUICEGATE_BLESS=1` writes the `.check` files anew; read the difference before you keep it.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use sluicegate::{
    check,
    config::{Config, Warning},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const PROFILES: [&str; 3] = ["pi-zero-2-w", "pi-3-4-5", "armv7-128m"];

/// What a profile may take of the flash that it is for, in bytes: the system has the rest.
const RINGS_MAX: [u64; 3] = [20 << 30, 52 << 30, 256 << 20];

/// What the daemon may take of a board's memory, in bytes: a quarter.
const MEMORY_MAX: [u64; 3] = [128 << 20, 256 << 20, 32 << 20];

fn load(path: &Path) -> (Config, Vec<Warning>) {
    let secrets = |name: &Path| {
        assert_eq!(name, Path::new("gateway.secret"), "no other key is made");
        Ok::<_, io::Error>(String::from("a-key-that-is-long-enough"))
    };
    let text = fs::read_to_string(path).unwrap();
    match Config::parse(&text, &path.display().to_string(), &secrets) {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{}: {problems:#?}", path.display()),
    }
}

fn profile(name: &str, file: &str) -> PathBuf {
    Path::new(ROOT).join("board").join(name).join(file)
}

#[test]
fn what_is_said_of_a_profile_is_what_check_says() {
    for ((name, rings_max), memory_max) in PROFILES.into_iter().zip(RINGS_MAX).zip(MEMORY_MAX) {
        let (config, warnings) = load(&profile(name, "sluicegate.toml"));
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        assert!(config.flash_bytes() <= rings_max, "{name}");
        assert!(2 * config.limits.memory_bytes <= memory_max, "{name}");
        let said = check::report(&config, &[], None);
        let expected = profile(name, &format!("{name}.check"));
        if env::var_os("SLUICEGATE_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(said, expected, "{name} says\n{said}\nand not\n{expected}");
    }
}

#[test]
fn the_readme_says_the_same() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    for name in PROFILES {
        let (config, _) = load(&profile(name, "sluicegate.toml"));
        let said = check::report(&config, &[], None);
        let line = |end: &str| said.lines().find(|line| line.ends_with(end)).unwrap();
        let rings = line("  in all").trim().trim_end_matches("  in all");
        let kept: Vec<_> =
            line("/camera-1").trim().split("  ").filter(|word| !word.is_empty()).collect();
        let cameras = config.limits.publishers;
        let row = format!(
            "| `{name}` | {cameras} | {} MiB | {rings} | {} | {} | {} GB |",
            config.limits.memory_bytes >> 20,
            kept[2].trim(),
            kept[3].trim(),
            // 4 Mbit/s with 4 % of packets and pages around it.
            cameras * 45,
        );
        assert!(readme.contains(&row), "the README's table lacks\n{row}");
    }
}

#[test]
fn limits_of_systemd_follow_from_the_memory_that_is_allowed() {
    let service = fs::read_to_string(Path::new(ROOT).join("systemd/sluicegate.service")).unwrap();
    let (config, _) = load(&Path::new(ROOT).join("systemd/sluicegate.toml"));
    assert_limits("systemd/sluicegate.service", &service, config.limits.memory_bytes);
    for name in PROFILES {
        let (config, _) = load(&profile(name, "sluicegate.toml"));
        let drop_in = fs::read_to_string(profile(name, "service.conf")).unwrap();
        assert_limits(name, &drop_in, config.limits.memory_bytes);
    }
}

fn assert_limits(name: &str, unit: &str, memory_bytes: u64) {
    let mebibytes = memory_bytes >> 20;
    for line in
        [format!("MemoryHigh={}M", mebibytes * 3 / 2), format!("MemoryMax={}M", mebibytes * 2)]
    {
        assert!(unit.lines().any(|other| other == line), "{name} lacks {line}");
    }
}

#[test]
fn what_is_installed_is_safe() {
    let (config, warnings) = load(&Path::new(ROOT).join("systemd/sluicegate.toml"));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(config.buckets.iter().all(|bucket| bucket.acl == sluicegate::config::Acl::Private));
    let ports = |addresses: &[std::net::SocketAddr]| -> Vec<u16> {
        addresses.iter().map(std::net::SocketAddr::port).collect()
    };
    // The ports of the socket units: one that the file did not name would be opened by nobody's wish.
    assert_eq!(ports(&config.listen.http), [80]);
    assert_eq!(ports(&config.listen.rtmp), [1935]);
    for (unit, port) in [("http", 80), ("rtmp", 1935)] {
        let path = Path::new(ROOT).join(format!("systemd/sluicegate-{unit}.socket"));
        let unit = fs::read_to_string(path).unwrap();
        assert!(unit.contains(&format!("ListenStream={port}\n")), "{unit}");
    }
}
