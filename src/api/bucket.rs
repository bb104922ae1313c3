//! What is read of a bucket, and of all buckets: the configuration in OSS's words.
//!
//! Sources: OSS, GetBucketInfo, GetBucketAcl, GetBucketCors, GetBucketReferer, GetBucketLocation, GetBucketStat, PutBucket,
//! GetObjectAcl, ListBuckets (GetService).

use super::{
    Asked, Outcome, World,
    call::{BucketRead, Fixed},
    is_fixed, objects, xml_answer,
};
use crate::{
    config::{Acl, Bucket},
    http::{
        error::OssError,
        response::{Body, Response},
        xml::Document,
    },
    limits::BUCKETS_MAX,
    query::{Query, without_port},
};

/// Who owns everything: whoever holds one of the keys.
const OWNER: &str = "sluicegate";

/// Answers what is read of a bucket.
pub(super) fn read(
    read: BucketRead,
    asked: &Asked<'_>,
    world: &World<'_>,
) -> Result<Response, OssError> {
    let bucket = asked.bucket;
    Ok(xml_answer(match read {
        BucketRead::List => return objects::list(asked, world),
        BucketRead::ListV2 => return objects::list_v2(asked, world),
        BucketRead::Info => Document::write("BucketInfo", |info| {
            info.parent("Bucket", |entry| {
                write_bucket(bucket, asked.request.host, world, entry);
                entry.text("Comment", "");
                write_owner(entry);
                write_acl(bucket.acl.word(), entry);
            });
        }),
        BucketRead::Acl => acl(bucket.acl.word()),
        BucketRead::Location => {
            Document::write("LocationConstraint", |document| document.content(location(world)))
        }
        BucketRead::Cors => return cors(bucket).map(xml_answer),
        BucketRead::Referer => referer(bucket),
        BucketRead::Stat => {
            let (objects, bytes) = objects::sum(bucket, world);
            Document::write("BucketStat", |stat| {
                stat.text("Storage", bytes);
                stat.text("ObjectCount", objects);
                stat.text("MultipartUploadCount", 0);
                stat.text("LiveChannelCount", bucket.live_channels.len());
                stat.text("LastModifiedTime", world.now.wall.as_secs().0);
                stat.text("StandardStorage", bytes);
                stat.text("StandardObjectCount", objects);
            })
        }
    }))
}

/// Answers GetObjectAcl: an object of a bucket has no ACL of its own.
pub(super) fn object_acl(asked: &Asked<'_>, world: &World<'_>) -> Result<Response, OssError> {
    if objects::is_there(asked.bucket, asked.key, world) {
        Ok(xml_answer(acl("default")))
    } else {
        Err(OssError::no_such_key(asked.key))
    }
}

/// Answers PutBucket. As on OSS, it may be called for a bucket that one has, if it asks for nothing else than it has.
pub(super) fn put(asked: &Asked<'_>, world: &World<'_>) -> Result<Outcome, OssError> {
    let acl = asked.request.headers.first("x-oss-acl");
    if acl.is_some_and(|acl| acl != asked.bucket.acl.word()) {
        return Err(is_fixed(Fixed::Acl, asked, world));
    }
    Ok(Response::new(200, Body::Empty)
        .with("Location", format_args!("/{}", asked.bucket.name))
        .into())
}

