//! Method, key and query of a request in a bucket → which of OSS's calls it is, and what right it takes.
//!
//! Source: OSS, "API overview"; which sub-resource a call goes by is the same in every SDK.

use crate::{access::Action, query::Query};

/// A call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// GetObject, HeadObject, GetObjectMeta.
    ReadObject,
    /// DeleteObject: of a recording; all other objects are the ring's.
    DeleteObject,
    /// What is read of a LiveChannel, or of all.
    Live(LiveRead),
    /// PutLiveChannel.
    PutLiveChannel,
    /// PutLiveChannelStatus.
    PutLiveChannelStatus,
    /// DeleteLiveChannel.
    DeleteLiveChannel,
    /// PostVodPlaylist.
    PostVodPlaylist,
    /// GetVodPlaylist.
    GetVodPlaylist,
    /// What is read of a bucket.
    Bucket(BucketRead),
    /// GetObjectAcl.
    ObjectAcl,
    /// PutBucket: there are those that the configuration file has.
    PutBucket,
    /// What only the configuration file, or a camera, can change.
    Fixed(Fixed),
    /// A sub-resource that this gateway does not have.
    NotOffered(&'static str),
    /// A method that the resource does not know.
    BadMethod(&'static str),
}

/// What is read of LiveChannels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LiveRead {
    /// GetLiveChannelInfo.
    Info,
    /// GetLiveChannelStat.
    Stat,
    /// GetLiveChannelHistory.
    History,
    /// ListLiveChannel.
    List,
}

/// What is read of a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BucketRead {
    /// GetBucketInfo.
    Info,
    /// GetBucketAcl.
    Acl,
    /// GetBucketCors.
    Cors,
    /// GetBucketReferer.
    Referer,
    /// GetBucketLocation.
    Location,
    /// GetBucketStat.
    Stat,
    /// ListObjects.
    List,
    /// ListObjectsV2.
    ListV2,
}

/// What only the configuration file, or a camera, can change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fixed {
    /// DeleteBucket.
    Bucket,
    /// PutBucketAcl.
    Acl,
    /// PutBucketCors, DeleteBucketCors.
    Cors,
    /// PutBucketReferer.
    Referer,
    /// PutObject, PostObject, CopyObject, AppendObject, multipart uploads, PutObjectAcl.
    Object,
}

