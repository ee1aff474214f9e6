//! Remark tables of the kinds that find different faults.

use qos_common::{
    ds::Dscp,
    locate::Link,
    policy::{Local, Table},
};
use qosbpf::{
    kernel::object::Specialisation,
    policy::{
        Source,
        classifier::{Input, compile},
        model::Rule,
        parse,
    },
    rules::RuleTables,
};

use crate::metered;

/// The tables by their names in test output.
#[must_use]
pub fn all() -> [(&'static str, Table); 3] {
    [("permutation", permutation()), ("wash", wash()), ("fixed-points", fixed_points())]
}

/// Every codepoint becomes another one, and no two the same: a slip in either half of the matrix shows.
#[must_use]
pub fn permutation() -> Table {
    // 5 is odd, so it has an inverse modulo 64; 5d + 7 = d has no solution there.
    table(|dscp| dscp.wrapping_mul(5).wrapping_add(7))
}

/// Everything becomes DF: what the provider marked is not trusted.
#[must_use]
pub fn wash() -> Table {
    table(|_| 0)
}

/// Even codepoints stay, EF, CS6 and CS7 among them; odd ones become the even one below.
#[must_use]
pub fn fixed_points() -> Table {
    table(|dscp| dscp & 62)
}

fn table(to: impl Fn(u8) -> u8) -> Table {
    let mut table = Table::IDENTITY;
    for from in Dscp::all() {
        if let Some(to) = Dscp::new(to(from.value()) & 63) {
            table.set(from, to);
        }
    }
    table
}

/// The compiled rules of a policy, of which none names an interface by `from`.
///
/// # Errors
///
/// That the policy has a mistake.
pub fn rules(policy: &str) -> anyhow::Result<RuleTables> {
    let problem = |report| anyhow::anyhow!("{report:?}");
    let policy = parse(&Source::new("rules.toml", policy.into()).map_err(problem)?).map_err(problem)?;
    let rules: Vec<&Rule> = policy.rules().iter().collect();
    let slots: Vec<u16> = (0..rules.len() as u16).collect();
    let meter_slots = metered::slots(policy.rules());
    Ok(compile(&Input { rules: &rules, slots: &slots, meter_slots: &meter_slots, interfaces: &[] })?.tables)
}

/// Counting alone, and each table; each with another setting of `local`.
#[must_use]
pub fn specialisations(link: Link) -> [(&'static str, Specialisation); 4] {
    let with = |table, local| Specialisation { table: Some(table), local, ..Specialisation::counting(link) };
    [
        ("counting", Specialisation::counting(link)),
        ("permutation", with(permutation(), Local::KeepControl)),
        ("wash", with(wash(), Local::Policy)),
        ("fixed-points", with(fixed_points(), Local::Keep)),
    ]
}
