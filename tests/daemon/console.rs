//! The console in Chromium: what it shows, what it plays, what it says when it is refused or alone; and what axe-core,
//! which looks for what keeps people out, thinks of both pages.

use super::*;
use common::browser::Browser;

/// A camera whose key frames come every three seconds, where segments of one are asked for.
fn publish_long_gop(daemon: &Daemon) -> Watched {
    let url = format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp);
    let source = "testsrc2=size=320x180:rate=10";
    Watched::start(
        ffmpeg()
            .args([
                "-re",
                "-f",
                "lavfi",
                "-i",
                source,
                "-t",
                "90",
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
            ])
            .args([
                "-g",
                "30",
                "-keyint_min",
                "30",
                "-sc_threshold",
                "0",
                "-pix_fmt",
                "yuv420p",
                "-f",
                "flv",
                &url,
            ]),
    )
}

/// The text of the first card, or of what `selector` finds in it; undefined before the page has a card.
fn card(selector: &str) -> String {
    format!("document.querySelector('.card {selector}')?.textContent")
}

/// The address of the console with a right, below the daemon's.
fn console_link(daemon: &Daemon) -> String {
    let link = Watched::run(
        sluicegate().args(["sign", "console", "--raw", "--config"]).arg(daemon.config()),
    );
    let (_, query) = link.stdout.trim().split_once('?').unwrap();
    format!("-/?{query}")
}

#[test]
fn the_console_shows_a_channel_and_plays_it() {
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let mut browser = Browser::start();
    browser.open(&daemon.url(&console_link(&daemon)));
    browser.wait_until(&format!("{} === 'Idle'", card(".pill")));
    browser.wait_until(&format!("{} === 'Nothing to play'", card(".start")));
    let _publisher = publish_long_gop(&daemon);
    browser.wait_until(&format!("{} === 'Live'", card(".pill")));
    browser.wait_until(&format!("/320 × 180, 10 fps.*every 3.0 s/.test({})", card(".facts")));
    browser.wait_until(&format!(
        "/every 3 s, so segments last 3 s instead of 1/.test({})",
        card(".notes")
    ));
    browser.wait_until("document.querySelectorAll('.card .bar').length > 1");
    browser.wait_for_text("live", "^1 of 2$");
    browser.wait_for_text("health", "^Healthy$");

    browser.evaluate("document.querySelector('.card .start').click()");
    let frames = browser.evaluate(
        "new Promise((done) => {
            const video = document.querySelector('.card video');
            let frames = 0;
            const count = () => { frames += 1; if (frames < 20) video.requestVideoFrameCallback(count); else done(frames); };
            video.requestVideoFrameCallback(count);
            setTimeout(() => done(frames), 18000);
        })",
    );
    assert_eq!(frames, 20, "pictures shown; the page complains of {:?}", browser.complaints);
    browser.wait_until(&format!("/Viewers1/.test({})", card(".facts")));
    browser.evaluate("document.querySelector('.card .stop').click()");
    browser.wait_until("document.querySelector('.card video').hidden");

    // It was opened by a link, so what is private comes signed, and says until when.
    let publish = "document.querySelectorAll('.card')[1].querySelector('input').value";
    let url = browser.evaluate(publish);
    assert!(url.as_str().unwrap().contains("/vault/live/safe?OSSAccessKeyId="), "{url}");
    browser.wait_until("/Signed until/.test(document.querySelectorAll('.card')[1].textContent)");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    let own = daemon.url("");
    let is_foreign = |url: &&String| {
        !url.starts_with(&own) && !url.starts_with("blob:") && !url.starts_with("data:")
    };
    assert_eq!(browser.requests.iter().filter(is_foreign).count(), 0, "{:?}", browser.requests);
}

#[test]
fn the_console_says_why_it_is_empty() {
    let mut daemon = Daemon::start(VAULT);
    let mut browser = Browser::start();
    // A name that leads to this box is not how this box asks; so this is somebody from afar.
    let afar = |tail: &str| format!("http://gateway.localhost:{}{tail}", daemon.http);
    browser.open(&afar("/"));
    browser.wait_for_text("trouble", "console needs a signed link.*sluicegate sign console");
    browser.wait_for_text("health", "Refused");
    browser.open(&afar(&format!("/{}", console_link(&daemon))));
    browser.wait_for_text("health", "Healthy");
    // It comes back by itself.
    daemon.process.kill();
    browser.wait_for_text("trouble", "gateway cannot be reached");
    daemon.restart();
    browser.wait_for_text("health", "Healthy");
    browser.wait_until("document.getElementById('trouble').hidden");
}

