//! `attach --foreground`: stays, logs decisions if asked to, and detaches at the end.

use std::{sync::atomic::Ordering, thread, time::Duration};

use crate::{
    cmd::Context,
    kernel::{
        datapath::{self, Hook},
        logs::DecisionLog,
        network::Network,
        pins::Store,
    },
};

const PAUSE: Duration = Duration::from_millis(100);

/// Waits for SIGINT, SIGTERM or SIGHUP, then detaches.
///
/// # Errors
///
/// That the log cannot be opened, or what the kernel says to detaching.
pub fn stay(hooks: &[Hook], interface: &str, log: bool, context: &Context) -> anyhow::Result<()> {
    let ending = crate::signal::termination()?;
    let logs = hooks
        .iter()
        .filter(|_| log)
        .map(|hook| DecisionLog::open(hook.state.program_id, &format!("{interface}:{}", hook.pins.direction)));
    let mut logs: Vec<_> = logs.collect::<anyhow::Result<_>>()?;
    context.warn("qosbpf: Ctrl-C detaches\n");
    while !ending.load(Ordering::Relaxed) {
        logs.iter_mut().for_each(DecisionLog::flush);
        thread::sleep(PAUSE);
    }
    logs.iter_mut().for_each(DecisionLog::flush);
    let (store, _change) = Store::change(&context.bpffs)?;
    let net = Network::open()?;
    for hook in hooks {
        datapath::detach(hook, Some(interface), &net)?;
    }
    store.leave()
}
