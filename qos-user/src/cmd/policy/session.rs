//! The SSH session that gives the command, seen through a policy: whoever types it should know what becomes of it.

use std::{env, fmt, net::SocketAddr};

use qos_common::ds::{DsField, Dscp};
use serde_json::{Value, json};

use crate::{
    cmd::site::Site,
    hook::Direction,
    kernel::{
        datapath::{Hook, Observed},
        socket,
    },
    policy::Policy,
};

/// The session, and the hook by which its packets leave.
pub struct Session {
    client: SocketAddr,
    server: SocketAddr,
    interface: String,
    leaves: Leaves,
}

/// What becomes of its packets there.
enum Leaves {
    /// Nothing: no table is there, or none of ours is attached.
    Unchanged,
    /// From this mark to this one.
    Marked(Dscp, Dscp),
    /// A table is there, and the kernel does not tell the session's mark.
    Unknown(String),
}

impl Session {
    /// The session of `$SSH_CONNECTION`, if that and the route to its client are known; `only` is the one interface that
    /// the policy is applied to.
    pub fn find(site: &Site, policy: &Policy, only: Option<&str>) -> Option<Self> {
        let (client, server) = parse(&env::var("SSH_CONNECTION").ok()?)?;
        let ifindex = site.net.leaves_by(server.ip(), client.ip())?;
        let interface = site.interfaces.iter().find(|interface| interface.ifindex == ifindex)?.name.clone();
        if only.is_some_and(|only| only != interface) {
            return None;
        }
        let leaves = leaves(site, policy, ifindex, &interface, (server, client));
        Some(Self { client, server, interface, leaves })
    }

    /// For machines.
    pub fn document(&self) -> Value {
        let (before, after) = match self.leaves {
            Leaves::Marked(before, after) => (Some(before.value()), Some(after.value())),
            _ => (None, None),
        };
        json!({
            "client": self.client.to_string(),
            "server": self.server.to_string(),
            "hook": format!("{}:egress", self.interface),
            "before": before,
            "after": after,
        })
    }
}

fn leaves(site: &Site, policy: &Policy, ifindex: u32, name: &str, (near, far): (SocketAddr, SocketAddr)) -> Leaves {
    let there = |hook: &&Hook| (hook.pins.ifindex, hook.pins.direction) == (ifindex, Direction::Egress);
    let hook = site.hooks.iter().find(there).filter(|hook| hook.running != Observed::Gone);
    let Some(bound) = policy.bind(name, Direction::Egress).filter(|_| hook.is_some()) else { return Leaves::Unchanged };
    match socket::ds_byte(near, far).map(|byte| DsField::new(byte).dscp()) {
        None => Leaves::Unknown(bound.table.name().to_owned()),
        // The host's own packets, which a session's are, may be spared.
        Some(mark) if bound.local.keeps(mark) => Leaves::Marked(mark, mark),
        Some(mark) => Leaves::Marked(mark, bound.table.compile().get(mark)),
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
        let Self { client, server, interface, leaves } = self;
        write!(f, "your SSH session {client} > {server}: passes, ")?;
        match leaves {
            Leaves::Unchanged => write!(f, "its mark unchanged at {interface}:egress"),
            Leaves::Marked(before, after) if before == after => write!(f, "mark {before} kept at {interface}:egress"),
            Leaves::Marked(before, after) => write!(f, "mark {before} -> {after} at {interface}:egress"),
            Leaves::Unknown(table) => write!(f, "marked as table {table} says at {interface}:egress"),
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
