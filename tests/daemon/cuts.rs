//! The daemon is killed while a camera streams, and the power goes, again and again: what was listed is there afterwards, with the same name,
//! number and bytes, and nothing else is.
//!
//! `SLUICEGATE_KILLS=300 cargo test --test daemon cuts` is the long run; `SLUICEGATE_SEED=…` begins with another seed than 1.

use std::{collections::BTreeSet, env, fmt::Write as _};

use sluicegate::{
    config::{
        ChannelPath, Status,
        catalogue::{Catalogue, ObjectPath, Recording, Settings},
    },
    limits::RELAXED_SEGMENTS_MAX,
    shell::ring_file::{self, NewRing},
    store::{geometry::Geometry, layout::Superblock},
    units::UnixSecs,
};

use super::{
    card::{Card, Found},
    sectors::Rng,
    *,
};

/// A camera at eight times its speed: more cuts an hour, and of the same kind.
fn hurried_camera(daemon: &Daemon) -> Watched {
    let url = format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp);
    let input = ["-readrate", "8", "-stream_loop", "-1", "-i", CLIP, "-t", "600"];
    let output = ["-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", &url];
    Watched::start(ffmpeg().args(input).args(output))
}

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// What viewers have seen, and what they must go on seeing.
#[derive(Default)]
struct Witness {
    /// By media sequence number: name, and bytes if it was fetched.
    seen: std::collections::BTreeMap<u64, (String, Option<Vec<u8>>)>,
    discontinuity_sequence: u64,
    media_sequence: u64,
    cuts: u64,
    /// Numbers of listed segments that a cut took, and the most that one cut took.
    lost: BTreeSet<u64>,
    lost_at_once: usize,
    /// Below this number the segments have survived a cut: they are on the card, and no later one takes them.
    survived_below: u64,
}

