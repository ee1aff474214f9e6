//! What a policy would mean for every hook that is there or bound, before anything is done.

use crate::{
    cli::ApplyOptions,
    cmd::{attaching::begins_anew, conditioner, site::Site, unpinned},
    command::Command,
    error::{Exit, Failure},
    hook::{Direction, HookName},
    kernel::{
        datapath::{Hook, Observed},
        network::Interface,
        state::Binding,
    },
    policy::Policy,
};

/// What the new policy means for one hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Another table, or the first.
    Changed,
    /// The same marks leave.
    Same,
    /// It has a table, and the new policy none for it.
    Lost,
    /// It counts, and goes on counting.
    Counts,
    /// The same, at an interface that the file does not name.
    Unnamed,
    /// `--only` leaves it as it is.
    LeftOut,
    /// Bound, and nothing attached there.
    NotAttached,
    /// Bound, and attached by this very command.
    Attached,
}

impl Effect {
    /// The same in words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Same => "same",
            Self::Lost => "not in the file: counts without a policy",
            Self::Counts => "counts, not bound",
            Self::Unnamed => "not in the file: counts",
            Self::LeftOut => "left as it is",
            Self::NotAttached => "bound, not attached",
            Self::Attached => "attached",
        }
    }
}

/// One hook with what the new policy says of it.
pub struct Item<'a> {
    /// `wan0:egress`.
    pub name: String,
    /// What it is bound to.
    pub binding: Option<Binding>,
    /// What that means.
    pub effect: Effect,
    /// Whether the table is out of the path all the same.
    pub bypassed: bool,
    /// That a program of ours works there, of which no pin is known.
    pub at_work: Option<String>,
    /// Where it is.
    pub place: Place<'a>,
}

impl Item<'_> {
    /// Where it is bound and not attached: why, and what attaches it.
    pub fn unattached(&self) -> Option<String> {
        if self.effect != Effect::NotAttached {
            return None;
        }
        if let Some(said) = &self.at_work {
            return Some(said.clone());
        }
        let attach = Command::new("qosbpf attach").operand(&self.name);
        Some(match self.place {
            Place::Nowhere => format!(
                "no interface has this name. When there is one, a service attaches it (qosbpf run), or: {attach}"
            ),
            Place::Hook(_) | Place::Bare(..) => attach.to_string(),
        })
    }
}

/// Where a hook is.
pub enum Place<'a> {
    /// Attached.
    Hook(&'a Hook),
    /// Not attached, at an interface that exists.
    Bare(&'a Interface, Direction),
    /// Bound by a name that no interface has.
    Nowhere,
}

impl Place<'_> {
    /// The interface, if there is one.
    pub const fn ifindex(&self) -> Option<u32> {
        match self {
            Self::Hook(hook) => Some(hook.pins.ifindex),
            Self::Bare(interface, _) => Some(interface.ifindex),
            Self::Nowhere => None,
        }
    }
}

/// Every hook that is there, then what the policy binds beside them.
pub fn plan<'a>(how: &ApplyOptions, site: &'a Site, policy: &Policy) -> Vec<Item<'a>> {
    let mut items = attached(how, site, policy);
    items.extend(unattached(how, site, policy));
    items.extend(absent(how, site, policy));
    items
}

fn attached<'a>(how: &ApplyOptions, site: &'a Site, policy: &Policy) -> Vec<Item<'a>> {
    let present = site.hooks.iter().filter(|hook| hook.running != Observed::Gone);
    let items = present.map(|hook| {
        let interface = site.name_of(hook);
        let left_out = how.only.as_ref().is_some_and(|only| *only != interface);
        let next = conditioner::binding(policy, &interface, hook.pins.direction);
        let binding = if left_out { hook.state.binding.clone() } else { next };
        let bypassed = hook.state.bypass.is_some();
        let effect = match compare(hook.state.binding.as_ref(), binding.as_ref()) {
            _ if left_out => Effect::LeftOut,
            // Made anew for the interfaces that there are, its rules match other packets.
            Effect::Same if !conditioner::outdated(site, hook).is_empty() => Effect::Changed,
            Effect::Counts if !policy.is_about(&interface) => Effect::Unnamed,
            effect => effect,
        };
        Item {
            name: format!("{interface}:{}", hook.pins.direction),
            binding,
            effect,
            bypassed,
            at_work: None,
            place: Place::Hook(hook),
        }
    });
    items.collect()
}

