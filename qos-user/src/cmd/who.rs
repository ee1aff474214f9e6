//! Who is at the keyboard, for those who ask later who changed what.

use std::env;

/// The person behind sudo or the login, and the address that the SSH session comes from.
#[must_use]
pub fn am_i() -> String {
    let name = env::var("SUDO_USER").or_else(|_| env::var("USER")).or_else(|_| env::var("LOGNAME"));
    let name = name.unwrap_or_else(|_unknown| format!("uid {}", nix::unistd::getuid()));
    match env::var("SSH_CONNECTION").ok().as_deref().and_then(|connection| connection.split(' ').next()) {
        Some(address) if !address.is_empty() => format!("{name} (ssh {address})"),
        _ => name,
    }
}
