//! Objects over HTTP: ranges, conditions, what is not there, and clients that keep no rule.

use super::*;

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
    assert_eq!(text.header("cache-control"), "public, max-age=1");
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
    let etag = packed.header("etag");
    assert!(etag.starts_with("W/\""), "{etag}: other bytes have no strong tag in common");
    let again = [("Accept-Encoding", "gzip"), ("If-None-Match", etag)];
    assert_eq!(connection.request("GET", DOOR, &again).status, 304);
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let daemon = Daemon::start(CAMS);
    wait_for("the ring to be open", SOON, || (get(daemon.http, DOOR).status != 503).then_some(()));
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

#[test]
fn a_cache_is_told_to_keep_no_answer_that_depends_on_the_page() {
    let whitelist = "[bucket.referer]\nwhitelist = [\"http://good.test/\"]\n";
    let blacklist = "[bucket.referer]\nblacklist = [\"http://bad.test/\"]\n";
    let table = [
        ("", "public, max-age=1", "public, max-age=3600"),
        (whitelist, "private, no-cache", "private, max-age=3600"),
        (blacklist, "private, no-cache", "private, max-age=3600"),
    ];
    for (rules, live, segment) in table {
        let (bucket, channel) = CAMS.split_once("  [[bucket.live_channel]]").unwrap();
        let daemon = Daemon::start(&format!("{bucket}{rules}  [[bucket.live_channel]]{channel}"));
        daemon.publish("cams/live/door", 3).finish(SOON).expect_silence();
        let ask = |page: &str, target: &str| {
            Connection::open(daemon.http).request("GET", target, &[("Referer", page)])
        };
        let listed = ask("http://good.test/", DOOR);
        assert_eq!((listed.status, listed.header("cache-control")), (200, live), "{rules}");
        let first = &Playlist::parse(listed.text()).unwrap().segments[0].uri;
        let first = format!("/cams/door/{first}");
        let found = ask("http://good.test/", &first);
        assert_eq!((found.status, found.header("cache-control")), (200, segment), "{rules}");
        if !rules.is_empty() {
            assert_refused(&ask("http://bad.test/", &first), 403, "AccessDenied");
        }
    }
}
