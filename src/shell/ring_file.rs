//! A ring's file: made, locked, and read and written in place.
//!
//! A ring is made under another name, `.new` behind its own, with its whole length reserved, and gets its name when it is
//! complete and synced: a file that has the name is a ring. It is never grown, truncated or mapped. Whoever writes it
//! holds an exclusive lock on it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSliceMut, Write as _},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{Advice, FallocateFlags, FlockOperation},
    io::{Errno, ReadWriteFlags},
};
use thiserror::Error;

use crate::{
    limits::{FLASH_STEP_BYTES, WRITE_BYTES},
    store::{
        Flash,
        layout::{NotThisRing, Superblock},
        recovery::ReadError,
        writer,
    },
};

/// An open ring file. Its clones are the same file.
#[derive(Clone, Debug)]
pub struct RingFile(Arc<File>);

impl RingFile {
    /// Opens a ring for writing. Nobody else does so until it is dropped.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(OpenError::Open)?;
        lock(&file)?;
        Ok(Self(Arc::new(file)))
    }

    /// Opens a ring for reading, whoever else writes it.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(File::open(path)?)))
    }

    /// Lets others open the ring for writing, also while somebody still sends segments from this file.
    pub fn unlock(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(&*self.0, FlockOperation::Unlock)?)
    }

    /// The file, to send segments from.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.0)
    }
}

impl Flash for RingFile {
    fn file_bytes(&mut self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn refresh(&mut self) -> io::Result<()> {
        self.sync()?;
        Ok(rustix::fs::fadvise(&*self.0, 0, None, Advice::DontNeed)?)
    }
}

/// Why a ring is not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It could not be opened.
    #[error("opening it failed: {0}{advice}", advice = advice(.0))]
    Open(#[source] io::Error),
    /// Another process writes it.
    #[error("another process has it open; two daemons must not share a store")]
    Locked,
    /// The card is full.
    #[error(
        "there is no room for its {needed_bytes} bytes: make room on the card, or the ring smaller"
    )]
    NoSpace {
        /// Length of the file that was to be made.
        needed_bytes: u64,
    },
    /// It could not be made.
    #[error("making it failed: {0}{advice}", advice = advice(.0))]
    Make(#[source] io::Error),
    /// The name is too long to be put down.
    #[error("its name is too long")]
    NameTooLong,
    /// It is not the ring that was expected, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What to do about an error of the card, if that can be told.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ROFS) => {
            "; the card is read-only: mount it writable, or replace it if it made itself so"
        }
        Some(Errno::IO) => "; the card is failing: replace it",
        Some(Errno::NOTDIR) => "; a file stands where a folder belongs: move it away",
        Some(Errno::ISDIR) => "; a folder stands where the file belongs: move it away",
        Some(Errno::ACCESS | Errno::PERM) => {
            "; let the user that runs the daemon read and write there"
        }
        _ => "",
    }
}

impl From<NotThisRing> for OpenError {
    fn from(why: NotThisRing) -> Self {
        Self::Read(why.into())
    }
}

/// A ring that is being made. Dropped before it is complete, it leaves nothing behind.
#[derive(Debug)]
pub struct NewRing {
    file: RingFile,
    /// Its name until it is complete.
    draft: Draft,
    path: PathBuf,
    superblock: Superblock,
    /// Bytes that hold zeros, or read as such.
    zeroed_bytes: u64,
}

#[derive(Debug)]
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // After the ring has got its name there is none of this name, and that is as good.
        let _ = fs::remove_file(&self.0);
    }
}

impl NewRing {
    /// Begins to make a ring, and reserves its length if the file system can.
    pub fn begin(path: &Path, superblock: Superblock) -> Result<Self, OpenError> {
        path.parent().map_or(Ok(()), make_folder).map_err(OpenError::Make)?;
        let draft = draft(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let file = options.open(&draft).map_err(OpenError::Make)?;
        lock(&file)?;
        let draft = Draft(draft);
        // The lock of a draft that another process has finished in the meantime means nothing.
        if path.try_exists().map_err(OpenError::Make)? {
            return Err(OpenError::Locked);
        }
        // What a cut left of an earlier try is not worth a look.
        file.set_len(0).map_err(OpenError::Make)?;
        let needed_bytes = superblock.layout.file_bytes;
        let reserved = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, needed_bytes);
        let zeroed_bytes = match reserved {
            Ok(()) => needed_bytes,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
            Err(e) => return Err(make_error(e.into(), needed_bytes)),
        };
        let file = RingFile(Arc::new(file));
        Ok(Self { file, draft, path: path.to_path_buf(), superblock, zeroed_bytes })
    }

