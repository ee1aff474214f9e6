//! Any bytes as a text in a pin: what is remembered of a hook, of a policy, of a change, of counters put aside. It is read
//! or refused; what is read can be used, and says the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qosbpf::{
    kernel::{past::Past, pending::Pending, state::{HookState, PolicyRecord}},
    policy::{self, Source, classifier::{Input, compile}},
    snapshot::baseline::Baseline,
};
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|text: &[u8]| {
    if let Some(state) = again::<HookState>(text) {
        use_state(&state);
    }
    if let Some(record) = again::<PolicyRecord>(text) {
        let source = Source::new(&record.file, record.text.into_bytes());
        let _read = source.and_then(|source| policy::parse(&source));
    }
    again::<Pending>(text);
    again::<Past>(text);
    again::<Baseline>(text);
});

fn again<T: Serialize + DeserializeOwned>(text: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(text).ok()?;
    let written = serde_json::to_vec(&value).ok()?;
    let again: T = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
    Some(value)
}

/// What a command does with it before it asks the kernel.
fn use_state(state: &HookState) {
    let _loaded = state.specialisation(None);
    let Some(binding) = &state.binding else { return };
    let _label = (binding.label(), binding.words(), binding.from([(2, "lan0")]));
    let rules: Vec<_> = binding.rules.iter().collect();
    let slots: Vec<u16> = (0..rules.len()).map(|rule| (rule % 2048) as u16).collect();
    let meters: Vec<u16> = slots.iter().map(|slot| slot % 128).collect();
    let interfaces = [(2, "lan0".to_owned())];
    let _tables = compile(&Input { rules: &rules, slots: &slots, meter_slots: &meters, interfaces: &interfaces });
}
