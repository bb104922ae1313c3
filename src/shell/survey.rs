//! What stands where the rings belong → what would keep the daemon from using it, for `sluicegate check`. Reads only.
//!
//! It says of a ring what the daemon would say that opens it. What is yet to be made is no trouble.

use std::{fs, io, path::Path};

use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{
    files::ring_path,
    ring_file::{OpenError, RingFile, advice},
};
use crate::{
    config::{Bucket, Config, LiveChannel, rings},
    store::{inspect::Inspection, layout::NotThisRing},
};

/// A warning for each folder and ring that is there and cannot be used as it is.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut said = Vec::new();
    let path = &config.store.path;
    if is_folder(path, &mut said) {
        // For the catalogue, even where all folders are there.
        check_writable(path, &mut said);
        for bucket in &config.buckets {
            survey_bucket(config, bucket, &mut said);
        }
    }
    said
}

fn survey_bucket(config: &Config, bucket: &Bucket, said: &mut Vec<String>) {
    let folder = config.store.path.join(bucket.name.as_str());
    if !is_folder(&folder, said) {
        return;
    }
    let mut is_complete = bucket.dynamic_channels.is_none();
    for channel in &bucket.live_channels {
        let path = ring_path(config, &bucket.name, &channel.name);
        match survey_ring(config, bucket, channel, &path) {
            Ok(is_there) => is_complete &= is_there,
            Err(error) => said.push(format!("ring {}: {error}", path.display())),
        }
    }
    if !is_complete {
        check_writable(&folder, said);
    }
}

/// Whether a folder is there. Says so where something else is.
fn is_folder(path: &Path, said: &mut Vec<String>) -> bool {
    let found = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return true,
        Ok(_) => io::Error::from(Errno::NOTDIR),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(error) => error,
    };
    said.push(format!("{}: {}", path.display(), OpenError::Open(found)));
    false
}

fn check_writable(folder: &Path, said: &mut Vec<String>) {
    if let Err(errno) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let error = io::Error::from(errno);
        let what_to_do = advice(&error);
        said.push(format!("{}: nothing can be made in it: {error}{what_to_do}", folder.display()));
    }
}

/// Whether a ring is there, or why it is not the channel's.
fn survey_ring(
    config: &Config,
    bucket: &Bucket,
    channel: &LiveChannel,
    path: &Path,
) -> Result<bool, String> {
    let geometry = rings::geometry(&config.store, channel.ring_bytes, channel.frag_count)
        .map_err(|error| error.to_string())?;
    let name = format!("{}/{}", bucket.name, channel.name);
    let look = || {
        let found = fs::metadata(path).map_err(OpenError::Open)?;
        if found.is_dir() {
            return Err(OpenError::Open(Errno::ISDIR.into()));
        }
        if !found.is_file() {
            // To open a pipe would be to wait for who writes it.
            return Err(NotThisRing::NotARing.into());
        }
        access(path, Access::READ_OK | Access::WRITE_OK)
            .map_err(|errno| OpenError::Open(errno.into()))?;
        let ring = Inspection::new(RingFile::open_read_only(path).map_err(OpenError::Open)?)?;
        Ok(ring.expect(&geometry.layout, &name)?)
    };
    match look() {
        Ok(()) => Ok(true),
        Err(OpenError::Open(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}
