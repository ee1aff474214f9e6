//! Rules that meter, from the policy's model to what becomes of packets on the host.

use qos_common::{
    ds::Dscp,
    gso::{Gso, Length},
    locate::Link,
    meter::MeterCounter,
    policy::{Decision, Local, Origin, Table},
};
use qos_vectors::hook::{Arrival, Hook, HookRules};
use qosbpf::{
    policy::{
        classifier::{Compiled, Input, Refusal, compile},
        model::{Action, Arrived, Condition, Field, Meter, MeterKind, Rule, Verdict},
    },
    rules::RuleTables,
};

const SLOT: u16 = 200;

fn rule(action: Action, conditions: Vec<Condition>) -> Rule {
    Rule {
        name: "metered".to_owned(),
        line: 1,
        on: Vec::new(),
        conditions,
        action,
        count: false,
        log: None,
        priority: None,
        mark: None,
    }
}

/// Green keeps its mark, yellow becomes LE, red is dropped; 1 MB/s, of which C holds two packets of 1,000 bytes and E one.
fn meter() -> Meter {
    let kind = MeterKind::SrTcm { cir: 1_000_000, cbs: 2_000, ebs: 1_000 };
    Meter { kind, aware: None, overhead: 0, green: Verdict::Keep, yellow: Verdict::Set(Dscp::LE), red: Verdict::Drop }
}

fn compiled(rules: &[&Rule]) -> Result<Compiled, Refusal> {
    let slots: Vec<u16> = (0..rules.len() as u16).collect();
    compile(&Input { rules, slots: &slots, meter_slots: &vec![SLOT; rules.len()], interfaces: &[] })
}

fn hook(meter: Meter) -> Hook {
    let RuleTables { plan, asked, remarks, pages, rows, records, meters } =
        compiled(&[&rule(Action::Meter(meter), Vec::new())]).unwrap().tables;
    let mut rules = HookRules::new(plan, asked, pages, rows, records, meters);
    rules.meters.now = 1_000_000_000;
    Hook { rules, remarks, ..Hook::new(Link::Layer3, Table::IDENTITY) }
}

/// An IPv4 packet of 1,000 bytes.
fn packet(dscp: Dscp) -> Vec<u8> {
    let mut packet = vec![0; 1_000];
    packet[..4].copy_from_slice(&[0x45, dscp.value() << 2, 0x03, 0xe8]);
    packet[9] = 6;
    packet[32] = 5 << 4;
    packet
}

fn receive(hook: &mut Hook, packet: &[u8]) -> Decision {
    receive_as(hook, packet, &Arrival::single(packet.len(), 0))
}

fn receive_as(hook: &mut Hook, packet: &[u8], arrival: &Arrival) -> Decision {
    let outcome = hook.receive(&mut packet.to_vec()[..], arrival);
    outcome.decided().unwrap_or_else(|| panic!("{outcome:?}")).1
}

fn counts(hook: &Hook) -> [MeterCounter; 3] {
    hook.rules.meters.counters.0[usize::from(SLOT)]
}

const YELLOW: Decision = Decision::Remark(Dscp::LE);

#[test]
fn each_color_has_its_verdict_and_its_counter() {
    let mut hook = hook(meter());
    let decisions = [(); 5].map(|()| receive(&mut hook, &packet(Dscp::EF)));
    assert_eq!(decisions, [Decision::Keep, Decision::Keep, YELLOW, Decision::Drop, Decision::Drop]);
    let counter = |packets| MeterCounter { packets, ip_bytes: packets * 1_000 };
    assert_eq!(counts(&hook), [counter(2), counter(1), counter(2)]);
    assert_eq!(hook.counters.as_ref().unwrap().dropped[46].packets, 2);
    assert_eq!(hook.rules.counters[0].0[0].packets, 5, "a hit whatever the color");
    hook.rules.meters.now += 1_000_000;
    assert_eq!(receive(&mut hook, &packet(Dscp::EF)), Decision::Keep, "a millisecond later C has a packet again");
}

