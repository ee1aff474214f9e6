//! Log lines of a service, which a thread of their own writes to stderr: a pipe that nobody reads, or a journal that hangs,
//! holds up that thread, and neither a lock, nor a deadline, nor anybody who asks. As many lines wait as there is room for; of
//! those that are lost, it is said how many in their place.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::Cell,
    collections::VecDeque,
    io::{self, stderr},
    iter,
    os::fd::AsFd as _,
    panic::{self, PanicHookInfo},
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd,
};

use crate::held_lines::ROOM;

/// How long the end waits for somebody to take the next line.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits in all.
const LONGEST: Duration = Duration::from_secs(10);

static QUEUE: OnceLock<Queue> = OnceLock::new();

thread_local! {
    /// Whether this is the thread that writes.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// Lines wait as long as it is there; when it goes, those that wait are written, if somebody reads.
#[derive(Debug)]
pub struct Queued(());

impl Queued {
    /// From now on, lines and panics wait for [`write_on`].
    #[must_use]
    pub fn begin() -> Self {
        QUEUE.get_or_init(Queue::default);
        panic::set_hook(Box::new(tell));
        Self(())
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let Some(queue) = QUEUE.get() else { return };
        match write_on() {
            Ok(()) => queue.finish(),
            // Without a thread, this one, which has nothing else to do any more.
            Err(_) => iter::from_fn(|| queue.lines().next()).for_each(Next::write),
        }
    }
}

/// Starts the thread that writes, in the network namespace of this one; once is enough.
///
/// # Errors
///
/// That there is no thread to be had.
pub fn write_on() -> io::Result<()> {
    let Some(queue) = QUEUE.get() else { return Ok(()) };
    if queue.is_written.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let write = || {
        WRITES.set(true);
        queue.serve(Next::write);
    };
    let started = thread::Builder::new().name("log".to_owned()).spawn(write);
    started.map(drop).inspect_err(|_| queue.is_written.store(false, Ordering::Relaxed))
}

/// Takes in a line; `false` if this is no service.
pub fn add(line: &[u8]) -> bool {
    let Some(queue) = QUEUE.get() else { return false };
    // What that thread has to say itself belongs where it is.
    if WRITES.try_with(Cell::get).unwrap_or(false) {
        write(line)
    } else {
        queue.add(line)
    }
    true
}

/// Not by the stderr of the standard library: its lock would be held for as long as nobody reads. That a line cannot be
/// written, nobody is left whom it could be told.
fn write(mut line: &[u8]) {
    let stderr = stderr();
    while !line.is_empty() {
        match unistd::write(&stderr, line) {
            Ok(0) => return,
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let _room_or_error = poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(_) => return,
        }
    }
}

/// A panic is told like everything else: line by line, and whoever reads nothing holds nobody up.
fn tell(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    let trace = Backtrace::capture();
    let trace = if trace.status() == BacktraceStatus::Captured { trace.to_string() } else { String::new() };
    let text = format!("thread {} {panic}\n{trace}", current.name().unwrap_or("without a name"));
    text.lines().for_each(|line| tracing::error!("{line}"));
}

#[derive(Debug, Default)]
struct Queue {
    lines: Mutex<Lines>,
    changed: Condvar,
    is_written: AtomicBool,
}

/// What waits.
#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Next>,
    bytes: usize,
    /// Whether what was taken last is not written yet.
    is_busy: bool,
    written: u64,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line(Vec<u8>),
    /// That so many are missing here.
    Lost(u64),
}

impl Next {
    fn write(self) {
        match self {
            Self::Line(line) => write(&line),
            Self::Lost(lines) => tracing::warn!("{lines} lines were lost: stderr was not read"),
        }
    }
}

impl Lines {
    fn add(&mut self, line: &[u8]) {
        if self.bytes + line.len() <= ROOM {
            self.bytes += line.len();
            self.waiting.push_back(Next::Line(line.to_vec()));
        } else if let Some(Next::Lost(lines)) = self.waiting.back_mut() {
            *lines += 1;
        } else {
            self.waiting.push_back(Next::Lost(1));
        }
    }

