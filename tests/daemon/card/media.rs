//! Files and names on a card under a page cache. Bytes are on flash when their file is synced, names when their folder is; until then the
//! power leaves any of the bytes, and of a folder's names the first few changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
};

use fuser::Errno;

use super::{Call, Fault, IO_ERROR, What};
use crate::sectors::{Rng, Sectors};

pub(super) const ROOT: u64 = 1;

type Names = BTreeMap<(u64, OsString), u64>;

/// What a card holds, and what is wrong with it.
pub(super) struct Media {
    rng: Rng,
    unit_bytes: usize,
    last_inode: u64,
    files: BTreeMap<u64, Sectors>,
    folders: BTreeSet<u64>,
    names: Names,
    durable_names: Names,
    /// Changes to names that are not synced, with the folder that they were made in.
    pending: Vec<(u64, Change)>,
    /// What would be found if the power went: taken before and after each change and each sync.
    pub(super) cuts: Vec<Found>,
    pub(super) takes_cuts: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) is_read_only: bool,
    pub(super) is_off: bool,
    pub(super) can_reserve: bool,
    pub(super) capacity_bytes: u64,
    /// What files may take although there is more room: a quota.
    pub(super) quota_bytes: u64,
}

/// Names of files, without their folders, and what is in them.
pub(crate) type Found = BTreeMap<String, Vec<u8>>;

#[derive(Clone)]
enum Change {
    Put((u64, OsString), u64),
    Remove((u64, OsString)),
    Rename((u64, OsString), (u64, OsString)),
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Media {
    pub(super) fn new(seed: u64, unit_bytes: usize) -> Self {
        Self {
            rng: Rng(seed),
            unit_bytes,
            last_inode: ROOT,
            files: BTreeMap::new(),
            folders: BTreeSet::from([ROOT]),
            names: Names::new(),
            durable_names: Names::new(),
            pending: Vec::new(),
            cuts: Vec::new(),
            takes_cuts: false,
            faults: Vec::new(),
            is_read_only: false,
            is_off: false,
            can_reserve: true,
            capacity_bytes: 1 << 30,
            quota_bytes: 1 << 30,
        }
    }

    /// What the faults make of a call: how it fails, or by how much it is late.
    pub(super) fn fate(
        &self,
        call: Call,
        inode: u64,
    ) -> Result<Option<std::time::Duration>, Errno> {
        if self.is_off {
            return Err(IO_ERROR);
        }
        if self.is_read_only && call != Call::Read {
            return Err(Errno::EROFS);
        }
        let is_named = |fault: &&Fault| {
            let mut names = self.names.iter().filter(|(_, of)| **of == inode);
            fault.call == call
                && names.any(|((_, name), _)| name.to_string_lossy().contains(fault.file))
        };
        match self.faults.iter().find(is_named).map(|fault| fault.what) {
            Some(What::Fails) => Err(IO_ERROR),
            Some(What::Takes(time)) => Ok(Some(time)),
            None => Ok(None),
        }
    }

    /// Fails if names cannot be changed.
    pub(super) fn may_change(&self) -> Result<(), Errno> {
        match () {
            () if self.is_off => Err(IO_ERROR),
            () if self.is_read_only => Err(Errno::EROFS),
            () => Ok(()),
        }
    }

    pub(super) fn find(&self, folder: u64, name: &OsStr) -> Option<u64> {
        self.names.get(&(folder, name.to_owned())).copied()
    }

    pub(super) fn list(&self, folder: u64) -> Vec<(u64, OsString)> {
        let here = self.names.iter().filter(|((parent, _), _)| *parent == folder);
        here.map(|((_, name), inode)| (*inode, name.clone())).collect()
    }

    /// Length of a file; `None`: it is a folder.
    pub(super) fn len(&self, inode: u64) -> Result<Option<u64>, Errno> {
        match self.files.get(&inode) {
            Some(file) => Ok(Some(file.view.len() as u64)),
            None if self.folders.contains(&inode) => Ok(None),
            None => Err(Errno::ENOENT),
        }
    }

    pub(super) fn make(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> u64 {
        self.last_inode += 1;
        let inode = self.last_inode;
        if is_folder {
            self.folders.insert(inode);
        } else {
            self.files.insert(inode, Sectors::new(Vec::new(), self.unit_bytes));
        }
        self.change(folder, Change::Put((folder, name.to_owned()), inode));
        inode
    }

    pub(super) fn remove(&mut self, folder: u64, name: &OsStr) {
        self.change(folder, Change::Remove((folder, name.to_owned())));
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) {
        self.change(from.0, Change::Rename((from.0, from.1.to_owned()), (to.0, to.1.to_owned())));
    }

    fn change(&mut self, folder: u64, change: Change) {
        change.apply(&mut self.names);
        self.pending.push((folder, change));
        self.maybe_cut();
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let named = self.names.values().filter_map(|inode| self.files.get(inode));
        named.map(|file| file.view.len() as u64).sum()
    }

    pub(super) fn resize(&mut self, inode: u64, bytes: u64) -> Result<(), Errno> {
        let free = self.quota_bytes.min(self.capacity_bytes).saturating_sub(self.used_bytes());
        let file = self.files.get_mut(&inode).ok_or(Errno::EISDIR)?;
        if bytes.saturating_sub(file.view.len() as u64) > free {
            return Err(Errno::ENOSPC);
        }
        file.resize(bytes as usize);
        self.maybe_cut();
        Ok(())
    }

    pub(super) fn read(&self, inode: u64, at: u64, bytes: usize) -> Result<&[u8], Errno> {
        let view = &self.files.get(&inode).ok_or(Errno::EISDIR)?.view;
        let at = view.len().min(at as usize);
        Ok(&view[at..view.len().min(at + bytes)])
    }

    pub(super) fn write(&mut self, inode: u64, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = at + bytes.len() as u64;
        if end > self.len(inode)?.unwrap_or(0) {
            self.resize(inode, end)?;
        }
        self.files.get_mut(&inode).ok_or(Errno::EISDIR)?.write(at as usize, bytes);
        self.maybe_cut();
        Ok(())
    }

    /// Puts a file's bytes, or a folder's names, on flash.
    pub(super) fn sync(&mut self, inode: u64) {
        self.maybe_cut();
        if let Some(file) = self.files.get_mut(&inode) {
            file.sync();
        } else {
            self.pending.retain(|(folder, change)| {
                let is_here = *folder == inode;
                if is_here {
                    change.apply(&mut self.durable_names);
                }
                !is_here
            });
        }
    }

    /// A file's sync fails.
    pub(super) fn fail_sync(&mut self, inode: u64) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.fail_sync();
        }
    }

