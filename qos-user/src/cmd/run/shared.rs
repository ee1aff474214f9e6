//! What all parts of the service share: what it knows of itself, the past of the counters, and the way to whoever works.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use axum::body::Bytes;
use nix::net::if_::if_indextoname;
use tokio::sync::{mpsc, oneshot};

use super::{
    config::{self, Configured},
    follow::Follower,
    loading::{self, Occasion, load},
    readings::Readings,
    refusals::Refusals,
    released::Released,
    steps::Place,
};
use crate::{
    REVISION, VERSION,
    cmd::{Context, control::Answer, deadline, site::Site},
    kernel::{boottime::BootTime, datapath::Observed, device_ref::DeviceRef, pending::Pending},
    policy::settings::Settings,
    render::prometheus,
    repeated_lines::Attempts,
    snapshot::{
        Hook, Missing,
        keeper::{self, Keeper},
        told::{Ring, Told},
    },
    status::{Reload, ServiceStatus},
};

/// What somebody wants done.
#[derive(Debug)]
pub enum Order {
    /// Read the files again, and say what came of it.
    Reload(oneshot::Sender<Reload>),
    /// Look which deadlines there are.
    Deadlines,
    /// Look at everything.
    Look,
}

/// What all parts of the service share.
#[derive(Debug)]
pub struct Shared {
    /// Where it works.
    pub context: Context,
    /// Since when.
    pub started: SystemTime,
    /// Who was refused a change of late.
    pub refusals: Refusals,
    state: Mutex<State>,
    keeper: Mutex<Keeper>,
    told: Mutex<Told>,
    scrapes: Readings<Result<Bytes, String>>,
    heeds: Readings<()>,
    trends: Readings<Result<Bytes, String>>,
    /// What keeping the deadlines has come to.
    deadlines: Mutex<Attempts>,
    clock: Instant,
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    /// Why the settings are not what their file says.
    settings_failure: Option<String>,
    reload: Reload,
    /// When the saved policy was last read without a mistake.
    success: Option<SystemTime>,
    released: Released,
    /// Hooks that ran, whose pins are gone, and that are not back.
    lost: Vec<Missing>,
    /// Whether everything is to be looked at again soon.
    behind: bool,
    listens: Vec<SocketAddr>,
}

impl Shared {
    /// That of a service which has read its files and looked once.
    pub fn new(context: Context, configured: Configured, loaded: Reload, orders: mpsc::Sender<Order>) -> Self {
        let state = State {
            settings: configured.settings,
            settings_failure: configured.failure,
            success: loaded.failure.is_none().then_some(loaded.at),
            reload: loaded,
            released: Released::default(),
            lost: Vec::new(),
            behind: false,
            listens: Vec::new(),
        };
        Self {
            context,
            started: SystemTime::now(),
            refusals: Refusals::default(),
            state: Mutex::new(state),
            keeper: Mutex::default(),
            told: Mutex::default(),
            scrapes: Readings::default(),
            heeds: Readings::default(),
            trends: Readings::default(),
            deadlines: Mutex::default(),
            clock: Instant::now(),
            orders,
        }
    }

    /// The settings of now.
    pub fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    /// Hooks that are not attached again. One that runs all the same is not among them for long.
    pub fn released(&self, site: &Site) -> HashSet<Place> {
        let running = site.hooks.iter().filter(|hook| hook.running != Observed::Gone);
        let running: HashSet<Place> = running.map(|hook| (hook.pins.ifindex, hook.pins.direction)).collect();
        let mut state = self.state();
        state.released.forget_gone(|number| site.interfaces.iter().any(|interface| interface.ifindex == number));
        for (ifindex, direction) in state.released.end(&running, Instant::now()) {
            tracing::info!(hook = name_of((ifindex, direction)), "attached after all: attached again if it is removed");
        }
        state.released.places()
    }

