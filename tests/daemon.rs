//! The real program on loopback: ffmpeg publishes and plays, and judges that share no code with the daemon look on.
//!
//! Needs ffmpeg, tstools and GStreamer; a test fails, and says so, where one is missing. `tests/run` installs them.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may ask for the time, and a panic is how it fails"
)]

use std::{
    fs,
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

mod common;

use common::{
    CLIP, Daemon, Folder, SOON, ffmpeg, free_ports,
    http::{Connection, Reply, get},
    playlist::Playlist,
    playlist_recorder::{Recorder, Recording},
    process::Watched,
    publish_to, sluicegate,
    transport_stream::Walker,
    wait_for,
};

/// A bucket that needs no signatures, with segments of one second.
const CAMS: &str = r#"
[[bucket]]
name = "cams"
acl = "public-read-write"
  [[bucket.live_channel]]
  name = "door"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
"#;

/// A bucket that needs signatures, and lets pages of one site play.
const VAULT: &str = r#"
[[bucket]]
name = "vault"
  [[bucket.cors.rule]]
  allowed_origins = ["http://player.test"]
  allowed_methods = ["GET", "HEAD"]
  [[bucket.live_channel]]
  name = "safe"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
"#;

const DOOR: &str = "/cams/door/playlist.m3u8";

// ---- What comes out is what went in ----

#[test]
fn a_stream_comes_out_frame_for_frame_as_it_went_in() {
    let daemon = Daemon::start(CAMS);
    let folder = Folder::new();
    let [sent, received] = ["sent.flv", "received.ts"]
        .map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let clips = ["-stream_loop", "-1", "-i", CLIP, "-t", "20", "-c", "copy"];
    Watched::run(ffmpeg().args(clips).arg(&sent)).expect_silence();

    let recording = Recording::start(daemon.http, DOOR);
    let url = format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp);
    let publish =
        ["-re", "-i", &sent, "-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", &url];
    Watched::run(ffmpeg().args(publish)).expect_silence();
    end_of(&daemon, DOOR);
    let recorder = recording.finish();
    assert_eq!(recorder.segments.len(), 20, "20 s in segments of 1 s");
    assert_eq!(
        recorder.discontinuities(),
        [],
        "the clip repeats its parameter sets, and they do not change"
    );
    walk(&recorder);

    fs::write(&received, recorder.joined()).unwrap();
    let pictures = [&sent, &received].map(|file| hashes(file, &["-map", "0:v"]));
    assert_eq!(pictures[0].len(), 500);
    assert_same("decoded pictures", &pictures[0], &pictures[1]);
    let sent = hashes(&sent, &["-map", "0:a", "-c", "copy"]);
    let received = hashes(&received, &["-map", "0:a", "-c", "copy", "-bsf:a", "aac_adtstoasc"]);
    assert_same("AAC frames", &sent, &received);
}

#[test]
fn every_demuxer_reads_every_segment_and_all_of_them_in_a_row() {
    let daemon = Daemon::start(CAMS);
    let recording = Recording::start(daemon.http, DOOR);
    daemon.publish("cams/live/door", 6).finish(Duration::from_secs(60)).expect_silence();
    end_of(&daemon, DOOR);
    let recorder = recording.finish();
    let folder = Folder::new();
    let segments = recorder.segments.values().map(|segment| segment.bytes.clone());
    for (number, bytes) in segments.chain([recorder.joined()]).enumerate() {
        let file = folder.path().join(format!("{number}.ts"));
        fs::write(&file, bytes).unwrap();
        let file = file.to_str().unwrap();
        Watched::run(ffmpeg().args(["-i", file, "-f", "null", "-"])).expect_silence();
        for tool in [["tsinfo", file].as_slice(), &["tsreport", "-b", file]] {
            let report = Watched::run(Command::new(tool[0]).args(&tool[1..]));
            let complains = ["!!!", "###"]
                .iter()
                .any(|mark| report.stdout.contains(mark) || report.stderr.contains(mark));
            assert!(report.status.success() && !complains, "{tool:?}: {report:?}");
            assert!(
                report.stdout.contains("Stream type 1b")
                    && report.stdout.contains("Stream type 0f")
                    || tool.len() > 2
            );
        }
        let gstreamer = "gst-launch-1.0 -q filesrc location=FILE ! tsdemux name=d \
                         d. ! queue ! h264parse ! fakesink d. ! queue ! aacparse ! fakesink";
        let parts: Vec<_> =
            gstreamer.split_whitespace().map(|part| part.replace("FILE", file)).collect();
        let debug = "mpegtsbase:3,mpegtspacketizer:3,tsdemux:3,h264parse:3,aacparse:3";
        Watched::run(Command::new(&parts[0]).args(&parts[1..]).env("GST_DEBUG", debug))
            .expect_silence();
    }
}

