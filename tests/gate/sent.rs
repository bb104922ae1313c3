//! A request or a publish URL as it comes over the wire, and what of it is signed.

use sluicegate::{
    access::{self, Action, Ask, Grant, PublishAsk, Refusal},
    config::Acl,
    query::{Query, decode_path},
};

use crate::setup::{access_keys, at, plain_bucket, policy};

/// A request or a publish URL as it comes over the wire.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Http {
        method: String,
        bucket: String,
        /// The key as it stands in the path, and what stands behind the `?`.
        raw_key: String,
        raw_query: String,
        headers: Vec<(String, String)>,
    },
    Rtmp {
        bucket: String,
        channel: String,
        query: String,
    },
}

impl Sent {
    pub(crate) fn http(
        method: &str,
        bucket: &str,
        key: &str,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let mut raw_key = String::new();
        sluicegate::query::encode(key, &mut raw_key);
        Self::Http {
            method: method.into(),
            bucket: bucket.into(),
            raw_key,
            raw_query: query.into(),
            headers: headers.iter().map(|(n, v)| (String::from(*n), String::from(*v))).collect(),
        }
    }

    /// The grant if it is let in; `None` for a publisher.
    pub(crate) fn admit(&self, acl: Acl, now: u64) -> Result<Option<Grant>, Refusal> {
        let keys = access_keys();
        match self {
            Self::Http { bucket: name, .. } => {
                let bucket = plain_bucket(name, acl);
                let policy = policy(&keys, Some(&bucket));
                self.ask(Action::ReadObject, |ask| access::admit(ask, &policy, at(now))).map(Some)
            }
            Self::Rtmp { bucket: name, channel, query } => {
                let bucket = plain_bucket(name, acl);
                let query = Query::parse(query)?;
                let ask = PublishAsk { channel, query: &query };
                let grant = access::admit_publish(&ask, &policy(&keys, Some(&bucket)), at(now))?;
                assert_eq!(grant.is_signed(), query.has("Signature"));
                Ok(None)
            }
        }
    }

