//! A lab of network namespaces: a LAN host, an edge router and a WAN host, joined by veth pairs, with a bpf file system
//! of its own.
//!
//! ```text
//! LAN host eth0 ---- lan0 edge router wan0 ---- eth0 WAN host
//! 192.0.2.2         .1              .1         198.51.100.2
//! 2001:db8:1::2     ::1             ::1        2001:db8:2::2
//! ```
//!
//! Nothing is on the wire but what is sent on purpose: neighbours are permanent, and the kernel's own IPv6 chatter is
//! off or over when the lab stands. A probe has its whole checksum on the wire, although a veth device offers to compute
//! checksums and then leaves it at that.
//!
//! The lab is removed when it is dropped, also by a panic. A process that ends by a signal must drop it first; see
//! [`Interrupt`](interrupt::Interrupt). What a killed process left is removed when the next lab is made.

pub mod capture;
pub mod frame;
pub mod interrupt;
mod iproute;
pub mod namespace;
pub mod probe;
mod reservation;
mod settle;
pub mod topology;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use self::{
    namespace::Namespace,
    reservation::{Reservation, Role},
};
use crate::error::Failure;

/// The lab; it is removed when this is dropped.
#[derive(Debug)]
pub struct Lab {
    reservation: Reservation,
    lan: Namespace,
    edge: Namespace,
    wan: Namespace,
    kept: bool,
}

impl Lab {
    /// Builds the lab, and removes what killed processes left of theirs.
    ///
    /// # Errors
    ///
    /// `no-iproute2`, `privilege`, or what `ip` or the kernel says; nothing is left behind then.
    pub fn start() -> anyhow::Result<Self> {
        refuse_without_root()?;
        reservation::remove_leftovers();
        let reservation = Reservation::make()?;
        let [lan, edge, wan] = Role::ALL.map(|role| Namespace::named(reservation.namespace(role)));
        // From here on a failure drops the lab, and with it what has been made.
        let lab = Self { reservation, lan, edge, wan, kept: false };
        for namespace in [&lab.lan, &lab.edge, &lab.wan] {
            iproute::run(&["netns", "add", namespace.name()])?;
            topology::quieten(namespace)?;
        }
        topology::build(&lab.lan, &lab.edge, &lab.wan)?;
        mount_bpffs(&lab.bpffs())?;
        Ok(lab)
    }

    /// The LAN host, with the device `eth0`.
    #[must_use]
    pub const fn lan(&self) -> &Namespace {
        &self.lan
    }

    /// The edge router, with the devices `lan0` and `wan0`.
    #[must_use]
    pub const fn edge(&self) -> &Namespace {
        &self.edge
    }

    /// The WAN host, with the device `eth0`.
    #[must_use]
    pub const fn wan(&self) -> &Namespace {
        &self.wan
    }

    /// A folder of root's for what belongs to the lab; removed with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.reservation.folder()
    }

    /// Where the lab's bpf file system is mounted.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.reservation.bpffs()
    }

    /// Leaves the lab standing, and gives the commands that remove it.
    ///
    /// # Errors
    ///
    /// That the lab cannot be marked as kept; it is removed then.
    pub fn keep(mut self) -> anyhow::Result<Vec<String>> {
        self.reservation.mark_kept()?;
        self.kept = true;
        Ok(self.reservation.removal())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            self.reservation.remove();
        }
    }
}

fn refuse_without_root() -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("privilege", "only root can make network namespaces and mount a bpf file system")
        .hint("run it as root: sudo qosbpf demo")
        .into())
}

fn mount_bpffs(path: &Path) -> anyhow::Result<()> {
    fs::create_dir(path).with_context(|| path.display().to_string())?;
    mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), Some("mode=0755"))
        .with_context(|| format!("mount a bpf file system at {}", path.display()))
}

/// Lazily, because a command that is just ending may still hold a pin open.
fn unmount(path: &Path) {
    if let Err(error) = umount2(path, MntFlags::MNT_DETACH)
        && path.exists()
    {
        tracing::debug!(path = %path.display(), %error, "not unmounted");
    }
}
