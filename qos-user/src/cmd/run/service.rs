//! The service itself: one thing at a time at the hooks, and everybody who asks served beside it.

use std::{
    collections::HashSet,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use super::{
    control,
    follow::Follower,
    http,
    instance::Instance,
    notify::{self, Notices},
    pace::Pace,
    sampler,
    shared::{Order, Shared},
    worker::Worker,
};
use crate::{
    cmd::{Context, deadline, timer},
    error::Exit,
    kernel::{
        boottime::BootTime,
        link_events::{Changed, LinkEvents},
    },
    status::Reload,
};

/// How often everything is looked at, should an event not have told of something, and what has failed is tried again.
const LOOK: Duration = Duration::from_secs(30);

/// The longest wait for a deadline: the clock of waits does not go on while the host sleeps.
const GLANCE: Duration = Duration::from_secs(10);

/// How long the work at hand may take when the service is to end: what is cut short, the next command finishes or undoes.
const LAST: Duration = Duration::from_secs(20);

/// The service.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    worker: Worker,
    pace: Arc<Pace>,
    notices: Arc<Notices>,
    orders: mpsc::Receiver<Order>,
    instance: Instance,
}

/// What there is to do next.
enum Wake {
    Links(io::Result<(Changed, HashSet<u32>)>),
    Order(Order),
    Hangup,
    Look,
    Deadline,
}

impl Service {
    /// A service that has looked once.
    ///
    /// # Errors
    ///
    /// That there is no thread to be had.
    pub fn new(
        shared: impl FnOnce(mpsc::Sender<Order>) -> Shared,
        follower: Follower,
        pace: Arc<Pace>,
        instance: Instance,
    ) -> io::Result<Self> {
        let (sender, orders) = mpsc::channel(16);
        let (shared, worker) = (Arc::new(shared(sender)), Worker::start(follower)?);
        Ok(Self { shared, worker, pace, notices: Arc::default(), orders, instance })
    }

