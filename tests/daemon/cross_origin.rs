//! A page on another origin, in Chromium: CORS and Referer rules as browsers really apply them.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use super::*;
use common::browser::Browser;

/// A page that plays `src` with the gateway's own hls.js, and nothing else.
const PAGE: &str = r#"<!doctype html><title>elsewhere</title><video id="video" muted playsinline></video>
<script src="GATEWAY/-/files/any/hls-1.7.4.light.min.js"></script>
<script>
  const failures = [];
  function play(src) {
    const hls = new Hls();
    hls.on(Hls.Events.ERROR, (_, data) => {
      // Pictures that come late are the machine's, not the gateway's.
      if (data.details === Hls.ErrorDetails.BUFFER_STALLED_ERROR) return;
      failures.push(data.details + ' ' + (data.response ? data.response.code : ''));
    });
    hls.loadSource(src);
    hls.attachMedia(video);
    video.play();
  }
  const read = (src) => fetch(src).then(async (r) => r.status + ' ' + (await r.text()), (e) => 'blocked ' + e.name);
</script>"#;

/// Serves the page on a port of its own, which is an origin of its own, for as long as the test runs.
fn site(gateway: &str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = PAGE.replace("GATEWAY", gateway);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all((head + &page).as_bytes());
        }
    });
    port
}

/// A signed URL as `sluicegate sign` prints it.
fn sign(daemon: &Daemon, what: &[&str]) -> String {
    let url = format!("http://127.0.0.1:{}", daemon.http);
    let mut command = sluicegate();
    command.arg("sign").args(what).args(["--raw", "--url", &url, "--config"]).arg(daemon.config());
    Watched::run(&mut command).stdout.trim().to_owned()
}

/// A name that is not UTF-8 is refused by the bucket that it was asked of, in either address style.
#[test]
fn an_undecodable_name_is_answered_as_its_bucket_answers_everything() {
    let buckets = r#"
[[bucket]]
name = "vault"
hosts = ["vault.test"]
dynamic_channels = { max = 1, ring = "16MiB" }
  [bucket.cors]
  response_vary = true
    [[bucket.cors.rule]]
    allowed_origins = ["http://player.test"]
    allowed_methods = ["GET"]
"#;
    let daemon = Daemon::start(buckets);
    let mut connection = Connection::open(daemon.http);
    let (friend, stranger) = ("http://player.test", "http://stranger.test");
    let ask = ("Access-Control-Request-Method", "GET");
    let table = [
        ("GET", friend, 400, friend),
        ("GET", stranger, 400, ""),
        ("OPTIONS", friend, 200, friend),
        ("OPTIONS", stranger, 403, ""),
    ];
    for (method, origin, status, allow_origin) in table {
        for (host, target) in [("127.0.0.1", "/vault/%ff"), ("vault.test", "/%ff")] {
            let headers = [("Host", host), ("Origin", origin), ask];
            let reply = connection.request(method, target, &headers);
            assert_eq!(
                (reply.status, reply.header("access-control-allow-origin"), reply.header("vary")),
                (status, allow_origin, "Origin"),
                "{method} {host}{target} from {origin}"
            );
        }
    }
    // No bucket, no rules.
    let reply = connection.request("GET", "/cellar/%ff", &[("Origin", friend)]);
    assert_eq!((reply.status, reply.header("vary")), (404, ""));
}

#[test]
fn a_page_elsewhere_plays_a_private_bucket_and_reads_why_it_may_not() {
    let [http, rtmp] = free_ports();
    let gateway = format!("http://127.0.0.1:{http}");
    let friend = format!("http://127.0.0.1:{}", site(&gateway));
    let stranger = format!("http://127.0.0.1:{}", site(&gateway));
    let buckets = format!(
        r#"
[[bucket]]
name = "vault"
  [bucket.referer]
  allow_empty = false
  whitelist = ["{friend}"]
  [[bucket.cors.rule]]
  allowed_origins = ["{friend}"]
  allowed_methods = ["GET", "HEAD"]
  expose_headers = ["ETag"]
  [[bucket.cors.rule]]
  allowed_origins = ["{stranger}"]
  allowed_methods = ["GET"]
  [[bucket.live_channel]]
  name = "safe"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
"#
    );
    let daemon = Daemon::start_on(&buckets, [http, rtmp]);
    let publish = sign(&daemon, &["publish", "vault", "safe"]);
    let publish = publish.replace(&format!(":{http}/"), &format!(":{rtmp}/"));
    let _camera = publish_to(&publish, 120, &[]);
    let play = sign(&daemon, &["play", "vault", "safe"]);
    let mut browser = Browser::start();

    browser.open(&friend);
    wait_for("the first segment", SOON, || {
        browser
            .evaluate(&format!("read('{play}')"))
            .as_str()
            .unwrap()
            .starts_with("200")
            .then_some(())
    });
    browser.evaluate(&format!("play('{play}')"));
    browser.wait_until("video.currentTime > 3");
    assert_eq!(browser.evaluate("failures.join()"), "", "{:?}", browser.complaints);
    // What is refused can be read: a 403 with OSS's code, not a network error.
    let expired = sign(&daemon, &["play", "vault", "safe", "--expires", "0"]);
    thread::sleep(Duration::from_millis(1100));
    let answer = browser.evaluate(&format!("read('{expired}')"));
    assert!(
        answer.as_str().unwrap().starts_with("403 ") && answer.to_string().contains("expired"),
        "{answer}"
    );
    let answer = browser.evaluate(&format!("read('{gateway}/vault/safe/playlist.m3u8')"));
    assert!(answer.to_string().contains("AccessDenied"), "{answer}");
    browser.evaluate(&format!("play('{expired}')"));
    browser.wait_until("failures.join().includes('manifestLoadError 403')");

    // CORS lets this one read; its Referer is not on the list.
    browser.open(&stranger);
    let answer = browser.evaluate(&format!("read('{play}')"));
    assert!(answer.to_string().contains("denied by bucket referer policy"), "{answer}");

    // No rule names this one, so the browser keeps the answer from it.
    let third = format!("http://127.0.0.1:{}", site(&gateway));
    browser.open(&third);
    assert_eq!(browser.evaluate(&format!("read('{play}')")), "blocked TypeError");
}
