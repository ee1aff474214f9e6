//! Pins of network namespaces that are gone: nobody can enter them to detach.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    bpffs, files, living,
    lock::Lock,
    mechanism, netns,
    network::Network,
    pins::{Change, HookPins, Pin, Store, names_in},
};
use crate::hook::Via;

impl Store {
    /// Removes the pins of network namespaces that are gone, as far as that is certain.
    pub(super) fn collect_ghosts(&self) {
        for other in self.others() {
            if let Err(error) = other.bury() {
                tracing::debug!(pins = %other.namespace.display(), "not known to be gone: {error:#}");
            }
        }
        if let Err(error) = self.disinherit() {
            tracing::debug!("whether the policy is this network namespace's own: {error:#}");
        }
    }

    /// The pins of all other network namespaces.
    pub(super) fn others(&self) -> Vec<Self> {
        let names = names_in(&self.layout).unwrap_or_default().into_iter().filter(|name| name.starts_with("netns-"));
        let others = names.map(|name| Self { namespace: self.layout.join(name), ..self.clone() });
        others.filter(|other| other.namespace != self.namespace).collect()
    }

    /// A namespace with a policy, a change under way, or a hook that could still have a device is let alone, and so is one that
    /// is there, or may be: what its devices have counted is its own to remove.
    fn bury(&self) -> anyhow::Result<()> {
        bpffs::check_folder(&self.namespace)?;
        let Some(lock) = Lock::attempt(&self.lock())? else { return Ok(()) };
        let hooks = self.hooks()?;
        for hook in &hooks {
            if hook.trusted(Pin::Link)?.is_none() || !mechanism::has_no_device(hook)? {
                return Ok(());
            }
        }
        if hooks.is_empty() || !files::is_absent(&self.policy()) || !self.is_gone(living::living().as_ref()) {
            return Ok(());
        }
        tracing::info!(pins = %self.namespace.display(), "this network namespace is gone: pins removed");
        hooks.iter().try_for_each(HookPins::remove_all)?;
        drop(Change { store: self.clone(), lock });
        Ok(())
    }

    /// Where a namespace may get the number of one that is gone, the policy of that one is not this one's: a policy that is
    /// older than the namespace, and of which no hook has a device, goes with its hooks.
    fn disinherit(&self) -> anyhow::Result<()> {
        if netns::has_cookies() || files::is_absent(&self.policy()) {
            return Ok(());
        }
        let made = fs::metadata(self.policy())?;
        if netns::is_older_than((made.mtime(), made.mtime_nsec()))? {
            return Ok(());
        }
        let (hooks, net) = (self.hooks()?, Network::open()?);
        for hook in &hooks {
            if !is_dead(hook, &net)? {
                return Ok(());
            }
        }
        tracing::warn!(
            "the policy in force is that of a network namespace that is gone, of which this one has the number: it and \
             its hooks are forgotten; if it is meant here, apply it"
        );
        hooks.iter().try_for_each(HookPins::remove_all)?;
        self.leave()
    }

    /// Whether it is sure that no link of its hooks has a device, and nobody is changing anything.
    fn may_be_gone(&self) -> anyhow::Result<bool> {
        bpffs::check_folder(&self.namespace)?;
        let is_dead = |hook: &HookPins| mechanism::has_no_device(hook).unwrap_or(false);
        Ok(!self.is_busy()? && self.hooks()?.iter().all(is_dead))
    }

    /// Whether it is none of those; not if they are not known.
    fn is_gone(&self, living: Option<&BTreeSet<u64>>) -> bool {
        living.zip(self.number()).is_some_and(|(living, number)| !living.contains(&number))
    }

    fn number(&self) -> Option<u64> {
        self.namespace.file_name()?.to_str()?.strip_prefix("netns-")?.parse().ok()
    }
}

/// Nothing of ours is at a device of this namespace by these pins.
fn is_dead(hook: &HookPins, net: &Network) -> anyhow::Result<bool> {
    if hook.trusted(Pin::Link)?.is_some() {
        return mechanism::has_no_device(hook);
    }
    Ok(mechanism::running(Via::Clsact, hook, net)?.is_none())
}

/// The folders of pins whose network namespace no process, name or mount of this host has; none if that cannot be said.
#[must_use]
pub fn gone(bpffs: &Path) -> Vec<PathBuf> {
    let Ok(store) = Store::at(bpffs) else { return Vec::new() };
    let others = store.others().into_iter().filter(|other| other.may_be_gone().unwrap_or(false));
    let others: Vec<_> = others.collect();
    if others.is_empty() {
        return Vec::new();
    }
    let living = living::living();
    others.into_iter().filter(|other| other.is_gone(living.as_ref())).map(|other| other.namespace).collect()
}
