//! `qosbpf policy apply`: one policy for the whole network namespace, switched at each hook in one system call.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use super::{
    ahead::Ahead,
    plan::{self, Effect, Item, Place},
    read_policy, record, room, said, save,
    switch::{Switch, Target, have_absent_ask, prepare},
    translated,
    trial::Trial,
    undo,
};
use crate::{
    cli::{ApplyArgs, ApplyOptions},
    cmd::{
        Context,
        attaching::{Asked, attach_again, begins_anew, bound_again},
        conditioner, control, misplaced, outdated,
        recovery::recovered,
        site::{self, Site},
        timer, twice,
    },
    error::{Exit, Failure},
    hook::Direction,
    kernel::{
        boottime::BootTime,
        choice::{self, Request, Wanted},
        datapath::{Hook, Observed},
        document,
        network::Interface,
        past,
        pending::{HookBefore, Pending},
        pins::{self, Change, Store},
        state::{Binding, PolicyRecord},
    },
    policy::{Policy, Source},
    progress,
    status::Why,
};

/// The code of a change that was not made since whoever makes it is to end.
pub const ENDING: &str = "ending";

/// Applies the policy of a file.
///
/// # Errors
///
/// [`super::WrongPolicy`], and those of [`apply`].
pub fn run(args: &ApplyArgs, context: &Context) -> anyhow::Result<Exit> {
    let (source, policy) = read_policy(&args.file)?;
    apply(&source, &policy, &args.how, context)
}

/// Applies a policy.
///
/// # Errors
///
/// `pending`, `not-in-file`, `too-large`, `test-failed`, `session-dropped`; what the kernel says: the old policy is in force then, at
/// every hook. `not-saved`: the new one is.
pub fn apply(source: &Source, policy: &Policy, how: &ApplyOptions, context: &Context) -> anyhow::Result<Exit> {
    put_in_force(source, policy, how, context, said::say)?;
    Ok(Exit::Done)
}

/// The same, and `tell` says what was done.
///
/// # Errors
///
/// Those of [`apply`]; `ending`.
pub fn put_in_force(
    source: &Source,
    policy: &Policy,
    how: &ApplyOptions,
    context: &Context,
    tell: impl Fn(&said::Applied<'_>, &Context) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut beforehand = Beforehand { trial: Trial::beforehand(policy, how, context), ahead: Ahead::default() };
    let mut turn = |context: &Context| -> anyhow::Result<Option<Store>> {
        let (store, change) = Store::change(&context.bpffs)?;
        let site = recovered(store.clone(), context)?;
        let is_done = attempt(&Order { source, policy, how, context }, site, &change, &mut beforehand, &tell)?;
        Ok((!is_done).then_some(store))
    };
    while let Some(store) = context.afterwards(&mut turn)? {
        if progress::is_to_end() {
            return Err(Failure::new(ENDING, "the service ends, and has changed nothing").into());
        }
        store.give_way();
    }
    Ok(())
}

/// What is to be put in force, and how.
struct Order<'a> {
    source: &'a Source,
    policy: &'a Policy,
    how: &'a ApplyOptions,
    context: &'a Context,
}

/// What takes time and changes nothing: as much of it as is done already.
struct Beforehand {
    trial: Option<Trial>,
    ahead: Ahead,
}

impl Beforehand {
    /// What came of the trial, which is that of now.
    fn trial(&mut self, site: &Site, order: &Order<'_>) -> anyhow::Result<&Trial> {
        let trial = match self.trial.take().filter(|trial| trial.holds(site)) {
            Some(trial) => trial,
            None => Trial::of(site, order.policy, order.how)?,
        };
        Ok(self.trial.insert(trial))
    }
}

