//! What the gate says when it says yes.

use smol_str::SmolStr;

use super::{PlaylistSigner, Policy, Refusal, v1::UrlV1, v4::UrlV4};

/// Proof that the gate said yes to a request, how that request was signed, and whether its page counted.
///
/// Only [`admit`](super::admit) makes one, and nothing is answered without it:
///
/// ```compile_fail,E0451
/// use sluicegate::access::Grant;
/// fn forged() -> Grant {
///     Grant { ..unreachable!() }
/// }
/// ```
#[derive(Debug)]
pub struct Grant {
    signed: Signed,
    bucket: SmolStr,
    is_by_page: bool,
}

/// How a request was signed.
#[derive(Debug)]
pub(super) enum Signed {
    No,
    ByHeader,
    ByUrlV1(UrlV1),
    ByUrlV4(UrlV4),
}

impl Grant {
    /// `is_by_page`: the bucket has rules for which pages may embed the answer.
    pub(super) fn new(signed: Signed, bucket: &str, is_by_page: bool) -> Self {
        Self { signed, bucket: bucket.into(), is_by_page }
    }

    /// Whether the answer is for who asked alone: somebody else may lack the signature, or ask from a page that is not
    /// allowed. Caches, which check neither, must not give it to others.
    pub const fn is_for_asker_alone(&self) -> bool {
        self.is_by_page || self.is_signed()
    }

    /// Whether a key's holder made the request.
    pub const fn is_signed(&self) -> bool {
        !matches!(self.signed, Signed::No)
    }

    /// What signs the addresses in a playlist as the request for it was signed (OSS: `x-oss-process=hls/sign`).
    ///
    /// A request without a signature in its URL has none to hand on, and is refused.
    pub fn playlist_signer(&self, policy: &Policy<'_>) -> Result<PlaylistSigner, Refusal> {
        match &self.signed {
            Signed::No | Signed::ByHeader => Err(Refusal::not_url_signed()),
            Signed::ByUrlV1(url) => {
                Ok(PlaylistSigner::v1(url, &self.bucket, policy.access_key(&url.access_key_id)?))
            }
            Signed::ByUrlV4(url) => {
                Ok(PlaylistSigner::v4(url, &self.bucket, policy.access_key(&url.access_key_id)?))
            }
        }
    }

    /// Whether the Authorization header signed it: a program asks, and no player follows the addresses in the answer.
    pub const fn is_signed_in_header(&self) -> bool {
        matches!(self.signed, Signed::ByHeader)
    }

    /// The playlist that `key` means if it is a playlist's key with `?x-oss-process=hls/sign` escaped into it.
    ///
    /// The SDK's `sign_url` makes such a URL if it is given the two as one key. What V1 signs is the same bytes either
    /// way, so to serve it opens nothing that the signer did not sign; in V4 the two differ.
    pub fn hls_sign_in_key<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_suffix("?x-oss-process=hls/sign")
            .filter(|_| matches!(self.signed, Signed::ByUrlV1(_)))
    }
}

/// Proof that the gate let a publisher in. Only [`admit_publish`](super::admit_publish) makes one.
#[derive(Debug)]
pub struct PublishGrant {
    is_signed: bool,
}

impl PublishGrant {
    pub(super) const fn new(is_signed: bool) -> Self {
        Self { is_signed }
    }

    /// Whether a key's holder signed the URL. Only such a publisher may take a channel from another.
    pub const fn is_signed(&self) -> bool {
        self.is_signed
    }
}
