//! systemd's journal, by its native protocol: fields of a message as lines, in one datagram.

use std::{os::unix::net::UnixDatagram, path::Path};

use crate::{error::Failure, event::LoggedPacket, render};

/// Where messages go.
#[derive(Debug)]
pub struct Journal(UnixDatagram);

impl Journal {
    /// Opens the journal by its socket.
    ///
    /// # Errors
    ///
    /// `no-journal` if nobody listens there.
    pub fn open(socket: &Path) -> anyhow::Result<Self> {
        let journal = UnixDatagram::unbound()?;
        journal.connect(socket).map_err(|error| {
            Failure::new("no-journal", format!("{}: {error}", socket.display()))
                .hint("without systemd-journald: qosbpf events, or qosbpf events --json")
        })?;
        Ok(Self(journal))
    }

    /// Writes one event.
    ///
    /// # Errors
    ///
    /// That the journal does not take it.
    pub fn write(&self, packet: &LoggedPacket) -> anyhow::Result<()> {
        Ok(self.0.send(render::event_fields(packet).as_bytes()).map(drop)?)
    }
}
