//! The gate from outside: what OSS's own SDKs sign passes, and nothing that differs from it in one signed byte does.
//!
//! `data/vectors/README.md` says where the vectors come from. Expectations are computed by plain models in this file, which
//! share no code with what they judge; [`sign_v1`] is a second writing of version 1 by OSS's documentation.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

#[path = "gate/sent.rs"]
mod sent;
#[path = "gate/setup.rs"]
mod setup;
#[path = "gate/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use sluicegate::{
    access::{self, Action, GateTime, PublishAsk, Reason, Refusal, sign::Signer},
    config::{AccessKey, Acl, Bucket, RefererMatch},
    query::{Query, decode_path},
    rtmp::Address,
    units::UnixSecs,
};

use sent::Sent;
use setup::{KEY_ID, NOW, SECRET, access_key, access_keys, at, bucket, policy};
use vectors::{Case, http_vectors, rtmp_vectors, vector};

#[test]
fn every_vector_gets_the_verdict_that_it_asks_for() {
    let mut counted = BTreeMap::new();
    for case in http_vectors().into_iter().chain(rtmp_vectors()) {
        let expect = &case.json["expect"];
        let verdict = expect["verdict"].as_str().unwrap();
        *counted.entry(verdict.to_owned()).or_insert(0) += 1;
        match (verdict, case.sent.admit(Acl::Private, case.now)) {
            ("accept", Ok(_)) => {}
            ("anonymous", Err(refusal)) => {
                assert_eq!(refusal.reason(), Reason::Acl, "{}", case.id);
                assert!(case.sent.admit(Acl::PublicReadWrite, case.now).is_ok(), "{}", case.id);
            }
            ("refuse", Err(refusal)) => {
                if let Some(code) = expect["code"].as_str() {
                    assert_eq!(refusal.code(), code, "{}", case.id);
                }
                if let Some(status) = expect["http_status"].as_u64() {
                    assert_eq!(u64::from(refusal.status()), status, "{}", case.id);
                }
                assert_tells_no_secret(refusal, &case.id);
            }
            (verdict, outcome) => panic!("{}: {verdict}, but {outcome:?}", case.id),
        }
    }
    assert_eq!(
        counted,
        BTreeMap::from([("accept".into(), 127), ("anonymous".into(), 1), ("refuse".into(), 66)])
    );
}

#[test]
fn a_refused_signature_is_told_the_string_that_the_sdk_signs() {
    let mut compared = 0;
    for case in http_vectors().into_iter().chain(rtmp_vectors()) {
        let expect = &case.json["expect"];
        if expect["verdict"] != "accept" || expect["string_to_sign"].is_null() {
            continue;
        }
        let refusal = case.sent.with_another_signature().admit(Acl::Private, case.now).unwrap_err();
        assert_eq!(refusal.code(), "SignatureDoesNotMatch", "{}", case.id);
        let extras = BTreeMap::from_iter(refusal.extras());
        assert_eq!(
            extras["StringToSign"],
            expect["string_to_sign"].as_str().unwrap(),
            "{}",
            case.id
        );
        if let Some(canonical) = expect["canonical_request"].as_str() {
            assert_eq!(extras["CanonicalRequest"], canonical, "{}", case.id);
        }
        compared += 1;
    }
    assert_eq!(compared, 118);
}

/// Changes every byte of every accepted vector in four ways.
///
/// A change may pass only if what is signed still reads the same. What is not signed: the case of hex digits in an escape
/// and of header names, blanks between the parts of an Authorization header, and the `=` behind a name without a value,
/// because they mean nothing; in version 1 the parameters that are no sub-resources, and a Date that x-oss-date or
/// Expires replaces; headers but for x-oss-*, Content-Type, Content-MD5 and those that V4's AdditionalHeaders name;
/// RTMP's SecurityToken.
#[test]
fn no_signed_byte_can_be_changed() {
    let (mut refused, mut same) = (0_u32, 0_u32);
    for case in http_vectors().into_iter().chain(rtmp_vectors()) {
        if case.json["expect"]["verdict"] != "accept" {
            continue;
        }
        let signed = case.sent.signed_view(&case.sent.parameter_names());
        for (what, changed) in case.sent.mutations() {
            if changed.admit(Acl::Private, case.now).is_err() {
                refused += 1;
                continue;
            }
            assert_eq!(
                changed.signed_view(&case.sent.parameter_names()),
                signed,
                "{}: {what}",
                case.id
            );
            same += 1;
        }
    }
    println!("{refused} refused, {same} with the same meaning");
    assert!(refused > 50_000 && same < refused / 10, "{refused} refused, {same} the same");
}

