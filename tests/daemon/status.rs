//! What the daemon tells of itself: health, figures, and who may see them.

use super::*;
use serde_json::Value;

fn status(daemon: &Daemon) -> Value {
    let reply = get(daemon.http, "/-/status");
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    serde_json::from_slice(&reply.body).unwrap()
}

/// Asks as somebody from elsewhere: under a name, which this box itself is not asked by.
fn from_afar(daemon: &Daemon, target: &str) -> Reply {
    Connection::open(daemon.http).request("GET", target, &[("Host", "gateway.lan")])
}

fn run(daemon: &Daemon, arguments: &[&str]) -> String {
    let command = &mut sluicegate();
    command.args(arguments).arg("--config").arg(daemon.config());
    Watched::run(command).expect_silence().stdout
}

/// Path and query of a signed address that the program prints.
fn signed(daemon: &Daemon, arguments: &[&str]) -> String {
    let url = run(daemon, &[&["sign"], arguments, &["--raw"]].concat());
    let (_, rest) = url.trim().split_once("://").unwrap();
    rest[rest.find('/').unwrap()..].to_owned()
}

#[test]
fn every_figure_is_there_while_a_camera_streams() {
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let idle = status(&daemon);
    assert_eq!(idle["channels"][0]["status"], "Idle");
    assert_eq!(idle["channels"][0]["video"], Value::Null);

    let _publisher = daemon.publish("cams/live/door", 60);
    let live = wait_for("four segments", SOON * 2, || {
        playlist(&daemon, DOOR);
        let status = status(&daemon);
        (status["channels"][0]["counts"]["segments"].as_u64() >= Some(4)
            && status["channels"][0]["video"]["bytes_per_s"].as_u64() > Some(0))
        .then_some(status)
    });
    assert_eq!(live["health"]["status"], "pass");
    assert_eq!(live["connections"]["publishers"], 1);
    let memory = &live["memory"];
    assert!(memory["resident_bytes"].as_u64() > Some(1 << 20), "{memory}");
    assert!(memory["budget_bytes"].as_u64() <= memory["limit_bytes"].as_u64(), "{memory}");

    let door = &live["channels"][0];
    assert_eq!(door["status"], "Live");
    assert_eq!((&door["bucket"], &door["channel"]), (&"cams".into(), &"door".into()));
    let video = &door["video"];
    assert_eq!((&video["width"], &video["height"]), (&640.into(), &360.into()));
    assert_eq!((&video["codec"], &video["frame_rate"]), (&"H264".into(), &25.0.into()));
    assert_eq!((&video["gop_shortest_ms"], &video["gop_longest_ms"]), (&1000.into(), &1000.into()));
    assert_eq!(
        (&door["audio"]["codec"], &door["audio"]["sample_rate_hz"]),
        (&"AAC".into(), &48000.into())
    );
    assert_eq!(door["counts"]["timestamps_restamped"], 0);
    assert_eq!(door["newest_segment"]["duration_ms"], 1000);
    assert!(door["newest_segment"]["age_ms"].as_u64() < Some(5_000), "{door}");
    assert_eq!((&door["viewers"], &door["is_late"]), (&1.into(), &false.into()));
    assert!(door["publisher"]["remote_addr"].as_str().unwrap().starts_with("127.0.0.1:"), "{door}");
    let ring = &door["ring"];
    assert_eq!(ring["state"], "ready");
    assert!(
        ring["used_bytes"].as_u64() > Some(0) && ring["span_ms"].as_u64() >= Some(4000),
        "{ring}"
    );
    assert!(ring["seals"].as_u64() >= Some(4), "one sync per segment: {ring}");
    let covered = ring["timeline"]["slot_covered_permille"].as_array().unwrap();
    assert!(covered.iter().any(|permille| *permille == 1000), "{ring}");

    let table = run(&daemon, &["status"]);
    let line = table.lines().find(|line| line.starts_with("cams/door")).unwrap();
    for part in
        ["Live", "127.0.0.1:", "H264 640x360 25 fps", "Mbit/s", "AAC 48.0 kHz", "1.0 s", " ago"]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
    let json: Value = serde_json::from_str(&run(&daemon, &["status", "--json"])).unwrap();
    assert_eq!(json["channels"][1]["channel"], "safe");

    let mut watching =
        Watched::start(sluicegate().args(["status", "--watch", "--config"]).arg(daemon.config()));
    wait_for("the second table", SOON, || {
        (watching.stdout().matches("cams/door").count() >= 2).then_some(())
    });
    assert!(watching.is_running());
}

