//! What each command does. Text for standard output, or an error with its exit code.

use std::{fmt::Write as _, path::Path};

use tracing_subscriber::filter::LevelFilter;

use crate::{
    access::sign::{Signer, console_query},
    check,
    config::{
        Config, LiveChannel,
        names::{is_channel_name, is_playlist_name},
    },
    http::address::bucket_of_host,
    query::encode,
    shell::{
        args::{Purpose, Sign},
        files::{self, Whole},
        output, serve, status, survey,
    },
    units::{IsoMillis, UnixSecs},
};

use super::{clock::Clock, ring_file::RingFile};
use crate::store::inspect::Inspection;

/// Text to print, or an error and its exit code: 1 failed while running, 2 wrong usage or configuration.
type Outcome = Result<String, (String, u8)>;

/// Runs the daemon.
pub fn serve(file: &Path) -> Outcome {
    log_to_stderr();
    let whole = load_whole(file)?;
    for warning in &whole.warnings {
        tracing::warn!("{warning}");
    }
    serve::run(whole, serve::Companion::File(file.to_owned())).map_err(|error| (error, 1))?;
    Ok(String::new())
}

/// Runs the demonstration.
#[cfg(feature = "demo")]
pub fn demo(http: std::net::SocketAddr, rtmp: std::net::SocketAddr) -> Outcome {
    log_to_stderr();
    super::demo::run(http, rtmp).map_err(|error| (error, 1))?;
    Ok(String::new())
}

/// Logs go to stderr only, without colours: they end in a journal.
fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}

/// Checks the configuration, and what stands in the store already.
pub fn check(file: &Path) -> Outcome {
    let Whole { config, mut warnings, .. } = load_whole(file)?;
    warnings.extend(survey::warnings(&config));
    Ok(check::report(&config, &warnings, files::available_flash(&config)))
}

fn load_whole(file: &Path) -> Result<Whole, (String, u8)> {
    let (config, warnings) = files::load(file).map_err(|error| (error, 2))?;
    let whole = Whole::of(config, &warnings);
    files::check_room(&whole.config).map_err(|error| (error, 2))?;
    Ok(whole)
}

/// Prints a signed URL.
pub fn sign(sign: &Sign) -> Outcome {
    let usage = |error: String| (error, 2);
    let (config, _) = files::load(&sign.config).map_err(usage)?;
    let Whole { config, .. } = Whole::of(config, &[]);
    let key = files::signing_key(&config, sign.key.as_deref()).map_err(usage)?;
    let now = Clock::start().now().wall.as_secs();
    let expires = UnixSecs(now.0.saturating_add(sign.expires_secs));
    let endpoint = config.endpoint.as_deref().unwrap_or("localhost");
    let http_port = config.listen.http.first().map_or(80, std::net::SocketAddr::port);
    let printed =
        |url: String| if sign.is_raw { format!("{url}\n") } else { format!("{}\n", quoted(&url)) };
    if let Purpose::Console | Purpose::Metrics = sign.purpose {
        let page = if sign.purpose == Purpose::Metrics { "metrics" } else { "" };
        let base = base(sign.url.as_deref(), "http", endpoint, http_port).map_err(usage)?;
        let base = base.trim_end_matches('/');
        return Ok(printed(format!("{base}/-/{page}?{}", console_query(page, key, expires))));
    }
    let bucket = config.buckets.iter().find(|bucket| bucket.name == sign.bucket);
    let bucket = bucket.ok_or_else(|| {
        usage(format!("there is no bucket {:?} in the configuration", sign.bucket))
    })?;
    let channel = bucket.live_channels.iter().find(|channel| channel.name == sign.channel);
    if channel.is_none() && bucket.dynamic_channels.is_none() {
        return Err(usage(format!(
            "there is no LiveChannel {:?} in bucket {}",
            sign.channel, bucket.name
        )));
    }
    if !is_channel_name(&sign.channel) {
        return Err(usage(format!(
            "{:?} cannot be the name of a LiveChannel: it has 1 to 63 bytes, without a slash, and is not \".\", \"..\" or \"-\"",
            sign.channel
        )));
    }
    if let Some(name) = sign.playlist.as_deref().filter(|name| !is_playlist_name(name)) {
        return Err(usage(format!(
            "--playlist {name:?} cannot be the name of a playlist: it has 6 to 128 bytes, ends with \".m3u8\" and has no slash"
        )));
    }
    let signer = Signer { key, bucket: &bucket.name, expires };
    let url = if sign.purpose == Purpose::Publish {
        let port = config
            .listen
            .rtmp
            .first()
            .or(config.listen.http.first())
            .map_or(1935, std::net::SocketAddr::port);
        let base = base(sign.url.as_deref(), "rtmp", endpoint, port).map_err(usage)?;
        let playlist = sign.playlist.as_deref();
        if is_named_by_host(&config, &base, &bucket.name).map_err(usage)? {
            signer.publish_url_by_host(&base, &sign.channel, playlist)
        } else {
            signer.publish_url(&base, &sign.channel, playlist)
        }
    } else {
        let base = base(sign.url.as_deref(), "http", endpoint, http_port).map_err(usage)?;
        let is_by_host = is_named_by_host(&config, &base, &bucket.name).map_err(usage)?;
        let play_url = |base: &str, object: &str| {
            if is_by_host {
                signer.play_url_by_host(base, object)
            } else {
                signer.play_url(base, object)
            }
        };
        let configured =
            channel.map_or("playlist.m3u8", |channel: &LiveChannel| channel.playlist_name.as_str());
        let object = format!("{}/{}", sign.channel, sign.playlist.as_deref().unwrap_or(configured));
        if sign.is_page {
            // The page is the gateway's own, so the address in it needs no host.
            let mut page = format!("{}/-/play?src=", base.trim_end_matches('/'));
            encode(&play_url("", &object), &mut page);
            page
        } else {
            play_url(&base, &object)
        }
    };
    Ok(printed(url))
}

