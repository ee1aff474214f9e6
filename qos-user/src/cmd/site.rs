//! What is in force in a network namespace: its policy, its hooks, its interfaces, read together.

use std::{path::Path, time::SystemTime};

use crate::{
    cmd::Context,
    error::Failure,
    hook::{Direction, HookName},
    kernel::{
        counters,
        datapath::{self, Hook, Observed},
        document,
        network::{Interface, Network},
        pins::{Pin, Store},
        state::{Binding, PolicyRecord, QdiscBaseline},
    },
    policy::{self, Policy, Source},
    snapshot::{self, Device, PolicyLabel, Qdisc, Snapshot, State, baseline::Baseline},
};

/// The policy that a reboot brings back.
pub const SAVED: &str = "/etc/qosbpf/policy.toml";

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
    /// The policy in force.
    pub policy: Option<InForce>,
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
        Self::of(context.store()?)
    }

    /// Reads what `store` has.
    ///
    /// # Errors
    ///
    /// Foreign or unreadable pins.
    pub fn of(store: Store) -> anyhow::Result<Self> {
        let net = Network::open()?;
        let interfaces = net.interfaces()?;
        let hooks = datapath::observe_all(&store, &net)?;
        let policy = InForce::read(&store)?;
        Ok(Self { store, net, interfaces, hooks, policy })
    }

    /// The interface of a hook; `None` once it is gone.
    #[must_use]
    pub fn interface_of(&self, hook: &Hook) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.ifindex == hook.pins.ifindex)
    }

    /// How a hook is called.
    #[must_use]
    pub fn name_of(&self, hook: &Hook) -> String {
        self.interface_of(hook).map_or_else(|| format!("if-{}", hook.pins.ifindex), |interface| interface.name.clone())
    }

    /// The hooks that are meant; no name means all.
    ///
    /// # Errors
    ///
    /// `not-attached` for a name that means none.
    pub fn select(&self, names: &[HookName]) -> anyhow::Result<Vec<&Hook>> {
        let covers = |name: &HookName, hook: &Hook| name.covers(&self.name_of(hook), hook.pins.direction);
        for name in names {
            if !self.hooks.iter().any(|hook| covers(name, hook)) {
                return Err(self.not_attached(name));
            }
        }
        let wanted = |hook: &&Hook| names.is_empty() || names.iter().any(|name| covers(name, hook));
        Ok(self.hooks.iter().filter(wanted).collect())
    }

    fn not_attached(&self, name: &HookName) -> anyhow::Error {
        let there: Vec<_> =
            self.hooks.iter().map(|hook| format!("{}:{}", self.name_of(hook), hook.pins.direction)).collect();
        let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
        Failure::new("not-attached", format!("qosbpf is not attached at {name}"))
            .hint(format!("attached: {there}; to attach: qosbpf attach {}", name.interface))
            .into()
    }

    /// What the hooks that are meant have counted.
    ///
    /// # Errors
    ///
    /// `not-attached`; what cannot be read of one hook stands in its place.
    pub fn snapshot(&self, names: &[HookName], context: &Context) -> anyhow::Result<Snapshot> {
        let hooks = self.select(names)?;
        Ok(Snapshot {
            hooks: hooks.into_iter().map(|hook| self.snapshot_of(hook)).collect(),
            time: SystemTime::now(),
            host: host(),
            netns: context.netns.clone(),
            policy: self.label(),
        })
    }

    /// The policy in force, for screens and documents.
    #[must_use]
    pub fn label(&self) -> Option<PolicyLabel> {
        self.policy.as_ref().map(|in_force| in_force.policy.label(in_force.saved))
    }

    fn snapshot_of(&self, hook: &Hook) -> snapshot::Hook {
        let direction = hook.pins.direction;
        let counts = counters::read(&hook.pins).map_err(|error| format!("{error:#}"));
        let qdisc = (direction == Direction::Egress).then(|| self.net.qdiscs(hook.pins.ifindex).ok()).flatten();
        snapshot::Hook {
            interface: self.name_of(hook),
            ifindex: hook.pins.ifindex,
            direction,
            via: hook.state.via,
            state: state_of(hook),
            since: hook.state.since,
            table: hook.state.binding.as_ref().and_then(|binding| binding.label().ok()),
            program_id: hook.state.program_id,
            counts,
            device: self.interface_of(hook).map(|now| since(now.device(direction), hook.state.device)),
            qdisc: qdisc.map(|now| qdisc_since(now.root, &hook.state.qdisc)),
        }
    }
}

impl InForce {
    /// A policy that this version cannot read is no reason to keep the counters from anybody.
    fn read(store: &Store) -> anyhow::Result<Option<Self>> {
        let Some(record) = document::read::<PolicyRecord>(&store.policy())? else { return Ok(None) };
        let source = Source::new(&record.file, record.text.clone().into_bytes());
        match source.and_then(|source| policy::parse(&source)) {
            Ok(policy) => {
                let saved = saved_hash().is_some_and(|hash| hash == policy.hash());
                Ok(Some(Self { record, policy, saved }))
            }
            Err(report) => {
                tracing::warn!("the policy in force cannot be read: {}", report.into_failure());
                Ok(None)
            }
        }
    }
}

/// The hash of the saved policy, if there is a good one.
fn saved_hash() -> Option<String> {
    let bytes = std::fs::read(Path::new(SAVED)).ok()?;
    let policy = policy::parse(&Source::new(SAVED, bytes).ok()?).ok()?;
    Some(policy.hash().to_owned())
}

/// What a policy says of one hook, as it is remembered there.
#[must_use]
pub fn binding(policy: &Policy, interface: &str, direction: Direction) -> Option<Binding> {
    let bound = policy.bind(interface, direction)?;
    Some(Binding::new(policy.hash(), bound.table.label(), bound.local))
}

/// What a hook is doing.
#[must_use]
pub const fn state_of(hook: &Hook) -> State {
    match hook.running {
        Observed::Gone => State::Missing,
        _ if hook.state.bypass.is_some() => State::Bypassed,
        _ if hook.state.binding.is_some() => State::Active,
        _ => State::Counting,
    }
}

fn since(now: Device, then: Device) -> Device {
    Device {
        packets: now.packets.wrapping_sub(then.packets),
        bytes: now.bytes.wrapping_sub(then.bytes),
        drops: now.drops.wrapping_sub(then.drops),
    }
}

/// A qdisc with another handle or kind was made since, and began at zero; its drops are 32 bits wide.
fn qdisc_since(now: QdiscBaseline, then: &QdiscBaseline) -> Qdisc {
    let same = (&now.kind, now.handle) == (&then.kind, then.handle);
    let earlier = if same { then.drops } else { 0 };
    Qdisc { kind: now.kind, drops: now.drops.wrapping_sub(earlier) & u64::from(u32::MAX) }
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