#[test]
fn under_a_buckets_own_name_the_console_plays_that_bucket_and_says_so_of_the_others() {
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let _publisher = daemon.publish("cams/live/door", 60);
    let mut browser = Browser::start();
    let console = console_link(&daemon);
    browser.open(&format!("http://cams.localhost:{}/{console}", daemon.http));
    browser.wait_until(&format!("{} === 'Play'", card(".start")));
    browser.evaluate("document.querySelector('.card .start').click()");
    browser.wait_until(&format!("/^Playing/.test({})", card(".say")));
    let others = "document.querySelectorAll('.card')[1]";
    browser.wait_until(&format!("/another bucket's/.test({others}.innerText)"));
    browser.wait_until(&format!(
        "{others}.querySelector('.start').disabled && {others}.querySelector('details').hidden"
    ));
    browser.open(&format!("http://gateway.localhost:{}/{console}", daemon.http));
    browser.wait_until(&format!("{others}?.querySelector('details').hidden === false"));
    assert_eq!(browser.evaluate(&format!("/another bucket's/.test({others}.innerText)")), false);
}

/// What makes the page's `fetch` answer by `body`, an async function of the gateway's answer; `whole` is the usual one.
fn answering(body: &str) -> String {
    format!(
        "{{
            globalThis.whole ??= fetch;
            globalThis.fetch = async (url, options) => {{
                const reply = await whole(url, options);
                return ({body})(reply, url, options?.signal);
            }};
        }}"
    )
}

/// An answer whose body breaks off.
const CUT: &str = "async ({ status }) => new Response(new ReadableStream({
    start: (body) => body.enqueue(new TextEncoder().encode('{')),
    pull: (body) => body.error(new TypeError('cut off')),
}), { status })";

#[test]
fn a_player_that_is_stopped_while_it_connects_stays_stopped() {
    let daemon = Daemon::start(CAMS);
    let _publisher = daemon.publish("cams/live/door", 60);
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/"));
    browser.wait_until(&format!("{} === 'Play'", card(".start")));
    browser.evaluate(&answering(
        "async (reply, url) => {
            if (String(url).includes('.m3u8')) await new Promise((resolve) => { globalThis.answer = resolve; });
            return reply;
        }",
    ));
    browser.evaluate("document.querySelector('.card .start').click()");
    browser.wait_until("Boolean(globalThis.answer)");
    browser.evaluate("document.querySelector('.card .stop').click(); answer()");
    let asked = browser.requests.len();
    browser.evaluate("new Promise((resolve) => setTimeout(resolve, 4000))");
    assert_eq!(browser.evaluate("document.querySelector('.card video').src"), "");
    let asked = &browser.requests[asked..];
    assert!(asked.iter().all(|url| url.ends_with("/-/status")), "{asked:?}");
}

#[test]
fn pages_outlive_an_answer_that_breaks_off() {
    let daemon = Daemon::start(CAMS);
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/"));
    browser.wait_for_text("health", "Healthy");
    browser.evaluate(&answering(CUT));
    browser.wait_for_text("health", "Not reached");
    browser.wait_for_text("trouble", "gateway cannot be reached");
    browser.evaluate("fetch = whole");
    browser.wait_for_text("health", "Healthy");

    browser.open(&daemon.url("-/play?src=/cams/door/playlist.m3u8"));
    browser.wait_for_text("status", "has not sent anything yet");
    browser.evaluate(&answering(CUT));
    browser.wait_for_text("status", "gateway cannot be reached");
    browser.evaluate("fetch = whole");
    browser.wait_for_text("status", "has not sent anything yet");
}

#[test]
fn the_console_does_not_call_a_gateway_healthy_that_does_not_answer() {
    let daemon = Daemon::start(CAMS);
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/"));
    browser.wait_for_text("health", "Healthy");
    daemon.process.signal("STOP");
    browser.wait_for_text("health", "Not reached");
    daemon.process.signal("CONT");
    browser.wait_for_text("health", "Healthy");
}

