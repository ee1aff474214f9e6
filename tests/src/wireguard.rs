//! Two ends of a WireGuard tunnel over the router's WAN, by wg(8).

use std::{fs, process::Command};

use anyhow::Context as _;
use qosbpf::lab::namespace::Namespace;

use crate::{
    binary::Answer,
    router::{Router, run_in},
};

/// Where the first device of a host listens.
pub const PORT: u16 = 51_820;

/// Gives a device that both the router and the WAN host have keys and a port, and tells each end of the other.
///
/// # Errors
///
/// That wg(8) is not there, or what it says.
pub fn join(router: &Router, device: &str, port: u16) -> anyhow::Result<()> {
    let ends = [(router.edge(), "198.51.100.1"), (router.lab().wan(), "198.51.100.2")];
    let keys = [key(router, &format!("{device}-edge"))?, key(router, &format!("{device}-wan"))?];
    for (at, (namespace, _)) in ends.iter().enumerate() {
        let ((file, _), (_, public)) = (&keys[at], &keys[1 - at]);
        let peer = format!("peer {public} endpoint {}:{port} allowed-ips 0.0.0.0/0,::/0", ends[1 - at].1);
        run_in(namespace, &format!("wg set {device} private-key {file} listen-port {port} {peer}"))?;
    }
    Ok(())
}

/// The mark that WireGuard gives to what it sends.
///
/// # Errors
///
/// What wg(8) says.
pub fn set_mark(namespace: &Namespace, device: &str, mark: u32) -> anyhow::Result<()> {
    run_in(namespace, &format!("wg set {device} fwmark {mark:#x}")).map(drop)
}

/// The file of a new private key, and the public one.
fn key(router: &Router, name: &str) -> anyhow::Result<(String, String)> {
    let private = Answer::of(Command::new("wg").arg("genkey")).context("wg (wireguard-tools)")?.expect(0)?.stdout;
    let file = router.folder().join(format!("wg-{name}")).display().to_string();
    fs::write(&file, &private)?;
    let public = Answer::with_input(Command::new("wg").arg("pubkey"), private.as_bytes())?.expect(0)?.stdout;
    Ok((file, public.trim().to_owned()))
}
