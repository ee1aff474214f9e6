//! Work on several CPUs at once, in rounds.

use std::{sync::Barrier, thread, time::Instant};

use crate::{
    cpu,
    effort::Effort,
    samples::{Samples, Spread, mean, order},
};

/// How often a turn is taken again in which they were not.
const ATTEMPTS: usize = 8;

/// What came of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// Packets handed over on all CPUs.
    pub sent: u64,
    /// Packets counted.
    pub counted: u64,
    /// CPU time for each packet.
    ns: f64,
    /// The share of the time in which all were at work.
    at_once: f64,
}

/// All turns of one who races.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Packets handed over.
    pub sent: u64,
    /// Packets counted.
    pub counted: u64,
    /// A figure for each round in which all CPUs were at work at once.
    rounds: Vec<Option<f64>>,
}

impl Taken {
    /// The figures that there are.
    pub fn samples(&self) -> Samples {
        self.rounds.iter().copied().flatten().collect()
    }

    /// What this takes above the middle of two others, of the rounds that all three have.
    pub fn above(&self, one: &Self, again: &Self) -> Option<Spread> {
        let rounds = self.rounds.iter().zip(&one.rounds).zip(&again.rounds);
        let whole: Vec<[f64; 3]> =
            rounds.filter_map(|((own, one), again)| Some([(*own)?, (*one)?, (*again)?])).collect();
        let [own, one, again] = [0, 1, 2].map(|at| whole.iter().map(|round| round[at]).collect::<Samples>());
        let above = own.paired(&mean(&one, &again), |own, base| own - base);
        (!whole.is_empty()).then(|| above.spread())
    }

    fn add(&mut self, turn: Turn) {
        self.sent += turn.sent;
        self.counted += turn.counted;
    }
}

/// All of them in each round, in another order each time.
///
/// # Errors
///
/// Those of `run`.
pub fn race(
    effort: &Effort,
    lanes: usize,
    mut run: impl FnMut(usize) -> anyhow::Result<Turn>,
) -> anyhow::Result<Vec<Taken>> {
    let mut taken = vec![Taken::default(); lanes];
    for round in 0..effort.rounds {
        for lane in order(round, lanes) {
            let mut figure = None;
            for _ in 0..ATTEMPTS {
                let turn = run(lane)?;
                taken[lane].add(turn);
                if turn.at_once >= effort.at_once {
                    figure = Some(turn.ns);
                    break;
                }
            }
            taken[lane].rounds.push(figure);
        }
    }
    Ok(taken)
}

/// What a thread did, and when.
struct Worked {
    packets: u64,
    ns: f64,
    from: Instant,
    to: Instant,
}

/// Does `work`, which says how many packets it handed over, on all these CPUs at once, each in a thread of its own.
///
/// # Errors
///
/// Those of `work`, or that a thread cannot stay on its CPU.
pub fn together(cpus: &[usize], work: impl Fn() -> anyhow::Result<u64> + Sync) -> anyhow::Result<Turn> {
    let start = Barrier::new(cpus.len());
    let one = |cpu: usize| {
        let pinned = cpu::pin(cpu);
        start.wait();
        pinned?;
        let (from, before) = (Instant::now(), cpu::thread_ns()?);
        let packets = work()?;
        anyhow::Ok(Worked { packets, ns: cpu::thread_ns()? - before, from, to: Instant::now() })
    };
    let worked: anyhow::Result<Vec<Worked>> = thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = cpus.iter().map(|cpu| scope.spawn(move || one(*cpu))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<Worked>>| {
            thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        };
        threads.into_iter().map(join).collect()
    });
    let worked = worked?;
    let sent: u64 = worked.iter().map(|worked| worked.packets).sum();
    let ns = worked.iter().map(|worked| worked.ns).sum::<f64>() / sent as f64;
    Ok(Turn { sent, counted: 0, ns, at_once: at_once(&worked) })
}

/// The share of the time in which all were at work.
fn at_once(worked: &[Worked]) -> f64 {
    let first = worked.iter().map(|worked| worked.from).min().zip(worked.iter().map(|worked| worked.to).max());
    let all = worked.iter().map(|worked| worked.from).max().zip(worked.iter().map(|worked| worked.to).min());
    let span = |ends: Option<(Instant, Instant)>| {
        ends.map_or(0.0, |(from, to)| to.saturating_duration_since(from).as_secs_f64())
    };
    span(all) / span(first).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_worked_alone_was_not_there_at_once() {
        let zero = Instant::now();
        let worked = |from, to| {
            let at = |ms| zero + Duration::from_millis(ms);
            Worked { packets: 1, ns: 1.0, from: at(from), to: at(to) }
        };
        assert!((at_once(&[worked(0, 10), worked(1, 10)]) - 0.9).abs() < 1e-9);
        assert_eq!(at_once(&[worked(0, 10), worked(10, 20)]), 0.0);
        assert_eq!(at_once(&[worked(0, 10), worked(11, 20)]), 0.0);
        assert!((at_once(&[worked(0, 10)]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_round_in_which_they_were_not_at_work_at_once_has_no_figure() {
        let mut turns = 0;
        let effort = Effort { rounds: 2, ..Effort::FULL };
        let taken = race(&effort, 1, |_| {
            turns += 1;
            let at_once = if turns > ATTEMPTS { 1.0 } else { 0.5 };
            Ok(Turn { sent: 1, counted: 1, ns: 7.0, at_once })
        });
        let [taken] = taken.unwrap().try_into().unwrap();
        assert_eq!((taken.rounds.clone(), taken.sent), (vec![None, Some(7.0)], ATTEMPTS as u64 + 1));
        assert_eq!(taken.samples().rounds(), [7.0]);
        let base = Taken { rounds: vec![Some(1.0), Some(4.0)], ..Taken::default() };
        assert_eq!(taken.above(&base, &base), Some(Spread::of(3.0)));
        assert_eq!(taken.above(&base, &Taken { rounds: vec![Some(1.0), None], ..Taken::default() }), None);
    }
}
