//! Commands to which the kernel refuses something: system calls, or filters of tc, as one without cls_bpf or without memory
//! does.
//!
//! Netlink messages of the latter pass by a supervisor (seccomp_unotify(2)), which all of its threads have.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{fs::FileExt as _, process::CommandExt as _},
    },
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, anyhow};
use nix::poll::{PollFd, PollFlags, poll};

/// `RTM_NEWTFILTER`.
const NEW_FILTER: u16 = 44;
/// `RTM_DELTFILTER`.
const END_FILTER: u16 = 45;

/// Refuses new filters of whatever was started by it, or the end of those that are there.
#[derive(Debug)]
pub struct NoFilters {
    state: Arc<State>,
    supervisor: Option<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Debug, Default)]
struct State {
    refused: u16,
    attempts: AtomicUsize,
    allowed: AtomicBool,
    ended: AtomicBool,
}

impl NoFilters {
    /// Starts what `start` starts; what this process starts otherwise is let alone.
    ///
    /// # Errors
    ///
    /// What the kernel says, and those of `start`.
    pub fn within(start: impl FnOnce() -> anyhow::Result<()> + Send) -> anyhow::Result<Self> {
        Self::refusing(NEW_FILTER, start)
    }

    /// The same where none can be removed.
    ///
    /// # Errors
    ///
    /// Those of [`within`](Self::within).
    pub fn that_end(start: impl FnOnce() -> anyhow::Result<()> + Send) -> anyhow::Result<Self> {
        Self::refusing(END_FILTER, start)
    }

    fn refusing(refused: u16, start: impl FnOnce() -> anyhow::Result<()> + Send) -> anyhow::Result<Self> {
        let state = Arc::new(State { refused, ..State::default() });
        let (give, take) = mpsc::channel::<OwnedFd>();
        let shared = Arc::clone(&state);
        let supervisor = Some(thread::spawn(move || supervise(&take.recv()?, &shared)));
        let denied = Self { state, supervisor };
        thread::scope(|scope| {
            let starter = scope.spawn(move || {
                give.send(listen()?)?;
                start()
            });
            starter.join().map_err(|_panic| anyhow!("what was to be started panicked"))?
        })?;
        Ok(denied)
    }

    /// How often that was tried.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.state.attempts.load(Ordering::SeqCst)
    }

    /// Refuses none any more.
    pub fn allow(&self) {
        self.state.allowed.store(true, Ordering::SeqCst);
    }
}

impl Drop for NoFilters {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        if let Some(supervisor) = self.supervisor.take() {
            let _ended = supervisor.join();
        }
    }
}

/// Has this thread, and what it starts, ask before each `sendto`.
fn listen() -> anyhow::Result<OwnedFd> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let listener = filter(&[libc::SYS_sendto], libc::SECCOMP_RET_USER_NOTIF, flags).context("seccomp(2)")?;
    // SAFETY: the kernel has just made the descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(listener)?) })
}

/// The same command, which the kernel refuses these system calls.
pub fn refuse<'a>(command: &'a mut Command, calls: &'static [libc::c_long]) -> &'a mut Command {
    let refuse = || filter(calls, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0).map(drop);
    // SAFETY: it makes a system call, and allocates a few bytes, which is safe behind the fork of this C library.
    unsafe { command.pre_exec(refuse) }
}

/// What becomes of some system calls of this thread, and of what it starts.
fn filter(calls: &[libc::c_long], action: u32, flags: libc::c_ulong) -> io::Result<libc::c_long> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    // The number of the call is at 0 of a struct seccomp_data.
    let mut steps = vec![step(LOAD, 0, 0)];
    steps.extend(calls.iter().flat_map(|call| [step(EQUAL, 1, *call as u32), step(RETURN, 0, action)]));
    steps.push(step(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program and its instructions live until the call has returned.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn supervise(listener: &OwnedFd, state: &State) -> anyhow::Result<()> {
    while !state.ended.load(Ordering::SeqCst) {
        let mut waits = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut waits, 50_u16)?;
        let events = waits[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLIN) {
            answer_one(listener, state)?;
        } else if events.contains(PollFlags::POLLHUP) {
            break;
        }
    }
    Ok(())
}

fn answer_one(listener: &OwnedFd, state: &State) -> anyhow::Result<()> {
    // SAFETY: a structure of numbers, for which the kernel demands zeros.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is a listener, and the structure is the one that the kernel fills.
    if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } < 0 {
        // Whoever asked has been killed.
        return Ok(());
    }
    let refused = kind(&asked).is_ok_and(|kind| kind == Some(state.refused));
    state.attempts.fetch_add(usize::from(refused), Ordering::SeqCst);
    let refused = refused && !state.allowed.load(Ordering::SeqCst);
    let (error, flags) = if refused { (-libc::ENOMEM, 0) } else { (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32) };
    let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags };
    // SAFETY: as above; that whoever asked is gone by now is no matter.
    let _gone = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    Ok(())
}

/// What is asked for. A `struct nlmsghdr` has its type at 4.
fn kind(asked: &libc::seccomp_notif) -> io::Result<Option<u16>> {
    let [_, message, length, ..] = asked.data.args;
    let mut header = [0; 6];
    if length < header.len() as u64 {
        return Ok(None);
    }
    File::open(format!("/proc/{}/mem", asked.pid))?.read_exact_at(&mut header, message)?;
    let [.., first, second] = header;
    Ok(Some(u16::from_ne_bytes([first, second])))
}
