//! TOML text → checked [`Config`], or every problem of the text at once, each with its place.
//!
//! Reads no file and no environment: a secret that is kept in a file of its own is asked for through a function. What the
//! keys mean and their defaults: `board/sluicegate.example.toml`; what the OSS words mean: OSS, PutLiveChannel, bucket ACL,
//! hotlink protection and CORS. TOML 1.0.

mod bucket;
pub mod catalogue;
pub mod diff;
mod document;
mod listen;
pub mod names;
pub mod problem;
pub mod rings;
mod rules;
pub mod size;
mod table;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use smol_str::SmolStr;

use crate::units::UnixSecs;
pub use problem::{Problem, Warning};

/// The whole configuration, checked: names are valid, unique and fit the budgets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The file that it came from, for whoever has to be told where to change it.
    pub file: SmolStr,
    /// The name under which buckets answer as `<bucket>.<endpoint>`, lower case, without port.
    pub endpoint: Option<SmolStr>,
    /// Region in V4 signatures.
    pub region: SmolStr,
    /// Where the daemon listens.
    pub listen: Listen,
    /// Where and how segments are kept.
    pub store: Store,
    /// What the daemon may use.
    pub limits: Limits,
    /// Who may read the console from afar.
    pub console: ConsoleAccess,
    /// The keys that are valid, all at once.
    pub access_keys: Vec<AccessKey>,
    /// The buckets, in the order of the file.
    pub buckets: Vec<Bucket>,
}

impl Config {
    /// Reads and checks the text of a configuration. `file` is its name in messages.
    ///
    /// `secrets` reads what a `secret_file` names, and says where a name without a leading `/` is looked for. Its error is
    /// shown: it must not repeat the path, which is a secret where somebody took one key for the other.
    ///
    /// A text that is not TOML is not read further: what a broken line was meant to say would only be guessed at.
    pub fn parse(
        text: &str,
        file: &str,
        secrets: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        document::parse(text, file, secrets)
    }

    /// The LiveChannels, each with its bucket: those that the file defines in its order, and behind them in each bucket
    /// those that were made over the API.
    pub fn live_channels(&self) -> impl Iterator<Item = (&Bucket, &LiveChannel)> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.live_channels.iter().map(move |channel| (bucket, channel)))
    }

    /// Whether one of them is called so.
    pub fn has_channel(&self, path: &ChannelPath) -> bool {
        self.live_channels()
            .any(|(bucket, channel)| bucket.name == path.bucket && channel.name == path.channel)
    }
}

/// Addresses to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// HTTP; the first byte of a connection tells RTMP, which is taken too.
    pub http: Vec<SocketAddr>,
    /// RTMP.
    pub rtmp: Vec<SocketAddr>,
}

/// Where and how segments are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// Folder of the rings.
    pub path: PathBuf,
    /// When a segment may be listed.
    pub durability: Durability,
    /// Erase block of the card, in bytes: rings start and end on it.
    pub flash_block_bytes: u64,
}

/// When a segment may be listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// Once a completed sync has put it on flash.
    Segment,
    /// Once it is written; the last seconds may be lost with the power.
    Relaxed,
}

/// What the daemon may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Publishers at a time.
    pub publishers: u32,
    /// HTTP connections at a time.
    pub viewers: u32,
    /// Memory, in bytes; a configuration that needs more is refused.
    pub memory_bytes: u64,
}

/// Who may read `/-/`, `/-/status` and `/-/metrics` from afar; loopback always may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConsoleAccess {
    /// Nobody.
    Off,
    /// Who holds a signed URL.
    Signed,
    /// Everybody.
    Open,
}

