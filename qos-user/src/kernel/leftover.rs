//! What is left of a change that was taken back: hooks at which that could not be done. Kept in the pin `leftover`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    document,
    pending::Pending,
    pins::{HookPins, Place, Store},
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

    /// Writes it down.
    ///
    /// # Errors
    ///
    /// What the kernel says to the pin.
    pub fn write(&self, store: &Store) -> anyhow::Result<()> {
        document::write(&pin(store), self)
    }

    /// Whether a hook is one of them.
    #[must_use]
    pub fn has(&self, pins: &HookPins) -> bool {
        self.hooks.contains(&pins.place())
    }
}
