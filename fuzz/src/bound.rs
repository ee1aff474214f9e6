//! What a policy says of one hook, compiled, in memory.

use qos_common::{
    locate::Link,
    meter::METER_SLOTS,
    policy::{Local, Table},
};
use qos_vectors::hook::{Hook, HookRules};
use qosbpf::{
    hook::Direction,
    policy::{
        Policy, RemarkTable,
        classifier::{Input, compile},
        model::Rule,
    },
    rules::RuleTables,
};

/// The interfaces that there are; one number has more than sixteen bits.
pub const INTERFACES: [(u32, &str); 3] = [(2, "lan0"), (3, "wan0"), (0x1_0003, "ppp0")];

/// An interface by its name; 0 for none, and nothing for one that is not there.
pub fn number(name: Option<&str>) -> Option<u32> {
    let Some(name) = name else { return Some(0) };
    INTERFACES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// What a policy says of one hook.
pub struct Bound<'a> {
    pub rules: Vec<&'a Rule>,
    pub table: Option<&'a RemarkTable>,
    pub local: Local,
}

impl<'a> Bound<'a> {
    pub fn of(policy: &'a Policy, interface: &str, direction: Direction) -> Self {
        let table = policy.bind(interface, direction).map(|bound| bound.table);
        let local = if direction == Direction::Egress { policy.local(interface) } else { Local::Policy };
        Self { rules: policy.rules_for(interface, direction), table, local }
    }

    /// The compiled rules in memory; `None` for what is refused, as too large.
    pub fn hook(&self) -> Option<Hook> {
        let slots: Vec<u16> = (0..self.rules.len() as u16).collect();
        let meter_slots: Vec<u16> = slots.iter().map(|slot| slot % METER_SLOTS as u16).collect();
        let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
        let input = Input { rules: &self.rules, slots: &slots, meter_slots: &meter_slots, interfaces: &interfaces };
        let RuleTables { plan, asked, pages, rows, records, meters, .. } = compile(&input).ok()?.tables;
        let rules = HookRules::new(plan, asked, pages, rows, records, meters);
        let table = self.table.map_or(Table::IDENTITY, RemarkTable::compile);
        Some(Hook { local: self.local, rules, ..Hook::new(Link::Ethernet, table) })
    }
}
