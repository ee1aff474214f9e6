//! One question and its answer, by the socket of a service; or why there is no answer.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, sockopt},
};

use super::{Answer, PATIENCE, Question};
use crate::error::{Exit, Failure};

/// More than any answer has.
const LONGEST: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nobody serves there.
    #[error("no qosbpf run serves this network namespace")]
    Nobody,
    /// So many have asked before that there was no room for the question.
    #[error("the service takes no question: others wait, and it does not answer them")]
    Full,
    /// This process was asked, and had no answer within so many seconds.
    #[error("the service (process {0}) has not answered within {1} s")]
    Late(i32, u64),
    /// This process was asked, and has ended, or said nothing that could be understood.
    #[error("the service (process {0}) has ended without an answer")]
    Ended(i32),
    /// It could not be asked.
    #[error("the service cannot be asked: {0}")]
    Unasked(String),
}

impl Silence {
    /// Whether somebody serves.
    #[must_use]
    pub const fn is_of_somebody(&self) -> bool {
        matches!(self, Self::Full | Self::Late(..) | Self::Ended(_))
    }

    /// As the error of a command, with what may still come of the question: `it reloads`.
    #[must_use]
    pub fn failure(&self, still: &str) -> Failure {
        let there = |message| Failure::new("no-answer", message).exit(Exit::Unknown);
        match self {
            Self::Late(..) => {
                there(format!("{self}; {still} when it comes to it")).hint("qosbpf status says what came of it")
            }
            Self::Ended(_) => {
                there(self.to_string()).hint("qosbpf status says what is in force; qosbpf run starts one")
            }
            Self::Full => {
                there(self.to_string()).hint("repeat the command; systemctl restart qosbpf where that is no use")
            }
            Self::Nobody | Self::Unasked(_) => Failure::new("no-service", self.to_string())
                .hint("qosbpf run starts one; --netns names another network namespace"),
        }
    }
}

/// Asks the service that listens there, and waits so long for its answer.
///
/// # Errors
///
/// Why there is none.
pub fn exchange(path: &Path, question: &Question, patience: Duration) -> Result<Answer, Silence> {
    let stream = connect(path)?;
    let service = getsockopt(&stream, sockopt::PeerCredentials).map_or(0, |peer| peer.pid());
    let text = talk(stream, question, patience).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Silence::Late(service, patience.as_secs()),
        _ => Silence::Ended(service),
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        tracing::debug!("no answer: {error}");
        Silence::Ended(service)
    })
}

fn talk(mut stream: UnixStream, question: &Question, patience: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&serde_json::to_vec(question)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = Vec::new();
    stream.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// Connects, but does not wait for long where many others wait to be accepted: the time to send holds for that, too.
fn connect(path: &Path) -> Result<UnixStream, Silence> {
    let unasked = |error: Errno| Silence::Unasked(error.to_string());
    let flags = SockFlag::SOCK_CLOEXEC;
    let stream = UnixStream::from(socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(unasked)?);
    stream.set_write_timeout(Some(PATIENCE)).map_err(|error| Silence::Unasked(error.to_string()))?;
    let address = UnixAddr::new(path).map_err(unasked)?;
    match socket::connect(stream.as_raw_fd(), &address) {
        Ok(()) => Ok(stream),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ECONNREFUSED) => Err(Silence::Nobody),
        Err(Errno::EAGAIN) => Err(Silence::Full),
        Err(error) => Err(unasked(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, process, thread};

    use super::{super::Ask, *};

    /// Not long.
    const SHORT: Duration = Duration::from_millis(50);

    fn ask(path: &Path) -> Silence {
        exchange(path, &Question { bpffs: 0, ask: Ask::Reload }, SHORT).unwrap_err()
    }

    #[test]
    fn nobody_and_one_who_does_not_answer_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let me = i32::try_from(process::id()).unwrap();
        assert!(matches!(ask(&path), Silence::Nobody));
        let listener = UnixListener::bind(&path).unwrap();
        let late = ask(&path);
        assert!(matches!(late, Silence::Late(pid, 0) if pid == me) && late.is_of_somebody(), "{late:?}");
        let failure = late.failure("it reloads");
        assert_eq!((failure.code, failure.exit), ("no-answer", Exit::Unknown));
        assert!(failure.message.ends_with("; it reloads when it comes to it"), "{failure}");
        let ends = thread::spawn(move || drop([listener.accept(), listener.accept()]));
        assert!(matches!(ask(&path), Silence::Ended(pid) if pid == me));
        ends.join().unwrap();
        let left = ask(&path);
        assert!(matches!(left, Silence::Nobody), "{left:?}");
        assert_eq!(left.failure("it reloads").code, "no-service");
    }
}
