//! How many there may be of what connections hold: they take seats, and give them back by ending.

use std::{cell::Cell, rc::Rc};

/// How many there may be of something.
#[derive(Debug)]
pub(super) struct Seats {
    max: usize,
    taken: Cell<usize>,
}

/// Some of them, free again when they are dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Rc<Seats>,
    count: usize,
}

impl Seats {
    /// So many, all free.
    pub(super) fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { max, taken: Cell::new(0) })
    }

    /// One of them, if there is one.
    pub(super) fn take(seats: &Rc<Self>) -> Option<Seat> {
        Self::take_many(seats, 1)
    }

    /// So many of them, if there are.
    pub(super) fn take_many(seats: &Rc<Self>, count: usize) -> Option<Seat> {
        if count > seats.max - seats.taken.get() {
            return None;
        }
        seats.taken.update(|taken| taken + count);
        Some(Seat { seats: Rc::clone(seats), count })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.update(|taken| taken - self.count);
    }
}
