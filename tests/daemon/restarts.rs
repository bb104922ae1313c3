//! Kills, restarts and signals: what a cut costs, and what it must not.

use super::*;

#[test]
fn kill_9_costs_the_open_segment_and_nothing_else() {
    let mut daemon = Daemon::start(CAMS);
    let recording = Recording::start(daemon.http, DOOR);
    for round in 1..=2 {
        let publisher = daemon.publish("cams/live/door", 60);
        let listed = 5 * round;
        wait_for("segments", SOON, || {
            playlist(&daemon, DOOR).filter(|playlist| newest(playlist) >= listed)
        });
        // In the middle of the stream: a publisher that had left would have ended the playlist.
        recording.across(|| {
            daemon.process.kill();
            drop(publisher);
            daemon.restart();
            wait_for("the ring", SOON, || playlist(&daemon, DOOR));
        });
    }
    let before = playlist(&daemon, DOOR).unwrap();
    let player = Watched::start(ffmpeg().args([
        "-live_start_index",
        "0",
        "-i",
        &daemon.url("cams/door/playlist.m3u8"),
        "-f",
        "null",
        "-",
    ]));
    daemon.publish("cams/live/door", 10).finish(Duration::from_secs(60)).expect_silence();
    end_of(&daemon, DOOR);
    let recorder = recording.finish();
    assert_eq!(recorder.discontinuities().len(), 2, "one for each return of the camera");
    assert!(recorder.discontinuities().contains(&(newest(&before) + 1)));
    assert!(
        recorder.last.as_ref().unwrap().discontinuity_sequence >= Some(1),
        "a discontinuity has left the window"
    );
    walk(&recorder);
    // Across a discontinuity ffmpeg remarks on the times, which start anew; it must still reach the end.
    assert!(player.finish(Duration::from_secs(60)).status.success());
}

#[test]
fn sigterm_seals_what_is_open_and_ends_well() {
    let mut daemon = Daemon::start(CAMS);
    let _publisher = daemon.publish("cams/live/door", 60);
    let before = wait_for("a playlist", SOON, || playlist(&daemon, DOOR));
    thread::sleep(Duration::from_millis(500));
    daemon.process.signal("TERM");
    let start = Instant::now();
    assert!(daemon.process.wait(SOON).success(), "{}", daemon.process.stderr());
    println!("ended after {:?}", start.elapsed());
    daemon.restart();
    let after = wait_for("the ring", SOON, || playlist(&daemon, DOOR));
    assert!(newest(&after) > newest(&before), "the open segment was sealed");
}

#[test]
fn sighup_takes_a_good_file_and_refuses_a_bad_one_and_publishers_stay() {
    let daemon = Daemon::start(CAMS);
    let mut publisher = daemon.publish("cams/live/door", 60);
    wait_for("a playlist", SOON, || playlist(&daemon, DOOR));
    let good = fs::read_to_string(daemon.config()).unwrap();
    let attic = r#"
  [[bucket.live_channel]]
  name = "attic"
  ring = "16MiB"
"#;
    fs::write(daemon.config(), format!("{good}{attic}  rnig = 1\n")).unwrap();
    daemon.process.signal("HUP");
    wait_for("the complaint", SOON, || daemon.process.stderr().contains("rnig").then_some(()));
    assert!(!daemon.publish("cams/live/attic", 1).finish(SOON).status.success());

    fs::write(daemon.config(), good + attic).unwrap();
    daemon.process.signal("HUP");
    wait_for("the other channel", SOON, || {
        daemon.publish("cams/live/attic", 1).finish(SOON).status.success().then_some(())
    });
    assert!(publisher.is_running());
    let playlist = playlist(&daemon, DOOR).unwrap();
    assert!(
        !playlist.is_ended && playlist.segments.iter().all(|segment| !segment.is_discontinuity)
    );
}

#[test]
fn segments_that_the_page_cache_has_let_go_of_are_sent_all_the_same() {
    let daemon = Daemon::start(CAMS);
    daemon.publish("cams/live/door", 5).finish(Duration::from_secs(60)).expect_silence();
    let list = end_of(&daemon, DOOR);
    let bodies = || -> Vec<_> {
        let targets = list.segments.iter().map(|segment| format!("/cams/door/{}", segment.uri));
        targets.map(|target| get(daemon.http, &target)).map(|r| (r.status, r.body)).collect()
    };
    let before = bodies();
    let ring = fs::File::open(daemon.config().with_file_name("store/cams/door.ring")).unwrap();
    rustix::fs::fadvise(&ring, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(before.iter().all(|(status, body)| *status == 200 && !body.is_empty()));
    assert!(bodies() == before, "they differ");
}

#[test]
fn a_larger_frag_count_brings_nothing_back_that_had_left_the_playlist() {
    let daemon = Daemon::start(&CAMS.replace("frag_count = 6", "frag_count = 3"));
    daemon.publish("cams/live/door", 9).finish(Duration::from_secs(60)).expect_silence();
    let before = end_of(&daemon, DOOR);
    assert!(before.media_sequence >= 5 && before.segments.len() <= 4, "{before:?}");
    let text = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), text.replace("frag_count = 3", "frag_count = 6")).unwrap();
    daemon.process.signal("HUP");
    wait_for("the ring to be open again", SOON, || {
        (daemon.process.stderr().matches("the ring is open").count() == 2).then_some(())
    });
    let after = wait_for("the playlist", SOON, || playlist(&daemon, DOOR));
    assert_eq!(after.media_sequence, before.media_sequence);
}
