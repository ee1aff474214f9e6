//! The SSH session that gives the command, seen through a policy: whoever types it should know what becomes of it.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use qos_common::ds::{DsField, Dscp, Ecn};
use serde_json::{Value, json};

use crate::{
    cli::ApplyOptions,
    cmd::{
        Context, conditioner,
        site::Site,
        ssh,
        twin::{By, Double},
    },
    error::{Exit, Failure},
    explain::{Decider, Decision, Leaves},
    hook::Direction,
    kernel::{
        datapath::{Hook, Observed},
        privilege, socket,
        state::Binding,
    },
    netdev,
    policy::{
        Policy,
        model::{Fragment, Origin, Rule, Verdict},
        packet::Packet,
    },
};

/// The protocol of SSH, the bytes of a segment without data by family, and those of one that is full on most links.
const TCP: u8 = 6;
const LENGTHS: (u16, u16) = (40, 60);
const FULL: u16 = 1500;

/// The session, and what becomes of it.
pub struct Session {
    /// Client and server, if they are known.
    ends: Option<(SocketAddr, SocketAddr)>,
    /// The interface by which its packets leave, if there is a route.
    interface: String,
    fate: Fate,
    /// The rules that meter it and drop what comes too fast.
    policers: BTreeSet<String>,
    /// The mark with which what comes was tried, where a rule may drop what comes with another one.
    assumed: Option<Dscp>,
}

/// What becomes of its packets there.
enum Fate {
    /// They leave unchanged: no policy is there, or none of our programs.
    Unchanged,
    /// They leave with this mark in place of that one.
    Marked(Dscp, Dscp),
    /// This is there, and the kernel does not tell the session's mark, or this process may not try.
    Unknown(String),
    /// They come no further than this hook.
    Dropped(String, String),
    /// Nobody has looked, and this is why.
    Unchecked(String),
}

impl Session {
    /// The session, if there is one and `how` has to do with it: packets each way are tried in twins of the programs that the
    /// policy would have at the interface that leads to its client, and at those that have the same packets.
    ///
    /// # Errors
    ///
    /// `load`, `rules`, `test-run`.
    pub fn find(site: &Site, policy: &Policy, how: &ApplyOptions) -> anyhow::Result<Option<Self>> {
        let (client, server) = match ssh::session() {
            ssh::Session::None => return Ok(None),
            ssh::Session::Unknown(why) => return Ok(Some(Self::unchecked(None, why))),
            ssh::Session::Between(client, server) => (client, server),
        };
        let Some(ifindex) = site.net.leaves_by(server.ip(), client.ip()) else {
            return Ok(Some(Self::unchecked(Some((client, server)), "no route leads to it from here".to_owned())));
        };
        let Some(interface) = site.interfaces.iter().find(|interface| interface.ifindex == ifindex) else {
            let why = format!("it leaves by interface {ifindex}, of which the kernel does not tell here");
            return Ok(Some(Self::unchecked(Some((client, server)), why)));
        };
        let (ends, interface) = (Some((client, server)), interface.name.clone());
        let mut tried = Tried { site, policy, how, policers: BTreeSet::new(), assumed: None };
        let fate = tried.fate(&interface, server, client)?;
        let Tried { policers, assumed, .. } = tried;
        let mut session = Self { ends, fate, interface, policers, assumed };
        if how.only.as_ref().is_some_and(|only| *only != session.interface) && !session.is_dropped() {
            return Ok(None);
        }
        if session.is_dropped() {
            session.policers.clear();
            session.assumed = None;
        }
        Ok(Some(session))
    }

    fn unchecked(ends: Option<(SocketAddr, SocketAddr)>, why: String) -> Self {
        Self { ends, interface: String::new(), fate: Fate::Unchecked(why), policers: BTreeSet::new(), assumed: None }
    }

    const fn is_dropped(&self) -> bool {
        matches!(self.fate, Fate::Dropped(..))
    }

