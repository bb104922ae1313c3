//! How a channel's ring stands: on its way, open, or not usable; and what the flash thread's answers change of it.
//!
//! What is written is the recorder's; why the flash fails, the state of the flash.

use std::fmt;

use super::{
    Channel,
    flash::FlashState,
    frag_duration_s,
    ingest::Carry,
    recorder::{Job, Recorder},
};
use crate::{
    limits::{BROKEN_STREAM_MS_MAX, RESTART_MS_MAX},
    store::{Record, buffer::BufferPool, ring::Ring},
    units::{Now, UnixMillis},
};

/// How a channel's ring stands.
#[derive(Debug)]
pub(super) enum Storage {
    /// The flash thread is opening or making it.
    Opening {
        /// How far it is, where making it takes time.
        making: Option<Making>,
    },
    /// It can be read and written.
    Ready(Box<Recorder>),
    /// It cannot be used. The state of the flash says why.
    Failed,
}

/// How far a ring is that cannot be reserved at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Making {
    /// Part that is done, in percent.
    pub percent: u64,
    /// When it will be ready if it goes on like this, in seconds from now.
    pub left_s: u64,
}

impl fmt::Display for Making {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, left_s } = self;
        match left_s {
            0..120 => write!(f, "{percent} % done, ready in about {left_s} s"),
            _ => write!(f, "{percent} % done, ready in about {} min", left_s.div_ceil(60)),
        }
    }
}

impl Channel {
    /// Its ring is open; perhaps anew, because it failed.
    pub fn opened(&mut self, ring: Ring, now: Now) {
        self.flash.is_open();
        if let Storage::Ready(recorder) = &mut self.storage {
            self.flash.counts_mut().reopened += 1;
            recorder.resume(ring);
            self.rendered = None;
            return;
        }
        if ring.history().len() > 0 {
            self.carry = Carry::from_earlier_run();
        }
        // Its camera may be on its way back, unless it has been away for longer than a box takes to start again.
        let end = ring.history().next_back().map_or(now.wall, Record::end);
        let away_ms = now.wall.0.saturating_sub(end.0);
        let left_ms = if away_ms < RESTART_MS_MAX { BROKEN_STREAM_MS_MAX } else { 0 };
        self.ends_at = Some(now.mono.plus(left_ms));
        self.storage = Storage::Ready(Box::new(Recorder::new(
            ring,
            frag_duration_s(&self.config),
            self.part_target(),
        )));
        // A ring that begins anew has no number that the one before had.
        let next = self.recorder().map_or(0, |recorder| recorder.ring().next_sequence());
        self.window_first = self.window_first.min(next);
        self.hold_window(now);
    }

    /// Its ring is being made. `true`: a tenth more than when the log was told last.
    pub fn opening(&mut self, making: Making) -> bool {
        let tenth = match &self.storage {
            Storage::Opening { making: Some(making) } => making.percent / 10,
            // A ring that is made anew: what was recorded on the old one can still be seen.
            Storage::Ready(_) => return false,
            Storage::Opening { making: None } | Storage::Failed => 0,
        };
        self.storage = Storage::Opening { making: Some(making) };
        making.percent / 10 > tenth
    }

    /// Its ring cannot be used. `true`: that is news.
    pub fn failed_to_open(&mut self, why: String, now: Now) -> bool {
        if self.recorder().is_none() {
            self.storage = Storage::Failed;
        }
        self.flash.fails(why, now.mono)
    }

    /// Its flash failed: what was not synced is lost. `true`: that is news.
    pub fn flash_failed(
        &mut self,
        why: String,
        synced_below: u64,
        pool: &mut BufferPool,
        now: Now,
    ) -> bool {
        if let Some(recorder) = self.recorder_mut() {
            recorder.fail(synced_below, pool);
        }
        self.flash.counts_mut().failures += 1;
        self.flash.fails(why, now.mono)
    }

    /// Whether its ring is to be opened anew. If so, it counts as closed from here on.
    pub fn take_retry(&mut self, pool: &mut BufferPool, now: Now) -> bool {
        let is_due = self.flash.take_retry(now.mono);
        if is_due && let Some(recorder) = self.recorder_mut() {
            recorder.go_offline(pool);
        }
        is_due
    }