/// Asks the running daemon.
pub fn status(is_json: bool, is_watch: bool, file: &Path) -> Outcome {
    let (config, _) = files::load(file).map_err(|error| (error, 2))?;
    if is_watch {
        status::watch(&config, is_json).map_err(|error| (error, 1))?;
        return Ok(String::new());
    }
    let text = status::ask(&config, is_json).map_err(|error| (error, 1))?;
    Ok(if is_json { text + "\n" } else { text })
}

/// The address of the box: as the user gave it, or as the configuration has it. An encoder may be given the viewers' address,
/// as the SDKs do.
fn base(given: Option<&str>, wanted: &str, endpoint: &str, port: u16) -> Result<String, String> {
    let Some(given) = given else { return Ok(format!("{wanted}://{endpoint}:{port}")) };
    let (scheme, rest) = given.split_once("://").unwrap_or((wanted, given));
    let scheme = match (scheme, wanted) {
        ("http" | "https", "http") | ("rtmp" | "rtmps", "rtmp") => scheme,
        ("http" | "https", "rtmp") => "rtmp",
        _ => "",
    };
    let is_host = !rest.is_empty() && !rest.starts_with(['/', ':']);
    if scheme.is_empty() || !is_host || rest.contains(['?', '#', ' ']) {
        return Err(format!(
            "--url {given:?} is not an address of the box: write {wanted}://HOST[:PORT]"
        ));
    }
    Ok(format!("{scheme}://{rest}"))
}

/// Whether the host of an address means `bucket` by itself, so that the path must not name it again.
fn is_named_by_host(config: &Config, base: &str, bucket: &str) -> Result<bool, String> {
    let (_, rest) = base.split_once("://").unwrap_or(("", base));
    let host = rest.split('/').next().unwrap_or(rest);
    match bucket_of_host(config, host) {
        None => Ok(false),
        Some(named) if named.name == bucket => Ok(true),
        Some(named) => Err(format!(
            "--url {base:?} is bucket {}: give {bucket}'s own, or the box's",
            named.name
        )),
    }
}

/// Quoted for a POSIX shell, so that no `&` ends the command.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Lists the rings' segments, or checks every byte of them. Never writes.
pub fn store(is_verify: bool, file: &Path) -> Outcome {
    let (config, _) = files::load(file).map_err(|error| (error, 2))?;
    let Whole { config, .. } = Whole::of(config, &[]);
    let mut text = String::new();
    let mut faults = Vec::new();
    for (bucket, channel) in config.live_channels() {
        let path = files::ring_path(&config, &bucket.name, &channel.name);
        let _ = writeln!(text, "{}/{}  {}", bucket.name, channel.name, path.display());
        if let Err(error) = inspect(&path, is_verify, &mut text) {
            faults.push(format!("{}: {error}", path.display()));
        }
    }
    if faults.is_empty() {
        return Ok(text);
    }
    // What could be read is the answer; what could not is the error.
    faults.extend(output::print(&text).err());
    Err((faults.join("\n"), 1))
}