    /// Refuses a policy that drops it; `--force` only says so.
    ///
    /// # Errors
    ///
    /// `session-dropped`.
    pub fn refuse_drop(&self, force: bool, context: &Context) -> anyhow::Result<()> {
        if let Fate::Unchecked(_) = self.fate {
            context.warn(&format!("! {self}\n"));
        }
        if !self.is_dropped() {
            return Ok(());
        }
        if force {
            context.warn(&format!("! {self}: applied all the same (--force)\n"));
            return Ok(());
        }
        Err(Failure::new("session-dropped", self.to_string())
            .exit(Exit::No)
            .hint("nothing is changed; policy apply --force does it anyway, and with --confirm 60s what runs now comes back")
            .into())
    }

    /// Whether anybody has looked.
    pub const fn is_checked(&self) -> bool {
        !matches!(self.fate, Fate::Unchecked(_))
    }

    /// For machines.
    pub fn document(&self) -> Value {
        let (before, after) = match self.fate {
            Fate::Marked(before, after) => (Some(before.value()), Some(after.value())),
            _ => (None, None),
        };
        let dropped = match &self.fate {
            Fate::Dropped(hook, by) => Some(json!({ "hook": hook, "by": by })),
            _ => None,
        };
        let unchecked = if let Fate::Unchecked(why) = &self.fate { Some(why) } else { None };
        json!({
            "client": self.ends.map(|(client, _)| client.to_string()),
            "server": self.ends.map(|(_, server)| server.to_string()),
            "hook": unchecked.is_none().then(|| format!("{}:egress", self.interface)),
            "before": before,
            "after": after,
            "dropped": dropped,
            "policed_by": self.policers,
            "assumed": self.assumed.map(Dscp::value),
            "unchecked": unchecked,
        })
    }
}

/// Where its packets are tried.
struct Tried<'a> {
    site: &'a Site,
    policy: &'a Policy,
    how: &'a ApplyOptions,
    policers: BTreeSet<String>,
    assumed: Option<Dscp>,
}

impl Tried<'_> {
    fn fate(&mut self, interface: &str, near: SocketAddr, far: SocketAddr) -> anyhow::Result<Fate> {
        let known = socket::ds_byte(near, far).map(|byte| DsField::new(byte).dscp());
        // Where the mark is not known, what drops the plainest packet is found all the same.
        let mark = known.unwrap_or(Dscp::DF);
        let mut leaving = Found::Nothing;
        for name in self.same_packets(interface)? {
            let lengths = [if near.is_ipv4() { LENGTHS.0 } else { LENGTHS.1 }, FULL];
            // What comes has a mark that nobody here knows; most clients use the same as their servers.
            let leaves = lengths.map(|length| segment(near, far, mark, Some(Origin::Local), length));
            let comes = lengths.map(|length| segment(far, near, mark, None, length));
            for (direction, packets) in [(Direction::Egress, leaves), (Direction::Ingress, comes)] {
                let found = self.of(&name, direction, &packets)?;
                if let Found::Decided(decision) = &found
                    && decision.leaves == Leaves::Dropped
                {
                    return Ok(Fate::Dropped(
                        format!("{name}:{direction}"),
                        decision.by.words(self.policy.text_name()),
                    ));
                }
                if name == interface && direction == Direction::Egress {
                    leaving = found;
                }
            }
        }
        Ok(match (leaving, known) {
            (Found::Nothing, _) => Fate::Unchanged,
            (Found::Decided(Decision { leaves: Leaves::As(after), .. }), Some(before)) => Fate::Marked(before, after),
            (Found::Decided(Decision { by: Decider::Rule(rule), .. }), None) => {
                Fate::Unknown(rule.words(self.policy.text_name()))
            }
            (Found::Decided(_) | Found::Untried, _) => Fate::Unknown(self.words(interface)),
        })
    }

    /// An interface and those that stand on it or below it, as a bridge and its ports.
    fn same_packets(&self, interface: &str) -> anyhow::Result<Vec<String>> {
        let devices = self.site.net.devices()?;
        let all = devices.iter().map(|device| device.ifindex).collect();
        let name =
            |ifindex: u32| devices.iter().find(|device| device.ifindex == ifindex).map(|device| device.name.clone());
        let mut names = vec![interface.to_owned()];
        for pair in netdev::twice(&devices, &all, &[]) {
            let (upper, lower) = (name(pair.upper), name(pair.lower));
            if upper.as_deref() == Some(interface) {
                names.extend(lower);
            } else if lower.as_deref() == Some(interface) {
                names.extend(upper);
            }
        }
        Ok(names)
    }

    /// What a hook does with packets, the first that it drops before all others; only where a program of ours is, or is
    /// about to be.
    fn of(&mut self, interface: &str, direction: Direction, packets: &[Packet]) -> anyhow::Result<Found> {
        let there = |hook: &&Hook| self.site.name_of(hook) == interface && hook.pins.direction == direction;
        let hook = self.site.hooks.iter().find(there).filter(|hook| hook.running != Observed::Gone);
        let binding = conditioner::binding(self.policy, interface, direction);
        let left_out = self.how.only.as_ref().is_some_and(|only| only != interface);
        if binding.is_none() || left_out || hook.is_none() && !self.how.attach {
            return Ok(Found::Nothing);
        }
        if privilege::missing().is_some() {
            return Ok(Found::Untried);
        }
        let mut double = Double::of(self.site, interface, direction, By::Policy(self.policy))?;
        let mut decisions = Vec::new();
        for packet in packets {
            let decision = double.try_packet(packet)?.decision;
            self.policers.extend(binding.as_ref().and_then(|binding| self.policer(binding, &decision)));
            decisions.push(decision);
        }
        let rules = binding.as_ref().map_or(&[][..], |binding| &binding.rules);
        if direction == Direction::Ingress {
            self.assumed =
                self.assumed.or(packets.first().map(|packet| packet.dscp).filter(|mark| drops_others(rules, *mark)));
        }
        let dropped = decisions.iter().position(|decision| decision.leaves == Leaves::Dropped);
        Ok(Found::Decided(decisions.swap_remove(dropped.unwrap_or(0))))
    }

    /// The rule that metered a packet, if it drops those that come too fast.
    fn policer(&self, binding: &Binding, decision: &Decision) -> Option<String> {
        let Decider::Rule(place) = &decision.by else { return None };
        let rule = binding.rules.iter().find(|rule| rule.name == place.name)?;
        let drops = rule.meter()?.verdicts().contains(&Verdict::Drop);
        drops.then(|| place.words(self.policy.text_name()))
    }

    fn words(&self, interface: &str) -> String {
        let binding = conditioner::binding(self.policy, interface, Direction::Egress);
        binding.map_or_else(|| "the policy".to_owned(), |binding| binding.words())
    }
}

