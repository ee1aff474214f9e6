//! `qosbpf detach`

use crate::{
    cli::DetachArgs,
    cmd::Context,
    error::Exit,
    kernel::{datapath, pins::Store},
};

/// Detaches.
///
/// # Errors
///
/// What the kernel says.
pub fn run(args: &DetachArgs, context: &Context) -> anyhow::Result<Exit> {
    let net = context.network()?;
    let interfaces = net.interfaces()?;
    let (store, _lock) = Store::change(&context.bpffs)?;
    for pins in store.hooks()? {
        let name = interfaces.iter().find(|i| i.ifindex == pins.ifindex).map(|i| i.name.as_str());
        if let Some(wanted) = &args.hook
            && !name.is_some_and(|name| wanted.covers(name, pins.direction))
        {
            continue;
        }
        let Some(hook) = datapath::recover(pins, &net)? else { continue };
        datapath::detach(&hook, name, &net)?;
        println!("{name:?} detached");
    }
    store.tidy();
    Ok(Exit::Done)
}
