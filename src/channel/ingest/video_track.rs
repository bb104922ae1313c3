//! What is known of a session's video track, and how far the message is that arrives. Of a picture no more is held than its first
//! bytes, [`HEAD_BYTES_MAX`]. What is done with it is [`video`](super::video)'s matter.

use crate::{
    hls::{SegmentSink, ts::Muxer},
    limits::{ACCESS_UNIT_PREFIX_BYTES_MAX, AVC_CONFIG_BYTES_MAX},
    media::{
        avc_config::AvcConfig,
        flv::VIDEO_HEADER_BYTES_MAX,
        h264::{Broken, NalWalk},
    },
    units::Ticks90k,
};

/// The start of a video message: all of a sequence header, or an access unit's first bytes.
const HEAD_BYTES_MAX: usize = VIDEO_HEADER_BYTES_MAX + AVC_CONFIG_BYTES_MAX;
const _: () =
    assert!(ACCESS_UNIT_PREFIX_BYTES_MAX <= AVC_CONFIG_BYTES_MAX, "one buffer serves both");

#[derive(Debug, Default)]
pub(super) struct VideoTrack {
    /// How the access units are to be read.
    pub(super) config: Option<AvcConfig>,
    /// The parameter sets that came among the pictures last, since the sequence header.
    pub(super) in_band: Option<AvcConfig>,
    pub(super) message: Message,
    /// The access unit that was received last, if the next message may go on with it.
    pub(super) kept: Option<OpenUnit>,
    pub(super) tags: Tags,
    /// The first picture that was left out because it is no key frame, since there was one.
    pub(super) waits_since: Option<Ticks90k>,
    pub(super) head: Box<heapless::Vec<u8, HEAD_BYTES_MAX>>,
}

/// Where the video message being received stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Message {
    /// Read past, up to the next one.
    #[default]
    Ignored,
    /// Its start is being gathered.
    Head,
    /// Its fragments are written as they come.
    Open { walk: NalWalk, unit: OpenUnit },
}

/// An access unit of which a part is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenUnit {
    pub(super) timestamp_ms: u32,
    pub(super) dts: Ticks90k,
    /// The room that is kept for the rest of it.
    pub(super) room: u64,
}

/// What an FLV tag of this encoder holds. Some send each slice of a picture in a tag of its own, with equal timestamps.
///
/// A picture ends where the next one begins, then; so that other encoders' pictures need not wait, only the first one
/// of a session does, unless slices turn up later.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Tags {
    #[default]
    Unknown,
    Pictures,
    Slices,
}

impl Message {
    /// Writes bytes of the access unit that is open, if one is.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        muxer: &mut Muxer,
        sink: &mut impl SegmentSink,
    ) -> Result<(), Broken> {
        match self {
            Self::Open { walk, .. } => walk.feed(bytes, |piece| muxer.payload(piece, sink)),
            Self::Ignored | Self::Head => Ok(()),
        }
    }
}

/// What the start of an access unit's message says.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnitStart {
    pub(super) timestamp_ms: u32,
    pub(super) composition_ms: i32,
    /// By the FLV frame type.
    pub(super) is_key: bool,
    /// Where the NAL units start.
    pub(super) header_bytes: usize,
    /// How many bytes they have.
    pub(super) bytes: u32,
}

impl VideoTrack {
    /// The room that is kept for the access unit being written, if one is.
    pub(super) const fn room_kept(&self) -> Option<u64> {
        match (self.message, self.kept) {
            (Message::Open { unit, .. }, _) | (_, Some(unit)) => Some(unit.room),
            (Message::Ignored | Message::Head, None) => None,
        }
    }

    /// What the access units are encoded with.
    pub(super) fn sets(&self) -> Option<&AvcConfig> {
        self.in_band.as_ref().or(self.config.as_ref())
    }

    /// The access unit that a message of this timestamp may go on with.
    pub(super) fn take_kept(&mut self, timestamp_ms: u32) -> Option<OpenUnit> {
        self.kept.take_if(|kept| kept.timestamp_ms == timestamp_ms)
    }
}

/// Moves bytes to `head` until it has `limit` of them, and returns the rest.
pub(super) fn gather<'a>(
    head: &mut heapless::Vec<u8, HEAD_BYTES_MAX>,
    limit: usize,
    bytes: &'a [u8],
) -> &'a [u8] {
    let missing = limit.min(HEAD_BYTES_MAX).saturating_sub(head.len());
    let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
    // There is room: `missing` is counted from the capacity.
    _ = head.extend_from_slice(taken);
    rest
}
