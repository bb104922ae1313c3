//! A card that can be pulled, filled, worn out and slowed down: a file system of the test's own, mounted by FUSE, under the real daemon.
//!
//! [`media`] is the model: what is written but not synced may be lost, torn and reordered, names included. [`fuse`] is its mount.
//! It takes /dev/fuse and the right to mount, as root has it.

mod fuse;
mod media;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fuser::{BackgroundSession, Config, Errno, MountOption};

use super::common::Folder;
use media::Media;

pub(crate) use media::Found;

/// A mounted card.
pub(crate) struct Card {
    media: Arc<Mutex<Media>>,
    mount: Option<BackgroundSession>,
    folder: Folder,
}

/// A call that a fault is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    Read,
    Write,
    Sync,
}

/// What a card does wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// With which call.
    pub(crate) call: Call,
    /// Of files with this in their name.
    pub(crate) file: &'static str,
    /// What happens.
    pub(crate) what: What,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// The card's input/output error.
    Fails,
    /// It takes so long.
    Takes(Duration),
}

impl Card {
    /// An empty card that tears at `unit_bytes`.
    pub(crate) fn new(seed: u64, unit_bytes: usize) -> Self {
        let folder = Folder::new();
        let media = Arc::new(Mutex::new(Media::new(seed, unit_bytes)));
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("sluicegate-test".into()), MountOption::NoAtime];
        let mount = fuser::spawn_mount(fuse::Mounted(Arc::clone(&media)), folder.path(), &config);
        let mount = mount.unwrap_or_else(|error| {
            panic!("no file system can be mounted by FUSE here: {error} (load the module fuse, and be root)")
        });
        Self { media, mount: Some(mount), folder }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn media(&self) -> MutexGuard<'_, Media> {
        self.media.lock().unwrap()
    }

    /// What it does wrong from here on.
    pub(crate) fn inject(&self, faults: &[Fault]) {
        self.media().faults = faults.to_vec();
    }

    /// Whether it takes no writes.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        self.media().is_read_only = is_read_only;
    }

    /// How much of it files may take, whatever it says of its room.
    pub(crate) fn set_quota(&self, bytes: u64) {
        self.media().quota_bytes = bytes;
    }

    /// Whether it can reserve room for a file, as FAT cannot.
    pub(crate) fn set_reserving(&self, can_reserve: bool) {
        self.media().can_reserve = can_reserve;
    }

    /// The power goes: whatever was not synced is lost, torn or there, and nothing can be read or written any more.
    pub(crate) fn pull(&self) {
        self.media().pull();
    }

    /// What cuts would have left since this was asked last: one at each step. They are taken from the first call on.
    pub(crate) fn take_cuts(&self) -> Vec<Found> {
        let mut media = self.media();
        media.takes_cuts = true;
        media.maybe_cut();
        std::mem::take(&mut media.cuts)
    }

    /// The power is back.
    pub(crate) fn plug(&self) {
        self.media().is_off = false;
    }

    /// Another card, an empty one, is put in.
    pub(crate) fn change(&self) {
        self.media().wipe();
    }

    /// The bytes of a file.
    pub(crate) fn with_file<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.media().with_file(name, change)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.inject(&[]);
        if let Some(mount) = self.mount.take()
            && let Err(error) = mount.umount_and_join()
        {
            eprintln!("the card at {} is still mounted: {error}", self.path().display());
        }
    }
}

const IO_ERROR: Errno = Errno::EIO;
