//! Signatures, version 1: in the Authorization header or in the URL.
//!
//! Sources: OSS, "Include signatures in the Authorization header" and "Add signatures to URLs". What they sign:
//!
//! ```text
//! VERB \n Content-MD5 \n Content-Type \n DATE-or-Expires \n x-oss-headers /BUCKET/KEY?subresources
//! ```
//!
//! The key and the values are signed decoded. A parameter that is no sub-resource is not signed, so anybody may add one:
//! none may change what an answer opens.

use hmac::Mac;
use smol_str::SmolStr;

use super::{Ask, GateTime, Policy, Refusal, mac, write_root};
use crate::{config::AccessKey, limits::QUERY_PAIRS_MAX, query::Query, units::UnixSecs};

/// The parameters that make a URL a signed one.
pub(super) const URL_PARAMETERS: [&str; 3] = ["OSSAccessKeyId", "Expires", "Signature"];

/// What a signed URL says, once its signature is found right.
#[derive(Debug)]
pub(super) struct UrlV1 {
    pub(super) access_key_id: SmolStr,
    pub(super) expires: UnixSecs,
    pub(super) security_token: Option<SmolStr>,
}

/// Checks `authorization`, which is `ID:SIGNATURE`.
pub(super) fn verify_header(
    authorization: &str,
    ask: &Ask<'_>,
    policy: &Policy<'_>,
    now: GateTime,
) -> Result<(), Refusal> {
    let (id, signature) = authorization.split_once(':').ok_or_else(Refusal::bad_authorization)?;
    let date = ask.header("x-oss-date").or_else(|| ask.header("date")).unwrap_or("");
    now.check_skew(UnixSecs::parse_http_date(date).ok_or_else(Refusal::no_date)?)?;
    check(&string_to_sign(ask, policy.bucket_name(), date), policy.access_key(id)?, signature)
}

/// Checks a signed URL. `Expires` comes before the signature: it costs no HMAC.
pub(super) fn verify_url(
    ask: &Ask<'_>,
    policy: &Policy<'_>,
    now: GateTime,
) -> Result<UrlV1, Refusal> {
    let [id, expires_text, signature] = url_parameters(ask.query).map_err(Refusal::incomplete)?;
    let expires = parse_expires(expires_text).ok_or_else(|| Refusal::incomplete("Expires"))?;
    now.check_expires(expires)?;
    let key = policy.access_key(id)?;
    check(&string_to_sign(ask, policy.bucket_name(), expires_text), key, signature)?;
    let security_token = ask.query.first("security-token").map(SmolStr::new);
    Ok(UrlV1 { access_key_id: key.id.clone(), expires, security_token })
}

/// The values of [`URL_PARAMETERS`], or which one is missing or empty. RTMP URLs have the same.
pub(super) fn url_parameters<'q>(query: &'q Query<'_>) -> Result<[&'q str; 3], &'static str> {
    let value = |name| query.first(name).filter(|value| !value.is_empty()).ok_or(name);
    let [id, expires, signature] = URL_PARAMETERS;
    Ok([value(id)?, value(expires)?, value(signature)?])
}

/// Reads an `Expires`: decimal digits and nothing else.
pub(super) fn parse_expires(text: &str) -> Option<UnixSecs> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok().map(UnixSecs))?
}

fn check(string_to_sign: &str, key: &AccessKey, signature: &str) -> Result<(), Refusal> {
    if mac::is_base64(sign(string_to_sign, key), signature) {
        Ok(())
    } else {
        Err(Refusal::mismatch(&key.id, signature, string_to_sign))
    }
}

/// The HMAC of V1 and of RTMP URLs.
pub(super) fn sign(string_to_sign: &str, key: &AccessKey) -> mac::HmacSha1 {
    let mut mac: mac::HmacSha1 = mac::keyed(key.secret.as_bytes());
    mac.update(string_to_sign.as_bytes());
    mac
}

