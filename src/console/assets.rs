//! A path below `/-/` → one of the pages in the program, or what they are made of.
//!
//! The pages are static and hold no data, and no page asks anything of another server. The player knows from its own
//! address what to play; the console asks for `/-/status`. The gate decides over both when they are asked for.
//!
//! What a page is made of has an address with a checksum of all of it in it, so browsers keep it for ever and an update
//! still arrives whole. The page itself is asked for each time. `hls-1.7.4.light.min.js` is that file of
//! the npm package hls.js 1.7.4, unchanged, packed with `zopfli --i100`; it is kept packed because every browser takes it
//! so. Its licence stands beside it.

#[cfg(feature = "pages")]
use std::sync::OnceLock;

/// A file of the pages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asset {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`; `None`: as it is.
    pub content_encoding: Option<&'static str>,
    /// What is sent.
    pub body: &'static [u8],
    /// `ETag`, with its quotes: the checksum of the body.
    pub etag: String,
    /// `Cache-Control`.
    pub cache_control: &'static str,
    /// `Content-Security-Policy`.
    pub policy: &'static str,
}

/// The page talks to the gateway that it came from, and to nothing else. hls.js repackages segments in a worker that it
/// makes from a blob, and hands the browser the result as one. Whoever likes may frame the player.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; worker-src blob:; img-src data:; form-action 'self'; base-uri 'none'";

/// The same, and nobody may frame it: what the console shows could be clicked on unknowingly.
const UNFRAMED_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; worker-src blob:; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Browsers ask each time whether it has changed.
const ASK_AGAIN: &str = "no-cache";

#[cfg(feature = "pages")]
const HTML: &str = "text/html; charset=utf-8";

/// The player page.
pub fn player() -> Asset {
    page(PLAYER, POLICY)
}

/// The console page.
pub fn console() -> Asset {
    page(CONSOLE, UNFRAMED_POLICY)
}

fn asset(content_type: &'static str, body: &'static [u8]) -> Asset {
    Asset {
        content_type,
        content_encoding: None,
        body,
        etag: format!("\"{:08X}\"", crc32fast::hash(body)),
        cache_control: ASK_AGAIN,
        policy: UNFRAMED_POLICY,
    }
}

#[cfg(feature = "pages")]
mod files {
    //! What the pages are made of.

    const CSS: &str = "text/css; charset=utf-8";
    const JS: &str = "text/javascript; charset=utf-8";
    const TEXT: &str = "text/plain; charset=utf-8";

    /// Name, `Content-Type`, bytes; a name on `.gz` is served without it, as `Content-Encoding: gzip`.
    pub(super) const FILES: [(&str, &str, &[u8]); 12] = [
        ("base.css", CSS, include_bytes!("pages/base.css")),
        ("card.js", JS, include_bytes!("pages/card.js")),
        ("console.css", CSS, include_bytes!("pages/console.css")),
        ("console.js", JS, include_bytes!("pages/console.js")),
        ("gateway.js", JS, include_bytes!("pages/gateway.js")),
        ("hls-1.7.4.light.min.js.gz", JS, include_bytes!("pages/hls-1.7.4.light.min.js.gz")),
        ("hls.js-LICENSE.txt", TEXT, include_bytes!("pages/hls.js-LICENSE.txt")),
        ("play.css", CSS, include_bytes!("pages/play.css")),
        ("play.js", JS, include_bytes!("pages/play.js")),
        ("player.js", JS, include_bytes!("pages/player.js")),
        ("text.js", JS, include_bytes!("pages/text.js")),
        ("timeline.js", JS, include_bytes!("pages/timeline.js")),
    ];
}

#[cfg(feature = "pages")]
const PLAYER: (&str, &OnceLock<Vec<u8>>) = {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    (include_str!("pages/play.html"), &MADE)
};

#[cfg(feature = "pages")]
const CONSOLE: (&str, &OnceLock<Vec<u8>>) = {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    (include_str!("pages/console.html"), &MADE)
};

/// A page, with the addresses of what it is made of filled in.
#[cfg(feature = "pages")]
fn page((text, made): (&str, &'static OnceLock<Vec<u8>>), policy: &'static str) -> Asset {
    let body = made.get_or_init(|| text.replace("{files}", &format!("/-/files/{}", tag())).into());
    Asset { policy, ..asset(HTML, body) }
}

/// The checksum of all files together.
#[cfg(feature = "pages")]
fn tag() -> &'static str {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| {
        let mut hasher = crc32fast::Hasher::new();
        files::FILES.iter().for_each(|(_, _, bytes)| hasher.update(bytes));
        format!("{:08x}", hasher.finalize())
    })
}

