//! `qosbpf doctor`: what this kernel, these privileges and these devices allow, and what helps.

mod meant;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    cli::DoctorArgs,
    cmd::{
        Context, absent,
        site::{self, Site},
        slot, unpinned,
    },
    diagnosis::{
        self, Command, Cure, Finding, Report, Sample, Shell,
        facts::{BpffsState, Ground},
    },
    error::{Exit, Failure},
    hook::HookName,
    kernel::{
        datapath::Observed,
        network::{Interface, Network},
        survey,
    },
    render::{json, table},
    snapshot::Snapshot,
};

/// Prints what is found; 3 if something is wrong, 4 if something could not be asked.
///
/// # Errors
///
/// `no-such-interface`; that netlink does not answer.
pub fn run(args: &DoctorArgs, context: &Context) -> anyhow::Result<Exit> {
    let report = Report {
        time: SystemTime::now(),
        host: site::host(),
        about: args.interface.clone(),
        heading: None,
        findings: examine(args, context)?,
        further: Vec::new(),
        shell: shell(context),
    }
    .with_tools(&survey::is_installed);
    if args.json {
        context.document(&json::document(&json::diagnosis(&report), json::Layout::Pretty)?)?;
    } else if args.fix_script {
        context.print(&table::fix_script(&report))?;
    } else {
        context.screen(&table::doctor(&report, &context.look()))?;
    }
    Ok(diagnosis::exit(&report.findings))
}

/// Where cures are typed in.
#[must_use]
pub fn shell(context: &Context) -> Shell {
    Shell { invocation: context.invocation() }
}

fn examine(args: &DoctorArgs, context: &Context) -> anyhow::Result<Vec<Finding>> {
    let host = survey::host(&context.bpffs);
    let mut findings = diagnosis::host(&host, args.interface.as_deref());
    let site = match Site::read(context) {
        Ok(site) => Some(site),
        Err(error) => {
            findings.extend(unreadable_pins(&error, &findings));
            None
        }
    };
    let net = context.network()?;
    let interfaces = net.interfaces()?;
    let names = chosen(args, &net, &interfaces, site.as_ref())?;
    let mut ground = survey::ground(&net, &interfaces, site.as_ref().map(Site::pinned))?;
    ground.pins_unread |= host.bpffs.state == BpffsState::Covering;
    ground.elsewhere = unpinned::elsewhere(ground.ports.iter().flat_map(|port| &port.strays), context);
    let outside = survey::outside().among(&ground.bridges());
    findings.extend(diagnosis::namespace(&ground, &outside));
    findings.extend(diagnosis::interfaces(&ground, &names, &outside));
    if let Some(site) = &site {
        findings.extend(meant::findings(site, args.interface.as_deref(), context));
        findings.extend(broken(site, &names));
        findings.extend(slot::findings(site).into_iter().filter(|finding| names.contains(&finding.subject)));
        if args.interface.is_none() {
            findings.extend(absent::findings(site));
        }
        let samples = samples(site, &names, &ground, args.sample, context)?;
        findings.extend(
            samples.iter().flat_map(|sample| [Some(share(sample, &ground)), diagnosis::dropped(sample)]).flatten(),
        );
    }
    Ok(by_subject(findings))
}

fn share(sample: &Sample, ground: &Ground) -> Finding {
    diagnosis::share(sample, ground.port(&sample.interface))
}

/// The host first, then by interface in the order in which they were found.
fn by_subject(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut order: Vec<String> = vec!["host".to_owned()];
    for finding in &findings {
        if !order.contains(&finding.subject) {
            order.push(finding.subject.clone());
        }
    }
    findings.sort_by_key(|finding| order.iter().position(|subject| *subject == finding.subject));
    findings
}

/// Pins that are not ours, or of another layout: nothing can be attached beside them.
fn unreadable_pins(error: &anyhow::Error, known: &[Finding]) -> Option<Finding> {
    let told = known.iter().any(|finding| ["bpffs-foreign", "bpffs-open", "bpffs-hidden"].contains(&finding.code));
    let failure = error.downcast_ref::<Failure>();
    let cure = failure.and_then(|failure| failure.hint.clone()).map(Cure::Advice);
    let finding = Finding::fail("host", failure.map_or("pins", |failure| failure.code), format!("{error:#}"));
    (!told).then_some(Finding { cure, ..finding })
}

/// All but the loopback device, where nobody attaches without a reason.
fn chosen(
    args: &DoctorArgs,
    net: &Network,
    interfaces: &[Interface],
    site: Option<&Site>,
) -> anyhow::Result<BTreeSet<String>> {
    if let Some(name) = &args.interface {
        let again = |new: &str| Command::new("qosbpf doctor").operand(new);
        let found = site.map_or_else(|| net.interface(name), |site| site.interface(name, again))?;
        return Ok([found.name].into());
    }
    let ours = |interface: &&Interface| {
        site.is_some_and(|site| site.hooks.iter().any(|hook| hook.pins.ifindex == interface.ifindex))
    };
    let wanted = interfaces.iter().filter(|interface| interface.name != "lo" || ours(interface));
    Ok(wanted.map(|interface| interface.name.clone()).collect())
}

/// Hooks whose pins cannot be read, and hooks from which somebody took our program.
fn broken(site: &Site, names: &BTreeSet<String>) -> Vec<Finding> {
    let unreadable = site.broken.iter().map(|broken| {
        let (name, direction) = (site.name_at(&broken.pins), broken.pins.direction);
        let finding = Finding::fail(&name, "hook-unreadable", format!("{name}:{direction}: {:#}", broken.error));
        finding.cure(broken.open_folder().map_or_else(
            || Cure::Own(Command::new("detach").operand(format_args!("{name}:{direction}"))),
            |folder| Cure::Host(Command::new("chmod go-w").word(folder.display())),
        ))
    });
    let gone = site.hooks.iter().filter(|hook| hook.running == Observed::Gone && site.interface_of(hook).is_some());
    let gone = gone.map(|hook| {
        let (name, direction) = (site.name_of(hook), hook.pins.direction);
        let text = format!("{name}:{direction}: the program was removed by someone else");
        Finding::fail(&name, "program-removed", text).cure(Cure::attach(&name, direction))
    });
    unreadable.chain(gone).filter(|finding| names.contains(&finding.subject)).collect()
}

/// What came past each hook in a while.
fn samples(
    site: &Site,
    names: &BTreeSet<String>,
    ground: &Ground,
    time: Duration,
    context: &Context,
) -> anyhow::Result<Vec<Sample>> {
    let attached = |name: &&String| ground.port(name).is_some_and(|port| !port.hooks.is_empty());
    let hooks: Vec<_> = names.iter().filter(attached).map(|name| whole(name)).collect();
    if hooks.is_empty() || time.is_zero() {
        return Ok(Vec::new());
    }
    let (earlier, later) = watched(site, &hooks, time, context)?;
    Ok(Sample::between(&earlier, &later))
}

fn whole(interface: &str) -> HookName {
    HookName { interface: interface.to_owned(), direction: None }
}

/// The same hooks at two moments.
///
/// # Errors
///
/// Pins that cannot be read any more.
pub fn watched(
    site: &Site,
    hooks: &[HookName],
    time: Duration,
    context: &Context,
) -> anyhow::Result<(Snapshot, Snapshot)> {
    let earlier = site.again()?.snapshot(hooks, context)?;
    thread::sleep(time);
    Ok((earlier, site.again()?.snapshot(hooks, context)?))
}
