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
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::{
    config::Configured,
    control,
    follow::Follower,
    http,
    instance::Instance,
    notify::{self, Notices},
    sampler,
    shared::{Order, Shared},
    start,
    worker::Worker,
};
use crate::{
    cmd::{Context, deadline, timer},
    error::Exit,
    kernel::{
        boottime::BootTime,
        link_events::{Changed, LinkEvents},
        runtime,
    },
    status::Reload,
};

/// How often everything is looked at, should an event not have told of something, and what has failed is tried again.
const LOOK: Duration = Duration::from_secs(30);

/// The longest wait for a deadline: the clock of waits does not go on while the host sleeps.
const GLANCE: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug)]
struct Service {
    shared: Arc<Shared>,
    worker: Worker,
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

/// Serves until SIGTERM or SIGINT, which end it from now on wherever it is.
///
/// # Errors
///
/// `busy` if another one serves this network namespace; that the kernel gives no signals, threads or netlink socket.
pub fn run(configured: Configured, context: Context, hung_up: &AtomicBool) -> anyhow::Result<Exit> {
    let runtime = runtime::on_this_thread()?;
    let end = {
        let _within = runtime.enter();
        asked_to_end()?
    };
    let instance = start::claim(&context)?;
    let done = runtime.block_on(async {
        tokio::pin!(end);
        match Service::begin(configured, context.clone(), instance, end.as_mut()).await? {
            Some(service) => service.serve(end, hung_up).await,
            None => Ok(()),
        }
    });
    notify::stopping();
    // Whoever hangs in a connection does not keep it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    leave_deadlines(&context);
    tracing::info!("ended; what is attached goes on");
    done.map(|()| Exit::Done)
}

fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

impl Service {
    /// A service that has looked once; `None` if it was asked to end meanwhile.
    async fn begin(
        configured: Configured,
        context: Context,
        instance: Instance,
        end: Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Option<Self>> {
        let worker = Worker::start(configured.settings.upgrade)?;
        let pace = worker.pace();
        tokio::spawn(async move { notify::watchdog(&pace).await });
        let here = context.clone();
        // What is to be marked is marked before a directory service is asked for the group.
        let first = worker.run(move |follower| (start::look(follower, &here), configured.with_group(&here)));
        let Some(looked) = worker.until_end(first, end).await else { return Ok(None) };
        let (loaded, configured) = looked.context("the first look came to no end")?;
        let (sender, orders) = mpsc::channel(16);
        let shared = Arc::new(Shared::new(context, configured, loaded, sender));
        Ok(Some(Self { shared, worker, notices: Arc::default(), orders, instance }))
    }

    /// Serves until `end`.
    async fn serve(mut self, mut end: Pin<&mut impl Future<Output = ()>>, hung_up: &AtomicBool) -> anyhow::Result<()> {
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
        let notices = Arc::clone(&self.notices);
        tokio::spawn(async move { notices.deliver().await });
        let listening = self.worker.until_end(self.look_once_more(hung_up), end.as_mut()).await;
        let Some(mut deadline) = listening else { return Ok(()) };
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
            let Some(done) = self.worker.until_end(self.wake(wake), end.as_mut()).await else { return Ok(()) };
            deadline = done?;
        }
    }

    /// Looks once more, now that events are heard, and reads the files again if that was asked for meanwhile.
    async fn look_once_more(&self, hung_up: &AtomicBool) -> Option<BootTime> {
        let deadline = self.follow(HashSet::new()).await;
        if hung_up.load(Ordering::Relaxed) {
            self.reload().await;
        }
        deadline
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
        self.worker.run(move |follower| work(&shared, follower)).await
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
