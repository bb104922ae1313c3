//! Who may publish, on which port and by which address, and who may watch.

use super::*;

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

#[test]
fn a_publisher_s_address_is_ipv4_s_also_where_the_socket_is_for_both() {
    let folder = Folder::new();
    let [http, rtmp] = free_ports();
    let config = common::write_config(&folder, CAMS, http, rtmp);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("127.0.0.1:", "[::]:")).unwrap();
    let _daemon = Watched::start(sluicegate().args(["serve", "--config"]).arg(&config));
    wait_for("the daemon", SOON, || TcpStream::connect(("127.0.0.1", rtmp)).ok());
    let _publisher = publish_to(&format!("rtmp://127.0.0.1:{rtmp}/cams/live/door"), 60, &[]);
    let status = wait_for("the publisher", SOON, || {
        Some(get(http, "/-/status").text().to_owned()).filter(|text| text.contains("Lavf"))
    });
    assert!(status.contains("\"127.0.0.1:") && !status.contains("ffff"), "{status}");
}
