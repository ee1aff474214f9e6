//! The saved policy comes into force: when the service starts, and when somebody says so.

use std::{path::Path, time::SystemTime};

use crate::{
    cli::ApplyOptions,
    cmd::{
        Context,
        policy::{
            WrongPolicy,
            apply::{ENDING, put_in_force, refuse_while_pending},
            plan::Effect,
            read_policy, said, save,
        },
        site::{InForce, Site},
        who,
    },
    command::Command,
    error::{Exit, Failure, with_hint},
    kernel::{files, pending::Pending},
    policy::{Policy, Source},
    status::Reload,
};

/// What the service is called where somebody asks who has changed something.
const OURSELVES: &str = "qosbpf run";

/// What there is to do where another policy is in force than the saved one, with a service and without.
pub fn choice(site: &Site) -> String {
    let apply = Command::new("qosbpf policy apply --attach").operand(site.saved_file().display());
    format!("qosbpf policy save keeps it, {apply} takes the saved one")
}

/// Why the policy is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The service starts: what somebody has put in force since the file was written stays.
    Start,
    /// Somebody wants the file in force.
    Reload,
}

/// Puts the saved policy in force if it is to be. Whatever is wrong with it, what is in force stays so.
pub fn load(occasion: Occasion, context: &Context) -> Reload {
    let at = SystemTime::now();
    match who::acting_for(OURSELVES, || attempt(occasion, context)) {
        Ok(()) => Reload::succeeded(at),
        Err(error) if has_code(&error, ENDING) => {
            tracing::warn!("the saved policy is not put in force any more: {error}; {}", what_stays(context));
            Reload::failed(at, said_of(&error))
        }
        Err(error) => {
            let failure = said_of(&error);
            if occasion == Occasion::Start
                && let Err(error) = who::acting_for(OURSELVES, || fall_back(context))
            {
                tracing::error!("the last good policy is not in force either: {}", said_of(&error));
            }
            tracing::error!("the saved policy is not in force: {failure}; {}", what_stays(context));
            rendered(&error).lines().for_each(|line| tracing::error!("{line}"));
            Reload { waits: has_code(&error, "pending"), ..Reload::failed(at, failure) }
        }
    }
}

/// Where nothing is in force, as after a boot, what the service has last put in force of the saved policy comes back.
fn fall_back(context: &Context) -> anyhow::Result<()> {
    let path = context.last_good();
    if Site::read(context)?.policy.is_some() || files::is_absent(&path) {
        return Ok(());
    }
    let (source, policy) = read_policy(&path)?;
    put(&source, &policy, context)?;
    tracing::warn!("the last good policy is in force instead: {} {}", policy.name(), policy.hash());
    Ok(())
}

fn attempt(occasion: Occasion, context: &Context) -> anyhow::Result<()> {
    let site = Site::read(context)?;
    let path = context.saved();
    if files::is_absent(&path) {
        let none = nothing_saved(&path, &site);
        if occasion == Occasion::Reload {
            return Err(none.into());
        }
        tracing::info!("{none}: {}; {}", what_stays(context), none.hint.as_deref().unwrap_or_default());
        return Ok(());
    }
    let (source, policy) = read_policy(&path)?;
    if let Some(in_force) = &site.policy {
        if in_force.policy.hash() == policy.hash() && in_force.record.text == source.text() {
            tracing::info!("policy {} {} is in force, as saved", policy.name(), policy.hash());
            save::note_good(context, source.text());
            return Ok(());
        }
        if occasion == Occasion::Start && !is_newer(&policy, in_force) {
            let InForce { policy: now, record, .. } = in_force;
            tracing::warn!(
                "policy {} {} by {} stays in force, and is not the saved one ({} {}): {}",
                now.name(),
                now.hash(),
                record.by,
                policy.name(),
                policy.hash(),
                choice(&site)
            );
            return Ok(());
        }
    }
    refuse_while_pending(&site.store).map_err(then_again)?;
    put(&source, &policy, context)?;
    save::note_good(context, source.text());
    Ok(())
}

fn nothing_saved(path: &Path, site: &Site) -> Failure {
    let hint = if site.has_policy() {
        "qosbpf policy save saves the one in force"
    } else {
        "qosbpf policy apply FILE --attach --save puts one in force and saves it"
    };
    Failure::new("policy-unreadable", format!("no policy is saved in {}", path.display())).exit(Exit::Usage).hint(hint)
}

fn has_code(error: &anyhow::Error, code: &str) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == code)
}

/// What waits is settled first.
fn then_again(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => {
            let hint = format!("{}; then qosbpf run --reload", failure.hint.as_deref().unwrap_or_default());
            failure.hint(hint).into()
        }
        Err(error) => error,
    }
}

/// A reading that was refused since a policy waited to be confirmed, now that none does. What is in force was wanted later
/// than what is saved.
pub fn waited_no_more(site: &Site, at: SystemTime) -> Reload {
    if let Some(InForce { policy, .. }) = &site.policy {
        let (name, hash) = (policy.name(), policy.hash());
        tracing::warn!("policy {name} {hash} is in force, and is not the saved one: {}", choice(site));
        return Reload::succeeded(at);
    }
    Reload::failed(at, "it was not read while another policy waited to be confirmed: qosbpf run --reload".to_owned())
}

/// Whether the saved policy is in force, and stays so.
pub fn is_as_saved(site: &Site) -> bool {
    site.policy.as_ref().is_some_and(|in_force| in_force.saved) && matches!(Pending::read(&site.store), Ok(None))
}

/// Whether the file has been changed since what is in force was put there.
fn is_newer(saved: &Policy, in_force: &InForce) -> bool {
    in_force.record.saved_then.as_deref() != Some(saved.hash())
}

/// The file is the whole statement: what it does not bind counts on without a policy. What it binds and is not attached
/// is attached afterwards, so that one interface that cannot be is none of the others' business.
fn put(source: &Source, policy: &Policy, context: &Context) -> anyhow::Result<()> {
    let how = ApplyOptions { prune: true, ..ApplyOptions::default() };
    put_in_force(source, policy, &how, context, |applied, _| {
        tell(applied);
        Ok(())
    })
}

fn tell(applied: &said::Applied<'_>) {
    let policy = applied.policy;
    tracing::info!("policy {} {} is in force, from {}", policy.name(), policy.hash(), policy.file());
    if !policy.warnings().is_empty() {
        policy.warnings().render(false).lines().for_each(|line| tracing::warn!("{line}"));
    }
    for item in applied.items {
        match item.effect {
            Effect::Changed => tracing::info!(hook = item.name, "switched to it"),
            Effect::Lost => tracing::warn!(hook = item.name, "not in the file any more: counts without a policy"),
            _ => tracing::debug!(hook = item.name, "{}", item.effect.word()),
        }
    }
}

fn what_stays(context: &Context) -> String {
    match Site::read(context).ok().and_then(|site| site.policy) {
        Some(in_force) => format!("policy {} {} stays in force", in_force.policy.name(), in_force.policy.hash()),
        None => "no policy is in force".to_owned(),
    }
}

/// In one line: of a wrong file, the first mistake and how many more; of anything else, what to do about it.
fn said_of(error: &anyhow::Error) -> String {
    error.downcast_ref::<WrongPolicy>().map_or_else(|| with_hint(error), WrongPolicy::in_one_line)
}

/// The mistakes of a wrong file with their lines, each of which the log has as one of its own.
fn rendered(error: &anyhow::Error) -> String {
    let wrong = error.downcast_ref::<WrongPolicy>();
    wrong.map_or_else(String::new, |wrong| wrong.report.render(false))
}
