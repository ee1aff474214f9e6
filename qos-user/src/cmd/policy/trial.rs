//! What a policy has to pass before it is put in force, and what takes its time: its tests, and the SSH session of whoever
//! applies it. Nobody waits for that: it is done before the lock is taken, and once more only where it may come out
//! otherwise by then.

use qos_common::locate::Link;

use super::{session::Session, testing};
use crate::{
    cli::ApplyOptions,
    cmd::{Context, site::Site},
    hook::Layer,
    kernel::{
        datapath::{Hook, Observed},
        object::Program,
        pins::HookPins,
        privilege,
    },
    policy::Policy,
};

/// What came of it.
pub struct Trial {
    stage: Stage,
    /// What becomes of the session.
    pub session: Option<Session>,
    /// What is said to who insists.
    warnings: Vec<String>,
}

/// All that decides on it, beside the policy.
#[derive(PartialEq)]
struct Stage {
    interfaces: Vec<(u32, String, Result<Link, String>)>,
    hooks: Vec<(HookPins, Option<Runs>)>,
}

/// What runs at a hook: its program, what precedes the IP header there, and behind what else it looks.
type Runs = (Program, Link, Vec<Layer>);

impl Trial {
    /// Before anything is locked. What fails is found again under the lock, and said then: somebody may be in the midst of a
    /// change.
    pub fn beforehand(policy: &Policy, how: &ApplyOptions, context: &Context) -> Option<Self> {
        privilege::missing().is_none().then(|| Self::of(&Site::read(context).ok()?, policy, how).ok())?
    }

    /// Tries it.
    ///
    /// # Errors
    ///
    /// `test-failed`, `test-run`; `load`, `rules`.
    pub fn of(site: &Site, policy: &Policy, how: &ApplyOptions) -> anyhow::Result<Self> {
        let mut warnings: Vec<String> = testing::refuse_failing(site, policy, how.force)?.into_iter().collect();
        let session = Session::find(site, policy, how).or_else(|error| {
            warnings.push(tolerated(error, how)?);
            anyhow::Ok(None)
        })?;
        Ok(Self { stage: Stage::of(site), session, warnings })
    }

    /// Whether it would come out the same.
    pub fn holds(&self, site: &Site) -> bool {
        self.stage == Stage::of(site)
    }

    /// Refuses a policy that drops the session, and says what somebody wanted all the same.
    ///
    /// # Errors
    ///
    /// `session-dropped`.
    pub fn conclude(&self, how: &ApplyOptions, context: &Context) -> anyhow::Result<()> {
        self.warnings.iter().for_each(|warning| context.warn(warning));
        self.session.iter().try_for_each(|session| session.refuse_drop(how.force, context))
    }
}

/// A session that cannot be tried is no reason to stop for whoever insists.
fn tolerated(error: anyhow::Error, how: &ApplyOptions) -> anyhow::Result<String> {
    if !how.force {
        return Err(error);
    }
    Ok(format!("qosbpf: the SSH session could not be tried, applied all the same: {error:#}\n"))
}

impl Stage {
    fn of(site: &Site) -> Self {
        let interfaces = site.interfaces.iter();
        let program = |hook: &Hook| {
            let state = &hook.state;
            let runs = hook.running != Observed::Gone;
            runs.then(|| (state.program(hook.pins.direction), state.link(), state.inside.clone().unwrap_or_default()))
        };
        Self {
            interfaces: interfaces.map(|there| (there.ifindex, there.name.clone(), there.link.clone())).collect(),
            hooks: site.hooks.iter().map(|hook| (hook.pins.clone(), program(hook))).collect(),
        }
    }
}
