//! What was in force at the last look, should its pins go: somebody unmounts the bpf file system, or removes the folder. The
//! kernel removes a program with the last reference to its link, and packets pass as they come from then on.

use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    lost::{Ending, Lost},
    steps::Place,
};
use crate::{
    cmd::site::{self, Site},
    error::Failure,
    kernel::{
        bpffs,
        datapath::Observed,
        document, past,
        pending::{Identity, Pending},
        state::PolicyRecord,
    },
};

/// How long whoever removes all of it may take from the policy to the last hook.
const REMOVING: Duration = Duration::from_secs(10);

/// What was in force, and where.
#[derive(Debug, Default)]
pub struct Memory {
    /// Which bpf file system had the pins.
    mount: Option<(u64, u64)>,
    policy: Option<(Identity, PolicyRecord)>,
    hooks: Vec<Lost>,
    /// Since when it is half gone.
    half_gone: Option<Instant>,
}

impl Memory {
    /// Takes in what is there now. Needs the lock: what a command has done by half it may undo. A change that waits to be
    /// confirmed is not taken: nobody could take it back without its pins. What runs on unseen is not forgotten.
    pub fn take(&mut self, site: &Site, released: &HashSet<Place>, bpffs: &Path) {
        let waits = !matches!(Pending::read(&site.store), Ok(None));
        if waits || self.is_half_gone(site, released) || self.runs_unseen(site, released, bpffs) {
            return;
        }
        let in_force = site.policy.as_ref();
        self.mount = bpffs::identity(bpffs);
        self.policy = in_force.map(|in_force| (site::identity(&in_force.policy), in_force.record.clone()));
        let running = site.hooks.iter().filter(|hook| hook.running != Observed::Gone);
        self.hooks = running.filter_map(|hook| Some(Lost::new(hook, site.interface_of(hook)?))).collect();
    }

    /// Somebody may be about to remove all of it; for a while, then it was no more than this that was to go.
    fn is_half_gone(&mut self, site: &Site, released: &HashSet<Place>) -> bool {
        if !self.lacks_policy(site) && self.missing(site, released).is_empty() {
            self.half_gone = None;
            return false;
        }
        self.half_gone.get_or_insert_with(Instant::now).elapsed() < REMOVING
    }

    /// The policy in force is gone, and hooks run by it.
    fn lacks_policy(&self, site: &Site) -> bool {
        let Some((policy, _)) = self.policy.as_ref().filter(|_| site.policy.is_none()) else { return false };
        let mut bindings = site.hooks.iter().filter_map(|hook| hook.state.binding.as_ref());
        site.has_policy() || bindings.any(|binding| binding.policy.hash == policy.hash)
    }

    /// Whether something of it runs on by pins that are not to be seen.
    fn runs_unseen(&self, site: &Site, released: &HashSet<Place>, bpffs: &Path) -> bool {
        let is_held = |lost: &Lost| matches!(lost.is_held(), Ok(true));
        self.is_hidden(bpffs) || self.missing(site, released).iter().any(is_held)
    }

    /// Whether the pins are still there, below another mount.
    pub fn is_hidden(&self, bpffs: &Path) -> bool {
        !self.hooks.is_empty() && self.mount.is_some_and(|before| bpffs::is_hidden(before, bpffs))
    }

    /// Refuses to attach where what runs would not be seen, whoever has put a policy in force meanwhile.
    ///
    /// # Errors
    ///
    /// `hidden-pins`.
    pub fn refuse_unseen(&self, place: Place, bpffs: &Path, ending: Ending) -> anyhow::Result<()> {
        if self.is_hidden(bpffs) {
            let message = format!("another mount at {} hides the pins of what runs", bpffs.display());
            return Err(Failure::new("hidden-pins", message).hint("umount it").into());
        }
        let was = self.hooks.iter().find(|hook| hook.place() == place && matches!(hook.is_held(), Ok(true)));
        was.map_or(Ok(()), |hook| hook.refuse_held(ending))
    }

    /// Forgets hooks that somebody has detached by hand.
    pub fn forget(&mut self, is_meant: impl Fn(Place) -> bool) {
        self.hooks.retain(|hook| !is_meant(hook.place()));
        if self.hooks.is_empty() {
            self.policy = None;
        }
    }

    /// Forgets interfaces that have gone: what has their numbers and names by now is another one.
    pub fn forget_gone(&mut self, gone: &HashSet<u32>) {
        self.hooks.retain(|hook| !gone.contains(&hook.place().0));
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

    /// The same where the bpf file system and the policy are as they were: somebody has removed the pins of these hooks alone.
    pub fn missing_alone(&self, site: &Site, released: &HashSet<Place>, bpffs: &Path) -> Vec<Lost> {
        let as_it_was = self.policy.is_some() == site.has_policy() && self.mount == bpffs::identity(bpffs);
        if as_it_was { self.missing(site, released) } else { Vec::new() }
    }

    /// The names of the hooks that ran, of interfaces that are there.
    pub fn names(&self, site: &Site, released: &HashSet<Place>) -> String {
        let wanted = self.hooks.iter().filter(|hook| hook.is_wanted(site, released));
        wanted.map(Lost::entry).collect::<Vec<_>>().join(", ")
    }

    /// What has become of the pins.
    pub fn cause(&self, bpffs: &Path) -> String {
        let shown = bpffs.display();
        match bpffs::identity(bpffs) {
            None => format!("the bpf file system at {shown} was unmounted"),
            now if now != self.mount => format!("another bpf file system is at {shown} than was"),
            _ => format!("the pins in {shown}/qosbpf are gone"),
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
