//! `sluicegate status`: asks the running daemon over HTTP, as anybody could, and prints what it says.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use crate::{
    access::sign::console_query,
    config::Config,
    limits::STATUS_BYTES_MAX,
    shell::{
        clock::Clock,
        files,
        output::{self, Reader},
    },
    units::UnixSecs,
};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often `--watch` asks.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Clears a terminal's screen and goes to its top (ECMA-48: ED, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Asks once.
pub(super) fn ask(config: &Config, is_json: bool) -> Result<String, String> {
    let address = reachable(config)?;
    let said = |error: io::Error| {
        format!(
            "the daemon does not answer at {address}: {error}; is it running, with this configuration?"
        )
    };
    let reply = fetch(config, address, is_json).map_err(said)?;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(format!(
            "{address} answers {status}: {}",
            element(body, "Message").unwrap_or("it is not a sluicegate of this version")
        )),
        None => Err(format!("what listens at {address} does not speak HTTP")),
    }
}

/// Asks again and again, and shows each answer in place of the last, until it is interrupted or there is none.
pub(super) fn watch(config: &Config, is_json: bool) -> Result<(), String> {
    loop {
        let text = ask(config, is_json)?;
        let (before, after) = if is_json { ("", "\n") } else { (CLEAR, "") };
        if output::print(&format!("{before}{text}{after}"))? == Reader::Gone {
            return Ok(());
        }
        thread::sleep(WATCH_EVERY);
    }
}

/// The address that the daemon listens on, as it is reached from this box.
fn reachable(config: &Config) -> Result<SocketAddr, String> {
    let address = config.listen.http.first().ok_or("the configuration has no address for HTTP")?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // `[::]` takes IPv4 too, and a box may have IPv6 switched off.
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, address.port()))
}

fn fetch(config: &Config, address: SocketAddr, is_json: bool) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // This box may always look; the signature serves where the address leads to another one, as in a container.
    let expires = UnixSecs(Clock::start().now().wall.as_secs().0 + 60);
    let query = files::signing_key(config, None)
        .map(|key| format!("?{}", console_query("", key, expires)))
        .unwrap_or_default();
    let accept = if is_json { "application/json" } else { "text/plain" };
    let head = format!(
        "GET /-/status{query} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut reply = String::new();
    stream.take(STATUS_BYTES_MAX).read_to_string(&mut reply)?;
    Ok(reply)
}

/// What stands in the first `<name>` of an XML text.
fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text)
}
