//! What happens to a page that is open: the camera restarts, the daemon is killed, the link expires; and for how long
//! sound and picture stay together. In Chromium by hls.js and by the browser's own HLS, and in Firefox.

use super::*;
use common::{browser::Browser, firefox::Firefox};
use serde_json::Value;

/// Counts `pictures` that are really shown, and gives up after 18 seconds. Comes to how many there were.
fn shown(pictures: u32) -> String {
    format!(
        "new Promise((done) => {{
            const video = document.querySelector('video');
            let shown = 0;
            const count = () => {{ shown += 1; if (shown < {pictures}) video.requestVideoFrameCallback(count); else done(shown); }};
            video.requestVideoFrameCallback(count);
            setTimeout(() => done(shown), 18000);
        }})"
    )
}

/// The signed page of the private channel, good for `secs`.
fn signed_page(daemon: &Daemon, secs: u32) -> String {
    let secs = secs.to_string();
    let command = &mut sluicegate();
    command.args(["sign", "play", "vault", "safe", "--page", "--raw", "--expires", &secs, "--url"]);
    command.arg(daemon.url("")).arg("--config").arg(daemon.config());
    Watched::run(command).expect_silence().stdout.trim().to_owned()
}

fn publish_signed(daemon: &Daemon, secs: u32) -> Watched {
    let command = &mut sluicegate();
    let base = format!("rtmp://127.0.0.1:{}", daemon.rtmp);
    command.args(["sign", "publish", "vault", "safe", "--raw", "--url", &base, "--config"]);
    let signed = Watched::run(command.arg(daemon.config())).expect_silence();
    publish_to(signed.stdout.trim(), secs, &[])
}

#[test]
fn a_page_outlives_the_daemon_and_its_camera_but_not_its_link() {
    let mut daemon = Daemon::start(VAULT);
    let mut publisher = publish_signed(&daemon, 120);
    let mut browser = Browser::start();
    browser.open(&signed_page(&daemon, 3600));
    browser.wait_for_text("status", "Playing");
    assert_eq!(browser.evaluate(&shown(25)), 25);

    daemon.process.kill();
    browser.wait_for_text("status", "cannot be reached|broke off");
    publisher.wait(SOON);
    daemon.restart();
    let mut publisher = publish_signed(&daemon, 120);
    browser.wait_for_text("status", "Playing");
    assert_eq!(browser.evaluate(&shown(25)), 25, "after the daemon came back");

    publisher.kill();
    browser.wait_for_text("status", "not sending|No new pictures|does not move|has ended");
    let _publisher = publish_signed(&daemon, 120);
    browser.wait_for_text("status", "Playing");
    assert_eq!(browser.evaluate(&shown(25)), 25, "after the camera came back");

    browser.open(&signed_page(&daemon, 8));
    browser.wait_for_text("status", "Playing");
    browser.wait_for_text("status", "has expired.*AccessDenied");
    browser.wait_until("!document.getElementById('again').hidden");
}

#[test]
fn chromium_plays_it_by_itself_as_well() {
    let daemon = Daemon::start(CAMS);
    let mut publisher = daemon.publish("cams/live/door", 120);
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/play?engine=native&src=/cams/door/playlist.m3u8"));
    browser.wait_for_text("status", "Playing");
    assert_eq!(browser.evaluate(&shown(50)), 50, "{:?}", browser.complaints);
    let source = browser.evaluate("document.querySelector('video').src");
    assert!(
        source.as_str().unwrap().ends_with("/cams/door/playlist.m3u8"),
        "not by hls.js: {source}"
    );
    browser.wait_for_text("picture", "^640 × 360$");
    publisher.signal("INT");
    publisher.wait(SOON);
    browser.wait_for_text("status", "not sending|has ended");
    let _publisher = daemon.publish("cams/live/door", 60);
    browser.wait_for_text("status", "Playing");
    assert_eq!(browser.evaluate(&shown(25)), 25, "after the camera came back");
}

#[test]
fn a_page_of_another_origin_may_frame_the_player_and_not_the_console() {
    let daemon = Daemon::start(CAMS);
    let _publisher = daemon.publish("cams/live/door", 120);
    wait_for("a segment", SOON * 2, || playlist(&daemon, DOOR));
    let mut browser = Browser::start();
    let page = daemon.config().with_file_name("page.html");
    let mut frame = |tail: &str| {
        let source = daemon.url(tail);
        let html = format!("<iframe src='{source}' width=640 height=360 allow=autoplay></iframe>");
        fs::write(&page, html).unwrap();
        browser.open(&format!("file://{}", page.display()));
    };
    // A frame of another origin is not looked into; what it fetches tells.
    let status =
        || -> Value { serde_json::from_slice(&get(daemon.http, "/-/status").body).unwrap() };
    let wait_for_viewers = |count: u64| {
        wait_for(&format!("{count} viewers"), SOON * 2, || {
            (status()["channels"][0]["viewers"] == count).then_some(())
        });
    };
    wait_for_viewers(0);
    frame("-/play?src=/cams/door/playlist.m3u8");
    wait_for_viewers(1);
    thread::sleep(Duration::from_secs(6));
    wait_for_viewers(1);
    // A console asks for its styles and scripts, and then every two seconds.
    frame("-/");
    let responses = || {
        let status = status();
        let classes = status["http"]["responses"].as_array().unwrap();
        classes.iter().map(|count| count.as_u64().unwrap()).sum::<u64>()
    };
    let before = responses();
    thread::sleep(Duration::from_secs(7));
    let answers = responses() - before;
    assert!(answers < 5, "{answers} answers, to a console that is framed");
}

