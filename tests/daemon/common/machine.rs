//! Whose turn it is on the machine. Tests run side by side, but one that loads both cores runs by itself: what the others
//! wait for, a browser that shows pictures or a stream in real time, would else be a test of the machine.

use std::{
    cell::OnceCell,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

static MACHINE: RwLock<()> = RwLock::new(());

/// A turn lasts as long as the thread of the test.
enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

thread_local! {
    static TURN: OnceCell<Turn> = const { OnceCell::new() };
}

/// Waits for the tests that run, and keeps all others waiting until this one ends. Belongs at a test's beginning.
pub(crate) fn take_alone() {
    TURN.with(|turn| {
        let alone =
            || Turn::Alone { _guard: MACHINE.write().unwrap_or_else(PoisonError::into_inner) };
        turn.get_or_init(alone);
    });
}

/// Waits while a test has the machine to itself, unless it is this one.
pub(crate) fn share() {
    TURN.with(|turn| {
        let shared =
            || Turn::Shared { _guard: MACHINE.read().unwrap_or_else(PoisonError::into_inner) };
        turn.get_or_init(shared);
    });
}