/// `--only` with a name that is nowhere is a slip, and would put a policy in force that changes nothing.
///
/// # Errors
///
/// `no-such-interface`.
pub fn refuse_unknown(how: &ApplyOptions, site: &Site, policy: &Policy) -> anyhow::Result<()> {
    let Some(only) = &how.only else { return Ok(()) };
    let exists = site.interfaces.iter().any(|interface| interface.name == *only);
    let attached = || site.hooks.iter().any(|hook| site.name_of(hook) == *only);
    let bound = || policy.bindings().iter().any(|binding| !binding.is_glob() && binding.pattern == only.as_str());
    if exists || attached() || bound() {
        return Ok(());
    }
    let names: Vec<_> = site.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    Err(Failure::new("no-such-interface", format!("--only {only}: there is no such interface"))
        .exit(Exit::Usage)
        .hint(format!("interfaces here: {}", names.join(", ")))
        .into())
}

fn compare(now: Option<&Binding>, next: Option<&Binding>) -> Effect {
    match (now, next) {
        (Some(now), Some(next)) if now.does_the_same_as(next) => Effect::Same,
        (_, Some(_)) => Effect::Changed,
        (Some(now), None) if now.decides() => Effect::Lost,
        (Some(_), None) => Effect::Changed,
        (None, None) => Effect::Counts,
    }
}

/// What the policy binds on interfaces that exist, and where nothing is attached.
fn unattached<'a>(how: &ApplyOptions, site: &'a Site, policy: &Policy) -> Vec<Item<'a>> {
    let is_attached = |ifindex, direction| {
        let there = |hook: &Hook| (hook.pins.ifindex, hook.pins.direction) == (ifindex, direction);
        let unreadable =
            site.broken.iter().any(|broken| (broken.pins.ifindex, broken.pins.direction) == (ifindex, direction));
        unreadable || site.hooks.iter().any(|hook| there(hook) && hook.running != Observed::Gone)
    };
    let effect = if how.attach { Effect::Attached } else { Effect::NotAttached };
    let meant = |interface: &&Interface| how.only.as_ref().is_none_or(|only| *only == interface.name);
    let items = site.interfaces.iter().filter(meant).flat_map(|interface| {
        Direction::BOTH.into_iter().filter_map(move |direction| {
            policy.names(&interface.name, direction)?;
            let binding = conditioner::binding(policy, &interface.name, direction)?;
            let name = format!("{}:{direction}", interface.name);
            let place = Place::Bare(interface, direction);
            let left = site.hooks.iter().find(|hook| hook.is_at(interface.ifindex, direction));
            let bypassed =
                left.is_some_and(|hook| hook.state.bypass.is_some() && begins_anew(hook, interface).is_none());
            let hook = HookName { interface: interface.name.clone(), direction: Some(direction) };
            (!is_attached(interface.ifindex, direction)).then(|| Item {
                name,
                binding: Some(binding),
                effect,
                bypassed: bypassed && effect == Effect::Attached,
                at_work: unpinned::at_work(site, &hook),
                place,
            })
        })
    });
    items.collect()
}

/// What the policy binds by exact name, and no interface has that name.
fn absent<'a>(how: &ApplyOptions, site: &Site, policy: &Policy) -> Vec<Item<'a>> {
    let exists = |name: &str| site.interfaces.iter().any(|interface| interface.name == name);
    let absent = policy.bindings().into_iter().filter(|binding| !binding.is_glob() && !exists(binding.pattern));
    let absent = absent.filter(|binding| how.only.as_ref().is_none_or(|only| only == binding.pattern));
    let items = absent.map(|binding| Item {
        name: format!("{}:{}", binding.pattern, binding.direction),
        binding: None,
        effect: Effect::NotAttached,
        bypassed: false,
        at_work: None,
        place: Place::Nowhere,
    });
    items.collect()
}

/// Refuses a policy that takes tables away, or does not name an interface where we are attached, without being told to.
///
/// # Errors
///
/// `not-in-file`.
pub fn refuse_losses(how: &ApplyOptions, file: &str, items: &[Item<'_>]) -> anyhow::Result<()> {
    if how.prune || how.only.is_some() || !needs_prune(items) {
        return Ok(());
    }
    let lost = with(items, Effect::Lost).map(|hooks| format!("{hooks} would lose its policy"));
    let unnamed = with(items, Effect::Unnamed).map(|hooks| format!("attached at {hooks}"));
    let why: Vec<_> = lost.into_iter().chain(unnamed).collect();
    Err(Failure::new("not-in-file", format!("{}: {file} binds nothing there", why.join(", ")))
        .hint(
            "a policy is the whole statement for this network namespace: bind it, or the same command with\n  \
             --prune (it goes on counting), or --only IFACE",
        )
        .into())
}

/// Whether a policy leaves out hooks that are there, which has to be said.
pub fn needs_prune(items: &[Item<'_>]) -> bool {
    items.iter().any(|item| matches!(item.effect, Effect::Lost | Effect::Unnamed))
}

/// The hooks for which a policy means this, in words.
pub fn with(items: &[Item<'_>], effect: Effect) -> Option<String> {
    let names: Vec<_> = items.iter().filter(|item| item.effect == effect).map(|item| item.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
