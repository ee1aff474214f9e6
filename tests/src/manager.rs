//! A service manager, as far as a service sees it: the socket that it is told by.

use std::{
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::service::PATIENCE;

/// The socket of a service manager.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
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
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, path })
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
        for _ in 0..100 {
            let mut buffer = [0; 4096];
            let length = match self.socket.recv(&mut buffer) {
                // A signal that another test sends to the process.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.with_context(|| format!("no {line} after {heard:?}"))?,
            };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|found| found == line) {
                return Ok(message);
            }
            heard.push(message);
        }
        anyhow::bail!("no {line} in {heard:?}")
    }

    /// Forgets what it was told until now.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn forget(&self) -> anyhow::Result<()> {
        self.socket.set_nonblocking(true)?;
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        Ok(self.socket.set_nonblocking(false)?)
    }
}
