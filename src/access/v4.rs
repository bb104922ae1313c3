//! Signatures, version 4: in the Authorization header or in the URL.
//!
//! Source: OSS, "Authorize access with signature version 4". What is signed is the hash of a canonical request:
//!
//! ```text
//! VERB \n /BUCKET/KEY \n query \n headers \n names of additional headers \n UNSIGNED-PAYLOAD
//! ```
//!
//! Path and query are signed percent-coded in one canonical form, however they came, and every parameter is signed. The key
//! of the HMAC is bound to a day, a region and the service. Bodies are not hashed: what asks for that is refused.

use hmac::Mac;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::{Ask, GateTime, Policy, Refusal, mac, v1, write_root};
use crate::{
    config::AccessKey,
    limits::V4_EXPIRES_SECS_MAX,
    query::{Query, encode, encode_path},
    units::UnixSecs,
};

/// The parameters that make a URL a signed one.
pub(super) const URL_PARAMETERS: [&str; 3] =
    ["x-oss-signature-version", "x-oss-credential", "x-oss-signature"];

/// The algorithm's name: first word of an Authorization header and first line of the string to sign.
pub(super) const ALGORITHM: &str = "OSS4-HMAC-SHA256";

/// What stands for the body's hash.
pub(super) const PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The service and the last word of every scope.
const SERVICE: &str = "oss/aliyun_v4_request";

/// What a signed URL says, once its signature is found right.
#[derive(Debug)]
pub(super) struct UrlV4 {
    pub(super) access_key_id: SmolStr,
    /// When it was signed, as sent: `20231114T221320Z`.
    pub(super) date: SmolStr,
    /// How long it lives, in seconds.
    pub(super) expires_secs: u64,
    pub(super) region: SmolStr,
    pub(super) security_token: Option<SmolStr>,
}

/// A signature's parts as sent.
struct Parts<'a> {
    access_key_id: &'a str,
    /// `YYYYMMDDThhmmssZ`.
    date: &'a str,
    /// Names of headers that are signed beside those that always are, joined by `;`.
    additional: &'a str,
    signature: &'a str,
}

/// Checks `authorization`, which is `Credential=…,Signature=…[,AdditionalHeaders=…]` in any order.
pub(super) fn verify_header(
    authorization: &str,
    ask: &Ask<'_>,
    policy: &Policy<'_>,
    now: GateTime,
) -> Result<(), Refusal> {
    let part = |name: &str| {
        let mut parts = authorization.split(',').filter_map(|part| part.trim().split_once('='));
        parts.find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    let credential = part("Credential").ok_or_else(Refusal::bad_authorization)?;
    let signature = part("Signature").ok_or_else(Refusal::bad_authorization)?;
    let date = ask.header("x-oss-date").unwrap_or("");
    now.check_skew(parse_date(date).ok_or_else(Refusal::no_date)?)?;
    let access_key_id = check_credential(credential, date, policy.region)?;
    let additional = part("AdditionalHeaders").unwrap_or("");
    check(&Parts { access_key_id, date, additional, signature }, ask, policy)?;
    Ok(())
}

/// Checks a signed URL. Its date and its end come before the signature: they cost no HMAC.
pub(super) fn verify_url(
    ask: &Ask<'_>,
    policy: &Policy<'_>,
    now: GateTime,
) -> Result<UrlV4, Refusal> {
    let value = |name| {
        ask.query.first(name).filter(|v| !v.is_empty()).ok_or_else(|| Refusal::incomplete(name))
    };
    let version = value("x-oss-signature-version")?;
    if version != ALGORITHM {
        let message = "x-oss-signature-version must be OSS4-HMAC-SHA256.";
        return Err(Refusal::invalid("x-oss-signature-version", version, message));
    }
    let (credential, signature) = (value("x-oss-credential")?, value("x-oss-signature")?);
    let (date, expires) = (value("x-oss-date")?, value("x-oss-expires")?);
    let signed_at = parse_date(date).ok_or_else(|| Refusal::incomplete("x-oss-date"))?;
    let expires_secs =
        parse_expires_secs(expires).ok_or_else(|| Refusal::incomplete("x-oss-expires"))?;
    now.check_not_ahead(signed_at)?;
    now.check_expires(UnixSecs(signed_at.0 + expires_secs))?;
    let access_key_id = check_credential(credential, date, policy.region)?;
    let additional = ask.query.first("x-oss-additional-headers").unwrap_or("");
    let key = check(&Parts { access_key_id, date, additional, signature }, ask, policy)?;
    Ok(UrlV4 {
        access_key_id: key.id.clone(),
        date: date.into(),
        expires_secs,
        region: policy.region.into(),
        security_token: ask.query.first("x-oss-security-token").map(SmolStr::new),
    })
}

/// Reads `YYYYMMDDThhmmssZ`.
fn parse_date(text: &str) -> Option<UnixSecs> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    if day.len() != 8
        || time.len() != 6
        || !day.bytes().chain(time.bytes()).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let (day, time): (u64, u64) = (day.parse().ok()?, time.parse().ok()?);
    UnixSecs::from_civil(
        day / 10_000,
        day / 100 % 100,
        day % 100,
        time / 10_000,
        time / 100 % 100,
        time % 100,
    )
}

