//! Low latency: parts of the open segment, playlists that are held back until there is news, and what becomes of
//! both when the camera, the daemon or the player does not do as expected.

use super::*;
use common::{
    browser::Browser,
    playlist::{LowLatency, Part},
    publisher::Publisher,
};
use serde_json::Value;

/// A public and a private channel with parts of a third of a second.
pub(crate) const LOW: &str = r#"
[[bucket]]
name = "cams"
acl = "public-read-write"
  [[bucket.live_channel]]
  name = "door"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
  low_latency = { part = 0.33 }

[[bucket]]
name = "vault"
  [[bucket.live_channel]]
  name = "safe"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
  low_latency = { part = 0.33 }
"#;

/// How long a request is held for what does not come: 70 % of a target duration of one second.
const HELD_MIN: Duration = Duration::from_millis(700);
/// And what a busy machine adds.
const HELD_MAX: Duration = Duration::from_millis(2500);

/// What is wrong with the parts that a version of a playlist lists.
fn faults(playlist: &Playlist) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(LowLatency { part_target_ms, hold_back_ms, parts, hint }) = &playlist.low_latency
    else {
        return faults;
    };
    let mut fault = |text: String| faults.push(text);
    if *hold_back_ms < 3 * part_target_ms {
        fault(format!("PART-HOLD-BACK is {hold_back_ms} ms"));
    }
    let end = playlist.media_sequence + playlist.segments.len() as u64;
    for of in parts.chunk_by(|a, b| a.sequence == b.sequence) {
        let (sequence, mut first) = (of[0].sequence, 0);
        for part in of {
            if part.duration_ms > *part_target_ms || part.duration_ms == 0 {
                fault(format!("{part:?} is longer than its target, or nothing"));
            }
            if part.first != first || part.bytes == 0 || part.uri != of[0].uri {
                fault(format!("{part:?} does not begin where the one before ended, at {first}"));
            }
            first = part.first + part.bytes;
        }
        let longest = of.iter().map(|part| part.duration_ms).max().unwrap();
        // The end of a stream comes when it comes.
        let mut after = playlist.numbered().skip_while(|(number, _)| *number <= sequence);
        let is_last = after.next().is_none_or(|(_, segment)| segment.is_discontinuity);
        let of_alike = if is_last { &of[..of.len() - 1] } else { of };
        if of_alike.iter().any(|part| 2 * part.duration_ms < longest) {
            fault(format!("a part is less than half as long as another: {of:?}"));
        }
        if !of[0].is_independent {
            fault(format!("segment {sequence} does not start with a key frame"));
        }
        match playlist.numbered().find(|(number, _)| *number == sequence) {
            Some((_, segment)) => {
                let sum: u64 = of.iter().map(|part| part.duration_ms).sum();
                if segment.duration_ms.abs_diff(sum) > of.len() as u64 || segment.uri != of[0].uri {
                    fault(format!("parts of {sum} ms are not {segment:?}"));
                }
            }
            None if sequence != end => fault(format!("segment {sequence} is not listed")),
            None => {
                if hint.as_ref().is_some_and(|(uri, at)| *uri != of[0].uri || *at != first) {
                    fault(format!("{hint:?} is not behind the last part, which ends at {first}"));
                }
            }
        }
    }
    faults
}

/// Asks for `target` with these parameters, and says how long it took.
fn ask(connection: &mut Connection, target: &str, msn: u64, part: u64) -> (Reply, Duration) {
    let start = Instant::now();
    let mark = if target.contains('?') { '&' } else { '?' };
    let target = format!("{target}{mark}_HLS_msn={msn}&_HLS_part={part}");
    (connection.request("GET", &target, &[]), start.elapsed())
}

/// The playlist once it lists parts of the segment behind its last one.
fn with_parts(daemon: &Daemon, target: &str) -> Playlist {
    wait_for("parts of a segment", SOON, || {
        playlist(daemon, target).filter(|list| open_parts(list) > 0)
    })
}

