//! A hook whose pins somebody has removed: how it was, so that it can be attached again in the same way.

use std::{
    collections::HashSet,
    io, thread,
    time::{Duration, Instant},
};

use super::steps::Place;
use crate::{
    cmd::{
        attaching::{Asked, attach_anew, looking_inside},
        site::Site,
    },
    command::Command,
    error::Failure,
    hook::{Layer, Via},
    kernel::{
        again,
        boottime::BootTime,
        choice::Wanted,
        datapath::{Hook, Observed},
        document,
        mechanism::{self, Running},
        network::Interface,
        pins::Pin,
        state::{Binding, Bypass, HookState},
    },
    snapshot::Missing,
};

/// The kernel ends a link some time after its last reference.
const ENDING: Duration = Duration::from_millis(500);

/// Until when one waits for what is ending, however many hooks that are: whoever wants the lock meanwhile waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Ending(Instant);

impl Ending {
    /// From now on.
    pub fn new() -> Self {
        Self(Instant::now() + ENDING)
    }
}

/// A hook as it was at the last look.
#[derive(Clone, Debug)]
pub struct Lost {
    place: Place,
    interface: String,
    running: Running,
    via: Via,
    told: Wanted,
    inside: Option<Vec<Layer>>,
    log: bool,
    table: Option<String>,
    bypass: Option<Bypass>,
    made_clsact: bool,
}

impl Lost {
    /// What is to be known of a hook that runs.
    pub fn new(hook: &Hook, interface: &Interface) -> Self {
        let state = &hook.state;
        let running = match hook.running {
            Observed::Running(running) => running,
            Observed::Gone | Observed::Unknown => Running { program_id: state.program_id, link_id: None },
        };
        Self {
            place: (hook.pins.ifindex, hook.pins.direction),
            interface: interface.name.clone(),
            running,
            via: state.via,
            told: again::told(state),
            inside: state.inside.clone(),
            log: state.log,
            table: state.binding.as_ref().and_then(Binding::table_name).map(str::to_owned),
            bypass: state.bypass.clone(),
            made_clsact: state.made_clsact,
        }
    }

