//! Programs of ours of which no pin is known: `status` names them, and `qosbpf detach --unpinned` ends them.

use super::{
    Context,
    detach::{is_not_attached, say},
    site::Site,
};
use crate::{
    cli::DetachArgs,
    command::Command,
    diagnosis::facts::Program,
    error::{Exit, Failure},
    hook::HookName,
    kernel::{network::Interface, pins::Store, survey, unpinned},
    status::Note,
};

/// Ends those at a hook, or at both of an interface.
///
/// # Errors
///
/// `not-attached` if there are none; that the pins cannot be read; what the kernel says.
pub fn end(args: &DetachArgs, name: &HookName, context: &Context) -> anyhow::Result<Exit> {
    // Nobody attaches meanwhile; without a bpf file system nobody can.
    let _change = match Store::change_attached(&context.bpffs) {
        Err(error) if is_not_attached(&error) => None,
        change => Some(change?),
    };
    let site = Site::read(context)?;
    site.select_broken(std::slice::from_ref(name)).next().map_or(Ok(()), |broken| Err(broken.refusal()))?;
    let interface = site.net.interface(&name.interface)?;
    let strays = found(&site, &interface).into_iter();
    let strays: Vec<_> = strays.filter(|stray| name.covers(&interface.name, stray.at.direction())).collect();
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

fn found(site: &Site, interface: &Interface) -> Vec<Program> {
    survey::strays(&site.net, interface, site.pinned())
}

/// What `status` says of them.
pub fn notes(site: &Site) -> Vec<Note> {
    let all = site.interfaces.iter().flat_map(|interface| {
        found(site, interface).into_iter().map(|stray| {
            let Program { id, name, at, .. } = &stray;
            let hook = format!("{}:{}", interface.name, at.direction());
            let detach = Command::new("qosbpf detach --unpinned").operand(&hook);
            Note::warning(format!(
                "{hook}: program {id} \"{name}\" ({at}) is qosbpf's own, and no pin of it is known here; in another bpf \
                 file system, name that by --bpffs; {detach} ends it"
            ))
        })
    });
    all.collect()
}