/// How many parts it lists of the segment behind its last one.
fn open_parts(playlist: &Playlist) -> u64 {
    let end = playlist.media_sequence + playlist.segments.len() as u64;
    let parts = playlist.low_latency.iter().flat_map(|low| &low.parts);
    parts.filter(|part| part.sequence == end).count() as u64
}

/// The media sequence number and the part that a player asks for next.
fn next(playlist: &Playlist) -> (u64, u64) {
    (playlist.media_sequence + playlist.segments.len() as u64, open_parts(playlist))
}

/// The bytes of a part, as a player asks for them.
fn fetch(connection: &mut Connection, folder: &str, part: &Part) -> Reply {
    let range = format!("bytes={}-{}", part.first, part.first + part.bytes - 1);
    connection.request("GET", &format!("{folder}{}", part.uri), &[("Range", &range)])
}

/// Follows a playlist as a player does for `secs`: every version, every part. Comes to the parts with their bytes.
fn follow(daemon: &Daemon, target: &str, secs: u64) -> Vec<(Part, Vec<u8>)> {
    let folder = &target[..=target.split('?').next().unwrap().rfind('/').unwrap()];
    let mut connection = Connection::open(daemon.http);
    let mut parts: Vec<(Part, Vec<u8>)> = Vec::new();
    let mut list = with_parts(daemon, target);
    let end = Instant::now() + Duration::from_secs(secs);
    while Instant::now() < end {
        let (msn, part) = next(&list);
        let (reply, took) = ask(&mut connection, target, msn, part);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let newer = Playlist::parse(reply.text()).unwrap();
        assert_eq!(faults(&newer), [""; 0], "{}", reply.text());
        let is_there = next(&newer) > (msn, part);
        assert!(is_there || took >= HELD_MIN, "answered too early:\n{}", reply.text());
        for part in newer.low_latency.iter().flat_map(|low| &low.parts) {
            if parts.iter().any(|(known, _)| known == part) {
                continue;
            }
            let reply = fetch(&mut connection, folder, part);
            assert_eq!(reply.status, 206, "{part:?}: {}", String::from_utf8_lossy(&reply.body));
            assert_eq!(reply.body.len() as u64, part.bytes, "{part:?}");
            parts.push((part.clone(), reply.body));
        }
        assert!(newer.low_latency.is_some(), "parts go on:\n{}", reply.text());
        list = newer;
    }
    parts
}

#[test]
fn parts_are_listed_as_they_come_and_are_the_segments_that_they_become() {
    let daemon = Daemon::start(LOW);
    let _publisher = daemon.publish("cams/live/door", 60);
    let parts = follow(&daemon, DOOR, 6);
    let longest = parts.iter().map(|(part, _)| part.duration_ms).max().unwrap();
    assert!(parts.len() >= 16 && longest <= 330, "{} parts, up to {longest} ms", parts.len());
    let list = playlist(&daemon, DOOR).unwrap();
    let mut compared = 0;
    for (sequence, segment) in list.numbered() {
        let of: Vec<_> = parts.iter().filter(|(part, _)| part.sequence == sequence).collect();
        let whole = get(daemon.http, &format!("/cams/door/{}", segment.uri)).body;
        let joined: Vec<u8> = of.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        if of.first().is_some_and(|(first, _)| first.first == 0) && joined.len() == whole.len() {
            assert!(joined == whole, "segment {sequence} is not its parts, one behind the other");
            compared += 1;
        }
    }
    assert!(compared >= 3, "{compared} segments compared with their parts");
}

