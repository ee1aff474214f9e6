//! Reads the counters now and then, for rates: a few system calls a hook, and nothing while nothing is attached.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{
    shared::{Order, Shared},
    steps::Place,
};
use crate::{
    cmd::site,
    kernel::{
        datapath::{self, Hook, Observed},
        events,
        pins::{HookPins, Pin, Store, inode},
    },
    snapshot::{self, told::Ring},
};

/// Samples for as long as it is polled, and has everything looked at where other pins are there than before.
pub async fn run(shared: Arc<Shared>) {
    let mut known = States::default();
    let mut pinned = None;
    loop {
        let sampled = Arc::clone(&shared);
        let done = spawn_blocking(move || {
            let store = sampled.context.store();
            let hooks = store.as_ref().map_err(ToString::to_string).and_then(|store| {
                known.policies = [store.policy(), store.pending_pin()].map(|pin| inode(&pin));
                known.hooks(store).map_err(|error| format!("{error:#}"))
            });
            match hooks {
                Ok((hooks, rings)) => sampled.take(&hooks, &rings),
                Err(error) => {
                    tracing::debug!("no sample: {error}");
                    known = States::default();
                }
            }
            known
        });
        match done.await {
            Ok(states) => {
                let now = Some(states.pinned());
                if pinned != now || shared.is_behind() {
                    shared.order(Order::Look).await;
                }
                pinned = now;
                known = states;
            }
            Err(error) => {
                tracing::error!("a sample failed: {error}");
                known = States::default();
            }
        }
        sleep(shared.sample()).await;
    }
}

/// What is known of hooks by the pin that says so: a state is read again only when another one has taken its place.
#[derive(Default)]
struct States {
    hooks: HashMap<(Place, u64), Arc<Hook>>,
    /// The policy in force, and a change that waits to be confirmed.
    policies: [Option<u64>; 2],
}

impl States {
    /// The pins by which one sees that hooks or the policy in force are others.
    fn pinned(&self) -> ([Option<u64>; 2], HashSet<(Place, u64)>) {
        (self.policies, self.hooks.keys().copied().collect())
    }

    /// What every hook has counted, and the ring buffers of those whose rules log.
    fn hooks(&mut self, store: &Store) -> anyhow::Result<(Vec<snapshot::Hook>, Vec<Ring>)> {
        let mut states = HashMap::new();
        let (mut hooks, mut rings) = (Vec::new(), Vec::new());
        for pins in store.hooks()? {
            let Some(inode) = pins.inode(Pin::State) else { continue };
            let key = ((pins.ifindex, pins.direction), inode);
            let known = self.hooks.remove(&key).map_or_else(|| remembered(&pins), |known| Ok(Some(known)));
            let Ok(Some(hook)) = known else { continue };
            hooks.push(site::counted(&hook, format!("if-{}", pins.ifindex)));
            rings.extend(ring(&pins));
            states.insert(key, hook);
        }
        self.hooks = states;
        Ok((hooks, rings))
    }
}

fn ring(pins: &HookPins) -> Option<Ring> {
    let id = pins.inode(Pin::Events)?;
    Some(Ring { id, written: events::written(pins).unwrap_or_default() })
}

fn remembered(pins: &HookPins) -> anyhow::Result<Option<Arc<Hook>>> {
    let state = datapath::remembered(pins, Pin::State)?;
    Ok(state.map(|state| Arc::new(Hook { pins: pins.clone(), state, running: Observed::Unknown, same_device: None })))
}
