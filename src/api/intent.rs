//! What a call wants to change → the catalogue as it would be then, or why it must not.
//!
//! Deciding is apart from doing: the shell decides when it is the change's turn, puts the new catalogue on flash, and only
//! then makes it true and answers. So no two changes are decided on the same past, and what was answered survives a cut.

use std::borrow::Cow;

use super::{Asked, World, call::Fixed, is_fixed, settings};
use crate::{
    channel::Channel,
    config::{
        Bucket, ChannelPath, LiveChannel, Status,
        catalogue::{Catalogue, ObjectPath, Recording, Settings},
        rings,
    },
    http::{error::OssError, recording::recorded},
    limits::CATALOGUE_BYTES_MAX,
};

/// What a call wants to change.
#[derive(Clone, Debug)]
pub enum Intent {
    /// PutLiveChannel.
    PutChannel(ChannelPath, Settings),
    /// PutLiveChannelStatus.
    PutStatus(ChannelPath, Status),
    /// DeleteLiveChannel.
    DeleteChannel(ChannelPath),
    /// PostVodPlaylist.
    PutRecording(ObjectPath, Recording),
    /// DeleteObject of a recording.
    DeleteRecording(ObjectPath),
}

/// What DeleteObject wants: a recording goes; what is not there is gone already.
pub(super) fn delete_object(
    asked: &Asked<'_>,
    world: &World<'_>,
) -> Result<Option<Intent>, OssError> {
    let path = ObjectPath { bucket: asked.bucket.name.clone(), key: asked.key.into() };
    if world.catalogue.recordings.contains_key(&path) {
        return Ok(Some(Intent::DeleteRecording(path)));
    }
    if super::objects::is_there(asked.bucket, asked.key, world) {
        return Err(is_fixed(Fixed::Object, asked, world));
    }
    Ok(None)
}

impl Intent {
    /// The catalogue as the change would leave it. `None`: everything is as it should be.
    pub fn decide(&self, world: &World<'_>) -> Result<Option<Catalogue>, OssError> {
        let mut new = Cow::Borrowed(world.catalogue);
        match self {
            Self::PutChannel(path, settings) => put_channel(path, settings, world, &mut new)?,
            Self::PutStatus(path, status) => {
                put_status(defined(path, world)?.1, path, *status, &mut new);
            }
            Self::DeleteChannel(path) => delete_channel(path, world, &mut new)?,
            Self::PutRecording(path, recording) => {
                new.to_mut().recordings.insert(path.clone(), recording.clone());
            }
            Self::DeleteRecording(path) => {
                new.to_mut().recordings.remove(path);
            }
        }
        let Cow::Owned(mut new) = new else { return Ok(None) };
        new.recordings.retain(|path, recording| is_worth_keeping(path, recording, world));
        if new.text().len() > CATALOGUE_BYTES_MAX {
            let message = "The gateway's catalogue of LiveChannels and recordings is full: delete recordings or LiveChannels first.";
            return Err(OssError::new(400, "InvalidRequest", message));
        }
        Ok((new != *world.catalogue).then_some(new))
    }
}

/// The bucket and the channel of a path, if they are there.
fn defined<'w>(
    path: &ChannelPath,
    world: &World<'w>,
) -> Result<(&'w Bucket, &'w LiveChannel), OssError> {
    let bucket = bucket(path, world)?;
    let mut channels = bucket.live_channels.iter();
    let channel = channels.find(|channel| channel.name == path.channel);
    Ok((bucket, channel.ok_or_else(OssError::no_such_live_channel)?))
}

fn bucket<'w>(path: &ChannelPath, world: &World<'w>) -> Result<&'w Bucket, OssError> {
    let mut buckets = world.config.buckets.iter();
    let bucket = buckets.find(|bucket| bucket.name == path.bucket);
    bucket.ok_or_else(|| OssError::no_such_bucket(&path.bucket))
}

