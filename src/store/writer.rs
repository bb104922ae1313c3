//! Writes and seals of one ring → writes and syncs of its file, in the order that makes a power cut harmless.
//!
//! The rules are those of [`layout`](super::layout): *Copy*, *Reach*, *Proof* and *Ceiling* are each one place in here.
//! It runs on the flash thread and knows no segment but by its record. After a failure it counts its `epoch` up:
//! what was sent before the ring knew of it is dropped, and what comes with the next epoch is tried again.

use std::{io, mem};

use thiserror::Error;

use super::{
    Flash, Record, Seal,
    geometry::{Geometry, Layout, group_of},
    layout::{self, Group, NotThisRing, PageHeader, Superblock},
    recovery::{self, ReadError, Recovered},
};
use crate::{
    limits::{PAGE_BYTES, RELAXED_AHEAD_MS, RELAXED_SEGMENTS_MAX, RELAXED_SYNC_MS, WRITE_BYTES},
    units::{Millis, UnixMillis},
};

/// Writes what makes a file of the right length, all zeros, an empty ring, and syncs it.
pub fn format(flash: &mut impl Flash, superblock: &Superblock) -> io::Result<()> {
    let page = superblock.encode();
    flash.write(Layout::superblock_offset(0), &page)?;
    flash.write(Layout::superblock_offset(1), &page)?;
    flash.sync()
}

/// The one that writes to a ring's file.
#[derive(Debug)]
pub struct RingWriter<F> {
    flash: F,
    geometry: Geometry,
    ring_id: u32,
    is_relaxed: bool,
    epoch: u32,
    /// A page has to be synced before anything else is written: after a failure, where recovery dropped records,
    /// or where the reach has grown.
    needs_page: bool,
    /// Where a page lies whose records recovery dropped.
    stale: Option<u64>,
    /// Records of the newest record's group.
    group: Group,
    /// The copy that may be written.
    spare: u64,
    /// Pages written so far.
    writes: u64,
    /// The first sequence number that counts.
    oldest: u64,
    /// What recovery found: nothing goes back behind it.
    floor: Ceiling,
    /// What the newest page that was written promises.
    written: Promise,
    /// It was written after the last sync.
    is_page_dirty: bool,
    /// What the newest page that was synced promises.
    durable: Promise,
    /// When the oldest sealed segment that is not synced was sealed.
    unsynced_since: Option<Millis>,
}

/// Up to where segments may have been listed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Ceiling {
    sequence: u64,
    time: UnixMillis,
}

/// What holds once a page is on flash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Promise {
    /// Every sealed record below this sequence number is in the index.
    below: u64,
    /// Where the newest of them ends, in log positions.
    end: u64,
    /// When the newest of them ends.
    end_time: UnixMillis,
    /// How far behind `end` bytes may be written.
    reach_bytes: u64,
    /// What may be listed before the next page is synced.
    ceiling: Ceiling,
}

/// A write, a seal or a sync failed, and with it all of the ring that was not synced.
#[derive(Debug, Error)]
#[error("{what} failed: {source}")]
pub struct WriteError {
    what: &'static str,
    source: io::Error,
    /// Segments from this sequence number on are lost, also where they are listed.
    pub synced_below: u64,
}

impl<F: Flash> RingWriter<F> {
    /// Recovers the ring, from what is on flash and not merely in the page cache. The ring it returns goes with this writer.
    ///
    /// `is_relaxed`: segments may be listed before they are synced.
    pub fn open(
        mut flash: F,
        geometry: Geometry,
        name: &str,
        is_relaxed: bool,
    ) -> Result<(Self, Recovered), ReadError> {
        // After a crash, and after a sync that failed, the page cache may hold what the flash does not. If the index were
        // read from there, the first page to be written could go over the only copy that is on flash.
        flash.refresh()?;
        let superblock = recovery::read_superblock(&mut flash)?;
        check(&superblock, &geometry.layout, name)?;
        let mut scratch = vec![0; WRITE_BYTES];
        let recovered =
            recovery::recover(&mut flash, &superblock, geometry.reach_bytes(), &mut scratch)?;
        let tail = &recovered.tail;
        let last = tail.group.last();
        let ceiling =
            Ceiling { sequence: tail.header.sequence_ceiling, time: tail.header.time_ceiling };
        let durable = Promise {
            below: last.map_or(0, |last| last.sequence + 1),
            end: recovered.head,
            end_time: last.map_or(UnixMillis(0), Record::end),
            // Where there is no record, there is none to be spared either.
            reach_bytes: last.map_or(geometry.reach_bytes(), |_| tail.header.reach_bytes.into()),
            ceiling,
        };
        let writer = Self {
            flash,
            geometry,
            ring_id: superblock.ring_id(),
            is_relaxed,
            epoch: 0,
            stale: tail.stale,
            needs_page: tail.stale.is_some() || durable.reach_bytes < geometry.reach_bytes(),
            group: tail.group.clone(),
            spare: 1 - tail.copy,
            writes: tail.header.write,
            oldest: tail.oldest,
            floor: Ceiling { sequence: recovered.next_sequence, time: recovered.time_floor },
            written: durable,
            is_page_dirty: false,
            durable,
            unsynced_since: None,
        };
        Ok((writer, recovered))
    }

