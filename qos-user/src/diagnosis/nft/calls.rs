//! By which ways packets come to the rules of a chain: from its hook, or from the rules that call it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Key, key, narrowed, strings, word};
use crate::diagnosis::outside::{Asks, Interfaces, Stage, Way};

/// nft lets no call lead deeper.
const DEEPEST: usize = 16;

/// More ways than these are not told apart.
const MOST: usize = 64;

/// The ways to each chain.
pub(super) struct Calls(BTreeMap<Key, Vec<Way>>);

impl Calls {
    /// Of chains, with the devices that some are bound to, and of calls: caller, what is asked of packets, called.
    pub(super) fn read<'a>(
        chains: impl Iterator<Item = &'a Value>,
        bound: &BTreeMap<(String, String), Vec<String>>,
        calls: impl Iterator<Item = (Key, Asks, Key)>,
    ) -> Self {
        let at_hook = |chain: &&Value| chain["hook"].is_string();
        let mut ways: BTreeMap<_, _> =
            chains.filter(at_hook).map(|chain| (key(chain, "name"), vec![from_hook(chain, bound)])).collect();
        let calls: Vec<_> = calls.collect();
        for _ in 0..DEEPEST {
            let new = calls.iter().filter(|call| follow(&mut ways, call)).count();
            if new == 0 {
                break;
            }
        }
        Self(ways)
    }

    /// The ways to a chain; none to one that nobody calls.
    pub(super) fn ways(&self, chain: &Key) -> &[Way] {
        self.0.get(chain).map_or(&[], Vec::as_slice)
    }
}

/// The family of tables of bridges.
const BRIDGE: &str = "bridge";

/// A chain of a device sees no packet of another one. What a bridge hands up may go on through this host, and what it gets
/// from above may have come through it.
fn from_hook(chain: &Value, bound: &BTreeMap<(String, String), Vec<String>>) -> Way {
    let (family, table, name) = key(chain, "name");
    let bridged = family == BRIDGE;
    let in_text = bound.get(&(format!("{family} {table}"), name)).cloned();
    let patterns = in_text.unwrap_or_else(|| strings(&chain["dev"]));
    let devices: Vec<_> =
        Some(Interfaces { patterns, negated: false }).into_iter().filter(|one| !one.patterns.is_empty()).collect();
    let stage = match Stage::of(&word(chain, "hook")) {
        Stage::Input if bridged => Stage::Incoming,
        Stage::Output if bridged => Stage::Outgoing,
        stage => stage,
    };
    let asks = match stage {
        Stage::Incoming => Asks { iif: devices, ..Asks::NOTHING },
        Stage::Outgoing => Asks { oif: devices, ..Asks::NOTHING },
        _ => Asks::NOTHING,
    };
    Way { stage, asks, bridged }
}

/// Adds the ways of the caller to those of the called; whether one is new.
fn follow(ways: &mut BTreeMap<Key, Vec<Way>>, (caller, asks, called): &(Key, Asks, Key)) -> bool {
    let anywhere = [Way { stage: Stage::Called, asks: Asks::NOTHING, bridged: caller.0 == BRIDGE }];
    let from = ways.get(caller).map_or_else(Vec::new, |from| narrowed(from, asks));
    if from.is_empty() {
        return false;
    }
    let to = ways.entry(called.clone()).or_default();
    if *to == anywhere {
        return false;
    }
    let known = to.len();
    for way in from {
        if !to.contains(&way) {
            to.push(way);
        }
    }
    if to.len() > MOST {
        *to = anywhere.to_vec();
    }
    to.len() != known
}
