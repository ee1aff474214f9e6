//! `qosbpf stats --watch`: the same again and again, redrawn on a terminal, one block after the other elsewhere.

use std::{
    collections::HashMap,
    io::{IsTerminal as _, stdin, stdout},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
};

use crate::{
    cli::StatsArgs,
    cmd::{Context, site::Site, stats},
    error::Exit,
    hook::Direction,
    render::{json, table},
    snapshot::{Snapshot, history::History, rates::Rates},
};

/// Cursor home, and nothing below.
const REDRAW: &str = "\x1b[H\x1b[J";

type Histories = HashMap<(u32, Direction), History>;

/// Prints every `interval` until `q` or a signal.
///
/// # Errors
///
/// `not-attached`, and pins that are foreign or not readable.
pub fn run(args: &StatsArgs, interval: Duration, context: &Context) -> anyhow::Result<Exit> {
    let terminal = stdout().is_terminal() && !args.no_tty && !args.format.is_machine();
    let _keys = terminal.then(Keys::single).flatten();
    let mut histories = Histories::new();
    let mut earlier: Option<(Snapshot, Instant)> = None;
    loop {
        let (snapshot, now) = (stats::since_cleared(args, context)?, Instant::now());
        let rates = earlier.as_ref().map(|(before, then)| Rates::between(before, &snapshot, now - *then));
        let text = if args.format.is_machine() {
            machine(args, context)?
        } else {
            blocks(&snapshot, rates.as_ref(), &mut histories, context)
        };
        context.print(&if terminal { format!("{REDRAW}{text}") } else { text })?;
        earlier = Some((snapshot, now));
        if pause(interval, terminal) {
            return Ok(Exit::Done);
        }
    }
}

fn machine(args: &StatsArgs, context: &Context) -> anyhow::Result<String> {
    let snapshot = Site::read(context)?.snapshot(&args.hooks, context)?;
    stats::machine(&args.format, &snapshot, json::Layout::Line)
}

fn blocks(snapshot: &Snapshot, rates: Option<&Rates>, histories: &mut Histories, context: &Context) -> String {
    let look = context.look();
    let all = snapshot.hooks.iter().map(|hook| {
        let history = histories.entry((hook.ifindex, hook.direction)).or_default();
        let newest = rates.and_then(|rates| rates.of(hook));
        newest.into_iter().for_each(|rates| history.push(rates));
        table::watch(snapshot, hook, newest, history, &look)
    });
    let mut text = all.collect::<Vec<_>>().join("\n");
    if snapshot.hooks.is_empty() {
        "nothing is attached: qosbpf attach IFACE\n".clone_into(&mut text);
    }
    text
}

/// Waits; whether the watcher has had enough.
fn pause(interval: Duration, keys: bool) -> bool {
    if !keys {
        std::thread::sleep(interval);
        return false;
    }
    let input = stdin();
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(interval).unwrap_or(PollTimeout::MAX);
    let pressed = poll(&mut fds, timeout).is_ok_and(|ready| ready > 0);
    let mut key = [0];
    pressed && nix::unistd::read(input.as_fd(), &mut key).is_ok_and(|read| read == 0 || key == *b"q")
}

/// Gives keys as they are pressed, and the terminal its manners back at the end.
struct Keys(Termios);

impl Keys {
    fn single() -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut single = before.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(stdin(), SetArg::TCSANOW, &single).ok()?;
        Some(Self(before))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _terminal_gone = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
    }
}
