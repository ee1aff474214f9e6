//! Asking the service: one question a connection, one line of JSON each way. Without a service nothing is missing: whoever
//! asks goes on by itself.

mod exchange;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use self::exchange::Silence;
use super::Context;
use crate::{
    hook::Direction,
    kernel::{datapath::Hook, netns},
    snapshot::{Snapshot, trend::Trend},
    status::{Reload, ServiceStatus},
};

/// Where services have their locks and sockets.
pub const FOLDER: &str = "/run/qosbpf";

/// How long a question may take that is answered at once. It is asked under the lock of a change, too, for which others
/// wait ten seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one may take that does work at the hooks: it may wait for others, and load a program for each.
const LONG_PATIENCE: Duration = Duration::from_secs(120);

/// A question, with the bpf file system that it is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// The device number of the bpf file system; none has 0.
    pub bpffs: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What may be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// What the service does.
    Status,
    /// What it remembers of hooks.
    Trends,
    /// To look which deadlines there are, and to keep them.
    Deadlines,
    /// Not to attach at this hook again by itself.
    Release(u32, Direction),
    /// To do so again: somebody has attached there.
    Attached(u32, Direction),
    /// To read the saved policy.
    Reload,
    /// To run a command for somebody who may not change hooks.
    Command(Command),
}

/// The commands that members of the group may give.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are the arguments of the commands")]
pub enum Command {
    /// `policy confirm`
    Confirm { json: bool },
    /// `policy bypass`
    Bypass { hook: Option<String>, seconds: Option<f64>, json: bool },
    /// `policy resume`
    Resume { hook: Option<String>, json: bool },
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What the service does.
    Status(ServiceStatus),
    /// What it remembers.
    Trends(Vec<Trend>),
    /// It is done.
    Done,
    /// What came of reading the policy.
    Reloaded(Reload),
    /// How a command ended, and what it said.
    Said(Said),
    /// Why not.
    Refused(String),
}

/// How a command ended, and what it said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Said {
    /// Its exit code.
    pub code: u8,
    /// What it said.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Who may ask something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Whoever can connect.
    Anybody,
    /// Root, and the members of the group.
    Members,
    /// Root alone, whose commands ask it.
    Root,
}

impl Ask {
    /// Who may ask it.
    #[must_use]
    pub const fn whose(&self) -> Whose {
        match self {
            Self::Status | Self::Trends => Whose::Anybody,
            Self::Reload | Self::Command(_) => Whose::Members,
            Self::Deadlines | Self::Release(..) | Self::Attached(..) => Whose::Root,
        }
    }

    /// How long the answer may take.
    const fn patience(&self) -> Duration {
        match self {
            Self::Status | Self::Trends | Self::Deadlines | Self::Release(..) | Self::Attached(..) => PATIENCE,
            Self::Reload | Self::Command(_) => LONG_PATIENCE,
        }
    }
}

/// The folder of the service of the network namespace that this thread is in, whether it is there or not.
///
/// # Errors
///
/// That the namespace has no number.
pub fn folder() -> anyhow::Result<PathBuf> {
    Ok(Path::new(FOLDER).join(format!("netns-{}", netns::id()?)))
}

/// Which bpf file system is at a path; two services may have one each.
///
/// # Errors
///
/// That there is nothing.
pub fn device(bpffs: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(bpffs).with_context(|| bpffs.display().to_string())?.dev())
}

/// Asks the service of this network namespace; `None` if there is none, or it does not answer.
#[must_use]
pub fn ask(ask: Ask, context: &Context) -> Option<Answer> {
    let answer = answer(ask, context);
    answer.inspect_err(|silence| tracing::debug!("no service: {silence}")).ok()
}

/// The same, with why there is no answer.
///
/// # Errors
///
/// That.
pub fn answer(ask: Ask, context: &Context) -> Result<Answer, Silence> {
    let folder = folder().map_err(|error| Silence::Unasked(format!("{error:#}")))?;
    let patience = ask.patience();
    // Where no bpf file system is, that is not the service's.
    let question = Question { bpffs: device(&context.bpffs).unwrap_or_default(), ask };
    exchange::exchange(&folder.join("control"), &question, patience)
}

/// What the service does, if one serves here.
#[must_use]
pub fn status(context: &Context) -> Option<ServiceStatus> {
    match ask(Ask::Status, context)? {
        Answer::Status(status) => Some(status),
        _ => None,
    }
}

/// Whether a service of this network namespace has its pins in another bpf file system than the one that is meant here.
#[must_use]
pub fn serves_elsewhere(context: &Context) -> bool {
    match answer(Ask::Status, context) {
        Ok(Answer::Status(_)) => false,
        Ok(_) => true,
        Err(silence) => silence.is_of_somebody(),
    }
}

/// Tells the service that these hooks, if somebody has detached them by hand before, are attached again.
pub fn tell_attached<'a>(hooks: impl IntoIterator<Item = &'a Hook>, context: &Context) {
    let Some(ServiceStatus { released, .. }) = status(context).filter(|status| !status.released.is_empty()) else {
        return;
    };
    let places = hooks.into_iter().map(|hook| (hook.pins.ifindex, hook.pins.direction));
    for (ifindex, direction) in places.filter(|place| released.contains(place)) {
        let _no_service = ask(Ask::Attached(ifindex, direction), context);
    }
}

/// Lets the hooks of a snapshot know their past, if a service has kept it.
pub fn remember(snapshot: &mut Snapshot, context: &Context) {
    let Some(Answer::Trends(trends)) = ask(Ask::Trends, context) else { return };
    let asked = SystemTime::now().duration_since(snapshot.time).unwrap_or_default().as_secs_f64();
    for mut trend in trends {
        // The counters were read a little before the question was answered.
        for (age, _) in [&mut trend.newest, &mut trend.minute, &mut trend.five_minutes] {
            *age = (*age - asked).max(0.0);
        }
        let same = snapshot
            .hooks
            .iter_mut()
            .find(|hook| (hook.ifindex, hook.direction, hook.since) == (trend.ifindex, trend.direction, trend.since));
        if let Some(hook) = same {
            hook.trend = Some(trend.into());
        }
    }
}
