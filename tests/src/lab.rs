//! A pair of interfaces in a network namespace of its own, and frames sent into one end of it.

use std::{
    fs, io,
    io::Write as _,
    mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    panic,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, ensure};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};

/// Bytes behind the link header; XDP in one piece takes 3,506 on a veth.
pub const MTU: usize = 3000;

/// The end that frames are sent into.
pub const NEAR: &str = "near";
/// The end that they come out of.
pub const FAR: &str = "far";

/// Does `work` in a network namespace that is gone afterwards.
///
/// # Errors
///
/// Those of `work`; or that this process may not make a namespace.
pub fn in_namespace<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own: these tests need root")?;
            work()
        });
        inside.join().unwrap_or_else(|failure| panic::resume_unwind(failure))
    })
}

/// Two ends of a cable on which nobody speaks but us: no ARP, and no IPv6.
///
/// # Errors
///
/// What ip(8) says.
pub fn cable() -> anyhow::Result<()> {
    disable_ipv6()?;
    ip(&format!(
        "link add {NEAR} mtu {MTU} type veth peer name {FAR} mtu {MTU}\n\
         link set {NEAR} arp off up\n\
         link set {FAR} arp off up\n"
    ))
}

/// Keeps IPv6 off interfaces that are made from now on in this namespace: neighbour discovery would be counted.
///
/// # Errors
///
/// The setting cannot be written.
pub fn disable_ipv6() -> anyhow::Result<()> {
    let setting = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    match fs::write(setting, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(setting),
        _ => Ok(()),
    }
}

/// Runs a batch of ip(8).
///
/// # Errors
///
/// What it says.
pub fn ip(batch: &str) -> anyhow::Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("ip")?;
    ip.stdin.take().context("stdin of ip")?.write_all(batch.as_bytes())?;
    let done = ip.wait_with_output()?;
    ensure!(done.status.success(), "ip {batch}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// The index of an interface.
///
/// # Errors
///
/// There is none of that name.
pub fn index(interface: &str) -> anyhow::Result<u32> {
    if_nametoindex(interface).with_context(|| interface.to_owned())
}

/// Sends whole frames out of an interface.
#[derive(Debug)]
pub struct Injector {
    socket: OwnedFd,
    to: libc::sockaddr_ll,
}

impl Injector {
    /// Opens a packet socket for an interface.
    ///
    /// # Errors
    ///
    /// What socket(2) says.
    pub fn open(interface: &str) -> anyhow::Result<Self> {
        // SAFETY: plain integers; with protocol 0 the socket receives nothing.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        ensure!(socket >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: a structure of integers, for which all zero is valid.
        let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = index(interface)? as i32;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self { socket: unsafe { OwnedFd::from_raw_fd(socket) }, to })
    }

    /// The same, for packets of an EtherType that the kernel could not guess.
    #[must_use]
    pub const fn of_type(mut self, ether_type: u16) -> Self {
        self.to.sll_protocol = ether_type.to_be();
        self
    }

    /// The same, past the queueing discipline and all that hangs on it.
    ///
    /// # Errors
    ///
    /// What setsockopt(2) says.
    pub fn past_the_qdisc(self) -> anyhow::Result<Self> {
        let on = 1_i32;
        // SAFETY: the option is an integer of the length named.
        let set = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                size_of_val(&on) as u32,
            )
        };
        ensure!(set == 0, "PACKET_QDISC_BYPASS: {}", io::Error::last_os_error());
        Ok(self)
    }

    /// Sends one frame.
    ///
    /// # Errors
    ///
    /// What sendto(2) says.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: frame and address are valid for the lengths named.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if usize::try_from(sent) == Ok(frame.len()) { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
