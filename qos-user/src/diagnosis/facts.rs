//! What `kernel/` reads for a diagnosis.

use std::{collections::BTreeMap, fmt};

use qos_common::policy::Local;

use super::Command;
use crate::{
    hook::{Direction, Via},
    netdev::{Netdev, Twice},
    rules::model::Rule,
};

/// What was asked, or why there is no answer.
pub type Asked<T> = Result<T, String>;

/// This host.
#[derive(Clone, Debug)]
pub struct Host {
    /// The kernel's release, such as `6.12.107`.
    pub release: String,
    /// The machine, as uname(1) calls it.
    pub machine: String,
    /// What this kernel lacks.
    pub lacks: Vec<Lack>,
    /// Whether programs are translated to machine code.
    pub jit: Asked<bool>,
    /// Whether there is a setting for that, as far as this network namespace shows.
    pub jit_setting: bool,
    /// Whether the kernel is one for real-time work (`PREEMPT_RT`).
    pub realtime: bool,
    /// Whether the kernel has type information of its own.
    pub btf: bool,
    /// The mode of lockdown, such as `none`.
    pub lockdown: Option<String>,
    /// Capabilities that this process lacks, with what they are for.
    pub missing: Vec<(&'static str, &'static str)>,
    /// Whether this process is root.
    pub root: bool,
    /// Whether a capability that is missing is out of the bounding set too.
    pub bounded: bool,
    /// The bpf file system.
    pub bpffs: Bpffs,
    /// Folders of pins whose network namespace nothing on this host has.
    pub ghosts: Vec<String>,
    /// Interfaces of this network namespace whose names are not UTF-8, as a shell takes them.
    pub odd_names: Vec<String>,
}

/// A feature that a kernel lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The feature.
    pub feature: &'static str,
    /// Since when Linux has it.
    pub since: (u32, u32),
    /// What happens without it.
    pub without: &'static str,
}

/// The bpf file system.
#[derive(Clone, Debug)]
pub struct Bpffs {
    /// Where it is, or should be.
    pub path: String,
    /// What is there.
    pub state: BpffsState,
}

/// What is at the place of the bpf file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BpffsState {
    /// It, to read and write.
    Mounted,
    /// It, to read alone.
    ReadOnly,
    /// A folder, or nothing.
    Absent {
        /// Whether there is a folder to mount it at.
        folder: bool,
        /// The bpf file system that a folder would be in, if that is not mounted either.
        base: Option<String>,
    },
    /// It is hidden from this process, which has a mount namespace of its own.
    Hidden,
    /// It, mounted over another one.
    Covering,
    /// It, below something else that is mounted over it.
    Buried,
    /// It, and in it something of qosbpf's name that is not qosbpf's; what is wrong, and its path.
    Foreign(String, String),
    /// It, and in it a folder of qosbpf's that is root's, with all that is in it, and that others may write to; the same.
    Open(String, String),
}

/// Everything that was read of a network namespace.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// Its interfaces.
    pub ports: Vec<Port>,
    /// Its routing rules.
    pub rules: Vec<RoutingRule>,
    /// Its routes by interface.
    pub routes: Vec<Route>,
    /// The pairs of interfaces at which our hooks count the same packet, and which ways.
    pub twice: BTreeMap<Twice, Vec<Direction>>,
    /// The interfaces over which this host has PPPoE sessions.
    pub pppoe: Vec<u32>,
    /// Whether this kernel has TCX.
    pub tcx: bool,
    /// Whether it is not known which hooks are ours, since the pins cannot be read.
    pub pins_unread: bool,
    /// Whether forwarding gives IPv4 packets a priority by their TOS.
    pub updates_priority: bool,
    /// Where it has pins that are not looked at.
    pub elsewhere: Elsewhere,
}

/// A hook of another network namespace, by pins in the bpf file system that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The number of the program that runs there.
    pub program: u32,
    /// The hook, as that namespace calls it without the device.
    pub hook: String,
    /// What `--netns` takes for it, if that is known.
    pub netns: Option<String>,
}

