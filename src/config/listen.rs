//! The table `listen`: addresses, no two of which may be one place.

use std::net::{IpAddr, SocketAddr};

use super::{
    Listen,
    problem::{At, quoted},
    table::Table,
};
use crate::limits::LISTEN_ADDRESSES_MAX;

/// An address to listen on, and where the file has it. `None`: it is the default of the key.
struct Given {
    address: SocketAddr,
    key: &'static str,
    at: Option<At>,
}

pub(super) fn read(mut table: Table<'_>) -> Listen {
    let mut given = addresses(&mut table, "http", "[::]:8080");
    given.extend(addresses(&mut table, "rtmp", "[::]:1935"));
    refuse_clashes(&table, &given);
    if table.is_empty("http") {
        table.notes.problem(&table.at("http"), "names no address; nobody could watch");
    }
    table.finish();
    let of = |key| given.iter().filter(move |given| given.key == key).map(|given| given.address);
    Listen { http: of("http").collect(), rtmp: of("rtmp").collect() }
}

fn addresses(table: &mut Table<'_>, key: &'static str, default: &str) -> Vec<Given> {
    let texts = table.texts(key, LISTEN_ADDRESSES_MAX, address);
    if table.has(key) {
        return texts
            .into_iter()
            .map(|(at, address)| Given { address, key, at: Some(at) })
            .collect();
    }
    default.parse().into_iter().map(|address| Given { address, key, at: None }).collect()
}

/// Notes each address at which the daemon would find itself listening already.
fn refuse_clashes(table: &Table<'_>, given: &[Given]) {
    // What the file says is at fault, not the default beside it.
    let (written, defaults): (Vec<_>, Vec<_>) = given.iter().partition(|given| given.at.is_some());
    let before = |index: usize| defaults.iter().chain(written.iter().take(index));
    for (index, new) in written.iter().enumerate() {
        let Some(at) = &new.at else { continue };
        let is_clash = |old: &&&Given| {
            takes_in(old.address, new.address) || takes_in(new.address, old.address)
        };
        let Some(old) = before(index).find(is_clash) else { continue };
        let place = match &old.at {
            Some(first) => format!("{}, line {}", first.key, table.notes.line(first.offset)),
            None => format!("{}, by default", table.at(old.key).key),
        };
        let (address, other) = (new.address.to_string(), old.address.to_string());
        let message = if address == other {
            format!("{address:?} is listened on already: {place}")
        } else if takes_in(old.address, new.address) {
            format!("{address:?} is listened on already, as part of {other:?}: {place}")
        } else {
            format!("{address:?} takes in {other:?}, which is listened on already: {place}")
        };
        // Where systemd opens the sockets, both may stand there.
        if old.key == new.key && old.at.is_some() && address != other {
            table.notes.warn(at, format!("{message}; leave one of them out"));
        } else {
            table.notes.problem(at, message);
        }
    }
}

/// Whether who listens on `wide` has taken `narrow`: it is the same, or `wide` stands for all addresses. `[::]` does so for
/// IPv4 too, as the daemon opens it.
fn takes_in(wide: SocketAddr, narrow: SocketAddr) -> bool {
    let is_taken = match wide.ip().to_canonical() {
        IpAddr::V6(ip) if ip.is_unspecified() => true,
        IpAddr::V4(ip) if ip.is_unspecified() => narrow.ip().to_canonical().is_ipv4(),
        IpAddr::V4(ip) => narrow.ip().to_canonical() == ip,
        // With its zone: the same link-local address on another interface is another place.
        IpAddr::V6(_) => wide == narrow,
    };
    is_taken && wide.port() == narrow.port()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    address.ok_or_else(|| {
        format!("{} is not an address and a port: write \"[::]:8080\" for all addresses, \"192.168.1.5:8080\" for one", quoted(text))
    })
}
