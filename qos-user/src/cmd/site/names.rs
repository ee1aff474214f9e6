//! How interfaces and hooks are called, and what is said where there is none of a name.

use super::Site;
use crate::{
    command::Command,
    error::Failure,
    hook::HookName,
    kernel::{datapath::Hook, network::Interface, pins::HookPins},
};

impl Site {
    /// How a hook was called whose device is gone: another one may have its number by now, and is not meant.
    pub(super) fn former_name(&self, hook: &Hook) -> String {
        match hook.state.interface.as_str() {
            "" => self.hook_name(hook),
            interface => format!("{interface}:{}", hook.pins.direction),
        }
    }

    /// The interface of a hook; `None` once it is gone.
    #[must_use]
    pub fn interface_of(&self, hook: &Hook) -> Option<&Interface> {
        self.interface_at(&hook.pins)
    }

    /// The same by its pins.
    #[must_use]
    pub fn interface_at(&self, pins: &HookPins) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.ifindex == pins.ifindex)
    }

    /// An interface by its name; of one with a hook of ours that was renamed the new name is said.
    ///
    /// # Errors
    ///
    /// `no-such-interface`; `again` is the command about the one of the new name.
    pub fn interface(&self, name: &str, again: impl FnOnce(&str) -> Command) -> anyhow::Result<Interface> {
        let found = self.net.interface(name);
        match (found, self.new_name(name)) {
            (Err(_gone), Some(new)) => {
                let hint = format!("it is called {new} now: {}", again(new));
                Err(Failure::new("no-such-interface", format!("no interface {name} in this network namespace"))
                    .hint(hint)
                    .into())
            }
            (found, _) => found,
        }
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
        self.name_at(&hook.pins)
    }

    /// How a hook is called, such as `wan0:egress`.
    #[must_use]
    pub fn hook_name(&self, hook: &Hook) -> String {
        format!("{}:{}", self.name_of(hook), hook.pins.direction)
    }

    /// How the interface of these pins is called.
    #[must_use]
    pub fn name_at(&self, pins: &HookPins) -> String {
        self.interface_at(pins).map_or_else(|| format!("if-{}", pins.ifindex), |interface| interface.name.clone())
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
            return format!("to attach: {}", Command::new("qosbpf attach").operand(name));
        }
        if let Some(new) = self.new_name(interface) {
            return format!("{interface} is called {new} now");
        }
        let was = self.hooks.iter().find(|hook| hook.state.interface == interface && self.interface_of(hook).is_none());
        match was.map(|hook| self.name_of(hook)) {
            Some(left) => format!(
                "{interface} is gone, and what is left of it is {left}: {}",
                Command::new("qosbpf detach").operand(&left)
            ),
            None => format!("there is no interface {interface}"),
        }
    }
}
