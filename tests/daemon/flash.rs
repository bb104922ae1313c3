//! A card that fails, in every way that cards fail: what the channel says, what it loses, who does not notice, and that a healthy card
//! is used again.

use super::{
    card::{Call, Card, Fault, What},
    *,
};

const TWO_DOORS: &str = r#"
[[bucket]]
name = "cams"
acl = "public-read-write"
  [[bucket.live_channel]]
  name = "door"
  frag_duration = 1
  frag_count = 6
  ring = "8MiB"
  [[bucket.live_channel]]
  name = "yard"
  frag_duration = 1
  frag_count = 6
  ring = "8MiB"
"#;

const YARD: &str = "/cams/yard/playlist.m3u8";

/// Longer than a ring that fails waits to be opened anew, twice.
const RETRIED: Duration = Duration::from_secs(60);

/// Two cameras, two channels, one card.
struct Bench {
    daemon: Daemon,
    card: Card,
    cameras: Vec<Watched>,
}

impl Bench {
    /// With a playlist on each channel.
    fn streaming() -> Self {
        let mut bench = Self::idle(Card::new(1, 4096));
        bench.publish("door");
        bench.publish("yard");
        bench.wait_past("the first segments", DOOR, 1);
        bench.wait_past("the first segments", YARD, 1);
        bench
    }

    fn idle(card: Card) -> Self {
        let daemon = Daemon::start_in(&card.path().join("store"), "", TWO_DOORS);
        Self { daemon, card, cameras: Vec::new() }
    }

    fn publish(&mut self, channel: &str) {
        self.cameras.push(self.daemon.publish(&format!("cams/live/{channel}"), 600));
    }

    fn number(&self, target: &str) -> u64 {
        playlist(&self.daemon, target).as_ref().map_or(0, newest)
    }

    /// Waits until a segment with a higher number is listed that is no gap.
    fn wait_past(&self, what: &str, target: &str, number: u64) {
        wait_for(what, RETRIED, || {
            let playlist = playlist(&self.daemon, target)?;
            let last = playlist.numbered().last().map(|(number, segment)| (number, segment.is_gap));
            last.filter(|(newest, is_gap)| *newest > number && !is_gap)
        });
    }