fn inspect(path: &Path, is_verify: bool, text: &mut String) -> Result<(), String> {
    let file =
        RingFile::open_read_only(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut ring = Inspection::new(file).map_err(|error| error.to_string())?;
    let records = std::mem::take(&mut ring.records);
    let mut damaged = 0;
    for record in &records {
        let mut why = String::new();
        let verdict = match () {
            () if record.is_gap => "lost",
            () if !is_verify => "",
            () => match ring.verify(record) {
                Ok(()) => "good",
                Err(error) => {
                    damaged += 1;
                    why = format!(": {error}");
                    "DAMAGED"
                }
            },
        };
        let flags = [
            (record.is_discontinuity, " discontinuity"),
            (!record.is_independent && !record.is_gap, " no-key-frame"),
        ];
        let flags: String =
            flags.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect();
        let ms = record.duration.as_millis();
        let _ = writeln!(
            text,
            "  {:>8}  {}  {:013}.ts  {:>10} bytes  {:>4}.{:03} s {verdict}{flags}{why}",
            record.sequence,
            IsoMillis(record.start),
            record.start.0,
            record.bytes,
            ms / 1000,
            ms % 1000,
        );
    }
    // Neither is a fault of the card's: a power cut may leave them.
    if ring.dropped > 0 {
        let _ = writeln!(
            text,
            "  {} at the end never reached the flash whole, and the next start of the daemon leaves out what is there",
            counted(ring.dropped, "segment", "segments")
        );
    }
    if ring.damaged_pages > 0 {
        let (is, they) = if ring.damaged_pages == 1 { ("is", "it") } else { ("are", "they") };
        let _ = writeln!(
            text,
            "  {} {is} torn or damaged, and what {they} alone listed is not shown: a power cut may leave one such page",
            counted(ring.damaged_pages, "index page", "index pages")
        );
    }
    if damaged > 0 {
        let are = if damaged == 1 { "is" } else { "are" };
        Err(format!(
            "{damaged} of {} {are} damaged",
            counted(records.len() as u64, "segment", "segments")
        ))
    } else {
        Ok(())
    }
}

/// A number of things, as one says it.
fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_s_address_is_one_that_a_player_or_an_encoder_can_use() {
        let table = [
            ("http", Some("http://h:1/base/"), Some("http://h:1/base/")),
            ("http", Some("https://[::1]"), Some("https://[::1]")),
            ("http", Some("h:1"), Some("http://h:1")),
            ("http", None, Some("http://gw.lan:8080")),
            ("rtmp", Some("https://h:1"), Some("rtmp://h:1")),
            ("rtmp", Some("rtmps://h"), Some("rtmps://h")),
            ("http", Some(""), None),
            ("http", Some("http://"), None),
            ("http", Some("http:///x"), None),
            ("http", Some("rtmp://h:1935"), None),
            ("http", Some("ftp://h"), None),
            ("rtmp", Some("srt://h"), None),
            ("http", Some("http://h?x"), None),
        ];
        for (wanted, given, expected) in table {
            let base = base(given, wanted, "gw.lan", 8080);
            assert_eq!(base.as_deref().ok(), expected, "{wanted} {given:?}");
            assert!(base.is_ok() || base.unwrap_err().contains("://HOST"), "{given:?}");
        }
    }

    #[test]
    fn a_host_that_is_a_bucket_stands_for_it() {
        let text = "endpoint = \"gw.lan\"\n[[access_key]]\nid = \"a\"\nsecret = \"abcdefgh12345678\"\n\
                    [[bucket]]\nname = \"cams\"\nhosts = [\"cams.example.com\"]\n[[bucket]]\nname = \"pub\"\n";
        let no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let config = Config::parse(text, "test.toml", &no_files).unwrap().0;
        let is_named = |base| is_named_by_host(&config, base, "cams").ok();
        assert_eq!(is_named("http://gw.lan:8080"), Some(false));
        assert_eq!(is_named("http://cams.gw.lan:8080/x"), Some(true));
        assert_eq!(is_named("rtmp://cams.example.com"), Some(true));
        assert_eq!(is_named("http://pub.gw.lan"), None);
    }
}