fn put_channel(
    path: &ChannelPath,
    settings: &Settings,
    world: &World<'_>,
    new: &mut Cow<'_, Catalogue>,
) -> Result<(), OssError> {
    let bucket = bucket(path, world)?;
    let existing = bucket.live_channels.iter().find(|channel| channel.name == path.channel);
    let file = &world.config.file;
    if let Some(channel) = existing.filter(|channel| channel.modified.is_none()) {
        if settings::is_as(channel, settings) {
            put_status(channel, path, settings.status, new);
            return Ok(());
        }
        let message = format!(
            "LiveChannel {path} is defined by the configuration file {file} with other settings: change it there and reload with SIGHUP, or put the same settings. Nothing was changed."
        );
        let code = if is_live(path, world) { "ChannelStillLive" } else { "OperationConflict" };
        return Err(OssError::new(409, code, message));
    }
    if existing.is_some() && is_live(path, world) {
        return Err(still_live());
    }
    let Some(dynamic) = bucket.dynamic_channels else {
        let message = format!(
            "There is no LiveChannel {path}, and none can be created: the configuration file {file} sets no dynamic_channels for bucket {}.",
            bucket.name
        );
        return Err(OssError::new(403, "AccessDenied", message));
    };
    let made = bucket.live_channels.iter().filter(|channel| channel.modified.is_some()).count();
    if existing.is_none() && made >= dynamic.max as usize {
        let message = format!(
            "Bucket {} has all the {made} LiveChannels that dynamic_channels.max in {file} lets it create: delete one, or raise it there.",
            bucket.name
        );
        return Err(OssError::new(400, "TooManyLiveChannels", message));
    }
    if let Err(error) =
        rings::geometry(&world.config.store, dynamic.ring_bytes, settings.frag_count)
    {
        let message = format!(
            "FragCount {} needs a larger ring than dynamic_channels.ring in {file} gives: {error}.",
            settings.frag_count
        );
        let count = settings.frag_count.to_string();
        return Err(OssError::invalid_argument("FragCount", &count, message).ec("0044-00000015"));
    }
    let new = new.to_mut();
    new.channels.insert(path.clone(), settings.clone());
    new.statuses.remove(path);
    new.removed.remove(path);
    Ok(())
}

/// A status that the file has already is not kept. What the catalogue has of a channel that the file overrules is left alone.
fn put_status(
    channel: &LiveChannel,
    path: &ChannelPath,
    status: Status,
    new: &mut Cow<'_, Catalogue>,
) {
    if channel.status == status {
        return;
    }
    let new = new.to_mut();
    if channel.modified.is_some() {
        if let Some(settings) = new.channels.get_mut(path) {
            settings.status = status;
        }
    } else if new.statuses.remove(path).is_none() {
        new.statuses.insert(path.clone(), status);
    }
}

fn delete_channel(
    path: &ChannelPath,
    world: &World<'_>,
    new: &mut Cow<'_, Catalogue>,
) -> Result<(), OssError> {
    let (_, channel) = defined(path, world)?;
    if is_live(path, world) {
        return Err(still_live());
    }
    if channel.modified.is_none() {
        let message = format!(
            "LiveChannel {path} is defined by the configuration file {}: take it out there and reload with SIGHUP. Nothing was changed.",
            world.config.file
        );
        return Err(OssError::new(409, "OperationConflict", message));
    }
    let new = new.to_mut();
    new.channels.remove(path);
    new.statuses.remove(path);
    new.recordings.retain(|object, recording| {
        object.bucket != path.bucket || recording.channel != path.channel
    });
    new.removed.insert(path.clone());
    Ok(())
}

fn is_live(path: &ChannelPath, world: &World<'_>) -> bool {
    let channel = world.channels.find(&path.bucket, &path.channel);
    channel.is_some_and(|channel| channel.borrow().session().is_some())
}

fn still_live() -> OssError {
    let message = "The LiveChannel is being published to: stop the publisher, or disable the LiveChannel first.";
    OssError::new(409, "ChannelStillLive", message).ec("0044-00000201")
}

/// A recording of which the ring holds nothing any more is dropped with the next change.
fn is_worth_keeping(path: &ObjectPath, recording: &Recording, world: &World<'_>) -> bool {
    let Some(channel) = world.channels.find(&path.bucket, &recording.channel) else { return true };
    let channel: &Channel = &channel.borrow();
    channel.recorder().is_none() || recorded(channel, recording.first, recording.last).is_some()
}
