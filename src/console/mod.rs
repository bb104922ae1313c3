//! What the daemon tells of itself: figures for people, programs and alarms, and the pages that show them.
//!
//! ```text
//! channels ─┐
//! vitals ───┼─▶ Status ─▶ JSON (`/-/status`), table (`sluicegate status`), Prometheus text (`/-/metrics`)
//! grant ────┘
//! channels ───▶ Health ─▶ one line for everybody (`/-/health`)
//! ```
//!
//! The pages are static and hold no data: they ask for the same JSON. Nothing here decides who may see what; a
//! [`Status`] cannot be taken without the gate's [`ConsoleGrant`](crate::access::ConsoleGrant).

pub mod assets;
mod channel_status;
mod health;
mod hint;
pub mod metrics;
mod status;
mod table;
mod timeline;
mod vitals;

pub use channel_status::ChannelStatus;
pub use health::Health;
pub use status::{Status, View};
pub use table::table;
pub use vitals::Vitals;
