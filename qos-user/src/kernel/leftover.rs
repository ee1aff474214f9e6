//! What is left of a change that was taken back: hooks at which that could not be done. Kept in the pin `leftover`.

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    document,
    pending::Pending,
    pins::{self, HookPins, Place, Store},
};

/// A change that is over, and the hooks that may run on by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leftover {
    /// The change.
    pub change: Pending,
    /// The hooks.
    pub hooks: Vec<Place>,
}

/// Where it is kept.
#[must_use]
pub fn pin(store: &Store) -> PathBuf {
    store.namespace.join("leftover")
}

impl Leftover {
    /// Reads it, if anything is left.
    ///
    /// # Errors
    ///
    /// `spoiled-pin`; that this process may not read it.
    pub fn read(store: &Store) -> anyhow::Result<Option<Self>> {
        document::read_own(&pin(store))
    }

    /// Whether anything is left.
    #[must_use]
    pub fn exists(store: &Store) -> bool {
        pin(store).symlink_metadata().is_ok()
    }

    /// What is left of a change at these hooks, each once.
    #[must_use]
    pub fn new(change: &Pending, hooks: impl IntoIterator<Item = Place>) -> Self {
        let hooks: BTreeSet<Place> = hooks.into_iter().collect();
        Self { change: change.clone(), hooks: hooks.into_iter().collect() }
    }

    /// Writes it down; where nothing is left, that is all there is to know.
    ///
    /// # Errors
    ///
    /// What the kernel says to the pin.
    pub fn keep(&self, store: &Store) -> anyhow::Result<()> {
        if self.hooks.is_empty() { pins::remove(&pin(store)) } else { document::write(&pin(store), self) }
    }

    /// Whether a hook is one of them.
    #[must_use]
    pub fn has(&self, pins: &HookPins) -> bool {
        self.hooks.contains(&pins.place())
    }
}
