//! Sessions, hours and viewers in numbers: what the daemon has at the end is what it had at the beginning.
//!
//! Short here; the long runs are the same with other numbers, which the README tells of. Each prints its curve of
//! resident memory (`--nocapture` shows it).

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::*;
use common::{machine, publisher::Publisher};

/// What resident memory may differ by at the end: pages that the allocator keeps.
const SLACK_KIB: u64 = 512;

/// Of the clip, as transport stream: 121 kB in 8 s, and a little for its packets.
const CLIP_BYTES_PER_MINUTE: u64 = 900_000;

fn number(variable: &str, short: u64) -> u64 {
    env::var(variable).map_or(short, |text| text.parse().unwrap())
}

fn door(daemon: &Daemon) -> String {
    format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp)
}

/// Resident memory while it runs, printed as it goes.
struct Curve {
    what: &'static str,
    kib: Vec<u64>,
}

impl Curve {
    fn new(what: &'static str) -> Self {
        Self { what, kib: Vec::new() }
    }

    fn note(&mut self, daemon: &Daemon, after: impl std::fmt::Display) {
        self.kib.push(daemon.resident_kib());
        println!("{}: {after}: {} KiB", self.what, self.kib.last().unwrap());
    }

    /// The first value is taken when everything has been used once.
    fn is_flat(&self) {
        let (first, last) = (self.kib.first().unwrap(), self.kib.last().unwrap());
        assert!(*last <= first + SLACK_KIB, "{}: {:?}", self.what, self.kib);
    }
}

#[test]
fn memory_is_after_many_sessions_what_it_was_after_a_few() {
    machine::take_alone();
    let sessions = number("SLUICEGATE_SOAK_SESSIONS", 400);
    let daemon = Daemon::start(CAMS);
    let mut curve = Curve::new("sessions");
    let run = |n: u64| {
        let mut publisher = wait_for("the channel", SOON, || Publisher::open(&door(&daemon)).ok());
        publisher.send_ms(1_100).unwrap();
        // A goodbye, a FIN, and a goodbye in the middle of a stream.
        match n % 3 {
            0 => publisher.stop(),
            1 => drop(publisher),
            _ => {
                publisher.send_ms(200).unwrap();
                publisher.stop();
            }
        }
        assert_eq!(get(daemon.http, DOOR).status, 200);
    };
    wait_for("the first segment", SOON, || {
        let mut publisher = Publisher::open(&door(&daemon)).ok()?;
        publisher.send_ms(2_000).unwrap();
        publisher.stop();
        playlist(&daemon, DOOR)
    });
    (0..100).for_each(run);
    curve.note(&daemon, "100 sessions");
    for n in 1..=sessions {
        run(n);
        if n % (sessions / 20) == 0 {
            curve.note(&daemon, format!("{n} more"));
        }
    }
    curve.is_flat();
    let mut publisher = wait_for("the channel", SOON, || Publisher::open(&door(&daemon)).ok());
    let before = playlist(&daemon, DOOR).map_or(0, |list| newest(&list));
    publisher.send_ms(3_000).unwrap();
    wait_for("a segment of the session after all these", SOON, || {
        playlist(&daemon, DOOR).filter(|list| newest(list) > before)
    });
}

#[test]
fn memory_is_after_hours_of_media_what_it_was_after_a_minute() {
    machine::take_alone();
    let minutes = number("SLUICEGATE_SOAK_MINUTES", 20);
    let daemon = Daemon::start(&CAMS.replace("frag_duration = 1", "frag_duration = 5"));
    let mut curve = Curve::new("media");
    let mut publisher = Publisher::open(&door(&daemon)).unwrap();
    for minute in 0..=minutes {
        // As fast as the daemon takes it.
        publisher.send_ms(60_000).unwrap();
        if minute == 0 || minute % (minutes / 20) == 0 {
            curve.note(&daemon, format!("{minute} min"));
        }
    }
    curve.is_flat();
    publisher.stop();
    let list = end_of(&daemon, DOOR);
    assert!(newest(&list) >= 11 * minutes, "{} segments", newest(&list));
    let last = list.segments.iter().map(|segment| segment.duration_ms).collect::<Vec<_>>();
    assert!(last.iter().rev().skip(1).all(|ms| *ms == 5_000), "they have drifted: {last:?}");
}