/// Answers ListBuckets.
pub fn list(query: &Query<'_>, host: &str, world: &World<'_>) -> Result<Response, OssError> {
    let text = |name| query.first(name).unwrap_or_default();
    let (prefix, marker) = (text("prefix"), text("marker"));
    let max_keys = match query.first("max-keys").filter(|text| !text.is_empty()) {
        None => 100,
        Some(text) => text.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(|| {
            let message = "max-keys must be a whole number from 1 to 1000.";
            OssError::invalid_argument("max-keys", text, message)
        })?,
    };
    let mut buckets = heapless::Vec::<&Bucket, BUCKETS_MAX>::new();
    let buckets_after = world
        .config
        .buckets
        .iter()
        .filter(|bucket| bucket.name.starts_with(prefix) && bucket.name.as_str() > marker);
    buckets.extend(buckets_after);
    buckets.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let is_truncated = buckets.len() > max_keys;
    buckets.truncate(max_keys);
    Ok(xml_answer(Document::write("ListAllMyBucketsResult", |result| {
        write_owner(result);
        result.text("Prefix", prefix);
        result.text("Marker", marker);
        result.text("MaxKeys", max_keys);
        result.text("IsTruncated", is_truncated);
        if let (true, Some(last)) = (is_truncated, buckets.last()) {
            result.text("NextMarker", &last.name);
        }
        result.parent("Buckets", |list| {
            for bucket in buckets {
                list.parent("Bucket", |entry| write_bucket(bucket, host, world, entry));
            }
        });
    })))
}

fn write_bucket(bucket: &Bucket, host: &str, world: &World<'_>, entry: &mut Document) {
    let endpoint = world.config.endpoint.as_deref().unwrap_or_else(|| without_port(host));
    entry.text("Name", &bucket.name);
    entry.text("CreationDate", world.config_read.oss_date());
    entry.text("StorageClass", "Standard");
    entry.text("ExtranetEndpoint", endpoint);
    entry.text("IntranetEndpoint", endpoint);
    entry.text("Location", location(world));
    entry.text("Region", &world.config.region);
}

pub(super) fn write_owner(document: &mut Document) {
    document.parent("Owner", |owner| {
        owner.text("ID", OWNER);
        owner.text("DisplayName", OWNER);
    });
}

fn write_acl(grant: &str, document: &mut Document) {
    document.parent("AccessControlList", |list| list.text("Grant", grant));
}

fn acl(grant: &str) -> Vec<u8> {
    Document::write("AccessControlPolicy", |policy| {
        write_owner(policy);
        write_acl(grant, policy);
    })
}

/// OSS's name of the place of a region.
fn location(world: &World<'_>) -> String {
    format!("oss-{}", world.config.region)
}

fn cors(bucket: &Bucket) -> Result<Vec<u8>, OssError> {
    if bucket.cors.rules.is_empty() {
        let message = "The CORS Configuration does not exist.";
        return Err(OssError::new(404, "NoSuchCORSConfiguration", message)
            .extra("BucketName", bucket.name.as_str()));
    }
    Ok(Document::write("CORSConfiguration", |cors| {
        for rule in &bucket.cors.rules {
            cors.parent("CORSRule", |entry| {
                for (name, values) in [
                    ("AllowedOrigin", &rule.allowed_origins),
                    ("AllowedMethod", &rule.allowed_methods),
                    ("AllowedHeader", &rule.allowed_headers),
                    ("ExposeHeader", &rule.expose_headers),
                ] {
                    for value in values {
                        entry.text(name, value);
                    }
                }
                if let Some(seconds) = rule.max_age_seconds {
                    entry.text("MaxAgeSeconds", seconds);
                }
            });
        }
        cors.text("ResponseVary", bucket.cors.response_vary);
    }))
}

fn referer(bucket: &Bucket) -> Vec<u8> {
    let rules = &bucket.referer;
    Document::write("RefererConfiguration", |document| {
        document.text("AllowEmptyReferer", rules.allow_empty);
        document.text("AllowTruncateQueryString", rules.allow_truncate_query_string);
        document.text("TruncatePath", rules.truncate_path);
        for (name, patterns) in
            [("RefererList", &rules.whitelist), ("RefererBlacklist", &rules.blacklist)]
        {
            document.parent(name, |list| {
                for pattern in patterns {
                    list.text("Referer", pattern);
                }
            });
        }
    })
}

impl Acl {
    /// As OSS and the configuration spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::PublicRead => "public-read",
            Self::PublicReadWrite => "public-read-write",
        }
    }
}
