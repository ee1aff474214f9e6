//! What is in force in a network namespace: its policy, its hooks, its interfaces, read together.

mod names;
mod rules;

use std::{
    collections::HashSet,
    path::{self, Path, PathBuf},
};

use qos_common::ds::Dscp;

use self::rules::Rules;
pub use self::rules::rules_of;
use crate::{
    cmd::Context,
    error::{Failure, with_hint},
    hook::{Direction, HookName},
    kernel::{
        counters,
        datapath::{self, Broken, Hook, Observed},
        document, files,
        leftover::Leftover,
        network::{Interface, Network},
        pending::{Identity, Pending},
        pins::{Pin, Store},
        state::PolicyRecord,
        survey::Pinned,
    },
    policy::{self, Policy, Source},
    snapshot::{self, PolicyLabel, State, baseline::Baseline},
};

/// Everything that commands ask about.
#[derive(Debug)]
pub struct Site {
    /// The pins.
    pub store: Store,
    /// The netlink connection.
    pub net: Network,
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The hooks, by interface, ingress first.
    pub hooks: Vec<Hook>,
    /// Those that cannot be read.
    pub broken: Vec<Broken>,
    /// The policy in force.
    pub policy: Option<InForce>,
    /// Why it cannot be said which one is, though one is pinned.
    pub spoiled: Option<Failure>,
    /// Where the saved policy is.
    saved: PathBuf,
}

/// A policy in force, with its text.
#[derive(Debug)]
pub struct InForce {
    /// Where it came from.
    pub record: PolicyRecord,
    /// What it says.
    pub policy: Policy,
    /// Whether the saved policy is this one.
    pub saved: bool,
}

impl Site {
    /// Reads it all, and changes nothing.
    ///
    /// # Errors
    ///
    /// Foreign or unreadable pins.
    pub fn read(context: &Context) -> anyhow::Result<Self> {
        Self::of(context.store()?, context)
    }

    /// Reads what `store` has.
    ///
    /// # Errors
    ///
    /// Foreign or unreadable pins.
    pub fn of(store: Store, context: &Context) -> anyhow::Result<Self> {
        let net = Network::open()?;
        let interfaces = net.interfaces()?;
        let (hooks, broken) = datapath::observe_all(&store, &net)?;
        let (policy, spoiled) = match InForce::read(&store, &context.saved()) {
            Ok(policy) => (policy, None),
            Err(error) => (None, Some(error.downcast::<Failure>()?)),
        };
        let saved = path::absolute(context.saved())?;
        Ok(Self { store, net, interfaces, hooks, broken, policy, spoiled, saved })
    }

