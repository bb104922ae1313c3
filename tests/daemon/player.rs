//! The player page in Chromium: what it shows, what it says, and what it asks the network for.

use super::*;
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