#[test]
fn many_wait_for_the_same_part_and_each_is_told_once_it_is_there() {
    let daemon = Daemon::start(LOW);
    let _publisher = daemon.publish("cams/live/door", 60);
    let (msn, part) = next(&with_parts(&daemon, DOOR));
    let start = Instant::now();
    let viewers: Vec<_> = (0..60)
        .map(|n| {
            let mut connection = Connection::open(daemon.http);
            let target = format!("{DOOR}?_HLS_msn={msn}&_HLS_part={part}");
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: h{n}\r\n\r\n").as_bytes());
            connection
        })
        .collect();
    for mut connection in viewers {
        let reply = connection.receive(false);
        let list = Playlist::parse(reply.text()).unwrap();
        let is_there = next(&list) > (msn, part);
        assert!(is_there || start.elapsed() >= HELD_MIN, "{}", reply.text());
    }
}

#[test]
fn a_request_for_what_does_not_come_is_answered_in_time() {
    let daemon = Daemon::start(LOW);
    let publisher = daemon.publish("cams/live/door", 60);
    with_parts(&daemon, DOOR);
    // It stays connected and is silent.
    publisher.signal("STOP");
    thread::sleep(Duration::from_millis(500));
    let list = playlist(&daemon, DOOR).unwrap();
    let (msn, part) = next(&list);
    let mut connection = Connection::open(daemon.http);
    for _ in 0..3 {
        let (reply, took) = ask(&mut connection, DOOR, msn, part);
        assert_eq!(reply.status, 200);
        assert_eq!(Playlist::parse(reply.text()).unwrap(), list, "as it was");
        assert!((HELD_MIN..HELD_MAX).contains(&took), "held for {took:?}");
    }
    // A part that was promised and does not come.
    let (uri, first) = list.low_latency.unwrap().hint.expect("a segment is open");
    let range = format!("bytes={first}-");
    let start = Instant::now();
    let target = format!("/cams/door/{uri}");
    let reply = connection.request("GET", &target, &[("Range", &range)]);
    assert_refused(&reply, 404, "NoSuchKey");
    let took = start.elapsed();
    assert!((HELD_MIN..HELD_MAX).contains(&took), "held for {took:?}");

    // Nonsense is refused at once.
    let far = msn + 3;
    for query in [format!("_HLS_msn={far}"), "_HLS_part=1".into(), "_HLS_msn=x".into()] {
        let reply = connection.request("GET", &format!("{DOOR}?{query}"), &[]);
        assert_refused(&reply, 400, "InvalidArgument");
    }
    // When it goes on, whoever waits is told, and the part that was promised is what comes.
    connection
        .send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nRange: {range}\r\n\r\n").as_bytes());
    publisher.signal("CONT");
    let reply = connection.receive(false);
    assert_eq!((reply.status, reply.body.first()), (206, Some(&0x47)));
}

#[test]
fn a_hole_in_the_stream_makes_no_part_longer_than_its_target() {
    let daemon = Daemon::start(LOW);
    let url = format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp);
    let mut publisher = Publisher::open(&url).unwrap();
    let (mut before, mut after) = (0, 0);
    for round in 0..45 {
        publisher.send_ms(200).unwrap();
        thread::sleep(Duration::from_millis(200));
        // In the middle of a group of pictures that is listed in parts.
        if round == 28 {
            publisher.skip_ms(450);
        }
        let Some(list) = playlist(&daemon, DOOR) else { continue };
        let too_long = |fault: &String| fault.contains("longer than its target");
        assert!(!faults(&list).iter().any(too_long), "{list:?}");
        let parts = list.low_latency.map_or(0, |low| low.parts.len());
        if round < 28 { before += parts } else { after += parts }
    }
    assert!(before > 20 && after > 0, "{before} and {after} parts were looked at");
}

