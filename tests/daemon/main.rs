//! The real program on loopback: ffmpeg publishes and plays, and judges that share no code with the daemon look on.
//!
//! Needs ffmpeg, tstools, GStreamer, Chromium and promtool; a test fails, and says so, where one is missing. `tests/run` installs them.
#![expect(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may ask for the time, its own numbers are small, and a panic is how it fails"
)]

use std::{
    fs,
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

mod api;
mod browsers;
mod card;
mod clients;
mod clock;
mod commands;
mod common;
mod console;
mod cross_origin;
mod cuts;
mod encoder_to_screen;
mod encoders;
mod flash;
mod hostile;
mod low_latency;
mod objects;
mod player;
mod publishers;
mod reconnect;
mod restarts;
#[path = "../common/sectors.rs"]
mod sectors;
mod service;
mod slow_readers;
mod soak;
mod status;
mod streams;

use common::{
    CLIP, Daemon, Folder, SOON, ffmpeg, free_ports,
    http::{Connection, Reply, get},
    playlist::Playlist,
    playlist_recorder::{Recorder, Recording},
    process::Watched,
    publish_to, sluicegate,
    transport_stream::Walker,
    wait_for,
};

/// A bucket that needs no signatures, with segments of one second.
const CAMS: &str = r#"
[[bucket]]
name = "cams"
acl = "public-read-write"
  [[bucket.live_channel]]
  name = "door"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
"#;

/// A bucket that needs signatures, and lets pages of one site play.
const VAULT: &str = r#"
[[bucket]]
name = "vault"
  [[bucket.cors.rule]]
  allowed_origins = ["http://player.test"]
  allowed_methods = ["GET", "HEAD"]
  [[bucket.live_channel]]
  name = "safe"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
"#;

const DOOR: &str = "/cams/door/playlist.m3u8";

/// The playlist at `target`, if it is there.
fn playlist(daemon: &Daemon, target: &str) -> Option<Playlist> {
    let reply = get(daemon.http, target);
    (reply.status == 200).then(|| Playlist::parse(reply.text()).unwrap())
}

/// The playlist at `target` once its stream has ended.
fn end_of(daemon: &Daemon, target: &str) -> Playlist {
    wait_for("the end of the playlist", SOON, || {
        playlist(daemon, target).filter(|playlist| playlist.is_ended)
    })
}

/// The newest segment's media sequence number.
fn newest(playlist: &Playlist) -> u64 {
    playlist.numbered().last().map_or(0, |(sequence, _)| sequence)
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.element("Code")), (status, code), "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/xml");
}

/// ffmpeg's checksum of each frame that `file` comes to with these output options.
fn hashes(file: &str, output: &[&str]) -> Vec<String> {
    let mut command = ffmpeg();
    command.args(["-i", file]).args(output).args(["-f", "framehash", "-"]);
    let listed = Watched::run(&mut command).expect_silence().stdout;
    let frames = listed.lines().filter(|line| !line.starts_with('#'));
    frames.map(|line| line.split(',').nth(5).unwrap().trim().to_owned()).collect()
}

/// Fails the test at the first difference, and does not print a thousand checksums.
fn assert_same(what: &str, sent: &[String], received: &[String]) {
    let difference = sent.iter().zip(received).position(|(sent, received)| sent != received);
    assert!(
        difference.is_none() && sent.len() == received.len(),
        "{what}: {} sent, {} received, the first difference is at {difference:?}",
        sent.len(),
        received.len()
    );
}

/// Walks all recorded segments, compares what they hold with what the playlist says of them, and counts pictures and AAC frames.
fn walk(recorder: &Recorder) -> (usize, usize) {
    let mut walker = Walker::default();
    let mut previous: Option<(u64, u64)> = None;
    let (mut pictures, mut audio_frames) = (0, 0);
    for recorded in recorder.segments.values() {
        let entry = &recorded.entry;
        let held = walker.walk(&entry.uri, &recorded.bytes, entry.is_discontinuity);
        if let Some((start, duration_ms)) = previous.filter(|_| !entry.is_discontinuity) {
            let told = duration_ms * 90;
            let is = held.first_video_90k - start;
            assert!(
                is.abs_diff(told) <= 90,
                "{}: EXTINF of the segment before says {told} ticks, it is {is}",
                entry.uri
            );
        }
        previous = Some((held.first_video_90k, entry.duration_ms));
        pictures += held.pictures;
        audio_frames += held.audio_frames;
    }
    assert!(walker.faults.is_empty(), "\n{}", walker.faults.join("\n"));
    (pictures, audio_frames)
}