    fn wait_log(&self, sentence: &str) {
        let start = Instant::now();
        while !self.daemon.process.stderr().contains(sentence) {
            let log = self.daemon.process.stderr();
            assert!(start.elapsed() < RETRIED, "waited in vain for {sentence:?} in\n{log}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn inject(&self, call: Call, what: What) {
        self.card.inject(&[Fault { call, file: "door", what }]);
    }

    /// Nobody lost a connection.
    fn assert_publishing(&mut self) {
        assert!(
            self.cameras.iter_mut().all(Watched::is_running),
            "{}",
            self.daemon.process.stderr()
        );
    }

    fn restart(&mut self) {
        self.cameras.clear();
        self.daemon.process.signal("TERM");
        self.daemon.process.wait(SOON);
        self.daemon.restart();
    }
}

/// Walks what lies between two gaps: each of them is a stream as it must be.
fn walk_around_gaps(recorder: &Recorder) {
    let recorded: Vec<_> = recorder.segments.iter().collect();
    for stretch in recorded.split(|(_, segment)| segment.entry.is_gap) {
        let segments = stretch.iter().map(|(number, segment)| (**number, (*segment).clone()));
        let mut recorder = Recorder::default();
        recorder.segments.extend(segments);
        walk(&recorder);
    }
}

/// The channel whose file fails loses segments and says so; its camera, and the other channel, do not notice.
fn a_failing_call(call: Call, sentence: &str) {
    let mut bench = Bench::streaming();
    let (door, yard) =
        (Recording::start(bench.daemon.http, DOOR), Recording::start(bench.daemon.http, YARD));
    bench.inject(call, What::Fails);
    bench.wait_log(sentence);
    let before = (bench.number(DOOR), bench.number(YARD));
    bench.wait_past("the other channel", YARD, before.1 + 4);
    assert!(bench.number(DOOR) <= before.0 + 1, "nothing is listed that is not on the card");
    bench.inject(call, What::Takes(Duration::ZERO));
    bench.wait_past("the healthy card", DOOR, before.0 + 2);
    bench.wait_log("the flash works again");
    bench.wait_log("segments lost: ");
    bench.assert_publishing();
    let (door, yard) = (door.finish(), yard.finish());
    let has_mark = |recorded: &common::playlist_recorder::Recorded| {
        recorded.entry.is_gap || recorded.entry.is_discontinuity
    };
    assert!(door.segments.range(before.0 + 1..).any(|(_, segment)| has_mark(segment)));
    walk_around_gaps(&door);
    assert!(!yard.segments.values().any(has_mark), "the other channel lost something");
    walk(&yard);
}

#[test]
fn a_card_that_refuses_writes_costs_one_channel_its_segments_and_is_used_again() {
    a_failing_call(Call::Write, "writing a segment failed: Input/output error");
}

#[test]
fn a_card_that_refuses_syncs_costs_one_channel_its_segments_and_is_used_again() {
    a_failing_call(Call::Sync, "syncing failed: Input/output error");
}

#[test]
fn a_card_that_cannot_be_read_sends_nothing_and_its_channel_opens_when_it_can() {
    let mut bench = Bench::streaming();
    bench.wait_past("segments", DOOR, 3);
    bench.restart();
    let listed = wait_for("the ring", SOON, || playlist(&bench.daemon, DOOR));
    // The first ones may have been read with the index, ahead of need.
    let target = format!("/cams/door/{}", listed.segments.last().unwrap().uri);
    let good = get(bench.daemon.http, &target).body;

    // Just opened, nothing of the body is cached.
    bench.restart();
    wait_for("the ring", SOON, || playlist(&bench.daemon, DOOR));
    bench.inject(Call::Read, What::Fails);
    assert!(
        common::http::try_get(bench.daemon.http, &target).is_err(),
        "no 200 for what cannot be read"
    );
    bench.wait_log("segment not sent: reading it failed: Input/output error");
    bench.inject(Call::Read, What::Takes(Duration::ZERO));
    assert!(get(bench.daemon.http, &target).body == good, "the healthy card is used again");

    bench.inject(Call::Read, What::Fails);
    bench.restart();
    bench.wait_log("door.ring: reading it failed: Input/output error");
    wait_for("the other channel", SOON, || playlist(&bench.daemon, YARD));
    let refused = bench.daemon.publish("cams/live/door", 1).finish(SOON);
    assert!(refused.stderr.contains("reading it failed"), "{}", refused.stderr);
    bench.inject(Call::Read, What::Takes(Duration::ZERO));
    let after = wait_for("the healthy card", RETRIED, || playlist(&bench.daemon, DOOR));
    assert_eq!(newest(&after), newest(&listed));
    bench.publish("door");
    bench.wait_past("segments", DOOR, newest(&after));
}

#[test]
fn a_write_of_ten_seconds_costs_segments_and_no_connection_and_no_memory() {
    let mut bench = Bench::streaming();
    let recording = Recording::start(bench.daemon.http, DOOR);
    bench.wait_past("segments", DOOR, 3);
    let before = bench.number(DOOR);
    bench.inject(Call::Write, What::Takes(Duration::from_secs(10)));
    thread::sleep(Duration::from_secs(2));
    bench.card.inject(&[]);
    let start = Instant::now();
    let mut most_kib = 0;
    while start.elapsed() < Duration::from_secs(9) {
        most_kib = most_kib.max(bench.daemon.process.resident_kib());
        let reply = get(bench.daemon.http, DOOR);
        assert_eq!(reply.status, 200, "viewers are answered meanwhile");
        thread::sleep(Duration::from_millis(100));
    }
    bench.wait_past("segments", DOOR, before + 4);
    bench.assert_publishing();
    // What the card takes in one go is listed in one go.
    let recorded =
        recording.finish_but_for("segments come and go between two looks at the playlist");
    let after = || recorded.segments.range(before..).map(|(_, segment)| &segment.entry);
    assert!(after().any(|entry| entry.is_gap || entry.is_discontinuity), "nothing was lost?");
    let checked = Watched::run(sluicegate().args(["check", "--config"]).arg(bench.daemon.config()));
    let budget = checked.stdout.lines().find_map(|line| line.split_once("  in all, of")).unwrap().0;
    let budget_mib: f64 = budget.trim().trim_end_matches(" MiB").parse().unwrap();
    println!("{most_kib} KiB of {budget_mib} MiB");
    assert!((most_kib as f64) < budget_mib * 1024.0, "{most_kib} KiB of {budget_mib} MiB");
}

#[test]
fn a_card_that_makes_itself_read_only_is_named_and_used_again_when_it_is_writable() {
    let mut bench = Bench::streaming();
    let recording = Recording::start(bench.daemon.http, DOOR);
    let before = bench.number(DOOR);
    bench.card.set_read_only(true);
    bench.wait_log("writing a segment failed: Read-only file system");
    // Opened anew in vain: what was recorded can still be seen.
    bench.wait_log("door.ring: opening it failed: Read-only file system (os error 30); the card is read-only: mount it writable");
    assert_eq!(get(bench.daemon.http, DOOR).status, 200);
    bench.card.set_read_only(false);
    bench.wait_past("the writable card", DOOR, before + 3);
    bench.assert_publishing();
    let recorded = recording.finish();
    assert!(recorded.segments.range(before..).any(|(_, segment)| segment.entry.is_discontinuity));
    walk_around_gaps(&recorded);
}

#[test]
fn a_file_that_became_shorter_is_named_and_never_served() {
    let mut bench = Bench::streaming();
    bench.wait_past("segments", DOOR, 3);
    let names = playlist(&bench.daemon, DOOR).unwrap();
    let ring = bench.card.path().join("store/cams/door.ring");
    let made_bytes = fs::metadata(&ring).unwrap().len();
    fs::OpenOptions::new().write(true).open(&ring).unwrap().set_len(20_000).unwrap();
    bench.wait_log("door.ring: asking for its length failed: somebody has cut the file");
    assert_eq!(fs::metadata(&ring).unwrap().len(), 20_000, "it is not filled up with zeros");
    for segment in &names.segments {
        let reply =
            common::http::try_get(bench.daemon.http, &format!("/cams/door/{}", segment.uri));
        assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status != 200));
    }
    let sentence = format!(
        "it was made with {made_bytes} bytes, and 20000 are left: remove the file to begin a new ring"
    );
    bench.wait_log(&sentence);
    let before = bench.number(DOOR);
    fs::remove_file(&ring).unwrap();
    bench.wait_past("the new ring", DOOR, before);
    bench.assert_publishing();
}

