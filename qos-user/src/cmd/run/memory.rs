//! What was in force at the last look, should its pins go: somebody unmounts the bpf file system, or removes the folder. The
//! kernel removes a program with the last reference to its link, and packets pass as they come from then on.

use std::{collections::HashSet, path::Path};

use super::{lost::Lost, steps::Place};
use crate::{
    cmd::site::{self, Site},
    kernel::{
        bpffs,
        datapath::Observed,
        document, past,
        pending::{Identity, Pending},
        state::PolicyRecord,
    },
};

/// What was in force, and where.
#[derive(Debug, Default)]
pub struct Memory {
    /// Which bpf file system had the pins.
    mount: Option<(u64, u64)>,
    policy: Option<(Identity, PolicyRecord)>,
    hooks: Vec<Lost>,
}

impl Memory {
    /// Takes in what is there now. A change that waits to be confirmed is not: nobody could take it back without its pins.
    pub fn take(&mut self, site: &Site, bpffs: &Path) {
        let waits = !matches!(Pending::read(&site.store), Ok(None));
        if waits || self.is_half_gone(site) {
            return;
        }
        let in_force = site.policy.as_ref();
        self.mount = bpffs::identity(bpffs);
        self.policy = in_force.map(|in_force| (site::identity(&in_force.policy), in_force.record.clone()));
        let running = site.hooks.iter().filter(|hook| hook.running != Observed::Gone);
        self.hooks = running.filter_map(|hook| Some(Lost::new(hook, site.interface_of(hook)?))).collect();
    }

    /// Somebody may be about to remove all of it: the policy in force is gone, and hooks run by it.
    fn is_half_gone(&self, site: &Site) -> bool {
        let Some((policy, _)) = self.policy.as_ref().filter(|_| site.policy.is_none()) else { return false };
        let mut bindings = site.hooks.iter().filter_map(|hook| hook.state.binding.as_ref());
        site.has_policy() || bindings.any(|binding| binding.policy.hash == policy.hash)
    }

    /// Forgets hooks that somebody has detached by hand.
    pub fn forget(&mut self, is_meant: impl Fn(Place) -> bool) {
        self.hooks.retain(|hook| !is_meant(hook.place()));
        if self.hooks.is_empty() {
            self.policy = None;
        }
    }

    /// Whether the pins are gone, and nobody has detached the hooks.
    pub fn is_lost(&self, site: &Site, released: &HashSet<Place>, bpffs: &Path) -> bool {
        let has_ended = self.hooks.iter().all(|hook| released.contains(&hook.place()));
        let was_there = if self.hooks.is_empty() { self.policy.is_some() } else { !has_ended };
        if !was_there || site.has_policy() {
            return false;
        }
        let nothing = site.hooks.is_empty() && site.broken.is_empty();
        self.mount != bpffs::identity(bpffs) || nothing && !self.missing(site, released).is_empty()
    }

    /// The hooks that ran, and that are not there though their interfaces are.
    pub fn missing(&self, site: &Site, released: &HashSet<Place>) -> Vec<Lost> {
        self.hooks.iter().filter(|hook| hook.is_missing(site, released)).cloned().collect()
    }

    /// What has become of the pins.
    pub fn cause(&self, bpffs: &Path) -> String {
        let shown = bpffs.display();
        match bpffs::identity(bpffs) {
            None => format!("the bpf file system at {shown} was unmounted"),
            now if now != self.mount => format!("another bpf file system is at {shown} than was"),
            _ => format!("somebody removed {shown}/qosbpf"),
        }
    }

    /// Puts the policy in force again. Needs the lock, and that hooks are made to follow.
    ///
    /// # Errors
    ///
    /// What the kernel says to a pin.
    pub fn put_back(&self, site: &Site) -> anyhow::Result<()> {
        let Some((identity, record)) = &self.policy else { return Ok(()) };
        document::write(&site.store.policy(), record)?;
        past::add(&site.store, identity.clone(), &record.by, record)
    }
}
