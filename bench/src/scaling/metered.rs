//! Programs with one rule for all packets: without more, with a log, and with each kind of meter; on several CPUs they share
//! its buckets.

use std::sync::Arc;

use anyhow::ensure;
use aya::Ebpf;
use qos_common::{locate::Link, policy::Local};
use qosbpf::{
    kernel::{
        counters,
        object::{self, Form, Loaded, Program, Specialisation},
    },
    policy::{
        classifier::{Input, compile},
        model::{Action, LogRate, Meter, MeterKind, Rule, Verdict},
    },
};

/// In bytes a second, and in bytes: more than a test run offers, so that each packet takes from both buckets.
const RATE: u64 = 40_000_000_000;
const SIZE: u64 = 4_000_000_000;

/// The programs with their names.
///
/// # Errors
///
/// What bpf(2) says.
pub fn programs() -> anyhow::Result<Vec<(&'static str, Loaded)>> {
    let mut wanted = wanted()?;
    let again = wanted.first().map(|(_, form, first)| (BASES[1], *form, first.clone()));
    wanted.extend(again);
    let load = |(name, form, wanted)| Ok((name, object::load_form(form, Program::Xdp, &wanted, None)?));
    wanted.into_iter().map(load).collect()
}

/// The program without more, twice: what the others add is above the middle of both.
pub const BASES: [&str; 2] = ["one rule", "one rule, again"];

/// Checks that a meter gave the color green to each packet: the way that is measured.
///
/// # Errors
///
/// That it did not.
pub fn is_green(name: &str, ebpf: &Ebpf, sent: u64) -> anyhow::Result<()> {
    if !name.contains("TCM") && !name.contains("RFC") {
        return Ok(());
    }
    let counted = counters::read_meter_map(ebpf)?;
    let color = |color: usize| counted.0.iter().map(|meter| meter[color].packets).sum::<u64>();
    let colors = [color(0), color(1), color(2)];
    ensure!(colors == [sent, 0, 0], "of {sent} packets {colors:?} were green, yellow and red");
    Ok(())
}

/// What is loaded, and in which form; the rule without more first.
///
/// # Errors
///
/// That rules cannot be compiled.
pub fn wanted() -> anyhow::Result<Vec<(&'static str, Form, Specialisation)>> {
    let trtcm = MeterKind::TrTcm { cir: RATE, cbs: SIZE, pir: RATE, pbs: SIZE };
    let rfc4115 = MeterKind::Rfc4115 { cir: RATE, cbs: SIZE, eir: RATE, ebs: SIZE };
    let srtcm = MeterKind::SrTcm { cir: RATE, cbs: SIZE, ebs: SIZE };
    let mut wanted = vec![
        (BASES[0], Form::Rules, specialised(None, None)?),
        (
            "one rule, log of one a second",
            Form::Rules,
            specialised(None, Some(LogRate { events: core::num::NonZero::<u32>::MIN, seconds: 1 }))?,
        ),
    ];
    let metered = |kind| specialised(Some(kind), None);
    if metered(trtcm)?.form() == Form::Swap {
        wanted.push(("one rule, trTCM by swap", Form::Swap, metered(trtcm)?));
        wanted.push(("one rule, RFC 4115 by swap", Form::Swap, metered(rfc4115)?));
    }
    wanted.push(("one rule, trTCM by lock", Form::Rules, metered(trtcm)?));
    wanted.push(("one rule, srTCM", Form::Rules, metered(srtcm)?));
    Ok(wanted)
}

/// Keeps every mark, whatever its color.
fn specialised(kind: Option<MeterKind>, log: Option<LogRate>) -> anyhow::Result<Specialisation> {
    let metered = |kind| {
        let [green, yellow, red] = [Verdict::Keep; 3];
        Action::Meter(Meter { kind, aware: None, overhead: 0, green, yellow, red })
    };
    let rule = Rule {
        name: "all".to_owned(),
        line: 1,
        on: Vec::new(),
        conditions: Vec::new(),
        action: kind.map_or(Action::Set(None), metered),
        count: false,
        log,
        priority: None,
        mark: None,
    };
    let tables = compile(&Input { rules: &[&rule], slots: &[0], meter_slots: &[0], interfaces: &[] })?.tables;
    let counting = Specialisation::counting(Link::Ethernet);
    Ok(Specialisation { rules: Some(Arc::new(tables)), local: Local::Policy, ..counting })
}
