//! The LiveChannel API, called by the vendor's SDKs and by clients that keep no rule.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::{
    clients::{KEY, expect_success, python},
    *,
};

/// A private bucket with a channel of the file's, where two more may be created.
pub(super) const STUDIO: &str = r#"
[[bucket]]
name = "studio"
dynamic_channels = { max = 2, ring = "16MiB" }
  [[bucket.live_channel]]
  name = "fixed"
  frag_duration = 1
  frag_count = 6
  ring = "16MiB"
"#;

/// Every call, and every error that OSS documents of it, as oss2's own exceptions.
fn every_call(version: &str) {
    let daemon = Daemon::start(STUDIO);
    let endpoint = format!("http://127.0.0.1:{}", daemon.http);
    let said = expect_success(
        python("live_channels.py").arg(endpoint).args(KEY).args(["studio", CLIP, version]),
    );
    assert!(said.ends_with("delete\n"), "{said}");
}

#[test]
fn every_live_channel_call_and_error_is_oss_s_signed_with_version_1() {
    every_call("1");
}

#[test]
fn every_live_channel_call_and_error_is_oss_s_signed_with_version_4() {
    every_call("4");
}

/// A LiveChannel configuration as a client sends it.
fn settings(playlist_name: &str) -> String {
    format!(
        "<LiveChannelConfiguration><Description>made</Description><Status>enabled</Status><Target><Type>HLS</Type>\
         <FragDuration>1</FragDuration><FragCount>6</FragCount><PlaylistName>{playlist_name}</PlaylistName></Target>\
         </LiveChannelConfiguration>"
    )
}

/// A request target with a V1 signature in it. `key` is percent-coded and may be empty; `subresources` are sorted.
pub(super) fn signed(method: &str, key: &str, decoded_key: &str, subresources: &str) -> String {
    signed_with_digest(method, "", key, decoded_key, subresources)
}