#[test]
fn a_full_card_is_named_and_the_ring_is_made_when_there_is_room() {
    for can_reserve in [true, false] {
        let card = Card::new(2, 4096);
        card.set_reserving(can_reserve);
        card.set_quota(12 << 20);
        let mut bench = Bench::idle(card);
        // Two rings of 8 MiB; which of them comes first is not promised where they are filled side by side.
        bench.wait_log(
            "there is no room for its 8388608 bytes: make room on the card, or the ring smaller",
        );
        wait_for("one of the rings", RETRIED, || {
            bench.daemon.process.stderr().contains("the ring is open").then_some(())
        });
        let is_door =
            bench.daemon.process.stderr().contains("the ring is open channel=\"cams/door\"");
        let (works, full) = if is_door { ("door", "yard") } else { ("yard", "door") };
        bench.publish(works);
        let refused = bench.daemon.publish(&format!("cams/live/{full}"), 1).finish(SOON);
        assert!(refused.stderr.contains("no room"), "{}", refused.stderr);
        bench.wait_past("the other channel", &format!("/cams/{works}/playlist.m3u8"), 1);
        bench.card.set_quota(1 << 30);
        wait_for("room", RETRIED, || {
            (bench.daemon.process.stderr().matches("the ring is open").count() == 2).then_some(())
        });
        bench.publish(full);
        bench.wait_past("segments", &format!("/cams/{full}/playlist.m3u8"), 1);
        bench.assert_publishing();
    }
}

#[test]
fn a_ring_that_cannot_be_reserved_is_made_beside_the_others_and_says_when_it_is_ready() {
    let card = Card::new(3, 4096);
    let mut bench = Bench::idle(card);
    bench.publish("yard");
    bench.wait_past("segments", YARD, 1);
    bench.restart();
    fs::remove_file(bench.card.path().join("store/cams/door.ring")).unwrap();
    bench.card.set_reserving(false);
    bench.inject(Call::Sync, What::Takes(Duration::from_millis(150)));
    bench.restart();
    bench.publish("yard");
    bench.wait_log("the ring is being made: ");
    let refused = bench.daemon.publish("cams/live/door", 1).finish(SOON);
    assert!(refused.stderr.contains("done, ready in about"), "{}", refused.stderr);
    let reply = get(bench.daemon.http, DOOR);
    assert_eq!((reply.status, reply.element("Code")), (503, "ServiceUnavailable"));
    assert!(reply.element("Message").contains("done, ready in about"), "{}", reply.text());
    let number = bench.number(YARD);
    bench.wait_past("the other channel", YARD, number + 1);
    wait_for("the ring", RETRIED, || {
        bench
            .daemon
            .process
            .stderr()
            .contains("the ring is open channel=\"cams/door\"")
            .then_some(())
    });
    bench.publish("door");
    bench.wait_past("segments", DOOR, 1);
    bench.assert_publishing();
}

