//! The process that waits for a deadline: started by the command that sets one, and detached from everything.
//!
//! It may be killed: the next command does its work then. So it needs no memory of its own, and reads the pins again
//! every second until no deadline is left. A service that serves keeps them itself and says so in its log; what it has not
//! kept some seconds later, since it hangs or was killed, is done here.

use std::{
    fs::OpenOptions,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::prctl,
    unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

use super::{
    Context,
    control::{self, Answer, Ask},
    deadline,
};
use crate::{
    error::{Exit, Failure},
    kernel::boottime::BootTime,
};

/// Said to the starter once nothing can take the process down with its terminal.
const READY: &str = "ready\n";

/// Pins that cannot be read for so many looks, the next command may deal with.
const LOOKS: u32 = 60;

/// How long a service that answers may take to keep a deadline that has passed: it may be in the midst of other work.
const GRACE: Duration = Duration::from_secs(5);

/// Starts the process in this network namespace, and waits until it stands on its own. A service that serves keeps the deadline,
/// too: the process is there for the case that somebody kills it.
///
/// # Errors
///
/// `timer`: without it and without a service, only the next command would go back.
pub fn start(context: &Context) -> anyhow::Result<()> {
    let kept = is_kept(context);
    match spawn(context) {
        Err(error) if kept => {
            context.warn(&format!("qosbpf: ! qosbpf run alone keeps the deadline: {error:#}\n"));
            Ok(())
        }
        spawned => spawned,
    }
}

/// The same, whoever else may be there.
///
/// # Errors
///
/// Those of [`start`].
pub fn spawn(context: &Context) -> anyhow::Result<()> {
    // The link stays good when the binary is replaced or removed.
    let mut child = Command::new("/proc/self/exe")
        .arg0("qosbpf")
        .arg("--bpffs")
        .arg(path::absolute(&context.bpffs)?)
        .arg("--etc")
        .arg(path::absolute(&context.etc)?)
        .arg("timer")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start the timer's process")?;
    let mut said = String::new();
    child.stdout.take().context("timer")?.read_to_string(&mut said)?;
    // Where a service has started it, nobody else would hear of its end.
    let _zombie_at_worst = thread::Builder::new().name("timer".to_owned()).spawn(move || child.wait());
    if said == READY {
        return Ok(());
    }
    Err(Failure::new("timer", format!("the timer's process did not start: {said}")).into())
}

/// Whether a service keeps deadlines, also those that are set while it is asked.
fn is_kept(context: &Context) -> bool {
    matches!(control::ask(Ask::Deadlines, context), Some(Answer::Done))
}

/// What that process does.
///
/// # Errors
///
/// That it cannot detach itself, or the pins are not readable for long.
pub fn run(context: &Context) -> anyhow::Result<Exit> {
    setsid().context("setsid")?;
    // A service manager that says what runs on in the service's name calls it so.
    prctl::set_name(c"qosbpf-timer")?;
    context.print(READY)?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stderr(&null)?;
    // The last: its end is what the starter waits for.
    dup2_stdout(&null)?;
    let (mut unread, mut due_since) = (0, None);
    loop {
        keep(&mut due_since, context)?;
        let now = BootTime::now()?;
        let soon = now.plus(deadline::AGAIN);
        let next = match context.store().and_then(|store| deadline::next(&store)) {
            Ok(None) => return Ok(Exit::Done),
            Ok(Some(next)) => {
                unread = 0;
                next
            }
            Err(error) if unread == LOOKS => return Err(error),
            Err(_) => {
                unread += 1;
                soon
            }
        };
        // What could not be taken back is tried again, but not in haste.
        if next > now { next.min(soon) } else { soon }.sleep_until();
    }
}

/// Does what is due, unless a service that answers has been given no time for it yet.
fn keep(due_since: &mut Option<BootTime>, context: &Context) -> anyhow::Result<()> {
    if !deadline::is_past(context) {
        *due_since = None;
        return Ok(());
    }
    let now = BootTime::now()?;
    let since = *due_since.get_or_insert(now);
    if now >= since.plus(GRACE) || !is_kept(context) {
        let _said = deadline::settle(context);
    }
    Ok(())
}
