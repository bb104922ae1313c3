//! `sluicegate demo`: the whole product around a built-in clip. It publishes as any camera would, over TCP, with a signed URL.

use std::{
    collections::hash_map::RandomState, env, fs, hash::BuildHasher, io, net::SocketAddr,
    path::PathBuf, process, time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    access::sign::{Signer, console_query},
    config::Config,
    demo::{
        client::{Client, ClientError},
        flv::{TagKind, clip_for_ever},
    },
    query::encode,
    shell::{clock::Clock, files::Whole, output, serve},
    units::UnixSecs,
};

/// How long the printed addresses are good for, in seconds: a working day.
const EXPIRES_SECS: u64 = 12 * 3600;

/// The configuration, with places to fill in.
const CONFIG: &str = include_str!("../demo/demo.toml");

/// Runs the demonstration until it is told to stop, and leaves nothing behind.
pub(super) fn run(http: SocketAddr, rtmp: SocketAddr) -> Result<(), String> {
    let store = Folder::make()?;
    // The standard library draws these keys anew for each process; nobody can guess the demo's secret from outside.
    let secret =
        format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1));
    let text = CONFIG
        .replace("{http}", &http.to_string())
        .replace("{rtmp}", &rtmp.to_string())
        .replace("{store}", &store.0.display().to_string())
        .replace("{secret}", &secret);
    let no_files = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
    let (config, _) = Config::parse(&text, "demo", &no_files).map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    let publish_url = announce(&config, http, rtmp)?;
    let whole = Whole::of(config, &[]);
    serve::run(whole, serve::Companion::Demo(Camera { publish_url, server: reachable(rtmp) }))
}

/// Prints the addresses and returns the one to publish to.
fn announce(config: &Config, http: SocketAddr, rtmp: SocketAddr) -> Result<String, String> {
    let key = config.access_keys.first().ok_or("the demonstration has no key")?;
    let expires = UnixSecs(Clock::start().now().wall.as_secs().0 + EXPIRES_SECS);
    let signer = Signer { key, bucket: "demo", expires };
    let (http, rtmp) = (reachable(http), reachable(rtmp));
    let publish = signer.publish_url(&format!("rtmp://{rtmp}"), "camera", None);
    let play = signer.play_url(&format!("http://{http}"), "camera/playlist.m3u8");
    let mut page = format!("http://{http}/-/play?src=");
    encode(&signer.play_url("", "camera/playlist.m3u8"), &mut page);
    let console = format!("http://{http}/-/?{}", console_query("", key, expires));
    let text = format!(
        "Sluicegate demonstration: a built-in clip is published over RTMP, kept in a ring of 32 MiB, and served as HLS.\n\n\
         Open in a browser:\n  {page}\n\n\
         See how it does:\n  {console}\n\n\
         Play with any player (signed, good for 12 hours):\n  '{play}'\n\n\
         Publish URL that the clip is pushed to (stop the demonstration to push with it yourself):\n  '{publish}'\n\n\
         Ctrl-C ends it and leaves nothing behind.\n"
    );
    output::print(&text)?;
    Ok(publish)
}

/// An address that is listened on, as somebody on this machine reaches it.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], v6.port()))
        }
        other => other,
    }
}

/// A folder of its own that goes when the demonstration does.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, String> {
        let path = env::temp_dir().join(format!("sluicegate-demo-{}", process::id()));
        fs::create_dir_all(&path).map_err(|error| {
            format!("cannot make the temporary store {}: {error}", path.display())
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The demonstration's camera.
pub(crate) struct Camera {
    publish_url: String,
    server: SocketAddr,
}

/// Why a publication ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Camera {
    /// Publishes the clip for ever; comes back after a second when it is cut off.
    ///
    /// Cancel-safe: it owns nothing but its connection.
    pub(crate) async fn run(self) {
        loop {
            if let Err(ended) = self.publish().await {
                tracing::warn!("the demonstration's camera: {ended}");
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Publishes the clip until it is cut off.
    ///
    /// Cancel-safe: its connection is its own, and closes with it.
    async fn publish(&self) -> Result<(), Ended> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut client = Client::new(&self.publish_url)?;
        while !client.is_publishing() {
            flush(&stream, &mut client).await?;
            stream.readable().await?;
            receive(&stream, &mut client)?;
        }
        let mut due = Instant::now();
        let mut last_ms = 0;
        for tag in clip_for_ever() {
            // Timestamps fold after 49 days, and sound may be a little behind the picture before it.
            let ahead_ms = tag.timestamp_ms.wrapping_sub(last_ms);
            if ahead_ms <= u32::MAX / 2 {
                due += Duration::from_millis(ahead_ms.into());
                last_ms = tag.timestamp_ms;
            }
            sleep_until(due).await;
            match tag.kind {
                TagKind::Video => client.send_video(tag.timestamp_ms, tag.body)?,
                TagKind::Audio => client.send_audio(tag.timestamp_ms, tag.body)?,
                TagKind::Script => {}
            }
            flush(&stream, &mut client).await?;
            receive(&stream, &mut client)?;
        }
        Ok(())
    }
}

/// Sends what the client has to say.
///
/// Cancel-safe: what was written is taken off the output before the next wait.
async fn flush(stream: &TcpStream, client: &mut Client) -> Result<(), Ended> {
    while !client.output().is_empty() {
        match stream.try_write(client.output()) {
            Ok(written) => client.consume_output(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes what the server has said, without waiting for it.
fn receive(stream: &TcpStream, client: &mut Client) -> Result<(), Ended> {
    let mut bytes = [0; 4096];
    match stream.try_read(&mut bytes) {
        Ok(0) => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        Ok(read) => Ok(client.receive(bytes.get(..read).unwrap_or_default())?),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.into()),
    }
}
