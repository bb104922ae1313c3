//! Another configuration comes into force: at SIGHUP from the file, and after each call that changes the catalogue.

use std::{path::Path, rc::Rc};

use crate::{
    channel::SharedChannel,
    config::{ChannelPath, Config, Status, catalogue::Catalogue, diff},
    shell::{
        engine::Engine,
        files,
        flash_job::{Job as FlashJob, RingId},
    },
};

impl Engine {
    /// Reads the configuration again. A bad one changes nothing; publishers of unchanged channels stay.
    pub(super) fn reload(&self, file: &Path) {
        let (mut new, warnings) = match files::load(file) {
            Ok(loaded) => loaded,
            Err(problems) => {
                for problem in problems.lines() {
                    tracing::error!("{problem}");
                }
                return is_refused();
            }
        };
        let old = self.config();
        for key in &diff::diff(&old, &new).needs_restart {
            tracing::warn!("{key} has changed: that takes a restart");
        }
        new.listen = old.listen.clone();
        new.store = old.store.clone();
        new.limits = old.limits;
        let mut catalogue = Catalogue::clone(&self.catalogue.borrow());
        let mut whole = new.clone();
        let homeless = catalogue.apply(&mut whole);
        if let Err(error) = files::check_room(&whole) {
            tracing::error!("{error}");
            return is_refused();
        }
        for warning in warnings.iter().map(ToString::to_string).chain(homeless) {
            tracing::warn!("{warning}");
        }
        *self.file_config.borrow_mut() = new;
        self.config_is_read();
        *self.catalogue.borrow_mut() = Rc::new(catalogue);
        let diff = self.adopt(whole);
        tracing::info!(
            unchanged = diff.unchanged.len(),
            changed = diff.changed.len(),
            added = diff.added.len(),
            removed = diff.removed.len(),
            "the configuration is reloaded"
        );
    }

    /// Puts a configuration in force and has the channels follow it.
    pub(super) fn adopt(&self, new: Config) -> diff::Diff {
        let diff = diff::diff(&self.config(), &new);
        let new = Rc::new(new);
        self.set_config(Rc::clone(&new));
        for path in &diff.removed {
            self.leave(path);
        }
        for path in diff.changed.iter().chain(&diff.added) {
            let found = new.live_channels().find(|(bucket, channel)| {
                bucket.name == path.bucket && channel.name == path.channel
            });
            let Some((bucket, channel)) = found else { continue };
            let is_same_ring = |running: &SharedChannel| {
                running.borrow().config.ring_bytes == channel.ring_bytes
                    && running.borrow().config.frag_count == channel.frag_count
                    && running.borrow().config.low_latency == channel.low_latency
            };
            let running = self.channels().find(&bucket.name, &channel.name).cloned();
            match running {
                Some(running) if is_same_ring(&running) => {
                    if channel.status == Status::Disabled {
                        running.borrow_mut().cut(&mut self.pool(), self.now());
                    }
                    running.borrow_mut().configure(channel.clone());
                    self.dispatch(&running);
                }
                Some(running) => {
                    self.leave(path);
                    self.add(&bucket.name, channel);
                    if let Some(added) = self.channels().find(&bucket.name, &channel.name) {
                        added.borrow_mut().goes_on_from(&running.borrow());
                    }
                }
                None => self.add(&bucket.name, channel),
            }
        }
        self.cut.notify_waiters();
        diff
    }

    /// Leaves a channel. Its ring's file stays: what was recorded is the user's.
    fn leave(&self, path: &ChannelPath) {
        let found = self.channels().find(&path.bucket, &path.channel).cloned();
        let Some(channel) = found else { return };
        channel.borrow_mut().cut(&mut self.pool(), self.now());
        self.dispatch(&channel);
        let id = channel.borrow().id;
        self.channels().retain(|other| !Rc::ptr_eq(other, &channel));
        self.forget_file(id);
        if self.submit(FlashJob::Close(RingId(id))).is_err() {
            tracing::warn!(
                channel = channel.borrow().name(),
                "the ring stays open: the flash thread has too much to do"
            );
        }
        self.retired.notify_waiters();
    }
}

fn is_refused() {
    tracing::error!("the configuration was not reloaded: the one before stays in force");
}