    fn next(&mut self) -> Option<Next> {
        let next = self.waiting.pop_front();
        if let Some(Next::Line(line)) = &next {
            self.bytes -= line.len();
        }
        next
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && !self.is_busy
    }
}

impl Queue {
    fn add(&self, line: &[u8]) {
        self.lines().add(line);
        self.changed.notify_all();
    }

    /// Writes what comes, in its order, without end.
    fn serve(&self, mut write: impl FnMut(Next)) -> ! {
        let mut lines = self.lines();
        loop {
            let Some(next) = lines.next() else {
                lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            lines.is_busy = true;
            drop(lines);
            write(next);
            lines = self.lines();
            lines.is_busy = false;
            lines.written += 1;
            self.changed.notify_all();
        }
    }

    /// Waits until all is written, as long as somebody reads.
    fn finish(&self) {
        let (mut lines, start) = (self.lines(), Instant::now());
        while !lines.is_done() && start.elapsed() < LONGEST {
            let before = lines.written;
            let stands = |lines: &mut Lines| !lines.is_done() && lines.written == before;
            let waited = self.changed.wait_timeout_while(lines, PATIENCE, stands);
            let (now, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            if outcome.timed_out() {
                return;
            }
            lines = now;
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // What a panic left is whole: nothing in between can fail.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    fn line(length: usize) -> Vec<u8> {
        vec![b'x'; length]
    }

    /// A queue whose lines are written when they are asked for.
    fn written() -> (Arc<Queue>, Sender<()>, Receiver<Next>) {
        let (queue, (asks, asked), (told, gets)) = (Arc::<Queue>::default(), channel(), channel());
        let served = Arc::clone(&queue);
        thread::spawn(move || {
            served.serve(|next| {
                let _over = asked.recv();
                let _over = told.send(next);
            });
        });
        (queue, asks, gets)
    }

    #[test]
    fn they_come_in_their_order_and_how_many_are_missing_is_said_where_they_are() {
        let mut lines = Lines::default();
        lines.add(b"first\n");
        lines.add(&line(ROOM - 6));
        lines.add(b"lost\n");
        lines.add(b"too\n");
        assert_eq!(lines.next(), Some(Next::Line(b"first\n".to_vec())));
        lines.add(b"third\n");
        lines.add(b"again\n");
        assert_eq!(lines.next(), Some(Next::Line(line(ROOM - 6))));
        assert_eq!(lines.next(), Some(Next::Lost(2)));
        assert_eq!(lines.next(), Some(Next::Line(b"third\n".to_vec())));
        assert_eq!(lines.next(), Some(Next::Lost(1)));
        assert_eq!((lines.next(), lines.bytes, lines.is_done()), (None, 0, true));
    }

    #[test]
    fn nobody_waits_for_a_reader_and_the_end_not_for_long() {
        let (queue, asks, gets) = written();
        (0..3).for_each(|number| queue.add(format!("{number}\n").as_bytes()));
        let start = Instant::now();
        queue.finish();
        assert!((PATIENCE..LONGEST).contains(&start.elapsed()), "{:?}", start.elapsed());
        (0..3).for_each(|_| asks.send(()).unwrap());
        queue.finish();
        let got: Vec<_> = gets.try_iter().collect();
        assert_eq!(got, ["0\n", "1\n", "2\n"].map(|line| Next::Line(line.into())));
    }

    #[test]
    fn the_end_waits_for_whoever_reads_slowly() {
        let (queue, asks, gets) = written();
        (0..4).for_each(|_| queue.add(b"line\n"));
        let reader = thread::spawn(move || {
            for _ in 0..4 {
                thread::sleep(PATIENCE / 2);
                asks.send(()).unwrap();
            }
            asks
        });
        queue.finish();
        assert_eq!(gets.try_iter().count(), 4);
        drop(reader.join());
    }
}
