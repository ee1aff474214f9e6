//! Programs of ours of which no pin is known: `status` names them, and `qosbpf detach --unpinned` ends them.

use super::{
    Context, control,
    detach::{is_not_attached, say},
    site::Site,
};
use crate::{
    cli::DetachArgs,
    command::Command,
    diagnosis::facts::{Elsewhere, Program},
    error::{Exit, Failure},
    hook::HookName,
    kernel::{
        bpffs, elsewhere,
        pins::Store,
        survey::{self, Pinned},
        unpinned,
    },
    status::Note,
};

/// Ends those at a hook, or at both of an interface.
///
/// # Errors
///
/// `hidden-pins`; `not-attached` if there are none; that the pins cannot be read; what the kernel says.
pub fn end(args: &DetachArgs, name: &HookName, context: &Context) -> anyhow::Result<Exit> {
    bpffs::refuse_covering(&context.bpffs)?;
    // Nobody attaches meanwhile; without a bpf file system nobody can.
    let _change = match Store::change_attached(&context.bpffs) {
        Err(error) if is_not_attached(&error) => None,
        change => Some(change?),
    };
    let site = Site::read(context)?;
    site.select_broken(std::slice::from_ref(name)).next().map_or(Ok(()), |broken| Err(broken.refusal()))?;
    let interface = site.net.interface(&name.interface)?;
    // One that is known by the number which its device had elsewhere is in the way here all the same.
    let here: Vec<_> = site.hooks.iter().filter(|hook| hook.pins.ifindex == interface.ifindex).cloned().collect();
    let strays = survey::strays(&site.net, &interface, Pinned { hooks: &here, broken: &site.broken });
    let strays: Vec<_> =
        strays.into_iter().filter(|stray| name.covers(&interface.name, stray.at.direction())).collect();
    if strays.is_empty() {
        return Err(none(name).into());
    }
    let mut ended = Vec::new();
    for stray in &strays {
        let direction = stray.at.direction();
        unpinned::end(stray, &interface.name, &site.store.hook(interface.ifindex, direction), &site.net)?;
        ended.push(format!("{}:{direction}", interface.name));
    }
    say(args, context, &ended, &[])?;
    Ok(Exit::Done)
}

fn none(name: &HookName) -> Failure {
    let message = format!("no program of qosbpf's without a pin is at {name}");
    let detach = Command::new("qosbpf detach").operand(name);
    Failure::new("not-attached", message).hint(format!("what is pinned: {detach}"))
}

/// Where the pins of programs may be.
#[must_use]
pub fn elsewhere<'a>(programs: impl Iterator<Item = &'a Program>, context: &Context) -> Elsewhere {
    let programs: Vec<u32> = programs.map(|program| program.id).collect();
    if programs.is_empty() {
        return Elsewhere::default();
    }
    let is_buried = !bpffs::is_mounted(&context.bpffs) && bpffs::covers_another(&context.bpffs);
    Elsewhere {
        buried: is_buried.then(|| context.bpffs.display().to_string()),
        neighbours: elsewhere::neighbours(&context.bpffs, &programs),
        bpffs: elsewhere::pinned(&context.bpffs),
        served: control::serves_elsewhere(context),
    }
}

/// What `status` says of them.
pub fn notes(site: &Site, context: &Context) -> Vec<Note> {
    let at = |interface| survey::strays(&site.net, interface, site.pinned()).into_iter().map(move |it| (interface, it));
    let all: Vec<_> = site.interfaces.iter().flat_map(at).collect();
    let elsewhere = elsewhere(all.iter().map(|(_, stray)| stray), context);
    all.iter().map(|(interface, stray)| note(&interface.name, stray, &elsewhere)).collect()
}

fn note(interface: &str, stray: &Program, elsewhere: &Elsewhere) -> Note {
    let hook = format!("{interface}:{}", stray.at.direction());
    Note::warning(format!("{hook}: {}", words(&hook, stray, elsewhere)))
}

fn words(hook: &str, stray: &Program, elsewhere: &Elsewhere) -> String {
    let Program { id, name, at, .. } = stray;
    let ends = || format!("in another bpf file system, name that by --bpffs; {} ends it", unpinned::ending(hook));
    let helps = elsewhere.said(*id).map_or_else(ends, |(where_else, advice)| format!("{where_else}: {advice}"));
    format!("program {id} \"{name}\" ({at}) is qosbpf's own, and no pin of it is known here; {helps}")
}

/// That one works at a hook where nothing is known to be attached, in place of a command that attaches there, which is refused.
#[must_use]
pub fn at_work(site: &Site, name: &HookName) -> Option<String> {
    let interface = site.interfaces.iter().find(|interface| interface.name == name.interface)?;
    let is_meant = |stray: &Program| name.covers(&interface.name, stray.at.direction());
    let stray = unpinned::lasting(|| survey::strays(&site.net, interface, site.pinned()).into_iter().find(is_meant))?;
    let direction = stray.at.direction();
    let elsewhere = unpinned::whereabouts(&stray, &site.store.hook(interface.ifindex, direction));
    Some(words(&format!("{}:{direction}", interface.name), &stray, &elsewhere))
}
