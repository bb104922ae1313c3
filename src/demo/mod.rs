//! The demonstration's camera: a small clip, and an RTMP publisher to send it with. Gateway builds leave both out.

pub mod client;
pub mod flv;
