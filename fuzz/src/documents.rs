//! Any bytes as a text in a pin, of a hook, a policy, a change, counters put aside; or as a question to the service. It is
//! read or refused; what is read can be used, and says the same when it is written again.

use std::{collections::HashSet, time::SystemTime};

use qos_common::{abi::Counter, meter::METER_SLOTS, rules::RULE_SLOTS};
use qosbpf::{
    cmd::control::{Answer, Question},
    kernel::{
        past::Past,
        pending::Pending,
        slots::{Slots, Wants},
        state::{HookState, PolicyRecord},
    },
    policy::{
        self, Source,
        classifier::{Input, compile},
    },
    snapshot::{Counts, baseline::Baseline, made::Earlier},
};
use serde::{Serialize, de::DeserializeOwned};

pub fn hold(text: &[u8]) {
    if let Some(state) = again::<HookState>(text) {
        is_of_use(&state);
        says_what_was_counted(&state);
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
    let _said = (binding.label(), binding.words(), binding.named(&[(2, "lan0".to_owned())]));
    let rules: Vec<_> = binding.rules.iter().collect();
    let slots: Vec<u16> = (0..rules.len()).map(|rule| (rule % RULE_SLOTS) as u16).collect();
    let meters: Vec<u16> = (0..rules.len()).map(|rule| (rule % METER_SLOTS) as u16).collect();
    let interfaces = [(2, "lan0".to_owned())];
    let _tables = compile(&Input { rules: &rules, slots: &slots, meter_slots: &meters, interfaces: &interfaces });
}

/// What is said of a hook's counters, whatever had been counted when it was written.
fn says_what_was_counted(state: &HookState) {
    let mut counts = Counts::zero();
    counts.sums.kept[0][184] = Counter { packets: 7, bytes: 700 };
    counts.remarked[46][0] = Counter { packets: 3, bytes: 300 };
    let _next = state.tabled.next(&counts, true, false, SystemTime::UNIX_EPOCH);
    let _known = Earlier::next(state.earlier.as_ref(), &counts, |_change| true);
    state.tabled.leave(&mut counts);
    let rules = state.binding.iter().flat_map(|binding| &binding.rules);
    let names: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
    are_given(&state.slots, &wants(&names, ""), RULE_SLOTS);
    are_given(&state.meters, &wants(&names, "trtcm"), METER_SLOTS);
}

fn wants(rules: &[&str], numbers: &str) -> Vec<Wants> {
    rules.iter().map(|rule| Wants { rule: (*rule).to_owned(), numbers: numbers.to_owned() }).collect()
}

/// Each rule has a counter of its own, among those that there are.
fn are_given(slots: &Slots, wants: &[Wants], room: usize) {
    let counted = |_slot| vec![Counter { packets: 5, bytes: 500 }];
    let _sums = slots.counts(counted);
    let names: HashSet<&Wants> = wants.iter().collect();
    let Ok(given) = slots.clone().assign(room, wants, &[], counted) else { return };
    if names.len() == wants.len() {
        let numbers: HashSet<u16> = given.slots.iter().copied().collect();
        assert_eq!(numbers.len(), wants.len(), "two rules count in one place");
        assert!(numbers.iter().all(|number| usize::from(*number) < room), "a rule counts nowhere");
    }
}
