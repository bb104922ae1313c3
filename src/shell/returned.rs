//! Write buffers on their way back from the flash thread to the engine.
//!
//! The engine fetches them when it runs short. It is woken only while somebody waits for one: to be woken for each
//! would cost as much as receiving what is in it.

use std::{
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::store::buffer::{Buffer, BufferPool};

/// Buffers that the flash thread is done with. They are bounded by the pool that lent them.
#[derive(Debug, Default)]
pub struct Returned {
    buffers: Mutex<Vec<Buffer>>,
    is_awaited: AtomicBool,
}

impl Returned {
    /// Takes a buffer back. `true`: somebody waits, and has to be told.
    #[must_use]
    pub fn put(&self, buffer: Buffer) -> bool {
        self.lock().push(buffer);
        self.is_awaited.swap(false, Ordering::AcqRel)
    }

    /// Gives all that are there to the pool.
    pub fn fetch(&self, pool: &mut BufferPool) {
        let buffers = mem::take(&mut *self.lock());
        buffers.into_iter().for_each(|buffer| pool.give(buffer));
    }

    /// Somebody is going to wait: the next [`put`](Self::put) says so. To be followed by one more [`fetch`](Self::fetch).
    pub fn expect(&self) {
        self.is_awaited.store(true, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Buffer>> {
        // A vector of buffers is whole whatever happened to who held it.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_waits_is_told_and_only_once() {
        let mut pool = BufferPool::new(2);
        pool.allow(2);
        let returned = Returned::default();
        assert!(!returned.put(pool.take().unwrap()));
        returned.expect();
        assert!(returned.put(pool.take().unwrap()));
        assert_eq!(pool.left(), 0);
        returned.fetch(&mut pool);
        assert_eq!(pool.left(), 2);
        assert!(!returned.put(pool.take().unwrap()));
    }
}