#[test]
fn many_publishers_and_viewers_at_a_time_each_get_all_of_theirs() {
    machine::take_alone();
    let secs = number("SLUICEGATE_LOAD_SECS", 10);
    let (publishers, viewers) =
        (number("SLUICEGATE_LOAD_PUBLISHERS", 4), number("SLUICEGATE_LOAD_VIEWERS", 12));
    let mut buckets = format!(
        "[limits]\npublishers = {publishers}\nviewers = {}\nmemory = \"256MiB\"\n\
         [[bucket]]\nname = \"cams\"\nacl = \"public-read-write\"\n",
        viewers + 16
    );
    for n in 0..publishers {
        buckets += &format!(
            "[[bucket.live_channel]]\nname = \"c{n}\"\nfrag_duration = 2\nfrag_count = 6\nring = \"16MiB\"\n"
        );
    }
    let daemon = Daemon::start(&buckets);
    let (rtmp, http) = (daemon.rtmp, daemon.http);
    let open = |n: u64| {
        let url = format!("rtmp://127.0.0.1:{rtmp}/cams/live/c{n}");
        wait_for("the ring", 3 * SOON, || Publisher::open(&url).ok())
    };
    // Once around each ring, as fast as the daemon takes it: what its index takes is touched then.
    for n in 0..publishers {
        let mut camera = open(n);
        for _ in 0..=(16 << 20) / CLIP_BYTES_PER_MINUTE {
            camera.send_ms(60_000).unwrap();
        }
        camera.stop();
    }
    let cameras: Vec<_> = (0..publishers).map(open).collect();
    let end = Instant::now() + Duration::from_secs(secs);
    let fetched = Arc::new(AtomicU64::new(0));
    let cameras = cameras.into_iter().map(|mut camera| {
        thread::spawn(move || {
            let start = Instant::now();
            for step in 1.. {
                camera.send_ms(200).unwrap();
                if Instant::now() >= end + Duration::from_secs(1) {
                    return camera.stop();
                }
                let due = start + Duration::from_millis(200 * step);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        })
    });
    let cameras: Vec<_> = cameras.collect();
    let viewers = (0..viewers).map(|n| {
        let fetched = Arc::clone(&fetched);
        thread::spawn(move || {
            let folder = format!("/cams/c{}", n % publishers);
            let mut connection = Connection::open(http);
            // The first lap went faster than flash may take it, so that it may have gaps.
            let mut next = None;
            while Instant::now() < end {
                let reply = connection.request("GET", &format!("{folder}/playlist.m3u8"), &[]);
                if reply.status == 200 {
                    let list = Playlist::parse(reply.text()).unwrap();
                    let mut wanted = *next.get_or_insert(newest(&list) + 1);
                    for (sequence, segment) in list.numbered() {
                        if sequence >= wanted {
                            assert_eq!(sequence, wanted, "{folder}: a segment was missed");
                            assert!(!segment.is_gap, "{folder}: a gap at {sequence}");
                            let got = connection.request(
                                "GET",
                                &format!("{folder}/{}", segment.uri),
                                &[],
                            );
                            assert_eq!((got.status, got.body.len() % 188), (200, 0));
                            wanted = sequence + 1;
                            fetched.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    next = Some(wanted);
                }
                thread::sleep(Duration::from_millis(1_000));
            }
        })
    });
    let viewers: Vec<_> = viewers.collect();
    let mut curve = Curve::new("load");
    thread::sleep(Duration::from_secs(secs / 5));
    let start = Instant::now();
    while Instant::now() < end {
        curve.note(&daemon, format!("{} s", start.elapsed().as_secs()));
        thread::sleep(Duration::from_secs((secs / 20).max(1)));
    }
    viewers.into_iter().for_each(|viewer| viewer.join().unwrap());
    cameras.into_iter().for_each(|camera| camera.join().unwrap());
    println!("load: {} segments were fetched", fetched.load(Ordering::Relaxed));
    assert!(fetched.load(Ordering::Relaxed) > secs / 4);
    curve.is_flat();
}
