//! The groups of who is at the other end of a Unix socket, as the kernel knows them: no directory service is asked.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use libc::{c_int, gid_t, socklen_t};

/// More than most users have.
const USUAL: usize = 64;

/// The supplementary groups that it had when it connected; none where the kernel does not tell (Linux 4.13).
#[must_use]
pub fn groups(socket: BorrowedFd<'_>) -> Vec<gid_t> {
    let answer = read(socket, USUAL).or_else(|needed| read(socket, needed));
    answer.unwrap_or_default()
}

/// With room for so many; else how many there are.
fn read(socket: BorrowedFd<'_>, room: usize) -> Result<Vec<gid_t>, usize> {
    let mut groups: Vec<gid_t> = vec![0; room];
    let mut bytes = size_of_val(groups.as_slice()) as socklen_t;
    let (level, option, fd): (c_int, c_int, c_int) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS, socket.as_raw_fd());
    // SAFETY: the kernel writes no more than the bytes that it is told of, and says how many.
    let result = unsafe { libc::getsockopt(fd, level, option, groups.as_mut_ptr().cast(), &raw mut bytes) };
    let count = bytes as usize / size_of::<gid_t>();
    if result == 0 {
        groups.truncate(count);
        return Ok(groups);
    }
    let is_short = io::Error::last_os_error().raw_os_error() == Some(libc::ERANGE);
    Err(if is_short { count } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd as _, unix::net::UnixStream};

    use super::*;

    #[test]
    fn the_other_end_has_the_groups_that_this_process_has() {
        let own: Vec<gid_t> = nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        let (near, _far) = UnixStream::pair().unwrap();
        assert_eq!(groups(near.as_fd()), own);
        assert_eq!(read(near.as_fd(), own.len()), Ok(own.clone()));
        if let Some(less) = own.len().checked_sub(1) {
            assert_eq!(read(near.as_fd(), less), Err(own.len()));
        }
    }

    #[test]
    fn what_is_no_unix_socket_has_none() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(groups(file.as_fd()).is_empty());
    }
}
