//! The SSH session that gives the command, seen through a policy: whoever types it should know what becomes of it.

use std::{env, fmt, net::SocketAddr};

use qos_common::ds::{DsField, Dscp, Ecn};
use serde_json::{Value, json};

use crate::{
    cli::ApplyOptions,
    cmd::{
        Context, conditioner,
        site::Site,
        twin::{By, Double},
    },
    error::{Exit, Failure},
    explain::{Decider, Decision, Leaves},
    hook::Direction,
    kernel::{
        datapath::{Hook, Observed},
        privilege, socket,
    },
    policy::{
        Policy,
        model::{Fragment, Origin},
        packet::Packet,
    },
};

/// The protocol of SSH, and the bytes of a segment without data by family.
const TCP: u8 = 6;
const LENGTHS: (u16, u16) = (40, 60);

/// The session, and the hooks by which its packets come and leave.
pub struct Session {
    client: SocketAddr,
    server: SocketAddr,
    interface: String,
    fate: Fate,
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
    Dropped(Direction, String),
}

impl Session {
    /// The session of `$SSH_CONNECTION`, if that and the route to its client are known and `how` has to do with it: one
    /// packet each way is tried in twins of the programs that the policy would have there.
    ///
    /// # Errors
    ///
    /// `load`, `rules`, `test-run`.
    pub fn find(site: &Site, policy: &Policy, how: &ApplyOptions) -> anyhow::Result<Option<Self>> {
        let connection = env::var("SSH_CONNECTION").ok().and_then(|connection| parse(&connection));
        let Some((client, server)) = connection else { return Ok(None) };
        let ifindex = site.net.leaves_by(server.ip(), client.ip());
        let Some(interface) = site.interfaces.iter().find(|interface| Some(interface.ifindex) == ifindex) else {
            return Ok(None);
        };
        let interface = interface.name.clone();
        if how.only.as_ref().is_some_and(|only| *only != interface) {
            return Ok(None);
        }
        let tried = Tried { site, policy, how, interface: &interface };
        let fate = tried.fate(server, client)?;
        Ok(Some(Self { client, server, interface, fate }))
    }

    /// Refuses a policy that drops it; `--force` only says so.
    ///
    /// # Errors
    ///
    /// `session-dropped`.
    pub fn refuse_drop(&self, force: bool, context: &Context) -> anyhow::Result<()> {
        let Fate::Dropped(..) = self.fate else { return Ok(()) };
        if force {
            context.warn(&format!("! {self}: applied all the same (--force)\n"));
            return Ok(());
        }
        Err(Failure::new("session-dropped", self.to_string())
            .exit(Exit::No)
            .hint("nothing is changed; policy apply --force does it anyway, and with --confirm 60s what runs now comes back")
            .into())
    }

    /// For machines.
    pub fn document(&self) -> Value {
        let (before, after) = match self.fate {
            Fate::Marked(before, after) => (Some(before.value()), Some(after.value())),
            _ => (None, None),
        };
        let dropped = match &self.fate {
            Fate::Dropped(direction, by) => {
                Some(json!({ "hook": format!("{}:{direction}", self.interface), "by": by }))
            }
            _ => None,
        };
        json!({
            "client": self.client.to_string(),
            "server": self.server.to_string(),
            "hook": format!("{}:egress", self.interface),
            "before": before,
            "after": after,
            "dropped": dropped,
        })
    }
}

/// Where its packets are tried.
struct Tried<'a> {
    site: &'a Site,
    policy: &'a Policy,
    how: &'a ApplyOptions,
    interface: &'a str,
}

