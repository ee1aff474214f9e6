//! Any bytes as a text in a pin, of a hook, a policy, a change, counters put aside; or as a question to the service. It is
//! read or refused; what is read can be used, and says the same when it is written again.

use qos_common::{meter::METER_SLOTS, rules::RULE_SLOTS};
use qosbpf::{
    cmd::control::{Answer, Question},
    kernel::{
        past::Past,
        pending::Pending,
        state::{HookState, PolicyRecord},
    },
    policy::{
        self, Source,
        classifier::{Input, compile},
    },
    snapshot::baseline::Baseline,
};
use serde::{Serialize, de::DeserializeOwned};

pub fn hold(text: &[u8]) {
    if let Some(state) = again::<HookState>(text) {
        is_of_use(&state);
    }
    if let Some(record) = again::<PolicyRecord>(text) {
        let source = Source::new(&record.file, record.text.into_bytes());
        let _read = source.and_then(|source| policy::parse(&source));
    }
    again::<Pending>(text);
    again::<Past>(text);
    again::<Baseline>(text);
    again::<Question>(text);
    again::<Answer>(text);
}

fn again<T: Serialize + DeserializeOwned>(text: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(text).ok()?;
    let written = serde_json::to_vec(&value).ok()?;
    let again: T = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
    Some(value)
}

/// What a command does with it before it asks the kernel.
fn is_of_use(state: &HookState) {
    let _loaded = state.specialisation(None);
    let Some(binding) = &state.binding else { return };
    let _said = (binding.label(), binding.words(), binding.from([(2, "lan0")]));
    let rules: Vec<_> = binding.rules.iter().collect();
    let slots: Vec<u16> = (0..rules.len()).map(|rule| (rule % RULE_SLOTS) as u16).collect();
    let meters: Vec<u16> = (0..rules.len()).map(|rule| (rule % METER_SLOTS) as u16).collect();
    let interfaces = [(2, "lan0".to_owned())];
    let _tables = compile(&Input { rules: &rules, slots: &slots, meter_slots: &meters, interfaces: &interfaces });
}