#[test]
fn ffmpeg_plays_a_running_stream_without_a_word_of_complaint() {
    let daemon = Daemon::start(CAMS);
    let _publisher = daemon.publish("cams/live/door", 60);
    wait_for("three segments", SOON, || {
        playlist(&daemon, DOOR).filter(|playlist| playlist.segments.len() >= 3)
    });
    Watched::run(ffmpeg().args([
        "-i",
        &daemon.url("cams/door/playlist.m3u8"),
        "-t",
        "8",
        "-f",
        "null",
        "-",
    ]))
    .expect_silence();
}

#[test]
fn video_alone_is_a_stream_of_one_track() {
    let daemon = Daemon::start(CAMS);
    let recording = Recording::start(daemon.http, DOOR);
    let publisher =
        publish_to(&format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp), 5, &["-an"]);
    publisher.finish(Duration::from_secs(60)).expect_silence();
    end_of(&daemon, DOOR);
    let recorder = recording.finish();
    assert_eq!(walk(&recorder), (125, 0));
}

// ---- Who may publish, and where ----

#[test]
fn both_ports_and_both_address_styles_take_publishers_and_viewers() {
    let daemon = Daemon::start(CAMS);
    let (http, rtmp) = (daemon.http, daemon.rtmp);
    let by_host = "rtmp://cams.gateway.test/live";
    let ways: [(String, &[&str]); 4] = [
        (format!("rtmp://127.0.0.1:{rtmp}/cams/live/door"), &[]),
        (format!("rtmp://127.0.0.1:{http}/cams/live/door"), &[]),
        (format!("rtmp://127.0.0.1:{rtmp}/live/door"), &["-rtmp_tcurl", by_host]),
        (
            format!("rtmp://127.0.0.1:{http}/live/door?playlistName=playlist.m3u8"),
            &["-rtmp_tcurl", by_host],
        ),
    ];
    let mut last = 0;
    for (url, options) in ways {
        publish_to(&url, 3, options).finish(Duration::from_secs(30)).expect_silence();
        let ended = wait_for("the stream's segments", SOON, || {
            playlist(&daemon, DOOR).filter(|playlist| playlist.is_ended && newest(playlist) > last)
        });
        last = newest(&ended);
        let by_host = Connection::open(http).request(
            "GET",
            "/door/playlist.m3u8",
            &[("Host", "cams.gateway.test")],
        );
        assert_eq!((by_host.status, by_host.text()), (200, get(http, DOOR).text()), "{url}");
    }
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start(CAMS);
    let mut first = daemon.publish("cams/live/door", 60);
    let start = wait_for("a playlist", SOON, || playlist(&daemon, DOOR));
    let second = daemon.publish("cams/live/door", 60).finish(SOON);
    assert!(!second.status.success() && !second.stderr.is_empty(), "{second:?}");
    wait_for("the first publisher's next segments", SOON, || {
        playlist(&daemon, DOOR).filter(|playlist| newest(playlist) >= newest(&start) + 2)
    });
    assert!(first.is_running());
    assert!(
        playlist(&daemon, DOOR).unwrap().segments.iter().all(|segment| !segment.is_discontinuity)
    );
}

#[test]
fn publishers_that_may_not_or_know_no_channel_are_refused() {
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let expired = "vault/live/safe?OSSAccessKeyId=LTAI5tTests&Expires=1767225601&Signature=AAAA";
    for tail in
        ["cams/live/attic", "cellar/live/door", "cams/other/door", "vault/live/safe", expired]
    {
        let refused = daemon.publish(tail, 60).finish(SOON);
        assert!(!refused.status.success() && !refused.stderr.is_empty(), "{tail}: {refused:?}");
    }
    assert_eq!(get(daemon.http, DOOR).status, 404);
}

