//! Meters of rules to what the kernel program reads.

use qos_common::{
    meter::{Algorithm, MAX_METERS, METER_SLOTS, Meter, MeterRecord},
    policy,
    rules::Record,
};

use super::classifier::{Input, Refusal};
use crate::policy::model::{self, Action, MeterKind, Verdict};

/// The meters of the rules, in the order of their bits.
pub(super) fn compile(input: &Input<'_>, order: &[usize]) -> Result<Vec<MeterRecord>, Refusal> {
    let metering = order.iter().filter_map(|rule| Some((*rule, input.rules[*rule].meter()?)));
    let meters: Vec<MeterRecord> =
        metering.map(|(rule, meter)| Ok(record(meter, slot(input, rule)?))).collect::<Result<_, Refusal>>()?;
    if meters.len() > MAX_METERS {
        return Err(Refusal::TooManyMeters(meters.len()));
    }
    Ok(meters)
}

/// Writes the number of each meter into the record of its rule.
pub(super) fn number(records: &mut [Record]) {
    let metering = records.iter_mut().filter(|record| record.has(Record::METERS));
    metering.zip(0..).for_each(|(record, number)| record.meter = number);
}

/// What may become of a packet that a rule decides.
pub(super) fn verdicts(action: &Action) -> Vec<Verdict> {
    match action {
        Action::None | Action::Set(None) => Vec::new(),
        Action::Set(Some(dscp)) => vec![Verdict::Set(*dscp)],
        Action::Drop => vec![Verdict::Drop],
        Action::Meter(meter) => vec![meter.green, meter.yellow, meter.red],
    }
}

fn slot(input: &Input<'_>, rule: usize) -> Result<u32, Refusal> {
    let slot = input.meter_slots.get(rule).filter(|slot| usize::from(**slot) < METER_SLOTS);
    slot.map(|slot| u32::from(*slot)).ok_or_else(|| Refusal::Slot(input.rules[rule].name.clone()))
}

fn record(meter: &model::Meter, slot: u32) -> MeterRecord {
    let verdicts = [meter.green, meter.yellow, meter.red].map(|verdict| match verdict {
        Verdict::Keep => policy::Verdict::KEEP,
        Verdict::Set(dscp) => policy::Verdict::mark(dscp),
        Verdict::Drop => policy::Verdict::DROP,
    });
    let mut record = MeterRecord::new(algorithm(meter.kind), slot, verdicts);
    record.overhead = meter.overhead.into();
    if let Some(arrived) = meter.aware {
        (record.yellow, record.red) = (arrived.yellow, arrived.red);
    }
    record
}

fn algorithm(kind: MeterKind) -> Meter {
    match kind {
        MeterKind::SrTcm { cir, cbs, ebs } => Meter::new(Algorithm::SrTcm, (cir, cbs), (cir, ebs)),
        MeterKind::TrTcm { cir, cbs, pir, pbs } => Meter::new(Algorithm::TrTcm, (cir, cbs), (pir, pbs)),
        MeterKind::Rfc4115 { cir, cbs, eir, ebs } => Meter::new(Algorithm::Rfc4115, (cir, cbs), (eir, ebs)),
    }
}