    pub(super) fn pull(&mut self) {
        self.is_off = true;
        self.names = self.names_after_a_cut();
        self.durable_names.clone_from(&self.names);
        self.pending.clear();
        for file in self.files.values_mut() {
            file.lose_power(&mut self.rng);
        }
    }

    /// Of each folder's changes the first few are on flash.
    fn names_after_a_cut(&mut self) -> Names {
        let mut names = self.durable_names.clone();
        for folder in self.folders.clone() {
            let here = self.pending.iter().filter(|(of, _)| *of == folder);
            let kept = self.rng.below(here.clone().count() as u64 + 1) as usize;
            here.take(kept).for_each(|(_, change)| change.apply(&mut names));
        }
        names
    }

    pub(super) fn maybe_cut(&mut self) {
        if self.takes_cuts {
            let names = self.names_after_a_cut();
            let mut found = Found::new();
            for ((_, name), inode) in &names {
                if let Some(file) = self.files.get(inode) {
                    let name = name.to_string_lossy().into_owned();
                    found.insert(name, file.cut(&mut self.rng));
                }
            }
            self.cuts.push(found);
        }
    }

    pub(super) fn wipe(&mut self) {
        self.names.clear();
        self.durable_names.clear();
        self.pending.clear();
    }

    pub(super) fn with_file<T>(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let named = self.names.iter().find(|((_, of), _)| of == name);
        let file = self.files.get_mut(named.unwrap().1).unwrap();
        let mut bytes = file.view.clone();
        let outcome = change(&mut bytes);
        *file = Sectors::new(bytes, self.unit_bytes);
        outcome
    }
}
