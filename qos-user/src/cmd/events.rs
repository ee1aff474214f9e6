//! `qosbpf events`: what rules that log tell of packets.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    cli::EventsArgs,
    cmd::{Context, journal::Journal, site::Site},
    error::{Exit, Failure},
    event::LoggedPacket,
    hook::HookName,
    kernel::{
        datapath::{Hook, Observed},
        events::{self, Events},
        pins::HookPins,
    },
    render,
};

/// How long an event or a signal may wait.
const PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked which hooks and rules there are.
const LOOK: Duration = Duration::from_secs(1);

/// Prints what waits, then what comes, until a signal or the reader's end.
///
/// # Errors
///
/// `not-attached`; `busy` if another process reads them; `no-journal`; pins that are foreign or not accessible.
pub fn run(args: &EventsArgs, context: &Context) -> anyhow::Result<Exit> {
    let ending = crate::signal::termination()?;
    let mut sources = Sources::default();
    let journal = args.journal.as_deref().map(Journal::open).transpose()?;
    sources.look(&args.hooks, context)?;
    if args.once && sources.open.is_empty() {
        return Err(Failure::new("no-log", "no rule at the hooks that are meant has ever logged")
            .hint("log = \"1/s\" in a [[rule]] of the policy")
            .into());
    }
    loop {
        for packet in sources.packets() {
            if let Some(journal) = &journal {
                journal.write(&packet)?;
            } else if !context.reaches(&text(args, &packet, context)?)? {
                return Ok(Exit::Done);
            }
        }
        if args.once || wait(&ending) {
            return Ok(Exit::Done);
        }
        sources.look(&args.hooks, context)?;
    }
}

fn wait(ending: &AtomicBool) -> bool {
    std::thread::sleep(PAUSE);
    ending.load(Ordering::Relaxed)
}

fn text(args: &EventsArgs, packet: &LoggedPacket, context: &Context) -> anyhow::Result<String> {
    if args.json {
        render::json::document(&render::event_document(packet), render::json::Layout::Line)
    } else {
        Ok(render::harmless(&render::event(packet, &context.look()), context.color))
    }
}

/// The hooks whose rules log.
#[derive(Default)]
struct Sources {
    open: Vec<Source>,
    looked: Option<Instant>,
}

struct Source {
    pins: HookPins,
    /// The pin's: another one is that of another attachment.
    inode: u64,
    name: String,
    events: Events,
    rules: HashMap<u16, String>,
}

impl Sources {
    /// Finds hooks that are new and names that have changed; those whose pins are gone stay until they are empty.
    fn look(&mut self, names: &[HookName], context: &Context) -> anyhow::Result<()> {
        if self.looked.is_some_and(|when| when.elapsed() < LOOK) {
            return Ok(());
        }
        let (site, first) = (Site::read(context)?, self.looked.is_none());
        self.looked = Some(Instant::now());
        self.open.retain(|source| events::inode(&source.pins) == Some(source.inode));
        let hooks = match site.select(names) {
            // Once it runs, a hook that is away for a moment is waited for.
            Err(_away) if !first => return Ok(()),
            hooks => hooks?,
        };
        for hook in hooks.into_iter().filter(|hook| hook.running != Observed::Gone) {
            let rules = rules_of(hook);
            match self.open.iter_mut().find(|known| known.pins == hook.pins) {
                Some(known) => known.rules = rules,
                None => self.open(&site, hook, rules).or_else(|error| if first { Err(error) } else { Ok(()) })?,
            }
        }
        Ok(())
    }

    fn open(&mut self, site: &Site, hook: &Hook, rules: HashMap<u16, String>) -> anyhow::Result<()> {
        let opened = events::inode(&hook.pins).zip(Events::open(&hook.pins)?);
        let name = format!("{}:{}", site.name_of(hook), hook.pins.direction);
        let pins = hook.pins.clone();
        self.open.extend(opened.map(|(inode, events)| Source { pins, inode, name, events, rules }));
        Ok(())
    }

    /// What waits, the oldest first.
    fn packets(&mut self) -> Vec<LoggedPacket> {
        let mut packets: Vec<LoggedPacket> = self.open.iter_mut().flat_map(Source::packets).collect();
        packets.sort_by_key(|packet| packet.time);
        packets
    }
}

impl Source {
    fn packets(&mut self) -> Vec<LoggedPacket> {
        let mut packets = Vec::new();
        for event in self.events.by_ref() {
            let rule = self.rules.get(&event.slot).cloned().unwrap_or_else(|| format!("rule {}", event.slot));
            packets.push(LoggedPacket::new(&event, &self.name, &rule, events::wall_clock(&event)));
        }
        packets
    }
}

/// The names of the rules by the numbers of their counters.
fn rules_of(hook: &Hook) -> HashMap<u16, String> {
    let counts = hook.state.slots.counts(|_| Vec::new());
    counts.into_iter().map(|(rule, (_, slot))| (slot, rule.to_owned())).collect()
}