    pub(crate) fn ask(
        &self,
        action: Action,
        admit: impl FnOnce(&Ask<'_>) -> Result<Grant, Refusal>,
    ) -> Result<Grant, Refusal> {
        let Self::Http { method, raw_query, headers, .. } = self else { panic!("not HTTP") };
        let headers: Vec<_> = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        let query = Query::parse(raw_query)?;
        admit(&Ask { action, method, key: &self.key(), query: &query, headers: &headers })
    }

    /// The key, decoded. One that is not UTF-8 never comes as far as the gate; here it stands for a key that nobody signed.
    pub(crate) fn key(&self) -> String {
        let Self::Http { raw_key, .. } = self else { panic!("not HTTP") };
        decode_path(raw_key).map_or("\u{fffd}".into(), |key| key.into_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let Self::Http { headers, .. } = self else { return None };
        headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    fn raw_query(&self) -> &str {
        match self {
            Self::Http { raw_query, .. } => raw_query,
            Self::Rtmp { query, .. } => query,
        }
    }

    /// The same with a well-formed signature of something else.
    pub(crate) fn with_another_signature(&self) -> Self {
        let v1 = ("Signature=", "AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D");
        let v4 = "0".repeat(64);
        let replace = |query: &mut String| {
            for (name, value) in [("x-oss-signature=", &*v4), v1] {
                let Some(at) = query.find(name) else { continue };
                let from = at + name.len();
                let to = query[from..].find('&').map_or(query.len(), |length| from + length);
                query.replace_range(from..to, value);
                return;
            }
        };
        let mut other = self.clone();
        match &mut other {
            Self::Rtmp { query, .. } => replace(query),
            Self::Http { raw_query, headers, .. } => {
                replace(raw_query);
                for (_, value) in headers.iter_mut().filter(|(name, _)| name == "authorization") {
                    if let Some(at) = value.find("Signature=") {
                        value.replace_range(at + 10..at + 74, &v4);
                    } else {
                        let at = value.find(':').unwrap();
                        value.replace_range(at + 1.., "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
                    }
                }
            }
        }
        other
    }

    /// Everything that is one byte away, four ways per byte, with a word on where.
    pub(crate) fn mutations(&self) -> Vec<(String, Self)> {
        let mut found = Vec::new();
        let mut each = |what: &str, text: &str, put: &dyn Fn(&mut Self, String)| {
            for changed in one_byte_away(text) {
                let mut other = self.clone();
                put(&mut other, changed.clone());
                found.push((format!("{what} {changed}"), other));
            }
        };
        match self {
            Self::Rtmp { bucket, channel, query } => {
                each("bucket", bucket, &|sent, text| {
                    if let Self::Rtmp { bucket, .. } = sent {
                        *bucket = text
                    }
                });
                each("channel", channel, &|sent, text| {
                    if let Self::Rtmp { channel, .. } = sent {
                        *channel = text
                    }
                });
                each("query", query, &|sent, text| {
                    if let Self::Rtmp { query, .. } = sent {
                        *query = text
                    }
                });
            }
            Self::Http { method, bucket, raw_key, raw_query, headers } => {
                each("method", method, &|sent, text| {
                    if let Self::Http { method, .. } = sent {
                        *method = text
                    }
                });
                each("bucket", bucket, &|sent, text| {
                    if let Self::Http { bucket, .. } = sent {
                        *bucket = text
                    }
                });
                each("key", raw_key, &|sent, text| {
                    if let Self::Http { raw_key, .. } = sent {
                        *raw_key = text
                    }
                });
                each("query", raw_query, &|sent, text| {
                    if let Self::Http { raw_query, .. } = sent {
                        *raw_query = text
                    }
                });
                for (index, (name, value)) in headers.iter().enumerate() {
                    each("header name", name, &|sent, text| {
                        if let Self::Http { headers, .. } = sent {
                            headers[index].0 = text
                        }
                    });
                    each(name, value, &|sent, text| {
                        if let Self::Http { headers, .. } = sent {
                            headers[index].1 = text
                        }
                    });
                }
            }
        }
        found
    }

    fn is_v4(&self) -> bool {
        self.raw_query().contains("x-oss-credential=")
            || self.header("authorization").is_some_and(|text| text.starts_with("OSS4"))
    }

    /// Names of the parameters that are signed.
    pub(crate) fn parameter_names(&self) -> Vec<String> {
        const UNSIGNED_IN_V1: [&str; 9] = [
            "prefix",
            "marker",
            "max-keys",
            "delimiter",
            "encoding-type",
            "list-type",
            "start-after",
            "fetch-owner",
            "foo",
        ];
        let query = Query::parse(self.raw_query()).unwrap();
        let is_signed = |name: &&str| match self {
            Self::Rtmp { .. } => *name != "SecurityToken",
            Self::Http { .. } => self.is_v4() || !UNSIGNED_IN_V1.contains(name),
        };
        query.iter().map(|(name, _)| name).filter(is_signed).map(str::to_owned).collect()
    }

    /// What is signed of it, decoded and in one order. `names`: the parameters that count in version 1; the first of
    /// each does. In version 4 all count.
    pub(crate) fn signed_view(&self, names: &[String]) -> Vec<String> {
        let query = Query::parse(self.raw_query()).unwrap();
        let mut view = Vec::new();
        if self.is_v4() {
            view.extend(query.iter().map(|(name, value)| format!("{name}={value}")));
            view.sort();
        } else {
            view.extend(names.iter().map(|name| format!("{name}={:?}", query.first(name))));
        }
        match self {
            Self::Rtmp { bucket, channel, .. } => view.extend([bucket.clone(), channel.clone()]),
            Self::Http { method, bucket, headers, .. } => {
                view.extend([method.clone(), bucket.clone(), self.key()]);
                let authorization = self.header("authorization");
                let additional = authorization
                    .and_then(|text| text.split_once("AdditionalHeaders="))
                    .map(|(_, name)| name);
                let additional =
                    additional.or(query.first("x-oss-additional-headers")).map(str::to_lowercase);
                let is_date_signed =
                    authorization.is_some() && !self.is_v4() && self.header("x-oss-date").is_none();
                let is_signed = |name: &str| match name {
                    "content-type" | "content-md5" => true,
                    "date" => is_date_signed,
                    _ => name.starts_with("x-oss-") || Some(name) == additional.as_deref(),
                };
                let lower = headers.iter().map(|(name, value)| (name.to_lowercase(), value));
                view.extend(
                    lower
                        .filter(|(name, _)| is_signed(name))
                        .map(|(name, value)| format!("{name}: {value}")),
                );
                let parts = authorization
                    .into_iter()
                    .flat_map(|text| text.split([',', ' ']))
                    .filter(|part| !part.is_empty());
                let is_names = |part: &str| part.starts_with("AdditionalHeaders=");
                view.extend(parts.map(|part| {
                    if is_names(part) { part.to_lowercase() } else { part.to_owned() }
                }));
            }
        }
        view
    }
}

/// `text` with one byte changed: its lowest bit, its case bit, `%` and `&` in its place. What no HTTP line or AMF string
/// can hold is left out.
fn one_byte_away(text: &str) -> impl Iterator<Item = String> + '_ {
    text.bytes().enumerate().flat_map(move |(at, byte)| {
        [byte ^ 1, byte ^ 0x20, b'%', b'&']
            .into_iter()
            .filter(move |other| *other != byte)
            .filter_map(move |other| {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = other;
                String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
            })
    })
}