#[test]
fn an_answer_that_comes_slowly_is_waited_for() {
    let daemon = Daemon::start(CAMS);
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/"));
    browser.wait_for_text("health", "Healthy");
    // Nearly twice what the gateway may be silent for, in pieces.
    browser.evaluate(&answering(
        "async (reply, url, signal) => {
            const bytes = new Uint8Array(await reply.arrayBuffer());
            const piece = Math.ceil(bytes.length / 6);
            let at = 0;
            return new Response(new ReadableStream({
                start: (body) => signal?.addEventListener('abort', () => body.error(signal.reason)),
                pull: async (body) => {
                    await new Promise((resolve) => setTimeout(resolve, 3000));
                    body.enqueue(bytes.slice(at, (at += piece)));
                    if (at < bytes.length) return;
                    body.close();
                    globalThis.slowly = true;
                },
            }));
        }",
    ));
    browser.wait_until(
        "globalThis.slowly || document.getElementById('health').textContent !== 'Healthy'",
    );
    browser.wait_for_text("health", "Healthy");
    assert_eq!(browser.evaluate("globalThis.slowly"), true);
}

#[test]
fn the_first_channel_takes_the_place_of_the_word_that_there_is_none() {
    let (bucket, channel) = CAMS.split_once("  [[bucket.live_channel]]").unwrap();
    let daemon = Daemon::start(bucket);
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/"));
    let says = |what: &str| {
        format!("/no channel yet/.test(document.querySelector('main').innerText) === {what}")
    };
    browser.wait_until(&says("true"));
    let text = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), format!("{text}  [[bucket.live_channel]]{channel}")).unwrap();
    daemon.process.signal("HUP");
    browser.wait_until("document.querySelectorAll('.card').length === 1");
    browser.wait_until(&says("false"));
    fs::write(daemon.config(), text).unwrap();
    daemon.process.signal("HUP");
    browser.wait_until(&says("true"));
    assert_eq!(browser.evaluate("document.querySelectorAll('.card').length"), 0);
}

#[test]
fn what_the_pages_are_made_of_is_fetched_once() {
    let daemon = Daemon::start(CAMS);
    for page in ["/-/play", "/-/"] {
        let reply = get(daemon.http, page);
        assert_eq!((reply.status, reply.header("cache-control")), (200, "no-cache"), "{page}");
        let again = |etag: &str| {
            Connection::open(daemon.http).request("GET", page, &[("If-None-Match", etag)]).status
        };
        assert_eq!((again(reply.header("etag")), again("\"0\"")), (304, 200), "{page}");
        let files = reply.text().split('"').filter(|quoted| quoted.starts_with("/-/files/"));
        let mut named = 0;
        for file in files {
            let reply = get(daemon.http, file);
            assert_eq!(reply.status, 200, "{file}");
            assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
            assert!(!reply.header("etag").is_empty() && !reply.body.is_empty(), "{file}");
            named += 1;
        }
        assert!(named >= 4, "{page} names {named} files");
    }
}

#[test]
fn nobody_is_kept_out_of_the_pages() {
    let axe =
        concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("axe-core is not there (tests/run installs it)");
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let _publisher = publish_long_gop(&daemon);
    wait_for("a segment", SOON * 2, || playlist(&daemon, DOOR));
    let mut browser = Browser::start();
    for (tail, seen) in [
        ("-/", "document.querySelector('.card .notes li')"),
        (
            "-/play?src=/cams/door/playlist.m3u8",
            "document.getElementById('status').dataset.kind === 'live'",
        ),
        ("-/play?src=/vault/safe/playlist.m3u8", "!document.getElementById('again').hidden"),
        ("-/play", "!document.getElementById('form').hidden"),
    ] {
        browser.open(&daemon.url(tail));
        browser.wait_until(&format!("Boolean({seen})"));
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            browser.evaluate(&axe);
            let faults = browser.evaluate(
                "axe.run().then(({ violations }) => violations
                    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
                    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`))",
            );
            assert_eq!(faults, serde_json::json!([]), "{tail}, {scheme}");
        }
    }
}
