//! Readiness and the watchdog, told to systemd (sd_notify(3)). Without `NOTIFY_SOCKET` all of it does nothing.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The line to systemd, if there is one.
#[derive(Debug)]
pub(super) struct Notify {
    line: Option<(UnixDatagram, SocketAddr)>,
    /// How often systemd is to be told that the engine's loop turns: half of what it allows.
    pub(super) watchdog: Option<Duration>,
}

impl Notify {
    /// Opens the line that the environment names.
    pub(super) fn open() -> Self {
        let line = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().ok()?;
            // The engine's thread sends: it drops a word rather than wait for systemd.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        });
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok());
        Self { line, watchdog: micros.map(|micros| Duration::from_micros(micros / 2)) }
    }

    /// Says `state`, e.g. `READY=1`.
    pub(super) fn say(&self, state: &str) {
        if let Some((socket, address)) = &self.line {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}
