//! From a policy to what a hook is to do: table, rules and their counters, compiled for the interfaces that are there.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use anyhow::Context as _;
use qos_common::{abi::Counter, meter::METER_SLOTS, policy::Local, rules::RULE_SLOTS};

use super::{attaching, site::Site};
use crate::{
    error::Failure,
    hook::{Direction, Layer},
    kernel::{
        choice::{self, Bound, Wanted},
        counters,
        datapath::{Hook, Next},
        needs::Needs,
        network::Interface,
        slots::{Given, Slots, Wants},
        state::{Binding, HookState},
    },
    policy::{
        Policy,
        classifier::{self, Compiled, Input},
    },
    rules::{
        RuleTables,
        from::Named,
        model::{LogRate, Rule},
    },
    snapshot::{HookPolicy, asked::Asked, made::Earlier},
};

/// What a policy says of one hook; `None` if neither a table nor a rule is for it, nor where to look.
#[must_use]
pub fn binding(policy: &Policy, interface: &str, direction: Direction) -> Option<Binding> {
    let table = policy.bind(interface, direction).map(|bound| bound.table.label().into());
    let rules: Vec<Rule> = policy.rules_for(interface, direction).into_iter().cloned().collect();
    let inside = policy.inside(interface).map(<[Layer]>::to_vec);
    let outer = policy.outer(interface).filter(|_| direction == Direction::Egress).map(|table| table.label().into());
    if table.is_none() && rules.is_empty() && inside.is_none() && outer.is_none() {
        return None;
    }
    let policy_name =
        HookPolicy { name: policy.name().to_owned(), hash: policy.hash().to_owned(), file: policy.file().to_owned() };
    // At ingress no packet is this host's own, and what `local` says of an interface makes no difference.
    let local = if direction == Direction::Egress { policy.local(interface) } else { Local::default() };
    Some(Binding { policy: policy_name, table, local: local.into(), rules, inside, outer })
}

/// By what to attach: as somebody asked, else as the policy says for the interface, else the best.
#[must_use]
pub fn wanted(asked: Wanted, policy: Option<&Policy>, interface: &str, direction: Direction) -> Wanted {
    let by_policy = policy.and_then(|policy| policy.hook(interface));
    let usable = by_policy.filter(|via| !(via.is_xdp() && direction == Direction::Egress));
    match (asked, usable) {
        (Wanted::Best, Some(via)) => Wanted::Exactly(via),
        _ => asked,
    }
}

/// What a hook needs where nothing is attached to do what a binding says.
///
/// # Errors
///
/// `rules` that do not fit into the kernel's tables.
pub fn first(binding: Option<Binding>, interfaces: &[Interface]) -> anyhow::Result<Bound> {
    let (needs, interfaces) = (Needs::of(binding.as_ref()), numbered(interfaces));
    let (mut slots, mut meters) = (Slots::default(), Slots::default());
    let rules = match &binding {
        Some(binding) => {
            let given = slots.assign(RULE_SLOTS, &wants(&binding.rules), &[], counters::of_rule(&[]))?;
            let metered = meters.assign(METER_SLOTS, &metered(&binding.rules), &[], |_| vec![Counter::default(); 3])?;
            compile(binding, &given.slots, &metered.slots, &interfaces)?
        }
        None => None,
    };
    let named = binding.as_ref().map_or_else(Vec::new, |binding| binding.named(&interfaces));
    Ok(Bound { binding, slots, meters, rules, named, needs })
}

/// What an attached hook needs to do what `state` says.
///
/// # Errors
///
/// `needs-tc`, `rules`; counters that cannot be read.
pub fn next(site: &Site, hook: &Hook, state: HookState) -> anyhow::Result<Next> {
    if let Some(binding) = state.binding.as_ref().filter(|_| !stays_out(hook, &state)) {
        refuse_at_xdp(site, hook, binding)?;
    }
    following(site, hook, state)
}

/// The same where nobody has asked what the policy binds: for which name it was asked stays written down.
///
/// # Errors
///
/// Those of [`next`].
pub fn as_bound(site: &Site, hook: &Hook, state: HookState) -> anyhow::Result<Next> {
    let Next { state, rules } = next(site, hook, state)?;
    let bound_as = Some(hook.state.asked_for().to_owned()).filter(|name| *name != state.interface);
    Ok(Next { state: HookState { bound_as, ..state }, rules })
}

/// To take a policy out of the path nothing has to be compiled; a new one is refused also while it would not be in it.
fn stays_out(hook: &Hook, next: &HookState) -> bool {
    next.bypass.is_some() && hook.state.binding == next.binding
}

