//! Log lines on their way to stderr, which nobody writes who holds a lock: a terminal that is stopped (Ctrl-S), or a pipe
//! that nobody reads, holds up whoever writes to it, and would keep the lock from everybody else. Those of a command wait
//! until it has given the lock back; those of a service, which others wait for all the time and whose reader wants to see
//! how far it is, another thread writes ([`queued_lines`]).

use std::{
    cell::RefCell,
    io::{self, Write as _, stderr},
    marker::PhantomData,
    mem,
};

use crate::queued_lines;

/// How many bytes wait at most; what a command has to say then is written at once.
pub const ROOM: usize = 1 << 20;

thread_local! {
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting { holders: 0, lines: Vec::new() }) };
}

/// What a thread has to say.
struct Waiting {
    holders: u32,
    lines: Vec<u8>,
}

/// While one is there this thread's lines wait; they are written when the last one goes. One that is left to another thread
/// could not do that.
#[derive(Debug)]
pub struct Held(PhantomData<*const ()>);

impl Held {
    /// From now on.
    #[must_use]
    pub fn begin() -> Self {
        WAITING.with_borrow_mut(|waiting| waiting.holders += 1);
        Self(PhantomData)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let lines = WAITING.with_borrow_mut(Waiting::release);
        // Nobody is left whom a log line that cannot be written could be told.
        let _written = stderr().lock().write_all(&lines);
    }
}

impl Waiting {
    fn release(&mut self) -> Vec<u8> {
        self.holders -= 1;
        if self.holders == 0 { mem::take(&mut self.lines) } else { Vec::new() }
    }

    /// Whether it waits.
    fn keep(&mut self, line: &[u8]) -> bool {
        let keeps = self.holders > 0 && self.lines.len() + line.len() <= ROOM;
        if keeps {
            self.lines.extend_from_slice(line);
        }
        keeps
    }
}

/// Writes a line to stderr, when that may be.
///
/// # Errors
///
/// Those of stderr.
pub fn write(line: &[u8]) -> io::Result<()> {
    // A thread that ends, and has no such memory any more, holds nothing either.
    let waits = queued_lines::add(line) || WAITING.try_with(|waiting| waiting.borrow_mut().keep(line)).unwrap_or(false);
    if waits { Ok(()) } else { stderr().lock().write_all(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_for_the_last_who_holds() {
        let mut waiting = Waiting { holders: 0, lines: Vec::new() };
        assert!(!waiting.keep(b"free\n"));
        waiting.holders = 2;
        assert!(waiting.keep(b"one\n") && waiting.keep(b"two\n"));
        assert!(waiting.release().is_empty());
        assert_eq!(waiting.release(), b"one\ntwo\n");
        assert!(!waiting.keep(b"free again\n"));
    }

    #[test]
    fn they_do_not_pile_up_without_end() {
        let mut waiting = Waiting { holders: 1, lines: vec![0; ROOM - 1] };
        assert!(waiting.keep(b"\n") && !waiting.keep(b"\n"));
    }
}
