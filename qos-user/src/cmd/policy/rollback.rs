//! `qosbpf policy rollback`: an earlier policy, applied like any other.

use serde_json::json;

use super::{WrongPolicy, apply, undo};
use crate::{
    cli::RollbackArgs,
    cmd::{Context, recovery::recovered, site::Site, who},
    error::{Exit, Failure},
    kernel::{
        past::{self, Past},
        pending::Pending,
        pins::Store,
    },
    policy::{self, Source},
};

/// Goes back to policy N of the history, else to the one before. While a policy waits to be confirmed, going back
/// without a number is what would happen at the end of its time.
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
    let record = past.record;
    let source = Source::new(&record.file, record.text.into_bytes()).map_err(|report| WrongPolicy { report })?;
    let policy = policy::parse(&source).map_err(|report| WrongPolicy { report })?;
    apply::apply(&source, &policy, &args.how, context)
}

/// Goes back from a policy that waits to be confirmed; whether there was one.
fn give_up(args: &RollbackArgs, context: &Context) -> anyhow::Result<bool> {
    if Pending::read(&context.store()?)?.is_none() {
        return Ok(false);
    }
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store, context)?;
    let Some(change) = Pending::read(&site.store)? else { return Ok(false) };
    undo::run(&site, &change, &format!("was taken back by {}", who::am_i()))?;
    let (to, back) = (&change.to, undo::back_to(&change));
    if args.how.json {
        let policy = json!({ "name": to.name, "hash": to.hash });
        context.print(&format!("{}\n", json!({ "schema": 1, "taken_back": policy })))?;
    } else {
        context.print(&format!("policy {} {} is taken back: {back}\n", to.name, to.hash))?;
    }
    Ok(true)
}

/// Without a number: the latest that is not in force.
fn choose(site: &Site, number: Option<u64>) -> anyhow::Result<Past> {
    let in_force = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    let mut past = past::all(&site.store)?;
    let found = past.iter().rposition(|past| match number {
        Some(number) => past.number == number,
        None => Some(past.policy.hash.as_str()) != in_force,
    });
    match (found, number) {
        (Some(at), _) => Ok(past.swap_remove(at)),
        (None, Some(number)) => Err(missing(format!("no policy {number} is remembered"))),
        (None, None) => Err(missing("no other policy was in force before".to_owned())),
    }
}

fn missing(message: String) -> anyhow::Error {
    let hint = format!("qosbpf policy history lists the last {}", past::KEPT);
    Failure::new("no-such-policy", message).hint(hint).into()
}
