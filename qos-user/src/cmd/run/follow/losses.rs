//! What becomes of hooks whose pins somebody removes: it is noticed, said, and taken in, so that a step attaches them again.

use std::{collections::HashSet, path::Path};

use super::{Ending, Follower, Lost, Place};
use crate::{
    cmd::{run::lost::as_told, site::Site},
    command::Command,
    kernel::{again, datapath::Hook},
};

/// Of a hook whose device is gone, that nobody attaches it when that is made again, unless the policy binds it.
pub(super) fn tell_unbound(site: &Site, hook: &Hook) {
    let (state, direction) = (&hook.state, hook.pins.direction);
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    let is_bound = policy.is_some_and(|policy| policy.names(&state.interface, direction).is_some());
    // What it was called, or whether it is bound, may not be known.
    if is_bound || state.interface.is_empty() || site.spoiled.is_some() {
        return;
    }
    let attach = as_told(Command::new("qosbpf attach"), again::told(state), state.inside.as_deref());
    let attach = attach.operand(site.former_name(hook));
    tracing::warn!(
        hook = site.former_name(hook),
        "the policy does not bind it: when its device is made again, it is not attached again by itself, but by: {attach}"
    );
}

impl Follower {
    /// Whether the pins are gone, which is said once: packets are not marked any more.
    pub(super) fn heed_lost(&mut self, site: &Site, released: &HashSet<Place>, bpffs: &Path) -> anyhow::Result<bool> {
        self.lost.retain(|lost| lost.is_missing(site, released));
        if !self.memory.is_lost(site, released, bpffs) {
            self.told = None;
            return Ok(false);
        }
        let held = self.lose(site, released, bpffs);
        self.tell_lost(&self.memory.names(site, released), held.is_ok(), bpffs);
        held.map(|()| true)
    }

    /// Takes in what is lost, and refuses to put it back as long as it may run on.
    pub(super) fn lose(&mut self, site: &Site, released: &HashSet<Place>, bpffs: &Path) -> anyhow::Result<()> {
        let lost = self.memory.missing(site, released);
        self.lost.retain(|before| lost.iter().all(|lost| lost.place() != before.place()));
        self.lost.extend(lost);
        Lost::refuse_any_held(&self.lost, self.memory.is_hidden(bpffs), Ending::new())
    }

    /// Takes in hooks of which the pins alone are gone, and says so.
    pub(super) fn lose_alone(&mut self, site: &Site, released: &HashSet<Place>, bpffs: &Path) {
        let mut lost = self.memory.missing_alone(site, released, bpffs);
        lost.retain(|lost| !self.knows_lost(lost));
        for lost in &lost {
            let detach = Command::new("qosbpf detach").operand(lost.name());
            let message = "is attached again as it was, and counts from zero. To end it";
            tracing::error!(
                hook = lost.entry(),
                "its pins in {}/qosbpf are gone; it {message}: {detach}",
                bpffs.display()
            );
        }
        self.lost.extend(lost);
    }

    pub(super) fn knows_lost(&self, lost: &Lost) -> bool {
        self.lost.iter().any(|known| known.place() == lost.place())
    }

    /// Says what became of the pins, and what is done about it, unless that has just been said.
    fn tell_lost(&mut self, hooks: &str, ended: bool, bpffs: &Path) {
        let what = match (hooks, ended) {
            ("", _) => "the policy that was in force is put back",
            (_, true) => {
                "and what ran by its pins has ended; all of it is attached again, and counts from zero. To end them: \
                 qosbpf detach --all"
            }
            (_, false) => "and nothing is attached again as long as what ran by its pins may run on",
        };
        let message = format!("{}, {what}", self.memory.cause(bpffs));
        if self.told.as_ref() != Some(&message) {
            tracing::error!(hooks, "{message}");
        }
        self.told = Some(message);
    }
}
