//! A service manager, as far as a service sees it: the socket that it is told by.

use std::{
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

use crate::service::PATIENCE;

/// The socket of a service manager, which listens all the time: a service that has more to tell than the socket holds waits.
#[derive(Debug)]
pub struct Manager {
    told: Receiver<String>,
    path: PathBuf,
    _waits: Arc<()>,
}

impl Manager {
    /// Makes the socket in a folder.
    ///
    /// # Errors
    ///
    /// What could not be done.
    pub fn listen(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let (sender, told) = channel();
        let waits = Arc::default();
        let waiting = Arc::downgrade(&waits);
        thread::spawn(move || take(&socket, &sender, &waiting));
        Ok(Self { told, path, _waits: waits })
    }

    /// The same command as a service of this manager, which has to say five times a second that it lives.
    pub fn starts<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "400000")
    }

    /// Waits for a message with this line in it, and returns it whole.
    ///
    /// # Errors
    ///
    /// That none came.
    pub fn hears(&self, line: &str) -> anyhow::Result<String> {
        let mut heard = Vec::new();
        let start = Instant::now();
        while let Ok(message) = self.told.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            if message.lines().any(|found| found == line) {
                return Ok(message);
            }
            heard.push(message);
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