    /// What the pins tell.
    #[must_use]
    pub fn pinned(&self) -> Pinned<'_> {
        Pinned { hooks: &self.hooks, broken: &self.broken }
    }

    /// Where the saved policy is, by its whole path.
    #[must_use]
    pub fn saved_file(&self) -> &Path {
        &self.saved
    }

    /// A file that has the policy in force, by its whole path: the saved one, or the one that it came from as long as that
    /// says the same. Where a path that was given leads, it may not lead from the folder of now.
    #[must_use]
    pub fn file_of(&self, in_force: &InForce) -> Option<PathBuf> {
        let given = PathBuf::from(&in_force.record.file);
        let is_it = || saved_hash(&given).is_some_and(|hash| hash == in_force.policy.hash());
        if in_force.saved { Some(self.saved.clone()) } else { is_it().then(|| path::absolute(&given).ok())? }
    }

    /// Whether a policy is in force, be it one that this version cannot read.
    #[must_use]
    pub fn has_policy(&self) -> bool {
        self.policy.is_some() || !files::is_absent(&self.store.policy())
    }

    /// Whether it can be said which policy is in force, also that none is.
    #[must_use]
    pub fn knows_policy(&self) -> bool {
        self.policy.is_some() || !self.has_policy()
    }

    /// Refuses what depends on the policy in force, if it cannot be said which one that is.
    ///
    /// # Errors
    ///
    /// `spoiled-pin`, with what removes it.
    pub fn refuse_spoiled(&self) -> anyhow::Result<()> {
        self.spoiled.clone().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// What is wrong with pins that no hook has to itself, and that cannot be read.
    #[must_use]
    pub fn spoiled_pins(&self) -> Vec<Failure> {
        let pins = [Pending::read(&self.store).err(), Leftover::read(&self.store).err()];
        let failures = pins.into_iter().flatten().filter_map(|error| error.downcast::<Failure>().ok());
        self.spoiled.iter().cloned().chain(failures).collect()
    }

    /// Reads the same again.
    ///
    /// # Errors
    ///
    /// Foreign or unreadable pins.
    pub fn again(&self) -> anyhow::Result<Self> {
        let net = Network::open()?;
        let (interfaces, (hooks, broken)) = (net.interfaces()?, datapath::observe_all(&self.store, &net)?);
        let (store, saved) = (self.store.clone(), self.saved.clone());
        Ok(Self { store, net, interfaces, hooks, broken, policy: None, spoiled: None, saved })
    }

    /// Notes that this policy is in force from now on, and which one is saved meanwhile.
    ///
    /// # Errors
    ///
    /// What the kernel says to the pin.
    pub fn remember(&self, record: &PolicyRecord) -> anyhow::Result<()> {
        let record = PolicyRecord { saved_then: saved_hash(&self.saved), ..record.clone() };
        document::write(&self.store.policy(), &record)
    }

    /// Removes the pins of hooks whose interfaces are gone, and says which. A new device has a new index, unless somebody gives
    /// it the old one: `gone` are those of devices that are known to have gone.
    ///
    /// # Errors
    ///
    /// What the kernel says. Needs the lock.
    pub fn collect_dead(&mut self, gone: &HashSet<u32>) -> anyhow::Result<Vec<Hook>> {
        let mut dead = Vec::new();
        for hook in std::mem::take(&mut self.hooks) {
            let another = gone.contains(&hook.pins.ifindex) && datapath::is_orphaned(&hook)?;
            if another || datapath::is_dead(&hook, &self.net)? {
                tracing::info!(hook = self.former_name(&hook), "gone: pins removed");
                hook.pins.remove_all()?;
                dead.push(hook);
            } else {
                self.hooks.push(hook);
            }
        }
        Ok(dead)
    }

    /// The hooks that are meant and cannot be read; no name means all.
    pub fn select_broken(&self, names: &[HookName]) -> impl Iterator<Item = &Broken> {
        self.broken.iter().filter(move |broken| {
            let covers = |name: &HookName| name.covers(&self.name_at(&broken.pins), broken.pins.direction);
            names.is_empty() || names.iter().any(covers)
        })
    }

    /// The hooks that are meant; no name means all that can be read.
    ///
    /// # Errors
    ///
    /// `not-attached` for a name that means none; what is wrong with one that is named and cannot be read.
    pub fn select(&self, names: &[HookName]) -> anyhow::Result<Vec<&Hook>> {
        if !names.is_empty()
            && let Some(broken) = self.select_broken(names).next()
        {
            return Err(broken.refusal().into());
        }
        self.select_readable(names)
    }

    /// The same, without those that cannot be read.
    ///
    /// # Errors
    ///
    /// `not-attached` for a name that means nothing at all.
    pub fn select_readable(&self, names: &[HookName]) -> anyhow::Result<Vec<&Hook>> {
        let covers = |name: &HookName, hook: &Hook| name.covers(&self.name_of(hook), hook.pins.direction);
        for name in names {
            let broken = self.select_broken(std::slice::from_ref(name)).next().is_some();
            if !broken && !self.hooks.iter().any(|hook| covers(name, hook)) {
                return Err(self.not_attached(name));
            }
        }
        let wanted = |hook: &&Hook| names.is_empty() || names.iter().any(|name| covers(name, hook));
        Ok(self.hooks.iter().filter(wanted).collect())
    }

    /// The policy in force, for screens and documents.
    #[must_use]
    pub fn label(&self) -> Option<PolicyLabel> {
        self.policy.as_ref().map(|in_force| in_force.policy.label(in_force.saved))
    }
}

impl InForce {
    /// A policy that this version cannot read is no reason to keep the counters from anybody.
    fn read(store: &Store, saved: &Path) -> anyhow::Result<Option<Self>> {
        let Some(record) = document::read_own::<PolicyRecord>(&store.policy())? else { return Ok(None) };
        Ok(parse(&record).map(|policy| {
            let saved = is_saved(saved, &record, &policy);
            Self { record, policy, saved }
        }))
    }
}