/// Reads how long a URL lives, in seconds; one that would never end is none.
fn parse_expires_secs(text: &str) -> Option<u64> {
    let secs = v1::parse_expires(text)?.0;
    (1..=V4_EXPIRES_SECS_MAX).contains(&secs).then_some(secs)
}

/// Checks that a credential, `ID/DAY/REGION/oss/aliyun_v4_request`, is for here and for the day of `date`; gives the id.
fn check_credential<'a>(credential: &'a str, date: &str, region: &str) -> Result<&'a str, Refusal> {
    let mut parts = credential.splitn(4, '/');
    let mut part = || parts.next().unwrap_or("");
    let (id, credential_day, credential_region, service) = (part(), part(), part(), part());
    let day = day_of(date);
    for (name, is, must_be) in [
        ("day", credential_day, day),
        ("region", credential_region, region),
        ("service", service, SERVICE),
    ] {
        if is != must_be {
            return Err(Refusal::wrong_scope(name, must_be));
        }
    }
    Ok(id)
}

/// `ID/DAY/REGION/oss/aliyun_v4_request`.
pub(super) fn credential(id: &str, date: &str, region: &str) -> String {
    format!("{id}/{}/{region}/{SERVICE}", day_of(date))
}

/// The day of `YYYYMMDDThhmmssZ`.
pub(super) fn day_of(date: &str) -> &str {
    date.split_once('T').map_or("", |(day, _)| day)
}

fn check<'a>(
    parts: &Parts<'_>,
    ask: &Ask<'_>,
    policy: &Policy<'a>,
) -> Result<&'a AccessKey, Refusal> {
    let key = policy.access_key(parts.access_key_id)?;
    let payload = ask.header("x-oss-content-sha256").unwrap_or(PAYLOAD);
    if payload != PAYLOAD {
        let message = "x-oss-content-sha256 must be UNSIGNED-PAYLOAD.";
        return Err(Refusal::invalid("x-oss-content-sha256", payload, message));
    }
    let canonical = canonical_request(ask, policy.bucket_name(), parts.additional);
    let mut text = string_to_sign_head(parts.date, policy.region);
    mac::write_hex(&Sha256::digest(canonical.as_bytes()), &mut text);
    let mut mac = signing_key(key, parts.date, policy.region);
    mac.update(text.as_bytes());
    if mac::is_hex(mac, parts.signature) {
        Ok(key)
    } else {
        Err(Refusal::mismatch(&key.id, parts.signature, &text).with_canonical_request(canonical))
    }
}

/// The string to sign up to the hash of the canonical request.
pub(super) fn string_to_sign_head(date: &str, region: &str) -> String {
    let mut text = String::with_capacity(160);
    for part in [ALGORITHM, "\n", date, "\n", day_of(date), "/", region, "/", SERVICE, "\n"] {
        text.push_str(part);
    }
    text
}