/// One access key. Its `Debug` form never shows the secret.
#[derive(Clone, Eq, PartialEq)]
pub struct AccessKey {
    /// AccessKeyId.
    pub id: SmolStr,
    /// AccessKeySecret.
    pub secret: SmolStr,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bucket {
    /// 3 to 63 bytes of `a-z 0-9 -`, first and last alphanumeric.
    pub name: SmolStr,
    /// Who may do what without a signature.
    pub acl: Acl,
    /// Further host names that mean this bucket, lower case, without port.
    pub hosts: Vec<SmolStr>,
    /// What PutLiveChannel may create; `None`: nothing.
    pub dynamic_channels: Option<DynamicChannels>,
    /// Hotlink protection.
    pub referer: Referer,
    /// Cross-origin rules.
    pub cors: Cors,
    /// The LiveChannels: those that the file defines, and behind them those of the [`catalogue`].
    pub live_channels: Vec<LiveChannel>,
}

/// Bucket ACL, in OSS's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acl {
    /// Everything needs a signature.
    Private,
    /// Reading objects does not.
    PublicRead,
    /// Reading objects and publishing do not.
    PublicReadWrite,
}

/// What PutLiveChannel may create in a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DynamicChannels {
    /// How many.
    pub max: u32,
    /// Flash for each, in bytes.
    pub ring_bytes: u64,
}

/// Referer rules of a bucket (OSS: hotlink protection).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Referer {
    /// Whether a request without a Referer passes.
    pub allow_empty: bool,
    /// Patterns with `*` and `?`; empty: everybody passes.
    pub whitelist: Vec<SmolStr>,
    /// Patterns that are refused first.
    pub blacklist: Vec<SmolStr>,
    /// Cut the Referer at `?` before it is matched.
    pub allow_truncate_query_string: bool,
    /// Cut the Referer's path before it is matched; needs `allow_truncate_query_string`.
    pub truncate_path: bool,
    /// Where a pattern may end.
    pub matching: RefererMatch,
}

/// Where a Referer pattern may end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefererMatch {
    /// Anywhere: OSS's rule.
    Prefix,
    /// Only at the end or before `/`, `:`, `?` or `#`: `http://good.com` does not admit `http://good.com.evil.org`.
    Boundary,
}

/// CORS rules of a bucket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cors {
    /// `Vary: Origin` on every answer of the bucket.
    pub response_vary: bool,
    /// The rules; the first that matches counts. At most ten.
    pub rules: Vec<CorsRule>,
}

/// One CORS rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CorsRule {
    /// Origins, each with at most one `*`.
    pub allowed_origins: Vec<SmolStr>,
    /// Methods: GET, PUT, DELETE, POST, HEAD.
    pub allowed_methods: Vec<SmolStr>,
    /// Request headers, each with at most one `*`, compared without case.
    pub allowed_headers: Vec<SmolStr>,
    /// Response headers that a page may read.
    pub expose_headers: Vec<SmolStr>,
    /// How long a browser may keep a preflight's answer.
    pub max_age_seconds: Option<u32>,
}

/// Whether a LiveChannel takes publishers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
}

/// What happens to a second publisher of a LiveChannel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takeover {
    /// It is refused: `NetStream.Publish.BadName`.
    Reject,
    /// It replaces the first, if its signature is valid.
    Replace,
}

/// One LiveChannel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LiveChannel {
    /// UTF-8, 1 to 63 bytes, no `/`, no `\`.
    pub name: SmolStr,
    /// At most 128 bytes.
    pub description: SmolStr,
    /// Whether it takes publishers.
    pub status: Status,
    /// Length that segments aim at, in seconds, 1 to 100.
    pub frag_duration_s: u32,
    /// Segments in the live playlist, 1 to 100.
    pub frag_count: u32,
    /// Ends with `.m3u8`, 6 to 128 bytes, no `/`.
    pub playlist_name: SmolStr,
    /// Flash for this channel, in bytes.
    pub ring_bytes: u64,
    /// What happens to a second publisher.
    pub takeover: Takeover,
    /// Parts of segments are listed before the segments are complete; `None`: they are not.
    pub low_latency: Option<LowLatency>,
    /// When PutLiveChannel made it or changed it last; `None`: the file defines it, and only the file can change it.
    pub modified: Option<UnixSecs>,
}

/// Low-latency HLS (draft-pantos-hls-rfc8216bis, appendix B).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LowLatency {
    /// Longest part (PART-TARGET), in milliseconds.
    pub part_ms: u32,
}

/// A LiveChannel's name, with its bucket's.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ChannelPath {
    /// The bucket.
    pub bucket: SmolStr,
    /// The channel.
    pub channel: SmolStr,
}

impl std::fmt::Display for ChannelPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.bucket, self.channel)
    }
}
