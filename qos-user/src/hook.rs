//! The words for a hook: an interface, a direction, and the kernel mechanism by which a program is attached there.

use std::{fmt, str::FromStr};

use qos_common::inside::Inside;
use serde::{Deserialize, Serialize};

use crate::invocation::quoted;

/// The priority of our filter at clsact.
pub const CLSACT_PRIORITY: u16 = 0x5153;

/// Which way packets go at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into this host.
    Ingress,
    /// Out of this host.
    Egress,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word used in hooks, pins and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Direction {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "ingress" => Ok(Self::Ingress),
            "egress" => Ok(Self::Egress),
            _ => Err(format!("`{word}` is not a direction: ingress or egress")),
        }
    }
}

/// The kernel mechanism that runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// XDP in the driver.
    XdpNative,
    /// XDP after the driver; it copies packets, and sees super-packets as one.
    XdpGeneric,
    /// TC by a link (Linux 6.6).
    Tcx,
    /// TC by a filter of the clsact qdisc.
    Clsact,
}

impl Via {
    /// The word of `stats --json`'s field `hook`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// The word of `attach --hook`.
    #[must_use]
    pub const fn as_option(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp",
            other => other.as_str(),
        }
    }

    /// Whether the program runs at XDP.
    #[must_use]
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::XdpNative | Self::XdpGeneric)
    }

    /// Whether tcpdump on this host shows a packet as it was before this hook or after it.
    #[must_use]
    pub const fn tcpdump_sees(self, direction: Direction) -> &'static str {
        match (self, direction) {
            (Self::Tcx | Self::Clsact, Direction::Ingress) => "before",
            _ => "after",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A header behind which a hook looks for the IP header, if it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The header of a PPPoE session (RFC 2516).
    Pppoe,
    /// A stack of MPLS labels (RFC 3032).
    Mpls,
}

impl Layer {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Pppoe, Self::Mpls];

    /// The word of `--inside`, of the policy and of JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pppoe => "pppoe",
            Self::Mpls => "mpls",
        }
    }

    /// Several of them, as the data path takes them.
    #[must_use]
    pub fn together(layers: &[Self]) -> Inside {
        layers.iter().fold(Inside::NOTHING, |inside, layer| {
            inside.and(match layer {
                Self::Pppoe => Inside::PPPOE,
                Self::Mpls => Inside::MPLS,
            })
        })
    }

    /// Each once, in one order, whatever was written.
    #[must_use]
    pub fn sorted(mut layers: Vec<Self>) -> Vec<Self> {
        layers.sort_unstable();
        layers.dedup();
        layers
    }

    /// Several of them in words.
    #[must_use]
    pub fn words(layers: &[Self]) -> String {
        layers.iter().map(|layer| layer.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|layer| layer.as_str() == word);
        found.ok_or_else(|| format!("`{word}` is nothing to look inside: pppoe or mpls"))
    }
}

/// `IFACE:ingress`, `IFACE:egress`, or where both are meant `IFACE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HookName {
    /// The interface.
    pub interface: String,
    /// The direction, or both.
    pub direction: Option<Direction>,
}

impl HookName {
    /// The hooks of its interface, as a shell takes them.
    #[must_use]
    pub fn both(&self) -> String {
        Direction::BOTH.map(|direction| quoted(&format!("{}:{direction}", self.interface))).join(" or ")
    }

    /// Whether a hook is meant by this name.
    #[must_use]
    pub fn covers(&self, interface: &str, direction: Direction) -> bool {
        self.interface == interface && self.direction.is_none_or(|wanted| wanted == direction)
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.direction {
            Some(direction) => write!(f, "{}:{direction}", self.interface),
            None => f.write_str(&self.interface),
        }
    }
}

impl FromStr for HookName {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        // An interface name has no colon in Linux, so the first one ends it.
        let (interface, direction) = match word.split_once(':') {
            Some((interface, direction)) => (interface, Some(direction.parse()?)),
            None => (word, None),
        };
        if interface.is_empty() {
            return Err(format!("`{word}` names no interface"));
        }
        Ok(Self { interface: interface.to_owned(), direction })
    }
}
