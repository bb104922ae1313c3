//! What the SDKs sign: `data/vectors/README.md` says how it was made.

use serde_json::Value;
use sluicegate::rtmp::Address;

use crate::sent::Sent;

pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) json: Value,
    pub(crate) sent: Sent,
    pub(crate) now: u64,
}

impl Case {
    /// Takes the target apart as the router does: raw at the first `?`, then at the first raw slash behind the bucket.
    pub(crate) fn new(json: Value) -> Self {
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        let sent = if json["stream"].is_string() {
            let address = Address::join(&text("tc_url"), &text("app"), &text("stream"));
            let bucket = match text("addressing").as_str() {
                "path" => address.folder.split('/').next().unwrap().to_owned(),
                _ => text("bucket"),
            };
            Sent::Rtmp { bucket, channel: address.channel, query: address.query }
        } else {
            let target = text("target");
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let path = path.strip_prefix('/').unwrap();
            let (bucket, raw_key) = match text("addressing").as_str() {
                "path" => path.split_once('/').unwrap_or((path, "")),
                _ => (json["bucket"].as_str().unwrap(), path),
            };
            let headers = json["headers"].as_object().unwrap().iter();
            Sent::Http {
                method: text("method"),
                bucket: bucket.into(),
                raw_key: raw_key.into(),
                raw_query: query.into(),
                headers: headers
                    .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                    .collect(),
            }
        };
        let (id, now) = (text("id"), json["now"].as_u64().unwrap());
        Self { id, sent, now, json }
    }
}

fn vectors(file: &str) -> Vec<Value> {
    let text = match file {
        "v1_header" => include_str!("../data/vectors/v1_header.json"),
        "v1_url" => include_str!("../data/vectors/v1_url.json"),
        "v4_header" => include_str!("../data/vectors/v4_header.json"),
        "v4_url" => include_str!("../data/vectors/v4_url.json"),
        "rtmp" => include_str!("../data/vectors/rtmp.json"),
        _ => include_str!("../data/vectors/ali_oss_js.json"),
    };
    let json: Value = serde_json::from_str(text).unwrap();
    json["cases"].as_array().unwrap().clone()
}

pub(crate) fn vector(file: &str, id: &str) -> Value {
    vectors(file).into_iter().find(|case| case["id"] == id).unwrap()
}

pub(crate) fn http_vectors() -> Vec<Case> {
    let files = ["v1_header", "v1_url", "v4_header", "v4_url", "ali_oss_js"];
    files
        .into_iter()
        .flat_map(vectors)
        .filter(|case| !case["stream"].is_string())
        .map(Case::new)
        .collect()
}

pub(crate) fn rtmp_vectors() -> Vec<Case> {
    ["rtmp", "ali_oss_js"]
        .into_iter()
        .flat_map(vectors)
        .filter(|case| case["stream"].is_string())
        .map(Case::new)
        .collect()
}
