//! A device that may go to another network namespace, and what comes to the other end of its cable.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use qos_common::ds::DsField;
use qosbpf::lab::{
    capture::Capture,
    namespace::Namespace,
    probe::{PORT, Probe, send},
};

use crate::{
    flow::EF,
    router::{Router, run_in, wait_until_up},
};

const NEAR: &str = "dyn0";
const FAR: [u8; 4] = [10, 77, 0, 2];
const DATAGRAMS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// The LAN host's end of `dyn0`.
#[derive(Debug)]
pub struct FarEnd<'a>(&'a Namespace);

impl<'a> FarEnd<'a> {
    /// Makes both: `dyn0` is at the router.
    ///
    /// # Errors
    ///
    /// What ip(8) says.
    pub fn of(router: &'a Router) -> anyhow::Result<Self> {
        let far = router.lab().lan();
        run_in(router.edge(), &format!("ip link add {NEAR} type veth peer name far0 netns {}", far.name()))?;
        run_in(far, "ip address add 10.77.0.2/24 dev far0")?;
        run_in(far, "ip link set far0 up")?;
        Ok(Self(far))
    }

    /// What EF becomes on the way, sent from where `dyn0` is now.
    ///
    /// # Errors
    ///
    /// What ip(8) says; that not all arrive, or with several marks.
    pub fn mark_of_ef(&self, from: &Namespace) -> anyhow::Result<u8> {
        // A device has none any more where it comes to.
        run_in(from, &format!("ip address replace 10.77.0.1/24 dev {NEAR}"))?;
        run_in(from, &format!("ip link set {NEAR} up"))?;
        wait_until_up(&[(from, NEAR), (self.0, "far0")])?;
        let capture = Capture::start(self.0)?;
        let (to, ds, pace) = (SocketAddr::from((FAR, PORT)), DsField::new(EF), Duration::from_millis(1));
        send(from, &[Probe { to, ds, id: 1, count: DATAGRAMS, pace }])?;
        let arrived = capture.take(DATAGRAMS as usize, PATIENCE)?;
        let marks: BTreeSet<u8> = arrived.iter().map(|arrival| arrival.ds.dscp().value()).collect();
        ensure!(arrived.len() == DATAGRAMS as usize && marks.len() == 1, "{arrived:?}");
        marks.first().copied().context("a mark")
    }
}
