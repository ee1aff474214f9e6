//! That the kernel has no room for something: for what, and what helps.

use std::{fmt::Display, io};

use crate::error::Failure;

/// The code of such a failure. Whatever else is tried needs room as well.
pub(super) const CODE: &str = "no-room";

/// A bpf file system has no size: it is full when there is no memory for one more pin or folder.
pub(super) const HINT: &str = "the kernel is short of memory, of the host's (free -m) or of what this process's group may have \
                               (memory.max; of a service, MemoryMax=): make room, and repeat the command";

/// What the kernel said, if it is that there is no room.
pub(super) fn said(error: &anyhow::Error) -> Option<&io::Error> {
    let is_one = |error: &&io::Error| matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::ENOMEM | libc::EDQUOT));
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).find(is_one)
}

/// The same error; but if it is that there is no room, that there is none for `what`, with what helps.
pub(super) fn named(what: impl Display, error: anyhow::Error) -> anyhow::Error {
    match said(&error) {
        Some(said) => Failure::new(CODE, format!("no room for {what}: {said}")).hint(HINT).into(),
        None => error,
    }
}

/// The same error; but if it is that there is no room, with what could not be done.
pub(super) fn at(place: impl FnOnce() -> String, error: anyhow::Error) -> anyhow::Error {
    let is_one = error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == CODE);
    if is_one { error.context(place()) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(number: i32) -> anyhow::Error {
        anyhow::Error::from(io::Error::from_raw_os_error(number)).context("`BPF_OBJ_PIN` failed")
    }

    #[test]
    fn what_there_is_no_room_for_is_said_once_with_what_helps() {
        for number in [libc::ENOSPC, libc::ENOMEM, libc::EDQUOT] {
            let error = at(|| "lan0:egress: cannot attach".to_owned(), named("the map COLORS", kernel(number)));
            let reason = io::Error::from_raw_os_error(number);
            assert_eq!(
                format!("{error:#}"),
                format!("lan0:egress: cannot attach: no room for the map COLORS: {reason}")
            );
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!((failure.code, failure.hint.as_deref()), (CODE, Some(HINT)));
        }
    }

    #[test]
    fn other_errors_stay_what_they_are() {
        let error = at(|| "lan0:egress: cannot attach".to_owned(), named("a pin", kernel(libc::EPERM)));
        assert_eq!(format!("{error:#}"), format!("{:#}", kernel(libc::EPERM)));
    }
}
