//! The head of an HTTP request → a response: it does not depend on how much has come, no header ends early, XML is XML.

use sluicegate::{
    access::{GateTime, Origin},
    api::World,
    channel::Channels,
    config::{Config, catalogue::Catalogue},
    console::Vitals,
    http::{
        request,
        response::{Body, RequestId},
    },
    respond::{Reply, respond},
    units::{Millis, Now, UnixMillis, UnixSecs},
};

thread_local! {
    static CONFIG: Config = config();
}

pub(crate) fn hold(bytes: &[u8]) {
    let parsed = request::parse(bytes);
    let Ok(Some((request, head_bytes))) = parsed else {
        if matches!(parsed, Ok(None)) {
            // More bytes may complete it, fewer do not.
            assert!(matches!(request::parse(&bytes[..bytes.len() / 2]), Ok(None)));
        }
        return;
    };
    assert!(head_bytes <= bytes.len() && bytes[..head_bytes].ends_with(b"\n"));
    let again = request::parse(&bytes[..head_bytes]);
    assert!(matches!(again, Ok(Some((_, whole))) if whole == head_bytes));

    let now = Now { mono: Millis(1), wall: UnixMillis(1_800_000_000_000) };
    let reply = CONFIG.with(|config| {
        let world = World {
            config,
            config_read: UnixSecs(0),
            catalogue: &Catalogue::default(),
            channels: &Channels::default(),
            vitals: &Vitals::default(),
            now,
            gate_time: GateTime::new(now.wall.as_secs(), UnixSecs(0)),
            request_id: RequestId { run: 1, number: 1 },
            may_wait: false,
        };
        let origin = Origin { peer: [192, 168, 1, 9].into(), local: [192, 168, 1, 5].into() };
        respond(&request, None, origin, &world)
    });
    // Nobody here has a key, so nothing is changed and no body is wanted.
    let Reply::Answer(response) = reply else { panic!("{reply:?}") };
    let mut head = String::new();
    response.write_head(now.wall.as_secs(), request.keep_alive, &mut head);
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert!(head.ends_with("\r\n\r\n") && lines.len() >= 6);
    for line in &lines[1..lines.len() - 2] {
        assert!(line.contains(": ") && !line.contains(['\r', '\n']), "{line:?}");
    }
    let text = match &response.body {
        Body::Made(text) => &text[..],
        Body::Shared(text) => text,
        Body::Static(text) => text,
        _ => return,
    };
    if head.contains("application/xml") {
        let text = str::from_utf8(text).expect("XML in UTF-8");
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        let mut depth = 0;
        loop {
            match reader.read_event().expect("well-formed XML") {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Start(_) => depth += 1,
                quick_xml::events::Event::End(_) => depth -= 1,
                _ => {}
            }
        }
        assert_eq!(depth, 0, "{text}");
    }
}

fn config() -> Config {
    let text = r#"
        endpoint = "gateway.lan"
        [[access_key]]
        id = "LTAI5tVectorKey000001"
        secret = "NotTheSecretOfTheVectors"
        [[bucket]]
        name = "cam-bucket"
        hosts = ["cams.example.com"]
        [bucket.referer]
        allow_empty = false
        whitelist = ["http://*.page.lan"]
        [[bucket.cors.rule]]
        allowed_origins = ["http://*.page.lan"]
        allowed_methods = ["GET", "HEAD"]
        allowed_headers = ["*"]
        [[bucket.live_channel]]
        name = "test-channel"
        [[bucket]]
        name = "open-bucket"
        acl = "public-read-write"
        [[bucket.live_channel]]
        name = "test-channel"
    "#;
    let parsed = Config::parse(text, "x", &|_| Ok(String::new()));
    parsed.expect("a good configuration").0
}
