//! Marked datagrams through the lab, and what became of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use qos_common::{
    ds::{DsField, Dscp, Ecn},
    locate::Family,
};

use crate::lab::{
    Lab,
    capture::Capture,
    frame::Arrival,
    namespace::Namespace,
    probe::{Probe, send},
    topology::WAN_HOST,
};

/// Both.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// For the last datagram to arrive.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is sent, and what the policy of this demonstration makes of its codepoint on its way through the router.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// As it is sent.
    pub ds: DsField,
    /// As it leaves the LAN interface's ingress.
    pub inside: Dscp,
    /// As it leaves the WAN interface's egress.
    pub outside: Dscp,
}

/// Several classes, three of them on ECN-capable transport or marked by a congested queue.
pub const FLOWS: [Flow; 12] = [
    Flow::kept(46, Ecn::NotEct),
    Flow::translated(44, Ecn::NotEct, 46),
    Flow::kept(34, Ecn::NotEct),
    Flow::kept(26, Ecn::NotEct),
    Flow::washed_inside(48, Ecn::NotEct),
    Flow::translated(8, Ecn::NotEct, 0),
    Flow::translated(1, Ecn::NotEct, 0),
    Flow::translated(54, Ecn::NotEct, 0),
    Flow::kept(0, Ecn::NotEct),
    Flow::kept(34, Ecn::Ect0),
    Flow::translated(44, Ecn::Ect1, 46),
    Flow::translated(8, Ecn::Ce, 0),
];

impl Flow {
    const fn kept(dscp: u8, ecn: Ecn) -> Self {
        Self::translated(dscp, ecn, dscp)
    }

    const fn translated(dscp: u8, ecn: Ecn, outside: u8) -> Self {
        Self { ds: DsField::new(dscp << 2 | ecn as u8), inside: codepoint(dscp), outside: codepoint(outside) }
    }

    const fn washed_inside(dscp: u8, ecn: Ecn) -> Self {
        Self { inside: Dscp::DF, ..Self::translated(dscp, ecn, 0) }
    }
}

const fn codepoint(value: u8) -> Dscp {
    DsField::new(value << 2).dscp()
}

/// The codepoint, and ECN if there is any.
pub fn name(ds: DsField) -> String {
    let ecn = match ds.ecn() {
        Ecn::NotEct => return ds.dscp().to_string(),
        Ecn::Ect1 => "ECT(1)",
        Ecn::Ect0 => "ECT(0)",
        Ecn::Ce => "CE",
    };
    format!("{} {ecn}", ds.dscp())
}

/// The WAN host's receiver, and the numbers of the probes.
#[derive(Debug)]
pub struct Traffic<'a> {
    lab: &'a Lab,
    capture: Capture,
    next_id: u32,
}

impl<'a> Traffic<'a> {
    /// Begins to receive.
    ///
    /// # Errors
    ///
    /// That the kernel gives no packet socket.
    pub fn new(lab: &'a Lab) -> anyhow::Result<Self> {
        Ok(Self { lab, capture: Capture::start(lab.wan())?, next_id: 0 })
    }

    /// Sends every flow in both families from the LAN host, and waits for it.
    ///
    /// # Errors
    ///
    /// That the kernel does not send or receive.
    pub fn exchange(&mut self) -> anyhow::Result<Exchange> {
        let marks = FLOWS.map(|flow| flow.ds);
        self.exchange_from(self.lab.lan(), &marks)
    }

    /// The same from any host, with these marks.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn exchange_from(&mut self, from: &Namespace, marks: &[DsField]) -> anyhow::Result<Exchange> {
        // What was sent outside of an exchange still lies in the receiver.
        self.capture.take(0, Duration::ZERO)?;
        let mut sent = BTreeMap::new();
        for (ds, family) in marks.iter().flat_map(|ds| FAMILIES.map(|family| (*ds, family))) {
            self.next_id += 1;
            sent.insert(self.next_id, Probe::new(&WAN_HOST, family, ds, self.next_id));
        }
        let probes: Vec<_> = sent.values().copied().collect();
        send(from, &probes)?;
        let datagrams: u32 = probes.iter().map(|probe| probe.count).sum();
        let arrived = self.capture.take(datagrams as usize, PATIENCE)?;
        Ok(Exchange { sent, arrived })
    }
}

/// What was sent, and what has arrived of it.
#[derive(Debug)]
pub struct Exchange {
    sent: BTreeMap<u32, Probe>,
    arrived: Vec<Arrival>,
}

impl Exchange {
    /// Datagrams sent.
    pub fn sent(&self) -> u64 {
        self.sent_if(|_| true)
    }

    /// Datagrams sent with such a DS field.
    pub fn sent_if(&self, wanted: impl Fn(DsField) -> bool) -> u64 {
        self.sent.values().filter(|probe| wanted(probe.ds)).map(|probe| u64::from(probe.count)).sum()
    }

    /// Those of one family.
    pub fn sent_in(&self, family: Family, ds: DsField) -> u64 {
        let of_family = self.sent.values().filter(|probe| probe.to.is_ipv4() == (family == Family::V4));
        of_family.filter(|probe| probe.ds == ds).map(|probe| u64::from(probe.count)).sum()
    }

    /// Datagrams that arrived, none counted twice.
    pub fn arrived(&self) -> u64 {
        self.arrived_if(|_, _| true)
    }

    /// Those of which `wanted` says yes, given the DS field that they were sent with.
    pub fn arrived_if(&self, wanted: impl Fn(DsField, &Arrival) -> bool) -> u64 {
        let as_sent = |arrival: &Arrival| self.sent.get(&arrival.label.id).map(|probe| probe.ds);
        let wanted = self.arrived.iter().filter(|arrival| as_sent(arrival).is_some_and(|ds| wanted(ds, arrival)));
        let labels: BTreeSet<_> = wanted.map(|arrival| arrival.label).collect();
        labels.len() as u64
    }

    /// Datagrams that arrived over IPv4.
    pub fn arrived_in_v4(&self) -> u64 {
        self.arrived_if(|_, arrival| arrival.family == Family::V4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecn_is_named_where_there_is_any() {
        assert_eq!(name(DsField::new(184)), "EF");
        assert_eq!(name(DsField::new(54 << 2)), "54");
        assert_eq!(name(DsField::new(34 << 2 | 2)), "AF41 ECT(0)");
        assert_eq!(name(DsField::new(3)), "DF CE");
    }
}