#[test]
fn a_color_aware_meter_never_improves_a_color() {
    let aware = Some(Arrived { yellow: 1 << Dscp::LE.value(), red: 1 << Dscp::DF.value() });
    let mut hook = hook(Meter { aware, yellow: Verdict::Set(Dscp::CS6), ..meter() });
    assert_eq!(receive(&mut hook, &packet(Dscp::DF)), Decision::Drop, "it came red");
    assert_eq!(receive(&mut hook, &packet(Dscp::LE)), Decision::Remark(Dscp::CS6), "it came yellow");
    assert_eq!(receive(&mut hook, &packet(Dscp::LE)), Decision::Drop, "E is empty");
    assert_eq!(receive(&mut hook, &packet(Dscp::EF)), Decision::Keep, "C is not");
}

#[test]
fn overhead_is_charged_for_each_packet_and_not_counted() {
    let mut hook = hook(Meter { overhead: 24, ..meter() });
    let decisions = [(); 3].map(|()| receive(&mut hook, &packet(Dscp::EF)));
    assert_eq!(decisions, [Decision::Keep, Decision::Drop, Decision::Drop], "E holds 1,000 bytes, not 1,024");
    assert_eq!(counts(&hook)[0], MeterCounter { packets: 1, ip_bytes: 1_000 });
}

#[test]
fn a_super_packet_has_one_color_and_is_charged_for_each_segment() {
    let mut hook = hook(meter());
    // 960 bytes of payload behind 40 of headers, in segments of 320.
    let gso = Gso { size: 320, segments: 3 };
    let arrival = Arrival { length: Length { gso: Some(gso), ..Length::single(1_000) }, ..Arrival::single(1_000, 0) };
    let decisions = [(); 3].map(|()| receive_as(&mut hook, &packet(Dscp::EF), &arrival));
    // 360 bytes have to be there, 1,080 are taken: of 2,000, then of 920.
    assert_eq!(decisions, [Decision::Keep, Decision::Keep, YELLOW]);
    assert_eq!(counts(&hook)[0], MeterCounter { packets: 6, ip_bytes: 2_160 });
}

#[test]
fn what_is_charged_is_the_ip_packet_as_far_as_it_is_there() {
    let mut padded = hook(meter());
    let mut long = packet(Dscp::EF);
    long.resize(1_500, 0);
    assert_eq!(receive(&mut padded, &long), Decision::Keep);
    assert_eq!(counts(&padded)[0].ip_bytes, 1_000, "without what is behind it");
    let mut lying = hook(meter());
    let mut short = packet(Dscp::EF);
    short[2..4].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(receive(&mut lying, &short), Decision::Keep);
    assert_eq!(counts(&lying)[0].ip_bytes, 1_000, "not 65,535");
}

#[test]
fn control_that_this_host_made_is_not_metered() {
    let mut hook = hook(Meter { green: Verdict::Set(Dscp::DF), ..meter() });
    hook.local = Local::KeepControl;
    let local = Arrival { origin: Origin::Local, ..Arrival::single(1_000, 0) };
    for _ in 0..5 {
        assert_eq!(receive_as(&mut hook, &packet(Dscp::CS6), &local), Decision::Protected);
    }
    assert_eq!(counts(&hook), [MeterCounter::default(); 3]);
    assert_eq!(hook.counters.as_ref().unwrap().protected.packets, 5);
    assert_eq!(hook.rules.counters[0].0[0].packets, 0);
    assert_eq!(receive(&mut hook, &packet(Dscp::CS6)), Decision::Remark(Dscp::DF), "in transit it is");
}

#[test]
fn each_rule_has_its_own_meter_and_there_is_an_end_to_them() {
    let dscp = |value: u8| vec![Condition { field: Field::Dscp(1 << value), negated: false }];
    let (one, plain) = (rule(Action::Meter(meter()), dscp(46)), rule(Action::Set(None), dscp(10)));
    let other = rule(Action::Meter(Meter { overhead: 4, ..meter() }), dscp(0));
    let tables = compiled(&[&one, &plain, &other]).unwrap().tables;
    assert_eq!(tables.meters.len(), 2);
    let overheads = tables.records.iter().map(|record| tables.meters[record.meter as usize].overhead);
    assert_eq!(overheads.collect::<Vec<_>>(), [0, 0, 4]);
    assert_eq!(compiled(&[&one; 129]).unwrap_err(), Refusal::TooManyMeters(129));
}
