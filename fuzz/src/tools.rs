//! Any text as what nft, iptables and tc answer to `doctor` and `why`: rules are found in it or not, and none that is not
//! there.

use serde_json::Value;

use qosbpf::{
    diagnosis::{
        iptables, nft,
        tc::{self, Place},
    },
    hook::Direction,
};

/// What separates the two answers of nft.
const SPLIT: &str = "\n%%\n";

pub fn hold(input: &[u8]) {
    let Ok(said) = str::from_utf8(input) else { return };
    let (json, text) = said.split_once(SPLIT).unwrap_or((said, ""));
    of_nft(json, text);
    of_iptables(said);
    of_queues(said);
    let lists = Direction::BOTH.map(Place::List);
    for place in lists.into_iter().chain([Place::Parent("1:".to_owned()), Place::Root]) {
        let Ok(found) = tc::filters(said, &place) else { continue };
        for filter in found.rewrites.iter().chain(&found.programs) {
            assert!(filter.action.is_some() && filter.place == place);
            assert_eq!(filter.removal("wan0").is_some(), filter.handle.is_some());
        }
    }
}

/// A rule has one place, and packets come to it; a flowtable is told of, whatever feeds it.
fn of_nft(json: &str, text: &str) {
    let Ok(found) = nft::read(json, text) else { return };
    let document: Value = serde_json::from_str(json).expect("it was read");
    let items = document["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let count = |kind: &str| items.iter().filter(|item| item.get(kind).is_some()).count();
    assert!(found.rules.len() <= count("rule") && found.rules.iter().all(|rule| !rule.ways.is_empty()));
    assert_eq!(found.flowtables.len(), count("flowtable"));
}

/// A rule is told of in its own words.
fn of_iptables(said: &str) {
    for rule in iptables::read("iptables", said) {
        let is_it = |line: &str| line.starts_with("-A ") && line.ends_with(&rule.text);
        assert!(said.lines().any(is_it) && !rule.ways.is_empty(), "{rule:?}");
    }
}

/// What changes marks is of a kind that can.
fn of_queues(said: &str) {
    for wash in tc::washes(said, "wan0").unwrap_or_default() {
        assert!(tc::WASHING.contains(&wash.kind.as_str()), "{wash:?}");
    }
}
