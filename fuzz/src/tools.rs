//! Any text as what nft, iptables and tc answer to `doctor` and `why`: rules are found in it or not.

use qosbpf::{
    diagnosis::{iptables, nft, tc},
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
    for direction in Direction::BOTH {
        if let Ok((rewrites, _)) = tc::filters(said, direction) {
            assert!(rewrites.iter().all(|filter| filter.action.is_some() && filter.direction == direction));
        }
    }
}