fn signed_with_digest(
    method: &str,
    md5: &str,
    key: &str,
    decoded_key: &str,
    subresources: &str,
) -> String {
    let expires = 4_000_000_000_u64;
    let text = format!("{method}\n{md5}\n\n{expires}\n/studio/{decoded_key}?{subresources}");
    let mut mac = Hmac::<Sha1>::new_from_slice(KEY[1].as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!(
        "/studio/{key}?{subresources}&OSSAccessKeyId={}&Expires={expires}&Signature={signature}",
        KEY[0]
    )
}

/// Calls the API on a connection of its own.
pub(super) fn call(
    daemon: &Daemon,
    method: &str,
    key: &str,
    subresources: &str,
    body: &str,
) -> Reply {
    let target = signed(method, key, key, subresources);
    send_request(daemon, method, &target, &format!("Content-Length: {}\r\n", body.len()), body)
        .receive(false)
}

fn send_request(
    daemon: &Daemon,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Connection {
    let mut connection = Connection::open(daemon.http);
    let head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n{body}");
    connection.send(head.as_bytes());
    connection
}

fn channel_names(daemon: &Daemon) -> Vec<String> {
    let list = call(daemon, "GET", "", "live", "");
    list.text().split("<Name>").skip(1).map(|rest| rest.split('<').next().unwrap().into()).collect()
}

#[test]
fn what_keeps_no_rule_is_refused_and_changes_nothing() {
    let daemon = Daemon::start(STUDIO);
    let target = signed("PUT", "new", "new", "live");
    let body = settings("a.m3u8");
    let put = |headers: &str, body: &str| send_request(&daemon, "PUT", &target, headers, body);
    let length = format!("Content-Length: {}\r\n", body.len());

    // The body's length: told by chunks, too large, or shorter than the body, of which the rest is no request then.
    assert_refused(
        &put("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").receive(false),
        411,
        "MissingContentLength",
    );
    assert_refused(&put("Content-Length: 65537\r\n", "").receive(false), 400, "EntityTooLarge");
    let mut short = put("Content-Length: 20\r\n", &body);
    assert_refused(&short.receive(false), 400, "MalformedXML");
    assert!((400..500).contains(&short.receive(false).status));
    assert!(short.is_closed());
    // None at all.
    assert_refused(&put("", "").receive(false), 400, "MalformedXML");
    // Another body than the one whose digest was signed.
    let md5 = "1B2M2Y8AsgTpgAmY7PhCfg==";
    let target = signed_with_digest("PUT", md5, "new", "new", "live");
    let headers = format!("{length}Content-MD5: {md5}\r\n");
    let reply = send_request(&daemon, "PUT", &target, &headers, &body).receive(false);
    assert_refused(&reply, 400, "InvalidDigest");

    // Names that no LiveChannel may have, decoded once.
    for (key, decoded) in [("a%00b", "a\0b"), ("a%2Fb", "a/b"), ("a/b", "a/b"), ("..", "..")] {
        let target = signed("PUT", key, decoded, "live");
        let reply = send_request(&daemon, "PUT", &target, &length, &body).receive(false);
        assert_refused(&reply, 400, "InvalidChannelName");
    }
    let target = signed("PUT", "%FF%FE", "", "live");
    let reply = send_request(&daemon, "PUT", &target, &length, &body).receive(false);
    assert_refused(&reply, 400, "InvalidChannelName");

    // Names that no object may have; an error that repeated a long one would be longer than what SDKs read of it.
    for key in ["a".repeat(1024), "x".repeat(5000), String::from("/door")] {
        assert_refused(&call(&daemon, "GET", &key, "acl", ""), 400, "InvalidObjectName");
    }
    assert_refused(&call(&daemon, "GET", &"a".repeat(1023), "acl", ""), 404, "NoSuchKey");

    // A body of which the rest never comes: the connection is given up, and others are not kept waiting meanwhile.
    let mut halves: Vec<_> = (0..4).map(|_| put(&length, &body[..100])).collect();
    wait_for("the halves to be read", SOON, || {
        let reply = put(&length, &body[..100]).receive(false);
        (reply.status == 503).then_some(())
    });
    assert_eq!(channel_names(&daemon), ["fixed"]);
    assert!(halves.pop().unwrap().is_closed(), "after ten seconds");
    assert_eq!(channel_names(&daemon), ["fixed"]);
    assert_eq!(put(&length, &body).receive(false).status, 200);
    assert_eq!(channel_names(&daemon), ["fixed", "new"]);
}

#[test]
fn a_client_that_asks_for_leave_gets_it_only_for_a_body_that_is_wanted() {
    let daemon = Daemon::start(STUDIO);
    let body = settings("a.m3u8");
    let headers = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    let target = signed("PUT", "new", "new", "live");
    let mut client = send_request(&daemon, "PUT", &target, &headers, "");
    let leave = client.receive(true);
    assert_eq!(leave.status, 100);
    client.send(body.as_bytes());
    assert_eq!(client.receive(false).status, 200);
    // The connection goes on.
    client.send(
        format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", signed("GET", "new", "new", "live"))
            .as_bytes(),
    );
    assert_eq!(client.receive(false).element("PlaylistName"), "a.m3u8");
    let mut stranger = send_request(&daemon, "PUT", "/studio/new?live", &headers, "");
    assert_refused(&stranger.receive(false), 403, "AccessDenied");
    let mut uploader =
        send_request(&daemon, "PUT", &signed("PUT", "new/a.ts", "new/a.ts", "acl"), &headers, "");
    assert_refused(&uploader.receive(false), 405, "MethodNotAllowed");
}

#[test]
fn kill_9_between_any_two_calls_loses_none_that_was_answered() {
    let mut daemon = Daemon::start(STUDIO);
    let kill = |daemon: &mut Daemon| {
        daemon.process.kill();
        daemon.restart();
    };
    let answered = |reply: Reply, status: u16| assert_eq!(reply.status, status, "{}", reply.text());

    answered(call(&daemon, "PUT", "one", "live", &settings("a.m3u8")), 200);
    kill(&mut daemon);
    assert_eq!(channel_names(&daemon), ["fixed", "one"]);
    answered(call(&daemon, "PUT", "one", "live", &settings("b.m3u8")), 200);
    kill(&mut daemon);
    assert_eq!(call(&daemon, "GET", "one", "live", "").element("PlaylistName"), "b.m3u8");
    for name in ["one", "fixed"] {
        answered(call(&daemon, "PUT", name, "live&status=disabled", ""), 200);
        kill(&mut daemon);
        assert_eq!(call(&daemon, "GET", name, "live", "").element("Status"), "disabled");
        answered(call(&daemon, "PUT", name, "live&status=enabled", ""), 200);
        kill(&mut daemon);
        assert_eq!(call(&daemon, "GET", name, "live", "").element("Status"), "enabled");
    }
    let publish = signed_publish_url(&daemon, "one");
    publish_to(&publish, 4, &[]).finish(SOON).expect_silence();
    let range = "endTime=3000000000&startTime=2999990000&vod";
    assert_refused(&call(&daemon, "POST", "one/v.m3u8", range, ""), 400, "InvalidArgument");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let range = format!("endTime={}&startTime={}&vod", now + 60, now - 600);
    answered(call(&daemon, "POST", "one/v.m3u8", &range, ""), 200);
    kill(&mut daemon);
    let recording = wait_for("the ring", SOON, || {
        let reply = call(&daemon, "GET", "one/v.m3u8", "x-oss-process=hls/sign", "");
        (reply.status == 200).then_some(reply)
    });
    assert!(recording.text().contains("#EXT-X-PLAYLIST-TYPE:VOD"), "{}", recording.text());
    answered(call(&daemon, "DELETE", "one", "live", ""), 204);
    kill(&mut daemon);
    assert_eq!(channel_names(&daemon), ["fixed"]);
    let ring = daemon.folder.path().join("store/studio/one.ring");
    wait_for("the ring to be removed", SOON, || (!ring.exists()).then_some(()));
    assert!(daemon.folder.path().join("store/studio/fixed.ring").exists());
}

/// By the program's own command.
pub(super) fn signed_publish_url(daemon: &Daemon, channel: &str) -> String {
    let base = format!("rtmp://127.0.0.1:{}", daemon.rtmp);
    let mut sign = sluicegate();
    sign.args(["sign", "publish", "studio", channel, "--raw", "--url", &base, "--config"]);
    Watched::run(sign.arg(daemon.config())).expect_silence().stdout.trim().to_owned()
}

#[test]
fn a_recording_shrinks_as_the_ring_moves_on_and_is_gone_with_its_last_segment() {
    let daemon =
        Daemon::start(&STUDIO.replace("16MiB", "6MiB").replace("frag_count = 6", "frag_count = 3"));
    // A new picture of noise each time: nothing can be compressed, so a second is about a megabyte.
    let publish = |secs: &str| {
        let mut noise = ffmpeg();
        noise.args([
            "-f",
            "lavfi",
            "-i",
            "nullsrc=s=320x240:r=25,geq=random(1)*255:128:128",
            "-t",
            secs,
        ]);
        noise.args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-b:v",
            "8M",
            "-g",
            "25",
            "-f",
            "flv",
        ]);
        let url = signed_publish_url(&daemon, "fixed");
        Watched::run(noise.args(["-flvflags", "no_duration_filesize"]).arg(url)).expect_silence();
    };
    publish("4");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    // Also of a range that goes on: it is what there was when it was made.
    let range = format!("endTime={}&startTime={}&vod", now + 600, now - 600);
    let made = call(&daemon, "POST", "fixed/v.m3u8", &range, "");
    assert_eq!(made.status, 200, "{}", made.text());
    let listed = || {
        let reply = call(&daemon, "GET", "fixed/v.m3u8", "x-oss-process=hls/sign", "");
        match reply.status {
            200 => reply.text().matches(".ts?").count(),
            _ => {
                assert_refused(&reply, 404, "NoSuchKey");
                0
            }
        }
    };
    let whole = listed();
    assert!(whole >= 3, "{whole}");
    let mut counts = vec![whole];
    for _ in 0..20 {
        publish("1");
        counts.push(listed());
        if counts.ends_with(&[0]) {
            break;
        }
    }
    assert!(counts.is_sorted_by(|a, b| a >= b) && counts.ends_with(&[0]), "{counts:?}");
    assert!(counts.iter().any(|count| (1..whole).contains(count)), "{counts:?}");
    // The ring holds nothing of it, so the next change forgets it.
    let longer = call(&daemon, "PUT", "one", "live", &settings("a.m3u8"));
    assert_refused(&longer, 400, "InvalidArgument");
    assert!(longer.element("Message").contains("larger ring"), "{}", longer.text());
    let shorter = settings("a.m3u8").replace(">6<", ">3<");
    assert_eq!(call(&daemon, "PUT", "one", "live", &shorter).status, 200);
    let catalogue = fs::read_to_string(daemon.folder.path().join("store/catalogue")).unwrap();
    assert!(
        catalogue.contains("channel studio one") && !catalogue.contains("recording"),
        "{catalogue}"
    );
}

