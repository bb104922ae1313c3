//! HMAC-SHA1 and HMAC-SHA256 (RFC 2104) with their printed forms: base64 in V1, lower-case hex in V4.
//!
//! A signature is compared in a time that does not depend on where it differs, and has one printed form only: padding,
//! trailing bits or case that a lenient reader would forgive are refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

pub(super) type HmacSha1 = Hmac<Sha1>;
pub(super) type HmacSha256 = Hmac<Sha256>;

#[expect(clippy::expect_used, reason = "RFC 2104 §2: a key may have any length")]
pub(super) fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Whether `signature` is what `mac` has come to, in base64.
pub(super) fn is_base64(mac: HmacSha1, signature: &str) -> bool {
    let mut bytes = [0; 32];
    let decoded =
        STANDARD.decode_slice(signature, &mut bytes).ok().and_then(|length| bytes.get(..length));
    decoded.is_some_and(|bytes| mac.verify_slice(bytes).is_ok())
}

/// Writes what `mac` has come to as a query's value: in base64, percent-coded.
pub(super) fn write_base64_value(mac: HmacSha1, out: &mut String) {
    let mut text = [0; 28];
    let length = STANDARD.encode_slice(mac.finalize().into_bytes(), &mut text).unwrap_or(0);
    let text = text.get(..length).and_then(|text| str::from_utf8(text).ok());
    crate::query::encode(text.unwrap_or_default(), out);
}

/// Whether `signature` is what `mac` has come to, in lower-case hex.
pub(super) fn is_hex(mac: HmacSha256, signature: &str) -> bool {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    let (pairs, rest) = signature.as_bytes().as_chunks();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return false;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return false };
        *byte = high << 4 | low;
    }
    mac.verify_slice(&bytes).is_ok()
}

/// Writes `bytes` in lower-case hex.
pub(super) fn write_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        out.extend(
            [byte >> 4, byte & 15].map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('0')),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(text: &str) -> HmacSha1 {
        let mut mac: HmacSha1 = keyed(b"Jefe");
        mac.update(text.as_bytes());
        mac
    }

    #[test]
    fn known_answers() {
        // RFC 2202 §3, case 2: effcdf6ae5eb2fa2d27416d5f184df9c259a7c79.
        assert!(is_base64(mac("what do ya want for nothing?"), "7/zfauXrL6LSdBbV8YTfnCWafHk="));
        let mut out = String::new();
        write_base64_value(mac("what do ya want for nothing?"), &mut out);
        assert_eq!(out, "7%2FzfauXrL6LSdBbV8YTfnCWafHk%3D");
        // RFC 4231 §4.3.
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let mut sha256: HmacSha256 = keyed(b"Jefe");
        sha256.update(b"what do ya want for nothing?");
        assert!(is_hex(sha256.clone(), hex));
        let mut out = String::new();
        write_hex(&sha256.finalize().into_bytes(), &mut out);
        assert_eq!(out, hex);
    }

    #[test]
    fn a_signature_has_one_printed_form_only() {
        let right = STANDARD.encode(mac("x").finalize().into_bytes());
        assert!(is_base64(mac("x"), &right));
        let unpadded = right.trim_end_matches('=');
        // The last character before the padding has two bits that no byte needs.
        let mut loose = unpadded.to_owned();
        let last = loose.pop().unwrap();
        loose.push(char::from(u8::try_from(u32::from(last) + 1).unwrap()));
        loose.push('=');
        let line_end = format!("{right}\n");
        for wrong in ["", unpadded, &loose, &line_end, &"A".repeat(9000)] {
            assert!(!is_base64(mac("x"), wrong), "{wrong}");
        }
        let mut sha256: HmacSha256 = keyed(b"k");
        sha256.update(b"x");
        let mut hex = String::new();
        write_hex(&sha256.clone().finalize().into_bytes(), &mut hex);
        assert!(is_hex(sha256.clone(), &hex));
        for wrong in [&hex.to_uppercase(), &hex[..63], &hex[..62], &format!("{hex}0"), ""] {
            assert!(!is_hex(sha256.clone(), wrong), "{wrong}");
        }
    }
}
