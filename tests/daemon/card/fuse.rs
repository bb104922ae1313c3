//! The kernel's calls → the media. Nothing is cached by name or attribute, so that a card can change under the kernel.

use std::{
    ffi::OsStr,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::{
    Call,
    media::{Media, ROOT},
};

const NOT_CACHED: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4096;

pub(super) struct Mounted(pub(super) Arc<Mutex<Media>>);

impl Mounted {
    fn media(&self) -> MutexGuard<'_, Media> {
        self.0.lock().unwrap()
    }

    /// Does it now, or in a while and meanwhile others.
    fn after(&self, delay: Option<Duration>, act: impl FnOnce(&mut Media) + Send + 'static) {
        match delay {
            None => act(&mut self.media()),
            Some(delay) => {
                let media = Arc::clone(&self.0);
                thread::spawn(move || {
                    thread::sleep(delay);
                    act(&mut media.lock().unwrap());
                });
            }
        }
    }
}

fn attributes(media: &Media, inode: u64) -> Result<FileAttr, Errno> {
    let len = media.len(inode)?;
    let size = len.unwrap_or(0);
    Ok(FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if len.is_some() { FileType::RegularFile } else { FileType::Directory },
        perm: if len.is_some() { 0o644 } else { 0o755 },
        nlink: if len.is_some() { 1 } else { 2 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

fn done(outcome: Result<(), Errno>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let media = self.media();
        let found = media.find(parent.0, name).ok_or(Errno::ENOENT);
        match found.and_then(|inode| attributes(&media, inode)) {
            Ok(attr) => reply.entry(&NOT_CACHED, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.media(), inode.0) {
            Ok(attr) => reply.attr(&NOT_CACHED, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut media = self.media();
        let resized = media.may_change().and_then(|()| match size {
            Some(size) => media.resize(inode.0, size),
            None => Ok(()),
        });
        match resized.and_then(|()| attributes(&media, inode.0)) {
            Ok(attr) => reply.attr(&NOT_CACHED, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let mut media = self.media();
        let made = media.may_change().map(|()| media.make(parent.0, name, true));
        match made.and_then(|inode| attributes(&media, inode)) {
            Ok(attr) => reply.entry(&NOT_CACHED, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut media = self.media();
        let made = media.may_change().map(|()| media.make(parent.0, name, false));
        match made.and_then(|inode| attributes(&media, inode)) {
            Ok(attr) => {
                reply.created(
                    &NOT_CACHED,
                    &attr,
                    Generation(0),
                    FileHandle(0),
                    FopenFlags::empty(),
                );
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut media = self.media();
        done(media.may_change().map(|()| media.remove(parent.0, name)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut media = self.media();
        done(media.may_change().map(|()| media.remove(parent.0, name)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut media = self.media();
        let renamed =
            media.may_change().map(|()| media.rename((parent.0, name), (new_parent.0, new_name)));
        done(renamed, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let media = self.media();
        let reads = flags.acc_mode() == OpenAccMode::O_RDONLY;
        let may_open = if reads && !media.is_off { Ok(()) } else { media.may_change() };
        match may_open {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let fate = self.media().fate(Call::Read, inode.0);
        match fate {
            Err(error) => reply.error(error),
            Ok(delay) => {
                self.after(delay, move |media| match media.read(inode.0, offset, size as usize) {
                    Ok(bytes) => reply.data(bytes),
                    Err(error) => reply.error(error),
                })
            }
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let fate = self.media().fate(Call::Write, inode.0);
        match fate {
            Err(error) => reply.error(error),
            Ok(delay) => {
                let data = data.to_vec();
                self.after(delay, move |media| match media.write(inode.0, offset, &data) {
                    Ok(()) => reply.written(data.len() as u32),
                    Err(error) => reply.error(error),
                });
            }
        }
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let fate = self.media().fate(Call::Sync, inode.0);
        match fate {
            Err(error) => {
                self.media().fail_sync(inode.0);
                reply.error(error);
            }
            Ok(delay) => self.after(delay, move |media| {
                media.sync(inode.0);
                reply.ok();
            }),
        }
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut media = self.media();
        done(media.may_change().map(|()| media.sync(inode.0)), reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        let mut media = self.media();
        let reserved = match media.can_reserve {
            true => media.may_change().and_then(|()| media.resize(inode.0, offset + length)),
            false => Err(Errno::EOPNOTSUPP),
        };
        done(reserved, reply);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let media = self.media();
        let block = u64::from(BLOCK_BYTES);
        let all = media.capacity_bytes / block;
        let free = all.saturating_sub(media.used_bytes() / block);
        reply.statfs(all, free, free, 1 << 20, 1 << 20, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let media = self.media();
        for (nth, (inode, name)) in
            media.list(inode.0).into_iter().enumerate().skip(offset as usize)
        {
            let kind = match media.len(inode) {
                Ok(Some(_)) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            if reply.add(INodeNo(inode), nth as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

const _: () = assert!(ROOT == INodeNo::ROOT.0);
