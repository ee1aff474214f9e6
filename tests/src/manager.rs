//! A service manager, as far as a service sees it: the socket that it is told by.

use std::{
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::service::PATIENCE;

/// The socket of a service manager, which listens all the time: a service that has more to tell than the socket holds does not
/// wait.
#[derive(Debug)]
pub struct Manager {
    told: Receiver<String>,
    path: PathBuf,
    _waits: Arc<()>,
}

/// One that has stopped reading: as much is before it as its socket holds.
#[derive(Debug)]
pub struct Deaf {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Deaf {
    /// Makes the socket in a folder.
    ///
    /// # Errors
    ///
    /// What could not be done.
    pub fn listen(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("notify");
        let deaf = Self { socket: UnixDatagram::bind(&path)?, path };
        // A sender has little room of its own: each sends one message.
        while deaf.has_room()? {}
        Ok(deaf)
    }

    fn has_room(&self) -> anyhow::Result<bool> {
        let sender = UnixDatagram::unbound()?;
        sender.set_nonblocking(true)?;
        match sender.send_to(b"X_FULL=1", &self.path) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            sent => Ok(sent.map(|_| true)?),
        }
    }

    /// The same command as a service of this manager, which has to say five times a second that it lives.
    pub fn starts<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        starts(&self.path, command)
    }

    /// It reads on.
    ///
    /// # Errors
    ///
    /// What could not be done.
    pub fn wakes(self) -> anyhow::Result<Manager> {
        Manager::reading(self.socket, self.path)
    }
}

fn starts<'a>(path: &Path, command: &'a mut Command) -> &'a mut Command {
    command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "400000")
}

impl Manager {
    /// Makes the socket in a folder.
    ///
    /// # Errors
    ///
    /// What could not be done.
    pub fn listen(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("notify");
        Self::reading(UnixDatagram::bind(&path)?, path)
    }

    fn reading(socket: UnixDatagram, path: PathBuf) -> anyhow::Result<Self> {
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let (sender, told) = channel();
        let waits = Arc::default();
        let waiting = Arc::downgrade(&waits);
        thread::spawn(move || take(&socket, &sender, &waiting));
        Ok(Self { told, path, _waits: waits })
    }

    /// The same command as a service of this manager, which has to say five times a second that it lives.
    pub fn starts<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        starts(&self.path, command)
    }

    /// Waits for a message with this line in it, and returns it whole.
    ///
    /// # Errors
    ///
    /// That none came.
    pub fn hears(&self, line: &str) -> anyhow::Result<String> {
        self.hears_until(line)?.pop().context("the message")
    }

    /// Waits for a message with this line in it, and returns all until then, and that.
    ///
    /// # Errors
    ///
    /// That none came.
    pub fn hears_until(&self, line: &str) -> anyhow::Result<Vec<String>> {
        let mut heard = Vec::new();
        let start = Instant::now();
        while let Ok(message) = self.told.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            let is_it = message.lines().any(|found| found == line);
            heard.push(message);
            if is_it {
                return Ok(heard);
            }
        }
        anyhow::bail!("no {line} in {heard:?}")
    }

    /// Forgets what it was told until now.
    pub fn forget(&self) {
        while self.told.try_recv().is_ok() {}
    }
}

/// Takes what comes, until nobody waits for it any more.
fn take(socket: &UnixDatagram, told: &Sender<String>, waiting: &Weak<()>) {
    let mut buffer = [0; 4096];
    while waiting.strong_count() > 0 {
        // Else nothing came for a while, or a signal that another test sends to the process.
        if let Ok(length) = socket.recv(&mut buffer) {
            let _nobody_waits = told.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
}
