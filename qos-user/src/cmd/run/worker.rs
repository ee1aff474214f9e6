//! One thread does all work at the hooks: one thing at a time, and what it needs of memory it needs once. Whoever has it done
//! sees whether it goes on, and ends it between two hooks.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::{follow::Follower, pace::Pace};
use crate::{policy::settings::Upgrade, progress};

/// How long the work at hand may take when the service is to end: what is cut short, the next command finishes or undoes.
const LAST: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce(&mut Follower) + Send>;

/// The thread, as long as this is held.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    pace: Arc<Pace>,
}

impl Worker {
    /// Starts it in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// That there is no thread to be had.
    pub fn start(upgrade: Upgrade) -> io::Result<Self> {
        let pace = Arc::<Pace>::default();
        let mut follower = Follower::new(upgrade, Arc::clone(&pace));
        let (jobs, queue) = mpsc::channel::<Job>();
        let watched = Arc::clone(&pace);
        let work = move || {
            progress::watch(watched);
            queue.into_iter().for_each(|job| job(&mut follower));
        };
        thread::Builder::new().name("hooks".to_owned()).spawn(work)?;
        Ok(Self { jobs, pace })
    }

    /// How work goes on.
    pub fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.pace)
    }

    /// Does something on it; `None` if that came to no end, which has been said then.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Follower) -> T + Send + 'static) -> Option<T> {
        self.pace.works(true);
        let done = self.attempt(work).await;
        self.pace.works(false);
        done
    }

    async fn attempt<T: Send + 'static>(&self, work: impl FnOnce(&mut Follower) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let job = move |follower: &mut Follower| {
            // What a panic leaves of the follower is whole: it is what the last look has found.
            match catch_unwind(AssertUnwindSafe(|| work(follower))) {
                Ok(done) => drop(sender.send(done)),
                Err(_said_by_the_panic) => tracing::error!("work at the hooks failed"),
            }
        };
        self.jobs.send(Box::new(job)).ok()?;
        receiver.await.ok()
    }

    /// Does some work; `None` if the service is to end, and then the work has ended at its next hook, or is cut short.
    pub async fn until_end<T>(
        &self,
        work: impl Future<Output = T>,
        end: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<T> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return Some(done),
            () = end => self.pace.end(),
        }
        if timeout(LAST, work).await.is_err() {
            tracing::warn!("ends in the midst of a change, which the next command finishes or undoes");
        }
        None
    }
}