/// The same by whatever mechanism.
///
/// # Errors
///
/// `rules`; counters that cannot be read.
pub fn following(site: &Site, hook: &Hook, mut state: HookState) -> anyhow::Result<Next> {
    name(site, hook, &mut state);
    let interfaces = numbered(&site.interfaces);
    let binding = state.binding.clone().filter(|_| !stays_out(hook, &state));
    if let Some(binding) = &binding {
        state.named = Some(binding.named(&interfaces));
    }
    remember_earlier(hook, &mut state)?;
    let Some(binding) = binding else { return Ok(Next { state, rules: None }) };
    let running = hook.state.enforced().map_or(&[][..], |running| &running.rules);
    let counted = counters::rules(&hook.pins)?;
    let given = state.slots.assign(RULE_SLOTS, &wants(&binding.rules), &wants(running), counters::of_rule(&counted))?;
    state.slots.begin(&given.new, SystemTime::now());
    let counted = counters::meters(&hook.pins)?;
    let (all, now) = (metered(&binding.rules), metered(running));
    let buckets = state.meters.assign(METER_SLOTS, &all, &now, counters::of_meter(&counted))?;
    for slot in buckets.new {
        counters::refill(&hook.pins, slot.into())?;
    }
    for slot in begin_to_log(&binding.rules, &given, hook.state.binding.as_ref()) {
        counters::allow_events(&hook.pins, slot.into())?;
    }
    let rules = compile(&binding, &given.slots, &buckets.slots, &interfaces)?;
    let rules = rules.filter(|_| state.bypass.is_none());
    Ok(Next { state, rules })
}

/// The counters of rules that did not log before, or at another rate: the others keep what they may still log.
fn begin_to_log(rules: &[Rule], given: &Given, before: Option<&Binding>) -> Vec<u16> {
    let before = before.into_iter().flat_map(|before| &before.rules);
    let before: HashMap<&str, LogRate> = before.filter_map(|rule| Some((rule.name.as_str(), rule.log?))).collect();
    let begins =
        |rule: &Rule, slot: &u16| given.new.contains(slot) || before.get(rule.name.as_str()) != rule.log.as_ref();
    let logging = rules.iter().zip(&given.slots).filter(|(rule, _)| rule.log.is_some());
    logging.filter(|(rule, slot)| begins(rule, slot)).map(|(_, slot)| *slot).collect()
}

/// What a hook has counted is not by what is in force from now on; what stays in force counts on, by its name.
///
/// # Errors
///
/// Counters that cannot be read.
pub fn remember_earlier(hook: &Hook, next: &mut HookState) -> anyhow::Result<()> {
    let both = hook.state.binding.as_ref().zip(next.binding.as_ref());
    let same = both.is_some_and(|(now, next)| now.has_the_table_of(next));
    let counts = counters::read(&hook.pins)?;
    next.tabled = hook.state.tabled.next(&counts, same, next.bypass.is_some(), SystemTime::now());
    let as_before = |change| both.is_some_and(|(now, next)| now.makes_as(next, change));
    next.earlier = Earlier::next(hook.state.earlier.as_ref(), &counts, as_before);
    let as_before = rules_of(&hook.state) == rules_of(next) && named(&hook.state) == named(next);
    next.asked = if as_before { hook.state.asked.clone() } else { Some(Asked::from(&counts, SystemTime::now())) };
    Ok(())
}

/// Writes down for which name it was asked what the policy binds: that of now.
pub fn name(site: &Site, hook: &Hook, next: &mut HookState) {
    next.bound_as = None;
    if let Some(interface) = site.interface_of(hook) {
        next.interface.clone_from(&interface.name);
    }
}

/// Whether it was last asked for another name than that of now.
#[must_use]
pub fn is_renamed(site: &Site, hook: &Hook) -> bool {
    let HookState { interface: before, bound_as, .. } = &hook.state;
    site.interface_of(hook).is_some_and(|interface| *before != interface.name || bound_as.is_some())
}