impl Tried<'_> {
    fn fate(&self, near: SocketAddr, far: SocketAddr) -> anyhow::Result<Fate> {
        let known = socket::ds_byte(near, far).map(|byte| DsField::new(byte).dscp());
        // Where the mark is not known, what drops the plainest packet is found all the same.
        let mark = known.unwrap_or(Dscp::DF);
        let leaves = self.of(Direction::Egress, &segment(near, far, mark, Some(Origin::Local)))?;
        // What comes has a mark that nobody here knows; most clients use the same as their servers.
        let comes = self.of(Direction::Ingress, &segment(far, near, mark, None))?;
        for (direction, decision) in [(Direction::Egress, &leaves), (Direction::Ingress, &comes)] {
            if let Found::Decided(decision) = decision
                && decision.leaves == Leaves::Dropped
            {
                return Ok(Fate::Dropped(direction, decision.by.words(self.policy.file())));
            }
        }
        Ok(match (leaves, known) {
            (Found::Nothing, _) => Fate::Unchanged,
            (Found::Decided(Decision { leaves: Leaves::As(after), .. }), Some(before)) => Fate::Marked(before, after),
            (Found::Decided(Decision { by: Decider::Rule(rule), .. }), None) => {
                Fate::Unknown(rule.words(self.policy.file()))
            }
            (Found::Decided(_) | Found::Untried, _) => Fate::Unknown(self.words()),
        })
    }

    /// What a hook does with a packet; only where a program of ours is, or is about to be.
    fn of(&self, direction: Direction, packet: &Packet) -> anyhow::Result<Found> {
        let there = |hook: &&Hook| self.site.name_of(hook) == self.interface && hook.pins.direction == direction;
        let hook = self.site.hooks.iter().find(there).filter(|hook| hook.running != Observed::Gone);
        let bound = conditioner::binding(self.policy, self.interface, direction).is_some();
        if !bound || hook.is_none() && !self.how.attach {
            return Ok(Found::Nothing);
        }
        if privilege::missing().is_some() {
            return Ok(Found::Untried);
        }
        let mut double = Double::of(self.site, self.interface, direction, By::Policy(self.policy))?;
        Ok(Found::Decided(double.try_packet(packet)?.decision))
    }

    fn words(&self) -> String {
        let binding = conditioner::binding(self.policy, self.interface, Direction::Egress);
        binding.map_or_else(|| "the policy".to_owned(), |binding| binding.words())
    }
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

fn segment(from: SocketAddr, to: SocketAddr, dscp: Dscp, origin: Option<Origin>) -> Packet {
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
        length: if from.is_ipv4() { LENGTHS.0 } else { LENGTHS.1 },
        mark: Some(0),
        origin,
        from: None,
    }
}

/// `CLIENT PORT SERVER PORT`.
fn parse(connection: &str) -> Option<(SocketAddr, SocketAddr)> {
    let words: Vec<_> = connection.split_whitespace().collect();
    let [client, client_port, server, server_port] = words[..] else { return None };
    let end = |address: &str, port: &str| Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?));
    Some((end(client, client_port)?, end(server, server_port)?))
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, server, interface, fate } = self;
        write!(f, "your SSH session {client} > {server}: ")?;
        match fate {
            Fate::Unchanged => write!(f, "passes, its mark unchanged at {interface}:egress"),
            Fate::Marked(before, after) if before == after => {
                write!(f, "passes, mark {before} kept at {interface}:egress")
            }
            Fate::Marked(before, after) => write!(f, "passes, mark {before} -> {after} at {interface}:egress"),
            Fate::Unknown(what) => write!(f, "passes, marked as {what} says at {interface}:egress"),
            Fate::Dropped(direction, by) => write!(f, "DROPPED at {interface}:{direction} by {by}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_sets_is_read() {
        let (client, server) = parse("192.0.2.7 51514 203.0.113.1 22").unwrap();
        assert_eq!((client.to_string(), server.to_string()), ("192.0.2.7:51514".into(), "203.0.113.1:22".into()));
        let (client, _) = parse("2001:db8::7 51514 2001:db8::1 22").unwrap();
        assert_eq!(client.to_string(), "[2001:db8::7]:51514");
        // A link-local address comes with its zone, by which no route can be asked for.
        for nothing in ["", "192.0.2.7 51514 203.0.113.1", "fe80::1%eth0 1 fe80::2%eth0 22"] {
            assert!(parse(nothing).is_none(), "{nothing}");
        }
    }
}
