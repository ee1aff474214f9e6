//! What `stats --json` says, as far as the demonstration checks it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The document.
#[derive(Debug, Deserialize)]
pub struct Document {
    hooks: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    interface: String,
    direction: String,
    before: Vec<Before>,
    after: Vec<After>,
    remarked: Vec<Remarked>,
    protected: Packets,
}

#[derive(Debug, Deserialize)]
struct Before {
    family: String,
    ds: u8,
    packets: u64,
}

#[derive(Debug, Deserialize)]
struct After {
    dscp: u8,
    packets: u64,
}

#[derive(Debug, Deserialize)]
struct Remarked {
    from: u8,
    to: u8,
    packets: u64,
}

#[derive(Debug, Deserialize)]
struct Packets {
    packets: u64,
}

/// What a hook counted, in packets; what is zero is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By family, `ipv4` or `ipv6`, and DS byte.
    pub before: BTreeMap<(String, u8), u64>,
    /// By codepoint.
    pub after: BTreeMap<u8, u64>,
    /// By codepoint as it came and as it left.
    pub remarked: BTreeMap<(u8, u8), u64>,
    /// What this host made and the policy spared.
    pub protected: u64,
}

impl Document {
    /// The counts of a hook.
    ///
    /// # Errors
    ///
    /// That the document does not have it.
    pub fn counts(&self, interface: &str, direction: &str) -> anyhow::Result<Counts> {
        let hook = self.hooks.iter().find(|hook| hook.interface == interface && hook.direction == direction);
        let hook = hook.ok_or_else(|| anyhow::anyhow!("stats --json does not have {interface}:{direction}"))?;
        Ok(Counts {
            before: hook.before.iter().map(|row| ((row.family.clone(), row.ds), row.packets)).collect(),
            after: hook.after.iter().map(|row| (row.dscp, row.packets)).collect(),
            remarked: hook.remarked.iter().map(|row| ((row.from, row.to), row.packets)).collect(),
            protected: hook.protected.packets,
        })
    }
}

impl Counts {
    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            before: difference(&self.before, &earlier.before),
            after: difference(&self.after, &earlier.after),
            remarked: difference(&self.remarked, &earlier.remarked),
            protected: self.protected.wrapping_sub(earlier.protected),
        }
    }

    /// Packets, whatever they became.
    pub fn seen(&self) -> u64 {
        self.before.values().sum()
    }
}

/// Wraps rather than hides a counter that went backwards.
fn difference<K: Ord + Clone>(now: &BTreeMap<K, u64>, earlier: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let keys = now.keys().chain(earlier.keys()).cloned();
    let of = |counts: &BTreeMap<K, u64>, key: &K| counts.get(key).copied().unwrap_or_default();
    let differences = keys.map(|key| (of(now, &key).wrapping_sub(of(earlier, &key)), key));
    differences.filter(|(moved, _)| *moved != 0).map(|(moved, key)| (key, moved)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"schema": 1, "hooks": [{"interface": "wan0", "direction": "egress", "via": "tcx",
        "before": [{"family": "ipv4", "ds": 184, "dscp": 46, "packets": 10, "bytes": 980}],
        "after": [{"dscp": 0, "name": "DF", "packets": 10, "bytes": 980}],
        "remarked": [{"from": 46, "to": 0, "packets": 10, "bytes": 980}],
        "protected": {"packets": 3, "bytes": 294}}]}"#;

    #[test]
    fn the_documented_form_is_read() {
        let document: Document = serde_json::from_str(DOCUMENT).unwrap();
        let counts = document.counts("wan0", "egress").unwrap();
        assert_eq!(counts.before, BTreeMap::from([(("ipv4".to_owned(), 184), 10)]));
        assert_eq!(counts.after, BTreeMap::from([(0, 10)]));
        assert_eq!(counts.remarked, BTreeMap::from([((46, 0), 10)]));
        assert_eq!((counts.protected, counts.seen()), (3, 10));
        assert!(document.counts("wan0", "ingress").is_err());
    }

    #[test]
    fn only_what_moved_is_left() {
        let earlier = BTreeMap::from([(1, 5), (2, 7)]);
        let now = BTreeMap::from([(1, 5), (2, 9), (3, 1)]);
        assert_eq!(difference(&now, &earlier), BTreeMap::from([(2, 2), (3, 1)]));
    }
}