#[test]
fn signed_urls_open_a_private_bucket_until_they_expire() {
    let daemon = Daemon::start(VAULT);
    let sign = |arguments: &[&str]| {
        let mut command = sluicegate();
        command
            .arg("sign")
            .args(arguments)
            .args(["vault", "safe", "--raw", "--config"])
            .arg(daemon.config());
        Watched::run(&mut command).expect_silence().stdout.trim().to_owned()
    };
    let [http, rtmp] = [("http", daemon.http), ("rtmp", daemon.rtmp)]
        .map(|(scheme, port)| format!("{scheme}://127.0.0.1:{port}"));
    let _publisher = publish_to(&sign(&["publish", "--url", &rtmp]), 60, &[]);
    let play = sign(&["play", "--url", &http]);
    let target = play.strip_prefix(&http).expect("a URL of the base that was asked for");
    let signed = wait_for("the playlist", SOON, || {
        Some(get(daemon.http, target)).filter(|reply| reply.status == 200)
    });
    for segment in Playlist::parse(signed.text()).unwrap().segments {
        assert_eq!(
            get(daemon.http, &format!("/vault/safe/{}", segment.uri)).status,
            200,
            "{}",
            segment.uri
        );
        let bare = segment.uri.split('?').next().unwrap();
        assert_refused(&get(daemon.http, &format!("/vault/safe/{bare}")), 403, "AccessDenied");
    }
    Watched::run(ffmpeg().args(["-i", &play, "-t", "4", "-f", "null", "-"])).expect_silence();
    assert_refused(&get(daemon.http, "/vault/safe/playlist.m3u8"), 403, "AccessDenied");
    assert_refused(
        &get(daemon.http, &target.replace("safe", "sage")),
        403,
        "SignatureDoesNotMatch",
    );

    let brief = sign(&["play", "--url", &http, "--expires", "1"]);
    let origin = [("Origin", "http://player.test")];
    let refused = wait_for("the URL to expire", SOON, || {
        let reply = Connection::open(daemon.http).request(
            "GET",
            brief.strip_prefix(&http).unwrap(),
            &origin,
        );
        Some(reply).filter(|reply| reply.status != 200)
    });
    assert_refused(&refused, 403, "AccessDenied");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "http://player.test",
        "the page may read why"
    );
}

// ---- Cuts, restarts, signals ----

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
        drop(publisher);
        daemon.kill_and_restart();
    }
    let before = playlist(&daemon, DOOR).expect("the window of before is served at once");
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
    let after = playlist(&daemon, DOOR).expect("the ring is read at the start");
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

// ---- HTTP ----

