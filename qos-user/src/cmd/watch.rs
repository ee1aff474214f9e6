//! `qosbpf stats --watch`: the same again and again, redrawn on a terminal, one block after the other elsewhere.

use std::{
    collections::HashMap,
    io::{IsTerminal as _, stdin, stdout},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
};

use crate::{
    cli::StatsArgs,
    cmd::{Context, control, reading::machine, site::Site},
    error::Exit,
    hook::Direction,
    render::{harmless, json, table},
    snapshot::{Snapshot, history::History, rates::Rates},
};

/// Cursor home, and nothing below.
const REDRAW: &str = "\x1b[H\x1b[J";

/// How long a signal may wait to be noticed.
const GLANCE: Duration = Duration::from_millis(100);

/// Prints every `interval` until `q` or a signal.
///
/// # Errors
///
/// `not-attached`, and pins that are foreign or not readable.
pub fn run(args: &StatsArgs, interval: Duration, context: &Context) -> anyhow::Result<Exit> {
    let terminal = stdout().is_terminal() && !args.no_tty && !args.format.is_machine();
    let ending = crate::signal::termination()?;
    let _keys = terminal.then(Keys::single).flatten();
    let mut blocks = Blocks::default();
    loop {
        let text = if args.format.is_machine() {
            let mut snapshot = Site::read(context)?.snapshot(&args.hooks, context)?;
            if args.format.wants_trends() {
                control::remember(&mut snapshot, context);
            }
            machine(&args.format, &snapshot, json::Layout::Line, context)?
        } else {
            let mut snapshot = Site::read(context)?.snapshot(&args.hooks, context)?;
            control::remember(&mut snapshot, context);
            harmless(&blocks.next(snapshot, context), context.color)
        };
        let read = context.reaches(&if terminal { format!("{REDRAW}{text}") } else { text })?;
        if !read || pause(interval, terminal, &ending) {
            return Ok(Exit::Done);
        }
    }
}

/// What each block needs of those before it.
#[derive(Default)]
struct Blocks {
    histories: HashMap<(u32, Direction), History>,
    earlier: Option<(Snapshot, Instant)>,
}

impl Blocks {
    fn next(&mut self, snapshot: Snapshot, context: &Context) -> String {
        let now = Instant::now();
        let rates = self.earlier.as_ref().map(|(before, then)| Rates::between(before, &snapshot, now - *then));
        let text = blocks(&snapshot, rates.as_ref(), &mut self.histories, context);
        self.earlier = Some((snapshot, now));
        text
    }
}

fn blocks(
    snapshot: &Snapshot,
    rates: Option<&Rates>,
    histories: &mut HashMap<(u32, Direction), History>,
    context: &Context,
) -> String {
    let look = context.look();
    let all = snapshot.hooks.iter().map(|hook| {
        let history = histories.entry((hook.ifindex, hook.direction)).or_default();
        let newest = rates.and_then(|rates| rates.of(hook));
        newest.into_iter().for_each(|rates| history.push(rates));
        table::watch(snapshot, hook, newest, history, &look)
    });
    let mut text = all.collect::<Vec<_>>().join("\n");
    if snapshot.hooks.is_empty() {
        text = context.invocation().completed("nothing is attached: qosbpf attach IFACE\n");
    }
    text
}

/// Waits; whether the watcher has had enough: by `q`, by the end of the keys, or by a signal.
fn pause(interval: Duration, keys: bool, ending: &AtomicBool) -> bool {
    let start = Instant::now();
    let mut keys = keys;
    loop {
        let left = interval.saturating_sub(start.elapsed());
        if ending.load(Ordering::Relaxed) || left.is_zero() {
            return ending.load(Ordering::Relaxed);
        }
        // A signal that comes just before the wait begins does not end it: no wait is long.
        match keys.then(|| pressed(left.min(GLANCE))) {
            None => thread::sleep(left.min(GLANCE)),
            Some(Ok(None)) | Some(Err(Errno::EINTR)) => {}
            Some(Ok(Some(b'q'))) => return true,
            Some(Ok(Some(_other_key))) => return false,
            // The terminal has gone, or was none to read from.
            Some(Err(_gone)) => keys = false,
        }
    }
}

/// The key that is pressed within this time.
fn pressed(within: Duration) -> nix::Result<Option<u8>> {
    let input = stdin();
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    // In whole milliseconds, and not zero: that would not wait.
    let timeout = PollTimeout::try_from(within.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
    if poll(&mut fds, timeout)? == 0 {
        return Ok(None);
    }
    let mut key = [0];
    match nix::unistd::read(input.as_fd(), &mut key)? {
        0 => Ok(Some(b'q')),
        _ => Ok(Some(key[0])),
    }
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
