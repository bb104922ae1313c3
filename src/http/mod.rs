//! Requests → responses. Pure: it is given a request's bytes and hands out a [`Response`](response::Response).

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
