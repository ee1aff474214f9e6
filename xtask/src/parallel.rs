//! A few pieces of work at a time.

use std::{sync::Mutex, thread};

use anyhow::Context as _;

/// Does `work` on each item, so many of them at a time, in their order; what came of each, in the same order.
///
/// # Errors
///
/// That one of them panicked.
pub fn each<T: Sync, R: Send>(items: &[T], at_a_time: usize, work: impl Fn(&T) -> R + Sync) -> anyhow::Result<Vec<R>> {
    let queue = Mutex::new(items.iter().enumerate());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let until_none_is_left = || {
        let mut done = Vec::new();
        while let Some((number, item)) = next() {
            done.push((number, work(item)));
        }
        done
    };
    let mut done = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time.max(1)).map(|_| scope.spawn(until_none_is_left)).collect();
        workers.into_iter().try_for_each(|worker| {
            done.extend(worker.join().ok().context("it was not waited for: see above")?);
            anyhow::Ok(())
        })
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn two_run_at_a_time_and_results_keep_their_order() -> anyhow::Result<()> {
        // Neither of a pair comes further without the other.
        let pair = Barrier::new(2);
        let work = |number: &u32| {
            pair.wait();
            number * 10
        };
        assert_eq!(each(&[1, 2, 3, 4], 2, work)?, [10, 20, 30, 40]);
        Ok(())
    }
}
