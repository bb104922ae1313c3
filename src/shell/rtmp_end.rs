//! How an RTMP connection came to its end → the line that the log has of it, with what there is to do.

use std::{io, net::SocketAddr};

use crate::{
    channel::{Channel, ingest::Counts},
    limits::{RTMP_IDLE_MS_MAX, RTMP_SETUP_MS_MAX},
};

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum End {
    /// The encoder said so.
    Unpublished,
    /// The encoder closed without a word.
    Closed,
    /// It sent nothing for [`RTMP_IDLE_MS_MAX`].
    Silent,
    /// It took longer than [`RTMP_SETUP_MS_MAX`] to publish.
    NeverPublished,
    /// It did not publish, and a newer connection has its place.
    Displaced,
    /// It was refused and has been told.
    Refused,
    /// Another publisher took the channel, it was disabled or is gone, or the daemon stops.
    Cut,
    /// It broke the protocol, or its socket broke.
    Broken(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl End {
    /// Logs why somebody publishes no more, who sent so much to `channel`.
    pub(super) fn tell_of_publisher(
        &self,
        peer: SocketAddr,
        channel: &Channel,
        encoder: &str,
        came: &Counts,
    ) {
        let name = channel.name();
        match self {
            Self::Unpublished => {
                tracing::info!(%peer, channel = name, encoder, "publishing ended: {came}");
            }
            Self::Closed => {
                tracing::info!(%peer, channel = name, encoder, "the encoder closed its connection: {came}");
            }
            Self::Silent => {
                let secs = RTMP_IDLE_MS_MAX / 1000;
                tracing::warn!(
                    %peer, channel = name, encoder,
                    "nothing came for {secs} s, so the channel is free again: the encoder hangs or its network is gone; {came}"
                );
            }
            Self::Cut => match channel.session() {
                Some(session) => tracing::info!(
                    %peer, channel = name, encoder,
                    "the publisher at {} took the channel over", session.publisher.peer
                ),
                None => tracing::info!(
                    %peer, channel = name, encoder,
                    "the channel was disabled or removed, or the daemon stops"
                ),
            },
            Self::Broken(why) => {
                tracing::warn!(%peer, channel = name, encoder, "publisher's connection closed: {why}; {came}");
            }
            Self::Refused | Self::NeverPublished | Self::Displaced => {}
        }
    }

    /// Whether there is anything to say of somebody who never published. The refused were told of when they were.
    pub(super) const fn is_told_of_strangers(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::NeverPublished | Self::Displaced)
    }

    /// Logs why the connection of somebody who did not publish is closed.
    pub(super) fn tell_of_stranger(&self, peer: SocketAddr) {
        match self {
            Self::Broken(why) => tracing::info!(%peer, "RTMP connection closed: {why}"),
            Self::NeverPublished => {
                let secs = RTMP_SETUP_MS_MAX / 1000;
                tracing::info!(%peer, "RTMP connection closed: it did not publish within {secs} s");
            }
            Self::Displaced => {
                tracing::info!(%peer, "RTMP connection closed: it did not publish, and a newer one needed its place");
            }
            _ => {}
        }
    }
}
