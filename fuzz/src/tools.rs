//! Any text as what nft, iptables and tc answer to `doctor` and `why`: rules are found in it or not.

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
    let _ruleset = nft::read(json, text);
    let _rules = iptables::read("iptables", said);
    let _washes = tc::washes(said, "wan0");
    let lists = Direction::BOTH.map(Place::List);
    for place in lists.into_iter().chain([Place::Parent("1:".to_owned()), Place::Root]) {
        let Ok(found) = tc::filters(said, &place) else { continue };
        for filter in found.rewrites.iter().chain(&found.programs) {
            assert!(filter.action.is_some() && filter.place == place);
            assert_eq!(filter.removal("wan0").is_some(), filter.handle.is_some());
        }
    }
}
