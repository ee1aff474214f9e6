//! A cure as it is typed in.

use super::{Command, Cure};
use crate::invocation::Invocation;

impl Cure {
    /// The tool that it needs, if that is another one than qosbpf.
    fn program(&self) -> Option<&str> {
        match self {
            Self::There(command) | Self::Host(command) => command.program(),
            Self::Look(cure) => cure.program(),
            Self::Own(_) | Self::Privileged(_) | Self::Advice(_) => None,
        }
    }
}

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
            Cure::Look(cure) => self.command(cure),
            Cure::Advice(_) => None,
        }
    }

    /// What helps on a host that may lack a tool: a command of one that is not installed is advice.
    #[must_use]
    pub fn with_tools(&self, cure: Cure, is_installed: &dyn Fn(&str) -> bool) -> Cure {
        let lacks = cure.program().filter(|program| !is_installed(program));
        match (lacks, self.command(&cure)) {
            (Some(program), Some(command)) => Cure::Advice(format!("{program} is not installed; with it: {command}")),
            _ => cure,
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
    fn a_command_of_a_tool_that_is_not_installed_is_advice() {
        let has_all_but_bpftool = |program: &str| program != "bpftool";
        let told = |cure: Cure| shell(Some("edge")).with_tools(cure, &has_all_but_bpftool);
        let link = || Command::new("bpftool link detach id 7");
        let advice = "bpftool is not installed; with it: ip netns exec edge bpftool link detach id 7";
        for cure in [Cure::There(link()), Cure::look(link())] {
            assert_eq!(told(cure), Cure::Advice(advice.to_owned()));
        }
        for stays in [Cure::There(Command::new("tc qdisc")), Cure::Own(Command::new("bpftool"))] {
            assert_eq!(told(stays.clone()), stays);
        }
    }

    #[test]
    fn who_is_not_root_becomes_root() {
        let doctor = Cure::Privileged(Command::new("doctor"));
        let usual = Shell { invocation: Invocation::default() };
        assert_eq!(usual.command(&doctor).unwrap(), "sudo qosbpf doctor");
    }
}
