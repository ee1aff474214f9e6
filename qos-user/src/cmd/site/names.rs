//! How interfaces and hooks are called, and what is said where there is none of a name.

use super::Site;
use crate::{
    cmd::{absent, attaching::begins_anew, policy::STDIN, unpinned},
    command::Command,
    error::Failure,
    hook::{Direction, HookName},
    kernel::{
        datapath::{Hook, Observed},
        network::Interface,
        pins::{HookPins, Place},
    },
};

impl Site {
    /// How a hook was called whose device is gone: another one may have its number by now, and is not meant.
    #[must_use]
    pub fn former_name(&self, hook: &Hook) -> String {
        match hook.state.interface.as_str() {
            "" => self.hook_name(hook),
            interface => format!("{interface}:{}", hook.pins.direction),
        }
    }

    /// The interface of a hook; `None` once it is gone, be it that another one has its number by now.
    #[must_use]
    pub fn interface_of(&self, hook: &Hook) -> Option<&Interface> {
        let is_another = |now: &&Interface| hook.running == Observed::Gone && begins_anew(hook, now).is_some();
        self.interface_at(&hook.pins).filter(|now| !is_another(now))
    }

    /// The same by its pins.
    #[must_use]
    pub fn interface_at(&self, pins: &HookPins) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.ifindex == pins.ifindex)
    }

    /// An interface by its name; of one with a hook of ours that was renamed or is gone that is said.
    ///
    /// # Errors
    ///
    /// `no-such-interface`; `again` is the command about the one of the new name.
    pub fn interface(&self, name: &str, again: impl FnOnce(&str) -> Command) -> anyhow::Result<Interface> {
        let found = self.net.interface(name);
        let renamed = || self.new_name(name).map(|new| format!("it is called {new} now: {}", again(new)));
        let Some(hint) = found.is_err().then(|| renamed().or_else(|| self.left_of(name, None))).flatten() else {
            return found;
        };
        let message = format!("no interface {name} in this network namespace");
        Err(Failure::new("no-such-interface", message).hint(hint).into())
    }

    /// What became of an interface that the policy in force binds by a name that none has, and what helps, if that is known.
    #[must_use]
    pub fn whereabouts(&self, name: &str, direction: Direction) -> Option<String> {
        let renamed = self.renamed(name).map(|(text, cure)| format!("{text}; {cure}"));
        renamed.or_else(|| self.left_of(name, Some(direction))).or_else(|| self.left_of(name, None))
    }

    /// That an interface of which the policy in force speaks has another name by now, and what helps, if that is so.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Option<(String, String)> {
        let new = self.new_name(name)?;
        let back = Command::new("ip link set dev").word(new).words("name").word(name);
        let file = self.written_in();
        let cure = format!("{back} (before Linux 6.2 while it is down); or name {new} in {file} and apply that");
        Some((format!("{name} is called {new} now"), cure))
    }

    /// Where the policy in force is written, for whoever is to change it: what came from stdin is in no file.
    #[must_use]
    pub fn written_in(&self) -> &str {
        let file = self.policy.as_ref().map(|in_force| in_force.record.file.as_str());
        file.filter(|file| *file != STDIN).unwrap_or("the policy")
    }

    /// How an interface is called by now that had another name when we attached to it.
    fn new_name(&self, name: &str) -> Option<&str> {
        let had_it = |hook: &&Hook| hook.state.interface == name;
        let now = self.hooks.iter().filter(had_it).find_map(|hook| self.interface_of(hook))?;
        (now.name != name).then_some(now.name.as_str())
    }

    /// How the interface of a hook is called.
    #[must_use]
    pub fn name_of(&self, hook: &Hook) -> String {
        self.interface_of(hook).map_or_else(|| numbered(&hook.pins), |interface| interface.name.clone())
    }

    /// How a hook is called, such as `wan0:egress`.
    #[must_use]
    pub fn hook_name(&self, hook: &Hook) -> String {
        format!("{}:{}", self.name_of(hook), hook.pins.direction)
    }

    /// How the interface of these pins is called.
    #[must_use]
    pub fn name_at(&self, pins: &HookPins) -> String {
        self.interface_at(pins).map_or_else(|| numbered(pins), |interface| interface.name.clone())
    }

    /// How a hook is called of which no more is known than where it is.
    #[must_use]
    pub fn name_there(&self, (ifindex, direction): Place) -> String {
        format!("{}:{direction}", self.name_at(&self.store.hook(ifindex, direction)))
    }

    pub(super) fn not_attached(&self, name: &HookName) -> anyhow::Error {
        let there: Vec<_> = self.hooks.iter().map(|hook| self.hook_name(hook)).collect();
        let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
        Failure::new("not-attached", format!("qosbpf is not attached at {name}"))
            .hint(format!("attached: {there}; {}", self.instead(name)))
            .into()
    }

    /// What to do where nothing is attached by the name of a hook, of which the interface may be gone.
    fn instead(&self, name: &HookName) -> String {
        let interface = name.interface.as_str();
        if self.interfaces.iter().any(|there| there.name == interface) {
            let attach = || format!("to attach: {}", Command::new("qosbpf attach").operand(name));
            return unpinned::at_work(self, name).map_or_else(attach, |said| format!("at {name} {said}"));
        }
        if let Some(new) = self.new_name(interface) {
            return format!("{interface} is called {new} now");
        }
        self.left_of(interface, None).unwrap_or_else(|| format!("there is no interface {interface}"))
    }

    /// What is left of an interface that is gone, or in another network namespace, or of one direction of it, in words, if
    /// anything is.
    fn left_of(&self, interface: &str, direction: Option<Direction>) -> Option<String> {
        let is_meant = |hook: &&Hook| direction.is_none_or(|direction| direction == hook.pins.direction);
        let had_it =
            |hook: &&Hook| hook.state.interface == interface && is_meant(hook) && self.interface_of(hook).is_none();
        let hook = self.hooks.iter().find(had_it)?;
        if absent::runs_elsewhere(hook) {
            return Some(format!("{}: {}", self.hook_name(hook), absent::why(self, hook)));
        }
        let left = self.name_of(hook);
        let detach = Command::new("qosbpf detach").operand(&left);
        Some(format!("{interface} is gone, and what is left of it is {left}: {detach}"))
    }
}

/// How an interface is called that is not here.
fn numbered(pins: &HookPins) -> String {
    format!("if-{}", pins.ifindex)
}
