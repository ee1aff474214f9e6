//! Marked traffic through the router while something happens to it, and which of it was lost.
//!
//! Each datagram has a number. What goes missing between the numbers at which a fault began and ended is the fault's own
//! doing, as of a cable that is pulled out; what goes missing at any other time is lost beyond it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use qos_common::{ds::DsField, locate::Family};
use qosbpf::lab::{
    capture::Capture,
    frame::Arrival,
    namespace::Namespace,
    probe::{Probe, send},
    topology::WAN_HOST,
};

use crate::router::Router;

/// Expedited forwarding.
pub const EF: u8 = 46 << 2;

/// Datagrams that are sent in one go; a fault begins and ends between two of them.
const BURST: u32 = 10;
const PACE: Duration = Duration::from_micros(500);
/// For how long nothing may arrive behind the last one until what has not is lost.
const QUIET: Duration = Duration::from_millis(400);
/// The same as long as the last one has not: a machine that does ten other things is late.
const LATE: Duration = Duration::from_secs(5);

/// EF from the LAN host to the WAN host, without end.
#[derive(Debug)]
pub struct Flow {
    capture: Capture,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    sender: Option<JoinHandle<()>>,
    faults: Vec<Range<u32>>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Datagrams that the LAN host sent, or tried to send.
    pub sent: u32,
    /// Those that came to the WAN host, by their codepoint there.
    pub marks: BTreeMap<u8, u32>,
    /// Lost while a fault was on.
    pub within: u32,
    /// Lost at any other time.
    pub beyond: u32,
    /// How many times in succession something was lost, faults included: what is lost between two bursts that arrived.
    pub outages: u32,
}

impl Flow {
    /// Begins.
    ///
    /// # Errors
    ///
    /// That the kernel gives no socket.
    pub fn start(router: &Router) -> anyhow::Result<Self> {
        let capture = Capture::start(router.lab().wan())?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let sender = {
            let (lan, stop, sent) = (router.lab().lan().clone(), Arc::clone(&stop), Arc::clone(&sent));
            thread::Builder::new().name("flow".to_owned()).spawn(move || send_until(&lan, &stop, &sent))?
        };
        Ok(Self { capture, stop, sent, sender: Some(sender), faults: Vec::new() })
    }

    /// Waits until this many more have been sent.
    ///
    /// # Errors
    ///
    /// That nothing is sent any more.
    pub fn pass(&self, more: u32) -> anyhow::Result<()> {
        let (start, until) = (Instant::now(), self.sent.load(Ordering::SeqCst) + more);
        while self.sent.load(Ordering::SeqCst) < until {
            ensure!(start.elapsed() < Duration::from_secs(60), "the flow has ended by itself");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Does something that takes traffic with it by its nature.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub fn during<T>(&mut self, fault: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let begin = self.sent.load(Ordering::SeqCst);
        let done = fault();
        // The burst under way, and the one that may have begun since.
        let end = self.sent.load(Ordering::SeqCst) + 2 * BURST;
        self.faults.push(begin..end);
        done
    }

    /// Makes one fault of all, with what was between them.
    pub fn join_faults(&mut self) {
        let Some(end) = self.faults.last().map(|fault| fault.end) else { return };
        self.faults.truncate(1);
        if let Some(fault) = self.faults.first_mut() {
            fault.end = end;
        }
    }

    /// Ends, and says what became of it.
    ///
    /// # Errors
    ///
    /// That a datagram came twice, or with a wrong checksum.
    pub fn end(mut self) -> anyhow::Result<Outcome> {
        self.stop.store(true, Ordering::SeqCst);
        let sender = self.sender.take().context("a sender")?;
        sender.join().map_err(|_panic| anyhow::anyhow!("the sender has panicked"))?;
        let sent = self.sent.load(Ordering::SeqCst);
        let arrivals = self.arrivals(sent as usize)?;
        let mut outcome = Outcome { sent, ..Outcome::default() };
        let mut arrived = BTreeSet::new();
        for arrival in arrivals {
            let number = number(&arrival);
            ensure!(arrived.insert(number), "number {number} came twice");
            ensure!(arrival.header_checksum == Some(true) && arrival.udp_checksum, "a wrong checksum: {arrival:?}");
            *outcome.marks.entry(arrival.ds.dscp().value()).or_default() += 1;
        }
        let mut before = None::<u32>;
        for missing in (0..sent).filter(|number| !arrived.contains(number)) {
            let during = self.faults.iter().any(|fault| fault.contains(&missing));
            *(if during { &mut outcome.within } else { &mut outcome.beyond }) += 1;
            outcome.outages += u32::from(before.is_none_or(|before| missing - before > 2 * BURST));
            before = Some(missing);
        }
        Ok(outcome)
    }

    fn arrivals(&self, count: usize) -> anyhow::Result<Vec<Arrival>> {
        let (mut arrivals, mut heard) = (self.capture.take(count, QUIET)?, Instant::now());
        let is_last = |arrival: &Arrival| number(arrival) as usize + 1 == count;
        while arrivals.len() < count {
            let more = self.capture.take(count - arrivals.len(), QUIET)?;
            if !more.is_empty() {
                heard = Instant::now();
            } else if heard.elapsed() >= LATE || arrivals.iter().any(is_last) {
                break;
            }
            arrivals.extend(more);
        }
        Ok(arrivals)
    }
}

const fn number(arrival: &Arrival) -> u32 {
    arrival.label.id + arrival.label.sequence
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(sender) = self.sender.take() {
            let _panicked = sender.join();
        }
    }
}

impl Outcome {
    /// Those that came to the WAN host.
    #[must_use]
    pub fn arrived(&self) -> u32 {
        self.marks.values().sum()
    }
}

/// What cannot be sent, as where the interface is gone, is lost.
fn send_until(lan: &Namespace, stop: &AtomicBool, sent: &AtomicU32) {
    while !stop.load(Ordering::SeqCst) {
        let first = sent.load(Ordering::SeqCst);
        let probe = Probe::new(&WAN_HOST, Family::V4, DsField::new(EF), first);
        if send(lan, &[Probe { count: BURST, pace: PACE, ..probe }]).is_err() {
            thread::sleep(PACE * BURST);
        }
        sent.fetch_add(BURST, Ordering::SeqCst);
    }
}
