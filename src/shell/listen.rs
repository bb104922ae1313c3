//! The sockets that the daemon listens on: those that systemd opened (sd_listen_fds(3)), or else the addresses of the
//! configuration.
//!
//! systemd can open ports below 1024 for a daemon without rights, and holds them while the daemon is started again: who
//! connects meanwhile waits instead of being turned away.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, listen, socket_with,
    sockopt::{set_ipv6_v6only, set_socket_reuseaddr, socket_acceptconn},
};
use tokio::net::TcpListener;

use crate::{config::Listen, limits::LISTEN_BACKLOG};

/// Which protocol a listener is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// HTTP; the first byte may still tell RTMP.
    Http,
    Rtmp,
}

/// Opens every listener. Sockets of a protocol that systemd passed stand in for all of its addresses in `configured`.
pub(super) fn open(configured: &Listen) -> Result<Vec<(TcpListener, Protocol)>, String> {
    let mut listeners = passed()?;
    for (addresses, protocol, key) in [
        (&configured.http, Protocol::Http, "listen.http"),
        (&configured.rtmp, Protocol::Rtmp, "listen.rtmp"),
    ] {
        let is_passed = listeners.iter().any(|(_, passed)| *passed == protocol);
        if is_passed {
            tracing::info!(
                "{key} of the configuration is not opened: systemd passed a socket for it"
            );
            continue;
        }
        for address in addresses {
            let listener = open_one(*address).map_err(|error| cannot_listen(*address, &error))?;
            listeners.push((listener, protocol));
        }
    }
    Ok(listeners)
}

/// The sockets that systemd passed. Its `FileDescriptorName=` tells what for; a name that is not `rtmp` means HTTP, where
/// RTMP is taken too.
fn passed() -> Result<Vec<(TcpListener, Protocol)>, String> {
    let sockets = sd_listen_fds::get().map_err(|error| {
        format!("what systemd says of the sockets it passed is not clear: {error}")
    })?;
    let each = |(name, socket): (Option<String>, sd_listen_fds::OwnedFd)| {
        let protocol = match name.as_deref() {
            Some("rtmp") => Protocol::Rtmp,
            _ => Protocol::Http,
        };
        let (listener, address) = adopt(socket.into()).map_err(|error| {
            let name = name.unwrap_or_default();
            format!(
                "the socket {name:?} that systemd passed cannot be used: {error}; give its unit a TCP port as ListenStream=, and Accept=no"
            )
        })?;
        tracing::info!("systemd passed {address} for {protocol:?}");
        Ok((listener, protocol))
    };
    sockets.into_iter().map(each).collect()
}

fn adopt(listener: StdListener) -> io::Result<(TcpListener, SocketAddr)> {
    let address = listener.local_addr()?;
    if !socket_acceptconn(&listener)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    listener.set_nonblocking(true)?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Listens on `address`. `[::]` takes IPv4 too, whatever the system's default is.
fn open_one(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, LISTEN_BACKLOG)?;
    TcpListener::from_std(StdListener::from(socket))
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let what_to_do = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port under [listen]"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need rights: let systemd open them, or choose a higher port"
        }
        _ => "check the address under [listen]",
    };
    format!("cannot listen on {address}: {error}; {what_to_do}")
}
