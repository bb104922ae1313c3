//! A path below `/-/` → one of the pages in the program: the player, and what it is made of.
//!
//! The pages are static and hold no data: what the player plays is in its own address, and the gate decides over that when
//! it is asked for. Nothing here is configured, and no page asks anything of another server.
//!
//! `hls-1.7.4.light.min.js` is that file of the npm package hls.js 1.7.4, unchanged, packed with
//! `zopfli --i100`; it is kept packed because every browser takes it so. Its licence stands beside it.

/// A file of the pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asset {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`; `None`: as it is.
    pub content_encoding: Option<&'static str>,
    /// What is sent.
    pub body: &'static [u8],
    /// `ETag`, with its quotes: the checksum of the body.
    pub etag: &'static str,
    /// `Cache-Control`.
    pub cache_control: &'static str,
}

/// `Content-Security-Policy` of every page.
///
/// The page talks to the gateway that it came from, and to nothing else. hls.js repackages segments in a worker that it
/// makes from a blob, and hands the browser the result as one. Whoever likes may frame the player.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; worker-src blob:; img-src data:; form-action 'self'; base-uri 'none'";

/// The page may change with the program, so a browser asks each time.
const ASK_AGAIN: &str = "no-cache";

/// The name holds the version, so the content never changes.
#[cfg(feature = "pages")]
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The file at `path`.
#[cfg(feature = "pages")]
pub fn asset(path: &str) -> Option<Asset> {
    let plain = |content_type, etag, body| Asset {
        content_type,
        content_encoding: None,
        body,
        etag,
        cache_control: ASK_AGAIN,
    };
    Some(match path {
        "/-/play" => plain(
            "text/html; charset=utf-8",
            "\"DDC3865A\"",
            include_bytes!("pages/play.html").as_slice(),
        ),
        "/-/play.css" => {
            plain("text/css; charset=utf-8", "\"E8276212\"", include_bytes!("pages/play.css"))
        }
        "/-/play.js" => {
            plain("text/javascript; charset=utf-8", "\"887ED2A2\"", include_bytes!("pages/play.js"))
        }
        "/-/hls.js-LICENSE.txt" => plain(
            "text/plain; charset=utf-8",
            "\"CA815FC1\"",
            include_bytes!("pages/hls.js-LICENSE.txt"),
        ),
        "/-/hls-1.7.4.light.min.js" => Asset {
            content_type: "text/javascript; charset=utf-8",
            content_encoding: Some("gzip"),
            body: include_bytes!("pages/hls-1.7.4.light.min.js.gz"),
            etag: "\"16900762\"",
            cache_control: FOR_EVER,
        },
        _ => return None,
    })
}

/// The file at `path`: without the pages, a sentence where the player would be.
#[cfg(not(feature = "pages"))]
pub fn asset(path: &str) -> Option<Asset> {
    (path == "/-/play").then_some(Asset {
        content_type: "text/plain; charset=utf-8",
        content_encoding: None,
        body: b"This build has no player page. The play URL itself opens in VLC, mpv, ffplay or Safari.\n",
        etag: "\"9301E028\"",
        cache_control: ASK_AGAIN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All paths that any build has.
    const PATHS: [&str; 5] = [
        "/-/play",
        "/-/play.css",
        "/-/play.js",
        "/-/hls.js-LICENSE.txt",
        "/-/hls-1.7.4.light.min.js",
    ];

    #[test]
    fn an_etag_changes_with_its_file() {
        for path in PATHS {
            let Some(asset) = asset(path) else { continue };
            assert_eq!(
                asset.etag,
                format!("\"{:08X}\"", crc32fast::hash(asset.body)),
                "the right tag of {path} is on the right"
            );
        }
    }

    #[test]
    fn the_player_is_there_in_every_build_and_other_paths_are_not() {
        assert!(asset("/-/play").is_some());
        for path in ["/-", "/-/", "/-/play/", "/-/play.html", "/-/../play", "/-/PLAY"] {
            assert_eq!(asset(path), None, "{path}");
        }
    }

    #[cfg(feature = "pages")]
    mod with_pages {
        use super::*;
        use std::io::Read;

        fn text(path: &str) -> &'static str {
            std::str::from_utf8(asset(path).unwrap().body).unwrap()
        }

        #[test]
        fn the_pages_name_nothing_that_is_not_there() {
            for line in
                ["/-/play.css", "/-/play.js", "/-/hls.js-LICENSE.txt", "/-/hls-1.7.4.light.min.js"]
            {
                assert!(text("/-/play").contains(&format!("\"{line}\"")), "{line}");
                assert!(asset(line).is_some());
            }
        }

        #[test]
        fn the_pages_keep_to_their_policy() {
            let page = text("/-/play");
            for inline in ["<style", "style=", " onclick", "<script>", "https://", "javascript:"] {
                assert!(!page.contains(inline), "{inline}");
            }
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text("/-/play.js").contains(sink), "{sink}");
            }
        }

        #[test]
        fn hls_js_is_what_its_name_says() {
            let packed = asset("/-/hls-1.7.4.light.min.js").unwrap();
            let mut script = String::new();
            flate2::read::GzDecoder::new(packed.body).read_to_string(&mut script).unwrap();
            assert!(script.contains("\"1.7.4\""));
            let all: usize =
                PATHS.iter().filter_map(|path| asset(path)).map(|asset| asset.body.len()).sum();
            assert!(all <= 200 << 10, "{all} bytes of pages");
        }
    }
}
