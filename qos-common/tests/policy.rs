//! Tables and decisions, all of them.

use qos_common::{
    abi::{Counter, Counters, RemarkedHalf},
    ds::{DsField, Dscp, Ecn},
    policy::{Decision, Local, Origin, Table, Verdict, Wanted},
};

#[test]
fn a_ds_field_is_six_bits_and_two() {
    for bits in 0..=255u8 {
        let ds = DsField::new(bits);
        assert_eq!((ds.bits(), ds.dscp().value(), ds.ecn() as u8), (bits, bits / 4, bits % 4));
        for dscp in Dscp::all() {
            assert_eq!(ds.with_dscp(dscp).bits(), dscp.value() * 4 + bits % 4);
        }
    }
    assert_eq!([0, 1, 2, 3].map(|bits| DsField::new(bits).ecn()), [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce]);
}

#[test]
fn there_are_64_codepoints_and_24_names() {
    assert_eq!(Dscp::all().count(), 64);
    assert_eq!(Dscp::all().filter(|dscp| dscp.name().is_some()).count(), 24);
    for value in 0..=255 {
        assert_eq!(Dscp::new(value).map(Dscp::value), (value < 64).then_some(value));
    }
    for x in 1..=4u8 {
        for y in 1..=3 {
            assert_eq!(Dscp::from_name(&format!("AF{x}{y}")).map(Dscp::value), Some(8 * x + 2 * y));
        }
    }
    for n in 0..8 {
        assert_eq!(Dscp::from_name(&format!("cs{n}")).map(Dscp::value), Some(8 * n));
    }
    let control: Vec<u8> = Dscp::all().filter(|dscp| dscp.is_network_control()).map(Dscp::value).collect();
    assert_eq!(control, [48, 56]);
}

#[test]
fn every_cell_of_a_table_is_its_own() {
    for (from, to) in Dscp::all().flat_map(|from| Dscp::all().map(move |to| (from, to))) {
        let mut table = Table::IDENTITY;
        table.set(from, to);
        for dscp in Dscp::all() {
            let wanted = if dscp == from { to } else { dscp };
            assert_eq!((table.get(dscp), table.bytes()[dscp.index()]), (wanted, wanted.value()));
        }
        assert_eq!(table.changes_anything(), from != to);
    }
}

#[test]
fn every_cell_of_the_matrix_is_its_own() {
    let one = Counter { packets: 1, bytes: 100 };
    for (from, to) in Dscp::all().flat_map(|from| Dscp::all().map(move |to| (from, to))) {
        let mut halves = [RemarkedHalf::ZERO, RemarkedHalf::ZERO];
        halves[RemarkedHalf::of(from) as usize].cell_mut(from, to).add(one);
        let flat: Vec<Counter> = halves.iter().flat_map(|half| half.0.as_flattened()).copied().collect();
        let at = usize::from(from.value()) * 64 + usize::from(to.value());
        assert!(flat.iter().enumerate().all(|(index, cell)| (*cell == one) == (index == at)));
    }
}

fn decide(ds: DsField, verdict: Verdict, local: Local, origin: impl FnOnce() -> Origin) -> Decision {
    Wanted { verdict, local }.decide(ds, origin)
}

#[test]
fn every_decision() {
    for ds in (0..=255).map(DsField::new) {
        for verdict in Dscp::all().map(Verdict::mark).chain([Verdict::KEEP, Verdict::DROP]) {
            for local in [Local::Policy, Local::KeepControl, Local::Keep] {
                for origin in [Origin::Local, Origin::Forwarded] {
                    assert_eq!(decide(ds, verdict, local, || origin), rule(ds, verdict, local, origin));
                }
            }
        }
    }
}

fn rule(ds: DsField, verdict: Verdict, local: Local, origin: Origin) -> Decision {
    let control = matches!(ds.bits() >> 2, 48 | 56);
    match (local, origin) {
        _ if verdict.bits() == 64 || ds.bits() >> 2 == verdict.bits() => Decision::Keep,
        (Local::Keep, Origin::Local) => Decision::Protected,
        (Local::KeepControl, Origin::Local) if control => Decision::Protected,
        _ if verdict.bits() == 65 => Decision::Drop,
        _ => Decision::Remark(Dscp::new(verdict.bits()).unwrap()),
    }
}

#[test]
fn the_origin_is_asked_only_where_it_matters() {
    let never = || panic!("asked");
    assert_eq!(decide(DsField::new(0xc0), Verdict::mark(Dscp::CS6), Local::Keep, never), Decision::Keep);
    assert_eq!(
        decide(DsField::new(0xb8), Verdict::mark(Dscp::DF), Local::KeepControl, never),
        Decision::Remark(Dscp::DF)
    );
    assert_eq!(decide(DsField::new(0xc0), Verdict::mark(Dscp::DF), Local::Policy, never), Decision::Remark(Dscp::DF));
}

#[test]
fn counters_of_two_cpus_are_added_and_wrap() {
    let cpu: [u64; Counters::WORDS] = std::array::from_fn(|word| word as u64 + 1);
    let mut later = cpu;
    let last = Counters::WORDS - 3;
    (later[last], later[last + 1]) = (cpu[last] + 2, 77);
    let mut sum = Box::new(Counters::ZERO);
    sum.merge(&cpu);
    sum.merge(&later);
    let mut word = 1;
    let mut twice = || {
        word += 2;
        Counter { packets: 2 * (word - 2), bytes: 2 * (word - 1) }
    };
    assert_eq!(sum.kept, std::array::from_fn(|_| std::array::from_fn(|_| twice())));
    assert_eq!(sum.changed, std::array::from_fn(|_| std::array::from_fn(|_| twice())));
    assert_eq!(sum.ruled, std::array::from_fn(|_| twice()));
    assert_eq!(sum.dropped, std::array::from_fn(|_| twice()));
    assert_eq!(sum.protected, twice());
    assert_eq!(sum.uncounted, std::array::from_fn(|_| twice()));
    assert_eq!(sum.limited, std::array::from_fn(|_| twice()));
    assert_eq!((sum.last, sum.log_budget), (cpu[last] + 2, 0), "the later one, and budgets are nobody's sum");
    let mut full = Counter { packets: u64::MAX, bytes: u64::MAX - 1 };
    full.add(Counter { packets: 1, bytes: 3 });
    assert_eq!(full, Counter { packets: 0, bytes: 1 });
}