fn string_to_sign(ask: &Ask<'_>, bucket: &str, date: &str) -> String {
    let mut text = String::with_capacity(256);
    let header = |name| ask.header(name).unwrap_or("");
    for line in [ask.method, header("content-md5"), header("content-type"), date] {
        text.push_str(line);
        text.push('\n');
    }
    ask.write_signed_headers(|name| name.starts_with("x-oss-"), &mut text);
    write_resource(bucket, ask.key, ask.query, &mut text);
    text
}

/// Writes `/BUCKET/KEY` and the sub-resources, sorted. Of two with one name the first is signed, as the first is meant.
fn write_resource(bucket: &str, key: &str, query: &Query<'_>, out: &mut String) {
    write_root(bucket, out);
    out.push_str(key);
    let mut signed: heapless::Vec<(&str, &str), QUERY_PAIRS_MAX> = heapless::Vec::new();
    for pair in query.iter().filter(|(name, _)| is_subresource(name)) {
        if !signed.iter().any(|(name, _)| *name == pair.0) {
            // A query has no more pairs than there is room for.
            let _ = signed.push(pair);
        }
    }
    signed.sort_unstable();
    for (index, (name, value)) in signed.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
}

/// Whether a query parameter is part of the resource that is signed.
fn is_subresource(name: &str) -> bool {
    name.starts_with("x-oss-ac-") || SUBRESOURCES.binary_search(&name).is_ok()
}

/// The union of OSS's page and of what its Python SDK (oss2 2.19) signs; sorted.
const SUBRESOURCES: [&str; 68] = [
    "acl",
    "append",
    "asyncFetch",
    "bucketInfo",
    "callback",
    "callback-var",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "delete",
    "encryption",
    "endTime",
    "group",
    "img",
    "inventory",
    "inventoryId",
    "lifecycle",
    "link",
    "live",
    "location",
    "logging",
    "metaQuery",
    "objectInfo",
    "objectMeta",
    "partNumber",
    "policy",
    "position",
    "qos",
    "qosInfo",
    "referer",
    "regionList",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requestPayment",
    "resourceGroup",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "security-token",
    "sequential",
    "startTime",
    "stat",
    "status",
    "style",
    "styleName",
    "symlink",
    "tagging",
    "transferAcceleration",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "vod",
    "website",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-async-process",
    "x-oss-process",
    "x-oss-request-payer",
    "x-oss-traffic-limit",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subresources_are_sorted_so_that_they_are_found() {
        assert!(SUBRESOURCES.is_sorted());
        assert!(
            is_subresource("live")
                && is_subresource("x-oss-process")
                && is_subresource("x-oss-ac-vpc-id")
        );
        assert!(
            !is_subresource("prefix") && !is_subresource("x-oss-ac") && !is_subresource("Live")
        );
    }

    #[test]
    fn the_resource_is_decoded_sorted_and_holds_each_subresource_once() {
        let table = [
            ("", "/cams/a b"),
            ("prefix=x&max-keys=2", "/cams/a b"),
            ("live&comp=stat", "/cams/a b?comp=stat&live"),
            ("live=", "/cams/a b?live"),
            ("x-oss-process=hls%2Fsign", "/cams/a b?x-oss-process=hls/sign"),
            ("vod&startTime=1&endTime=2&vod=3", "/cams/a b?endTime=2&startTime=1&vod"),
        ];
        for (query, expected) in table {
            let mut out = String::new();
            write_resource("cams", "a b", &Query::parse(query).unwrap(), &mut out);
            assert_eq!(out, expected, "{query}");
        }
    }

    #[test]
    fn expires_is_digits_and_nothing_else() {
        assert_eq!(parse_expires("1700000000"), Some(UnixSecs(1_700_000_000)));
        for bad in ["", "+1", "-1", "1.0", " 1", "1e9", "soon", "99999999999999999999"] {
            assert_eq!(parse_expires(bad), None, "{bad}");
        }
    }
}
