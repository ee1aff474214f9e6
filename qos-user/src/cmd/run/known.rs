//! The interfaces as they were when somebody last looked, to tell what has changed.

use std::{collections::HashMap, fmt};

use qos_common::locate::Link;

use crate::kernel::network::Interface;

/// What is known of interfaces, by index.
#[derive(Debug, Default)]
pub struct Known(HashMap<u32, Seen>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    mtu: u32,
    link: Option<Link>,
}

/// What has changed of an interface since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// Which one.
    pub ifindex: u32,
    /// How it is called; for one that is gone, how it was.
    pub name: String,
    /// What.
    pub what: What,
}

/// What may change of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Appeared,
    /// It is not there any more.
    Vanished,
    /// It was called otherwise.
    Renamed(String),
    /// Its packets may have another length.
    Mtu(u32, u32),
    /// Its packets begin with something else.
    Type,
}

impl Known {
    /// Whether anything is not as it was.
    pub fn differs(&self, interfaces: &[Interface]) -> bool {
        self.0 != seen(interfaces)
    }

    /// Takes in what is there now, and says how it differs.
    pub fn update(&mut self, interfaces: &[Interface]) -> Vec<LinkChange> {
        let now = seen(interfaces);
        let mut changes = Vec::new();
        for (ifindex, seen) in &now {
            let change = |what| LinkChange { ifindex: *ifindex, name: seen.name.clone(), what };
            match self.0.get(ifindex) {
                None => changes.push(change(What::Appeared)),
                Some(before) => changes.extend(before.differs(seen).into_iter().map(change)),
            }
        }
        let gone = self.0.iter().filter(|(ifindex, _)| !now.contains_key(ifindex));
        changes.extend(gone.map(|(ifindex, seen)| LinkChange {
            ifindex: *ifindex,
            name: seen.name.clone(),
            what: What::Vanished,
        }));
        changes.sort_by_key(|change| change.ifindex);
        self.0 = now;
        changes
    }
}

fn seen(interfaces: &[Interface]) -> HashMap<u32, Seen> {
    interfaces.iter().map(|interface| (interface.ifindex, Seen::from(interface))).collect()
}

impl Seen {
    fn differs(&self, now: &Self) -> Vec<What> {
        let renamed = (self.name != now.name).then(|| What::Renamed(self.name.clone()));
        let mtu = (self.mtu != now.mtu).then_some(What::Mtu(self.mtu, now.mtu));
        let kind = (self.link != now.link).then_some(What::Type);
        [renamed, mtu, kind].into_iter().flatten().collect()
    }
}

impl From<&Interface> for Seen {
    fn from(interface: &Interface) -> Self {
        Self { name: interface.name.clone(), mtu: interface.mtu, link: interface.link.clone().ok() }
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.what {
            What::Appeared => write!(f, "{name} appeared"),
            What::Vanished => write!(f, "{name} is gone"),
            What::Renamed(before) => write!(f, "{before} is called {name} now"),
            What::Mtu(before, now) => write!(f, "{name}: MTU {before} is {now} now"),
            What::Type => write!(f, "{name} is a device of another type now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::tunnel::Tunnel, snapshot::Device};

    fn interface(ifindex: u32, name: &str, mtu: u32) -> Interface {
        Interface {
            name: name.to_owned(),
            ifindex,
            mtu,
            link: Ok(Link::Ethernet),
            kind: None,
            tunnel: Tunnel::Clean,
            received: Device::default(),
            sent: Device::default(),
            xdp: None,
        }
    }

    fn told(known: &mut Known, interfaces: &[Interface]) -> Vec<String> {
        known.update(interfaces).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut known = Known::default();
        let (lan, wan) = (interface(2, "lan0", 1500), interface(3, "wan0", 1500));
        assert_eq!(told(&mut known, &[lan.clone(), wan.clone()]), ["lan0 appeared", "wan0 appeared"]);
        assert!(!known.differs(&[wan.clone(), lan.clone()]) && known.differs(std::slice::from_ref(&lan)));
        assert!(told(&mut known, &[wan, lan.clone()]).is_empty());
        let wan = Interface { link: Ok(Link::Layer3), ..interface(3, "ppp0", 1492) };
        let changes = ["wan0 is called ppp0 now", "ppp0: MTU 1500 is 1492 now", "ppp0 is a device of another type now"];
        assert_eq!(told(&mut known, &[lan, wan]), changes);
        assert_eq!(told(&mut known, &[interface(4, "ppp0", 1492)]), ["lan0 is gone", "ppp0 is gone", "ppp0 appeared"]);
    }
}