    /// Writes bytes of the open segment at a log position. What belongs to an earlier epoch is dropped.
    pub fn write(&mut self, epoch: u32, position: u64, bytes: &[u8]) -> Result<(), WriteError> {
        if epoch != self.epoch {
            return Ok(());
        }
        let written = self.try_write(position, bytes);
        written.map_err(|(what, source)| self.fail(what, source))
    }

    fn try_write(&mut self, position: u64, bytes: &[u8]) -> Attempt {
        self.repair()?;
        let end = position + bytes.len() as u64;
        // Reach.
        if end > self.durable.end + self.durable.reach_bytes {
            self.write_page(self.ceiling())?;
            self.sync()?;
        }
        let is_in_place =
            position >= self.written.end && end <= self.durable.end + self.durable.reach_bytes;
        if !is_in_place {
            let no =
                io::Error::new(io::ErrorKind::InvalidInput, "it is out of its segment's reach");
            return Err(("writing a segment", no));
        }
        let mut left = bytes;
        let mut at = position;
        while !left.is_empty() {
            let extent = self.geometry.layout.extent(at, left.len() as u64);
            let in_one_piece = usize::try_from(extent.bytes).unwrap_or(usize::MAX);
            let (piece, rest) = left.split_at_checked(in_one_piece).unwrap_or((left, &[]));
            self.flash.write(extent.offset, piece).map_err(|e| ("writing a segment", e))?;
            at += extent.bytes;
            left = rest;
        }
        Ok(())
    }

    /// Puts a segment into the index, whose bytes have all been written. What belongs to an earlier epoch is dropped.
    ///
    /// `true`: it may be listed. That it is on flash is said too, unless the ring is relaxed.
    pub fn seal(&mut self, seal: &Seal, now: Millis) -> Result<bool, WriteError> {
        if seal.epoch != self.epoch {
            return Ok(false);
        }
        match self.try_seal(&seal.record, now) {
            Ok(()) => Ok(true),
            Err((what, source)) => {
                // Nobody has been told of it: it never was, and its number is used again.
                if self.group.last().is_some_and(|last| last.sequence == seal.record.sequence) {
                    self.group.pop();
                }
                Err(self.fail(what, source))
            }
        }
    }

    fn try_seal(&mut self, record: &Record, now: Millis) -> Attempt {
        self.repair()?;
        let group = group_of(record.sequence);
        if self.group.last().is_some_and(|last| group_of(last.sequence) != group) {
            // Copy: a group is left only when it is synced.
            if self.is_page_dirty {
                self.sync()?;
            }
            self.group.clear();
            self.spare = 0;
        }
        if self.group.push(*record).is_err() {
            let no = io::Error::new(io::ErrorKind::InvalidInput, "its group is full");
            return Err(("sealing a segment", no));
        }
        self.write_page(self.ceiling())?;
        let is_last_of_group = group_of(record.sequence + 1) != group;
        // Ceiling.
        let may_wait = self.is_relaxed
            && record.sequence < self.durable.ceiling.sequence
            && record.end() <= self.durable.ceiling.time;
        if may_wait && !is_last_of_group {
            self.unsynced_since.get_or_insert(now);
            Ok(())
        } else {
            self.sync()
        }
    }

    /// When [`sync_if_due`](Self::sync_if_due) has something to do.
    pub fn sync_due(&self) -> Option<Millis> {
        Some(self.unsynced_since?.plus(RELAXED_SYNC_MS))
    }

    /// Syncs what a relaxed ring has sealed, if it has waited long enough.
    pub fn sync_if_due(&mut self, now: Millis) -> Result<(), WriteError> {
        if self.sync_due().is_none_or(|due| now < due) {
            return Ok(());
        }
        self.sync().map_err(|(what, source)| self.fail(what, source))
    }

