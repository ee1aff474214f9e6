//! What the service manager is told: ready, reloading, stopping, alive. Without one, nobody is. Nothing waits for one that
//! does not read: its socket holds a few messages, and then there is no room.

use std::{
    collections::VecDeque,
    env,
    ffi::OsStr,
    io::{self, ErrorKind},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::{sync::Notify, time::sleep};

use super::pace::Pace;

/// How long there may be no room for what is owed before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// As much as there is to know: that files are read again, and what came of it.
const OWED: usize = 2;

/// What is said once, and which the manager waits for: it is owed as long as there is no room for it.
#[derive(Debug, Default)]
pub struct Notices {
    owed: Mutex<VecDeque<String>>,
    no_room: Notify,
}

impl Notices {
    /// Serves; `status` says what in a few words.
    pub fn ready(&self, status: &str) {
        self.add(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reads its files again; [`ready`](Self::ready) ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.add(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!("no clock for the service manager: {error}"),
        }
    }

    fn add(&self, state: &[NotifyState<'_>]) {
        let mut owed = self.owed();
        owed.push_back(message(state));
        while owed.len() > OWED {
            owed.pop_front();
        }
        drop(owed);
        if !self.tell() {
            self.no_room.notify_one();
        }
    }

    /// Tells what is owed once there is room, for as long as it is polled.
    pub async fn deliver(&self) {
        loop {
            self.no_room.notified().await;
            while !self.tell() {
                sleep(AGAIN).await;
            }
        }
    }

    /// Tells what is owed, in its order; whether there was room for all of it.
    fn tell(&self) -> bool {
        let mut owed = self.owed();
        while let Some(message) = owed.front() {
            if !tell(message) {
                return false;
            }
            owed.pop_front();
        }
        true
    }

    fn owed(&self) -> MutexGuard<'_, VecDeque<String>> {
        // What a panic left is whole: a message is there, or not.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works, at the start as well as at the end, and may go on for this long before it says so again.
pub fn working(longest: Duration) {
    let longest = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    let _said_again_soon = tell(&message(&[NotifyState::ExtendTimeoutUsec(longest)]));
}

/// Is about to end.
pub fn stopping() {
    let _ends_all_the_same = tell(&message(&[NotifyState::Stopping]));
}

fn message(state: &[NotifyState<'_>]) -> String {
    state.iter().map(|state| format!("{state}\n")).collect()
}

/// Whether there was room for it. A manager that is not there has room for everything.
fn tell(message: &str) -> bool {
    let Some(address) = env::var_os("NOTIFY_SOCKET") else { return true };
    match send(&address, message) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            tracing::debug!("the service manager does not read: {message:?} finds no room");
            return false;
        }
        Err(error) => tracing::debug!("the service manager does not listen: {error}"),
        Ok(()) => {}
    }
    true
}

/// Sends without waiting, which the crate for all else here cannot, to a path or to an abstract address, which begins with `@`.
fn send(address: &OsStr, message: &str) -> io::Result<()> {
    let to = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &to).map(drop)
}

/// Says that it is alive, twice as often as it is asked to, unless work has been under way for too long.
pub async fn watchdog(pace: &Pace) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit >= Duration::from_millis(2)) else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval(limit / 2);
    loop {
        beat.tick().await;
        if let Some(sign) = sign_of_life(pace, Instant::now()) {
            let _said_again_soon = tell(&message(&[sign]));
        } else {
            tracing::error!("work at the hooks does not end; the service manager is not told that all is well");
        }
    }
}

/// None where work does not go on.
fn sign_of_life(pace: &Pace, now: Instant) -> Option<NotifyState<'static>> {
    (!pace.is_stuck(now)).then_some(NotifyState::Watchdog)
}

#[cfg(test)]
mod tests {
    use super::{super::pace::STUCK, *};
    use crate::progress::Watch as _;

    /// What a socket has got.
    fn got(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_manager_is_found_by_its_path_and_by_an_abstract_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = path.display().to_string();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(path.as_os_str(), "by path").unwrap();
        send(OsStr::new(&format!("@{name}")), "by name").unwrap();
        assert_eq!((got(&by_path).as_str(), got(&by_name).as_str()), ("by path", "by name"));
    }

    #[test]
    fn nothing_waits_for_a_manager_that_does_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _never_reads = UnixDatagram::bind(&path).unwrap();
        let refused = (0..1 << 16).find_map(|_| send(path.as_os_str(), "WATCHDOG=1\n").err()).unwrap();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn the_watchdog_starves_once_work_hangs_at_one_hook() {
        let pace = Pace::default();
        let alive = |after: Duration| sign_of_life(&pace, Instant::now() + after).is_some();
        assert!(alive(STUCK * 10), "nothing is to be done");
        pace.works(true);
        assert!(alive(STUCK / 2) && !alive(STUCK + AGAIN));
        pace.step();
        assert!(alive(STUCK / 2), "it is at the next hook");
        pace.works(false);
        assert!(alive(STUCK * 10));
    }
}