/// The classes of the policy in force; none where nobody may look, or qosbpf never was.
#[must_use]
pub fn classes(context: &Context) -> Vec<(String, Vec<Dscp>)> {
    let in_force = context.store().and_then(|store| InForce::read(&store, &context.saved()));
    let in_force = in_force.inspect_err(|error| tracing::debug!("no classes: {error:#}"));
    in_force.ok().flatten().map_or_else(Vec::new, |in_force| in_force.policy.classes().to_vec())
}

/// The policy of a record, unless this version cannot read it.
#[must_use]
pub fn parse(record: &PolicyRecord) -> Option<Policy> {
    let source = Source::new(&record.file, record.text.clone().into_bytes());
    let parsed = source.and_then(|source| policy::parse(&source));
    let warn = |first: Failure| tracing::warn!("a policy that was in force cannot be read: {first}");
    parsed.map_err(|report| report.failures().into_iter().next().map(warn)).ok()
}

/// What a policy is called where its text is not at hand.
#[must_use]
pub fn identity(policy: &Policy) -> Identity {
    Identity { name: policy.name().to_owned(), hash: policy.hash().to_owned() }
}

/// The hash of the saved policy, if there is a good one.
pub fn saved_hash(path: &Path) -> Option<String> {
    Some(saved(path)?.hash().to_owned())
}

/// The saved policy, if there is a good one.
pub fn saved(path: &Path) -> Option<Policy> {
    parse_saved(path, super::policy::read_bounded(path).ok()?)
}

fn parse_saved(path: &Path, bytes: Vec<u8>) -> Option<Policy> {
    policy::parse(&Source::new(&path.display().to_string(), bytes).ok()?).ok()
}

/// Whether the saved policy means the same as this one, which the same text does: a large one takes its time to be read.
fn is_saved(path: &Path, record: &PolicyRecord, policy: &Policy) -> bool {
    let bytes = super::policy::read_bounded(path).ok();
    bytes.is_some_and(|bytes| {
        bytes == record.text.as_bytes() || parse_saved(path, bytes).is_some_and(|saved| saved.hash() == policy.hash())
    })
}

/// What a hook has counted, without what the device and its qdisc have.
pub fn counted(hook: &Hook, interface: String) -> snapshot::Hook {
    let read = counters::read(&hook.pins).and_then(|counts| Ok((counts, Rules::of(hook)?)));
    let (counts, rules) = match read {
        Ok((mut counts, rules)) => {
            hook.state.tabled.leave(&mut counts);
            counts.earlier.clone_from(&hook.state.earlier);
            (Ok(counts), rules)
        }
        Err(error) => (Err(with_hint(&error)), Rules::default()),
    };
    let binding = hook.state.binding.as_ref();
    snapshot::Hook {
        interface,
        ifindex: hook.pins.ifindex,
        direction: hook.pins.direction,
        via: hook.state.via,
        state: state_of(hook, counts.is_ok()),
        since: hook.state.since,
        cleared: false,
        began: hook.state.tabled.began(),
        asked: hook.state.asked.clone(),
        table: binding.and_then(|binding| binding.label().ok()?),
        outer: binding.and_then(|binding| binding.outer.as_ref()?.label().ok()),
        policy: binding.map(|binding| binding.policy.clone()),
        local: binding.filter(|_| hook.pins.direction == Direction::Egress).map(|binding| binding.local.as_str()),
        rules: rules.in_force,
        resting: rules.resting,
        program_id: hook.state.program_id,
        counts,
        device: None,
        qdisc: None,
        trend: None,
    }
}

/// What a hook is doing; `readable` if its counters can be read.
#[must_use]
pub const fn state_of(hook: &Hook, readable: bool) -> State {
    match hook.running {
        _ if !readable => State::Error,
        Observed::Gone => State::Missing,
        _ if hook.state.bypass.is_some() => State::Bypassed,
        _ if hook.state.decides() => State::Active,
        _ => State::Counting,
    }
}

/// This host's name.
#[must_use]
pub fn host() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_unnamed| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The baseline of `stats clear`, if a hook has one.
#[must_use]
pub fn baseline(hook: &Hook) -> Option<Baseline> {
    let path = hook.pins.trusted(Pin::Baseline).ok()??;
    document::read(&path).ok()?
}