#[test]
fn the_metrics_are_as_prometheus_wants_them() {
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let _publisher = daemon.publish("cams/live/door", 60);
    wait_for("a segment", SOON * 2, || playlist(&daemon, DOOR));
    assert_refused(&get(daemon.http, "/vault/safe/playlist.m3u8"), 403, "AccessDenied");
    let refused = daemon.publish("vault/live/safe", 5);
    assert!(!refused.finish(SOON).status.success());
    let nobody = daemon.publish("cams/live/nobody", 5);
    assert!(!nobody.finish(SOON).status.success());

    let reply = get(daemon.http, "/-/metrics");
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let folder = Folder::new();
    let file = folder.path().join("metrics");
    fs::write(&file, &reply.body).unwrap();
    Watched::run(
        Command::new("sh").args(["-c", r#"promtool check metrics < "$1""#, "sh"]).arg(&file),
    )
    .expect_silence();

    let value = |sample: &str| {
        let line =
            reply.text().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is not there")).parse::<f64>().unwrap()
    };
    let door = r#"{bucket="cams",channel="door"}"#;
    for (sample, least) in [
        ("sluicegate_healthy".to_owned(), 1.0),
        (format!("sluicegate_channel_live{door}"), 1.0),
        (format!("sluicegate_segments_total{door}"), 1.0),
        (format!("sluicegate_flash_written_bytes_total{door}"), 10_000.0),
        (format!("sluicegate_ingest_video_frames_total{door}"), 25.0),
        (format!("sluicegate_ingest_clock_jumps_total{door}"), 0.0),
        ("sluicegate_flash_seal_seconds_count".to_owned(), 1.0),
        (r#"sluicegate_flash_seal_seconds_bucket{le="+Inf"}"#.to_owned(), 1.0),
        (r#"sluicegate_refusals_total{protocol="http",reason="acl"}"#.to_owned(), 1.0),
        (r#"sluicegate_refusals_total{protocol="rtmp",reason="acl"}"#.to_owned(), 1.0),
        (r#"sluicegate_refusals_total{protocol="rtmp",reason="channel"}"#.to_owned(), 1.0),
        (r#"sluicegate_http_responses_total{class="4xx"}"#.to_owned(), 1.0),
        ("sluicegate_http_sent_bytes_total".to_owned(), 100.0),
        ("process_resident_memory_bytes".to_owned(), 1_000_000.0),
    ] {
        assert!(value(&sample) >= least, "{sample} is {}", value(&sample));
    }
    assert_eq!(value(r#"sluicegate_channel_live{bucket="vault",channel="safe"}"#), 0.0);
}

#[test]
fn a_segment_that_does_not_come_is_told_to_everybody_without_a_name() {
    let daemon = Daemon::start(CAMS);
    let health = |status: u16| {
        wait_for(&format!("health {status}"), SOON * 2, || {
            let reply = from_afar(&daemon, "/-/health");
            (reply.status == status).then(|| reply.text().to_owned())
        })
    };
    assert_eq!(health(200).lines().count(), 1);
    let publisher = daemon.publish("cams/live/door", 60);
    wait_for("two segments", SOON * 2, || playlist(&daemon, DOOR).filter(|p| newest(p) >= 2));
    assert!(health(200).contains(r#""live_channels":1,"late_channels":0"#));
    // It stays connected and sends nothing: after 1.5 target durations it is late, after ten seconds given up.
    publisher.signal("STOP");
    let late = health(503);
    assert!(late.contains(r#""status":"fail""#) && late.contains(r#""late_channels":1"#), "{late}");
    assert!(!late.contains("door") && !late.contains("cams"), "{late}");
    assert_eq!(status(&daemon)["channels"][0]["is_late"], true);
    let table = run(&daemon, &["status"]);
    assert!(
        table.contains("cams/door: the next segment is late") && table.contains("NOT HEALTHY"),
        "{table}"
    );
    health(200);
}

#[test]
fn a_ring_that_cannot_be_opened_is_no_good_health() {
    let mut daemon = Daemon::start(CAMS);
    wait_for("the ring", SOON, || {
        (status(&daemon)["channels"][0]["ring"]["state"] == "ready").then_some(())
    });
    daemon.process.signal("TERM");
    daemon.process.wait(SOON);
    let ring = daemon.config().with_file_name("store/cams/door.ring");
    fs::write(&ring, vec![b'x'; 1 << 20]).unwrap();
    daemon.restart();
    wait_for("bad health", SOON, || (get(daemon.http, "/-/health").status == 503).then_some(()));
    let status = status(&daemon);
    assert_eq!(status["channels"][0]["ring"]["state"], "failed");
    assert!(
        status["channels"][0]["ring"]["fault"].as_str().unwrap().contains("door.ring"),
        "{status}"
    );
}

#[test]
fn the_console_is_for_whom_the_configuration_says() {
    let keyless = "[console]\naccess = \"open\"\n";
    for (console, unsigned, signed_link) in
        [("", false, true), ("[console]\naccess = \"off\"\n", false, false), (keyless, true, true)]
    {
        let daemon = Daemon::start(&format!("{console}{VAULT}"));
        let link = signed(&daemon, &["console"]);
        let query = link.strip_prefix("/-/").unwrap();
        for page in ["", "status", "metrics"] {
            let path = format!("/-/{page}");
            assert_eq!(get(daemon.http, &path).status, 200, "this box itself: {path}");
            for (target, is_let_in) in
                [(path.clone(), unsigned), (format!("{path}{query}"), signed_link)]
            {
                let reply = from_afar(&daemon, &target);
                if is_let_in {
                    assert_eq!(reply.status, 200, "{console:?} {target}");
                } else {
                    assert_refused(&reply, 403, "AccessDenied");
                }
            }
        }
        let metrics = signed(&daemon, &["metrics"]);
        assert_eq!(from_afar(&daemon, &metrics).status == 200, signed_link);
        let elsewhere = metrics.replace("metrics", "status");
        assert_eq!(from_afar(&daemon, &elsewhere).status, 403, "{console:?}");
    }
}

#[test]
fn urls_name_the_bucket_once_where_the_host_is_the_bucket() {
    let daemon = Daemon::start(&format!("[console]\naccess = \"open\"\n{CAMS}{VAULT}"));
    let query = signed(&daemon, &["console"]).replace("/-/", "");
    let urls = |host: &str, query: &str| {
        let target = format!("/-/status{query}");
        let reply = Connection::open(daemon.http).request("GET", &target, &[("Host", host)]);
        let status: Value = serde_json::from_slice(&reply.body).unwrap();
        [0, 1].map(|index| {
            let channel = &status["channels"][index];
            ["play_path", "publish_url"].map(|name| channel[name].as_str().unwrap().to_owned())
        })
    };
    let none = ["", ""].map(String::from);
    let [door, safe] = urls("cams.gateway.test:8080", "");
    let publish = format!("rtmp://cams.gateway.test:{}/live/door", daemon.rtmp);
    assert_eq!((door, safe), (["/door/playlist.m3u8".into(), publish], none.clone()));

    let host = "vault.gateway.test";
    let [door, [play, publish]] = urls(host, "");
    assert_eq!((door, play.as_str()), (none.clone(), "/safe/playlist.m3u8"));
    assert_eq!(publish, format!("rtmp://{host}:{}/live/safe", daemon.rtmp));
    let [door, [play, publish]] = urls(host, &query);
    assert_eq!(door, none);
    // Both are good there: the camera is let in by the one, and the player by the other.
    let tail = publish.strip_prefix(&format!("rtmp://{host}:{}/", daemon.rtmp)).unwrap();
    let url = format!("rtmp://127.0.0.1:{}/{tail}", daemon.rtmp);
    let by_host = format!("rtmp://{host}/live");
    let _publisher = publish_to(&url, 60, &["-rtmp_tcurl", &by_host]);
    wait_for("the signed playlist", SOON * 2, || {
        let reply = Connection::open(daemon.http).request("GET", &play, &[("Host", host)]);
        (reply.status == 200).then_some(())
    });
}

#[test]
fn urls_come_signed_for_who_has_a_right_and_no_longer_than_it_lasts() {
    let daemon = Daemon::start(&format!("[console]\naccess = \"open\"\n{VAULT}"));
    let query = signed(&daemon, &["console", "--expires", "600"]).replace("/-/", "");
    let safe = |target: &str| -> (Value, Value) {
        let reply = from_afar(&daemon, target);
        let status: Value = serde_json::from_slice(&reply.body).unwrap();
        (status["channels"][0].clone(), status["urls_expire_unix_s"].clone())
    };
    let (channel, expires) = safe("/-/status");
    assert_eq!((&channel["is_publish_url_unsigned"], &expires), (&true.into(), &Value::Null));
    assert_eq!(channel["play_path"], "/vault/safe/playlist.m3u8");
    let (channel, expires) = safe(&format!("/-/status{query}"));
    let link_expires = query.split('&').find_map(|part| part.strip_prefix("Expires=")).unwrap();
    assert_eq!(expires.to_string(), link_expires);
    let publish = channel["publish_url"].as_str().unwrap();
    assert!(
        publish.starts_with(&format!("rtmp://gateway.lan:{}/vault/live/safe?", daemon.rtmp)),
        "{publish}"
    );
    // Both are good: the camera is let in by the one, and the player by the other.
    let tail = publish.split_once("/vault").unwrap().1;
    let _publisher = daemon.publish(&format!("vault{tail}"), 60);
    let play = channel["play_path"].as_str().unwrap();
    wait_for("the signed playlist", SOON * 2, || playlist(&daemon, play));
}
