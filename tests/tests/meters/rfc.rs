//! The arithmetic of RFC 2697, 2698 and 4115 as their texts have it, color-blind, in fractions of bytes.

use std::time::Instant;

use qosbpf::policy::model::MeterKind;

/// The packets that become green, yellow and red, if all have so many bytes and come at these moments.
pub fn colors(kind: MeterKind, bytes: usize, mut moments: Vec<Instant>) -> [u64; 3] {
    moments.sort_unstable();
    let mut buckets = Buckets::full(kind);
    let mut given = [0; 3];
    let mut last = moments.first().copied();
    for moment in moments {
        let passed = last.replace(moment).map_or(0.0, |last| (moment - last).as_secs_f64());
        buckets.fill(passed);
        given[buckets.take(bytes as f64)] += 1;
    }
    given
}

/// C, and beside it P or E.
struct Buckets {
    kind: MeterKind,
    rates: [f64; 2],
    sizes: [f64; 2],
    tokens: [f64; 2],
}

impl Buckets {
    fn full(kind: MeterKind) -> Self {
        let (rates, sizes) = match kind {
            MeterKind::SrTcm { cir, cbs, ebs } => ([cir, 0], [cbs, ebs]),
            MeterKind::TrTcm { cir, cbs, pir, pbs } => ([cir, pir], [cbs, pbs]),
            MeterKind::Rfc4115 { cir, cbs, eir, ebs } => ([cir, eir], [cbs, ebs]),
        };
        let sizes = sizes.map(|bytes| bytes as f64);
        Self { kind, rates: rates.map(|bytes| bytes as f64), sizes, tokens: sizes }
    }

    fn fill(&mut self, seconds: f64) {
        let [first, second] = [0, 1].map(|bucket| self.tokens[bucket] + self.rates[bucket] * seconds);
        // RFC 2697: what C cannot hold goes to E.
        let over = if matches!(self.kind, MeterKind::SrTcm { .. }) { (first - self.sizes[0]).max(0.0) } else { 0.0 };
        self.tokens = [first.min(self.sizes[0]), (second + over).min(self.sizes[1])];
    }

    /// 0 is green, 1 yellow, 2 red.
    fn take(&mut self, bytes: f64) -> usize {
        let [first, second] = self.tokens.map(|tokens| tokens >= bytes);
        let (color, from): (usize, &[usize]) = match self.kind {
            MeterKind::TrTcm { .. } if !second => (2, &[]),
            MeterKind::TrTcm { .. } if first => (0, &[0, 1]),
            _ if first => (0, &[0]),
            _ if second => (1, &[1]),
            _ => (2, &[]),
        };
        from.iter().for_each(|bucket| self.tokens[*bucket] -= bytes);
        color
    }
}