#[test]
fn our_own_urls_are_those_of_the_sdk() {
    let key = access_key();
    let signer = Signer { key: &key, bucket: "cam-bucket", expires: UnixSecs(NOW + 3600) };
    let url_of = |file: &str, id: &str| vector(file, id)["url"].as_str().unwrap().to_owned();
    let publish =
        |channel, playlist| signer.publish_url("rtmp://127.0.0.1:8080", channel, playlist);
    assert_eq!(publish("test-channel", Some("test.m3u8")), url_of("rtmp", "rtmp-basic"));
    assert_eq!(publish("test-channel", None), url_of("rtmp", "rtmp-no-playlist"));
    let case = vector("rtmp", "rtmp-playlist-special");
    let playlist = case["params"]["playlistName"].as_str().unwrap();
    assert_eq!(publish("test-channel", Some(playlist)), url_of("rtmp", "rtmp-playlist-special"));
    let case = vector("rtmp", "rtmp-channel-utf8");
    let playlist = case["params"]["playlistName"].as_str();
    assert_eq!(
        publish(case["channel"].as_str().unwrap(), playlist),
        url_of("rtmp", "rtmp-channel-utf8")
    );
    let play = signer.play_url("http://127.0.0.1:8080/", "test_rtmp_live/test.m3u8");
    assert_eq!(play, url_of("v1_url", "v1u-process"));
}

