//! The outside world: sockets, files, threads, signals, the clock. The one layer that waits.

pub mod args;
mod clock;
pub mod commands;
#[cfg(feature = "demo")]
mod demo;
mod engine;
mod files;
mod flash;
mod http_conn;
mod notify;
mod ring_file;
mod rtmp_conn;
mod serve;