    /// Serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// That the kernel gives no signals or no netlink socket.
    pub fn run(self, hung_up: &AtomicBool) -> anyhow::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let context = self.shared.context.clone();
        let done = runtime.block_on(async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let end = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            self.serve(end, hung_up).await
        });
        notify::stopping();
        // Whoever hangs in a connection does not keep it.
        runtime.shutdown_timeout(Duration::from_secs(1));
        leave_deadlines(&context);
        tracing::info!("ended; what is attached goes on");
        done.map(|()| Exit::Done)
    }

    /// Serves until `end`.
    async fn serve(mut self, end: impl Future<Output = ()>, hung_up: &AtomicBool) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.shared);
        let settings = shared.settings();
        let mut events = LinkEvents::listen(settings.link_buffer)?;
        let mut hangup = signal(SignalKind::hangup())?;
        let socket = control::listen(&self.instance.socket())?;
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for address in settings.listen {
            tokio::spawn(http::serve(address, Arc::clone(&shared)));
        }
        tokio::spawn(control::serve(socket, Arc::clone(&shared)));
        tokio::spawn(sampler::run(Arc::clone(&shared)));
        let (watched, notices) = (Arc::clone(&self.pace), Arc::clone(&self.notices));
        tokio::spawn(async move { notify::watchdog(&watched).await });
        tokio::spawn(async move { notices.deliver().await });
        tokio::pin!(end);
        let Some(mut deadline) = self.until_end(self.begin(hung_up), end.as_mut()).await else { return Ok(()) };
        self.notices.ready("serving");
        tracing::info!("ready");
        loop {
            let wake = tokio::select! {
                () = &mut end => return Ok(()),
                changed = events.changed() => Wake::Links(changed),
                Some(order) = self.orders.recv() => Wake::Order(order),
                _ = hangup.recv() => Wake::Hangup,
                _ = looks.tick() => Wake::Look,
                () = wait(deadline) => Wake::Deadline,
            };
            let Some(done) = self.until_end(self.wake(wake), end.as_mut()).await else { return Ok(()) };
            deadline = done?;
        }
    }

    /// Looks once more, now that events are heard, and reads the files again if that was asked for meanwhile.
    async fn begin(&self, hung_up: &AtomicBool) -> Option<BootTime> {
        let deadline = self.follow(HashSet::new()).await;
        if hung_up.load(Ordering::Relaxed) {
            self.reload().await;
        }
        deadline
    }

    /// Does some work; `None` if the service is to end, and then the work has ended at its next hook, or is cut short.
    async fn until_end<T>(&self, work: impl Future<Output = T>, end: Pin<&mut impl Future<Output = ()>>) -> Option<T> {
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

    /// Does what there is to do, and says what the next deadline is.
    async fn wake(&self, wake: Wake) -> anyhow::Result<Option<BootTime>> {
        match wake {
            Wake::Links(changed) => match changed.context("netlink")? {
                (Changed::Links, _) if !self.has_news().await => {}
                (Changed::Lost, gone) => {
                    tracing::warn!("events of links were lost: all links are read again");
                    return Ok(self.follow(gone).await);
                }
                (_, gone) => return Ok(self.follow(gone).await),
            },
            Wake::Order(Order::Reload(answer)) => {
                let _nobody_waits = answer.send(self.reload().await);
            }
            Wake::Hangup => drop(self.reload().await),
            Wake::Order(Order::Look) => return Ok(self.follow(HashSet::new()).await),
            Wake::Look => return Ok(self.look_again().await),
            Wake::Order(Order::Deadlines) | Wake::Deadline => {}
        }
        Ok(self.work(|shared, _| shared.settle()).await.flatten())
    }

    /// Whether interfaces differ; if that cannot be said, they may.
    async fn has_news(&self) -> bool {
        let news = self.work(|shared, follower| shared.context.network().and_then(|net| follower.has_news(&net)));
        news.await.and_then(Result::ok).unwrap_or(true)
    }

    /// Follows interfaces, of which these have gone, whatever has their numbers now.
    async fn follow(&self, gone: HashSet<u32>) -> Option<BootTime> {
        let done = self.work(|shared, follower| {
            follower.note_gone(gone);
            shared.look(follower);
            shared.settle()
        });
        done.await.flatten()
    }

    /// Looks at everything, and tries what has failed, too.
    async fn look_again(&self) -> Option<BootTime> {
        let done = self.work(|shared, follower| {
            follower.wake();
            shared.look(follower);
            shared.settle()
        });
        done.await.flatten()
    }

    async fn reload(&self) -> Reload {
        self.notices.reloading();
        self.work(|shared, follower| shared.reload(follower)).await;
        let reload = self.shared.last_reload();
        self.notices.ready(reload.failure.as_deref().unwrap_or("serving"));
        reload
    }

    /// Work at the hooks, where waiting for the kernel keeps nobody waiting.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &mut Follower) -> T + Send + 'static,
    ) -> Option<T> {
        let shared = Arc::clone(&self.shared);
        self.pace.works(true);
        let done = self.worker.run(move |follower| work(&shared, follower)).await;
        self.pace.works(false);
        done
    }
}

/// Waits for a deadline, or part of the way to a far one.
async fn wait(deadline: Option<BootTime>) {
    match deadline.map(|until| BootTime::now().map(|now| until.left(now))) {
        Some(Ok(left)) => sleep(left.clamp(Duration::from_millis(1), GLANCE)).await,
        Some(Err(_)) | None => std::future::pending().await,
    }
}

/// Somebody else keeps the deadlines from now on.
fn leave_deadlines(context: &Context) {
    let left = context.store().and_then(|store| deadline::next(&store));
    if let Ok(Some(_)) = left
        && let Err(error) = timer::spawn(context)
    {
        tracing::error!("a deadline is left, which the next command keeps: {error:#}");
    }
}
