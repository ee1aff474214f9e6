//! `attach --foreground`: stays, logs decisions if asked to, and detaches at the end.

use std::{sync::atomic::Ordering, thread, time::Duration};

use crate::{
    cmd::{
        Context,
        control::{self, Ask},
        recovery::recover,
    },
    kernel::{
        datapath::{self, Hook},
        logs::DecisionLog,
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
    // A service that knows of no detach would attach again.
    for hook in hooks {
        let _no_service = control::ask(Ask::Release(hook.pins.ifindex, hook.pins.direction), context);
    }
    context.afterwards(|context| detach(hooks, context))
}

fn detach(hooks: &[Hook], context: &Context) -> anyhow::Result<()> {
    let (store, _change) = Store::change_attached(&context.bpffs)?;
    let site = recover(store, context)?.site;
    for hook in site.hooks.iter().filter(|now| hooks.iter().any(|then| is_the_same(now, then))) {
        let interface = site.interface_of(hook).map(|interface| interface.name.as_str());
        datapath::detach(hook, interface, &site.net)?;
    }
    site.store.leave()
}

/// Its program may have changed with the policy; one attached anew meanwhile is somebody else's.
fn is_the_same(now: &Hook, then: &Hook) -> bool {
    now.pins == then.pins && now.state.since == then.state.since
}