/// Puts the policy in force under the lock; not if somebody waits for that, as for `bypass`, or it is to end, before anything
/// is changed.
fn attempt(
    order: &Order<'_>,
    mut site: Site,
    change: &Change,
    beforehand: &mut Beforehand,
    tell: impl Fn(&said::Applied<'_>, &Context) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let Order { source, policy, how, context } = *order;
    site.collect_dead(&HashSet::new())?;
    refuse_while_pending(&site.store)?;
    plan::refuse_unknown(how, &site, policy)?;
    let items = plan::plan(how, &site, policy);
    plan::refuse_losses(how, source.file(), &items)?;
    room::refuse_plan_too_large(source, policy, &items)?;
    beforehand.trial(&site, order)?;
    let gives_way = || change.is_waited_for() || progress::is_to_end();
    let Some(switch) = prepare(&site, targets(&items), &mut beforehand.ahead, gives_way)? else { return Ok(false) };
    let trial = beforehand.trial(&site, order)?;
    trial.conclude(how, context)?;
    let record = record(source);
    let intent = intent(how, &site, policy, &record)?;
    intent.write(&site.store)?;
    let attached = enforce(order, &site, intent.clone(), &items, &record, switch)
        .inspect_err(|_| go_back(&site, &intent, context))?;
    // What may be detached again is heeded by and by.
    if how.confirm.is_none() {
        control::tell_attached(&attached, context);
    }
    let saved = how.save && how.confirm.is_none();
    if saved {
        save::keep(context, &record.text)?;
        site.remember(&record)?;
    }
    let warnings = warnings(&site, &items, &attached);
    let session = trial.session.as_ref();
    tell(&said::Applied { policy, items: &items, session, how, saved, warnings: &warnings }, context)?;
    Ok(true)
}

/// The hooks that are there, and what they are to have.
fn targets<'a>(items: &[Item<'a>]) -> Vec<Target<'a>> {
    let targets = items.iter().filter_map(|item| match item.place {
        Place::Hook(hook) if item.effect != Effect::LeftOut => Some((hook, item.binding.clone())),
        _ => None,
    });
    targets.collect()
}

