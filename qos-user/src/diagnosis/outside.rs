//! What other tools do to packets on their way through this host, whichever tool says so.

use qos_common::ds::Dscp;

use super::{Command, Finding, facts::Asked, iptables, nft};
use crate::{hook::Direction, rules::model::pattern_matches};

/// Packets by codepoint and family: those that somebody asks for, or those that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packets {
    /// The codepoints, a bit each.
    pub dscps: u64,
    /// IPv4, IPv6.
    pub families: [bool; 2],
}

impl Packets {
    /// All of them.
    pub const ALL: Self = Self { dscps: u64::MAX, families: [true; 2] };

    /// Those of some codepoints.
    #[must_use]
    pub fn of(dscps: &[Dscp]) -> Self {
        Self { dscps: dscps.iter().fold(0, |bits, dscp| bits | 1 << dscp.value()), ..Self::ALL }
    }

    /// Whether some packet is one of both.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.dscps & other.dscps != 0 && self.is_of(other.families)
    }

    /// Whether a family is one of both.
    #[must_use]
    pub fn is_of(self, families: [bool; 2]) -> bool {
        self.families.iter().zip(families).any(|(ours, theirs)| *ours && theirs)
    }
}

/// IPv4 or IPv6 alone, by the words that tools have for them.
#[must_use]
pub fn family(word: &str) -> Option<[bool; 2]> {
    match word {
        "ip" | "ipv4" => Some([true, false]),
        "ip6" | "ipv6" => Some([false, true]),
        _ => None,
    }
}

/// What was asked of the packet filters, each in its own words.
#[derive(Clone, Debug)]
pub struct Outside {
    /// `nft -j -a list ruleset`, and the same as text.
    pub nft: Asked<nft::Ruleset>,
    /// `iptables-save` and its kin, by the program's name.
    pub iptables: Vec<(String, Asked<Vec<Rule>>)>,
}

impl Default for Outside {
    fn default() -> Self {
        Self { nft: Ok(nft::Ruleset::default()), iptables: Vec::new() }
    }
}

/// A rule of a packet filter that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands: `nft table inet qos chain post handle 4`.
    pub place: String,
    /// What it says.
    pub text: String,
    /// What it does.
    pub does: Does,
    /// At which point of a packet's way.
    pub stage: Stage,
    /// By which interfaces packets come in that it matches.
    pub iif: Interfaces,
    /// By which they leave.
    pub oif: Interfaces,
    /// Those that it matches; all if it does not look.
    pub packets: Packets,
    /// The command that removes it.
    pub removal: Command,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Sets the codepoint; to which, if that is fixed.
    Mark(Option<Dscp>),
    /// Changes the source address.
    SourceNat,
    /// Changes the destination address.
    DestinationNat,
}

/// Where on a packet's way a rule is asked. All of it lies between our hook at ingress and the one at egress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before it is known where the packet goes.
    Incoming,
    /// For packets to this host.
    Input,
    /// For packets through this host.
    Forward,
    /// For packets of this host.
    Output,
    /// When it is known where the packet goes.
    Outgoing,
    /// Wherever another chain calls it.
    Called,
}

impl Stage {
    /// Of a hook of netfilter by its name, in any case.
    #[must_use]
    pub fn of(hook: &str) -> Self {
        match hook.to_ascii_lowercase().as_str() {
            "prerouting" | "ingress" => Self::Incoming,
            "input" => Self::Input,
            "forward" => Self::Forward,
            "output" => Self::Output,
            "postrouting" | "egress" => Self::Outgoing,
            _ => Self::Called,
        }
    }
}

/// Which interfaces a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Names and prefixes with a star; empty: any, or a set that was not read.
    pub patterns: Vec<String>,
    /// All but these.
    pub negated: bool,
}

impl Interfaces {
    /// Whether an interface is meant.
    #[must_use]
    pub fn mean(&self, interface: &str) -> bool {
        let meant = self.patterns.iter().any(|pattern| pattern_matches(pattern, interface));
        self.patterns.is_empty() || meant != self.negated
    }
}

impl Rule {
    /// Whether it may concern packets on their way in, or out, by an interface.
    #[must_use]
    pub fn concerns(&self, interface: &str, direction: Direction) -> bool {
        match direction {
            Direction::Ingress => self.stage != Stage::Output && self.iif.mean(interface),
            Direction::Egress => self.stage != Stage::Input && self.oif.mean(interface),
        }
    }

    /// Whether it takes this codepoint away from a packet.
    #[must_use]
    pub fn takes(&self, dscp: Dscp) -> bool {
        let to = match self.does {
            Does::Mark(to) => to,
            Does::SourceNat | Does::DestinationNat => return false,
        };
        self.packets.dscps >> dscp.value() & 1 == 1 && to != Some(dscp)
    }

    /// Place and text, as people read them.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}: {}", self.place, self.text)
    }
}

impl Outside {
    /// All rules that could be read.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let nft = self.nft.iter().flat_map(|ruleset| &ruleset.rules);
        nft.chain(self.iptables.iter().filter_map(|(_, rules)| rules.as_ref().ok()).flatten())
    }

    /// The rules that set codepoints.
    pub fn markers(&self) -> impl Iterator<Item = &Rule> {
        self.rules().filter(|rule| matches!(rule.does, Does::Mark(_)))
    }

    /// The flowtables that rules put flows into.
    pub fn flowtables(&self) -> impl Iterator<Item = &nft::Flowtable> {
        self.nft.iter().flat_map(|ruleset| &ruleset.flowtables).filter(|table| !table.fed_by.is_empty())
    }

    /// What could not be asked.
    #[must_use]
    pub fn unanswered(&self) -> Vec<Finding> {
        let nft = self.nft.as_ref().err().map(|why| ("nft", why));
        let iptables = self.iptables.iter().filter_map(|(tool, rules)| Some((tool.as_str(), rules.as_ref().err()?)));
        let text = |tool: &str, why: &str| {
            format!("{tool}: {why}: whether its rules rewrite marks, translate addresses or bypass us is not known")
        };
        nft.into_iter()
            .chain(iptables)
            .map(|(tool, why)| Finding::unknown("host", "tool-unanswered", text(tool, why)))
            .collect()
    }

    /// From what the tools said.
    #[must_use]
    pub fn read(nft_json: Asked<(String, String)>, saved: Vec<(String, Asked<String>)>) -> Self {
        let nft = nft_json.and_then(|(json, text)| nft::read(&json, &text));
        let iptables = saved.into_iter().map(|(tool, text)| {
            let program = tool.trim_end_matches("-save").to_owned();
            let rules = text.map(|text| iptables::read(&program, &text));
            (program, rules)
        });
        Self { nft, iptables: iptables.collect() }
    }
}