#[test]
fn a_ring_of_another_size_version_or_channel_is_named_with_what_to_do_and_left_alone() {
    let mut bench = Bench::streaming();
    bench.restart();
    let store = bench.card.path().join("store/cams");
    let image = fs::read(store.join("door.ring")).unwrap();

    let config = fs::read_to_string(bench.daemon.config()).unwrap();
    fs::write(bench.daemon.config(), config.replacen("8MiB", "16MiB", 1)).unwrap();
    bench.restart();
    bench.wait_log("it was made with 8388608 bytes, the configuration wants 16777216: give it its old size back, or remove");
    wait_for("the other channel", SOON, || playlist(&bench.daemon, YARD));
    fs::write(bench.daemon.config(), config).unwrap();

    // The version stands behind the CRC of its page.
    bench.card.with_file("door.ring", |bytes| {
        for page in [0, 4096] {
            bytes[page + 12] = 9;
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&bytes[page..page + 8]);
            hasher.update(&bytes[page + 12..page + 4096]);
            bytes[page + 8..page + 12].copy_from_slice(&hasher.finalize().to_le_bytes());
        }
    });
    bench.restart();
    bench.wait_log("its format has version 9, this program knows version 1: use the program that made it, or remove");

    let yard = fs::read(store.join("yard.ring")).unwrap();
    bench.card.with_file("door.ring", |bytes| bytes.clone_from(&yard));
    bench.restart();
    bench.wait_log("it belongs to LiveChannel \"cams/yard\", not to \"cams/door\": put every ring back to its own name, or remove");
    assert!(fs::read(store.join("door.ring")).unwrap() == yard, "it is left as it was");

    // Put back while the daemon runs: it is found.
    bench.card.with_file("door.ring", |bytes| bytes.clone_from(&image));
    wait_for("the right ring", RETRIED, || playlist(&bench.daemon, DOOR));
}

#[test]
fn a_flipped_bit_costs_one_segment_that_becomes_a_gap() {
    let mut bench = Bench::streaming();
    bench.wait_past("segments", DOOR, 5);
    bench.restart();
    let listed = wait_for("the ring", SOON, || playlist(&bench.daemon, DOOR));
    let target = |nth: usize| format!("/cams/door/{}", listed.segments[nth].uri);
    let bodies: Vec<_> =
        (0..listed.segments.len()).map(|nth| get(bench.daemon.http, &target(nth)).body).collect();
    let spoilt = &bodies[2];
    bench.card.with_file("door.ring", |bytes| {
        let at =
            bytes.windows(188).position(|window| window == &spoilt[188 * 9..188 * 10]).unwrap();
        bytes[at + 100] ^= 4;
    });
    // And one copy each of the superblock and of the newest index page.
    bench.card.with_file("door.ring", |bytes| bytes[77] ^= 1);
    bench.restart();
    wait_for("the ring", SOON, || playlist(&bench.daemon, DOOR));
    for (nth, body) in bodies.iter().enumerate() {
        let reply = common::http::try_get(bench.daemon.http, &target(nth));
        assert_eq!(reply.is_ok_and(|reply| reply.status == 200 && reply.body == *body), nth != 2);
    }
    bench.wait_log("its bytes are not the ones that were sealed");
    let after = playlist(&bench.daemon, DOOR).unwrap();
    let gaps: Vec<_> = after.segments.iter().map(|segment| segment.is_gap).collect();
    assert_eq!(gaps.iter().position(|is_gap| *is_gap), Some(2));
    assert_eq!(gaps.iter().filter(|is_gap| **is_gap).count(), 1);
    assert_eq!(get(bench.daemon.http, &target(2)).status, 404);
    let verified =
        Watched::run(sluicegate().args(["store", "verify", "--config"]).arg(bench.daemon.config()));
    assert_eq!(verified.status.code(), Some(1));
    let named = verified.stdout + &verified.stderr;
    assert!(named.contains(listed.segments[2].uri.trim_end_matches(".ts")), "{named}");
}

#[test]
fn a_card_that_is_changed_under_the_daemon_is_used_and_numbers_and_names_go_on() {
    let mut bench = Bench::streaming();
    let recording = Recording::start(bench.daemon.http, DOOR);
    bench.wait_past("segments", DOOR, 3);
    let before = bench.number(DOOR);
    bench.card.pull();
    bench.wait_log("writing a segment failed: Input/output error");
    thread::sleep(Duration::from_secs(1));
    bench.card.change();
    bench.card.plug();
    bench.wait_past("the other card", DOOR, before + 3);
    bench.assert_publishing();
    walk_around_gaps(&recording.finish());
}
