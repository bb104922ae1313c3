//! What each command does. Text for standard output, or an error with its exit code.

use std::{fmt::Write as _, path::Path};

use tracing_subscriber::filter::LevelFilter;

use crate::{
    access::sign::{Signer, console_query},
    check,
    config::LiveChannel,
    query::encode,
    shell::{
        args::{Purpose, Sign},
        files::{self, Whole},
        serve, status,
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

/// Checks the configuration.
pub fn check(file: &Path) -> Outcome {
    let Whole { config, warnings, .. } = load_whole(file)?;
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
        let base = base(sign.url.as_deref(), "http", endpoint, http_port);
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
    let signer = Signer { key, bucket: &bucket.name, expires };
    let url = if sign.purpose == Purpose::Publish {
        let port = config
            .listen
            .rtmp
            .first()
            .or(config.listen.http.first())
            .map_or(1935, std::net::SocketAddr::port);
        let base = base(sign.url.as_deref(), "rtmp", endpoint, port);
        signer.publish_url(&base, &sign.channel, sign.playlist.as_deref())
    } else {
        let base = base(sign.url.as_deref(), "http", endpoint, http_port);
        let configured =
            channel.map_or("playlist.m3u8", |channel: &LiveChannel| channel.playlist_name.as_str());
        let object = format!("{}/{}", sign.channel, sign.playlist.as_deref().unwrap_or(configured));
        if sign.is_page {
            // The page is the gateway's own, so the address in it needs no host.
            let mut page = format!("{}/-/play?src=", base.trim_end_matches('/'));
            encode(&signer.play_url("", &object), &mut page);
            page
        } else {
            signer.play_url(&base, &object)
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

/// The address of the box: as the user gave it, or as the configuration has it.
fn base(given: Option<&str>, scheme: &str, endpoint: &str, port: u16) -> String {
    match given {
        Some(url) => match url.split_once("://") {
            Some((given, rest)) if given != scheme && scheme == "rtmp" => format!("rtmp://{rest}"),
            Some(_) => url.to_owned(),
            None => format!("{scheme}://{url}"),
        },
        None => format!("{scheme}://{endpoint}:{port}"),
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
    if faults.is_empty() { Ok(text) } else { Err((format!("{text}{}", faults.join("\n")), 1)) }
}

fn inspect(path: &Path, is_verify: bool, text: &mut String) -> Result<(), String> {
    let file =
        RingFile::open_read_only(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut ring = Inspection::new(file).map_err(|error| error.to_string())?;
    let records = std::mem::take(&mut ring.records);
    let mut damaged = 0;
    for record in &records {
        let verdict = match () {
            () if record.is_gap => "lost",
            () if !is_verify => "",
            () => match ring.verify(record) {
                Ok(()) => "good",
                Err(_) => {
                    damaged += 1;
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
            "  {:>8}  {}  {:013}.ts  {:>10} bytes  {:>4}.{:03} s {verdict}{flags}",
            record.sequence,
            IsoMillis(record.start),
            record.start.0,
            record.bytes,
            ms / 1000,
            ms % 1000,
        );
    }
    if damaged > 0 {
        Err(format!("{damaged} of {} segments are damaged", records.len()))
    } else {
        Ok(())
    }
}
