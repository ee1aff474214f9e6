//! Who is at the keyboard, for those who ask later who changed what.

use std::{cell::RefCell, env};

use nix::unistd::{User, getuid};

use super::ssh;

thread_local! {
    /// Whom this thread works for, if not for the person who started the process.
    static PRINCIPAL: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does `work` for somebody else, as the service does: what it notes down has that name.
pub fn acting_for<T>(who: &str, work: impl FnOnce() -> T) -> T {
    let before = PRINCIPAL.replace(Some(who.to_owned()));
    let done = work();
    PRINCIPAL.set(before);
    done
}

/// The person behind sudo or the login, and the address that the SSH session comes from.
#[must_use]
pub fn am_i() -> String {
    if let Some(principal) = PRINCIPAL.with_borrow(Clone::clone) {
        return principal;
    }
    let by_id = || User::from_uid(getuid()).ok().flatten().map(|user| user.name);
    let name = env::var("SUDO_USER").ok().or_else(by_id).unwrap_or_else(|| format!("uid {}", getuid()));
    match ssh::client() {
        Some(address) => format!("{name} (ssh {address})"),
        None => name,
    }
}
