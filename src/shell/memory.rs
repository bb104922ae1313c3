//! How much memory of this process is resident, as the kernel counts it (proc(5), `/proc/PID/status`).

use std::{fs::File, os::unix::fs::FileExt};

/// More than the file has: some 1,500 bytes.
const STATUS_BYTES: usize = 4096;

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Resident {
    /// At this moment: `VmRSS`.
    pub(super) now_bytes: u64,
    /// The most so far: `VmHWM`.
    pub(super) most_bytes: u64,
}

/// The kernel's file, which is opened once: it is asked every second. `None` where there is no `/proc`.
#[derive(Debug)]
pub(super) struct Meter(Option<File>);

impl Meter {
    pub(super) fn open() -> Self {
        Self(File::open("/proc/self/status").ok())
    }

    /// Asks the kernel.
    pub(super) fn resident(&self) -> Option<Resident> {
        let mut text = [0; STATUS_BYTES];
        let read = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        parse(str::from_utf8(text.get(..read)?).ok()?)
    }
}

fn parse(status: &str) -> Option<Resident> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    };
    Some(Resident { now_bytes: bytes("VmRSS:")?, most_bytes: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let status = "Name:\tsluicegate\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\nThreads:\t2\n";
        assert_eq!(parse(status), Some(Resident { now_bytes: 4 << 20, most_bytes: 5 << 20 }));
        assert_eq!(parse("Name:\tx\n"), None);
        let own = Meter::open().resident().unwrap();
        assert!(own.now_bytes > 100_000 && own.most_bytes >= own.now_bytes, "{own:?}");
    }
}
