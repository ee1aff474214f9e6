//! Ctrl-C and its kin, noted and obeyed later: first everything is put back.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag, low_level,
};

/// The signals by which people and service managers end a process.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Notes the signals that would end this process, from when it is made.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicUsize>);

/// A signal wants this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Interrupt {
    /// Begins to note them instead of ending at once.
    ///
    /// # Errors
    ///
    /// What sigaction(2) says.
    pub fn listen() -> io::Result<Self> {
        let noted = Arc::new(AtomicUsize::new(0));
        for signal in SIGNALS {
            flag::register_usize(signal, Arc::clone(&noted), signal.unsigned_abs() as usize)?;
        }
        Ok(Self(noted))
    }

    /// Asked between two steps, and while waiting.
    ///
    /// # Errors
    ///
    /// That a signal has come.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.noted().is_none() { Ok(()) } else { Err(Interrupted) }
    }

    /// Ends this process by the signal that came, so that its parent sees what happened; returns if none did.
    ///
    /// # Errors
    ///
    /// That the signal cannot be raised.
    pub fn obey(&self) -> io::Result<()> {
        self.noted().map_or(Ok(()), low_level::emulate_default_handler)
    }

    fn noted(&self) -> Option<i32> {
        let signal = self.0.load(Ordering::SeqCst);
        SIGNALS.into_iter().find(|known| usize::try_from(*known) == Ok(signal))
    }
}
