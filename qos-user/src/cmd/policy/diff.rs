//! `qosbpf policy diff`: what a policy would change, and how many packets a second that is now.

use std::{
    collections::HashMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use qos_common::ds::Dscp;

use super::{
    check,
    plan::{self, Effect, Item, Place},
    read_policy,
    session::Session,
    testing,
};
use crate::{
    cli::ApplyOptions,
    cmd::{
        Context, conditioner,
        site::{self, Site},
    },
    error::Exit,
    hook::Layer,
    kernel::state::{Binding, TableRecord},
    policy::Policy,
    render::{json, table},
    rules::model::Rule,
    snapshot::{
        Snapshot,
        diff::{self, HookDiff, OuterDiff, PolicyDiff},
        rates::{Rate, Rates},
    },
};

const SAMPLE: Duration = Duration::from_secs(1);

/// Compares what runs with a file; 3 if they differ.
///
/// # Errors
///
/// [`super::WrongPolicy`], and pins that are foreign or not readable.
pub fn run(file: &Path, json: bool, context: &Context) -> anyhow::Result<Exit> {
    let (_, policy) = read_policy(file)?;
    let site = Site::read(context)?;
    let items = plan::plan(&ApplyOptions::default(), &site, &policy);
    let changes = |item: &Item<'_>| matches!(item.effect, Effect::Changed | Effect::Lost);
    let (snapshot, rates) = if items.iter().any(changes) { sample(&site, context)? } else { (None, Rates::default()) };
    let hooks = items.iter().map(|item| compare(&site, item, &live(item, snapshot.as_ref(), &rates)));
    let found = PolicyDiff {
        running: site.label(),
        prune: plan::needs_prune(&items),
        never_asked: check::never_asked(&policy)?,
        hooks: hooks.collect::<anyhow::Result<_>>()?,
        session: Session::find(&site, &policy, &ApplyOptions::default())?.map(|session| session.to_string()),
        tests: testing::tried(&site, &policy),
        next: label(&policy, context),
    };
    let text = if json {
        json::document(&json::diff(&found), json::Layout::Pretty)?
    } else {
        table::diff(&found, &context.look())
    };
    context.print(&text)?;
    Ok(if found.differs() { Exit::No } else { Exit::Done })
}

fn label(policy: &Policy, context: &Context) -> crate::snapshot::PolicyLabel {
    let saved = site::saved_hash(&context.saved()).is_some_and(|hash| hash == policy.hash());
    policy.label(saved)
}

fn sample(site: &Site, context: &Context) -> anyhow::Result<(Option<Snapshot>, Rates)> {
    let (earlier, start) = (site.snapshot(&[], context)?, Instant::now());
    thread::sleep(SAMPLE);
    let later = site.snapshot(&[], context)?;
    let rates = Rates::between(&earlier, &later, start.elapsed());
    Ok((Some(later), rates))
}

/// How fast packets come to a hook now.
#[derive(Default)]
struct Live<'a> {
    /// By codepoint, to its table: what rules decide, the table does not change. `None` where nothing is counted.
    tabled: Option<[Rate; Dscp::COUNT]>,
    /// By rule.
    rules: HashMap<&'a str, Rate>,
}

fn live<'a>(item: &Item<'_>, snapshot: Option<&'a Snapshot>, rates: &Rates) -> Live<'a> {
    let Place::Hook(hook) = item.place else { return Live::default() };
    let place = (hook.pins.ifindex, hook.pins.direction);
    let shown = snapshot.and_then(|shown| shown.hooks.iter().find(|shown| (shown.ifindex, shown.direction) == place));
    let Some((shown, rates)) = shown.and_then(|shown| Some((shown, rates.of(shown)?))) else { return Live::default() };
    let rules = shown.rules.iter().zip(&rates.rules);
    let rules = rules.map(|(counted, rate)| (counted.rule.name.as_str(), *rate));
    Live { tabled: Some(rates.tabled), rules: rules.collect() }
}