    /// Leaves the ring so that the next start skips and checks as little as can be.
    pub fn close(&mut self) -> Result<(), WriteError> {
        let listed = Ceiling { sequence: self.written.below, time: self.written.end_time };
        let ceiling = self.above_floor(listed);
        if self.needs_page || (ceiling == self.durable.ceiling && !self.is_page_dirty) {
            return Ok(());
        }
        let closed = self.write_page(ceiling).and_then(|()| self.sync());
        closed.map_err(|(what, source)| self.fail(what, source))
    }

    /// The file.
    pub const fn flash(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Where things lie in the file.
    pub const fn layout(&self) -> Layout {
        self.geometry.layout
    }

    /// What was not synced is given up: of the bytes of a failed write or sync nothing is known, also if
    /// the next sync succeeds (Linux reports a write-back error once and takes the pages for clean).
    fn fail(&mut self, what: &'static str, source: io::Error) -> WriteError {
        let synced_below = self.durable.below;
        self.group
            .iter_mut()
            .filter(|record| record.sequence >= synced_below)
            .for_each(Record::lose);
        self.epoch = self.epoch.wrapping_add(1);
        self.needs_page = true;
        self.written = self.durable;
        self.is_page_dirty = false;
        self.unsynced_since = None;
        WriteError { what, source, synced_below }
    }

    /// Makes the index say what was given up, and how far it is to be reached, before anything else is written.
    fn repair(&mut self) -> Attempt {
        if self.needs_page {
            self.write_page(self.ceiling())?;
            self.sync()?;
            if let Some(at) = self.stale {
                // Once a later page says that all before it was synced, nothing would tell these records from good ones.
                self.flash.write(at, &[0; PAGE_BYTES]).map_err(|e| ("writing the index", e))?;
                self.sync()?;
                self.stale = None;
            }
            self.needs_page = false;
        }
        Ok(())
    }

    /// Ceiling: what may be listed once the next page is synced.
    fn ceiling(&self) -> Ceiling {
        let newest = self.group.last();
        self.above_floor(if self.is_relaxed {
            Ceiling {
                sequence: newest.map_or(0, |last| last.sequence + 1 + RELAXED_SEGMENTS_MAX),
                time: UnixMillis(newest.map_or(0, |last| last.end().0 + RELAXED_AHEAD_MS)),
            }
        } else {
            Ceiling { sequence: self.durable.below, time: self.durable.end_time }
        })
    }

    fn above_floor(&self, ceiling: Ceiling) -> Ceiling {
        Ceiling {
            sequence: ceiling.sequence.max(self.floor.sequence),
            time: ceiling.time.max(self.floor.time),
        }
    }

    /// Writes the page of the newest group to the copy that may be written.
    fn write_page(&mut self, ceiling: Ceiling) -> Attempt {
        let Some(last) = self.group.last() else { return Ok(()) };
        let reach_bytes = self.geometry.reach_bytes();
        let promise = Promise {
            below: last.sequence + 1,
            end: last.end_position(),
            end_time: last.end(),
            reach_bytes,
            ceiling,
        };
        self.writes += 1;
        let header = PageHeader {
            write: self.writes,
            reach_bytes: u32::try_from(reach_bytes).unwrap_or(u32::MAX),
            oldest: self.oldest,
            // Proof.
            synced_below: self.durable.below,
            sequence_ceiling: ceiling.sequence,
            time_ceiling: ceiling.time,
        };
        let page = layout::encode_page(self.ring_id, &header, &self.group);
        let pair = self.geometry.layout.pair_of(last.sequence);
        let at = self.geometry.layout.page_offset(pair, self.spare);
        self.flash.write(at, &page).map_err(|e| ("writing the index", e))?;
        self.written = promise;
        self.is_page_dirty = true;
        Ok(())
    }

    fn sync(&mut self) -> Attempt {
        self.flash.sync().map_err(|e| ("syncing", e))?;
        self.durable = self.written;
        if mem::take(&mut self.is_page_dirty) {
            // Copy: the page that was written is the one to be spared from here on.
            self.spare = 1 - self.spare;
        }
        self.unsynced_since = None;
        Ok(())
    }
}

type Attempt = Result<(), (&'static str, io::Error)>;

fn check(found: &Superblock, layout: &Layout, name: &str) -> Result<(), NotThisRing> {
    if found.name != name {
        let (found, expected) = (found.name.as_str().into(), name.into());
        return Err(NotThisRing::OtherChannel { found, expected });
    }
    if found.layout != *layout {
        let (found_bytes, expected_bytes) = (found.layout.file_bytes, layout.file_bytes);
        return Err(NotThisRing::OtherSize { found_bytes, expected_bytes });
    }
    Ok(())
}