/// What the policy in force binds to a hook, if that is not what it has; nothing, if none is. A hook that `policy apply --only`
/// left with another policy, or without, keeps it as long as it keeps its name: the one that is written down, since nobody may
/// have looked when it changed.
#[must_use]
pub fn rebound(site: &Site, policy: Option<&Policy>, hook: &Hook, name: &str) -> Option<Option<Binding>> {
    let asked_for = hook.state.asked_for();
    let renamed = !asked_for.is_empty() && asked_for != name;
    let now = hook.state.binding.as_ref();
    let Some(policy) = policy else {
        // What one binds that is in force and cannot be read here nobody knows.
        return now.filter(|_| renamed && !site.has_policy()).map(|_| None);
    };
    let of_this = now.is_some_and(|binding| binding.policy.hash == policy.hash());
    if !of_this && !renamed {
        return None;
    }
    let wanted = binding(policy, name, hook.pins.direction);
    let same = match (now, &wanted) {
        (None, None) => true,
        (Some(now), Some(wanted)) => now.does_the_same_as(wanted),
        _ => false,
    };
    (!same).then_some(wanted)
}

/// The interfaces for which they are compiled.
fn named(state: &HookState) -> &[Named] {
    state.named.as_deref().unwrap_or_default()
}

/// The rules that are asked.
fn rules_of(state: &HookState) -> &[Rule] {
    state.enforced().map_or(&[], |binding| &binding.rules)
}

/// The rules in force at a hook whose `from` means other interfaces by now than when they were compiled.
#[must_use]
pub fn outdated<'a>(site: &Site, hook: &'a Hook) -> Vec<&'a Rule> {
    let binding = hook.state.enforced().filter(|binding| binding.names_interfaces());
    let Some((binding, then)) = binding.zip(hook.state.named.as_ref()) else { return Vec::new() };
    let now = numbered(&site.interfaces);
    binding.rules.iter().filter(|rule| rule.means_others(then, &now)).collect()
}

fn wants(rules: &[Rule]) -> Vec<Wants> {
    rules.iter().map(|rule| Wants { rule: rule.name.clone(), numbers: String::new() }).collect()
}

/// Tokens survive as long as the numbers of the meter do not change.
fn metered(rules: &[Rule]) -> Vec<Wants> {
    let meters = rules.iter().filter_map(|rule| Some((rule, rule.meter()?)));
    meters.map(|(rule, meter)| Wants { rule: rule.name.clone(), numbers: meter.numbers() }).collect()
}

fn refuse_at_xdp(site: &Site, hook: &Hook, binding: &Binding) -> anyhow::Result<()> {
    at_xdp(site, hook, binding).map_or(Ok(()), |failure| Err(failure.into()))
}

/// Why a hook that is at XDP cannot have a binding, with the command that moves it.
#[must_use]
pub fn at_xdp(site: &Site, hook: &Hook, binding: &Binding) -> Option<Failure> {
    let why = Needs::of(Some(binding)).forbid(hook.state.via, site.interface_of(hook))?;
    let message = format!("{} is attached by {}: {why}", site.hook_name(hook), hook.state.via);
    let moving = attaching::moving(site, hook, choice::best_at_tc(hook.pins.ifindex));
    Some(Failure::new("needs-tc", message).hint(moving))
}

/// The interfaces as the compiler asks for them: number and name.
#[must_use]
pub fn numbered(interfaces: &[Interface]) -> Vec<Named> {
    interfaces.iter().map(|interface| (interface.ifindex, interface.name.clone())).collect()
}

/// The rules of a binding, `None` if it has none; `slots` has a counter for each rule, `meters` one for each that meters.
///
/// # Errors
///
/// `rules` that do not fit into the kernel's tables.
pub fn compile(
    binding: &Binding,
    slots: &[u16],
    meters: &[u16],
    interfaces: &[Named],
) -> anyhow::Result<Option<Arc<RuleTables>>> {
    let compiled = compiled(binding, slots, meters, interfaces)?;
    Ok(compiled.map(|compiled| Arc::new(compiled.tables)))
}

/// The same, with what the compiler has found out of the rules.
///
/// # Errors
///
/// `rules` that do not fit into the kernel's tables.
pub fn compiled(
    binding: &Binding,
    slots: &[u16],
    meters: &[u16],
    interfaces: &[Named],
) -> anyhow::Result<Option<Compiled>> {
    if binding.rules.is_empty() {
        return Ok(None);
    }
    let rules: Vec<&Rule> = binding.rules.iter().collect();
    let mut meters = meters.iter();
    let of_rule = |rule: &&Rule| rule.meter().and_then(|_| meters.next()).copied().unwrap_or_default();
    let meter_slots: Vec<u16> = rules.iter().map(of_rule).collect();
    let input = Input { rules: &rules, slots, meter_slots: &meter_slots, interfaces };
    let compiled = classifier::compile(&input)
        .map_err(|refusal| Failure::new("rules", refusal.to_string()))
        .with_context(|| format!("policy {} {}", binding.policy.name, binding.policy.hash))?;
    Ok(Some(compiled))
}
