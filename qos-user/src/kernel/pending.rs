//! A change of policy that may still be taken back. Kept in the pin `pending`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{
    boottime::BootTime,
    document, once,
    pins::{Place, Store},
    state::{Binding, HookState, PolicyRecord},
};
use crate::{error::Failure, hook::Direction, status::Why};

/// What a policy and its hooks may take; the rest is for counters and names that hooks have beside it.
const ROOM: usize = document::MAX - (4 << 20);

/// A change from one policy to another, with all that is needed to go back.
///
/// It is written before the first hook is switched. Whoever holds the lock and finds one that is not complete knows
/// that its process was killed, and goes back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// The policy that is put in force.
    pub to: Identity,
    /// When that began.
    pub since: SystemTime,
    /// By whom.
    pub by: String,
    /// Whether every hook has been switched.
    pub complete: bool,
    /// When to go back unless it is confirmed; `None` for a change that needs no confirmation.
    pub until: Option<BootTime>,
    /// Whether the policy is to be saved once it is confirmed.
    pub save: bool,
    /// The policy that was in force before.
    pub back: Option<PolicyRecord>,
    /// What it did at each hook.
    #[serde(with = "once")]
    pub hooks: Vec<HookBefore>,
    /// The hooks that could not be read, and so run on as they did.
    #[serde(default)]
    pub unread: Vec<Place>,
}

/// A policy by name and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Eight hexadecimal digits.
    pub hash: String,
}

/// A policy that was taken back, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// The policy.
    pub policy: Identity,
    /// Why.
    pub why: Why,
}

/// What a hook did before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookBefore {
    /// Its interface.
    pub ifindex: u32,
    /// Its direction.
    pub direction: Direction,
    /// Its table, if it had one.
    pub binding: Option<Binding>,
}

impl Pending {
    /// Reads the one that is under way or waits for its confirmation.
    ///
    /// # Errors
    ///
    /// `spoiled-pin`; that this process may not read it.
    pub fn read(store: &Store) -> anyhow::Result<Option<Self>> {
        document::read_own(&store.pending_pin())
    }

    /// Writes it down.
    ///
    /// # Errors
    ///
    /// What the kernel says to the pin.
    pub fn write(&self, store: &Store) -> anyhow::Result<()> {
        document::write(&store.pending_pin(), self)
    }

    /// Refuses a policy that could be put in force, and then not be replaced: the change to the next one has to write down
    /// all that runs, in one pin.
    ///
    /// # Errors
    ///
    /// `too-large`.
    pub fn refuse_too_large(policy: Identity, record: PolicyRecord, hooks: Vec<HookBefore>) -> anyhow::Result<()> {
        let title = format!("policy {} {}", policy.name, policy.hash);
        let next = Self {
            to: policy,
            since: record.applied,
            by: record.by.clone(),
            complete: false,
            until: None,
            save: false,
            back: Some(record),
            hooks,
            unread: Vec::new(),
        };
        let bytes = document::size(&next)?;
        if bytes <= ROOM {
            return Ok(());
        }
        let message = format!("{title} and its hooks take {bytes} bytes where they are remembered, of at most {ROOM}");
        Err(Failure::new("too-large", message).hint("name fewer addresses, or fewer rules").into())
    }

    /// What the hook at a place did before it, if one ran there.
    #[must_use]
    pub fn before(&self, (ifindex, direction): Place) -> Option<&HookBefore> {
        self.hooks.iter().find(|hook| (hook.ifindex, hook.direction) == (ifindex, direction))
    }

    /// Whether a hook was attached for it, by the change itself or by a service while it waits.
    #[must_use]
    pub fn has_attached(&self, hook: &HookState) -> bool {
        hook.attached_for == Some(self.since)
    }

    /// Whether its time is over.
    #[must_use]
    pub fn expired(&self, now: BootTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}
