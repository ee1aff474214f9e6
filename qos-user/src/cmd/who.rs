//! Who is at the keyboard, for those who ask later who changed what.

use std::env;

use nix::unistd::{User, getuid};

use super::ssh;

/// The person behind sudo or the login, and the address that the SSH session comes from.
#[must_use]
pub fn am_i() -> String {
    let by_id = || User::from_uid(getuid()).ok().flatten().map(|user| user.name);
    let name = env::var("SUDO_USER").ok().or_else(by_id).unwrap_or_else(|| format!("uid {}", getuid()));
    match ssh::client() {
        Some(address) => format!("{name} (ssh {address})"),
        None => name,
    }
}