#[test]
fn objects_are_answered_as_http_and_oss_have_it() {
    let daemon = Daemon::start(CAMS);
    let port = daemon.http;
    daemon.publish("cams/live/door", 3).finish(SOON).expect_silence();
    let listed = end_of(&daemon, DOOR);
    let segment = format!("/cams/door/{}", listed.segments[0].uri);

    let whole = get(port, &segment);
    let total = whole.body.len();
    let etag = whole.header("etag").to_owned();
    let modified = whole.header("last-modified").to_owned();
    assert_eq!(
        (whole.status, whole.header("content-type"), whole.header("accept-ranges")),
        (200, "video/mp2t", "bytes")
    );
    let text = get(port, DOOR);
    assert!(
        ["application/vnd.apple.mpegurl", "application/x-mpegURL"]
            .contains(&text.header("content-type"))
    );
    assert!(text.header("cache-control").contains("no-cache"));
    for reply in [&whole, &text] {
        assert!(
            reply.header("date").ends_with("GMT") && reply.header("x-oss-request-id").len() == 24
        );
    }

    // One connection for all: each answer must end where it says it does.
    let mut connection = Connection::open(port);
    let last = format!("bytes {}-{}/{total}", total - 188, total - 1);
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let table: [(Headers<'_>, u16, &str, usize); 8] = [
        (&[("Range", "bytes=0-187")], 206, &format!("bytes 0-187/{total}"), 188),
        (&[("Range", "bytes=-188")], 206, &last, 188),
        (&[("Range", &format!("bytes={}-", total - 188))], 206, &last, 188),
        (&[("Range", "bytes=99999999-")], 200, "", total),
        (&[("Range", "bytes=0-1,5-6")], 200, "", total),
        (&[("Range", "bytes=0-187"), ("If-Range", "\"other\"")], 200, "", total),
        (&[("If-None-Match", &etag)], 304, "", 0),
        (&[("If-Modified-Since", &modified)], 304, "", 0),
    ];
    for (headers, status, content_range, length) in table {
        let reply = connection.request("GET", &segment, headers);
        assert_eq!(
            (reply.status, reply.header("content-range"), reply.body.len()),
            (status, content_range, length),
            "{headers:?}"
        );
        assert!(
            status != 206
                || whole.body.starts_with(&reply.body)
                || whole.body.ends_with(&reply.body)
        );
    }
    let beyond = [("Range", "bytes=99999999-"), ("x-oss-range-behavior", "standard")];
    assert_refused(&connection.request("GET", &segment, &beyond), 416, "InvalidRange");
    assert_refused(
        &connection.request("GET", &segment, &[("If-Match", "\"other\"")]),
        412,
        "PreconditionFailed",
    );
    let head = connection.request("HEAD", &segment, &[]);
    assert_eq!(
        (head.status, head.header("content-length"), head.header("etag")),
        (200, total.to_string().as_str(), etag.as_str())
    );
    let head = connection.request("HEAD", "/cams/none", &[]);
    assert!(head.status == 404 && !head.header("x-oss-err").is_empty());
    let packed = connection.request("GET", DOOR, &[("Accept-Encoding", "gzip")]);
    assert_eq!(
        (packed.header("content-encoding"), &packed.body[..2]),
        ("gzip", [0x1F, 0x8B].as_slice())
    );
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let daemon = Daemon::start(CAMS);
    let mut connection = Connection::open(daemon.http);
    let table = [
        ("/cams/door/playlist.m3u8", 404, "NoSuchKey"),
        ("/cams/door/1700000000000.ts", 404, "NoSuchKey"),
        ("/cams/attic/playlist.m3u8", 404, "NoSuchKey"),
        ("/cellar/door/playlist.m3u8", 404, "NoSuchBucket"),
        ("/cams/../sluicegate.toml", 404, "NoSuchKey"),
        ("/cams/door/../../sluicegate.toml", 404, "NoSuchKey"),
        ("/cams/door/%2e%2e/%2e%2e/sluicegate.toml", 404, "NoSuchKey"),
        ("/cams/door/..%2f..%2fsluicegate.toml", 404, "NoSuchKey"),
        ("/cams/door/playlist.m3u8%00.ts", 404, "NoSuchKey"),
        ("/cams/%FF%FE", 400, "InvalidObjectName"),
        ("/-/none", 404, "NoSuchKey"),
    ];
    for (target, status, code) in table {
        let reply = connection.request("GET", target, &[]);
        assert_eq!((reply.status, reply.element("Code")), (status, code), "{target}");
    }
}

#[test]
fn a_client_that_keeps_no_rule_hurts_itself_only() {
    let daemon = Daemon::start(CAMS);
    let raw = |bytes: &[u8]| {
        let mut connection = Connection::open(daemon.http);
        connection.send(bytes);
        connection
    };
    // A head without end: refused as soon as it is too long, and the connection closed.
    let mut endless = raw(format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(9000)).as_bytes());
    assert!((400..500).contains(&endless.receive(false).status));
    assert!(endless.is_closed());
    let mut garbage = raw(b"GARBAGE\r\n\r\n");
    assert!((400..500).contains(&garbage.receive(false).status));
    // Two lengths, or a length and chunks: where the body ends is anybody's guess, so nothing behind it is read.
    let lengths = "Content-Length: 3\r\nContent-Length: 4\r\n";
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    for header in [lengths, both] {
        let mut smuggler = raw(format!("GET /x HTTP/1.1\r\nHost: a\r\n{header}\r\nabc").as_bytes());
        assert!((400..500).contains(&smuggler.receive(false).status), "{header}");
        assert!(smuggler.is_closed(), "{header}");
    }
    // Half a head, and half an RTMP handshake, held open while others are served.
    let _slow = raw(b"GET / HTTP/1.1\r\nHo");
    let _half = raw(&[3; 700]);
    // Two requests at once get two answers in their order.
    let mut pipelined =
        raw(b"GET /cams/a HTTP/1.1\r\nHost: a\r\n\r\nGET /cellar/b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(pipelined.receive(false).element("Code"), "NoSuchKey");
    assert_eq!(pipelined.receive(false).element("Code"), "NoSuchBucket");
    let mut last = raw(b"GET /cams/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(last.receive(false).status, 404);
    assert!(last.is_closed());
}

// ---- Commands ----

#[test]
fn the_demonstration_plays_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let [http, rtmp] = free_ports();
    let address = |port: u16| format!("127.0.0.1:{port}");
    let mut demo = Watched::start(
        sluicegate()
            .args(["demo", "--http", &address(http), "--rtmp", &address(rtmp)])
            .env("TMPDIR", folder.path()),
    );
    let printed = wait_for("the addresses", SOON, || {
        Some(demo.stdout()).filter(|text| text.contains("rtmp://"))
    });
    let url = |part: &str| {
        let is_url = |word: &&str| word.contains("://") && word.contains(part);
        let mut words = printed.split([' ', '\n', '\'', '"']).filter(is_url);
        words.next().unwrap_or_else(|| panic!("no {part} in {printed}")).to_owned()
    };
    let base = format!("http://{}", address(http));
    let play = url("playlist.m3u8?");
    let page = url("/-/play?src=");
    wait_for("the stream", SOON, || {
        (get(http, play.strip_prefix(&base).unwrap()).status == 200).then_some(())
    });
    Watched::run(ffmpeg().args(["-i", &play, "-t", "4", "-f", "null", "-"])).expect_silence();
    assert_eq!(get(http, page.strip_prefix(&base).unwrap()).status, 200);
    demo.signal("INT");
    assert!(demo.wait(SOON).success(), "{}", demo.stderr());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "files are left behind");
}

