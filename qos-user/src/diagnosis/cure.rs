//! A cure as it is typed in.

use super::{Command, Cure};
use crate::invocation::Invocation;

/// The shell that a cure is typed into: that of whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// With the network namespace as it was named on the command line.
    pub invocation: Invocation,
}

impl Shell {
    /// The command that helps; `None` if no command does.
    #[must_use]
    pub fn command(&self, cure: &Cure) -> Option<String> {
        match cure {
            Cure::There(command) => Some(self.there(command.clone()).to_string()),
            Cure::Host(command) => Some(command.to_string()),
            Cure::Own(arguments) => Some(self.own(arguments)),
            Cure::Privileged(arguments) => Some(format!("sudo {}", self.own(arguments))),
            Cure::Advice(_) => None,
        }
    }

    /// A text with each of our commands in it as it is typed in.
    #[must_use]
    pub fn told(&self, text: &str) -> String {
        self.invocation.completed(text)
    }

    /// Each part of it is run in the namespace.
    fn there(&self, command: Command) -> Command {
        command.behind(&self.invocation.lead())
    }

    fn own(&self, arguments: &Command) -> String {
        self.invocation.command(&arguments.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(netns: Option<&str>) -> Shell {
        let bpffs = Some("/tmp/b pf".to_owned());
        Shell { invocation: Invocation { netns: netns.map(str::to_owned), bpffs, etc: None } }
    }

    #[test]
    fn a_cure_is_typed_in_where_the_question_was() {
        let there = Cure::There(Command::new("nft delete rule a").then(Command::new("nft delete rule b")));
        let typed = |netns| shell(netns).command(&there).unwrap();
        assert_eq!(typed(None), "nft delete rule a && nft delete rule b");
        assert_eq!(typed(Some("edge")), "ip netns exec edge nft delete rule a && ip netns exec edge nft delete rule b");
        assert!(typed(Some("/proc/7/ns/net")).starts_with("nsenter --net=/proc/7/ns/net nft delete rule a && nsenter"));
        let own = Cure::Own(Command::new("attach").operand("x;reboot"));
        assert_eq!(
            shell(Some("edge")).command(&own).unwrap(),
            "qosbpf --netns edge --bpffs '/tmp/b pf' attach 'x;reboot'"
        );
        assert_eq!(shell(None).command(&Cure::Advice("think".to_owned())), None);
    }

    #[test]
    fn who_is_not_root_becomes_root() {
        let doctor = Cure::Privileged(Command::new("doctor"));
        let usual = Shell { invocation: Invocation::default() };
        assert_eq!(usual.command(&doctor).unwrap(), "sudo qosbpf doctor");
    }
}
