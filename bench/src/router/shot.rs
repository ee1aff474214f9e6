//! A burst of packets through the router, and what arrived.

use anyhow::{Context as _, bail};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{Program, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions},
};
use nix::net::if_::if_nametoindex;
use qos_common::ds::Dscp;
use qos_vectors::{
    checksum,
    frame::{Ipv4, Ipv6, ether_type, ethernet, udp},
};
use qosbpf::lab::{
    Lab,
    topology::{EDGE_LAN, LAN_HOST, WAN_HOST},
};

use super::job::Spec;
use crate::{
    compile::{Objects, Traffic},
    cpu::{self, SoftIrq},
};

/// Frames that the kernel prepares at a time.
const BATCH: u32 = 64;
/// Bytes of a frame without FCS: the least there is, and room for the headers of both families.
const FRAME: usize = 64;
/// Words of the map ARRIVED: by codepoint, and bad checksums.
const ARRIVED: usize = Dscp::COUNT + 1;

/// What became of a burst.
#[derive(Clone, Debug)]
pub struct Shot {
    /// Packets sent.
    pub sent: u64,
    /// Packets that arrived, by codepoint.
    pub by_dscp: [u64; Dscp::COUNT],
    /// Of these with a wrong IPv4 header checksum.
    pub bad_checksum: u64,
    /// CPU time of all of it.
    pub cpu_ns: f64,
}

/// The generator in the LAN, and the sink at the WAN host; they are removed when this is dropped.
#[derive(Debug)]
pub struct Range {
    generator: Ebpf,
    sink: Ebpf,
    softirq: SoftIrq,
}

impl Range {
    /// Loads both. The calling thread is in the LAN host's namespace, and stays on `cpu`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new(lab: &Lab, objects: &Objects, job: &Spec, cpu: usize) -> anyhow::Result<Self> {
        let ifindex = if_nametoindex(LAN_HOST.device)?;
        let traffic = Traffic { ifindex, cycle: job.cycle, ipv6: job.ipv6, headers: headers(job.ipv6)? };
        let mut generator = objects.traffic(&traffic)?;
        let Some(Program::Xdp(xdp)) = generator.program_mut("generate") else { bail!("no generator") };
        xdp.load()?;
        let mut sink = objects.traffic(&traffic)?;
        lab.wan().run(|| {
            let Some(Program::SchedClassifier(tc)) = sink.program_mut("sink") else { bail!("no sink") };
            tc.load()?;
            // An error means that it is there; a missing one shows when attaching.
            let _there = aya::programs::tc::qdisc_add_clsact(WAN_HOST.device);
            tc.attach(WAN_HOST.device, TcAttachType::Ingress)?;
            Ok(())
        })?;
        Ok(Self { generator, sink, softirq: SoftIrq::of(cpu)? })
    }

    /// Sends this many packets.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn shoot(&mut self, packets: u32) -> anyhow::Result<Shot> {
        map::<1>(&mut self.generator, "SENT")?.set(0, [0], 0)?;
        map::<ARRIVED>(&mut self.sink, "ARRIVED")?.set(0, [0; ARRIVED], 0)?;
        let Some(Program::Xdp(xdp)) = self.generator.program("generate") else { bail!("no generator") };
        let ((), cpu_ns) = cpu::price(&self.softirq, || {
            let attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
            let options =
                TestRunOptions { data_in: Some(&[0; FRAME]), repeat: packets, attrs, ..TestRunOptions::default() };
            xdp.test_run(options).context("live frames (Linux 5.18)").map(drop)
        })?;
        let [sent] = map::<1>(&mut self.generator, "SENT")?.get(&0, 0)?;
        let arrived = map::<ARRIVED>(&mut self.sink, "ARRIVED")?.get(&0, 0)?;
        let mut by_dscp = [0; Dscp::COUNT];
        by_dscp.copy_from_slice(&arrived[..Dscp::COUNT]);
        Ok(Shot { sent, by_dscp, bad_checksum: arrived[Dscp::COUNT], cpu_ns })
    }
}

fn map<'a, const WORDS: usize>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<Array<&'a mut MapData, [u64; WORDS]>> {
    Ok(ebpf.map_mut(name).with_context(|| format!("no map {name}"))?.try_into()?)
}

/// Ethernet, IP and UDP header from the LAN host to the WAN host, by the router.
fn headers(ipv6: bool) -> anyhow::Result<[u8; 64]> {
    let family = if ipv6 { ether_type::IPV6 } else { ether_type::IPV4 };
    let mut packet = if ipv6 {
        Ipv6::default().packet(&udp(&[0; FRAME - 14 - 40 - 8]))
    } else {
        Ipv4::default().packet(&udp(&[0; FRAME - 14 - 20 - 8]))
    };
    if ipv6 {
        packet[8..24].copy_from_slice(&LAN_HOST.v6.octets());
        packet[24..40].copy_from_slice(&WAN_HOST.v6.octets());
    } else {
        packet[12..16].copy_from_slice(&LAN_HOST.v4.octets());
        packet[16..20].copy_from_slice(&WAN_HOST.v4.octets());
        let check = checksum::of_ipv4_header(&packet[..20]);
        packet[10..12].copy_from_slice(&check);
    }
    let mut frame = ethernet(&[], family, &packet);
    frame[..6].copy_from_slice(&mac(EDGE_LAN.mac)?);
    frame[6..12].copy_from_slice(&mac(LAN_HOST.mac)?);
    frame.try_into().map_err(|frame: Vec<u8>| anyhow::anyhow!("a frame of {} bytes", frame.len()))
}

fn mac(text: &str) -> anyhow::Result<[u8; 6]> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<_>, _>>()?;
    bytes.try_into().map_err(|bytes: Vec<u8>| anyhow::anyhow!("a MAC address of {} bytes: {text}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_whole() {
        let v4 = headers(false).unwrap();
        assert_eq!(checksum::of_ipv4_header(&v4[14..34]), [v4[24], v4[25]]);
        assert_eq!(v4[30..34], WAN_HOST.v4.octets());
        let v6 = headers(true).unwrap();
        assert_eq!(v6[38..54], WAN_HOST.v6.octets());
    }
}