/// Whether a rule may drop what comes with another mark.
fn drops_others(rules: &[Rule], mark: Dscp) -> bool {
    rules.iter().any(|rule| Dscp::all().any(|other| other != mark && rule.may_drop(other)))
}

/// What was found at a hook.
enum Found {
    /// Nothing of ours.
    Nothing,
    /// This was decided.
    Decided(Decision),
    /// This process may not try.
    Untried,
}

fn segment(from: SocketAddr, to: SocketAddr, dscp: Dscp, origin: Option<Origin>, length: u16) -> Packet {
    Packet {
        src: from.ip(),
        dst: to.ip(),
        dscp,
        ecn: Ecn::NotEct,
        proto: Some(TCP),
        src_port: Some(from.port()),
        dst_port: Some(to.port()),
        icmp_type: None,
        fragment: Fragment::No,
        vlan: None,
        pcp: None,
        length,
        mark: Some(0),
        origin,
        from: None,
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = &self.interface;
        match self.ends {
            Some((client, server)) => write!(f, "your SSH session {client} > {server}: ")?,
            None => write!(f, "your SSH session: ")?,
        }
        match &self.fate {
            Fate::Unchanged => write!(f, "passes, its mark unchanged at {interface}:egress"),
            Fate::Marked(before, after) if before == after => {
                write!(f, "passes, mark {before} kept at {interface}:egress")
            }
            Fate::Marked(before, after) => write!(f, "passes, mark {before} -> {after} at {interface}:egress"),
            Fate::Unknown(what) => write!(f, "passes, marked as {what} says at {interface}:egress"),
            Fate::Dropped(hook, by) => write!(f, "DROPPED at {hook} by {by}"),
            Fate::Unchecked(why) => write!(f, "NOT CHECKED whether the policy drops it: {why}"),
        }?;
        self.policers.iter().try_for_each(|rule| write!(f, "; {rule} drops what of it is too fast"))?;
        let Some(mark) = self.assumed else { return Ok(()) };
        write!(f, "; what comes was tried with the mark {mark} alone")
    }
}
