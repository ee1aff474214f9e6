//! Ways by which packets pass a device and not our hook. Which one it was, the device's count does not say.

use super::{Command, Cure, Detail, Finding, facts::Port, programs};
use crate::hook::Direction;

impl Finding {
    /// The same with the ways by which packets may have passed a hook: programs in front of it by name, and the rest by kind.
    #[must_use]
    pub(super) fn with_ways(self, port: Option<&Port>, interface: &str, direction: Direction) -> Self {
        let in_front = port.into_iter().flat_map(|port| {
            let before = programs::beside(port, direction, true);
            before.map(move |program| suspect(programs::suspect(port, program)))
        });
        let ways = ways(direction).into_iter().map(|way| Detail::from(format!("perhaps {way}")));
        let details: Vec<_> = in_front.chain(ways).collect();
        self.details(details).cure(Cure::look(look(interface, direction)))
    }
}

fn suspect(program: Detail) -> Detail {
    Detail { text: format!("{} is in front of us, and may take packets or end the list", program.text), ..program }
}

const OFFLOADED: &str =
    "flows that the device forwards by itself (nft flowtables with flags offload, filters of tc in hardware)";

const fn ways(direction: Direction) -> [&'static str; 3] {
    match direction {
        Direction::Ingress => [
            "programs in front of us: XDP that drops, answers or redirects, also to AF_XDP sockets; TC that ends the list",
            "what the driver drops or takes after it has counted it",
            OFFLOADED,
        ],
        Direction::Egress => [
            "sockets that send past the qdisc: packet sockets with PACKET_QDISC_BYPASS, AF_XDP",
            "programs: XDP that sends (XDP_TX, XDP_REDIRECT) from here or elsewhere; TC in front of us that ends the list",
            OFFLOADED,
        ],
    }
}

/// Who has such a socket, or which programs there are.
fn look(interface: &str, direction: Direction) -> Command {
    match direction {
        Direction::Ingress => Command::new("bpftool net show dev").word(interface),
        Direction::Egress => Command::new("ss --packet --xdp --processes"),
    }
}