/// The file at `path`, which is `/-/files/TAG/NAME`.
#[cfg(feature = "pages")]
pub fn file(path: &str) -> Option<Asset> {
    let (wanted, name) = path.strip_prefix("/-/files/")?.split_once('/')?;
    let (stored, content_type, bytes) =
        files::FILES.iter().find(|(stored, ..)| stored.trim_end_matches(".gz") == name)?;
    Some(Asset {
        content_encoding: stored.ends_with(".gz").then_some("gzip"),
        // Under the tag of another version there is this one's file, but not for ever.
        cache_control: if wanted == tag() {
            "public, max-age=31536000, immutable"
        } else {
            ASK_AGAIN
        },
        ..asset(content_type, bytes)
    })
}

#[cfg(not(feature = "pages"))]
const PLAYER: &str =
    "This build has no player page. The play URL itself opens in VLC, mpv, ffplay or Safari.\n";

#[cfg(not(feature = "pages"))]
const CONSOLE: &str = "This build has no console page. `sluicegate status`, /-/status and /-/metrics tell the same.\n";

/// Without the pages, a sentence where they would be.
#[cfg(not(feature = "pages"))]
fn page(text: &'static str, policy: &'static str) -> Asset {
    Asset { policy, ..asset("text/plain; charset=utf-8", text.as_bytes()) }
}

/// Without the pages there is none.
#[cfg(not(feature = "pages"))]
pub const fn file(_path: &str) -> Option<Asset> {
    None
}

#[cfg(feature = "pages")]
#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn text(asset: &Asset) -> &'static str {
        std::str::from_utf8(asset.body).unwrap()
    }

    /// What stands between double quotes.
    fn quoted(text: &str) -> impl Iterator<Item = &str> {
        text.split('"').skip(1).step_by(2)
    }

    fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
        let scripts = files::FILES.iter().filter(|(name, ..)| name.ends_with(".js"));
        scripts.map(|(name, _, bytes)| (*name, std::str::from_utf8(bytes).unwrap()))
    }

    #[test]
    fn pages_and_scripts_name_nothing_that_is_not_there() {
        let mut named = 0;
        for page in [player(), console()] {
            for path in quoted(text(&page)).filter(|quoted| quoted.starts_with("/-/files/")) {
                let file = file(path).unwrap_or_else(|| panic!("{path}"));
                assert!(file.cache_control.contains("immutable"), "{path}");
                named += 1;
            }
        }
        for (script, text) in scripts() {
            for name in quoted(text).filter_map(|quoted| quoted.strip_prefix("./")) {
                assert!(file(&format!("/-/files/x/{name}")).is_some(), "{script}: {name}");
                named += 1;
            }
        }
        assert!(named >= 8, "{named}");
    }

    #[test]
    fn other_paths_are_not_there() {
        for path in ["/-/files", "/-/files/", "/-/files/x", "/-/files/x/", "/-/files/x/../play.js"]
        {
            assert_eq!(file(path), None, "{path}");
        }
        let old = file("/-/files/00000000/play.js").unwrap();
        assert_eq!(old.cache_control, ASK_AGAIN);
    }

    #[test]
    fn the_pages_keep_to_their_policy() {
        for page in [player(), console()] {
            for inline in ["<style", "style=", " onclick", "<script>", "https://", "javascript:"] {
                assert!(!text(&page).contains(inline), "{inline}");
            }
        }
        for (script, text) in scripts() {
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(sink), "{script}: {sink}");
            }
        }
    }

    #[test]
    fn all_pages_take_200_kib_packed() {
        let mut bytes = 0;
        let pages = [player(), console()].map(|page| ("", page.body));
        for (name, body) in files::FILES.iter().map(|(name, _, body)| (*name, *body)).chain(pages) {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            packed.write_all(body).unwrap();
            bytes +=
                if name.ends_with(".gz") { body.len() } else { packed.finish().unwrap().len() };
        }
        assert!(bytes <= 200 << 10, "{bytes}");
    }

    #[test]
    fn hls_js_is_what_its_name_says() {
        let packed = file("/-/files/x/hls-1.7.4.light.min.js").unwrap();
        assert_eq!(packed.content_encoding, Some("gzip"));
        let mut script = String::new();
        flate2::read::GzDecoder::new(packed.body).read_to_string(&mut script).unwrap();
        assert!(script.contains("\"1.7.4\""));
    }
}
