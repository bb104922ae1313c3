//! How many there may be of what connections hold: they take shares of a quota, and give them back by ending.

use std::{cell::Cell, rc::Rc};

/// How many there may be of something.
#[derive(Debug)]
pub(super) struct Quota {
    max: usize,
    taken: Cell<usize>,
}

/// Some of them, free again when they are dropped.
#[derive(Debug)]
pub(super) struct Share {
    quota: Rc<Quota>,
    count: usize,
}

impl Quota {
    /// So many, all free.
    pub(super) fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { max, taken: Cell::new(0) })
    }

    /// One of them, if there is one.
    pub(super) fn take(quota: &Rc<Self>) -> Option<Share> {
        Self::take_many(quota, 1)
    }

    /// So many of them, if there are.
    pub(super) fn take_many(quota: &Rc<Self>, count: usize) -> Option<Share> {
        if count > quota.max - quota.taken.get() {
            return None;
        }
        quota.taken.update(|taken| taken + count);
        Some(Share { quota: Rc::clone(quota), count })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.taken.update(|taken| taken - self.count);
    }
}
