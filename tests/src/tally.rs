//! What was counted as it came, in the form in which expectations are written.

use std::{collections::BTreeMap, ops::AddAssign};

use qos_common::{
    abi::{Counter, Uncounted},
    locate::{Family, Header, Link, Located},
};
use qos_vectors::reader;
use qosbpf::snapshot::Counts;

/// Packets and bytes by family and DS field, and those that have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// IPv4 by DS field.
    pub v4: BTreeMap<u8, [u64; 2]>,
    /// IPv6 by DS field.
    pub v6: BTreeMap<u8, [u64; 2]>,
    /// Not directly IP.
    pub not_ip: [u64; 2],
    /// It says that it is IP, without a usable header.
    pub malformed: [u64; 2],
}

impl Tally {
    /// What frames are by a reader that is not the data path.
    #[must_use]
    pub fn read(frames: &[Vec<u8>], link: Link) -> Self {
        let mut tally = Self::default();
        for frame in frames {
            let sum = match reader::read(frame, link, 0).located {
                Located::NotIp => &mut tally.not_ip,
                Located::Malformed => &mut tally.malformed,
                Located::Ip(Header { family: Family::V4, ds, .. }) => tally.v4.entry(ds.bits()).or_default(),
                Located::Ip(Header { family: Family::V6, ds, .. }) => tally.v6.entry(ds.bits()).or_default(),
            };
            add(sum, [1, frame.len() as u64]);
        }
        tally
    }

    /// Frames of all kinds.
    #[must_use]
    pub fn frames(&self) -> u64 {
        let by_ds = self.v4.values().chain(self.v6.values());
        by_ds.chain([&self.not_ip, &self.malformed]).map(|[packets, _]| packets).sum()
    }
}

impl From<&Counts> for Tally {
    fn from(counts: &Counts) -> Self {
        let [v4, v6] = counts.sums.before.each_ref().map(|family| {
            let seen = (0..=255).zip(family).filter(|(_, counter)| **counter != Counter::default());
            seen.map(|(ds, counter)| (ds, pair(counter))).collect()
        });
        let uncounted = |reason| pair(&counts.sums.uncounted[reason as usize]);
        Self { v4, v6, not_ip: uncounted(Uncounted::NotIp), malformed: uncounted(Uncounted::Malformed) }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for (sums, family) in [(&mut self.v4, other.v4), (&mut self.v6, other.v6)] {
            family.into_iter().for_each(|(ds, more)| add(sums.entry(ds).or_default(), more));
        }
        add(&mut self.not_ip, other.not_ip);
        add(&mut self.malformed, other.malformed);
    }
}

const fn pair(counter: &Counter) -> [u64; 2] {
    [counter.packets, counter.bytes]
}

fn add(sum: &mut [u64; 2], more: [u64; 2]) {
    *sum = [sum[0] + more[0], sum[1] + more[1]];
}
