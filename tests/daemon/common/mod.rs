//! What the end-to-end tests stand on: a daemon with a configuration of its own on free ports, child processes that
//! cannot hang a test, a small HTTP client, a browser, and judges of playlists and transport streams.
//!
//! The judges are written from the standards and share no code with the daemon.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub(crate) mod browser;
pub(crate) mod firefox;
pub(crate) mod http;
pub(crate) mod machine;
pub(crate) mod playlist;
pub(crate) mod playlist_recorder;
pub(crate) mod process;
pub(crate) mod publisher;
pub(crate) mod transport_stream;

use process::Watched;

/// The built-in clip: 8 s, 25 pictures a second, a key frame each second, 375 AAC frames.
pub(crate) const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/clip.flv");

/// How long anything may take that is expected to happen at once. It is there to end a broken test, not to measure.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running daemon. It is killed, and its files are removed, when it goes out of scope.
pub(crate) struct Daemon {
    /// Its process.
    pub(crate) process: Watched,
    /// Port of HTTP.
    pub(crate) http: u16,
    /// Port of RTMP.
    pub(crate) rtmp: u16,
    /// Where its configuration and its rings are.
    pub(crate) folder: Folder,
}

/// What every test's configuration begins with; ports and folder are filled in.
const HEAD: &str = r#"
endpoint = "gateway.test"

[listen]
http = ["127.0.0.1:HTTP_PORT"]
rtmp = ["127.0.0.1:RTMP_PORT"]

[store]
path = "FOLDER/store"
flash_block = "64KiB"

[[access_key]]
id = "LTAI5tTests"
secret = "not-a-secret-outside-the-tests"
"#;

impl Daemon {
    /// Starts a daemon whose configuration goes on with `buckets`, and waits until it takes connections.
    pub(crate) fn start(buckets: &str) -> Self {
        Self::start_on(buckets, free_ports())
    }

    /// The same, on given ports: HTTP's and RTMP's.
    pub(crate) fn start_on(buckets: &str, [http, rtmp]: [u16; 2]) -> Self {
        let folder = Folder::new();
        write_config(&folder, buckets, http, rtmp);
        let process = Self::launch(&folder, http, rtmp);
        Self { process, http, rtmp, folder }
    }

    /// The same, with its rings in `store` and further lines in the section of that name.
    pub(crate) fn start_in(store: &Path, options: &str, buckets: &str) -> Self {
        let [http, rtmp] = free_ports();
        let folder = Folder::new();
        let config = write_config(&folder, buckets, http, rtmp);
        let text = fs::read_to_string(&config).unwrap();
        let usual = folder.path().join("store");
        let here = format!("{}\"\n{options}", store.display());
        fs::write(&config, text.replace(&format!("{}\"", usual.display()), &here)).unwrap();
        let process = Self::launch(&folder, http, rtmp);
        Self { process, http, rtmp, folder }
    }

    /// Starts the daemon again after it has ended by itself.
    pub(crate) fn restart(&mut self) {
        self.process = Self::launch(&self.folder, self.http, self.rtmp);
    }

    fn launch(folder: &Folder, http: u16, rtmp: u16) -> Watched {
        let mut process =
            Watched::start(sluicegate().arg("serve").arg("--config").arg(config_of(folder)));
        for port in [http, rtmp] {
            wait_for("the daemon to listen", SOON, || {
                assert!(process.is_running(), "the daemon did not start: {}", process.stderr());
                TcpStream::connect(("127.0.0.1", port)).ok()
            });
        }
        process
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        config_of(&self.folder)
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits for a line of the log that has all of these in it, and returns it.
    pub(crate) fn logs(&self, words: &[&str]) -> String {
        let start = Instant::now();
        loop {
            let log = self.process.stderr();
            let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            match found {
                Some(line) => return line.to_owned(),
                None => assert!(start.elapsed() < SOON, "{words:?} are not in the log:\n{log}"),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Publishes the clip, in a loop, in real time, for `secs`, to `rtmp://127.0.0.1:RTMP_PORT/tail`.
    pub(crate) fn publish(&self, tail: &str, secs: u32) -> Watched {
        publish_to(&format!("rtmp://127.0.0.1:{}/{tail}", self.rtmp), secs, &[])
    }

    /// The address of an object for programs that are given one.
    pub(crate) fn url(&self, tail: &str) -> String {
        format!("http://127.0.0.1:{}/{tail}", self.http)
    }
}

/// Writes the configuration that goes on with `buckets`, and says where.
pub(crate) fn write_config(folder: &Folder, buckets: &str, http: u16, rtmp: u16) -> PathBuf {
    let head = HEAD
        .replace("HTTP_PORT", &http.to_string())
        .replace("RTMP_PORT", &rtmp.to_string())
        .replace("FOLDER", folder.path().to_str().unwrap());
    fs::write(config_of(folder), head + buckets).unwrap();
    config_of(folder)
}

fn config_of(folder: &Folder) -> PathBuf {
    folder.path().join("sluicegate.toml")
}

/// The program under test, and what runs it: `SLUICEGATE_PROGRAM`, such as `qemu-arm-static target/…/sluicegate`, if it is set.
pub(crate) fn program() -> Vec<String> {
    let given = env::var("SLUICEGATE_PROGRAM").ok();
    let words = given.as_deref().unwrap_or(env!("CARGO_BIN_EXE_sluicegate"));
    words.split_whitespace().map(str::to_owned).collect()
}

/// A command of the program under test.
pub(crate) fn sluicegate() -> Command {
    let words = program();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// ffmpeg, which says only what is wrong.
pub(crate) fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-v", "warning"]);
    command
}

/// Publishes the clip as [`Daemon::publish`] does, to any URL, with further output options.
pub(crate) fn publish_to(url: &str, secs: u32, options: &[&str]) -> Watched {
    let secs = secs.to_string();
    Watched::start(
        ffmpeg()
            .args([
                "-re",
                "-stream_loop",
                "-1",
                "-i",
                CLIP,
                "-t",
                &secs,
                "-c",
                "copy",
                "-f",
                "flv",
                "-flvflags",
                "no_duration_filesize",
            ])
            .args(options)
            .arg(url),
    )
}

/// Asks until there is an answer. Fails the test, naming `what` it waited for, when `limit` has passed.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Ports that nobody listens on, each of them given once. They lie below those that the system gives to connections
/// (ip(7), `ip_local_port_range`), so that none is taken between two starts of a daemon.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    std::array::from_fn(|_| {
        wait_for("a free port", SOON, || {
            // Another run at the same time begins elsewhere.
            let next = std::process::id().wrapping_mul(257) + GIVEN.fetch_add(1, Ordering::Relaxed);
            let port = (FIRST + next % COUNT) as u16;
            TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
        })
    })
}

/// A folder for one test, removed with it; a failing test leaves it behind and says where.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("sluicegate-test-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the files of this test are left in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
