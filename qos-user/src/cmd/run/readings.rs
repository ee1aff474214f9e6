//! One reading at a time, for everybody who waits for one: how many ask is no measure of the work that they make.

use std::sync::Arc;

use tokio::{
    sync::Mutex,
    task::{JoinError, spawn_blocking},
    time::{Duration, Instant, sleep_until},
};

/// The longest rest between two readings.
const REST: Duration = Duration::from_secs(1);

/// What is read anew for whoever asks.
#[derive(Debug)]
pub struct Readings<T>(Arc<Mutex<Option<Last<T>>>>);

/// The last one.
#[derive(Debug)]
struct Last<T> {
    began: Instant,
    ended: Instant,
    value: T,
}

impl<T> Default for Readings<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + 'static> Readings<T> {
    /// What is so after this call: one reading serves all who have asked before it began. Between two there is a rest as
    /// long as the first has taken, so that they take half of a processor at most.
    ///
    /// # Errors
    ///
    /// That `read` has panicked.
    pub async fn read(&self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        let asked = Instant::now();
        let mut last = Arc::clone(&self.0).lock_owned().await;
        match &*last {
            Some(last) if last.began > asked => return Ok(last.value.clone()),
            Some(last) => sleep_until(last.ended + (last.ended - last.began).min(REST)).await,
            None => {}
        }
        // Whoever asked may go away meanwhile; the next one waits for the end of this all the same.
        let done = spawn_blocking(move || {
            let (began, value) = (Instant::now(), read());
            *last = Some(Last { began, ended: Instant::now(), value: value.clone() });
            value
        });
        done.await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    /// Counts how many there were, and how many at once.
    #[derive(Default)]
    struct Counted {
        readings: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Counted {
        fn read(&self) -> usize {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let number = self.readings.fetch_add(1, Ordering::SeqCst) + 1;
            thread::sleep(Duration::from_millis(20));
            self.now.fetch_sub(1, Ordering::SeqCst);
            number
        }
    }

    fn ask(readings: &Arc<Readings<usize>>, counted: &Arc<Counted>) -> tokio::task::JoinHandle<usize> {
        let (readings, counted) = (Arc::clone(readings), Arc::clone(counted));
        tokio::spawn(async move { readings.read(move || counted.read()).await.unwrap() })
    }

    #[tokio::test]
    async fn many_who_ask_share_one_that_begins_after_they_have_asked() {
        let (readings, counted) = (Arc::default(), Arc::<Counted>::default());
        let first = ask(&readings, &counted);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let others: Vec<_> = (0..64).map(|_| ask(&readings, &counted)).collect();
        assert_eq!(first.await.unwrap(), 1);
        for other in others {
            assert_eq!(other.await.unwrap(), 2, "the first began before these had asked");
        }
        assert_eq!(ask(&readings, &counted).await.unwrap(), 3, "nothing is kept for later");
    }

    #[tokio::test]
    async fn those_who_go_away_do_not_make_it_several_at_once() {
        let (readings, counted) = (Arc::default(), Arc::<Counted>::default());
        for _ in 0..5 {
            let gone = ask(&readings, &counted);
            tokio::time::sleep(Duration::from_millis(5)).await;
            gone.abort();
        }
        ask(&readings, &counted).await.unwrap();
        assert_eq!(counted.most.load(Ordering::SeqCst), 1);
        assert!(counted.readings.load(Ordering::SeqCst) < 5);
    }

    #[tokio::test]
    async fn between_two_there_is_a_rest() {
        let readings = Readings::default();
        let work = || thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        readings.read(work).await.unwrap();
        readings.read(work).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    }
}