#[test]
fn what_was_listed_before_a_reconnect_or_a_kill_is_not_mixed_with_what_comes_after() {
    let mut daemon = Daemon::start(LOW);
    let mut known: Vec<(Part, Vec<u8>)> = Vec::new();
    for round in 0..4 {
        let mut publisher = daemon.publish("cams/live/door", 60);
        for (part, bytes) in follow(&daemon, DOOR, 3) {
            // One name, one content, whatever happened in between.
            for (other, held) in known.iter().filter(|(other, _)| other.uri == part.uri) {
                assert_eq!(other.sequence, part.sequence, "{part:?}");
                assert!(other.first != part.first || held == &bytes, "{part:?} was {other:?}");
            }
            known.push((part, bytes));
        }
        if round % 2 == 0 {
            publisher.kill();
            continue;
        }
        // Between two parts of a segment that is not sealed.
        let open = with_parts(&daemon, DOOR);
        daemon.process.kill();
        publisher.wait(SOON);
        daemon.restart();
        let (lost, _) = open.low_latency.unwrap().hint.expect("a segment is open");
        let mut connection = Connection::open(daemon.http);
        let target = format!("/cams/door/{lost}");
        wait_for("the ring to be open", SOON, || {
            let reply = connection.request("GET", &target, &[("Range", "bytes=0-187")]);
            match (reply.status, known.iter().find(|(part, _)| part.uri == lost && part.first == 0))
            {
                (404, _) => Some(()),
                // The kernel had all of it: then it is the segment that was listed.
                (206, Some((_, bytes))) => {
                    assert_eq!(reply.body, bytes[..188]);
                    Some(())
                }
                _ => None,
            }
        });
    }
}

