//! Wakes the connections that wait for what a channel is about to have. Nobody is looked for: each channel has its own bell.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use tokio::sync::Notify;

/// What one channel with low latency tells.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// A part or a segment is listed that was not, or the stream has ended.
    pub(super) listed: Notify,
    /// Bytes that were with the flash thread are in the ring's file.
    pub(super) written: Notify,
}

/// The bells of the channels that somebody has waited for, by the channel's number.
#[derive(Debug, Default)]
pub(super) struct News(RefCell<HashMap<u32, Rc<Bell>>>);

impl News {
    /// To wait for. Whoever has looked and comes here before anything else happens misses nothing.
    pub(super) fn of(&self, channel: u32) -> Rc<Bell> {
        Rc::clone(self.0.borrow_mut().entry(channel).or_default())
    }

    /// A part or a segment is listed that was not, or the stream has ended.
    pub(super) fn listed(&self, channel: u32) {
        if let Some(bell) = self.0.borrow().get(&channel) {
            bell.listed.notify_waiters();
        }
    }

    /// Bytes that were with the flash thread are in the ring's file.
    pub(super) fn written(&self, channel: u32) {
        if let Some(bell) = self.0.borrow().get(&channel) {
            bell.written.notify_waiters();
        }
    }

    /// The channel's ring is left.
    pub(super) fn forget(&self, channel: u32) {
        if let Some(bell) = self.0.borrow_mut().remove(&channel) {
            bell.listed.notify_waiters();
            bell.written.notify_waiters();
        }
    }
}
