//! Output that nobody reads.

use std::io::{PipeReader, PipeWriter, Write as _, pipe};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Whoever writes to it waits, until it is read, or not to be read any more. Zeros are in it.
///
/// # Errors
///
/// What the kernel says.
pub fn full_pipe() -> anyhow::Result<(PipeReader, PipeWriter)> {
    let (reader, mut writer) = pipe()?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    for length in [4096, 1] {
        while writer.write(&vec![0; length]).is_ok() {}
    }
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((reader, writer))
}
