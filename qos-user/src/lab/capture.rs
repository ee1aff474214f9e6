//! What reaches a host of the lab, by a packet socket.

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt},
        time::TimeVal,
    },
};

use super::{frame::Arrival, namespace::Namespace, probe::PORT};

/// How soon a capture that is dropped ends.
const NAP: TimeVal = TimeVal::new(0, 50_000);
/// Room for thousands of probes while the reader does not get a CPU.
const BUFFER: usize = 16 << 20;
/// As long as an IP packet can be, with its link-layer header.
const LONGEST: usize = 1 << 16;

/// Collects the probes that arrive in a namespace, from when it is made until it is dropped.
#[derive(Debug)]
pub struct Capture {
    arrivals: mpsc::Receiver<io::Result<Arrival>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    /// Open, and never read: so the host does not answer a probe with an ICMP error.
    _sink: UdpSocket,
}

impl Capture {
    /// Begins; what is sent from now on is seen.
    ///
    /// # Errors
    ///
    /// That the kernel gives no socket.
    pub fn start(namespace: &Namespace) -> anyhow::Result<Self> {
        let (packets, sink) = namespace.run(|| Ok((packet_socket().context("packet socket")?, sink()?)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, arrivals) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let reader = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || while !stopped.load(Ordering::Relaxed) && forward_one(&packets, &sender) {})?;
        Ok(Self { arrivals, stop, reader: Some(reader), _sink: sink })
    }

    /// Takes what has arrived; waits until it is `count` datagrams, but no longer than `patience`.
    ///
    /// # Errors
    ///
    /// That the packet socket has failed.
    pub fn take(&self, count: usize, patience: Duration) -> anyhow::Result<Vec<Arrival>> {
        let deadline = Instant::now() + patience;
        let mut taken = Vec::new();
        while taken.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.arrivals.recv_timeout(left) {
                Ok(arrival) => taken.push(arrival.context("packet socket")?),
                Err(mpsc::RecvTimeoutError::Timeout) => break,
                Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("the capture has ended"),
            }
        }
        for arrival in self.arrivals.try_iter() {
            taken.push(arrival.context("packet socket")?);
        }
        Ok(taken)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _panicked = reader.join();
        }
    }
}

/// Every frame of the namespace in which this thread is.
fn packet_socket() -> nix::Result<OwnedFd> {
    let packets = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    setsockopt(&packets, sockopt::RcvBufForce, &BUFFER)?;
    setsockopt(&packets, sockopt::ReceiveTimeout, &NAP)?;
    Ok(packets)
}

/// Both families: Linux lets a socket bound to `::` receive IPv4 as well, unless told otherwise.
fn sink() -> anyhow::Result<UdpSocket> {
    UdpSocket::bind(("::", PORT)).with_context(|| format!("UDP port {PORT}"))
}

/// Waits for a frame; says whether to go on.
fn forward_one(packets: &OwnedFd, sender: &mpsc::Sender<io::Result<Arrival>>) -> bool {
    let mut frame = [0; LONGEST];
    match recvfrom::<LinkAddr>(packets.as_raw_fd(), &mut frame) {
        Ok((_, Some(from))) if from.pkttype() == libc::PACKET_OUTGOING => true,
        Ok((length, _)) => frame.get(..length).and_then(Arrival::read).is_none_or(|seen| sender.send(Ok(seen)).is_ok()),
        Err(Errno::EAGAIN | Errno::EINTR) => true,
        Err(error) => {
            let _nobody_listens = sender.send(Err(error.into()));
            false
        }
    }
}
