//! More local users than there are places, who say nothing, and connect anew as soon as they are sent away.

use std::{
    io::{self, ErrorKind, Read},
    os::unix::net::UnixStream,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::ensure;
use qosbpf_tests::service::{MARK, OTHER, eventually};

use crate::control::{NOBODY, Public, socket};

/// As many places as one user has.
const EACH: usize = 8;

/// Users that no host has: as many as one user may have by /etc/subuid, and more.
const STRANGER: u32 = 700_000;

/// Does something while so many threads hold so many connections each, say nothing, and connect anew as soon as they are
/// sent away; how often they were. What `connect` returns does not block.
pub fn in_a_crowd<S: Read>(
    threads: u32,
    each: usize,
    connect: impl Fn(u32) -> anyhow::Result<S> + Sync,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let (over, connected) = (AtomicBool::new(false), AtomicUsize::new(0));
    let all = threads as usize * each;
    let hold = |number| {
        let connect = || connect(number).inspect(|_| _ = connected.fetch_add(1, Ordering::Relaxed));
        let mut streams = (0..each).map(|_| connect()).collect::<anyhow::Result<Vec<_>>>()?;
        while !over.load(Ordering::Relaxed) {
            for stream in &mut streams {
                if !stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    *stream = connect()?;
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..threads).map(|number| scope.spawn(move || hold(number))).collect();
        let done = eventually(|| Ok(connected.load(Ordering::Relaxed) >= all)).and_then(|()| work());
        over.store(true, Ordering::Relaxed);
        crowd.into_iter().try_for_each(|thread| thread.join().expect("no panic"))?;
        done
    })?;
    Ok(connected.into_inner() - all)
}

/// Connects as another user than the rest of this process.
fn connect_as(user: u32, socket: &Path) -> anyhow::Result<UnixStream> {
    become_user(user)?;
    let stream = UnixStream::connect(socket)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Makes this thread another user's, and no other thread of the process.
pub fn become_user(user: u32) -> io::Result<()> {
    // SAFETY: a system call without pointers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Members confirm a change, however many strangers there are; one is a member by its credentials, one by the directory
/// alone.
#[test]
fn no_crowd_of_strangers_keeps_members_from_confirming() -> anyhow::Result<()> {
    let by_directory = "--reuid=1 --regid=65534 --clear-groups";
    for (group, member) in [("nogroup", NOBODY), ("daemon", by_directory)] {
        for users in [4, 40] {
            let public = Public::serving(&format!("group = \"{group}\"\n"))?;
            let socket = socket(&public.lab)?;
            let connect = |user| connect_as(STRANGER + user, &socket);
            let sent_away = in_a_crowd(users, EACH, connect, || confirms(&public, member))?;
            ensure!(users < 5 || sent_away > 0, "nobody had to go: it was no crowd");
        }
    }
    Ok(())
}

fn confirms(public: &Public, member: &str) -> anyhow::Result<()> {
    let lab = &public.lab;
    for (name, policy, mark) in [("other", OTHER, 8), ("edge", MARK, 34)] {
        let file = lab.router.policy(name, policy)?;
        lab.ok(&format!("policy apply {file} --confirm 60s"))?;
        public.ask_as(member, "policy confirm")?.expect(0)?.says(&["confirmed"])?;
        ensure!(lab.five_become(mark)?, "{}", lab.log()?);
    }
    lab.ok("status")?.says(&["run: active"])?;
    Ok(())
}
