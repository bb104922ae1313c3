//! A box whose clock is wrong: what the gate does, and what segments are called. libfaketime tells the daemon the lie.

use super::*;

/// Starts the daemon again, as one that takes `time` for the time when it starts; `None`: at the right time.
fn restart_at(daemon: &mut Daemon, time: Option<&str>) {
    daemon.process.signal("TERM");
    daemon.process.wait(SOON);
    let mut command = sluicegate();
    if let Some(time) = time {
        // Preloaded by hand: `faketime` itself stays in between, and would be the one that signals reach.
        let folders = fs::read_dir("/usr/lib").unwrap().map(|folder| folder.unwrap().path());
        let library = folders
            .map(|folder| folder.join("faketime/libfaketime.so.1"))
            .find(|path| path.exists());
        command.env(
            "LD_PRELOAD",
            library.unwrap_or_else(|| panic!("libfaketime is missing: tests/run installs it")),
        );
        command.env("FAKETIME", time).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    command.args(["serve", "--config"]).arg(daemon.config());
    daemon.process = Watched::start(&mut command);
    wait_for("the daemon to listen", SOON, || TcpStream::connect(("127.0.0.1", daemon.http)).ok());
    wait_for("the ring to be open", SOON, || {
        daemon.process.stderr().contains("the ring is open").then_some(())
    });
}

fn sign(daemon: &Daemon, what: &str, expires: &str) -> String {
    let mut command = sluicegate();
    command.args([
        "sign",
        what,
        "vault",
        "safe",
        "--raw",
        "--expires",
        expires,
        "--url",
        "http://x",
        "--config",
    ]);
    let url = Watched::run(command.arg(daemon.config())).stdout;
    url.trim().split_once("//x").unwrap().1.to_owned()
}

#[test]
fn a_clock_in_1970_lets_nothing_signed_in_until_the_store_knows_better() {
    let mut daemon = Daemon::start(VAULT);
    let play = sign(&daemon, "play", "3600");
    let expired = sign(&daemon, "play", "0");
    let publish = sign(&daemon, "publish", "3600");
    let camera = format!("rtmp://127.0.0.1:{}{publish}", daemon.rtmp);

    // Nothing stored: no time to go by.
    restart_at(&mut daemon, Some("@1970-01-02 00:00:00"));
    let reply = get(daemon.http, &play);
    assert_eq!((reply.status, reply.element("Code")), (403, "AccessDenied"));
    assert!(reply.element("Message").contains("clock"), "{}", reply.text());
    let refused = publish_to(&camera, 2, &[]).finish(SOON);
    assert!(!refused.status.success() && refused.stderr.contains("clock"), "{}", refused.stderr);
    wait_for("the log to say what to do", SOON, || {
        daemon.process.stderr().contains("NTP").then_some(())
    });

    // Recorded at the right time, then back to 1970: the newest segment's time is the least that it can be.
    restart_at(&mut daemon, None);
    thread::sleep(Duration::from_millis(1100));
    publish_to(&camera, 4, &[]).finish(Duration::from_secs(60)).expect_silence();
    let before = wait_for("segments", SOON, || names(&daemon, &play));
    restart_at(&mut daemon, Some("@1970-01-02 00:00:00"));
    assert_eq!(get(daemon.http, &play).status, 200, "the store knows that it is later");
    assert!(get(daemon.http, &expired).text().contains("expired"), "what had expired stays so");
    publish_to(&camera, 4, &[]).finish(Duration::from_secs(60)).expect_silence();
    let after = wait_for("newer segments", SOON, || {
        names(&daemon, &play).filter(|names| names.last() > before.last())
    });

    // A step forward is followed, a step back is waited for: names only ever grow.
    restart_at(&mut daemon, Some("+1d"));
    let play = sign(&daemon, "play", "200000");
    assert!(get(daemon.http, &play).text().contains("ENDLIST"), "what is a day old does not go on");
    let publish = sign(&daemon, "publish", "200000");
    let camera = format!("rtmp://127.0.0.1:{}{publish}", daemon.rtmp);
    publish_to(&camera, 3, &[]).finish(Duration::from_secs(60)).expect_silence();
    let tomorrow = wait_for("tomorrow's segments", SOON, || {
        names(&daemon, &play)
            .filter(|names| names.last().unwrap() - after.last().unwrap() > 80_000_000)
    });
    restart_at(&mut daemon, None);
    publish_to(&camera, 3, &[]).finish(Duration::from_secs(60)).expect_silence();
    let today = wait_for("today's segments", SOON, || {
        names(&daemon, &play).filter(|names| names.last() > tomorrow.last())
    });
    assert!(today.is_sorted());
}

#[test]
fn a_camera_that_comes_back_before_the_clock_is_set_loses_nothing() {
    let mut daemon = Daemon::start(&CAMS.replace("frag_count = 6", "frag_count = 12"));
    restart_at(&mut daemon, Some("@1970-01-02 00:00:00"));
    for sessions in 1..=3 {
        daemon.publish("cams/live/door", 3).finish(SOON * 6).expect_silence();
        wait_for("each segment", SOON, || {
            names(&daemon, DOOR).filter(|names| names.len() >= 3 * sessions)
        });
    }
    // Time goes on by what was recorded: there is no other.
    let names = names(&daemon, DOOR).unwrap();
    assert!(names.iter().zip(&names[1..]).all(|(a, b)| b - a <= 1_100), "{names:?}");
}

/// The start times in the signed playlist at `target`; `None`: it has none.
fn names(daemon: &Daemon, target: &str) -> Option<Vec<u64>> {
    let reply = get(daemon.http, target);
    let names = reply.text().lines().filter_map(|line| line.split_once(".ts")?.0.parse().ok());
    let names: Vec<u64> = names.collect();
    (reply.status == 200 && !names.is_empty()).then_some(names)
}
