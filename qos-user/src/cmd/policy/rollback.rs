//! `qosbpf policy rollback`: an earlier policy, applied like any other.

use serde_json::json;

use super::{WrongPolicy, apply, undo};
use crate::{
    cli::{ApplyOptions, RollbackArgs},
    cmd::{
        Context,
        recovery::{Recovered, recover},
        site::Site,
        who,
    },
    error::{Exit, Failure},
    kernel::{
        past::{self, Past},
        pending::{Identity, Pending, TakenBack},
        pins::Store,
    },
    policy::{self, Policy, Report, Source},
    status::Why,
};

/// Goes back to policy N of the history, else to the one before. While a policy waits to be confirmed, going back
/// without a number is what would happen at the end of its time; if that has just come, it has been done.
///
/// # Errors
///
/// `no-such-policy`, and those of [`apply::apply`].
pub fn run(args: &RollbackArgs, context: &Context) -> anyhow::Result<Exit> {
    if args.number.is_none() && give_up(args, context)? {
        return Ok(Exit::Done);
    }
    let site = Site::read(context)?;
    let past = choose(&site, args.number)?;
    let (source, policy) = read(past)?;
    // What was there had no more: nobody has to say so again.
    let how = ApplyOptions { prune: args.how.only.is_none(), ..args.how.clone() };
    apply::apply(&source, &policy, &how, context)
}

/// What was in force. Places are in that text, and not in its file, which may have another one by now, or be where nobody
/// answers: it is not read.
fn read(past: Past) -> anyhow::Result<(Source, Policy)> {
    let Past { number, record, .. } = past;
    let name = format!("policy {number} of the history ({})", record.file);
    let wrong = |report: Report| WrongPolicy { report: report.called(&name) };
    let source = Source::new(&record.file, record.text.into_bytes()).map_err(wrong)?;
    let policy = policy::parse(&source).map_err(wrong)?.in_text(&name);
    Ok((source, policy))
}

/// Goes back from a policy that waits to be confirmed; whether there was one.
fn give_up(args: &RollbackArgs, context: &Context) -> anyhow::Result<bool> {
    if let Some(late) = &context.taken_back {
        say_why(late, args, context)?;
        return Ok(true);
    }
    let Some(waited) = Pending::read(&context.store()?)?.map(|change| change.to) else { return Ok(false) };
    context.afterwards(|context| take_back(waited, args, context))
}

/// The same under the lock.
fn take_back(waited: Identity, args: &RollbackArgs, context: &Context) -> anyhow::Result<bool> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let Recovered { site, taken_back } = recover(store, context)?;
    if let Some(late) = &taken_back {
        say_why(late, args, context)?;
        return Ok(true);
    }
    let Some(change) = Pending::read(&site.store)? else {
        // Who keeps the deadline was quicker, or somebody has confirmed, while this waited for the lock.
        let gone = past::is_taken_back(&site.store, &waited)?;
        if gone {
            say_why(&TakenBack { policy: waited, why: Why::Late }, args, context)?;
        }
        return Ok(gone);
    };
    let left = undo::run(&site, &change, Why::By(who::am_i()))?;
    say(&change.to, &undo::back_to(&change, &left), args, context)?;
    Ok(true)
}

fn say_why(TakenBack { policy, why }: &TakenBack, args: &RollbackArgs, context: &Context) -> anyhow::Result<()> {
    say(policy, &format!("it {why}"), args, context)
}

fn say(taken_back: &Identity, how: &str, args: &RollbackArgs, context: &Context) -> anyhow::Result<()> {
    let Identity { name, hash } = taken_back;
    if args.how.json {
        let policy = json!({ "name": name, "hash": hash });
        return context.print(&format!("{}\n", json!({ "schema": 1, "taken_back": policy })));
    }
    context.print(&format!("policy {name} {hash} is taken back: {how}\n"))
}

/// Without a number: the one before.
fn choose(site: &Site, number: Option<u64>) -> anyhow::Result<Past> {
    let in_force = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    let mut past = past::all(&site.store)?;
    let found = match number {
        Some(number) => past.iter().position(|past| past.number == number),
        None => one_before(&past, in_force),
    };
    match (found, number) {
        (Some(at), _) => Ok(past.swap_remove(at)),
        (None, Some(number)) => Err(missing(format!("no policy {number} is remembered"))),
        (None, None) => Err(missing("no other policy was in force before".to_owned())),
    }
}

/// The latest that is not in force. One that was taken back when it was last tried is not put in force by whoever wants to
/// go back.
fn one_before(past: &[Past], in_force: Option<&str>) -> Option<usize> {
    let refused = |hash: &str| {
        let last = past.iter().rfind(|past| past.policy.hash == hash);
        last.is_some_and(|last| last.taken_back)
    };
    past.iter().map(|past| past.policy.hash.as_str()).rposition(|hash| Some(hash) != in_force && !refused(hash))
}

fn missing(message: String) -> anyhow::Error {
    let hint = format!("qosbpf policy history lists the last {}", past::KEPT);
    Failure::new("no-such-policy", message).hint(hint).into()
}