/// Gives the daemon another configuration, and waits until it has said `word` of it.
fn reload(daemon: &Daemon, text: &str, word: &str) {
    fs::write(daemon.config(), text).unwrap();
    let told = daemon.process.stderr().matches(word).count();
    daemon.process.signal("HUP");
    wait_for(word, SOON, || (daemon.process.stderr().matches(word).count() > told).then_some(()));
}

#[test]
fn what_was_recorded_before_a_kill_can_be_made_a_recording_behind_it() {
    let low = "frag_count = 6\n  low_latency = { part = 0.33 }";
    let mut daemon = Daemon::start(&STUDIO.replace("frag_count = 6", low));
    let mut camera = publish_to(&signed_publish_url(&daemon, "fixed"), 60, &[]);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let range = format!("endTime={}&startTime={}&vod", now + 60, now - 600);
    let listed = |daemon: &Daemon| {
        let reply = call(daemon, "GET", "fixed", &range, "");
        (reply.status == 200).then(|| reply.text().matches(".ts").count())
    };
    wait_for("segments", 3 * SOON, || listed(&daemon).filter(|count| *count >= 5));
    daemon.process.kill();
    camera.wait(SOON);
    daemon.restart();
    let count = wait_for("the ring", SOON, || listed(&daemon));
    let made = call(&daemon, "POST", "fixed/v.m3u8", &range, "");
    assert_eq!(made.status, 200, "{}", made.text());
    let read = call(&daemon, "GET", "fixed/v.m3u8", "x-oss-process=hls/sign", "");
    assert_eq!(read.text().matches(".ts").count(), count, "{}", read.text());
}