#[test]
fn a_channel_whose_name_would_end_the_path_is_signed_as_it_is_and_escaped_in_the_url() {
    let key = access_key();
    let signer = Signer { key: &key, bucket: "cam-bucket", expires: UnixSecs(NOW) };
    for channel in ["a b", "50%", "why?", "a#b", "50%25", "前门"] {
        let url = signer.publish_url("rtmp://h", channel, None);
        assert!(!url.contains(' '), "an encoder's command line would end there: {url}");
        let (folder, name) = url.rsplit_once("/live/").unwrap();
        let address = Address::join(folder, "cam-bucket/live", name);
        let query = Query::parse(&address.query).unwrap();
        // As it arrived if such a channel exists; otherwise decoded.
        let channel_found = if address.channel == channel {
            channel.into()
        } else {
            decode_path(&address.channel).unwrap()
        };
        assert_eq!(channel_found, channel, "{url}");
        let bucket = bucket("cam-bucket", Acl::Private);
        let ask = PublishAsk { channel, query: &query };
        assert!(
            access::admit_publish(&ask, &policy(&[access_key()], Some(&bucket)), at(NOW))
                .unwrap()
                .is_signed(),
            "{url}"
        );
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Signature {
    None,
    Url,
    UrlWrong,
    UrlExpired,
    Header,
    HeaderWrong,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listed {
    Absent,
    Allowed,
    Denied,
}

/// What OSS's pages say, written down once more: the status and the code, or `None` if it is let in.
fn expected(
    action: Action,
    acl: Acl,
    signature: Signature,
    referer: Listed,
) -> Option<(u16, &'static str, Reason)> {
    let denied = |reason| Some((403, "AccessDenied", reason));
    // 1. A signature that is there is judged, whatever the ACL.
    match signature {
        Signature::UrlExpired => return denied(Reason::Expired),
        Signature::UrlWrong | Signature::HeaderWrong => {
            return Some((403, "SignatureDoesNotMatch", Reason::Signature));
        }
        Signature::None | Signature::Url | Signature::Header => {}
    }
    // 2. The Referer, for objects, unless an Authorization header came.
    let is_object = action == Action::ReadObject || action == Action::WriteObject;
    if is_object && signature != Signature::Header && referer == Listed::Denied {
        return denied(Reason::Referer);
    }
    // 3. The ACL, for who did not sign.
    let is_public = match acl {
        Acl::Private => false,
        Acl::PublicRead => action == Action::ReadObject,
        Acl::PublicReadWrite => is_object,
    };
    if signature == Signature::None && !is_public { denied(Reason::Acl) } else { None }
}

#[test]
fn every_combination_of_acl_signature_referer_and_origin() {
    let mut rows = 0;
    for (action, method) in
        [(Action::ReadObject, "GET"), (Action::WriteObject, "PUT"), (Action::Own, "GET")]
    {
        for acl in [Acl::Private, Acl::PublicRead, Acl::PublicReadWrite] {
            let bucket = bucket("cams", acl);
            for signature in [
                Signature::None,
                Signature::Url,
                Signature::UrlWrong,
                Signature::UrlExpired,
                Signature::Header,
                Signature::HeaderWrong,
            ] {
                for referer in [Listed::Absent, Listed::Allowed, Listed::Denied] {
                    for origin in [Listed::Absent, Listed::Allowed, Listed::Denied] {
                        let row = format!(
                            "{action:?} {acl:?} {signature:?} Referer {referer:?} Origin {origin:?}"
                        );
                        let sent = signed(method, "door/1.ts", signature, referer, origin);
                        let outcome = sent.ask(action, |ask| {
                            access::admit(ask, &policy(&[access_key()], Some(&bucket)), at(NOW))
                        });
                        match (&outcome, expected(action, acl, signature, referer)) {
                            (Ok(grant), None) => {
                                assert_eq!(grant.is_signed(), signature != Signature::None, "{row}")
                            }
                            (Err(refusal), Some(wanted)) => {
                                assert_eq!(
                                    (refusal.status(), refusal.code(), refusal.reason()),
                                    wanted,
                                    "{row}"
                                );
                            }
                            (outcome, wanted) => panic!("{row}: {outcome:?} instead of {wanted:?}"),
                        }
                        // CORS goes on top of whatever results, so that a page can read a refusal too.
                        let cors =
                            access::cors_headers(&bucket.cors, sent.header("origin"), method);
                        let allow_origin =
                            cors.iter().find(|(name, _)| *name == "Access-Control-Allow-Origin");
                        let wanted = (origin == Listed::Allowed && method == "GET")
                            .then_some("http://page.lan");
                        assert_eq!(allow_origin.map(|(_, value)| &**value), wanted, "{row}");
                        assert!(cors.contains(&("Vary", "Origin".into())), "{row}");
                        rows += 1;
                    }
                }
            }
        }
    }
    assert_eq!(rows, 3 * 3 * 6 * 3 * 3);
}

#[test]
fn who_may_publish() {
    let key = access_key();
    let signer = Signer { key: &key, bucket: "cams", expires: UnixSecs(NOW) };
    let right = signer.publish_query("door", Some("a.m3u8"));
    // The query, the time; then for a private, a public-read, a public-read-write bucket: "" = in, or the code.
    let table = [
        ("", NOW, ["AccessDenied", "AccessDenied", ""]),
        ("playlistName=a.m3u8", NOW, ["AccessDenied", "AccessDenied", ""]),
        (&*right, NOW, ["", "", ""]),
        (&*right, NOW + 1, ["AccessDenied"; 3]),
        (&right.replace("a.m3u8", "b.m3u8"), NOW, ["SignatureDoesNotMatch"; 3]),
        (&right.replace("000001", "000009"), NOW, ["InvalidAccessKeyId"; 3]),
        // What a shell leaves of an unquoted URL.
        (right.rsplit_once('&').unwrap().0, NOW, ["AccessDenied"; 3]),
        (&format!("{right}&a=1&a=1"), NOW, ["InvalidArgument"; 3]),
    ];
    for (query, now, codes) in table {
        for (acl, code) in
            [Acl::Private, Acl::PublicRead, Acl::PublicReadWrite].into_iter().zip(codes)
        {
            let bucket = bucket("cams", acl);
            let query = Query::parse(query).unwrap();
            let ask = PublishAsk { channel: "door", query: &query };
            match access::admit_publish(&ask, &policy(&[access_key()], Some(&bucket)), at(now)) {
                Ok(grant) => {
                    assert_eq!("", code, "{query:?} {acl:?}");
                    assert_eq!(grant.is_signed(), query.has("Signature"), "{query:?} {acl:?}");
                }
                Err(refusal) => assert_eq!(refusal.code(), code, "{query:?} {acl:?}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_measured() {
    let url = "OSSAccessKeyId=a&Expires=1&Signature=b";
    let v4_url = "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential=a&x-oss-date=b&x-oss-expires=1&x-oss-signature=c";
    let both = format!("{url}&{v4_url}");
    let (auth, body_hash) = (("Authorization", "OSS a:b"), ("x-oss-content-sha256", "e3b0"));
    let v4_auth = "OSS4-HMAC-SHA256 Credential=LTAI5tVectorKey000001/20231114/cn-hangzhou/oss/aliyun_v4_request,Signature=0";
    let table = [
        (url, &[auth][..], (400, "InvalidArgument")),
        ("", &[auth, auth], (400, "InvalidArgument")),
        (&both, &[], (400, "InvalidArgument")),
        ("", &[("authorization", "")], (400, "InvalidArgument")),
        ("", &[("authorization", "Bearer x")], (400, "InvalidArgument")),
        ("", &[("authorization", "OSS2 AccessKeyId:a,Signature:b")], (400, "InvalidArgument")),
        ("", &[("authorization", "OSS4-HMAC-SHA256 Credential=a")], (400, "InvalidArgument")),
        ("x-oss-signature-version=OSS2", &[], (400, "InvalidArgument")),
        (
            "",
            &[("authorization", v4_auth), ("x-oss-date", "20231114T221320Z"), body_hash],
            (400, "InvalidArgument"),
        ),
        ("response-expires=0", &[], (400, "InvalidRequest")),
    ];
    for (query, headers, wanted) in table {
        let sent = Sent::http("GET", "cams", "door/a.m3u8", query, headers);
        let refusal = sent.admit(Acl::PublicRead, NOW).unwrap_err();
        assert_eq!((refusal.status(), refusal.code()), wanted, "{query} {headers:?}");
    }
}

#[test]
fn referer_rules_are_applied_to_objects_only() {
    let mut bucket = bucket("cams", Acl::PublicRead);
    bucket.referer.allow_empty = false;
    let table = [
        (None, false),
        (Some(""), false),
        (Some("http://page.lan"), true),
        (Some("http://page.lan/player?x"), true),
        (Some("HTTP://PAGE.LAN/"), true),
        (Some("http://page.lan.evil.org/"), true),
        (Some("https://page.lan/"), false),
        (Some("http://bad.page.lan/"), false),
        (Some("http://sub.page.lan/"), true),
        (Some("http://evil.org/"), false),
    ];
    for (referer, is_allowed) in table {
        let headers: Vec<_> = referer.map(|text| ("Referer", text)).into_iter().collect();
        let sent = Sent::http("GET", "cams", "door/a.m3u8", "", &headers);
        let policy = policy(&[], Some(&bucket));
        let outcome = sent.ask(Action::ReadObject, |ask| access::admit(ask, &policy, at(NOW)));
        assert_eq!(outcome.is_ok(), is_allowed, "{referer:?}");
        if let Err(refusal) = outcome {
            assert_eq!(refusal.ec(), "0003-00000503");
            assert_eq!(refusal.message(), "You are denied by bucket referer policy.");
            assert!(refusal.extras().contains(&("BucketName", "cams".into())));
        }
    }
    bucket.referer.matching = RefererMatch::Boundary;
    let sent =
        Sent::http("GET", "cams", "door/a.m3u8", "", &[("Referer", "http://page.lan.evil.org/")]);
    assert!(
        sent.ask(Action::ReadObject, |ask| access::admit(
            ask,
            &policy(&[], Some(&bucket)),
            at(NOW)
        ))
        .is_err()
    );
}

#[test]
fn preflights_are_answered_by_the_first_rule_that_fits() {
    let cors = bucket("cams", Acl::Private).cors;
    // Origin, method, headers; then Allow-Origin, or "" for a refusal.
    let table = [
        (Some("http://page.lan"), Some("GET"), None, "http://page.lan"),
        (Some("http://page.lan"), Some("GET"), Some("Range, X-Custom"), "http://page.lan"),
        (Some("http://page.lan"), Some("GET"), Some("cookie"), ""),
        (Some("http://page.lan"), Some("PUT"), None, ""),
        (Some("http://page.lan:81"), Some("GET"), None, ""),
        (Some("http://any.where"), Some("POST"), None, "*"),
        (None, Some("GET"), None, ""),
        (Some("http://page.lan"), None, None, ""),
    ];
    for (origin, method, headers, allow_origin) in table {
        match access::preflight(&cors, origin, method, headers) {
            Ok(answer) => assert!(
                answer.contains(&("Access-Control-Allow-Origin", allow_origin.into())),
                "{answer:?}"
            ),
            Err(refusal) => {
                assert_eq!(
                    ("", 403, "AccessForbidden"),
                    (allow_origin, refusal.status(), refusal.code())
                );
            }
        }
    }
}

#[test]
fn a_url_that_was_signed_for_some_addresses_only_opens_for_none() {
    let key = "door/a.m3u8";
    let restrictions = [
        "x-oss-ac-forward-allow=true",
        "x-oss-ac-source-ip=10.0.0.0",
        "x-oss-ac-subnet-mask=32",
        "x-oss-ac-vpc-id=t4nlw426y44rd3iq4xxxx",
    ];
    let date = UnixSecs(NOW).http_date().to_string();
    for restriction in restrictions {
        let (expires, resource) = (NOW + 60, format!("/cams/{key}?{restriction}"));
        let signature = sign_v1(&format!("GET\n\n\n{expires}\n{resource}"));
        let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let url = format!(
            "{restriction}&OSSAccessKeyId={KEY_ID}&Expires={expires}&Signature={signature}"
        );
        let by_url_v1 = Sent::http("GET", "cams", key, &url, &[]);

        let signature = sign_v1(&format!("GET\n\n\n{date}\n{resource}"));
        let authorization = format!("OSS {KEY_ID}:{signature}");
        let headers = [("date", &*date), ("authorization", &*authorization)];
        let by_header = Sent::http("GET", "cams", key, restriction, &headers);

        let url = format!(
            "{restriction}&x-oss-credential={KEY_ID}%2F20231114%2Fcn-hangzhou%2Foss%2Faliyun_v4_request\
             &x-oss-date=20231114T221320Z&x-oss-expires=60&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-signature="
        );
        let unsigned = Sent::http("GET", "cams", key, &format!("{url}0"), &[]);
        let told = unsigned.admit(Acl::Private, NOW).unwrap_err().extras();
        let signature = sign_v4(&BTreeMap::from_iter(told)["StringToSign"]);
        let by_url_v4 = Sent::http("GET", "cams", key, &(url + &signature), &[]);

        for sent in [by_url_v1, by_header, by_url_v4] {
            for acl in [Acl::Private, Acl::PublicRead] {
                let refusal = sent.admit(acl, NOW).unwrap_err();
                let said = (refusal.status(), refusal.code(), refusal.reason());
                assert_eq!(said, (403, "AccessDenied", Reason::Malformed), "{restriction}");
                assert!(refusal.message().contains("x-oss-ac-"), "{refusal}");
            }
            let other = sent.with_another_signature().admit(Acl::Private, NOW).unwrap_err();
            assert_eq!(other.code(), "SignatureDoesNotMatch", "{restriction}");
        }
        // Who did not sign restricted nothing.
        let anybody = Sent::http("GET", "cams", key, restriction, &[]);
        assert!(anybody.admit(Acl::PublicRead, NOW).is_ok(), "{restriction}");
    }
}

#[test]
fn several_keys_are_valid_at_once_and_one_that_was_taken_out_is_not() {
    let bucket = bucket("cams", Acl::Private);
    let old = AccessKey { id: "old".into(), secret: "first".into() };
    let new = AccessKey { id: "new".into(), secret: "second".into() };
    let url = |key: &AccessKey| {
        Signer { key, bucket: "cams", expires: UnixSecs(NOW) }.play_query("door/a.m3u8")
    };
    let admit = |query: &str, keys: &[AccessKey]| {
        let sent = Sent::http("GET", "cams", "door/a.m3u8", query, &[]);
        sent.ask(Action::ReadObject, |ask| {
            access::admit(ask, &policy(keys, Some(&bucket)), at(NOW))
        })
    };
    let both = [old.clone(), new.clone()];
    assert!(admit(&url(&old), &both).is_ok() && admit(&url(&new), &both).is_ok());
    assert_eq!(admit(&url(&old), &both[1..]).unwrap_err().code(), "InvalidAccessKeyId");
    let impostor = AccessKey { id: old.id, secret: new.secret };
    assert_eq!(admit(&url(&impostor), &both).unwrap_err().code(), "SignatureDoesNotMatch");
}

#[test]
fn without_a_clock_nothing_signed_passes_and_what_is_public_does() {
    let bucket = bucket("cams", Acl::PublicReadWrite);
    let key = access_key();
    let keys = [key.clone()];
    let policy = policy(&keys, Some(&bucket));
    let unset = GateTime::new(UnixSecs(NOW), UnixSecs(0));
    let signer = Signer { key: &key, bucket: "cams", expires: UnixSecs(u64::MAX) };
    let play = signer.play_query("door/a.m3u8");
    for (query, passes) in [("", true), (&*play, false)] {
        let sent = Sent::http("GET", "cams", "door/a.m3u8", query, &[]);
        let outcome = sent.ask(Action::ReadObject, |ask| access::admit(ask, &policy, unset));
        assert_eq!(
            outcome.map(|_| ()).map_err(|r| r.reason()),
            if passes { Ok(()) } else { Err(Reason::Clock) }
        );
    }
    let publish = Query::parse(&signer.publish_query("door", None)).unwrap().iter().count();
    assert_eq!(publish, 3);
    let query = signer.publish_query("door", None);
    let query = Query::parse(&query).unwrap();
    let refusal =
        access::admit_publish(&PublishAsk { channel: "door", query: &query }, &policy, unset)
            .unwrap_err();
    assert_eq!(refusal.reason(), Reason::Clock);
}

/// A URL that could be dated ahead at will would live longer than the seven days that version 4 allows.
#[test]
fn a_version_4_url_lives_from_a_quarter_of_an_hour_before_its_date_to_its_end() {
    let bucket = bucket("cam-bucket", Acl::Private);
    let keys = access_keys();
    let policy = policy(&keys, Some(&bucket));
    let (date, end) = (NOW, NOW + 3600);
    let table = [
        (date - 400 * 86_400, Some("RequestTimeTooSkewed")),
        (date - 901, Some("RequestTimeTooSkewed")),
        (date - 900, None),
        (date, None),
        (end, None),
        (end + 1, Some("AccessDenied")),
    ];
    for id in ["v4u-plain", "v4u-process", "v4u-v2sdk-sts"] {
        let case = Case::new(vector("v4_url", id));
        for (now, code) in table {
            let time = GateTime { now: UnixSecs(now), plausible_min: UnixSecs(0) };
            let outcome =
                case.sent.ask(Action::ReadObject, |ask| access::admit(ask, &policy, time));
            let refused = outcome.err().map(|refusal| refusal.code());
            assert_eq!(refused, code, "{id} at {now}");
        }
    }
}

#[test]
fn one_signature_opens_the_console_and_no_bucket() {
    let key = access_key();
    let keys = [key.clone()];
    let query = access::sign::console_query("", &key, UnixSecs(NOW));
    let sent = Sent::http("GET", "-", "", &query, &[]);
    let admit = |sent: &Sent, bucket: Option<&Bucket>| {
        sent.ask(Action::Console, |ask| access::admit(ask, &policy(&keys, bucket), at(NOW)))
    };
    assert!(admit(&sent, None).is_ok());
    assert!(admit(&sent, Some(&bucket("cams", Acl::Private))).is_err());
    let anonymous = Sent::http("GET", "-", "", "", &[]);
    assert_eq!(admit(&anonymous, None).unwrap_err().reason(), Reason::Acl);
}

#[test]
fn a_signed_playlist_hands_its_signature_on_to_its_segments_and_to_nothing_else() {
    for (file, id) in [
        ("v1_url", "v1u-process"),
        ("v1_url", "v1u-sts-process"),
        ("v1_url", "v1u-seed-fixed-escaped"),
        ("v4_url", "v4u-process"),
        ("v4_url", "v4u-v2sdk-process"),
        ("v4_url", "v4u-v2sdk-sts"),
    ] {
        let case = Case::new(vector(file, id));
        let bucket = bucket("cam-bucket", Acl::Private);
        let keys = access_keys();
        let policy = policy(&keys, Some(&bucket));
        let grant =
            case.sent.ask(Action::ReadObject, |ask| access::admit(ask, &policy, at(NOW))).unwrap();
        let mut signer = grant.playlist_signer(&policy).unwrap();
        for key in ["test_rtmp_live/1700000000000.ts", "a b+中%/1700000000001.ts"] {
            let mut query = String::from("kept");
            signer.query_for(key, &mut query);
            let query = query.strip_prefix("kept?").unwrap();
            let admit = |method: &str, key: &str, now| {
                let sent = Sent::http(method, "cam-bucket", key, query, &[]);
                sent.ask(Action::ReadObject, |ask| access::admit(ask, &policy, at(now)))
                    .map(|_| ())
                    .map_err(|r| r.code())
            };
            assert_eq!(admit("GET", key, NOW), Ok(()), "{id} {key}");
            assert_eq!(admit("GET", key, NOW + 3600), Ok(()), "{id} {key}");
            assert_eq!(admit("GET", key, NOW + 3601), Err("AccessDenied"), "{id} {key}");
            assert_eq!(
                admit("GET", "test_rtmp_live/1700000000002.ts", NOW),
                Err("SignatureDoesNotMatch"),
                "{id}"
            );
            assert_eq!(admit("PUT", key, NOW), Err("SignatureDoesNotMatch"), "{id} {key}");
        }
    }
}

#[test]
fn a_segments_signature_is_the_one_that_the_sdk_makes_for_it() {
    for (playlist, segment) in [
        (("v1_url", "v1u-process"), ("v1_url", "v1u-plain")),
        (("v1_url", "v1u-sts-process"), ("v1_url", "v1u-sts")),
        (("v4_url", "v4u-process"), ("v4_url", "v4u-plain")),
        (("v4_url", "v4u-sts"), ("v4_url", "v4u-v2sdk-sts")),
    ] {
        let (playlist, segment) = (vector(playlist.0, playlist.1), vector(segment.0, segment.1));
        let case = Case::new(playlist);
        let bucket = bucket("cam-bucket", Acl::Private);
        let keys = access_keys();
        let policy = policy(&keys, Some(&bucket));
        let grant =
            case.sent.ask(Action::ReadObject, |ask| access::admit(ask, &policy, at(NOW))).unwrap();
        let mut query = String::new();
        grant
            .playlist_signer(&policy)
            .unwrap()
            .query_for(segment["key"].as_str().unwrap(), &mut query);
        let sorted = |text: &str| {
            let mut pairs: Vec<_> = text.split('&').map(str::to_owned).collect();
            pairs.sort();
            pairs
        };
        let wanted = segment["target"].as_str().unwrap().split_once('?').unwrap().1.to_owned();
        assert_eq!(sorted(query.strip_prefix('?').unwrap()), sorted(&wanted), "{}", segment["id"]);
    }
}

#[test]
fn hls_sign_needs_a_url_that_is_signed() {
    let key = access_key();
    let keys = [key.clone()];
    let public = bucket("cams", Acl::PublicRead);
    let policy = policy(&keys, Some(&public));
    let hls_sign = "x-oss-process=hls%2Fsign";
    let date = UnixSecs(NOW).http_date().to_string();
    let text = format!("GET\n\n\n{date}\n/cams/door/a.m3u8?x-oss-process=hls/sign");
    let authorization = format!("OSS {KEY_ID}:{}", sign_v1(&text));
    let by_header = [("date", &*date), ("authorization", &*authorization)];
    for headers in [&[][..], &by_header] {
        let sent = Sent::http("GET", "cams", "door/a.m3u8", hls_sign, headers);
        let grant =
            sent.ask(Action::ReadObject, |ask| access::admit(ask, &policy, at(NOW))).unwrap();
        let refusal = grant.playlist_signer(&policy).unwrap_err();
        assert_eq!(
            (refusal.status(), refusal.code(), refusal.ec()),
            (400, "InvalidRequest", "0044-00000410")
        );
        assert_eq!(grant.hls_sign_in_key("door/a.m3u8?x-oss-process=hls/sign"), None);
    }
}

#[test]
fn the_url_of_the_sdks_sign_url_is_understood_unedited_in_version_1_only() {
    for (file, id, is_understood) in
        [("v1_url", "v1u-seed-raw", true), ("v4_url", "v4u-seed-raw", false)]
    {
        let case = Case::new(vector(file, id));
        let grant = case.sent.admit(Acl::Private, NOW).unwrap().unwrap();
        let key = case.sent.key();
        let playlist = grant.hls_sign_in_key(&key);
        assert_eq!(playlist, is_understood.then_some("test_rtmp_live/test.m3u8"), "{id}");
        assert_eq!(grant.hls_sign_in_key("test_rtmp_live/test.m3u8"), None);
    }
}

#[test]
fn a_hls_sign_token_has_the_documented_form() {
    let long = "a".repeat(101);
    for (token, is_good) in [
        ("", true),
        ("Ab0_-.", true),
        (&long[1..], true),
        (&long, false),
        ("a b", false),
        ("a/b", false),
    ] {
        let headers = [("x-oss-hls-sign-token", token)];
        let sent = Sent::http("GET", "cams", "door/a.m3u8", "x-oss-process=hls/sign", &headers);
        assert_eq!(sent.admit(Acl::PublicRead, NOW).is_ok(), is_good, "{token}");
        let plain = Sent::http("GET", "cams", "door/a.m3u8", "", &headers);
        assert!(plain.admit(Acl::PublicRead, NOW).is_ok(), "{token}");
    }
}

/// A request for `key` in the bucket `cams`, signed by [`sign_v1`].
fn signed(method: &str, key: &str, signature: Signature, referer: Listed, origin: Listed) -> Sent {
    let expires = if signature == Signature::UrlExpired { NOW - 1 } else { NOW + 60 };
    let date = UnixSecs(NOW).http_date().to_string();
    let is_in_url =
        matches!(signature, Signature::Url | Signature::UrlWrong | Signature::UrlExpired);
    let when = if is_in_url { expires.to_string() } else { date.clone() };
    let mut text = format!("{method}\n\n\n{when}\n/cams/{key}");
    if matches!(signature, Signature::UrlWrong | Signature::HeaderWrong) {
        text.push('x');
    }
    let signature_text = sign_v1(&text);
    let escaped = signature_text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let query = format!("OSSAccessKeyId={KEY_ID}&Expires={expires}&Signature={escaped}");
    let authorization = format!("OSS {KEY_ID}:{signature_text}");
    let mut headers = Vec::new();
    if matches!(signature, Signature::Header | Signature::HeaderWrong) {
        headers.extend([("Date", &*date), ("Authorization", &*authorization)]);
    }
    let page = |listed, slash| match (listed, slash) {
        (Listed::Absent, _) => None,
        (Listed::Allowed, true) => Some("http://page.lan/"),
        (Listed::Allowed, false) => Some("http://page.lan"),
        (Listed::Denied, true) => Some("http://evil.org/"),
        (Listed::Denied, false) => Some("http://evil.org"),
    };
    headers.extend(page(referer, true).map(|value| ("Referer", value)));
    headers.extend(page(origin, false).map(|value| ("Origin", value)));
    Sent::http(method, "cams", key, if is_in_url { &query } else { "" }, &headers)
}

/// Version 1 by the page: base64(hmac-sha1(secret, text)).
fn sign_v1(text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Version 4 by the page: the text under a key that is made for the day, the region and the service.
fn sign_v4(text: &str) -> String {
    let hmac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    let secret = format!("aliyun_v4{SECRET}");
    let day = hmac(secret.as_bytes(), "20231114");
    let service = hmac(&hmac(&day, "cn-hangzhou"), "oss");
    let signature = hmac(&hmac(&service, "aliyun_v4_request"), text);
    signature.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_tells_no_secret(refusal: Refusal, id: &str) {
    let said = format!("{refusal} {refusal:?}");
    let log = refusal.advice();
    for secret in access_keys().iter().map(|key| key.secret.clone()) {
        assert!(!said.contains(&*secret) && !log.contains(&*secret), "{id}");
    }
    assert!(!log.is_empty() && !log.contains("Signature="), "{id}");
}
