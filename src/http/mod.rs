//! What HTTP and OSS make of heads, addresses, conditions, ranges, objects and errors. Which request gets which is
//! [`respond`](crate::respond)'s.

pub mod address;
pub mod conditional;
pub mod error;
mod low_latency;
pub mod object;
pub mod range;
pub mod recording;
pub mod request;
pub mod response;
pub mod xml;
