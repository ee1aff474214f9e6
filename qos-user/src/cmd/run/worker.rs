//! One thread does all work at the hooks: one thing at a time, and what it needs of memory it needs once.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

use tokio::sync::oneshot;

use super::follow::Follower;

type Job = Box<dyn FnOnce(&mut Follower) + Send>;

/// The thread, as long as this is held.
#[derive(Debug)]
pub struct Worker(mpsc::Sender<Job>);

impl Worker {
    /// Starts it in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// That there is no thread to be had.
    pub fn start(mut follower: Follower) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || jobs.into_iter().for_each(|job| job(&mut follower));
        thread::Builder::new().name("hooks".to_owned()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Does something on it; `None` if that came to no end, which has been said then.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Follower) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let job = move |follower: &mut Follower| {
            // What a panic leaves of the follower is whole: it is what the last look has found.
            match catch_unwind(AssertUnwindSafe(|| work(follower))) {
                Ok(done) => drop(sender.send(done)),
                Err(_said_by_the_panic) => tracing::error!("work at the hooks failed"),
            }
        };
        self.0.send(Box::new(job)).ok()?;
        receiver.await.ok()
    }
}