    /// Looks at everything, and notes what is lost.
    pub fn look(&self, follower: &mut Follower) {
        follower.look(&self.context, |site| self.released(site));
        let mut state = self.state();
        (state.lost, state.behind) = (follower.lost(), follower.is_behind());
    }

    /// Whether the last look came while somebody was changing something.
    pub fn is_behind(&self) -> bool {
        self.state().behind
    }

    /// How the files were last read.
    pub fn last_reload(&self) -> Reload {
        self.state().reload.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left is whole: each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that metrics are served there.
    pub fn listens(&self, address: SocketAddr) {
        self.state().listens.push(address);
    }

    /// The group whose members may change something.
    pub fn group(&self) -> Option<String> {
        self.state().settings.group.clone()
    }

    /// How often counters are read.
    pub fn sample(&self) -> Duration {
        self.state().settings.sample
    }

    /// Takes in what hooks have counted now, and how much their rules have told of.
    pub fn take(&self, hooks: &[Hook], rings: &[Ring]) {
        let now = keeper::Instant { steady: self.clock.elapsed(), wall: SystemTime::now() };
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take(hooks, now);
        self.told().take(rings, jiff::Zoned::now().date());
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of all hooks, as an answer; all who ask at once get the same.
    ///
    /// # Errors
    ///
    /// That it could not be put together.
    pub async fn trends(self: &Arc<Self>) -> Result<Bytes, String> {
        let shared = Arc::clone(self);
        let read = move || serde_json::to_vec(&shared.remembered()).map(Bytes::from).map_err(|error| error.to_string());
        self.trends.read(read).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn remembered(&self) -> Answer {
        tracing::debug!("what is remembered of hooks is put together");
        Answer::Trends(self.keeper.lock().unwrap_or_else(PoisonError::into_inner).trends(self.clock.elapsed()))
    }

    /// Does not attach again where somebody has detached by hand; whether there is anything to be attached to. What is no
    /// interface is not remembered: nothing would ever say that it is gone.
    pub fn release(&self, place: Place) -> bool {
        let mut state = self.state();
        state.lost.retain(|lost| (lost.ifindex, lost.direction) != (Some(place.0), place.1));
        let exists = interface(place.0).is_some();
        if exists {
            tracing::info!(hook = name_of(place), "detached by hand: not attached again until a reload");
            state.released.add(place, device_at(place), Instant::now());
        }
        exists
    }

    /// Somebody has attached there by hand: it is attached again if it is removed.
    pub fn attached(&self, place: Place) {
        if self.state().released.remove(place) {
            tracing::info!(hook = name_of(place), "attached by hand: attached again if it is removed");
        }
    }

    /// Notes that what kept the saved policy from being in force is over, whoever has seen to that.
    fn heed_policy(&self, site: &Site) {
        let mut state = self.state();
        if state.reload.failure.is_none() {
            return;
        }
        if loading::is_as_saved(site) {
            tracing::info!("the saved policy is in force by now");
            state.reload = Reload::succeeded(SystemTime::now());
            state.success = Some(state.reload.at);
        } else if state.reload.waits && matches!(Pending::read(&site.store), Ok(None)) {
            state.reload = loading::waited_no_more(site, state.reload.at);
        }
    }

    /// What `status` says of the service.
    pub async fn status(self: &Arc<Self>) -> ServiceStatus {
        if self.last_reload().failure.is_some() {
            let shared = Arc::clone(self);
            let heeds =
                self.heeds.read(move || Site::read(&shared.context).map_or((), |site| shared.heed_policy(&site)));
            let _as_before = heeds.await;
        }
        let state = self.state();
        ServiceStatus {
            pid: std::process::id(),
            since: self.started,
            version: VERSION.to_owned(),
            metrics: state.listens.clone(),
            reload: state.reload.clone(),
            success: state.success,
            settings_failure: state.settings_failure.clone(),
            events_today: self.told().today(),
            released: state.released.places().into_iter().collect(),
            lost: state.lost.clone(),
        }
    }

    /// Gives an order to whoever works at the hooks.
    pub async fn order(&self, order: Order) {
        let _ending = self.orders.send(order).await;
    }

    /// Keeps the deadlines that have passed, and says when to look again. What keeps it from that is said once.
    pub fn settle(&self) -> Option<BootTime> {
        let mut deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
        deadlines.again(|| deadline::keep(&self.context))
    }

    /// Reads the files again, and looks at everything.
    pub fn reload(&self, follower: &mut Follower) {
        follower.wake();
        // What is gone is put back first: in what has taken its place the policy would hide that from everybody.
        self.look(follower);
        self.reload_policy(follower);
        // What is to be marked is marked before a directory service is asked for the group.
        self.look(follower);
        self.reload_settings(follower);
        self.look(follower);
    }

    fn reload_policy(&self, follower: &mut Follower) {
        let refused = follower.refusal().map(refuse);
        let forgets = refused.is_none();
        let loaded = refused.unwrap_or_else(|| load(Occasion::Reload, &self.context));
        let mut state = self.state();
        if forgets {
            let released = std::mem::take(&mut state.released).places();
            follower.forget(|place| released.contains(&place));
        }
        state.success = if loaded.failure.is_none() { Some(loaded.at) } else { state.success };
        state.reload = loaded;
    }

    fn reload_settings(&self, follower: &mut Follower) {
        let configured = config::read(&self.context);
        let mut state = self.state();
        state.settings_failure = configured.failure;
        if state.settings_failure.is_none() {
            follower.upgrade = configured.settings.upgrade;
            say_what_needs_a_restart(&state.settings, &configured.settings);
            state.settings = configured.settings;
        }
    }

    /// The text that a scraper gets; all who ask at once get the same.
    ///
    /// # Errors
    ///
    /// Pins that are foreign or not readable.
    pub async fn metrics(self: &Arc<Self>) -> Result<Bytes, String> {
        let shared = Arc::clone(self);
        let read = move || shared.scrape().map(Bytes::from).map_err(|error| format!("{error:#}"));
        self.scrapes.read(read).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn scrape(&self) -> anyhow::Result<String> {
        tracing::debug!("counters are read for metrics");
        let site = Site::read(&self.context)?;
        self.heed_policy(&site);
        let mut snapshot = site.snapshot(&[], &self.context)?;
        snapshot.add_missing(self.state().lost.clone());
        let state = self.state();
        let service = prometheus::Service {
            last_reload_successful: state.reload.failure.is_none() && state.settings_failure.is_none(),
            last_success: state.success,
        };
        Ok(prometheus::service(&snapshot, &service, REVISION))
    }
}

/// Which device is there now, so that the next one of its number is not taken for it.
fn device_at(place: Place) -> Option<DeviceRef> {
    let device = DeviceRef::to(place.0);
    device.inspect_err(|error| tracing::debug!(hook = name_of(place), "its device cannot be noted: {error:#}")).ok()
}

/// Such as `wan0:egress`.
fn name_of((ifindex, direction): Place) -> String {
    format!("{}:{direction}", interface(ifindex).unwrap_or_else(|| format!("if-{ifindex}")))
}

/// How an interface is called. Of one that is not there nix says that it has no name, not that it is not there.
fn interface(ifindex: u32) -> Option<String> {
    let name = if_indextoname(ifindex).ok()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// Nothing is read as long as what is lost cannot be put back.
fn refuse(why: &str) -> Reload {
    tracing::error!("the saved policy is not read as long as what was in force is lost");
    Reload::failed(SystemTime::now(), format!("what was in force is lost: {why}"))
}

fn say_what_needs_a_restart(before: &Settings, now: &Settings) {
    let differs = [
        ("listen", before.listen != now.listen),
        ("netns", before.netns != now.netns),
        ("link-buffer", before.link_buffer != now.link_buffer),
    ];
    for (key, _) in differs.into_iter().filter(|(_, differs)| *differs) {
        tracing::warn!("the setting {key} has changed, and holds when the service is started again");
    }
}
