//! Publishers that vanish, come back, and take over: the channel is free in time, one of them has it, and the playlist goes on.

use super::*;
use common::publisher::Publisher;

/// The buckets of [`CAMS`] and [`VAULT`], whose channels a newcomer with a valid signature takes over.
fn replace() -> String {
    format!("{CAMS}{VAULT}").replace("ring = ", "takeover = \"replace\"\nring = ")
}

fn signed(daemon: &Daemon) -> String {
    let mut sign = sluicegate();
    sign.args(["sign", "publish", "vault", "safe", "--raw", "--config"]).arg(daemon.config());
    sign.args(["--url", &format!("rtmp://127.0.0.1:{}", daemon.rtmp)]);
    Watched::run(&mut sign).expect_silence().stdout.trim().to_owned()
}

fn door(daemon: &Daemon) -> String {
    format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp)
}

#[test]
fn a_publisher_that_hangs_is_given_up_in_ten_seconds_though_its_camera_keeps_asking() {
    let daemon = Daemon::start(CAMS);
    let mut hanging = Publisher::open(&door(&daemon)).unwrap();
    hanging.send_ms(3_000).unwrap();
    let since = Instant::now();
    let mut refused = 0;
    // No FIN and no byte comes from the first one, as when its cable was pulled.
    let _back = wait_for("the channel to be free again", SOON, || {
        let asked = Publisher::open(&door(&daemon));
        refused += usize::from(asked.is_err());
        thread::sleep(Duration::from_millis(500));
        asked.ok()
    });
    assert!(refused > 5 && since.elapsed() > Duration::from_secs(9), "{refused} times refused");
    daemon.logs(&["nothing came for 10 s", "cams/door"]);
}

#[test]
fn a_signed_newcomer_replaces_a_publisher_and_exactly_one_is_left() {
    // Also where there is no place for one more.
    let daemon = Daemon::start(&format!("[limits]\npublishers = 1\n{}", replace()));
    let url = signed(&daemon);
    let mut publishers = vec![Publisher::open(&url).unwrap()];
    for n in 2..6 {
        publishers.last_mut().unwrap().send_ms(3_000).unwrap();
        publishers.push(Publisher::open(&url).unwrap_or_else(|why| panic!("number {n}: {why}")));
        let mut replaced = publishers.swap_remove(publishers.len() - 2);
        assert!(replaced.is_closed());
        daemon.logs(&["took the channel over", "vault/safe"]);
    }
    let mut last = publishers.pop().unwrap();
    for _ in 0..3 {
        last.send_ms(3_000).unwrap();
        thread::sleep(Duration::from_millis(300));
    }
    let forged = url.replace("Signature=", "Signature=A");
    assert!(Publisher::open(&forged).is_err(), "a wrong signature takes nothing over");
    assert!(Publisher::open(&door(&daemon)).is_err(), "there is place for one");
    daemon.logs(&["publish refused", "cams/door", "limits.publishers"]);
    last.send_ms(1_000).unwrap();
    last.stop();
}

#[test]
fn nobody_replaces_a_publisher_without_a_signature() {
    let daemon = Daemon::start(&replace());
    let mut first = Publisher::open(&door(&daemon)).unwrap();
    first.send_ms(1_000).unwrap();
    let refused = Publisher::open(&door(&daemon)).err().unwrap();
    assert!(refused.contains("BadName"), "{refused}");
    daemon.logs(&["publish refused", "cams/door", "being published to"]);
    first.send_ms(1_000).unwrap();
    first.stop();
}

/// Less than after silence, and more than a busy card takes for what came before the FIN.
const BEFORE_IDLE: Duration = Duration::from_secs(8);

#[test]
fn a_channel_is_free_as_soon_as_its_publisher_has_gone() {
    let daemon = Daemon::start(CAMS);
    let mut is_clean = true;
    let mut first = 0;
    for n in 0..60 {
        let mut publisher = if is_clean {
            Publisher::open(&door(&daemon)).unwrap_or_else(|why| panic!("number {n}: {why}"))
        } else {
            // Its FIN was on the way first, behind bytes that the daemon had yet to read.
            wait_for("the channel", BEFORE_IDLE, || Publisher::open(&door(&daemon)).ok())
        };
        publisher.send_ms(1_200).unwrap();
        let sequence = playlist(&daemon, DOOR).map_or(0, |list| list.media_sequence);
        assert!(sequence >= first, "the media sequence went from {first} to {sequence}");
        first = sequence;
        is_clean = n % 2 == 0;
        if is_clean {
            publisher.stop();
        }
    }
    // And once more, for as long as it takes to be listed.
    let mut publisher =
        wait_for("the channel", BEFORE_IDLE, || Publisher::open(&door(&daemon)).ok());
    publisher.send_ms(4_000).unwrap();
    publisher.stop();
    let list = end_of(&daemon, DOOR);
    assert!(newest(&list) >= 60, "each session left a segment: {}", newest(&list));
    let last = list.segments.iter().rev().take(3);
    assert_eq!(
        last.filter(|segment| segment.is_discontinuity).count(),
        0,
        "one a session, at its start"
    );
}
