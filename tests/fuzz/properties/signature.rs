//! Queries, signatures, Referer and CORS: nobody gets in who does not know the secret, and what is encoded comes back.

use sluicegate::{
    access::{self, Action, Ask, GateTime, Policy, PublishAsk, Scope},
    config::{AccessKey, Acl, Bucket, Cors, CorsRule, Referer, RefererMatch},
    query::{self, Query, decode_path},
    rtmp::Address,
    units::UnixSecs,
};

use super::Input;

/// Lines: method, key, query, then headers as `name: value`; rules and patterns are taken from the same lines.
pub(crate) fn hold(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.byte();
    let (method, key, raw) = (input.line(), input.line(), input.line());
    let mut headers = Vec::new();
    while !input.is_empty() && headers.len() < 16 {
        let line = input.line();
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        headers.push((name, value));
    }
    let acl = [Acl::Private, Acl::PublicRead, Acl::PublicReadWrite][usize::from(how % 3)];
    let bucket = bucket(acl, how, key, &headers);
    // The id is known to everybody; the secret is not in any corpus.
    let keys = [AccessKey {
        id: "LTAI5tVectorKey000001".into(),
        secret: "NotTheSecretOfTheVectors".into(),
    }];
    let policy =
        Policy { access_keys: &keys, region: "cn-hangzhou", scope: Scope::Bucket(&bucket) };
    let now = GateTime { now: UnixSecs(1_700_000_000), plausible_min: UnixSecs(1_600_000_000) };

    encoded_comes_back(raw);
    if let Ok(query) = Query::parse(raw) {
        for action in [Action::ReadObject, Action::WriteObject, Action::Own, Action::Console] {
            let ask = Ask { action, method, key, query: &query, headers: &headers };
            match access::admit(&ask, &policy, now) {
                Ok(grant) => {
                    assert!(!grant.is_signed(), "signed without the secret");
                    assert_ne!(acl, Acl::Private, "let in without a signature");
                    assert!(matches!(action, Action::ReadObject | Action::WriteObject));
                    assert!(grant.playlist_signer(&policy).is_err(), "it has no key to sign with");
                }
                Err(refusal) => {
                    assert!((400..=403).contains(&refusal.status()), "{refusal:?}");
                    let _ = (refusal.message(), refusal.advice(), refusal.extras());
                }
            }
        }
        let ask = PublishAsk { channel: key, query: &query };
        if let Ok(grant) = access::admit_publish(&ask, &policy, now) {
            assert!(!grant.is_signed() && acl == Acl::PublicReadWrite);
        }
    }
    let address = Address::join(method, key, raw);
    assert!(!address.channel.contains('/') && !address.host.contains(['/', '@']));

    let header = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, v)| *v);
    let sent = access::cors_headers(&bucket.cors, header("origin"), method);
    let origin = sent.iter().find(|(name, _)| *name == "Access-Control-Allow-Origin");
    assert!(origin.is_none() || header("origin").is_some(), "CORS for nobody");
    let _ = access::preflight(&bucket.cors, header("origin"), Some(method), Some(key));
}

fn encoded_comes_back(text: &str) {
    let mut encoded = String::new();
    query::encode(text, &mut encoded);
    let pair = format!("n={encoded}");
    assert_eq!(Query::parse(&pair).expect("one pair").first("n"), Some(text));
    encoded.clear();
    query::encode_path(text, &mut encoded);
    assert_eq!(decode_path(&encoded).as_deref(), Some(text));
}

fn bucket(acl: Acl, how: u8, key: &str, headers: &[(&str, &str)]) -> Bucket {
    let patterns: Vec<_> = headers.iter().map(|(_, value)| (*value).into()).collect();
    let (white, black) = patterns.split_at(patterns.len() / 2);
    let rule = CorsRule {
        allowed_origins: patterns.clone(),
        allowed_methods: vec!["GET".into(), "HEAD".into()],
        allowed_headers: vec![key.into(), "x-*".into()],
        expose_headers: vec!["ETag".into()],
        max_age_seconds: Some(600),
    };
    Bucket {
        name: "cam-bucket".into(),
        acl,
        hosts: Vec::new(),
        dynamic_channels: None,
        referer: Referer {
            allow_empty: how & 8 == 0,
            whitelist: white.to_vec(),
            blacklist: black.to_vec(),
            allow_truncate_query_string: how & 16 == 0,
            truncate_path: how & 32 != 0,
            matching: if how & 64 == 0 { RefererMatch::Prefix } else { RefererMatch::Boundary },
        },
        cors: Cors { response_vary: how & 128 == 0, rules: vec![rule] },
        live_channels: Vec::new(),
    }
}
