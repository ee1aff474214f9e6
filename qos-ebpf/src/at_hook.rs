//! A packet at a hook: what the programs of all hooks do with one, in the same way.

use qos_common::process::{Outcome, Tables};

/// A packet, by the context that the hook has for it.
pub trait AtHook: Copy {
    /// The same, for a way of its own: see [`on_way`](crate::maps::on_way).
    fn on_way<const WAY: u8>(self) -> Self;

    /// Counts, decides and remarks.
    fn process<T: Tables>(self, tables: &mut T) -> Outcome;
}