    /// Writes some zeros where the length could not be reserved. `false`: there are none left to write.
    pub fn step(&mut self) -> Result<bool, OpenError> {
        static ZEROS: [u8; WRITE_BYTES] = [0; WRITE_BYTES];
        let end = self.total_bytes().min(self.zeroed_bytes + FLASH_STEP_BYTES as u64);
        while self.zeroed_bytes < end {
            let bytes = (end - self.zeroed_bytes).min(WRITE_BYTES as u64);
            let piece = usize::try_from(bytes).ok().and_then(|bytes| ZEROS.get(..bytes));
            let written = self.file.write(self.zeroed_bytes, piece.unwrap_or_default());
            written.map_err(|e| make_error(e, self.total_bytes()))?;
            self.zeroed_bytes += bytes;
        }
        // Each step goes to the card before the next: else the system would hold them back, and the syncs of
        // all other rings would have to wait for them.
        self.file.sync().map_err(|e| make_error(e, self.total_bytes()))?;
        Ok(self.zeroed_bytes < self.total_bytes())
    }

    #[cfg(test)]
    pub(super) fn pretend_that_nothing_was_reserved(&mut self) {
        self.file.0.set_len(0).unwrap();
        self.zeroed_bytes = 0;
    }

    /// Bytes done.
    pub const fn done_bytes(&self) -> u64 {
        self.zeroed_bytes
    }

    /// Bytes to do.
    pub const fn total_bytes(&self) -> u64 {
        self.superblock.layout.file_bytes
    }

    /// Makes it a ring and gives it its name.
    pub fn finish(mut self) -> Result<RingFile, OpenError> {
        let made = writer::format(&mut self.file, &self.superblock)
            .and_then(|()| self.file.0.sync_all())
            .and_then(|()| fs::rename(&self.draft.0, &self.path))
            .and_then(|()| sync_folder(&self.path));
        made.map_err(|e| make_error(e, self.total_bytes()))?;
        Ok(self.file)
    }
}

/// Removes a ring's file for good.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => match sync_folder(path) {
            // Nor is there a folder.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        },
    }
}

/// Makes a folder and those above it, and returns once the names of all that were made are on flash.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(folder),
    }
}

/// Puts `text` into the file at `path`. Whenever the power goes, the file is the one before or this one, whole.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_folder)?;
    let draft = draft(path);
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        // Before the name: else the name could be on flash and the text not (rename(2) orders nothing).
        file.sync_all()?;
        fs::rename(&draft, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.and_then(|()| sync_folder(path))
}

/// What a file is called until it is complete.
fn draft(path: &Path) -> PathBuf {
    let mut draft = path.to_path_buf().into_os_string();
    draft.push(".new");
    PathBuf::from(draft)
}

/// Returns once the names in the folder of `path` are on flash.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) => File::open(".")?.sync_all(),
        None => Ok(()),
    }
}

/// Reads from byte `at` of a ring's file on what is in the page cache. `None`: nothing is, the card would have to be waited for.
///
/// A file system that cannot tell is read all the same.
pub fn read_cached(file: &File, at: u64, into: &mut [u8]) -> io::Result<Option<usize>> {
    let pieces = &mut [IoSliceMut::new(into)];
    match rustix::io::preadv2(file, pieces, at, ReadWriteFlags::NOWAIT) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Errno::AGAIN) => Ok(None),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.read_at(into, at).map(Some),
        Err(error) => Err(error.into()),
    }
}

fn lock(file: &File) -> Result<(), OpenError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(OpenError::Locked),
        Err(e) => Err(OpenError::Open(e.into())),
    }
}

fn make_error(e: io::Error, needed_bytes: u64) -> OpenError {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            OpenError::NoSpace { needed_bytes }
        }
        _ => OpenError::Make(e),
    }
}
