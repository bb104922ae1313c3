//! Signatures in RTMP publish URLs.
//!
//! Source: OSS, "RTMP ingest URLs and signed ingest URLs". What is signed:
//!
//! ```text
//! Expires \n name:value \n … /BUCKET/CHANNEL
//! ```
//!
//! Every parameter is signed, decoded and sorted, but those of the signature itself. `SecurityToken`, the spelling of the
//! documentation, is one of those; `security-token`, the one that SDKs send, is signed. `Expires` is looked at once: who
//! publishes by then may go on.

use std::fmt::Write as _;

use super::{GateTime, Policy, PublishAsk, Refusal, mac, v1};
use crate::{limits::QUERY_PAIRS_MAX, query::Query};

const NOT_SIGNED: [&str; 4] = ["Expires", "OSSAccessKeyId", "SecurityToken", "Signature"];

/// Checks the signature, if there is any; `false`: there is none.
pub(super) fn verify(
    ask: &PublishAsk<'_>,
    policy: &Policy<'_>,
    now: GateTime,
) -> Result<bool, Refusal> {
    check_names(ask.query)?;
    if !v1::URL_PARAMETERS.iter().any(|name| ask.query.has(name)) {
        return Ok(false);
    }
    now.check_set()?;
    let [id, expires_text, signature] = v1::url_parameters(ask.query).map_err(incomplete)?;
    let expires = v1::parse_expires(expires_text).ok_or_else(|| incomplete("Expires"))?;
    now.check_expires(expires).map_err(|refusal| refusal.with_ec("0002-00000805"))?;
    let key = policy.access_key(id).map_err(|refusal| refusal.with_ec("0002-00000802"))?;
    let parameters = ask.query.iter();
    let text = string_to_sign(expires_text, parameters, policy.bucket_name(), ask.channel);
    if mac::is_base64(v1::sign(&text, key), signature) {
        Ok(true)
    } else {
        Err(Refusal::mismatch(id, signature, &text).with_ec("0002-00000807"))
    }
}

fn incomplete(parameter: &'static str) -> Refusal {
    let ec = match parameter {
        "OSSAccessKeyId" => "0002-00000801",
        "Expires" => "0002-00000803",
        _ => "0002-00000806",
    };
    Refusal::incomplete(parameter).with_ec(ec)
}

/// Refuses parameters by which two different queries would have the same string to sign: a name given twice, a colon in
/// a name, a line end anywhere.
fn check_names(query: &Query<'_>) -> Result<(), Refusal> {
    for (index, (name, value)) in query.iter().enumerate() {
        if query.iter().take(index).any(|(other, _)| other == name) {
            return Err(Refusal::invalid(
                "query",
                name,
                "A parameter of a publish URL must be given once.",
            ));
        }
        if name.contains([':', '\n']) || value.contains('\n') {
            return Err(Refusal::invalid(
                "query",
                name,
                "A parameter of a publish URL must not have a line end, nor its name a colon.",
            ));
        }
    }
    Ok(())
}

/// The string to sign. Parameters that are not signed are left out.
pub(super) fn string_to_sign<'q>(
    expires: &str,
    parameters: impl Iterator<Item = (&'q str, &'q str)>,
    bucket: &str,
    channel: &str,
) -> String {
    let mut signed: heapless::Vec<(&str, &str), QUERY_PAIRS_MAX> = heapless::Vec::new();
    // A query has no more pairs than there is room for.
    signed.extend(parameters.filter(|(name, _)| !NOT_SIGNED.contains(name)).take(QUERY_PAIRS_MAX));
    signed.sort_unstable();
    let mut text = String::with_capacity(256);
    // Writing to a String does not fail.
    let _ = writeln!(text, "{expires}");
    for (name, value) in signed {
        let _ = writeln!(text, "{name}:{value}");
    }
    let _ = write!(text, "/{bucket}/{channel}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_by_bytes_and_those_of_the_signature_left_out() {
        let query =
            "b=2&a=&B=1&Expires=9&OSSAccessKeyId=x&Signature=y&SecurityToken=z&security-token=t";
        let text = string_to_sign("9", Query::parse(query).unwrap().iter(), "cams", "door");
        assert_eq!(text, "9\nB:1\na:\nb:2\nsecurity-token:t\n/cams/door");
    }

    #[test]
    fn queries_that_could_be_signed_as_one_another_are_refused() {
        for ambiguous in
            ["a=1&a=1", "playlistName=a&x&playlistName=b", "a%3Ab=c", "a=b%0Ac:d", "a%0Ab"]
        {
            let refusal = check_names(&Query::parse(ambiguous).unwrap()).unwrap_err();
            assert_eq!(refusal.code(), "InvalidArgument", "{ambiguous}");
        }
        assert!(check_names(&Query::parse("a=b:c&A=/%20").unwrap()).is_ok());
    }
}