/// Where there are pins beside those of this network namespace in the bpf file system that is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The path of the bpf file system, if something is mounted over it.
    pub buried: Option<String>,
    /// Hooks of other network namespaces.
    pub neighbours: Vec<Neighbour>,
    /// Other bpf file systems within reach that have some.
    pub bpffs: Vec<String>,
    /// Whether a service has some, wherever that is.
    pub served: bool,
}

impl Elsewhere {
    /// What is to be said of where the pins of a program are, and what to do; nothing if there are none.
    #[must_use]
    pub fn said(&self, program: u32) -> Option<(&'static str, String)> {
        if let Some(path) = &self.buried {
            let what = "what is mounted over the bpf file system hides the pins";
            return Some((what, format!("take it away: {}", Command::new("umount").word(path))));
        }
        if let Some(neighbour) = self.neighbours.iter().find(|it| it.program == program) {
            return Some(("its pins are of the network namespace that its device came from", neighbour.advice()));
        }
        let named = self.bpffs.iter().map(|path| Command::new("--bpffs").word(path).to_string());
        let named: Vec<String> = named.collect();
        match (named.is_empty(), self.served) {
            (false, _) => {
                let what = "this network namespace has pins in another bpf file system";
                Some((what, format!("name that: {}", named.join(" or "))))
            }
            (true, true) => {
                let what = "qosbpf run serves this network namespace by pins in another bpf file system";
                Some((what, "name that by --bpffs, as qosbpf run was told it".to_owned()))
            }
            (true, false) => None,
        }
    }
}

impl Neighbour {
    /// How it is ended where its pins are.
    fn advice(&self) -> String {
        let qosbpf = Command::new("qosbpf");
        let there = self.netns.as_ref().map_or(qosbpf.clone(), |name| qosbpf.words("--netns").word(name));
        let ends = there.words("detach").operand(&self.hook);
        let place = if self.netns.is_some() { "" } else { ", in that network namespace" };
        format!("it goes on until the device is back; to end it{place}, with the --bpffs of this command: {ends}")
    }
}

impl Ground {
    /// The interface of a name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.device.name == name)
    }

    /// The names of bridges and of their ports.
    #[must_use]
    pub fn bridges(&self) -> Vec<String> {
        let is_bridge = |port: &Port| port.device.kind.as_deref() == Some("bridge");
        let has_port = |ifindex| self.ports.iter().any(|port| port.device.ifindex == ifindex && is_bridge(port));
        let among = self.ports.iter().filter(|port| is_bridge(port) || port.device.master.is_some_and(has_port));
        among.map(|port| port.device.name.clone()).collect()
    }

    /// Whether a policy is in force at any hook.
    #[must_use]
    pub fn enforces(&self) -> bool {
        self.ports.iter().flat_map(|port| &port.hooks).any(|hook| hook.enforces)
    }
}

/// An interface.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// The device.
    pub device: Netdev,
    /// Why qosbpf cannot read its packets, if it cannot.
    pub unreadable: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// What its driver can do for XDP.
    pub xdp: Option<XdpFeatures>,
    /// Its offloads, as far as the driver tells of them.
    pub offloads: Offloads,
    /// The programs at its hooks that are not ours.
    pub foreign: Vec<Program>,
    /// Programs of ours at its hooks whose pins were not found: somewhere else, or not to be read.
    pub strays: Vec<Program>,
    /// The setting by which this host does not forward what comes in by it, if there is one: IPv4, IPv6.
    pub forwards_not: [Option<String>; 2],
    /// Why programs could not be asked for.
    pub programs_unknown: Option<String>,
    /// Our hooks.
    pub hooks: Vec<OwnHook>,
    /// Its qdiscs and filters.
    pub tc: super::tc::Traffic,
}

impl Port {
    /// Our hook in a direction.
    #[must_use]
    pub fn hook(&self, direction: Direction) -> Option<&OwnHook> {
        self.hooks.iter().find(|hook| hook.direction == direction)
    }
}

/// What a driver can do for XDP (`NETDEV_XDP_ACT_*`, Linux 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpFeatures {
    /// Native XDP with its verdicts.
    pub native: bool,
    /// Packets in several pieces.
    pub frags: bool,
}

