//! Keys, a clock and buckets to try the gate with.

use sluicegate::{
    access::{GateTime, Policy, Scope},
    config::{AccessKey, Acl, Bucket, Cors, CorsRule, Referer, RefererMatch},
    units::UnixSecs,
};

/// The clock of the vectors.
pub(crate) const NOW: u64 = 1_700_000_000;

/// A key that belongs to nobody.
pub(crate) const KEY_ID: &str = "LTAI5tVectorKey000001";

/// Its secret.
pub(crate) const SECRET: &str = "VectorSecret0123456789abcdefABCD";

pub(crate) fn access_key() -> AccessKey {
    AccessKey { id: KEY_ID.into(), secret: SECRET.into() }
}

pub(crate) fn access_keys() -> [AccessKey; 2] {
    [
        access_key(),
        AccessKey {
            id: "STS.VectorKey000002".into(),
            secret: "StsSecret0123456789abcdefABCDEFG".into(),
        },
    ]
}

/// The vectors' clock stands in 2023, so what is plausible starts there.
pub(crate) fn at(now: u64) -> GateTime {
    GateTime { now: UnixSecs(now), plausible_min: UnixSecs(NOW - 1_000_000) }
}

pub(crate) fn policy<'a>(access_keys: &'a [AccessKey], bucket: Option<&'a Bucket>) -> Policy<'a> {
    let scope = bucket.map_or(Scope::Console, Scope::Bucket);
    Policy { access_keys, region: "cn-hangzhou", scope }
}

/// A bucket without Referer and CORS rules.
pub(crate) fn plain_bucket(name: &str, acl: Acl) -> Bucket {
    Bucket {
        name: name.into(),
        acl,
        hosts: Vec::new(),
        dynamic_channels: None,
        referer: Referer {
            allow_empty: true,
            whitelist: Vec::new(),
            blacklist: Vec::new(),
            allow_truncate_query_string: true,
            truncate_path: false,
            matching: RefererMatch::Prefix,
        },
        cors: Cors::default(),
        live_channels: Vec::new(),
    }
}

/// A bucket that `http://page.lan` may embed and read from.
pub(crate) fn bucket(name: &str, acl: Acl) -> Bucket {
    let mut bucket = plain_bucket(name, acl);
    bucket.referer.whitelist = vec!["http://page.lan".into(), "http://*.page.lan".into()];
    bucket.referer.blacklist = vec!["http://bad.page.lan".into()];
    let get = CorsRule {
        allowed_origins: vec!["http://page.lan".into()],
        allowed_methods: vec!["GET".into(), "HEAD".into()],
        allowed_headers: vec!["range".into(), "x-*".into()],
        expose_headers: vec!["ETag".into()],
        max_age_seconds: Some(600),
    };
    let post = CorsRule {
        allowed_origins: vec!["*".into()],
        allowed_methods: vec!["POST".into()],
        ..get.clone()
    };
    bucket.cors = Cors { response_vary: true, rules: vec![get, post] };
    bucket
}
