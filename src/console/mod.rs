//! The daemon's own pages, below `/-/`.

/// A page, or part of one.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Media type.
    pub content_type: &'static str,
    /// Content coding, if it has one.
    pub content_encoding: Option<&'static str>,
    /// Its bytes.
    pub body: &'static [u8],
    /// Its entity tag, quotes included.
    pub etag: &'static str,
    /// How long it may be kept.
    pub cache_control: &'static str,
}

/// What the pages may load and run.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'";

/// The page at `path`.
pub const fn asset(_path: &str) -> Option<Asset> {
    None
}