    /// Where it was.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Its name, such as `wan0:egress`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.interface, self.place.1)
    }

    /// The same with what `attach` was told.
    pub fn entry(&self) -> String {
        let options = self.options(Command::new("")).to_string();
        if options.is_empty() { self.name() } else { format!("{} ({options})", self.name()) }
    }

    /// What attaches it by hand as it was.
    fn command(&self) -> Command {
        self.options(Command::new("qosbpf attach")).operand(self.name())
    }

    fn options(&self, command: Command) -> Command {
        as_told(command, self.told, self.inside.as_deref())
    }

    /// Whether it is still to be attached: it is wanted, and no pins of ours are there.
    pub fn is_missing(&self, site: &Site, released: &HashSet<Place>) -> bool {
        let readable = site.hooks.iter().map(|hook| &hook.pins);
        let mut pins = readable.chain(site.broken.iter().map(|broken| &broken.pins));
        self.is_wanted(site, released) && !pins.any(|pins| (pins.ifindex, pins.direction) == self.place)
    }

    /// Whether its interface is there, and nobody has detached it.
    pub fn is_wanted(&self, site: &Site, released: &HashSet<Place>) -> bool {
        let is_there = |interface: &Interface| interface.ifindex == self.place.0 && interface.name == self.interface;
        site.interfaces.iter().any(is_there) && !released.contains(&self.place)
    }

    /// Refuses to attach beside a program that runs on, or may: a packet would meet both.
    ///
    /// # Errors
    ///
    /// `hidden-pins`.
    pub fn refuse_held(&self, ending: Ending) -> anyhow::Result<()> {
        Self::refuse_any_held(std::slice::from_ref(self), false, ending)
    }

    /// Refuses to put back any of them where a program of one runs on, or may. `hidden` if their pins are there below another
    /// mount.
    ///
    /// # Errors
    ///
    /// `hidden-pins`, with all that are meant.
    pub fn refuse_any_held(all: &[Self], hidden: bool, ending: Ending) -> anyhow::Result<()> {
        let (mut held, mut unknown, mut why) = (Vec::new(), Vec::new(), None);
        for lost in all {
            match if hidden { Ok(true) } else { lost.outlasts(ending) } {
                Ok(false) => {}
                Ok(true) => held.push(lost),
                Err(error) => {
                    unknown.push(lost);
                    why = Some(error);
                }
            }
        }
        if !held.is_empty() {
            return Err(still_held(&held).into());
        }
        why.map_or(Ok(()), |error| Err(not_known(&unknown, &error).into()))
    }

    /// Waits for the end of its program, but not for long; whether it runs on.
    fn outlasts(&self, ending: Ending) -> io::Result<bool> {
        while self.is_held()? {
            if Instant::now() >= ending.0 {
                return Ok(true);
            }
            thread::sleep(ENDING / 10);
        }
        Ok(false)
    }

    /// Whether its program runs on, by a link that is held though its pin cannot be seen. A filter of clsact needs neither,
    /// and is in nobody's way: it is removed before another one comes.
    ///
    /// # Errors
    ///
    /// That it cannot be said.
    pub fn is_held(&self) -> io::Result<bool> {
        if self.via == Via::Clsact {
            return Ok(false);
        }
        let link = self.running.link_id.ok_or_else(|| io::Error::other("its link was never known"))?;
        mechanism::is_held(link, self.place.0)
    }

    /// What is said of it as long as it is not back.
    pub fn said(&self, why: Option<&str>) -> Missing {
        let why = why.map(|why| format!(", so far without success: {why}")).unwrap_or_default();
        Missing {
            interface: self.interface.clone(),
            ifindex: Some(self.place.0),
            direction: self.place.1,
            table: self.table.clone(),
            reason: format!("its pins were removed by someone else; run attaches it again{why}"),
        }
    }

    /// Attaches it as it was, with what the policy in force says of it. Its counters are gone.
    ///
    /// # Errors
    ///
    /// Those of [`attach_anew`].
    pub fn attach(&self, site: &Site, interface: &Interface) -> anyhow::Result<Hook> {
        let pins = site.store.hook(self.place.0, self.place.1);
        if self.via == Via::Clsact {
            mechanism::detach_left(self.running.program_id, &interface.name, &pins, &site.net)?;
        }
        let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
        let (inside, bypass) = (self.inside.clone(), self.bypass()?);
        let asked = Asked { wanted: self.told, inside, log: self.log, bypass, attached_for: None };
        self.claim(attach_anew(site, interface, self.place.1, policy, asked)?)
    }

    /// Its bypass, unless its time is over.
    fn bypass(&self) -> anyhow::Result<Option<Bypass>> {
        let now = BootTime::now()?;
        Ok(self.bypass.clone().filter(|bypass| !bypass.has_expired(now)))
    }

    /// A clsact qdisc that we made was there this time.
    fn claim(&self, hook: Hook) -> anyhow::Result<Hook> {
        let ours = self.made_clsact && hook.state.via == Via::Clsact;
        if !ours || hook.state.made_clsact {
            return Ok(hook);
        }
        let state = HookState { made_clsact: true, ..hook.state };
        document::write(&hook.pins.path(Pin::State), &state)?;
        Ok(Hook { state, ..hook })
    }
}

/// With the options that `attach` was given.
pub fn as_told(command: Command, told: Wanted, inside: Option<&[Layer]>) -> Command {
    let command = match told {
        Wanted::Exactly(via) => command.words("--hook").word(via.as_option()),
        Wanted::Best => command,
    };
    looking_inside(command, inside)
}

fn names(all: &[&Lost]) -> String {
    all.iter().map(|lost| lost.name()).collect::<Vec<_>>().join(", ")
}

fn still_held(held: &[&Lost]) -> Failure {
    let message = format!("the program at {} runs on, by a pin that cannot be seen any more", names(held));
    let hint = "umount what has been mounted over the bpf file system; or end what holds the one that was unmounted";
    Failure::new("hidden-pins", message).hint(hint)
}

fn not_known(unknown: &[&Lost], error: &io::Error) -> Failure {
    let message = format!("it cannot be said whether the program at {} runs on: {error}", names(unknown));
    let commands = unknown.iter().map(|lost| lost.command()).reduce(Command::then);
    let attach = commands.map(|commands| format!(", or {commands}")).unwrap_or_default();
    let hint = format!(
        "run puts back what is gone if it has CAP_SYS_ADMIN; without, by hand, where nothing runs: qosbpf policy apply \
         FILE --attach{attach}"
    );
    Failure::new("hidden-pins", message).hint(hint)
}