/// What is hardly meant at these hooks.
fn warnings(site: &Site, items: &[Item<'_>], attached: &[Hook]) -> Vec<String> {
    let mut warnings = anew(site, items);
    warnings.extend(translated::warnings(items));
    warnings.extend(counted_twice(site, attached));
    warnings.extend(absences(site, items));
    let bound = items.iter().filter_map(|item| Some((item.place.ifindex()?, item.binding.as_ref()?)));
    let misplaced = misplaced::warnings(site, bound);
    warnings.extend(misplaced.unwrap_or_else(|error| vec![format!("the devices could not be asked: {error:#}")]));
    warnings
}

/// Interfaces that rules name and that are not there, each rule once.
fn absences(site: &Site, items: &[Item<'_>]) -> Vec<String> {
    let bindings = items.iter().filter_map(|item| item.binding.as_ref());
    let mut said: Vec<String> = Vec::new();
    for absence in bindings.flat_map(|binding| outdated::absences(site, binding)) {
        let line = absence.to_string();
        if !said.contains(&line) {
            said.push(line);
        }
    }
    said
}

/// What was attached where another device has left something.
fn anew(site: &Site, items: &[Item<'_>]) -> Vec<String> {
    let attached = items.iter().filter(|item| item.effect == Effect::Attached);
    let begin = attached.filter_map(|item| match item.place {
        Place::Bare(interface, direction) => begins_anew(lost(site, interface, direction)?, interface),
        _ => None,
    });
    begin.collect()
}

/// Where a packet counts at two devices now. What is in force stays so if it cannot be said.
fn counted_twice(site: &Site, attached: &[Hook]) -> Vec<String> {
    let attached: Vec<&Hook> = attached.iter().collect();
    if attached.is_empty() {
        return Vec::new();
    }
    twice::warnings(site, &attached).unwrap_or_else(|error| vec![format!("cannot say what counts twice: {error:#}")])
}

/// Refuses a change while another waits to be confirmed.
///
/// # Errors
///
/// `pending`, with who and how long.
pub fn refuse_while_pending(store: &Store) -> anyhow::Result<()> {
    let Some(change) = Pending::read(store)? else { return Ok(()) };
    let left = change.until.map_or(Ok(Duration::ZERO), |until| BootTime::now().map(|now| until.left(now)))?;
    let (to, left) = (&change.to, said::seconds(left));
    let message = format!("policy {} {} by {} waits to be confirmed, {left} left", to.name, to.hash, change.by);
    Err(Failure::new("pending", message)
        .hint("qosbpf policy confirm keeps it, qosbpf policy rollback goes back at once")
        .into())
}

/// What is about to be done, with all that is needed to go back.
fn intent(how: &ApplyOptions, site: &Site, policy: &Policy, record: &PolicyRecord) -> anyhow::Result<Pending> {
    let before = site.hooks.iter().map(|hook| HookBefore {
        ifindex: hook.pins.ifindex,
        direction: hook.pins.direction,
        binding: before(site, hook),
    });
    let unread = site.broken.iter().map(|broken| broken.pins.place());
    Ok(Pending {
        to: site::identity(policy),
        since: record.applied,
        by: record.by.clone(),
        complete: false,
        until: deadline(how)?,
        save: how.save,
        back: document::read_own(&site.store.policy())?,
        hooks: before.collect(),
        unread: unread.collect(),
    })
}

fn lost<'a>(site: &'a Site, interface: &Interface, direction: Direction) -> Option<&'a Hook> {
    site.hooks.iter().find(|hook| hook.is_at(interface.ifindex, direction))
}

/// What a hook does; where nothing runs, what it would do if it were put back now.
fn before(site: &Site, hook: &Hook) -> Option<Binding> {
    let lost = site.interface_of(hook).filter(|_| hook.running == Observed::Gone);
    let policy = site.policy.as_ref().map(|found| &found.policy);
    lost.map_or_else(|| hook.state.binding.clone(), |interface| bound_again(site, hook, interface, policy))
}

fn deadline(how: &ApplyOptions) -> nix::Result<Option<BootTime>> {
    how.confirm.map(|time| BootTime::now().map(|now| now.plus(time))).transpose()
}

/// Switches, and attaches; the hooks that it attached.
fn enforce(
    order: &Order<'_>,
    site: &Site,
    mut change: Pending,
    items: &[Item<'_>],
    record: &PolicyRecord,
    switch: Switch<'_>,
) -> anyhow::Result<Vec<Hook>> {
    let Order { policy, how, context, .. } = *order;
    if change.until.is_some() {
        timer::start(context)?;
    }
    switch.make(site)?;
    let is_meant = |hook: &&Hook| how.only.as_ref().is_none_or(|only| hook.state.interface == *only);
    have_absent_ask(site.hooks.iter().filter(is_meant))?;
    site.remember(record)?;
    let attached = items.iter().filter_map(|item| attach(site, policy, item, change.since).transpose());
    let attached = attached.collect::<anyhow::Result<Vec<_>>>()?;
    past::add(&site.store, change.to.clone(), &change.by, record)?;
    if how.confirm.is_none() {
        pins::remove(&site.store.pending_pin())?;
        return Ok(attached);
    }
    // The time that was asked for begins now that everything is in force.
    change.until = deadline(how)?;
    change.complete = true;
    change.write(&site.store)?;
    Ok(attached)
}

fn attach(site: &Site, policy: &Policy, item: &Item<'_>, change: SystemTime) -> anyhow::Result<Option<Hook>> {
    let Place::Bare(interface, direction) = item.place else { return Ok(None) };
    if item.effect != Effect::Attached {
        return Ok(None);
    }
    if let Some(lost) = lost(site, interface, direction) {
        // What is put back with its counters stays attached, and goes back to what it did.
        let attached_for = begins_anew(lost, interface).map(|_| change);
        let asked = Asked { attached_for, ..Asked::nothing() };
        return attach_again(site, lost, interface, Some(policy), asked).map(Some);
    }
    let pins = site.store.hook(interface.ifindex, direction);
    let wanted = conditioner::wanted(Wanted::Best, Some(policy), &interface.name, direction);
    let bound = conditioner::first(item.binding.clone(), &site.interfaces)?;
    let attached_for = Some(change);
    let request = Request { interface, pins, wanted, bound, inside: None, log: false, bypass: None, attached_for };
    choice::attach(&request, &site.net).map(Some).map_err(to_be_repeated)
}

/// Says that what helps to attach there does not put the policy in force, which is taken back.
fn to_be_repeated(error: anyhow::Error) -> anyhow::Error {
    let repeated = |mut failure: Failure| {
        failure.hint =
            failure.hint.map(|hint| format!("{hint}; then apply the policy again: nothing of it is in force"));
        failure.into()
    };
    error.downcast::<Failure>().map_or_else(|other| other, repeated)
}

fn go_back(site: &Site, change: &Pending, context: &Context) {
    let fresh = Site::of(site.store.clone(), context);
    if let Err(error) = fresh.and_then(|site| undo::run(&site, change, Why::Failed)) {
        tracing::error!("cannot go back to what ran before: {error:#}");
    }
}
