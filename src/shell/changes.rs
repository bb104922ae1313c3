//! Changes that calls ask for: one after the other, on flash first, then true, then answered.
//!
//! A change is carried out whether its client still waits or not, so that the catalogue on flash and the channels never
//! part. What deletes a ring is put down before the ring goes: a cut in between is made good at the next start.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::{
    sync::{Mutex, oneshot},
    task::spawn_local,
    time::timeout,
};

use crate::{
    api::intent::Intent,
    config::{ChannelPath, catalogue::Catalogue},
    http::{
        error::{self, OssError},
        response::Response,
    },
    limits::{CHANGE_MS_MAX, CHANGES_WAITING_MAX},
    respond::Change,
    shell::{engine::Engine, files, flash_job::Job as FlashJob, quota::Quota},
};

/// What the flash thread says of a catalogue that it was to keep: an error in words.
type Kept = Result<(), String>;

/// Changes that are being made.
pub(super) struct Changes {
    /// They take turns.
    turn: Mutex<()>,
    waiting: Rc<Quota>,
    /// Who waits for the catalogue to be on flash.
    kept: RefCell<Option<oneshot::Sender<Kept>>>,
    /// Why the catalogue on flash cannot be read, and so must not be replaced.
    trouble: Option<String>,
}

impl Changes {
    pub(super) fn new(trouble: Option<String>) -> Self {
        Self {
            turn: Mutex::new(()),
            waiting: Quota::new(CHANGES_WAITING_MAX),
            kept: RefCell::default(),
            trouble,
        }
    }

    /// The flash thread has kept the catalogue, or not.
    pub(super) fn kept(&self, outcome: Kept) {
        if let Some(waiting) = self.kept.take() {
            let _ = waiting.send(outcome);
        }
    }
}

impl Engine {
    /// Makes a change and answers it.
    ///
    /// Cancel-safe: a change that was begun is made without its client.
    pub(super) async fn change(self: &Rc<Self>, change: Change) -> Response {
        let busy = |what| error::busy(what, self.next_request_id());
        let Some(share) = Quota::take(&self.changes.waiting) else {
            return busy("Too many changes wait for the flash.");
        };
        let (tell, told) = oneshot::channel();
        let engine = Rc::clone(self);
        spawn_local(async move {
            let outcome = engine.carry_out(&change.intent).await;
            drop(share);
            let _ = tell.send(change.answer(outcome));
        });
        match timeout(Duration::from_millis(CHANGE_MS_MAX), told).await {
            Ok(Ok(response)) => response,
            _ => busy(
                "The flash is slow, and the change is not made yet: look later whether it was.",
            ),
        }
    }

    /// Decides on a change, has it kept, and makes it true.
    ///
    /// Not cancel-safe: the catalogue could be on flash, and the channels not follow it.
    async fn carry_out(&self, intent: &Intent) -> Result<(), OssError> {
        let _turn = self.changes.turn.lock().await;
        if let Some(trouble) = &self.changes.trouble {
            return Err(OssError::new(
                500,
                "InternalError",
                format!("{trouble}. Nothing was changed."),
            ));
        }
        let before = Rc::clone(&self.catalogue.borrow());
        let Some(new) = self.with_world(|world| intent.decide(world))? else { return Ok(()) };
        self.keep(&new).await.map_err(|error| {
            tracing::error!("the catalogue was not kept: {error}; a call was refused");
            let message = format!(
                "The gateway could not put the change on its flash: {error}. Nothing was changed."
            );
            OssError::new(500, "InternalError", message)
        })?;
        self.make_true(new, &before);
        Ok(())
    }

    /// Puts a catalogue on flash. One at a time.
    ///
    /// Not cancel-safe: it is put there all the same, and the answer would be taken for that to the next one.
    async fn keep(&self, catalogue: &Catalogue) -> Kept {
        let (tell, told) = oneshot::channel();
        *self.changes.kept.borrow_mut() = Some(tell);
        let path = files::catalogue_path(&self.config());
        if self.submit(FlashJob::Keep(path, catalogue.text())).is_err() {
            return Err(String::from("the flash thread has too much to do"));
        }
        told.await.unwrap_or_else(|_| Err(String::from("the daemon is being stopped")))
    }

    /// `before`: the catalogue that the change was decided by.
    fn make_true(&self, mut new: Catalogue, before: &Catalogue) {
        let mut config = self.file_config.borrow().clone();
        new.apply(&mut config);
        // Of a name that the file has come to define meanwhile the ring stays, and one that went meanwhile is gone.
        let is_gone = |path: &ChannelPath| {
            before.removed.contains(path) && !self.catalogue.borrow().removed.contains(path)
        };
        new.removed.retain(|path| !config.has_channel(path) && !is_gone(path));
        let old = self.catalogue.replace(Rc::new(new));
        self.adopt(config);
        let new = Rc::clone(&self.catalogue.borrow());
        for path in new.removed.difference(&old.removed) {
            tracing::info!(channel = %path, "deleted by DeleteLiveChannel, with its ring");
            self.remove_ring(path);
        }
        for (path, _) in new.channels.iter().filter(|(path, _)| !old.channels.contains_key(path)) {
            tracing::info!(channel = %path, "created by PutLiveChannel");
        }
    }

    /// Removes the rings of channels that were deleted right before the daemon ended. One that the file defines by now keeps
    /// the ring: what is in it may have been recorded since.
    pub(super) fn remove_deleted_rings(&self) {
        let config = self.config();
        let is_there = |path: &ChannelPath| config.has_channel(path);
        Rc::make_mut(&mut self.catalogue.borrow_mut()).removed.retain(|path| !is_there(path));
        let catalogue = Rc::clone(&self.catalogue.borrow());
        catalogue.removed.iter().for_each(|path| self.remove_ring(path));
    }

    /// The channel is closed, or was never opened; the flash thread keeps the order.
    fn remove_ring(&self, channel: &ChannelPath) {
        let path = files::ring_path(&self.config(), &channel.bucket, &channel.channel);
        if self.submit(FlashJob::Remove(channel.clone(), path)).is_err() {
            tracing::warn!(
                "the ring of {channel} is removed at the next start: the flash thread has too much to do"
            );
        }
    }

    /// The ring of a deleted channel is gone, or not. The catalogue on flash forgets it with the next change: until then
    /// a start looks for it once more.
    pub(super) fn ring_removed(&self, channel: &ChannelPath, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => {
                Rc::make_mut(&mut self.catalogue.borrow_mut()).removed.remove(channel);
            }
            Err(error) => {
                tracing::warn!("the ring of {channel}, which is deleted, was not removed: {error}");
            }
        }
    }
}
