//! What the gate says when it says no: in OSS's words for the client, in plain ones for whoever reads the log.
//!
//! Nothing here holds a secret. What was signed and the key's name go back to the client that sent them, as OSS does;
//! neither is in [`advice`](Refusal::advice), which is what gets logged. Source: OSS, "Error responses", "HTTP status
//! code 403". Where the finer error number (EC) is not published, there is none.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use super::GateTime;
use crate::{limits::SIGNATURE_SKEW_SECS_MAX, query, units::UnixSecs};

/// A no.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    reason: Reason,
    status: u16,
    code: &'static str,
    message: Cow<'static, str>,
    ec: &'static str,
    extras: Vec<(&'static str, String)>,
    advice: &'static str,
}

/// Why, as counters count it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Not signed, and the bucket's ACL asks for it.
    Acl,
    /// Not to be understood, or not to be kept: two signatures, an unknown scheme, a value out of its range, a restriction
    /// to some addresses.
    Malformed,
    /// Part of a signature is missing.
    Incomplete,
    /// Its time is over.
    Expired,
    /// Signed by a key that the configuration does not have.
    UnknownKey,
    /// The signature does not fit the request.
    Signature,
    /// Made more than 15 minutes ago or ahead.
    Skew,
    /// The box does not know the time.
    Clock,
    /// From a page that the bucket does not allow.
    Referer,
    /// A preflight that no CORS rule allows.
    Cors,
}

impl Reason {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 10] = [
        Self::Acl,
        Self::Malformed,
        Self::Incomplete,
        Self::Expired,
        Self::UnknownKey,
        Self::Signature,
        Self::Skew,
        Self::Clock,
        Self::Referer,
        Self::Cors,
    ];

    /// Its place among [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Malformed => "malformed",
            Self::Incomplete => "incomplete",
            Self::Expired => "expired",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Skew => "skew",
            Self::Clock => "clock",
            Self::Referer => "referer",
            Self::Cors => "cors",
        }
    }
}

