//! The player page in Chromium: what it shows, what it says, and what it asks the network for.

use super::{
    api::{STUDIO, call, signed, signed_publish_url},
    *,
};
use common::browser::Browser;

/// The player page for the door's camera.
fn page(daemon: &Daemon) -> String {
    daemon.url("-/play?src=/cams/door/playlist.m3u8")
}

#[test]
fn the_page_waits_for_the_camera_plays_and_waits_again() {
    let daemon = Daemon::start(CAMS);
    let mut browser = Browser::start();
    browser.open(&page(&daemon));
    browser.wait_for_text("status", "has not sent anything yet.*NoSuchKey");
    for _ in 0..2 {
        let mut publisher = daemon.publish("cams/live/door", 60);
        browser.wait_for_text("status", "Playing");
        let frames = browser.evaluate(
            "new Promise((done) => {
                let frames = 0;
                const count = () => { frames += 1; if (frames < 75) video.requestVideoFrameCallback(count); else done(frames); };
                video.requestVideoFrameCallback(count);
                setTimeout(() => done(frames), 15000);
            })",
        );
        assert_eq!(frames, 75, "pictures shown; the page complains of {:?}", browser.complaints);
        browser.wait_for_text("picture", "^640 × 360$");
        browser.wait_for_text("rate", r"^0\.\d\d Mbit");
        browser.wait_for_text("latency", r"^\d+\.\d s$");
        publisher.signal("INT");
        publisher.wait(SOON);
        browser.wait_for_text("status", "camera is not sending. The last pictures are from");
    }
    let own = daemon.url("");
    let foreign: Vec<_> = browser
        .requests
        .iter()
        .filter(|url| {
            !url.starts_with(&own) && !url.starts_with("blob:") && !url.starts_with("data:")
        })
        .collect();
    assert!(browser.requests.len() > 10 && foreign.is_empty(), "asked of others: {foreign:?}");
    let breaches: Vec<_> = browser.complaints.iter().filter(|text| !text.contains("404")).collect();
    assert!(breaches.is_empty(), "{breaches:?}");
}

#[test]
fn the_page_says_why_a_link_does_not_play() {
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let mut browser = Browser::start();
    let signed = |expires: &str| {
        let expired = format!("OSSAccessKeyId=LTAI5tTests&Expires={expires}&Signature=AAAA");
        format!("/vault/safe/playlist.m3u8?{expired}").replace('&', "%26").replace('?', "%3F")
    };
    let table = [
        ("/vault/safe/playlist.m3u8", "does not open the stream.*AccessDenied"),
        (&signed("1767225601"), "has expired.*AccessDenied"),
        (&signed("4000000000"), "was changed, or cut off.*SignatureDoesNotMatch"),
        ("/cellar/door/playlist.m3u8", "no such bucket.*NoSuchBucket"),
        ("javascript:alert(1)", "starts with javascript: cannot be played"),
        ("http://other.test/cams/door/playlist.m3u8", "on another address, other.test"),
        ("/-/play", "not a playlist"),
    ];
    for (src, sentence) in table {
        browser.open(&daemon.url(&format!("-/play?src={src}")));
        browser.wait_for_text("status", sentence);
        assert_eq!(
            browser.evaluate("document.getElementById('status').dataset.kind"),
            "bad",
            "{src}"
        );
    }
    assert!(
        !browser.requests.iter().any(|url| url.contains("other.test/")),
        "{:?}",
        browser.requests
    );

    browser.open(&daemon.url("-/play"));
    browser.wait_until(
        "!document.getElementById('form').hidden && document.getElementById('player').hidden",
    );
}

#[test]
fn a_recording_is_played_once() {
    let daemon = Daemon::start(STUDIO);
    publish_to(&signed_publish_url(&daemon, "fixed"), 4, &[]).finish(SOON).expect_silence();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let range = format!("endTime={}&startTime={}&vod", now + 60, now - 600);
    assert_eq!(call(&daemon, "POST", "fixed/v.m3u8", &range, "").status, 200);
    let recording = signed("GET", "fixed/v.m3u8", "fixed/v.m3u8", "x-oss-process=hls/sign");
    let recording = recording.replace('%', "%25").replace('&', "%26").replace('?', "%3F");
    let mut browser = Browser::start();
    for engine in ["hls.js", "native"] {
        browser.open(&daemon.url(&format!("-/play?engine={engine}&src={recording}")));
        browser.wait_for_text("status", "Playing");
        browser.wait_for_text("status", "The recording has ended");
        let asked = browser.requests.len();
        browser.evaluate("new Promise((resolve) => setTimeout(resolve, 5000))");
        browser.wait_for_text("status", "The recording has ended");
        assert_eq!(browser.requests[asked..], [""; 0], "{engine}");
        // Who wants to see it again can.
        browser.evaluate("document.getElementById('again').click()");
        browser.wait_for_text("status", "Playing");
    }
}
