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

    /// Those that are of both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        let [ours, theirs] = [self.families, other.families];
        Self { dscps: self.dscps & other.dscps, families: [ours[0] && theirs[0], ours[1] && theirs[1]] }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn are_none(self) -> bool {
        self.dscps == 0 || matches!(self.families, [false, false])
    }

    /// Their codepoints, as people read them.
    #[must_use]
    pub fn marks(self) -> String {
        const MOST: usize = 4;
        let meant: Vec<_> = Dscp::all().filter(|dscp| self.dscps >> dscp.value() & 1 == 1).collect();
        let named = || meant.iter().map(Dscp::to_string).collect::<Vec<_>>().join(", ");
        if meant.len() > MOST { format!("{} codepoints", meant.len()) } else { named() }
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
    /// The ways by which packets come to it that it matches.
    pub ways: Vec<Way>,
    /// The command that removes it.
    pub removal: Command,
}

/// A way by which packets come to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// At which point of a packet's way it begins.
    pub stage: Stage,
    /// What it and the rules that lead to it ask of them.
    pub asks: Asks,
    /// Whether no packet takes it but on its way through a bridge.
    pub bridged: bool,
}

/// What is asked of packets: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    /// By which interfaces they come in.
    pub iif: Vec<Interfaces>,
    /// By which they leave.
    pub oif: Vec<Interfaces>,
    /// Which they are; all where nobody looks.
    pub packets: Packets,
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
    /// Lets no such packet go on: the verdict, as its tool writes it.
    Take(&'static str),
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

impl Asks {
    /// Nothing.
    pub const NOTHING: Self = Self { iif: Vec::new(), oif: Vec::new(), packets: Packets::ALL };

    /// All that both ask.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let all = |ours: &[Interfaces], theirs: &[Interfaces]| [ours, theirs].concat();
        Self {
            iif: all(&self.iif, &other.iif),
            oif: all(&self.oif, &other.oif),
            packets: self.packets.common(other.packets),
        }
    }
}

impl Way {
    /// Whether packets may take it on their way in, or out, by an interface.
    #[must_use]
    pub fn concerns(&self, interface: &str, direction: Direction) -> bool {
        let (elsewhere, asked) = match direction {
            Direction::Ingress => (Stage::Output, &self.asks.iif),
            Direction::Egress => (Stage::Input, &self.asks.oif),
        };
        self.stage != elsewhere && asked.iter().all(|interfaces| interfaces.mean(interface))
    }

    /// The same where it is known which interfaces are bridges or ports of one; `None` if it needs one, and there is none.
    fn among(mut self, bridges: &[String]) -> Option<Self> {
        if !self.bridged {
            return Some(self);
        }
        let one = Interfaces { patterns: bridges.to_vec(), negated: false };
        if !matches!(self.stage, Stage::Outgoing) {
            self.asks.iif.push(one.clone());
        }
        if !matches!(self.stage, Stage::Incoming) {
            self.asks.oif.push(one);
        }
        (!bridges.is_empty()).then_some(self)
    }

    /// Whether packets that this host makes, which came in by no interface, may take it on their way out by one.
    fn concerns_own(&self, interface: &str) -> bool {
        let leaves = matches!(self.stage, Stage::Output | Stage::Outgoing | Stage::Called);
        let came_by_none = self.asks.iif.iter().all(|interfaces| interfaces.mean(""));
        leaves && came_by_none && self.concerns(interface, Direction::Egress)
    }
}

impl Rule {
    /// The same where it is known which interfaces are bridges or ports of one; `None` if no packet comes to it.
    fn among(mut self, bridges: &[String]) -> Option<Self> {
        self.ways = self.ways.into_iter().filter_map(|way| way.among(bridges)).collect();
        (!self.ways.is_empty()).then_some(self)
    }

    /// Whether it may concern packets on their way in, or out, by an interface.
    #[must_use]
    pub fn concerns(&self, interface: &str, direction: Direction) -> bool {
        self.ways.iter().any(|way| way.concerns(interface, direction))
    }

    /// The packets that it takes, or takes the codepoint from, of those that come by a way.
    fn taken(&self, way: &Way) -> Packets {
        let packets = way.asks.packets;
        let kept = match self.does {
            Does::Mark(to) => to.map_or(0, |to| 1 << to.value()),
            Does::Take(_) => 0,
            Does::SourceNat | Does::DestinationNat => u64::MAX,
        };
        Packets { dscps: packets.dscps & !kept, ..packets }
    }

    /// Whether it takes some of these packets, or their codepoint, on their way from one of these interfaces to one of those.
    #[must_use]
    pub fn takes_between(&self, packets: Packets, from: &[&str], to: &[&str]) -> bool {
        let concerns = |way: &Way, names: &[&str], direction| names.iter().any(|name| way.concerns(name, direction));
        let lies_there = |way: &&Way| concerns(way, from, Direction::Ingress) && concerns(way, to, Direction::Egress);
        self.ways.iter().filter(lies_there).any(|way| self.taken(way).meets(packets))
    }

    /// Whether it takes some of these packets, or their codepoint, where this host makes them, on their way out by an interface.
    #[must_use]
    pub fn takes_own(&self, packets: Packets, to: &str) -> bool {
        self.ways.iter().filter(|way| way.concerns_own(to)).any(|way| self.taken(way).meets(packets))
    }

    /// Whether it sets the codepoint.
    #[must_use]
    pub const fn is_marker(&self) -> bool {
        matches!(self.does, Does::Mark(_))
    }

    /// Whether packets come to it by ways of one kind alone.
    #[must_use]
    pub fn is_only_at(&self, stage: Stage) -> bool {
        self.ways.iter().all(|way| way.stage == stage)
    }

    /// The packets that come to it, by whatever way.
    #[must_use]
    pub fn packets(&self) -> Packets {
        let of = |way: &Way| way.asks.packets;
        let none = Packets { dscps: 0, families: [false; 2] };
        self.ways.iter().map(of).fold(none, |all, these| Packets {
            dscps: all.dscps | these.dscps,
            families: [0, 1].map(|family: usize| all.families[family] || these.families[family]),
        })
    }

    /// Place, what it lets not go on, and text, as people read them.
    #[must_use]
    pub fn words(&self) -> String {
        let does = match self.does {
            Does::Take(verdict) => format!(" {}s {}", verdict.to_ascii_lowercase(), self.packets().marks()),
            _ => String::new(),
        };
        format!("{}{does}: {}", self.place, self.text)
    }
}

impl Outside {
    /// The same where it is known which interfaces are bridges or ports of one: what a rule of nft's family `bridge` sees goes
    /// by these.
    #[must_use]
    pub fn among(mut self, bridges: &[String]) -> Self {
        if let Ok(ruleset) = &mut self.nft {
            let rules = std::mem::take(&mut ruleset.rules);
            ruleset.rules = rules.into_iter().filter_map(|rule| rule.among(bridges)).collect();
        }
        self
    }

    /// All rules that could be read.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let nft = self.nft.iter().flat_map(|ruleset| &ruleset.rules);
        nft.chain(self.iptables.iter().filter_map(|(_, rules)| rules.as_ref().ok()).flatten())
    }

    /// The rules that set codepoints.
    pub fn markers(&self) -> impl Iterator<Item = &Rule> {
        self.rules().filter(|rule| rule.is_marker())
    }

    /// The rules that let packets with some codepoints not go on.
    pub fn takers(&self) -> impl Iterator<Item = &Rule> {
        self.rules().filter(|rule| matches!(rule.does, Does::Take(_)))
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
