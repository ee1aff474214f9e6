//! `stats --csv`: one row a counter, quoted as RFC 4180 section 2 says, lines ended by LF as Unix tools expect.

use qos_common::{abi::Counter, ds::Dscp};

use crate::snapshot::{
    COLORS, Counts, Hook, RuleCount, Snapshot,
    listed::{FAMILIES, Listed},
};

/// The header line. A cell that a counter does not have is empty.
pub const HEADER: [&str; 14] = [
    "interface",
    "direction",
    "counter",
    "family",
    "ds",
    "dscp",
    "name",
    "ecn",
    "from",
    "to",
    "reason",
    "rule",
    "packets",
    "bytes",
];

/// The text of `stats --csv`.
///
/// `counter` is `before`, `after`, `remarked`, `dropped`, `protected`, `rule`, `meter` (with its color as
/// `reason`, and bytes of IP), `uncounted`, `limited`, `device`,
/// `device_drops` or `qdisc_drops`; it is `error`, with the error as `reason`, for a hook that cannot be read. Rows
/// are those of `stats --json`.
#[must_use]
pub fn stats(snapshot: &Snapshot) -> String {
    let mut csv = Csv(String::new());
    csv.line(&HEADER.map(str::to_owned));
    for hook in &snapshot.hooks {
        match &hook.counts {
            Ok(counts) => csv.hook(hook, counts, &Listed::of(snapshot.policy.as_ref(), hook, counts)),
            Err(error) => csv.push(hook, Row { reason: error.clone(), ..Row::of("error", None) }),
        }
        csv.device(hook);
    }
    csv.0
}

/// The cells of a row behind the hook's.
#[derive(Default)]
struct Row {
    counter: &'static str,
    family: &'static str,
    ds: String,
    dscp: Option<Dscp>,
    ecn: String,
    from: Option<Dscp>,
    to: Option<Dscp>,
    reason: String,
    rule: String,
    packets: Option<u64>,
    bytes: Option<u64>,
}

impl Row {
    fn of(counter: &'static str, amount: Option<Counter>) -> Self {
        let (packets, bytes) = amount.map(|amount| (amount.packets, amount.bytes)).unzip();
        Self { counter, packets, bytes, ..Self::default() }
    }
}

struct Csv(String);

impl Csv {
    fn hook(&mut self, hook: &Hook, counts: &Counts, listed: &Listed<'_>) {
        for (family, ds, amount) in listed.before() {
            let (dscp, ecn) = (Some(ds.dscp()), (ds.ecn() as u8).to_string());
            let before = Row::of("before", Some(amount));
            self.push(hook, Row { family: FAMILIES[family], ds: ds.bits().to_string(), dscp, ecn, ..before });
        }
        for (dscp, amount) in listed.after() {
            self.push(hook, Row { dscp: Some(dscp), ..Row::of("after", Some(amount)) });
        }
        for (from, to, amount) in listed.remarked() {
            self.push(hook, Row { from: Some(from), to: Some(to), ..Row::of("remarked", Some(amount)) });
        }
        for (dscp, amount) in listed.dropped() {
            self.push(hook, Row { dscp: Some(dscp), ..Row::of("dropped", Some(amount)) });
        }
        self.push(hook, Row::of("protected", Some(counts.sums.protected)));
        self.rules(hook);
        self.reasons(hook, "uncounted", ["not_ip", "malformed"], counts.sums.uncounted);
        self.reasons(hook, "limited", ["later_fragment", "header_chain_too_long"], counts.sums.limited);
    }

    fn rules(&mut self, hook: &Hook) {
        for RuleCount { rule, counted, colors, .. } in &hook.rules {
            self.push(hook, Row { rule: rule.name.clone(), ..Row::of("rule", Some(*counted)) });
            for (color, amount) in COLORS.into_iter().zip(colors.iter().flatten()) {
                let row = Row { rule: rule.name.clone(), reason: color.to_owned(), ..Row::of("meter", Some(*amount)) };
                self.push(hook, row);
            }
        }
    }

    fn reasons(&mut self, hook: &Hook, counter: &'static str, reasons: [&str; 2], amounts: [Counter; 2]) {
        for (reason, amount) in reasons.into_iter().zip(amounts) {
            self.push(hook, Row { reason: reason.to_owned(), ..Row::of(counter, Some(amount)) });
        }
    }

    fn device(&mut self, hook: &Hook) {
        if let Some(device) = &hook.device {
            let amount = Counter { packets: device.packets, bytes: device.bytes };
            self.push(hook, Row::of("device", Some(amount)));
            self.push(hook, Row { packets: Some(device.drops), ..Row::of("device_drops", None) });
        }
        if let Some(qdisc) = &hook.qdisc {
            let reason = qdisc.kind.clone();
            self.push(hook, Row { reason, packets: Some(qdisc.drops), ..Row::of("qdisc_drops", None) });
        }
    }

    fn push(&mut self, hook: &Hook, row: Row) {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let dscp = |dscp: Option<Dscp>| number(dscp.map(|dscp| u64::from(dscp.value())));
        self.line(&[
            hook.interface.clone(),
            hook.direction.to_string(),
            row.counter.to_owned(),
            row.family.to_owned(),
            row.ds,
            dscp(row.dscp),
            row.dscp.and_then(Dscp::name).unwrap_or_default().to_owned(),
            row.ecn,
            dscp(row.from),
            dscp(row.to),
            row.reason,
            row.rule,
            number(row.packets),
            number(row.bytes),
        ]);
    }

    fn line(&mut self, cells: &[String; HEADER.len()]) {
        self.0.push_str(&cells.each_ref().map(|cell| quote(cell)).join(","));
        self.0.push('\n');
    }
}

fn quote(cell: &str) -> String {
    if cell.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn the_rows_are_as_promised() {
        insta::assert_snapshot!(stats(&sample::snapshot()));
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let mut snapshot = sample::snapshot();
        snapshot.hooks.truncate(1);
        snapshot.hooks[0].interface = "a,\"b".to_owned();
        snapshot.hooks[0].counts = Err("open: \"denied\", twice".to_owned());
        let text = stats(&snapshot);
        assert_eq!(text.lines().nth(1), Some("\"a,\"\"b\",ingress,error,,,,,,,,\"open: \"\"denied\"\", twice\",,,"));
    }
}
