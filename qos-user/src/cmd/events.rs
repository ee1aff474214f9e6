//! `qosbpf events`: what rules that log tell of packets.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use qos_common::event::Event;

use crate::{
    cli::EventsArgs,
    cmd::{Context, journal::Journal, site::Site},
    error::{Exit, Failure},
    event::LoggedPacket,
    hook::HookName,
    kernel::{
        counters,
        datapath::{Hook, Observed},
        events::{self, Drained, Events},
        pins::{HookPins, Pin},
    },
    render::{self, hanging},
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
    let mut is_last = args.once;
    loop {
        let (packets, lost) = sources.packets();
        lost.iter().for_each(|line| context.warn(line));
        for packet in packets {
            if let Some(journal) = &journal {
                journal.write(&packet)?;
            } else if !context.reaches(&text(args, &packet, context)?)? {
                return Ok(Exit::Done);
            }
        }
        if is_last {
            return Ok(Exit::Done);
        }
        is_last = wait(&ending);
        // What has come meanwhile may be at a hook that is gone, where nobody comes to it later: it is read all the same.
        if !is_last {
            sources.look(&args.hooks, context)?;
        }
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
    /// Those whose pins are gone, which are read once more.
    ended: Vec<Source>,
    /// Why others could not be opened, by their names, so that it is said once.
    unread: HashMap<String, String>,
    looked: Option<Instant>,
}

struct Source {
    pins: HookPins,
    /// The pin's: another one is that of another attachment.
    inode: u64,
    name: String,
    events: Events,
    rules: HashMap<u16, String>,
    /// How many events had been left out when the buffer was last found full.
    left_out: u64,
}

impl Sources {
    /// Finds hooks that are new and names that have changed; those whose pins are gone stay until they have been read.
    fn look(&mut self, names: &[HookName], context: &Context) -> anyhow::Result<()> {
        if self.looked.is_some_and(|when| when.elapsed() < LOOK) {
            return Ok(());
        }
        let (site, first) = (Site::read(context)?, self.looked.is_none());
        self.looked = Some(Instant::now());
        self.ended.extend(self.open.extract_if(.., |source| source.pins.inode(Pin::Events) != Some(source.inode)));
        let hooks = match site.select(names) {
            // Once it runs, a hook that is away for a moment is waited for.
            Err(_away) if !first => return Ok(()),
            hooks => hooks?,
        };
        for hook in hooks.into_iter().filter(|hook| hook.running != Observed::Gone) {
            let rules = rules_of(hook);
            match self.open.iter_mut().find(|known| known.pins == hook.pins) {
                Some(known) => known.rules = rules,
                None => match self.open(&site, hook, rules) {
                    Err(error) if first => return Err(error),
                    Err(error) if hook.pins.inode(Pin::Events).is_some() => {
                        self.say_unread(site.hook_name(hook), &error, context);
                    }
                    _read_or_gone => {}
                },
            }
        }
        Ok(())
    }

    /// Says why a hook cannot be read that others do not wait for; once for each reason.
    fn say_unread(&mut self, name: String, error: &anyhow::Error, context: &Context) {
        let why = format!("{error:#}");
        if self.unread.get(&name) != Some(&why) {
            context.warn(&hanging("! ", &format!("{name}: its events are not read: {why}")));
            self.unread.insert(name, why);
        }
    }

    fn open(&mut self, site: &Site, hook: &Hook, rules: HashMap<u16, String>) -> anyhow::Result<()> {
        let opened = hook.pins.inode(Pin::Events).zip(Events::open(&hook.pins)?);
        let name = site.hook_name(hook);
        let pins = hook.pins.clone();
        self.unread.remove(&name);
        self.open.extend(opened.map(|(inode, events)| Source { pins, inode, name, events, rules, left_out: 0 }));
        Ok(())
    }

    /// What waits, the oldest first; and what is to be said of what does not.
    fn packets(&mut self) -> (Vec<LoggedPacket>, Vec<String>) {
        let (mut packets, mut lost) = (Vec::new(), Vec::new());
        for source in self.open.iter_mut().chain(&mut self.ended) {
            let (found, missing) = source.packets();
            packets.extend(found);
            lost.extend(missing);
        }
        self.ended.clear();
        packets.sort_by_key(|packet| packet.time);
        (packets, lost)
    }
}

impl Source {
    fn packets(&mut self) -> (Vec<LoggedPacket>, Option<String>) {
        let Drained { events, was_full } = self.events.drain();
        let packet = |event: &Event| {
            let rule = self.rules.get(&event.slot).cloned().unwrap_or_else(|| format!("rule {}", event.slot));
            LoggedPacket::new(event, &self.name, &rule, events::wall_clock(event))
        };
        (events.iter().map(packet).collect(), was_full.then(|| self.missed()).flatten())
    }

    /// What is said to a reader that came too late. The kernel counts what found no room with what a rate left out.
    fn missed(&mut self) -> Option<String> {
        let counters = counters::rules(&self.pins).unwrap_or_default();
        let left_out: u64 = counters.iter().map(|counter| counter.suppressed).sum();
        let more = left_out.saturating_sub(std::mem::replace(&mut self.left_out, left_out));
        let text = format!(
            "{}: events came faster than they were read, and the buffer for them was full: {more} are left out, those that \
             the rates of rules left out among them",
            self.name
        );
        (more > 0).then(|| hanging("! ", &text))
    }
}

/// The names of the rules by the numbers of their counters.
fn rules_of(hook: &Hook) -> HashMap<u16, String> {
    let counts = hook.state.slots.counts(|_| Vec::new());
    counts.into_iter().map(|(rule, (_, slot))| (slot, rule.to_owned())).collect()
}