    /// The page cache has let go of some of a segment: the flash thread reads it anew for the next who asks.
    pub fn cooled(&mut self, sequence: u64) {
        if let Some(recorder) = self.recorder_mut() {
            recorder.cooled(sequence);
        }
    }

    /// A segment was read and is not what was sealed: nobody is sent it any more.
    pub fn spoil(&mut self, sequence: u64) {
        if self.recorder_mut().is_some_and(|recorder| recorder.spoil(sequence)) {
            self.flash.counts_mut().segments_damaged += 1;
        }
    }

    /// How its flash does.
    pub const fn flash(&self) -> &FlashState {
        &self.flash
    }

    /// To be told how its flash does.
    pub const fn flash_mut(&mut self) -> &mut FlashState {
        &mut self.flash
    }

    /// Whether its ring is on the way, so that what is asked for may be there in a moment.
    pub const fn is_opening(&self) -> bool {
        matches!(self.storage, Storage::Opening { .. })
    }

    /// Whether its ring is being made, which takes time.
    pub const fn is_making(&self) -> bool {
        matches!(self.storage, Storage::Opening { making: Some(_) })
    }

    /// What keeps its ring from being used, or what is wrong with it, in words.
    pub fn trouble(&self) -> Option<String> {
        match &self.storage {
            Storage::Opening { making: None } => Some(String::from("the ring is being opened")),
            Storage::Opening { making: Some(making) } => {
                Some(format!("the ring is being made: {making}"))
            }
            Storage::Ready(_) | Storage::Failed => self.flash.trouble().map(str::to_owned),
        }
    }

    /// The newest time that its ring has seen: the end of the last segment.
    pub fn newest_end(&self) -> Option<UnixMillis> {
        self.recorder()?.ring().history().next_back().map(Record::end)
    }

    /// Its recorder, once its ring is open.
    pub const fn recorder(&self) -> Option<&Recorder> {
        match &self.storage {
            Storage::Ready(recorder) => Some(recorder),
            _ => None,
        }
    }

    /// Its recorder, to be told what the flash did.
    pub const fn recorder_mut(&mut self) -> Option<&mut Recorder> {
        match &mut self.storage {
            Storage::Ready(recorder) => Some(recorder),
            _ => None,
        }
    }

    /// What has to be written, oldest first.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        self.recorder_mut().map(|recorder| recorder.take_jobs().collect()).unwrap_or_default()
    }

    /// Whether segments were retired since this was asked last: who reads one must be cut off.
    pub const fn take_retired(&mut self) -> bool {
        match self.recorder_mut() {
            Some(recorder) => recorder.take_retired(),
            None => false,
        }
    }

    /// Segments that were lost and that the log has not been told of; `None`: there is nothing to tell for the moment.
    pub fn take_loss(&mut self, now: Now) -> Option<u64> {
        if let Storage::Ready(recorder) = &mut self.storage {
            self.flash.counts_mut().segments_lost += recorder.take_lost();
        }
        self.flash.take_loss(now.mono)
    }

    /// The flash thread has sealed a segment, in `took_ms`. `true`: the flash works again.
    pub fn sealed(&mut self, sequence: u64, took_ms: u64, now: Now) -> bool {
        let mut works_again = false;
        if let Storage::Ready(recorder) = &mut self.storage
            && let Some(record) = recorder.sealed(sequence, now.mono)
        {
            self.flash.counts_mut().seals.add(took_ms);
            // A gap has no bytes: that it could be put down says little of a card that refuses segments.
            works_again = !record.is_gap && self.flash.works();
            self.listed_at = now.wall.as_secs();
            self.tally.listed(record.is_gap, now.mono);
            if self.seat.session().is_none() {
                // The end of a stream whose publisher has left; a playlist may go 1.5 target durations without news.
                let due = now.mono.plus(1500 * u64::from(record.target_duration_s));
                self.ends_at = self.ends_at.map(|ends_at| ends_at.max(due));
            }
            self.hold_window(now);
        }
        works_again
    }
}
