//! What `stats --json` says of one hook, in a form that tests compare.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

/// Packets and bytes.
pub type Sum = [u64; 2];

/// One hook's counters; what is zero is left out of the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By family and DS byte, as they came.
    pub before: BTreeMap<(String, u8), Sum>,
    /// By codepoint, as they left.
    pub after: BTreeMap<u8, Sum>,
    /// From, to.
    pub remarked: BTreeMap<(u8, u8), Sum>,
    /// What this host made and the table would have changed.
    pub protected: Sum,
    /// Neither IPv4 nor IPv6.
    pub not_ip: Sum,
    /// It says that it is IP, without a usable header.
    pub malformed: Sum,
    /// The device's own packets, bytes and drops since the hook was attached.
    pub device: [u64; 3],
    /// What the root qdisc dropped since then.
    pub qdisc_drops: u64,
}

impl Counted {
    /// Reads one hook of the document.
    ///
    /// # Errors
    ///
    /// That it is not there, or not as it should be.
    pub fn read(document: &Value, hook: &str) -> anyhow::Result<Self> {
        let found = find(document, hook).with_context(|| format!("no {hook} in {document:#}"))?;
        let mut counted = Self::default();
        for row in rows(found, "before")? {
            let family = row["family"].as_str().context("family")?.to_owned();
            keep(&mut counted.before, (family, byte(row, "ds")?), sum(row)?);
        }
        for row in rows(found, "after")? {
            keep(&mut counted.after, byte(row, "dscp")?, sum(row)?);
        }
        for row in rows(found, "remarked")? {
            keep(&mut counted.remarked, (byte(row, "from")?, byte(row, "to")?), sum(row)?);
        }
        counted.protected = sum(&found["protected"])?;
        counted.not_ip = sum(&found["uncounted"]["not_ip"])?;
        counted.malformed = sum(&found["uncounted"]["malformed"])?;
        let device = &found["device"];
        counted.device = [number(device, "packets")?, number(device, "bytes")?, number(device, "drops")?];
        counted.qdisc_drops = found["qdisc"]["drops"].as_u64().unwrap_or(0);
        Ok(counted)
    }

    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            before: subtract(&self.before, &earlier.before),
            after: subtract(&self.after, &earlier.after),
            remarked: subtract(&self.remarked, &earlier.remarked),
            protected: minus(self.protected, earlier.protected),
            not_ip: minus(self.not_ip, earlier.not_ip),
            malformed: minus(self.malformed, earlier.malformed),
            device: [0, 1, 2].map(|at| self.device[at] - earlier.device[at]),
            qdisc_drops: self.qdisc_drops - earlier.qdisc_drops,
        }
    }

    /// Packets as they came, by DS byte, both families together.
    #[must_use]
    pub fn packets(&self) -> BTreeMap<u8, u64> {
        let mut packets = BTreeMap::new();
        for ((_, ds), [number, _]) in &self.before {
            *packets.entry(*ds).or_default() += number;
        }
        packets
    }

    /// Packets as they left, by codepoint.
    #[must_use]
    pub fn packets_after(&self) -> BTreeMap<u8, u64> {
        self.after.iter().map(|(dscp, [packets, _])| (*dscp, *packets)).collect()
    }

    /// Every frame that was seen.
    #[must_use]
    pub fn frames(&self) -> Sum {
        let before = self.before.values().copied();
        before.chain([self.not_ip, self.malformed]).fold([0, 0], |sum, more| [sum[0] + more[0], sum[1] + more[1]])
    }
}

fn find<'a>(document: &'a Value, hook: &str) -> Option<&'a Value> {
    let (interface, direction) = hook.split_once(':')?;
    let is_it = |found: &&Value| found["interface"] == interface && found["direction"] == direction;
    document["hooks"].as_array()?.iter().find(is_it)
}

fn rows<'a>(hook: &'a Value, field: &str) -> anyhow::Result<&'a Vec<Value>> {
    hook[field].as_array().with_context(|| format!("no {field} in {hook:#}"))
}

fn number(value: &Value, field: &str) -> anyhow::Result<u64> {
    value[field].as_u64().with_context(|| format!("no {field} in {value:#}"))
}

fn byte(value: &Value, field: &str) -> anyhow::Result<u8> {
    Ok(u8::try_from(number(value, field)?)?)
}

fn sum(value: &Value) -> anyhow::Result<Sum> {
    Ok([number(value, "packets")?, number(value, "bytes")?])
}

fn keep<K: Ord>(map: &mut BTreeMap<K, Sum>, key: K, sum: Sum) {
    if sum != [0, 0] {
        map.insert(key, sum);
    }
}

fn minus(more: Sum, less: Sum) -> Sum {
    [more[0] - less[0], more[1] - less[1]]
}

fn subtract<K: Ord + Clone>(more: &BTreeMap<K, Sum>, less: &BTreeMap<K, Sum>) -> BTreeMap<K, Sum> {
    let mut difference = BTreeMap::new();
    for (key, sum) in more {
        keep(&mut difference, key.clone(), minus(*sum, less.get(key).copied().unwrap_or_default()));
    }
    difference
}
