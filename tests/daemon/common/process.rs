//! Child processes that cannot hang a test: what they print is always read, and every wait has an end.

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{SOON, machine, wait_for};

/// A child process. It is killed when it goes out of scope.
pub(crate) struct Watched {
    name: String,
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What a child has printed so far, and the thread that reads it.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// A child that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How.
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained of.
    pub(crate) stderr: String,
}

impl Watched {
    /// Starts `command` without input.
    pub(crate) fn start(command: &mut Command) -> Self {
        machine::share();
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!("{name} cannot be run: {error} (tests/run installs what the tests need)")
        });
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        Self { name, child, stdout, stderr }
    }

    /// Runs `command` to its end.
    pub(crate) fn run(command: &mut Command) -> Finished {
        Self::start(command).finish(Duration::from_secs(60))
    }

    /// Waits for the end. Fails the test after `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> Finished {
        let status = self.wait(limit);
        Finished { status, stdout: self.stdout.join(), stderr: self.stderr.join() }
    }

    /// Waits for the end, and keeps what was printed. Fails the test after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end; it said: {}", self.name, self.stderr());
        wait_for(&what, limit, || self.child.try_wait().unwrap())
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").arg("-c").arg(kill).status().unwrap().success());
    }

    /// Memory of its that is resident, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait(SOON);
    }

    /// What it has printed so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has complained of so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Fails the test unless it ended well and without a word of complaint.
    pub(crate) fn expect_silence(self) -> Self {
        assert!(
            self.status.success() && self.stderr.is_empty(),
            "{}: {}",
            self.status,
            self.stderr
        );
        self
    }
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn join(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}
