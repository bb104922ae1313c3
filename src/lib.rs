//! RTMP in, a ring on flash, signed HLS out: a LiveChannel gateway for small ARM boxes.
//!
//! Cameras push H.264 and AAC over RTMP. Sluicegate cuts the stream into MPEG-TS segments in a ring of fixed size on flash
//! and serves them as HLS, behind the contract of Alibaba Cloud OSS's LiveChannels: buckets, signed publish and play
//! URLs, playlists that sign their own segments, Referer and CORS rules. It transcodes nothing, records nothing but what a
//! camera pushed, and plays nothing over RTMP.
//!
//! ```text
//! camera ─TCP─▶ rtmp ─▶ media ─▶ hls ─▶ store ─▶ hls::playlist ─▶ http ─TCP─▶ viewer
//!            fragments  samples  TS     flash       text         response
//!                ▲                                                 ▲
//!             publish ◀────────────── access: the gate ──────────▶ respond
//! ```
//!
//! # Layers
//!
//! | layer | turns what into what | may name |
//! |---|---|---|
//! | [`units`], [`limits`] | time and bounds, for all | – |
//! | [`query`] | a query string into pairs, decoded once | limits |
//! | [`config`] | the file into checked settings | query, store's geometry |
//! | [`check`] | settings into budgets | config, store's geometry |
//! | [`rtmp`] | a connection's bytes into publish requests and fragments of media | query |
//! | [`media`] | FLV bodies into configurations, NAL units, time | – |
//! | [`store`] | segments into a ring file, and back after a power cut | – |
//! | [`hls`] | access units into TS packets; records into playlists | media, store |
//! | [`access`] | who asks for what into a grant or a refusal | query, config |
//! | [`channel`] | one LiveChannel: media → hls → store, and its window | query, config, media, store, hls |
//! | [`http`], [`console`] | heads, objects and errors as HTTP and OSS have them; what the daemon tells of itself, and its pages | query, config, store, hls, access, channel |
//! | [`api`] | OSS's calls into answers and into changes of the catalogue | query, config, store, access, channel, http, console |
//! | [`respond`] | a request into a response | query, config, access, channel, http, console, api |
//! | [`publish`] | a publish command into a channel | query, config, rtmp, store, access, channel, http |
//! | [`shell`] | sockets, files, threads, signals, the clock | everything |
//!
//! Everything but `shell` is pure: no socket, file, clock, thread or `async`; the time is an argument. A test reads the
//! sources and fails where a layer names one that is not in its row.
//!
//! # Two walks
//!
//! **A video frame.** The shell reads into a buffer that all connections share; [`rtmp::Session`] hands out fragments of the
//! message as they arrive; [`channel::Channel::video`] passes them to the [ingest](channel::ingest), which walks NAL units
//! across fragments and fills TS packets straight into the channel's write buffer; a full buffer goes to the flash thread.
//! At the first key frame after FragDuration the segment is sealed: one sync, then the playlist lists it.
//! No frame is ever held whole, and nothing on this path allocates.
//!
//! **A request.** The shell reads a head of bounded length; [`respond`] finds what it names, asks [`access::admit`],
//! and with the grant makes a playlist or names a range of a segment, which the shell sends from the page cache
//! under a lease. A refusal becomes OSS's own error. A request for a part that is not there yet is kept, and asks the gate
//! again when the channel has news. There is no other way out.
//!
//! # What happens when a bound is met
//!
//! Every bound is a constant in [`limits`] or a key of the configuration, with its fate in its documentation: the peer that
//! meets it is refused, closed or cut off, and nobody else notices.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a test knows the numbers that it casts"
    )
)]

pub mod access;
pub mod api;
pub mod channel;
pub mod check;
pub mod config;
pub mod console;
#[cfg(feature = "demo")]
pub mod demo;
pub mod hls;
pub mod http;
pub mod limits;
pub mod media;
pub mod publish;
pub mod query;
pub mod respond;
pub mod rtmp;
pub mod shell;
pub mod store;
pub mod units;
