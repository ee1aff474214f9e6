//! The policies that were in force, the last ten of them: a pin each, written once.

use std::{fs, time::SystemTime};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    document,
    pending::{Identity, Pending},
    pins::Store,
    state::PolicyRecord,
};
use crate::status::Undone;

/// How many are kept.
pub const KEPT: usize = 10;

/// A policy that was put in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Past {
    /// Its number, from 1; none is given twice.
    pub number: u64,
    /// When it was put in force.
    pub when: SystemTime,
    /// By whom.
    pub by: String,
    /// Its name and hash.
    pub policy: Identity,
    /// Its text, and where that came from.
    pub record: PolicyRecord,
    /// Whether it was taken back before anybody confirmed it.
    #[serde(default)]
    pub taken_back: bool,
    /// When and why it was.
    #[serde(default)]
    pub undone: Option<Undone>,
    /// The number of the policy that was taken back, so that this one came into force again.
    #[serde(default)]
    pub instead_of: Option<u64>,
}

impl Past {
    /// The same policy by another record. When, by whom and from where are of one apply.
    fn recorded(self, record: &PolicyRecord) -> Self {
        let same = (&self.record.file, &self.record.by) == (&record.file, &record.by);
        let (when, by) = if same { (self.when, self.by) } else { (record.applied, record.by.clone()) };
        Self { when, by, record: record.clone(), ..self }
    }
}

/// All that are kept, the oldest first.
///
/// # Errors
///
/// That a pin is foreign or not readable.
pub fn all(store: &Store) -> anyhow::Result<Vec<Past>> {
    let pins = store.past()?;
    let past = pins.into_iter().filter_map(|number| document::read_own(&store.past_pin(number)).transpose());
    past.collect()
}

/// The latest.
///
/// # Errors
///
/// That a pin is foreign or not readable.
pub fn newest(store: &Store) -> anyhow::Result<Option<Past>> {
    store.past()?.pop().map_or(Ok(None), |number| document::read_own(&store.past_pin(number)))
}

/// The policy that was taken back, if that is the latest of all that has happened.
///
/// # Errors
///
/// That a pin is foreign or not readable.
pub fn just_taken_back(store: &Store) -> anyhow::Result<Option<Past>> {
    let Some(last) = newest(store)? else { return Ok(None) };
    match last.instead_of {
        Some(number) => document::read_own(&store.past_pin(number)),
        None => Ok(Some(last).filter(|last| last.taken_back)),
    }
}

/// Adds a policy that has just been put in force, and forgets what is older than the last ten. The one that is in force
/// already keeps its place, with the text that it has now; with the time, too, if that is no longer by the same person from the
/// same file. Needs the lock.
///
/// # Errors
///
/// What the kernel says to a pin.
pub fn add(store: &Store, policy: Identity, by: &str, record: &PolicyRecord) -> anyhow::Result<()> {
    if let Some(last) = in_place(store, &policy)? {
        let again = Past { instead_of: None, ..last.recorded(record) };
        return document::write(&store.past_pin(again.number), &again);
    }
    append(store, policy, (record.applied, by), record, None)
}

/// The same for one that is in force again, since another was taken back: that of number `instead_of`, if it had been added.
///
/// # Errors
///
/// What the kernel says to a pin.
pub fn add_again(
    store: &Store,
    policy: Identity,
    (when, by): (SystemTime, &str),
    record: &PolicyRecord,
    instead_of: Option<u64>,
) -> anyhow::Result<()> {
    if let Some(last) = in_place(store, &policy)? {
        let again = last.recorded(record);
        return document::write(&store.past_pin(again.number), &again);
    }
    append(store, policy, (when, by), record, instead_of)
}

/// The latest, if it is this policy and in force.
fn in_place(store: &Store, policy: &Identity) -> anyhow::Result<Option<Past>> {
    Ok(newest(store)?.filter(|last| last.policy == *policy && !last.taken_back))
}

fn append(
    store: &Store,
    policy: Identity,
    (when, by): (SystemTime, &str),
    record: &PolicyRecord,
    instead_of: Option<u64>,
) -> anyhow::Result<()> {
    let mut numbers = store.past()?;
    let number = numbers.last().map_or(1, |last| last + 1);
    let (by, record) = (by.to_owned(), record.clone());
    let past = Past { number, when, by, policy, record, taken_back: false, undone: None, instead_of };
    document::write(&store.past_pin(number), &past)?;
    numbers.push(number);
    for old in numbers.iter().rev().skip(KEPT) {
        let path = store.past_pin(*old);
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// Whether a policy that waited to be confirmed does so no more, because somebody else has taken it back.
///
/// # Errors
///
/// Unreadable pins.
pub fn is_taken_back(store: &Store, waited: &Identity) -> anyhow::Result<bool> {
    if Pending::read(store)?.is_some() {
        return Ok(false);
    }
    let last = all(store)?.into_iter().rfind(|past| past.policy == *waited);
    Ok(last.is_some_and(|last| last.taken_back))
}

/// Notes that a policy is taken back, if it has come as far as to be added; its number. What was noted of it before stays: it
/// has not come as far again. Needs the lock.
///
/// # Errors
///
/// What the kernel says to a pin.
pub fn take_back(store: &Store, policy: &Identity, undone: Undone) -> anyhow::Result<Option<u64>> {
    let Some(last) = newest(store)?.filter(|last| last.policy == *policy) else { return Ok(None) };
    let number = last.number;
    if last.taken_back {
        return Ok(Some(number));
    }
    document::write(&store.past_pin(number), &Past { taken_back: true, undone: Some(undone), ..last })?;
    Ok(Some(number))
}