/// Sub-resources of buckets and objects that OSS has and a gateway has no use for.
const NOT_OFFERED: [&str; 22] = [
    "accessmonitor",
    "append",
    "bucketArchiveDirectRead",
    "encryption",
    "inventory",
    "lifecycle",
    "logging",
    "metaQuery",
    "policy",
    "qosInfo",
    "replication",
    "requestPayment",
    "restore",
    "select",
    "symlink",
    "tagging",
    "transferAcceleration",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

impl Call {
    /// Finds out which call it is.
    pub fn of(method: &str, key: &str, query: &Query<'_>) -> Self {
        if query.has("live") {
            return Self::live(method, key, query);
        }
        if query.has("vod") {
            return match method {
                "POST" => Self::PostVodPlaylist,
                "GET" => Self::GetVodPlaylist,
                _ => Self::BadMethod("VOD"),
            };
        }
        if let Some(name) = NOT_OFFERED.into_iter().find(|name| query.has(name)) {
            return Self::NotOffered(name);
        }
        if key.is_empty() { Self::in_bucket(method, query) } else { Self::on_object(method, query) }
    }

    fn live(method: &str, key: &str, query: &Query<'_>) -> Self {
        match (method, query.first("comp")) {
            ("PUT", _) if query.has("status") => Self::PutLiveChannelStatus,
            ("PUT", _) => Self::PutLiveChannel,
            ("DELETE", _) => Self::DeleteLiveChannel,
            ("GET", _) if key.is_empty() => Self::Live(LiveRead::List),
            ("GET", None | Some("")) => Self::Live(LiveRead::Info),
            ("GET", Some("stat")) => Self::Live(LiveRead::Stat),
            ("GET", Some("history")) => Self::Live(LiveRead::History),
            ("GET", Some(_)) => Self::NotOffered("comp"),
            _ => Self::BadMethod("LIVE_CHANNEL"),
        }
    }

    fn in_bucket(method: &str, query: &Query<'_>) -> Self {
        let settings = [
            ("acl", BucketRead::Acl, Fixed::Acl),
            ("cors", BucketRead::Cors, Fixed::Cors),
            ("referer", BucketRead::Referer, Fixed::Referer),
        ];
        if let Some((_, read, fixed)) = settings.into_iter().find(|(name, ..)| query.has(name)) {
            return match method {
                "GET" => Self::Bucket(read),
                "PUT" | "DELETE" => Self::Fixed(fixed),
                _ => Self::BadMethod("BUCKET"),
            };
        }
        let reads = [
            ("bucketInfo", BucketRead::Info),
            ("location", BucketRead::Location),
            ("stat", BucketRead::Stat),
        ];
        let read = reads.into_iter().find_map(|(name, read)| query.has(name).then_some(read));
        match (method, read) {
            ("GET", Some(read)) => Self::Bucket(read),
            (_, Some(_)) => Self::BadMethod("BUCKET"),
            ("GET" | "HEAD", None) if query.first("list-type") == Some("2") => {
                Self::Bucket(BucketRead::ListV2)
            }
            ("GET" | "HEAD", None) => Self::Bucket(BucketRead::List),
            ("PUT", None) => Self::PutBucket,
            ("DELETE", None) => Self::Fixed(Fixed::Bucket),
            // A form that uploads an object, or DeleteMultipleObjects.
            ("POST", None) => Self::Fixed(Fixed::Object),
            _ => Self::BadMethod("BUCKET"),
        }
    }

    fn on_object(method: &str, query: &Query<'_>) -> Self {
        match method {
            "GET" if query.has("acl") => Self::ObjectAcl,
            "GET" | "HEAD" => Self::ReadObject,
            "DELETE" => Self::DeleteObject,
            "PUT" | "POST" => Self::Fixed(Fixed::Object),
            _ => Self::BadMethod("OBJECT"),
        }
    }

    /// The right that it takes (OSS: bucket ACL). Everything about LiveChannels and about the bucket is its owner's.
    pub const fn action(self) -> Action {
        match self {
            Self::ReadObject => Action::ReadObject,
            Self::DeleteObject | Self::Fixed(Fixed::Object) => Action::WriteObject,
            _ => Action::Own,
        }
    }

    /// Whether its request has a body that is read.
    pub const fn takes_body(self) -> bool {
        matches!(self, Self::PutLiveChannel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_method_key_and_sub_resource() {
        use BucketRead as B;
        use Call as C;
        use LiveRead as L;
        let table = [
            ("PUT", "ch", "live", C::PutLiveChannel),
            ("PUT", "ch", "live=", C::PutLiveChannel),
            ("PUT", "ch", "live&status=disabled", C::PutLiveChannelStatus),
            ("PUT", "", "live", C::PutLiveChannel),
            ("GET", "ch", "live", C::Live(L::Info)),
            ("GET", "ch", "live&comp=stat", C::Live(L::Stat)),
            ("GET", "ch", "live&comp=history", C::Live(L::History)),
            ("GET", "ch", "live&comp=x", C::NotOffered("comp")),
            ("GET", "", "live&max-keys=2", C::Live(L::List)),
            ("DELETE", "ch", "live", C::DeleteLiveChannel),
            ("POST", "ch", "live", C::BadMethod("LIVE_CHANNEL")),
            ("POST", "ch/v.m3u8", "vod&startTime=1&endTime=2", C::PostVodPlaylist),
            ("GET", "ch", "vod&startTime=1&endTime=2", C::GetVodPlaylist),
            ("GET", "", "", C::Bucket(B::List)),
            ("GET", "", "prefix=a", C::Bucket(B::List)),
            ("GET", "", "list-type=2", C::Bucket(B::ListV2)),
            ("GET", "", "bucketInfo", C::Bucket(B::Info)),
            ("GET", "", "acl", C::Bucket(B::Acl)),
            ("PUT", "", "acl", C::Fixed(Fixed::Acl)),
            ("DELETE", "", "cors", C::Fixed(Fixed::Cors)),
            ("PUT", "", "referer", C::Fixed(Fixed::Referer)),
            ("PUT", "", "", C::PutBucket),
            ("DELETE", "", "", C::Fixed(Fixed::Bucket)),
            ("GET", "", "lifecycle", C::NotOffered("lifecycle")),
            ("GET", "a/b.ts", "", C::ReadObject),
            ("HEAD", "a/b.ts", "objectMeta", C::ReadObject),
            ("GET", "a/b.ts", "acl", C::ObjectAcl),
            ("PUT", "a/b.ts", "acl", C::Fixed(Fixed::Object)),
            ("PUT", "a/b.ts", "", C::Fixed(Fixed::Object)),
            ("POST", "a/b.ts", "uploads", C::NotOffered("uploads")),
            ("DELETE", "a/b.ts", "", C::DeleteObject),
            ("PATCH", "a/b.ts", "", C::BadMethod("OBJECT")),
        ];
        for (method, key, query, expected) in table {
            let call = Call::of(method, key, &Query::parse(query).unwrap());
            assert_eq!(call, expected, "{method} {key}?{query}");
        }
    }

    #[test]
    fn only_objects_are_open_to_others_than_the_owner() {
        let call = |method, key, query| Call::of(method, key, &Query::parse(query).unwrap());
        assert_eq!(call("GET", "a/b.ts", "").action(), Action::ReadObject);
        assert_eq!(call("PUT", "a/b.ts", "").action(), Action::WriteObject);
        for (method, key, query) in
            [("GET", "", ""), ("GET", "a", "live"), ("GET", "a", "vod"), ("GET", "a/b.ts", "acl")]
        {
            assert_eq!(call(method, key, query).action(), Action::Own, "{method} {key}?{query}");
        }
    }
}
