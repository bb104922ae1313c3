//! What was refused or not found → status, OSS XML and headers. The one place where an error becomes a response.
//!
//! Shape by OSS: "Error responses". A HEAD has no body, so the SDKs look for the same XML, in base64, in `x-oss-err`.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    access::{Reason, Refusal},
    http::{
        request,
        response::{Body, RequestId, Response},
        xml::Document,
    },
};

/// What says once more, at length, what other elements say. A HEAD's answer is all head, and a proxy that has no room for
/// it (nginx: `proxy_buffer_size`) makes 502 of it.
const BODY_ONLY: [&str; 2] = ["StringToSignBytes", "CanonicalRequest"];

/// An error in OSS's own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OssError {
    /// HTTP status. SDKs choose their exception by it and `code` together.
    pub status: u16,
    /// OSS error code.
    pub code: &'static str,
    /// What, where, and what to do.
    pub message: Cow<'static, str>,
    /// OSS's finer error number, where one is known.
    pub ec: &'static str,
    /// Further elements.
    pub extras: Vec<(&'static str, String)>,
    /// Why the gate refused, for counters; `None`: it was not the gate.
    pub reason: Option<Reason>,
}

impl OssError {
    /// An error without an EC and further elements.
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), ec: "", extras: Vec::new(), reason: None }
    }

    /// Adds OSS's finer error number.
    #[must_use]
    pub fn ec(self, ec: &'static str) -> Self {
        Self { ec, ..self }
    }

    /// Adds an element.
    #[must_use]
    pub fn extra(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.extras.push((name, text.into()));
        self
    }

    /// 404 for a key that names nothing.
    pub fn no_such_key(key: &str) -> Self {
        Self::new(404, "NoSuchKey", "The specified key does not exist.")
            .ec("0026-00000001")
            .extra("Key", key)
    }

    /// 404 for a bucket that the configuration does not have.
    pub fn no_such_bucket(name: &str) -> Self {
        Self::new(404, "NoSuchBucket", "The specified bucket does not exist.")
            .ec("0015-00000101")
            .extra("BucketName", name)
    }

    /// 404 for a LiveChannel that does not exist.
    pub fn no_such_live_channel() -> Self {
        Self::new(404, "NoSuchLiveChannel", "The specified LiveChannel does not exist.")
            .ec("0026-00000021")
    }

    /// 400 for an argument with a bad value.
    pub fn invalid_argument(
        name: &'static str,
        value: &str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(400, "InvalidArgument", message)
            .extra("ArgumentName", name)
            .extra("ArgumentValue", value)
    }

    /// 405 for a method that this resource does not know.
    pub fn method_not_allowed(method: &str, resource: &'static str) -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
        )
        .extra("Method", method)
        .extra("ResourceType", resource)
    }

    /// The response. `host` is the one that was asked; `is_head`: the request was a HEAD.
    pub fn response(&self, request_id: RequestId, host: &str, is_head: bool) -> Response {
        let xml = Document::write("Error", |error| {
            error.text("Code", self.code);
            error.text("Message", &self.message);
            error.text("RequestId", request_id);
            error.text("HostId", host);
            for (name, text) in &self.extras {
                if !is_head || !BODY_ONLY.contains(name) {
                    error.text(name, text);
                }
            }
            if !self.ec.is_empty() {
                error.text("EC", self.ec);
            }
        });
        let mut response = if is_head {
            Response::new(self.status, Body::Empty).with("x-oss-err", STANDARD.encode(&xml))
        } else {
            Response::new(self.status, Body::Made(xml)).with("Content-Type", "application/xml")
        };
        if !self.ec.is_empty() {
            response = response.with("x-oss-ec", self.ec);
        }
        response.request_id = request_id;
        response.refused = self.reason;
        response
    }
}

impl From<Refusal> for OssError {
    fn from(refusal: Refusal) -> Self {
        let (status, code, ec) = (refusal.status(), refusal.code(), refusal.ec());
        let (reason, message) = (Some(refusal.reason()), refusal.message());
        Self { status, code, message, ec, extras: refusal.extras(), reason }
    }
}

/// The answer to a head that cannot be read.
pub fn malformed(error: &request::Error, request_id: RequestId) -> Response {
    let error = match error {
        request::Error::Malformed(_) => OssError::new(400, "InvalidArgument", error.to_string()),
        request::Error::TooLarge => {
            OssError::new(431, "RequestHeaderFieldsTooLarge", error.to_string())
        }
        request::Error::TransferCoding => OssError::new(501, "NotImplemented", error.to_string()),
    };
    error.response(request_id, "", false)
}

/// The answer where a bound of the daemon's own is met.
pub fn busy(what: &'static str, request_id: RequestId) -> Response {
    let error = OssError::new(503, "ServiceUnavailable", what);
    error.response(request_id, "", false).with("Retry-After", 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnixSecs;

    /// A signature that does not fit, as version 4 has it.
    fn mismatch() -> OssError {
        let key = format!("/cams/front-door/playlist.m3u8?{}", "x".repeat(500));
        OssError::new(403, "SignatureDoesNotMatch", "The signature does not match.")
            .extra("StringToSign", key.clone())
            .extra("StringToSignBytes", "2F ".repeat(key.len()))
            .extra("CanonicalRequest", key)
    }

    #[test]
    fn what_is_told_of_a_refused_head_fits_the_buffers_of_proxies() {
        let request_id = RequestId::default();
        let mut head = String::new();
        let response = mismatch().response(request_id, "gateway.lan", true);
        response.write_head(UnixSecs(0), true, &mut head);
        // nginx: proxy_buffer_size is a page.
        assert!(head.len() < 4096, "{} bytes", head.len());
        let told = head.split("\r\n").find_map(|line| line.strip_prefix("x-oss-err: ")).unwrap();
        let told = String::from_utf8(STANDARD.decode(told).unwrap()).unwrap();
        assert!(told.contains("<Code>SignatureDoesNotMatch</Code>"), "{told}");
        assert!(told.contains("<StringToSign>/cams/"), "{told}");
        // Where there is a body, it says all.
        let Body::Made(body) = mismatch().response(request_id, "gateway.lan", false).body else {
            panic!("an error has a body");
        };
        let body = str::from_utf8(&body).unwrap();
        assert!(body.contains("<StringToSignBytes>2F 2F") && body.contains("<CanonicalRequest>"));
    }
}