fn compare(site: &Site, item: &Item<'_>, live: &Live<'_>) -> anyhow::Result<HookDiff> {
    let old = now(site, item);
    let new = item.binding.clone();
    let labels = [&old, &new].map(|binding| binding.as_ref().map_or(Ok(None), Binding::label));
    let [old_label, new_label] = labels;
    let local = old.as_ref().zip(new.as_ref()).map(|(old, new)| (old.local.as_str(), new.local.as_str()));
    let tabled = live.tabled.unwrap_or([Rate::default(); Dscp::COUNT]);
    let entries = diff::tables(old_label?.as_ref(), new_label?.as_ref(), &tabled);
    let local = local.filter(|(old, new)| old != new);
    let inside = inside(item, old.as_ref(), new.as_ref());
    let outer = outer(old.as_ref(), new.as_ref());
    let of = |binding: &Option<Binding>| binding.as_ref().map_or(Vec::new(), |binding| binding.rules.clone());
    let rules = diff::rules(&of(&old), &of(&new), |name| live.rules.get(name).copied());
    let from = outdated(site, item);
    let lists = [entries.is_empty(), rules.is_empty(), from.is_empty()];
    Ok(HookDiff {
        name: item.name.clone(),
        old_table: old.as_ref().and_then(name),
        new_table: new.as_ref().and_then(name),
        effect: item.effect.word(),
        differs: lists.contains(&false) || local.is_some() || inside.is_some() || outer.is_some(),
        live: live.tabled.is_some(),
        bypassed: item.bypassed,
        needs_tc: needs_tc(site, item),
        local,
        inside,
        outer,
        from,
        entries,
        rules,
    })
}

/// The rules that stay, and whose `from` means other interfaces by now.
fn outdated(site: &Site, item: &Item<'_>) -> Vec<String> {
    let (Place::Hook(hook), Some(new)) = (&item.place, &item.binding) else { return Vec::new() };
    let stays = |rule: &&Rule| new.rules.iter().any(|new| new.name == rule.name);
    let outdated = conditioner::outdated(site, hook).into_iter().filter(stays);
    outdated.map(|rule| rule.name.clone()).collect()
}

/// Why `apply` would refuse the hook, and the command that moves it.
fn needs_tc(site: &Site, item: &Item<'_>) -> Option<(String, String)> {
    let Place::Hook(hook) = item.place else { return None };
    let changed = item.binding.as_ref().filter(|_| item.effect == Effect::Changed)?;
    let failure = conditioner::at_xdp(site, hook, changed)?;
    Some((failure.message, failure.hint?))
}

/// Into what the hook looks and would look, in words; what `attach` was told counts where a policy does not say.
fn inside(item: &Item<'_>, old: Option<&Binding>, new: Option<&Binding>) -> Option<(String, String)> {
    let told = match item.place {
        Place::Hook(hook) => hook.state.inside.as_deref(),
        Place::Bare(..) | Place::Nowhere => None,
    };
    let words = |binding: Option<&Binding>| {
        let layers = binding.and_then(|binding| binding.inside.as_deref()).or(told).unwrap_or_default();
        if layers.is_empty() { "nothing".to_owned() } else { Layer::words(layers) }
    };
    let (old, new) = (words(old), words(new));
    (old != new).then_some((old, new))
}

/// The tables for outer headers, if they do not do the same.
fn outer(old: Option<&Binding>, new: Option<&Binding>) -> Option<OuterDiff> {
    let tables = [old, new].map(|binding| binding.and_then(|binding| binding.outer.as_ref()));
    if Binding::marks_alike(tables[0], tables[1]) {
        return None;
    }
    let to = |table: Option<&TableRecord>, inner: Dscp| table?.entries.get(inner.index()).map(|entry| entry.to);
    let [old, new] = tables.map(|table| table.map(|table| table.name.clone()));
    let inside = Dscp::all().filter(|inner| to(tables[0], *inner) != to(tables[1], *inner)).collect();
    Some(OuterDiff { old, new, inside })
}

fn name(binding: &Binding) -> Option<String> {
    binding.table_name().map(str::to_owned)
}

/// What is in force at a hook, or would be if something were attached there.
fn now(site: &Site, item: &Item<'_>) -> Option<Binding> {
    match item.place {
        Place::Hook(hook) => hook.state.binding.clone(),
        Place::Bare(interface, direction) => {
            conditioner::binding(&site.policy.as_ref()?.policy, &interface.name, direction)
        }
        Place::Nowhere => None,
    }
}
