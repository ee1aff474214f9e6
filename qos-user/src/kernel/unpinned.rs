//! Programs of ours at work of which no pin is known: a bpf file system that was unmounted here lives on in another mount
//! namespace, and the links in it with it; or it is one that somebody named by `--bpffs`.

use std::{
    os::fd::AsFd as _,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    elsewhere, mechanism,
    network::{Interface, Network},
    pins::HookPins,
    survey::{self, Pinned},
    sys,
};
use crate::{
    command::Command,
    diagnosis::facts::{Elsewhere, Linked, Program, ProgramAt},
    error::Failure,
    hook::CLSACT_PRIORITY,
};

/// The kernel ends a link some time after its last reference. Waited for once a process.
const ENDING: Duration = Duration::from_millis(500);

/// Refuses to attach beside a program of ours, at a hook where nothing of ours is known: packets would meet both. A filter
/// of clsact has an error of its own.
///
/// # Errors
///
/// `own-unpinned`.
pub fn refuse(interface: &Interface, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    let first = || {
        let strays = survey::strays(net, interface, Pinned::default());
        strays
            .into_iter()
            .find(|stray| stray.at.direction() == pins.direction && !matches!(stray.at, ProgramAt::Clsact(..)))
    };
    lasting(first).map_or(Ok(()), |stray| Err(refusal(&interface.name, &stray, &whereabouts(&stray, pins))))
}

/// Where the pins of one may be, as far as it can be told without asking a service.
#[must_use]
pub fn whereabouts(stray: &Program, pins: &HookPins) -> Elsewhere {
    let neighbours = elsewhere::neighbours(pins.bpffs(), &[stray.id]);
    Elsewhere { neighbours, bpffs: elsewhere::pinned(pins.bpffs()), ..Elsewhere::default() }
}

/// One that is still there when the kernel has ended what was detached.
pub fn lasting(first: impl Fn() -> Option<Program>) -> Option<Program> {
    static DEADLINE: OnceLock<Instant> = OnceLock::new();
    loop {
        let stray = first()?;
        if Instant::now() >= *DEADLINE.get_or_init(|| Instant::now() + ENDING) {
            return Some(stray);
        }
        thread::sleep(ENDING / 10);
    }
}

fn refusal(interface: &str, stray: &Program, elsewhere: &Elsewhere) -> anyhow::Error {
    let Program { id, name, at, .. } = stray;
    let hook = format!("{interface}:{}", at.direction());
    let message = format!(
        "{hook}: program {id} \"{name}\" ({at}) is qosbpf's own and at work, and no pin of it is known here: packets would \
         be counted and marked twice"
    );
    let ends = || format!("if it is in another bpf file system, name that by --bpffs; {} ends it", ending(&hook));
    let hint = elsewhere.said(*id).map_or_else(ends, |(where_else, advice)| format!("{where_else}: {advice}"));
    Failure::new("own-unpinned", message).hint(hint).into()
}

/// The command that ends what has no pins.
#[must_use]
pub fn ending(hook: &str) -> Command {
    Command::new("qosbpf detach --unpinned").operand(hook)
}

/// Ends one of them: its link is detached, whoever holds it; a filter is removed, if it is where ours are.
///
/// # Errors
///
/// `own-unpinned` for one that was not attached in our way; what the kernel says.
pub fn end(stray: &Program, interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    match (stray.at, stray.link) {
        (ProgramAt::Clsact(_, CLSACT_PRIORITY), _) => mechanism::detach_left(stray.id, interface, pins, net),
        (ProgramAt::Xdp { .. } | ProgramAt::Tcx(_), Linked::By(link)) => {
            let link = sys::link_by_id(link).with_context(|| format!("link {link}"))?;
            sys::detach_link(link.as_fd()).context("detach its link")
        }
        _ => Err(not_our_way(stray, interface)),
    }
}

fn not_our_way(stray: &Program, interface: &str) -> anyhow::Error {
    let Program { id, name, at, .. } = stray;
    let look = Command::new("bpftool net show dev").word(interface);
    let message = format!("program {id} \"{name}\" ({at}) was not attached by qosbpf: no link of its own holds it");
    Failure::new("own-unpinned", message).hint(format!("whose it is: {look}")).into()
}
