//! The dearest policy for a program: every rule asks for every kind of field that its hook has, in values of its own.

use core::num::NonZero;

use qos_common::ds::Dscp;
use qosbpf::{
    hook::Direction,
    kernel::object::Program,
    policy::{
        classifier::{Input, Refusal, compile},
        model::{
            Action, Arrived, Condition, Field, Fragment, LogRate, MarkBits, Meter, MeterKind, Origin, Prefixes, Rule,
            Verdict,
        },
    },
    rules::RuleTables,
};

use crate::policies::{Fields, INTERFACES};

/// Two fifths of the instructions that the verifier follows before it gives up: more than this no program may take.
pub const MOST_VERIFIED: u32 = 400_000;

/// The fields that the hook of a program has.
#[must_use]
pub const fn fields(program: Program) -> Fields {
    match program {
        Program::Xdp | Program::XdpFrags => Fields::Xdp,
        Program::Tc(Direction::Ingress) => Fields::Ingress,
        Program::Tc(Direction::Egress) => Fields::Egress,
    }
}

/// The tables of so many such rules; eight of them count and go on.
///
/// # Errors
///
/// What does not fit: nothing, up to 1,024 rules.
pub fn tables(fields: Fields, count: u16) -> Result<RuleTables, Refusal> {
    let rules: Vec<Rule> = (0..count).map(|index| rule(fields, index)).collect();
    let rules: Vec<&Rule> = rules.iter().collect();
    let slots: Vec<u16> = (0..count).collect();
    let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
    let meter_slots: Vec<u16> = slots.iter().map(|rule| rule / METERED).collect();
    let input = Input { rules: &rules, slots: &slots, meter_slots: &meter_slots, interfaces: &interfaces };
    Ok(compile(&input)?.tables)
}

/// One rule in so many meters.
const METERED: u16 = 10;

fn meter() -> Meter {
    let kind = MeterKind::TrTcm { cir: 1_000_000, cbs: 10_000, pir: 2_000_000, pbs: 10_000 };
    let aware = Some(Arrived { yellow: 1 << 36, red: 1 << 38 });
    let verdicts = (Verdict::Keep, Verdict::Set(Dscp::LE), Verdict::Drop);
    Meter { kind, aware, overhead: 24, green: verdicts.0, yellow: verdicts.1, red: verdicts.2 }
}

fn rule(fields: Fields, index: u16) -> Rule {
    let action = match index {
        0..8 => Action::None,
        _ if index.is_multiple_of(9) => Action::Drop,
        _ if index.is_multiple_of(METERED) => Action::Meter(meter()),
        _ => Action::Set(Some(Dscp::EF)),
    };
    let hands_over = fields != Fields::Xdp && action != Action::None;
    Rule {
        name: format!("rule {index}"),
        line: usize::from(index) + 1,
        on: Vec::new(),
        conditions: conditions(fields, index),
        count: action == Action::None,
        action,
        log: index.is_multiple_of(7).then_some(LogRate { events: NonZero::<u32>::MIN.saturating_add(9), seconds: 60 }),
        priority: (hands_over && index.is_multiple_of(2)).then_some(7),
        mark: (hands_over && index.is_multiple_of(3)).then_some(MarkBits { value: 1, mask: 0xff }),
    }
}

/// A condition on each kind of field, every few rules in its `-not` form.
fn conditions(fields: Fields, index: u16) -> Vec<Condition> {
    let mut all = of_the_packet(index);
    if fields != Fields::Xdp {
        all.push(Field::Mark(MarkBits { value: u32::from(index) << 8, mask: 0x3_ff00 }));
    }
    if fields == Fields::Egress {
        all.push(Field::Origin(Origin::Forwarded));
        all.push(Field::From(vec![if index.is_multiple_of(2) { "lan*" } else { "ppp0" }.to_owned()]));
    }
    let negated = |place: usize| (usize::from(index) + place).is_multiple_of(5);
    all.into_iter().enumerate().map(|(place, field)| Condition { negated: negated(place), field }).collect()
}

fn of_the_packet(index: u16) -> Vec<Field> {
    let mut all = vec![
        Field::Dscp(0xff0f << (index % 32)),
        Field::Family(vec![if index.is_multiple_of(2) { 4 } else { 6 }]),
        Field::Src(hosts(u32::from(index))),
        Field::Dst(hosts(u32::from(index) + 5000)),
        Field::Vlan(vec![(index, 2000)]),
        Field::Pcp(vec![(0, 5)]),
        Field::Length(vec![(index, 1500)]),
        Field::Fragment(vec![Fragment::No, Fragment::First]),
    ];
    if index.is_multiple_of(11) {
        all.extend([Field::Proto(vec![(1, 1), (58, 58)]), Field::IcmpType(vec![(0, 8)])]);
    } else {
        let (source, destination) = (vec![(index, 60_000)], vec![(index * 3, 50_000)]);
        all.extend([Field::Proto(vec![(6, 17)]), Field::SrcPort(source), Field::DstPort(destination)]);
        all.push(Field::Port(vec![(index, index), (5000, 6000)]));
    }
    all
}

/// A host of each family, apart from those of other numbers in most of its bytes.
fn hosts(number: u32) -> Prefixes {
    let low = u128::from(number) * 0x1_0001;
    let v6 = 0x2001_0db8 << 96 | u128::from(number) << 64 | low;
    Prefixes { v4: vec![((0x0a00_0000 + number * 77).into(), 32)], v6: vec![(v6.into(), 128)] }
}
