//! A cure as it is typed in.

use super::Cure;
use crate::invocation::{Invocation, quoted};

/// The shell that a cure is typed into: that of whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// With the network namespace as it was named on the command line.
    pub invocation: Invocation,
    /// Whether it is root's.
    pub root: bool,
}

impl Shell {
    /// The command that helps; `None` if no command does.
    #[must_use]
    pub fn command(&self, cure: &Cure) -> Option<String> {
        match cure {
            Cure::There(command) => Some(self.there(command)),
            Cure::Host(command) => Some(command.clone()),
            Cure::Own(arguments) => Some(self.invocation.command(arguments)),
            Cure::Privileged(arguments) => Some(self.privileged(arguments)),
            Cure::Advice(_) => None,
        }
    }

    /// Each part of it is run in the namespace.
    fn there(&self, command: &str) -> String {
        let Some(netns) = &self.invocation.netns else { return command.to_owned() };
        let enter = match netns.contains('/') {
            true => format!("nsenter --net={}", quoted(netns)),
            false => format!("ip netns exec {}", quoted(netns)),
        };
        command.split(" && ").map(|part| format!("{enter} {part}")).collect::<Vec<_>>().join(" && ")
    }

    /// Root that lacks a capability was started so: it has to be another shell, and the command asks for what it takes.
    fn privileged(&self, arguments: &str) -> String {
        let own = self.invocation.command(arguments);
        if !self.root {
            return format!("sudo {own}");
        }
        // Entering a network namespace takes one more.
        let enter = if self.invocation.netns.is_some() { ",+sys_admin" } else { "" };
        format!("setpriv --bounding-set=-all,+net_admin,+perfmon,+bpf{enter} {own}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(netns: Option<&str>, root: bool) -> Shell {
        let bpffs = Some("/tmp/b pf".to_owned());
        Shell { invocation: Invocation { netns: netns.map(str::to_owned), bpffs, etc: None }, root }
    }

    #[test]
    fn a_cure_is_typed_in_where_the_question_was() {
        let there = Cure::There("nft delete rule a && nft delete rule b".to_owned());
        let typed = |netns| shell(netns, true).command(&there).unwrap();
        assert_eq!(typed(None), "nft delete rule a && nft delete rule b");
        assert_eq!(typed(Some("edge")), "ip netns exec edge nft delete rule a && ip netns exec edge nft delete rule b");
        assert!(typed(Some("/proc/7/ns/net")).starts_with("nsenter --net=/proc/7/ns/net nft delete rule a && nsenter"));
        let own = Cure::Own("attach wan0".to_owned());
        assert_eq!(
            shell(Some("edge"), true).command(&own).unwrap(),
            "qosbpf --netns edge --bpffs '/tmp/b pf' attach wan0"
        );
        assert_eq!(shell(None, true).command(&Cure::Advice("think".to_owned())), None);
    }

    #[test]
    fn who_is_not_root_becomes_root_and_who_was_limited_says_what_it_takes() {
        let doctor = Cure::Privileged("doctor".to_owned());
        let usual = |root| Shell { invocation: Invocation::default(), root };
        assert_eq!(usual(false).command(&doctor).unwrap(), "sudo qosbpf doctor");
        assert_eq!(
            usual(true).command(&doctor).unwrap(),
            "setpriv --bounding-set=-all,+net_admin,+perfmon,+bpf qosbpf doctor"
        );
    }
}