/// A feature of a device that may be switched on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Whether it is on.
    pub on: bool,
    /// Whether it stays as it is, whatever anybody asks for: what `ethtool -k` shows as `[fixed]`.
    pub fixed: bool,
}

/// Offloads that matter here; `None`: this kernel does not know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// The VLAN tag is taken off before XDP.
    pub rx_vlan: Option<Feature>,
    /// Received packets are merged in software (LRO).
    pub lro: Option<Feature>,
    /// Received packets are merged in hardware.
    pub gro_hw: Option<Feature>,
    /// Checksums of what is received are looked at by the device; a virtual one may leave them out.
    pub rx_sums: Option<Feature>,
}

/// A program at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its id.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Where it is.
    pub at: ProgramAt,
    /// Before ours, behind it, or `None` if ours is not there.
    pub before_us: Option<bool>,
    /// Whether it is attached by a link.
    pub link: Linked,
}

/// Whether a program is attached by a link, without which nothing else takes it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It is not.
    No,
    /// By the one of this id.
    By(u32),
    /// It may be: several could be it, or this process may not ask.
    Unknown,
}

/// The place of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramAt {
    /// The XDP slot.
    Xdp(XdpAt),
    /// The list of TCX.
    Tcx(Direction),
    /// A filter of the clsact qdisc, with its priority.
    Clsact(Direction, u16),
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpAt {
    /// In the device.
    Offloaded,
    /// In the driver.
    Native,
    /// Behind it.
    Generic,
}

impl XdpAt {
    /// As people call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offloaded => "offloaded",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    /// As ip(8) calls it.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Offloaded => "xdpoffload",
            Self::Native => "xdpdrv",
            Self::Generic => "xdpgeneric",
        }
    }
}

impl ProgramAt {
    /// Which packets it sees.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Xdp(_) => Direction::Ingress,
            Self::Tcx(direction) | Self::Clsact(direction, _) => direction,
        }
    }
}

impl fmt::Display for ProgramAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp(at) => write!(f, "XDP, {}", at.word()),
            Self::Tcx(direction) => write!(f, "tcx {direction}"),
            Self::Clsact(direction, priority) => write!(f, "clsact {direction}, pref {priority}"),
        }
    }
}

/// A hook of ours.
#[derive(Clone, Debug)]
pub struct OwnHook {
    /// Which way.
    pub direction: Direction,
    /// By which mechanism.
    pub via: Via,
    /// Whether its XDP program takes packets in several pieces.
    pub frags: bool,
    /// Whether its program is interpreted, though the kernel translates what is loaded now.
    pub interpreted: bool,
    /// The version whose program runs.
    pub version: String,
    /// Whether a policy changes packets here now.
    pub enforces: bool,
    /// Whether a policy binds it, be it out of the path.
    pub bound: bool,
    /// Whether its policy is out of the path.
    pub bypassed: bool,
    /// Which of this host's own packets a policy spares here, if one binds it.
    pub spared: Option<Spared>,
    /// The rules that are asked here.
    pub rules: Vec<Rule>,
    /// Whether the hook looks behind PPPoE headers.
    pub inside_pppoe: bool,
}

/// Which of this host's own packets a policy spares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spared {
    /// Those.
    pub by: Local,
    /// As the policy says it.
    pub word: &'static str,
}

/// A rule that chooses a routing table by the DS field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingRule {
    /// 4 or 6.
    pub family: u8,
    /// Its priority.
    pub priority: u32,
    /// The DS byte that it matches.
    pub tos: u8,
    /// Whether it was made to match the codepoint, not the old field.
    pub by_dscp: bool,
    /// The table.
    pub table: u32,
}

impl RoutingRule {
    /// What it matches, as `ip rule` takes it.
    #[must_use]
    pub fn condition(&self) -> String {
        if self.by_dscp { format!("dscp {}", self.tos >> 2) } else { format!("tos {:#04x}", self.tos) }
    }
}

/// A route that leaves by an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface.
    pub ifindex: u32,
    /// Where to: `default`, a prefix.
    pub to: String,
    /// The routing table.
    pub table: u32,
}