#[test]
fn a_camera_whose_key_frames_are_uneven_is_served_plainly_and_status_says_why() {
    let daemon = Daemon::start(LOW);
    let status = |daemon: &Daemon| -> Value {
        let all: Value = serde_json::from_slice(&get(daemon.http, "/-/status").body).unwrap();
        all["channels"][0].clone()
    };
    let mut publisher = daemon.publish("cams/live/door", 60);
    with_parts(&daemon, DOOR);
    assert_eq!(status(&daemon)["low_latency"]["state"], "parts");
    assert_eq!(status(&daemon)["hints"], Value::Array(vec![]));
    let mut command = sluicegate();
    let table = Watched::run(command.arg("status").arg("--config").arg(daemon.config()));
    assert!(table.stdout.contains("Live, LL"), "{}", table.stdout);
    publisher.kill();

    let mut uneven = ffmpeg();
    uneven.args(["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "60"]);
    uneven.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"]);
    uneven.args(["-force_key_frames", "expr:eq(mod(n,70),0)+eq(mod(n,70),25)", "-g", "100"]);
    uneven.args(["-f", "flv", &format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp)]);
    let _publisher = Watched::start(&mut uneven);
    wait_for("the reason", SOON, || {
        let status = status(&daemon);
        let hint =
            status["hints"].as_array().unwrap().iter().any(|hint| {
                hint.as_str().unwrap().contains("key frame interval (GOP) to a fixed 1 s")
            });
        (hint && status["low_latency"]["state"] == "plain").then_some(())
    });
    let list = wait_for("a plain playlist", SOON, || {
        playlist(&daemon, DOOR).filter(|list| list.low_latency.is_none())
    });
    // Whoever asks for parts of it is not held.
    let (msn, _) = next(&list);
    let (reply, took) = ask(&mut Connection::open(daemon.http), DOOR, msn, 0);
    assert!(reply.status == 200 && took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn every_address_of_a_signed_playlist_is_signed_and_its_parameters_change_nothing() {
    let daemon = Daemon::start(LOW);
    let sign = |what: &str, base: &str| {
        let mut command = sluicegate();
        command.args(["sign", what, "vault", "safe", "--raw", "--url", base, "--config"]);
        let signed = Watched::run(command.arg(daemon.config())).expect_silence();
        signed.stdout.trim().to_owned()
    };
    let publish_url = sign("publish", &format!("rtmp://127.0.0.1:{}", daemon.rtmp));
    let _publisher = publish_to(&publish_url, 60, &[]);
    let play_url = sign("play", &daemon.url(""));
    let target = &play_url[play_url.find("/vault").unwrap()..];
    let parts = follow(&daemon, target, 4);
    assert!(parts.len() >= 8 && parts.iter().all(|(part, _)| part.uri.contains("Signature=")));
    let list = with_parts(&daemon, target);
    let low = list.low_latency.clone().unwrap();
    let (uri, first) = low.hint.expect("a segment is open");
    let mut connection = Connection::open(daemon.http);
    let mut part = |uri: &str, first: u64| {
        let range = format!("bytes={first}-");
        connection.request("GET", &format!("/vault/safe/{uri}"), &[("Range", &range)]).status
    };
    assert_eq!(part(&uri, first), 206, "the part that was promised, once it is there");
    let name = uri.split('?').next().unwrap();
    assert_eq!(part(name, 0), 403, "without a signature");
    let other = low.parts.iter().find(|part| !part.uri.starts_with(name)).unwrap();
    let stolen = format!("{name}?{}", other.uri.split_once('?').unwrap().1);
    assert_eq!(part(&stolen, 0), 403, "with another segment's");
    // A request that is not let in does not wait either.
    let (msn, part) = next(&list);
    let unsigned = target.split('?').next().unwrap();
    let (reply, took) = ask(&mut connection, unsigned, msn + 1, part);
    assert_refused(&reply, 403, "AccessDenied");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

/// Whoever knows nothing of parts plays the same address.
#[test]
fn a_page_that_is_opened_at_any_moment_plays() {
    // Two key frames a segment: a player must not begin at the second, behind which there is no PAT.
    let daemon = Daemon::start(&LOW.replace("frag_duration = 1", "frag_duration = 2"));
    let _camera = daemon.publish("cams/live/door", 300);
    with_parts(&daemon, DOOR);
    let mut browser = Browser::start();
    for turn in 0..8 {
        browser.open("about:blank");
        thread::sleep(Duration::from_millis(230 * turn));
        browser.open(&daemon.url(&format!("-/play?src={DOOR}")));
        browser.wait_for_text("status", "Playing with low latency");
        browser.wait_until("document.querySelector('video').currentTime > 0.5");
    }
    let playlist = playlist(&daemon, DOOR).unwrap();
    let parts = playlist.low_latency.unwrap().parts;
    assert!(parts.iter().all(|part| part.is_independent == (part.first == 0)), "{parts:?}");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn plain_players_play_it_as_ever() {
    let daemon = Daemon::start(LOW);
    let _publisher = daemon.publish("cams/live/door", 120);
    wait_for("three segments and parts", SOON, || {
        let list = with_parts(&daemon, DOOR);
        (list.segments.len() >= 3).then_some(())
    });
    let url = daemon.url("cams/door/playlist.m3u8");
    Watched::run(ffmpeg().args(["-i", &url, "-t", "8", "-f", "null", "-"])).expect_silence();
    let mut gstreamer = Command::new("gst-launch-1.0");
    gstreamer.args(["-v", "souphttpsrc", &format!("location={url}"), "!", "hlsdemux", "!"]);
    gstreamer.args(["tsdemux", "!", "h264parse", "!", "fakesink", "silent=false"]);
    let gstreamer = Watched::start(&mut gstreamer);
    wait_for("GStreamer to play 150 pictures", SOON * 2, || {
        let pictures = gstreamer.stdout().matches("= chain").count();
        (pictures >= 150).then_some(())
    });
    assert_eq!(gstreamer.stderr(), "");
    let mut browser = Browser::start();
    browser.open(&daemon.url("-/play?engine=native&src=/cams/door/playlist.m3u8"));
    browser.wait_for_text("status", "Playing.$");
    let at = "document.querySelector('video').currentTime";
    let start = browser.evaluate(at).as_f64().unwrap();
    browser.wait_until(&format!("{at} > {}", start + 4.0));
    assert_eq!(browser.complaints, [""; 0]);
}