impl Refusal {
    /// Why, for counters.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// HTTP status. SDKs choose their exception by it and [`code`](Self::code) together.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// OSS error code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// For the client.
    pub fn message(&self) -> Cow<'static, str> {
        self.message.clone()
    }

    /// OSS's finer error number; empty where none is known.
    pub const fn ec(&self) -> &'static str {
        self.ec
    }

    /// Further elements of the answer: name and text.
    pub fn extras(self) -> Vec<(&'static str, String)> {
        self.extras
    }

    /// For the log: what is wrong and what to do about it. Holds nothing of the request.
    pub const fn advice(&self) -> &'static str {
        self.advice
    }

    /// An unsigned request for what is not public.
    pub fn anonymous() -> Self {
        let message = "You have no right to access this object because of bucket acl.";
        Self::denied(
            Reason::Acl,
            message,
            "not signed, and the bucket asks for it; if the URL was signed, quote it: a shell ends \
             it at the first & otherwise",
        )
    }

    /// The console, asked for from elsewhere, where it is switched off.
    pub(super) fn console_off() -> Self {
        let message = "The console is open on the gateway itself only (console.access is \"off\").";
        let advice = "the console is switched off for other machines: set console.access if it should not be";
        Self::denied(Reason::Acl, message, advice)
    }

    /// The console, asked for from elsewhere without a signature.
    pub(super) fn console_unsigned() -> Self {
        let message = "The console needs a signed link. On the gateway, `sluicegate sign console` prints one.";
        let advice = "the console was asked for without a signed link: make one with `sluicegate sign console`, and \
            quote it: a shell ends it at the first & otherwise";
        Self::denied(Reason::Acl, message, advice)
    }

    /// An unsigned publisher where publishing is not public.
    pub(super) fn unsigned_publish() -> Self {
        let message =
            "Publishing to this bucket needs a signed URL, and this one has no OSSAccessKeyId.";
        let advice = "the publish URL is not signed: make one with `sluicegate sign publish`, and quote \
            it: a shell ends it at the first & otherwise";
        Self::denied(Reason::Acl, message, advice).with_ec("0002-00000801")
    }

    /// An unsigned request that would change what the answer says of the object.
    pub(super) fn unsigned_override(parameter: &str) -> Self {
        let advice = "response-* parameters are for signed requests only";
        Self::new(
            Reason::Acl,
            400,
            "InvalidRequest",
            "response-* parameters need a signed request.",
            advice,
        )
        .with("ArgumentName", parameter)
    }

    /// Part of a URL's signature is missing or cannot be read.
    pub(super) fn incomplete(parameter: &'static str) -> Self {
        let message = format!("The signature is incomplete: {parameter} is missing or not valid.");
        let advice = "part of the URL's signature is missing: quote the URL, a shell ends it at the first & otherwise";
        Self::denied(Reason::Incomplete, message, advice)
    }

    /// A header-signed request without a date that can be read.
    pub(super) fn no_date() -> Self {
        let message = "A request signed in its header needs a valid Date or x-oss-date header.";
        Self::denied(
            Reason::Incomplete,
            message,
            "signed in its header without a valid date: check the client",
        )
    }

    /// Later than it is signed for.
    pub(super) fn expired(expires: UnixSecs, now: UnixSecs) -> Self {
        let advice = "the URL's time is over: sign another with a later Expires; if it should be valid, compare the clocks";
        Self::denied(Reason::Expired, "Request has expired.", advice)
            .with("Expires", expires.oss_date())
            .with("ServerTime", now.oss_date())
    }

    /// A request made too long ago, or ahead of time.
    pub(super) fn skewed(sent: UnixSecs, now: UnixSecs) -> Self {
        let message = "The difference between the request time and the current time is too large.";
        let advice =
            "the client's clock and this box's are more than 15 minutes apart: set the wrong one";
        Self::new(Reason::Skew, 403, "RequestTimeTooSkewed", message, advice)
            .with("MaxAllowedSkewMilliseconds", SIGNATURE_SKEW_SECS_MAX * 1000)
            .with("RequestTime", sent.oss_date())
            .with("ServerTime", now.oss_date())
    }

    /// The box does not know the time, so no `Expires` means anything.
    ///
    /// Not `RequestTimeTooSkewed`: SDKs that are told that set their own clock by ours.
    pub(super) fn clock_unset(now: GateTime) -> Self {
        let message = "The clock of this server is not set, so it cannot tell whether a signature is still valid.";
        let advice =
            "this box's clock is not set: signed requests are refused until it is (NTP, or `date`)";
        Self::denied(Reason::Clock, message, advice).with("ServerTime", now.now.oss_date())
    }

    /// Signed by a key that is not, or no longer, in the configuration.
    pub(super) fn unknown_key(id: &str) -> Self {
        let message = "The OSS Access Key Id you provided does not exist in our records.";
        let advice = "signed by a key that the configuration does not have: it was rotated out, or belongs elsewhere";
        Self::new(Reason::UnknownKey, 403, "InvalidAccessKeyId", message, advice)
            .with("OSSAccessKeyId", id)
    }

    /// The signature does not fit.
    pub(super) fn mismatch(id: &str, signature: &str, string_to_sign: &str) -> Self {
        let message = "The request signature we calculated does not match the signature you provided. \
            Check your key and signing method.";
        let advice = "the signature does not fit: another secret, method, bucket or name than was signed, \
            or the URL was changed; the answer says what it should cover";
        let mut bytes = String::with_capacity(3 * string_to_sign.len());
        for byte in string_to_sign.bytes() {
            // Writing to a String does not fail.
            let _ = write!(bytes, "{byte:02X} ");
        }
        Self::new(Reason::Signature, 403, "SignatureDoesNotMatch", message, advice)
            .with_ec("0002-00000040")
            .with("OSSAccessKeyId", id)
            .with("SignatureProvided", signature)
            .with("StringToSign", string_to_sign)
            .with("StringToSignBytes", bytes.trim_end())
    }

    /// A V4 signature for another region, day or service than this.
    pub(super) fn wrong_scope(part: &'static str, expected: &str) -> Self {
        let message = format!("The credential's {part} must be {expected} here.");
        let advice = "signed for another region or day: set the same region in the client as in the configuration";
        Self::denied(Reason::Signature, message, advice)
    }

    /// More than one signature.
    pub(super) fn signed_twice() -> Self {
        Self::invalid(
            "Authorization",
            "",
            "A request must be signed once: in its header or in its URL, not both.",
        )
    }

    /// An Authorization header of no known form.
    pub(super) fn bad_authorization() -> Self {
        Self::invalid(
            "Authorization",
            "",
            "Authorization must be `OSS ID:SIGNATURE` or `OSS4-HMAC-SHA256 Credential=…,Signature=…`.",
        )
    }

    /// Signed for some source addresses or one VPC only.
    pub(super) fn restricted() -> Self {
        let message = "The URL is signed with x-oss-ac-* restrictions (source IP, VPC), which this gateway cannot keep: sign it without them.";
        let advice = "the URL is signed for some addresses or a VPC only (x-oss-ac-*), which is not kept here: sign it without";
        Self::denied(Reason::Malformed, message, advice)
    }

    /// An argument with a value that it cannot have.
    pub(super) fn invalid(
        name: &'static str,
        value: &str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let advice = "the request makes no sense: the answer says which argument is wrong";
        Self::new(Reason::Malformed, 400, "InvalidArgument", message, advice)
            .with("ArgumentName", name)
            .with("ArgumentValue", value)
    }

    /// From a page that the bucket's Referer rules do not allow.
    pub(super) fn referer(bucket: &str) -> Self {
        let advice = "the bucket's referer rules do not allow the page: add it to the whitelist if it should be";
        Self::denied(Reason::Referer, "You are denied by bucket referer policy.", advice)
            .with_ec("0003-00000503")
            .with("BucketName", bucket)
    }

    /// A preflight that no rule allows.
    pub(super) fn cors(message: &'static str) -> Self {
        let advice = "no CORS rule of the bucket allows this origin, method and headers: add a [[bucket.cors.rule]]";
        Self::new(Reason::Cors, 403, "AccessForbidden", message, advice)
    }

    /// hls/sign without a signature in the URL that could be handed on.
    pub(super) fn not_url_signed() -> Self {
        let message = "x-oss-process=hls/sign needs a request that is signed in its URL.";
        let advice = "hls/sign without a signed URL: make one with `sluicegate sign play`, or leave \
            hls/sign out in a public bucket";
        Self::new(Reason::Malformed, 400, "InvalidRequest", message, advice)
            .with_ec("0044-00000410")
    }

    fn denied(reason: Reason, message: impl Into<Cow<'static, str>>, advice: &'static str) -> Self {
        Self::new(reason, 403, "AccessDenied", message, advice)
    }

    fn new(
        reason: Reason,
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        advice: &'static str,
    ) -> Self {
        Self { reason, status, code, message: message.into(), ec: "", extras: Vec::new(), advice }
    }

    fn with(mut self, name: &'static str, text: impl fmt::Display) -> Self {
        self.extras.push((name, text.to_string()));
        self
    }

    pub(super) fn with_canonical_request(self, text: String) -> Self {
        self.with("CanonicalRequest", text)
    }

    pub(super) fn with_ec(self, ec: &'static str) -> Self {
        Self { ec, ..self }
    }
}

impl From<query::Error> for Refusal {
    fn from(error: query::Error) -> Self {
        Self::invalid("query", "", error.to_string())
    }
}

/// Prints code and message: what an encoder shows whose publish is refused.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_label_and_place() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(
                Reason::ALL.iter().filter(|other| other.label() == reason.label()).count(),
                1
            );
        }
    }

    #[test]
    fn a_mismatch_tells_the_client_what_was_to_be_signed_and_the_log_nothing_of_it() {
        let refusal = Refusal::mismatch("ID", "c2ln", "GET\n");
        assert_eq!(refusal.to_string(), format!("SignatureDoesNotMatch: {}", refusal.message()));
        assert!(!refusal.advice().contains("c2ln"));
        let expected = [
            ("OSSAccessKeyId", "ID"),
            ("SignatureProvided", "c2ln"),
            ("StringToSign", "GET\n"),
            ("StringToSignBytes", "47 45 54 0A"),
        ];
        assert_eq!(refusal.extras(), expected.map(|(name, text)| (name, text.to_owned())));
    }
}
