//! How work of many steps goes on: whoever does it tells of each, and whoever has it done on this thread may watch.

use std::{cell::RefCell, sync::Arc};

thread_local! {
    static WATCHER: RefCell<Option<Arc<dyn Watch>>> = const { RefCell::new(None) };
}

/// Somebody who wants to know.
pub trait Watch {
    /// A step is done.
    fn step(&self);

    /// Whether the work is to end where it is, if that changes nothing by half.
    fn is_to_end(&self) -> bool;
}

/// What this thread does is watched from now on.
pub fn watch(watcher: Arc<dyn Watch>) {
    WATCHER.set(Some(watcher));
}

/// A step is done: a program is loaded, or something has changed at a hook.
pub fn step() {
    if let Some(watcher) = watcher() {
        watcher.step();
    }
}

/// Whether the work at hand is to end before its next step, if nothing has changed so far. Without a watcher it is not.
#[must_use]
pub fn is_to_end() -> bool {
    watcher().is_some_and(|watcher| watcher.is_to_end())
}

/// A thread that ends has none.
fn watcher() -> Option<Arc<dyn Watch>> {
    WATCHER.try_with(|watcher| watcher.borrow().clone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    #[derive(Default)]
    struct Counts(AtomicU32);

    impl Counts {
        fn so_far(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Watch for Counts {
        fn step(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn is_to_end(&self) -> bool {
            self.so_far() > 1
        }
    }

    #[test]
    fn the_steps_of_a_thread_are_told_to_whoever_watches_it() {
        let counts = Arc::<Counts>::default();
        step();
        assert!(!is_to_end());
        watch(Arc::<Counts>::clone(&counts));
        step();
        thread::spawn(step).join().unwrap();
        assert_eq!((counts.so_far(), is_to_end()), (1, false));
        step();
        assert_eq!((counts.so_far(), is_to_end()), (2, true));
    }
}
