//! **The gate.** Who asks for what, how it is signed, from which page → [`Grant`] or [`Refusal`].
//!
//! It is shown an [`Ask`] and knows neither HTTP nor RTMP, nor whether what is asked for exists. Nothing is answered and
//! nobody publishes without the grant that only this module can make.
//!
//! The order of checks is part of what it promises: the signature if there is any, then the Referer unless an
//! Authorization header came, then the bucket's ACL. CORS is no lock but a label for browsers, and goes on top of
//! whatever results. Sources: OSS, "Include signatures in the Authorization header", "Add signatures to URLs",
//! "Authorize access with signature version 4", "Hotlink protection", "PutBucketACL", "RTMP ingest URLs and signed
//! ingest URLs".

mod ask;
mod console;
mod cors;
mod grant;
mod mac;
mod playlist_signer;
mod publish;
mod referer;
mod refusal;
pub mod sign;
mod time;
mod v1;
mod v4;

pub use ask::{Action, Ask, PublishAsk};
pub use console::{ConsoleGrant, Origin, admit_console};
pub use cors::{CorsHeader, cors_headers, preflight};
pub use grant::{Grant, PublishGrant};
pub use playlist_signer::PlaylistSigner;
pub use refusal::{Reason, Refusal};
pub use time::GateTime;

use crate::config::{AccessKey, Acl, Bucket, Config};
use grant::Signed;

/// What the configuration says of who may do what. It names the bucket too, so that a signature is never checked for
/// one bucket and the ACL of another.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The keys that are valid, all at once. Whoever holds one owns every bucket.
    pub access_keys: &'a [AccessKey],
    /// The region in V4 signatures.
    pub region: &'a str,
    /// What is asked for lies in it.
    pub scope: Scope<'a>,
}

/// What a signature and an ACL are for.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// A bucket and what is in it. Signed as `/BUCKET/KEY`.
    Bucket(&'a Bucket),
    /// All buckets. Signed as `/`.
    Service,
    /// The console. Signed as the bucket `-`, a name that no bucket can have.
    Console,
}

impl<'a> Policy<'a> {
    /// The policy of what lies in `scope`.
    pub fn new(config: &'a Config, scope: Scope<'a>) -> Self {
        Self { access_keys: &config.access_keys, region: &config.region, scope }
    }

    fn bucket(&self) -> Option<&'a Bucket> {
        match self.scope {
            Scope::Bucket(bucket) => Some(bucket),
            Scope::Service | Scope::Console => None,
        }
    }

    /// The bucket's name in what is signed; empty for the service.
    fn bucket_name(&self) -> &'a str {
        match self.scope {
            Scope::Bucket(bucket) => &bucket.name,
            Scope::Service => "",
            Scope::Console => "-",
        }
    }

    fn acl(&self) -> Acl {
        self.bucket().map_or(Acl::Private, |bucket| bucket.acl)
    }

    fn access_key(&self, id: &str) -> Result<&'a AccessKey, Refusal> {
        self.access_keys.iter().find(|key| key.id == id).ok_or_else(|| Refusal::unknown_key(id))
    }
}

/// Writes what the resource of a bucket begins with: `/BUCKET/`, or `/` for the service, whose bucket has no name.
fn write_root(bucket: &str, out: &mut String) {
    out.push('/');
    if !bucket.is_empty() {
        out.push_str(bucket);
        out.push('/');
    }
}

/// Decides whether `ask` may be answered.
pub fn admit(ask: &Ask<'_>, policy: &Policy<'_>, now: GateTime) -> Result<Grant, Refusal> {
    let signed = verify(ask, policy, now)?;
    let is_on_object = matches!(ask.action, Action::ReadObject | Action::WriteObject);
    if is_on_object && !matches!(signed, Signed::ByHeader) {
        referer::check(ask.header("referer"), policy)?;
    }
    if matches!(signed, Signed::No) {
        check_acl(ask, policy.acl())?;
    }
    playlist_signer::check_token(ask)?;
    Ok(Grant::new(signed, policy.bucket_name(), is_on_object && referer::has_rules(policy)))
}

/// Decides whether `ask` may publish. Referer rules do not apply: an encoder has no page.
pub fn admit_publish(
    ask: &PublishAsk<'_>,
    policy: &Policy<'_>,
    now: GateTime,
) -> Result<PublishGrant, Refusal> {
    let is_signed = publish::verify(ask, policy, now)?;
    if !is_signed && policy.acl() != Acl::PublicReadWrite {
        return Err(Refusal::unsigned_publish());
    }
    Ok(PublishGrant::new(is_signed))
}

/// Checks the signature that `ask` carries. A request that carries any is judged by it, even in a public bucket.
fn verify(ask: &Ask<'_>, policy: &Policy<'_>, now: GateTime) -> Result<Signed, Refusal> {
    let mut authorizations = ask.headers_named("authorization");
    let authorization = authorizations.next();
    let is_v1_url = v1::URL_PARAMETERS.iter().any(|name| ask.query.has(name));
    let is_v4_url = v4::URL_PARAMETERS.iter().any(|name| ask.query.has(name));
    let signatures =
        [authorization.is_some(), authorizations.next().is_some(), is_v1_url, is_v4_url];
    match signatures.into_iter().filter(|is_there| *is_there).count() {
        0 => return Ok(Signed::No),
        1 => now.check_set()?,
        _ => return Err(Refusal::signed_twice()),
    }
    let signed = if is_v1_url {
        Signed::ByUrlV1(v1::verify_url(ask, policy, now)?)
    } else if is_v4_url {
        Signed::ByUrlV4(v4::verify_url(ask, policy, now)?)
    } else {
        match authorization.and_then(|text| text.split_once(' ')) {
            Some(("OSS", rest)) => v1::verify_header(rest.trim(), ask, policy, now)?,
            Some(("OSS4-HMAC-SHA256", rest)) => v4::verify_header(rest.trim(), ask, policy, now)?,
            _ => return Err(Refusal::bad_authorization()),
        }
        Signed::ByHeader
    };
    // The signer shut out all but some addresses or one VPC: who does not look at that must not let anybody in.
    if ask.query.iter().any(|(name, _)| name.starts_with("x-oss-ac-")) {
        return Err(Refusal::restricted());
    }
    Ok(signed)
}

/// What an unsigned request may do (OSS: bucket ACL).
fn check_acl(ask: &Ask<'_>, acl: Acl) -> Result<(), Refusal> {
    let is_open = match ask.action {
        Action::ReadObject => acl != Acl::Private,
        Action::WriteObject => acl == Acl::PublicReadWrite,
        Action::Own | Action::Console => false,
    };
    if !is_open {
        return Err(Refusal::anonymous());
    }
    // Only an owner may have an answer say something else about the object.
    match ask.query.iter().find(|(name, _)| name.starts_with("response-")) {
        Some((name, _)) => Err(Refusal::unsigned_override(name)),
        None => Ok(()),
    }
}