/// The HMAC, keyed for a day, a region and this service.
pub(super) fn signing_key(key: &AccessKey, date: &str, region: &str) -> mac::HmacSha256 {
    let mut mac: mac::HmacSha256 = mac::keyed(format!("aliyun_v4{}", key.secret).as_bytes());
    for part in [day_of(date)].into_iter().chain([region]).chain(SERVICE.split('/')) {
        mac.update(part.as_bytes());
        mac = mac::keyed(&mac.finalize().into_bytes());
    }
    mac
}

fn canonical_request(ask: &Ask<'_>, bucket: &str, additional: &str) -> String {
    let mut text = String::with_capacity(512);
    write_target(ask.method, bucket, &mut text);
    encode_path(ask.key, &mut text);
    text.push('\n');
    write_query(ask.query, &mut text);
    text.push('\n');
    let is_named =
        |name: &str| additional.split(';').any(|other| other.trim().eq_ignore_ascii_case(name));
    let is_signed = |name: &str| {
        name.starts_with("x-oss-")
            || matches!(name, "content-type" | "content-md5")
            || is_named(name)
    };
    ask.write_signed_headers(is_signed, &mut text);
    text.push('\n');
    text.push_str(&additional.to_ascii_lowercase());
    text.push('\n');
    text.push_str(PAYLOAD);
    text
}

/// Writes the canonical request up to where the key begins.
pub(super) fn write_target(method: &str, bucket: &str, out: &mut String) {
    out.push_str(method);
    out.push('\n');
    write_root(bucket, out);
}

/// Writes all parameters that are signed, percent-coded and sorted: all but the signature, and but those that a player adds to
/// a playlist's address to say when it wants it (draft-pantos-hls-rfc8216bis §6.2.5).
fn write_query(query: &Query<'_>, out: &mut String) {
    let coded = |text: &str| {
        let mut out = String::with_capacity(text.len() + 16);
        encode(text, &mut out);
        out
    };
    let is_signed = |name: &str| name != "x-oss-signature" && !name.starts_with("_HLS_");
    let signed = query.iter().filter(|(name, _)| is_signed(name));
    let mut pairs: Vec<_> = signed.map(|(name, value)| (coded(name), coded(value))).collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_one_form_only() {
        assert_eq!(parse_date("20231114T221320Z"), Some(UnixSecs(1_700_000_000)));
        for bad in [
            "",
            "20231114T221320",
            "20231114T22132Z",
            "2023111T2213200Z",
            "20231314T221320Z",
            "+0231114T221320Z",
        ] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_url_lives_for_a_second_at_least_and_seven_days_at_most() {
        for (text, secs) in [
            ("0", None),
            ("1", Some(1)),
            ("604800", Some(604_800)),
            ("604801", None),
            ("18446744073709551615", None),
            ("-1", None),
        ] {
            assert_eq!(parse_expires_secs(text), secs, "{text}");
        }
    }

    #[test]
    fn a_credential_is_for_one_day_region_and_service() {
        let check = |text| check_credential(text, "20231114T221320Z", "cn-hangzhou");
        assert_eq!(check("AK/20231114/cn-hangzhou/oss/aliyun_v4_request"), Ok("AK"));
        for bad in [
            "AK",
            "AK/20231115/cn-hangzhou/oss/aliyun_v4_request",
            "AK/20231114/cn-shanghai/oss/aliyun_v4_request",
            "AK/20231114/cn-hangzhou/ots/aliyun_v4_request",
            "AK/20231114/cn-hangzhou/oss/aliyun_v4_request/x",
        ] {
            assert_eq!(check(bad).unwrap_err().status(), 403, "{bad}");
        }
    }

    #[test]
    fn the_query_is_sorted_in_its_coded_form_and_a_second_value_is_signed_too() {
        let mut out = String::new();
        write_query(
            &Query::parse("prefix=a+b%2Fc&live=&x-oss-signature=1&a&a=2").unwrap(),
            &mut out,
        );
        assert_eq!(out, "a&a=2&live&prefix=a%20b%2Fc");
    }
}