impl Witness {
    /// Looks at the playlist, and fetches some segments, until a random time after the first new one.
    fn watch(&mut self, daemon: &Daemon, rng: &mut Rng) {
        let known = self.seen.len();
        let mut end = Instant::now() + SOON;
        let time = Duration::from_millis(rng.below(1500));
        while Instant::now() < end {
            if self.seen.len() > known {
                end = end.min(Instant::now() + time);
            }
            if let Some(playlist) = playlist(daemon, DOOR) {
                self.take(&playlist);
                let (number, segment) = playlist.numbered().last().unwrap();
                if !segment.is_gap && rng.one_in(3) {
                    let reply = get(daemon.http, &format!("/cams/door/{}", segment.uri));
                    assert_eq!(reply.status, 200);
                    self.seen.get_mut(&number).unwrap().1 = Some(reply.body);
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn take(&mut self, playlist: &Playlist) {
        assert!(playlist.media_sequence >= self.media_sequence, "MEDIA-SEQUENCE went back");
        self.media_sequence = playlist.media_sequence;
        let discontinuities = playlist.discontinuity_sequence.unwrap();
        assert!(discontinuities >= self.discontinuity_sequence, "DISCONTINUITY-SEQUENCE went back");
        self.discontinuity_sequence = discontinuities;
        for (number, segment) in playlist.numbered() {
            match self.seen.get(&number) {
                Some((name, _)) => {
                    assert_eq!(name, &segment.uri, "number {number} has another name")
                }
                None => {
                    if let Some((_, (newest, _))) = self.seen.last_key_value() {
                        assert!(segment.uri > *newest, "{} comes after {newest}", segment.uri);
                    }
                    self.seen.insert(number, (segment.uri.clone(), None));
                }
            }
        }
    }

    /// What was listed before the cut is listed or gone by age, and has the bytes that it had. `may_lose`: where durability is relaxed.
    fn judge(&mut self, daemon: &Daemon, may_lose: bool, what: &str) {
        self.cuts += 1;
        let verify = ["store", "verify", "--config"];
        let verified = Watched::run(sluicegate().args(verify).arg(daemon.config()));
        assert!(verified.status.success(), "{what}: {} {}", verified.stdout, verified.stderr);
        let listed =
            Watched::run(sluicegate().args(["store", "ls", "--config"]).arg(daemon.config()));
        let lost_before = self.lost.len();
        // The ring keeps far more than the playlist lists.
        for (number, (name, body)) in self.seen.iter_mut().rev().take(40) {
            let is_stored = listed.stdout.contains(name.trim_end_matches(".ts"));
            assert!(
                is_stored
                    || may_lose && *number >= self.survived_below
                    || self.lost.contains(number),
                "{what}: {name} was listed and is lost in\n{}",
                listed.stdout
            );
            if !is_stored {
                self.lost.insert(*number);
            } else if let Some(body) = body {
                let reply = get(daemon.http, &format!("/cams/door/{name}"));
                assert!(
                    reply.status == 200 && reply.body == *body,
                    "{what}: other bytes in {number}"
                );
            }
        }
        self.survived_below = self.seen.last_key_value().map_or(0, |(number, _)| number + 1);
        let lost_now = self.lost.len() - lost_before;
        assert!(lost_now as u64 <= RELAXED_SEGMENTS_MAX, "{what}: {lost_now} were lost at once");
        self.lost_at_once = self.lost_at_once.max(lost_now);
    }

    fn report(&self, what: &str, start: Instant) {
        let mut text = String::new();
        let _ = write!(
            text,
            "{what}: {} cuts in {:?}, {} segments seen",
            self.cuts,
            start.elapsed(),
            self.seen.len()
        );
        println!(
            "{text}, listed ones lost: {}, at most {} at a cut",
            self.lost.len(),
            self.lost_at_once
        );
    }
}

fn wait_for_ring(daemon: &Daemon) {
    wait_for("the ring", SOON, || {
        daemon.process.stderr().contains("the ring is open").then_some(())
    });
}

/// Kill -9: the page cache stays, so nothing that was listed is lost whatever the durability.
#[test]
fn kill_9_at_any_moment_loses_nothing_that_was_listed() {
    let start = Instant::now();
    let mut rng = Rng(number("SLUICEGATE_SEED", 1));
    for durability in ["segment", "relaxed"] {
        let folder = Folder::new();
        let mut daemon = Daemon::start_in(
            &folder.path().join("store"),
            &format!("durability = \"{durability}\""),
            CAMS,
        );
        let mut witness = Witness::default();
        for round in 0..number("SLUICEGATE_KILLS", 12) / 2 {
            let _camera = hurried_camera(&daemon);
            witness.watch(&daemon, &mut rng);
            daemon.process.kill();
            daemon.restart();
            wait_for_ring(&daemon);
            witness.judge(&daemon, false, &format!("{durability}, kill {round}"));
        }
        witness.report(&format!("kill -9, {durability}"), start);
        assert!(witness.seen.len() as u64 >= witness.cuts, "hardly anything was recorded");
    }
}

/// The power goes under the daemon: what was not synced is lost, torn, or there.
fn power_cuts(durability: &str, unit_bytes: usize) {
    let start = Instant::now();
    let seed = number("SLUICEGATE_SEED", 1);
    let mut rng = Rng(seed);
    let card = Card::new(seed, unit_bytes);
    let options = format!("durability = \"{durability}\"");
    let mut daemon = Daemon::start_in(&card.path().join("store"), &options, CAMS);
    let mut witness = Witness::default();
    for round in 0..number("SLUICEGATE_KILLS", 16) / 4 {
        let _camera = hurried_camera(&daemon);
        witness.watch(&daemon, &mut rng);
        // Pulled first: what is listed from here on was not on the card in time, and nobody looks.
        card.pull();
        daemon.process.kill();
        card.plug();
        daemon.restart();
        wait_for_ring(&daemon);
        let what = format!("SLUICEGATE_SEED={seed}, {durability}, {unit_bytes}, cut {round}");
        witness.judge(&daemon, durability == "relaxed", &what);
    }
    witness.report(&format!("power cuts, {durability}, torn at {unit_bytes} bytes"), start);
    assert!(witness.seen.len() as u64 >= witness.cuts, "hardly anything was recorded");
}

#[test]
fn a_power_cut_loses_nothing_that_was_listed() {
    power_cuts("segment", 512);
    power_cuts("segment", 4096);
}

#[test]
fn a_power_cut_of_a_relaxed_store_loses_the_last_seconds_and_repeats_no_number_and_no_name() {
    power_cuts("relaxed", 512);
    power_cuts("relaxed", 4096);
}

/// A life of calls, as the daemon carries them out: the catalogue first, then the rings. Whenever the power goes, each file is whole, the one
/// before or the one after, and no ring is gone that the catalogue on the card still serves.
#[test]
fn every_cut_leaves_the_catalogue_and_each_ring_whole_or_as_they_were() {
    let geometry = Geometry::new(2 << 20, 1, 4096).unwrap();
    let door = ChannelPath { bucket: "cams".into(), channel: "door".into() };
    let superblock = Superblock::new(geometry.layout, &door.to_string()).unwrap();
    let formatted: Vec<u8> = superblock.encode().into();
    let seed = number("SLUICEGATE_SEED", 1);
    let mut cuts = 0;
    for seed in seed..seed + number("SLUICEGATE_KILLS", 12) {
        let mut rng = Rng(seed);
        let card = Card::new(seed, if rng.one_in(2) { 512 } else { 4096 });
        card.set_reserving(rng.one_in(2));
        let (file, ring) =
            (card.path().join("store/catalogue"), card.path().join("store/cams/door.ring"));
        let mut catalogue = Catalogue::default();
        ring_file::replace(&file, &catalogue.text()).unwrap();
        card.take_cuts();
        for step in 1..20 {
            let before = catalogue.clone();
            let was_made = before.channels.contains_key(&door);
            let path =
                |n| ObjectPath { bucket: "cams".into(), key: format!("door/{n}.m3u8").into() };
            match rng.below(3) {
                0 => {
                    // PostVodPlaylist, up to some pages of them.
                    for n in 0..rng.below(400) {
                        let (first, last) = (UnixSecs(n), UnixSecs(n + step));
                        let recording =
                            Recording { channel: door.channel.clone(), first, last, made: last };
                        catalogue.recordings.insert(path(n), recording);
                    }
                    ring_file::replace(&file, &catalogue.text()).unwrap();
                }
                1 if !was_made => {
                    // PutLiveChannel.
                    catalogue.removed.remove(&door);
                    catalogue.channels.insert(door.clone(), settings(step));
                    ring_file::replace(&file, &catalogue.text()).unwrap();
                    let mut new = NewRing::begin(&ring, superblock.clone()).unwrap();
                    while new.done_bytes() < new.total_bytes() && new.step().unwrap() {}
                    drop(new.finish().unwrap());
                }
                1 => {
                    // PutLiveChannel of one that is there: other settings, the same ring.
                    catalogue.channels.insert(door.clone(), settings(step));
                    ring_file::replace(&file, &catalogue.text()).unwrap();
                }
                _ => {
                    // DeleteLiveChannel, and its recordings with it.
                    catalogue.channels.remove(&door);
                    catalogue.recordings.clear();
                    catalogue.removed.insert(door.clone());
                    ring_file::replace(&file, &catalogue.text()).unwrap();
                    ring_file::remove(&ring).unwrap();
                }
            }
            let mut left = card.take_cuts();
            cuts += left.len();
            let what = format!("SLUICEGATE_SEED={seed}, step {step}");
            let check = |found: &Found, may_be: &[&Catalogue]| {
                let kept = str::from_utf8(&found["catalogue"]).unwrap();
                let kept = Catalogue::parse(kept).unwrap_or_else(|why| panic!("{what}: {why}"));
                assert!(may_be.contains(&&kept), "{what}: another catalogue, {kept:?}");
                let found_ring = found.get("door.ring");
                // What an older catalogue serves goes only after a newer one says so.
                let was_served = was_made && kept.channels.contains_key(&door);
                assert!(!was_served || found_ring.is_some(), "{what}: a ring without its deletion");
                assert!(
                    found_ring.is_none_or(|bytes| bytes.starts_with(&formatted)
                        && bytes[4096..].starts_with(&formatted)
                        && bytes[8192..].iter().all(|byte| *byte == 0)
                        && bytes.len() as u64 == geometry.layout.file_bytes),
                    "{what}: half a ring"
                );
                // And no ring is left that nobody knows of.
                let is_known = kept.channels.contains_key(&door) || kept.removed.contains(&door);
                assert!(found_ring.is_none() || is_known, "{what}: a ring that nobody removes");
            };
            // The last one was taken when all was done: what was asked for is there for good.
            let last = left.pop().unwrap();
            check(&last, &[&catalogue]);
            let is_made = catalogue.channels.contains_key(&door);
            assert_eq!(last.contains_key("door.ring"), is_made, "{what}: the ring is there or not");
            left.iter().for_each(|found| check(found, &[&before, &catalogue]));
        }
    }
    println!("{cuts} cuts of names");
    assert!(cuts > 300);
}

fn settings(step: u64) -> Settings {
    Settings {
        description: format!("as of step {step}").into(),
        status: Status::Enabled,
        frag_duration_s: 1,
        frag_count: 1,
        playlist_name: "playlist.m3u8".into(),
        modified: UnixSecs(step),
    }
}