#[test]
fn firefox_plays_and_comes_back() {
    let mut daemon = Daemon::start(VAULT);
    let mut publisher = publish_signed(&daemon, 120);
    let mut firefox = Firefox::start();
    firefox.open(&signed_page(&daemon, 3600));
    firefox.wait_for_text("status", "Playing");
    assert_eq!(firefox.run(&format!("return {}", shown(50))), 50);
    firefox.wait_for_text("picture", "^640 × 360$");
    firefox.wait_for_text("latency", r"^\d+\.\d s$");

    publisher.signal("INT");
    publisher.wait(SOON);
    firefox.wait_for_text("status", "not sending|has ended");
    let mut publisher = publish_signed(&daemon, 120);
    firefox.wait_for_text("status", "Playing");
    daemon.process.kill();
    firefox.wait_for_text("status", "cannot be reached|broke off");
    publisher.wait(SOON);
    daemon.restart();
    let _publisher = publish_signed(&daemon, 120);
    firefox.wait_for_text("status", "Playing");
    assert_eq!(firefox.run(&format!("return {}", shown(25))), 25, "after the daemon came back");

    firefox.open(&signed_page(&daemon, 8));
    firefox.wait_for_text("status", "has expired.*AccessDenied");
    firefox.open(&daemon.url("-/"));
    firefox.wait_for_text("live", "^1 of 1$");
}

/// How long the longest look at a playing page takes, in seconds: `SLUICEGATE_WATCH_SECS`, or long enough to see that it works.
fn watch_secs() -> u64 {
    std::env::var("SLUICEGATE_WATCH_SECS").map_or(20, |secs| secs.parse().unwrap())
}

/// Sound leads: `currentTime` is where the audio is, `mediaTime` which picture is shown with it.
#[test]
fn sound_and_picture_stay_together() {
    let secs = watch_secs();
    let daemon = Daemon::start(CAMS);
    let _publisher = daemon.publish("cams/live/door", u32::try_from(secs).unwrap() + 60);
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/play?src=/cams/door/playlist.m3u8"));
    browser.wait_for_text("status", "Playing");
    browser.evaluate(
        "{
            const video = document.querySelector('video');
            video.muted = false;
            globalThis.watched = { pictures: 0, minutes: [], stalls: 0, start: performance.now() };
            video.addEventListener('waiting', () => { watched.stalls += 1; });
            const look = (now, { mediaTime, expectedDisplayTime, presentedFrames }) => {
                watched.first ??= presentedFrames;
                watched.pictures = presentedFrames - watched.first;
                const apart = video.currentTime + (expectedDisplayTime - now) / 1000 - mediaTime;
                const minute = Math.floor((performance.now() - watched.start) / 60000);
                (watched.minutes[minute] ??= []).push(apart);
                video.requestVideoFrameCallback(look);
            };
            video.requestVideoFrameCallback(look);
        }",
    );
    let end = Instant::now() + Duration::from_secs(secs);
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(5).min(end - Instant::now()));
        assert_eq!(browser.evaluate("document.querySelector('video').paused"), false);
    }
    let watched = browser.evaluate(
        "(() => {
            const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];
            const seconds = (performance.now() - watched.start) / 1000;
            const { pictures, stalls } = watched;
            return { pictures, stalls, seconds, apart_s: watched.minutes.map(median), behind: document.getElementById('latency').textContent };
        })()",
    );
    eprintln!("{watched}");
    let number = |value: &Value| value.as_f64().unwrap();
    let apart: Vec<f64> = watched["apart_s"].as_array().unwrap().iter().map(number).collect();
    let drift = apart.iter().fold(f64::MIN, |a, b| a.max(*b))
        - apart.iter().fold(f64::MAX, |a, b| a.min(*b));
    // ITU-R BT.1359: nobody notices 45 ms of sound before its picture, nor 125 ms behind it.
    assert!(apart.iter().all(|apart| (-0.125..0.125).contains(apart)), "{watched}");
    assert!(drift < 0.040, "apart by another picture than at the start: {watched}");
    let rate = number(&watched["pictures"]) / number(&watched["seconds"]);
    assert!((23.0..27.0).contains(&rate), "{rate} pictures a second: {watched}");
}
