//! The outside world: sockets, files, threads, signals, the clock. The one layer that waits.

pub mod args;
mod changes;
pub mod clock;
pub mod commands;
#[cfg(feature = "demo")]
mod demo;
mod engine;
pub mod files;
pub mod flash;
pub mod flash_job;
mod http_conn;
mod http_send;
mod listen;
mod memory;
mod news;
mod notify;
pub mod output;
mod peer_log;
mod places;
mod quota;
mod read_pace;
mod reload;
pub mod returned;
pub mod ring_file;
mod rtmp_conn;
mod rtmp_end;
mod serve;
mod status;
mod survey;