#[test]
fn exit_codes_and_messages_tell_what_happened() {
    let folder = Folder::new();
    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "[listen]\nhtttp = []\n").unwrap();
    let bad = bad.to_str().unwrap();
    let table: [(&[&str], i32, &str, &str); 7] = [
        (&["--version"], 0, env!("CARGO_PKG_VERSION"), ""),
        (&["--help"], 0, "sluicegate serve", ""),
        (&[], 2, "", "--help"),
        (&["fly"], 2, "", "fly"),
        (&["serve", "--config", "/does/not/exist.toml"], 2, "", "/does/not/exist.toml"),
        (&["serve", "--config", bad], 2, "", "htttp"),
        (&["check", "--config", bad], 2, "", "htttp"),
    ];
    for (arguments, code, stdout, stderr) in table {
        let done = Watched::run(sluicegate().args(arguments));
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {done:?}");
        assert!(
            done.stdout.contains(stdout) && done.stderr.contains(stderr),
            "{arguments:?}: {done:?}"
        );
    }
    let daemon = Daemon::start(CAMS);
    Watched::run(sluicegate().arg("check").arg("--config").arg(daemon.config()));
    let second = Watched::run(sluicegate().arg("serve").arg("--config").arg(daemon.config()));
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(
        second.stderr.contains(&daemon.http.to_string()),
        "it says which address is taken: {}",
        second.stderr
    );
    assert!(TcpStream::connect(("127.0.0.1", daemon.http)).is_ok(), "the first one goes on");
}

// ---- Help ----

/// The playlist at `target`, if it is there.
fn playlist(daemon: &Daemon, target: &str) -> Option<Playlist> {
    let reply = get(daemon.http, target);
    (reply.status == 200).then(|| Playlist::parse(reply.text()).unwrap())
}

/// The playlist at `target` once its stream has ended.
fn end_of(daemon: &Daemon, target: &str) -> Playlist {
    wait_for("the end of the playlist", SOON, || {
        playlist(daemon, target).filter(|playlist| playlist.is_ended)
    })
}

/// The newest segment's media sequence number.
fn newest(playlist: &Playlist) -> u64 {
    playlist.numbered().last().map_or(0, |(sequence, _)| sequence)
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.element("Code")), (status, code), "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/xml");
}

/// ffmpeg's checksum of each frame that `file` comes to with these output options.
fn hashes(file: &str, output: &[&str]) -> Vec<String> {
    let mut command = ffmpeg();
    command.args(["-i", file]).args(output).args(["-f", "framehash", "-"]);
    let listed = Watched::run(&mut command).expect_silence().stdout;
    let frames = listed.lines().filter(|line| !line.starts_with('#'));
    frames.map(|line| line.split(',').nth(5).unwrap().trim().to_owned()).collect()
}

/// Fails the test at the first difference, and does not print a thousand checksums.
fn assert_same(what: &str, sent: &[String], received: &[String]) {
    let difference = sent.iter().zip(received).position(|(sent, received)| sent != received);
    assert!(
        difference.is_none() && sent.len() == received.len(),
        "{what}: {} sent, {} received, the first difference is at {difference:?}",
        sent.len(),
        received.len()
    );
}

/// Walks all recorded segments, compares what they hold with what the playlist says of them, and counts pictures and AAC frames.
fn walk(recorder: &Recorder) -> (usize, usize) {
    let mut walker = Walker::default();
    let mut previous: Option<(u64, u64)> = None;
    let (mut pictures, mut audio_frames) = (0, 0);
    for recorded in recorder.segments.values() {
        let entry = &recorded.entry;
        let held = walker.walk(&entry.uri, &recorded.bytes, entry.is_discontinuity);
        if let Some((start, duration_ms)) = previous.filter(|_| !entry.is_discontinuity) {
            let told = duration_ms * 90;
            let is = held.first_video_90k - start;
            assert!(
                is.abs_diff(told) <= 90,
                "{}: EXTINF of the segment before says {told} ticks, it is {is}",
                entry.uri
            );
        }
        previous = Some((held.first_video_90k, entry.duration_ms));
        pictures += held.pictures;
        audio_frames += held.audio_frames;
    }
    assert!(walker.faults.is_empty(), "\n{}", walker.faults.join("\n"));
    (pictures, audio_frames)
}
