//! `qosbpf attach`

use crate::{
    cli::{AttachArgs, HookChoice},
    cmd::Context,
    error::Exit,
    hook::{Direction, Via},
    kernel::{
        choice::{self, Wanted},
        datapath::{self, Observed},
        pins::Store,
    },
};

/// Attaches, says what it did, and ends.
///
/// # Errors
///
/// `no-such-interface`, `attach`, and what the kernel says.
pub fn run(args: &AttachArgs, context: &Context) -> anyhow::Result<Exit> {
    let net = context.network()?;
    let interface = net.interface(&args.interface)?;
    let (store, _lock) = Store::change(&context.bpffs)?;
    for direction in Direction::BOTH {
        if (args.ingress || args.egress)
            && !(args.ingress && direction == Direction::Ingress || args.egress && direction == Direction::Egress)
        {
            continue;
        }
        let pins = store.hook(interface.ifindex, direction);
        if let Some(hook) = datapath::recover(pins.clone(), &net)?
            && matches!(hook.running, Observed::Running(_))
        {
            println!("{}:{direction} already", interface.name);
            continue;
        }
        let wanted = match args.hook {
            HookChoice::Auto => Wanted::Best,
            HookChoice::Xdp => Wanted::Exactly(Via::XdpNative),
            HookChoice::XdpGeneric => Wanted::Exactly(Via::XdpGeneric),
            HookChoice::Tcx => Wanted::Exactly(Via::Tcx),
            HookChoice::Clsact => Wanted::Exactly(Via::Clsact),
        };
        let hook = choice::attach(&pins, wanted, &interface, None, &net)?;
        println!("{}:{direction} {} {:?}", interface.name, hook.state.reason, hook.running);
    }
    Ok(Exit::Done)
}