#[test]
fn a_reload_keeps_created_channels_and_their_publishers() {
    let daemon = Daemon::start(STUDIO);
    assert_eq!(call(&daemon, "PUT", "one", "live", &settings("a.m3u8")).status, 200);
    let mut publisher = publish_to(&signed_publish_url(&daemon, "one"), 60, &[]);
    let is_live = || {
        let stat = call(&daemon, "GET", "one", "comp=stat&live", "");
        (stat.element("Status") == "Live").then_some(())
    };
    wait_for("the publisher", SOON, is_live);
    let reload = |from: &str, to: &str, word: &str| {
        let text = fs::read_to_string(daemon.config()).unwrap();
        reload(&daemon, &text.replace(from, to), word);
    };
    reload("frag_count = 6", "frag_count = 7", "the configuration is reloaded");
    assert!(is_live().is_some() && publisher.is_running());
    // The bucket lets nobody create channels any more: the ones that were created rest until it does again.
    reload("dynamic_channels", "# dynamic_channels", "made by PutLiveChannel, is not served");
    assert_eq!(channel_names(&daemon), ["fixed"]);
    reload("# dynamic_channels", "dynamic_channels", "the configuration is reloaded");
    assert_eq!(channel_names(&daemon), ["fixed", "one"]);
}

#[test]
fn a_status_is_put_to_the_channel_that_is_there_whoever_defined_one_of_its_name_before() {
    let daemon = Daemon::start(STUDIO);
    let without = fs::read_to_string(daemon.config()).unwrap();
    let fixed = &without[without.find("  [[bucket.live_channel]]").unwrap()..];
    let with = |name: &str| format!("{without}{}", fixed.replace("fixed", name));
    let reload = |text: &str| reload(&daemon, text, "the configuration is reloaded");
    let put = |name: &str| {
        assert_eq!(call(&daemon, "PUT", name, "live", &settings("a.m3u8")).status, 200);
    };
    let put_status = |name: &str, status: &str| {
        let reply = call(&daemon, "PUT", name, &format!("live&status={status}"), "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        status_of(&daemon, name)
    };

    // Made by a call, then defined by the file.
    put("yard");
    reload(&with("yard"));
    assert_eq!(put_status("yard", "disabled"), "disabled");
    assert_eq!(put_status("yard", "enabled"), "enabled");
    assert_eq!(put_status("yard", "disabled"), "disabled");
    // What was said of the file's is not said of the other, which is there again, nor of the next of its name.
    reload(&without);
    assert_eq!(status_of(&daemon, "yard"), "enabled");
    assert_eq!(call(&daemon, "DELETE", "yard", "live", "").status, 204);
    reload(&with("yard"));
    assert_eq!(status_of(&daemon, "yard"), "enabled");

    // Defined by the file, then made by a call.
    reload(&with("shed"));
    assert_eq!(put_status("shed", "disabled"), "disabled");
    reload(&without);
    put("shed");
    assert_eq!(status_of(&daemon, "shed"), "enabled");
    assert_eq!(put_status("shed", "disabled"), "disabled");
    assert_eq!(put_status("shed", "enabled"), "enabled");
}

fn status_of(daemon: &Daemon, channel: &str) -> String {
    call(daemon, "GET", channel, "live", "").element("Status").into()
}

#[test]
fn channels_that_come_and_go_leave_nothing_behind_and_one_that_the_file_defines_keeps_its_ring() {
    let mut daemon = Daemon::start(STUDIO);
    let folder = daemon.folder.path().to_owned();
    let rings = || fs::read_dir(folder.join("store/studio")).unwrap().count();
    for n in 0..5 {
        let name = format!("guest-{n}");
        assert_eq!(call(&daemon, "PUT", &name, "live", &settings("a.m3u8")).status, 200);
        assert_eq!(call(&daemon, "DELETE", &name, "live", "").status, 204);
        wait_for("the ring to go", SOON, || (rings() == 1).then_some(()));
    }
    let catalogue = || fs::read_to_string(folder.join("store/catalogue")).unwrap();
    // The last one, and the one before if the daemon had not heard of its end.
    assert!(catalogue().matches("removed").count() <= 2, "{}", catalogue());

    // The last one is still noted when the file defines a channel of its name, and something is recorded on that.
    let text = fs::read_to_string(daemon.config()).unwrap();
    let like = text[text.find("  [[bucket.live_channel]]").unwrap()..].replace("fixed", "guest-4");
    fs::write(daemon.config(), format!("{text}{like}")).unwrap();
    daemon.process.signal("HUP");
    wait_for("the channel", SOON, || (channel_names(&daemon).len() == 2).then_some(()));
    assert!(catalogue().contains("guest-4"), "{}", catalogue());
    publish_to(&signed_publish_url(&daemon, "guest-4"), 3, &[]).finish(SOON * 6).expect_silence();
    daemon.process.signal("TERM");
    daemon.process.wait(SOON);
    daemon.restart();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let range = format!("endTime={}&startTime={}&vod", now + 60, now - 600);
    let held = wait_for("the ring to be open", SOON, || {
        let reply = call(&daemon, "GET", "guest-4", &range, "");
        (reply.status != 503).then_some(reply)
    });
    assert_eq!(held.text().matches(".ts").count(), 3, "{}", held.text());
}

#[test]
fn a_damaged_catalogue_is_reported_and_kept_and_the_file_s_channels_go_on() {
    let mut daemon = Daemon::start(STUDIO);
    assert_eq!(call(&daemon, "PUT", "one", "live", &settings("a.m3u8")).status, 200);
    daemon.process.kill();
    let path = daemon.folder.path().join("store/catalogue");
    let damaged = fs::read_to_string(&path).unwrap().replace("studio", "studip");
    fs::write(&path, &damaged).unwrap();
    daemon.restart();
    assert_eq!(channel_names(&daemon), ["fixed"]);
    assert!(daemon.process.stderr().contains("is damaged: its checksum"));
    let reply = call(&daemon, "PUT", "two", "live", &settings("a.m3u8"));
    assert_refused(&reply, 500, "InternalError");
    assert!(reply.element("Message").contains("store/catalogue is damaged"), "{}", reply.text());
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    fs::remove_file(&path).unwrap();
    daemon.process.kill();
    daemon.restart();
    assert_eq!(call(&daemon, "PUT", "two", "live", &settings("a.m3u8")).status, 200);
}

#[test]
fn addresses_are_given_in_the_style_of_the_request() {
    let daemon = Daemon::start(STUDIO);
    let virtual_host = signed("GET", "", "", "live").replace("/studio/", "/");
    let table = [
        ("127.0.0.1:8080", signed("GET", "", "", "live"), "127.0.0.1:8080/studio"),
        ("studio.gateway.test", virtual_host.clone(), "studio.gateway.test"),
        ("studio.localhost:81", virtual_host, "studio.localhost:81"),
    ];
    for (host, target, base) in table {
        let reply = Connection::open(daemon.http).request("GET", &target, &[("Host", host)]);
        let urls = format!(
            "<PublishUrls><Url>rtmp://{base}/live/fixed</Url></PublishUrls>\
             <PlayUrls><Url>http://{base}/fixed/playlist.m3u8</Url></PlayUrls>"
        );
        assert!(reply.text().contains(&urls), "{host}: {}", reply.text());
    }
}
