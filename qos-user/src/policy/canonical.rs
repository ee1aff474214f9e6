//! Rules, sets and tests in the one form that is hashed: sorted, without defaults, numbers for words.
//!
//! Whatever is written here stays as it is: a hash on a router must not change with the program.

use serde_json::{Value, json};

use crate::{
    hook::Direction,
    policy::{
        expectations::PolicyTest,
        model::{
            Action, Arrived, Condition, Field, Fragment, MarkBits, Meter, MeterKind, Origin, Place, Prefixes, Rule,
            Verdict,
        },
        packet::Packet,
    },
};

/// A rule without its line. The order of rules has a meaning, that of places and conditions has none.
pub(super) fn rule(rule: &Rule) -> Value {
    let mut on = rule.on.iter().map(place).collect::<Vec<_>>();
    on.sort_unstable();
    on.dedup();
    // Lists of pairs, not objects: the order of an object's keys is serde_json's to choose.
    let mut conditions = rule.conditions.iter().map(condition).collect::<Vec<_>>();
    conditions.sort_by(|(one, _), (other, _)| one.cmp(other));
    let log = rule.log.map(|rate| [rate.events.get(), rate.seconds]);
    let mark = rule.mark.map(bits);
    json!([rule.name, on, conditions, action(&rule.action), rule.count, log, rule.priority, mark])
}

fn place(place: &Place) -> String {
    format!("{}:{}", place.pattern, place.direction.map_or("both", Direction::as_str))
}

fn condition(condition: &Condition) -> (String, Value) {
    let (name, value) = field(&condition.field);
    (format!("{name}{}", if condition.negated { "-not" } else { "" }), value)
}

fn field(field: &Field) -> (&'static str, Value) {
    match field {
        Field::Dscp(bits) => ("dscp", json!(bits)),
        Field::Family(versions) => ("family", json!(versions)),
        Field::Proto(ranges) => ("proto", json!(ranges)),
        Field::Src(addresses) => ("src", prefixes(addresses)),
        Field::Dst(addresses) => ("dst", prefixes(addresses)),
        Field::SrcPort(ranges) => ("src-port", json!(ranges)),
        Field::DstPort(ranges) => ("dst-port", json!(ranges)),
        Field::Port(ranges) => ("port", json!(ranges)),
        Field::Vlan(ranges) => ("vlan", json!(ranges)),
        Field::Pcp(ranges) => ("pcp", json!(ranges)),
        Field::Length(ranges) => ("length", json!(ranges)),
        Field::Fragment(kinds) => ("fragment", kinds.iter().copied().map(fragment).collect()),
        Field::IcmpType(ranges) => ("icmp-type", json!(ranges)),
        Field::Mark(mark) => ("mark", bits(*mark)),
        Field::Origin(from) => ("origin", origin(*from)),
        Field::From(patterns) => ("from", json!(patterns)),
    }
}

/// Both families, each sorted.
pub(super) fn prefixes(prefixes: &Prefixes) -> Value {
    let v4 = prefixes.v4.iter().map(|(network, length)| format!("{network}/{length}"));
    let v6 = prefixes.v6.iter().map(|(network, length)| format!("{network}/{length}"));
    v4.chain(v6).collect()
}

fn fragment(fragment: Fragment) -> Value {
    json!(match fragment {
        Fragment::No => "no",
        Fragment::First => "first",
        Fragment::Later => "later",
    })
}

fn origin(origin: Origin) -> Value {
    json!(match origin {
        Origin::Local => "local",
        Origin::Forwarded => "forwarded",
    })
}

fn bits(mark: MarkBits) -> Value {
    json!([mark.value, mark.mask])
}

fn action(action: &Action) -> Value {
    match action {
        Action::None => Value::Null,
        Action::Set(Some(dscp)) => json!(["set", dscp.value()]),
        Action::Set(None) => json!(["set", "keep"]),
        Action::Drop => json!(["drop"]),
        Action::Meter(meter) => json!(["meter", self::meter(meter)]),
    }
}

fn meter(meter: &Meter) -> Value {
    let kind = match meter.kind {
        MeterKind::SrTcm { cir, cbs, ebs } => json!(["srtcm", cir, cbs, ebs]),
        MeterKind::TrTcm { cir, cbs, pir, pbs } => json!(["trtcm", cir, cbs, pir, pbs]),
        MeterKind::Rfc4115 { cir, cbs, eir, ebs } => json!(["rfc4115", cir, cbs, eir, ebs]),
    };
    let aware = meter.aware.map_or(Value::Null, |Arrived { yellow, red }| json!([yellow, red]));
    let colors = [meter.green, meter.yellow, meter.red].map(verdict);
    json!([kind, aware, meter.overhead, colors])
}

fn verdict(verdict: Verdict) -> Value {
    match verdict {
        Verdict::Keep => json!("keep"),
        Verdict::Set(dscp) => json!(dscp.value()),
        Verdict::Drop => json!("drop"),
    }
}

/// A test without its line.
pub(super) fn test(test: &PolicyTest) -> Value {
    let on = format!("{}:{}", test.interface, test.direction);
    json!([test.name, on, packet(&test.packet), verdict(test.expect)])
}

fn packet(packet: &Packet) -> Value {
    json!([
        [packet.src, packet.dst],
        packet.dscp.value() << 2 | packet.ecn as u8,
        packet.proto,
        [packet.src_port, packet.dst_port],
        packet.icmp_type,
        fragment(packet.fragment),
        [packet.vlan, packet.pcp.map(u16::from)],
        packet.length,
        packet.mark,
        packet.origin.map(origin),
        packet.from,
    ])
}
