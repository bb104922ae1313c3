//! What the flash thread is asked, and what it answers.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use thiserror::Error;

use super::ring_file::OpenError;
use crate::{
    channel,
    config::ChannelPath,
    limits::FLASH_LOADS_MAX,
    store::{
        Ahead, Record, Seal, Write, geometry::Geometry, recovery::BodyError, ring::Ring,
        writer::WriteError,
    },
};

/// A ring, as the engine counts them. Jobs keep their order, so it may be opened again right behind its [`Job::Close`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RingId(pub u32);

/// What the flash thread is asked to do.
#[derive(Debug)]
pub enum Job {
    /// Open a ring, and make it first where there is none. Answer: [`Event::Opened`] or [`Event::OpenFailed`].
    Open(Box<Open>),
    /// Write bytes of the open segment. The buffer comes back through [`Returned`](super::returned::Returned), whether it was written or not; if
    /// not, [`Event::Failed`] says so.
    Write(RingId, Write),
    /// Put a segment into the index and sync it. Answer: [`Event::Sealed`] or [`Event::Failed`], or none to a seal
    /// from before a failure.
    Seal(RingId, Seal),
    /// Read a segment into the page cache and compare it with its record. Answer: [`Event::Loaded`].
    Load(RingId, Record),
    /// Leave a ring. Answer: [`Event::Closed`].
    Close(RingId),
    /// Remove the ring's file of a channel; the ring is closed. Answer: [`Event::Removed`].
    Remove(ChannelPath, PathBuf),
    /// Put a small text into a file, as a whole. Answer: [`Event::Kept`].
    Keep(PathBuf, String),
}

impl Job {
    /// Whether it is bounded by [`FLASH_JOBS_MAX`](crate::limits::FLASH_JOBS_MAX).
    pub(super) const fn is_counted(&self) -> bool {
        !matches!(self, Self::Write(..) | Self::Seal(..))
    }
}

/// Which ring is to be opened.
#[derive(Debug)]
pub struct Open {
    /// What it will be called.
    pub id: RingId,
    /// Where its file is. The folder is made if it is not there.
    pub path: PathBuf,
    /// `bucket/channel`.
    pub name: String,
    /// How large it is.
    pub geometry: Geometry,
    /// What may be listed before it is synced.
    pub ahead: Ahead,
}

/// What the flash thread answers.
#[derive(Debug)]
pub enum Event {
    /// A ring is open.
    Opened {
        /// Which.
        id: RingId,
        /// Its state. From here on the engine's.
        ring: Box<Ring>,
        /// To send segments from.
        file: Arc<File>,
        /// Index pages that were torn or damaged.
        damaged_pages: u64,
        /// Segments at its end that were dropped, because their bytes never reached the flash whole.
        dropped: u64,
    },
    /// A ring is being made where the file system cannot reserve its length at once.
    Making {
        /// Which.
        id: RingId,
        /// How far it is.
        making: channel::Making,
    },
    /// A ring is not open.
    OpenFailed {
        /// Which.
        id: RingId,
        /// Why.
        error: OpenError,
    },
    /// A buffer has come back that somebody waited for.
    BufferReturned,
    /// A write is done, well or not; if not, [`Event::Failed`] came before. Told of rings whose segments are listed in parts.
    Written {
        /// Which ring's.
        id: RingId,
    },
    /// A segment may be listed: [`Ring::sealed`].
    Sealed {
        /// Which ring's.
        id: RingId,
        /// Its sequence number.
        sequence: u64,
        /// How long that took, in milliseconds.
        took_ms: u64,
    },
    /// A ring's flash failed: [`Ring::fail`]. What is sent after that is tried again.
    Failed {
        /// Which.
        id: RingId,
        /// Why, and what is lost.
        error: WriteError,
    },
    /// A segment was read through.
    Loaded {
        /// Which ring's.
        id: RingId,
        /// Its sequence number.
        sequence: u64,
        /// Whether it may be sent. One that was retired while it was read may be found corrupt: nobody wants it any more.
        outcome: Result<(), LoadError>,
    },
    /// A ring is closed; its id is free.
    Closed {
        /// Which.
        id: RingId,
        /// Whether the next start will find everything that was listed.
        outcome: Result<(), WriteError>,
    },
    /// The ring's file of a channel is gone, or not.
    Removed {
        /// Which.
        channel: ChannelPath,
        /// Whether it is.
        outcome: io::Result<()>,
    },
    /// A text is on flash, or the one before it still is.
    Kept {
        /// Why it is not, in words.
        outcome: Result<(), String>,
    },
}

/// Why a segment may not be sent.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Its bytes are bad.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// As many segments as may be are being read; it may be asked for again.
    #[error("{FLASH_LOADS_MAX} segments are being read already")]
    Busy,
    /// The ring is not open.
    #[error("the ring is not open")]
    NotOpen,
}
