//! The page of one codepoint, and the table of all.

use qos_common::ds::{Dscp, Ecn};

use super::{Asked, facts, filters::filters};
use crate::render::{
    Look,
    screen::{Columns, Screen, WIDTH},
    text::{mark, width},
};

/// Where the right-hand half of a line begins.
const HALF: usize = 45;

/// Everything about one codepoint.
#[must_use]
pub fn page(asked: Asked<'_>, look: &Look) -> String {
    let mut screen = Screen::default();
    if let Some(other) = asked.as_tos {
        let number = asked.dscp.value();
        screen.line(&format!(
            "{number} as DSCP is {}; as ToS byte it is {}; write tos={number} to mean that",
            asked.dscp.name().map_or_else(|| format!("{number} (no name)"), str::to_owned),
            mark(other),
        ));
        screen.blank();
    }
    meaning(&mut screen, asked);
    notations(&mut screen, asked);
    ways_to_match(&mut screen, asked.dscp);
    residues(&mut screen, asked.dscp);
    screen.finish(look)
}

fn meaning(screen: &mut Screen, asked: Asked<'_>) {
    let dscp = asked.dscp;
    let (pool, how) = facts::pool(dscp);
    let title = match facts::behavior(dscp) {
        Some((behavior, rfc)) => format!("{dscp}  {behavior} ({rfc})"),
        None => format!("{dscp}  not assigned (pool {pool}: {how})"),
    };
    let known = facts::service_class(dscp).map(|class| format!("RFC 4594: {class}")).unwrap_or_default();
    let here = asked.class.map(|class| format!("class here: {class}"));
    let both = here.as_ref().map(|here| halves(&title, format!("{here}   {known}").trim_end()));
    match both.filter(|line| width(line) <= WIDTH) {
        Some(line) => screen.heading(&line),
        None => {
            screen.heading(&halves(&title, &known));
            here.iter().for_each(|here| screen.line(here));
        }
    }
    if let Some(byte) = asked.tos {
        let (ecn, name) = facts::ECN[usize::from(byte.ecn() as u8)];
        if ecn != Ecn::NotEct {
            screen.line(&format!("the byte {} is this codepoint with {name}", byte.bits()));
        }
    }
}

fn notations(screen: &mut Screen, asked: Asked<'_>) {
    let (dscp, value) = (asked.dscp, asked.dscp.value());
    let tos = facts::tos(dscp, Ecn::NotEct);
    let words = facts::rfc1349(tos);
    let words = if words.is_empty() { "normal service".to_owned() } else { words.join(", ") };
    screen.line(&halves(
        &format!("DSCP {value:>3}   {value:#04x}   {value:06b}"),
        &format!("IP precedence {} {}", facts::precedence(dscp), facts::precedence_name(dscp)),
    ));
    screen.line(&halves(&format!("ToS  {tos:>3}   {tos:#04x}   {tos:08b}"), &format!("RFC 1349: {words}")));
    let with = facts::ECN.into_iter().skip(1).map(|(ecn, name)| {
        let tos = facts::tos(dscp, ecn);
        format!("{name} {tos} {tos:#04x}")
    });
    let with = with.collect::<Vec<_>>().join("   ");
    screen.line(&format!("with ECN   {with}   802.1D/Wi-Fi UP {}", facts::user_priority(dscp)));
}

fn ways_to_match(screen: &mut Screen, dscp: Dscp) {
    let f = filters(dscp);
    let rows = [
        ("ping", f.ping, format!("Windows: {} (often ignored)", f.ping_windows)),
        ("tcpdump", format!("'{}'", f.tcpdump), format!("IPv6: '{}'", f.tcpdump_ipv6)),
        ("Wireshark", f.wireshark, f.wireshark_ipv6),
        ("nft", f.nft, f.nft_ipv6),
        ("iptables", f.iptables, "ip6tables the same".to_owned()),
        ("tc u32", f.tc_u32, f.tc_u32_ipv6),
        ("tc flower", f.tc_flower, "with protocol ip or ipv6".to_owned()),
        ("Cisco", f.cisco, format!("extended ping ToS: {}   NetFlow verbose: {}", f.cisco_ping, f.cisco_netflow)),
        ("Junos", f.junos, String::new()),
    ];
    for (tool, first, second) in rows {
        screen.line(&halves(&format!("{tool:<12}{first}"), &second));
    }
}

/// What is left of it on the way, and what it may be the rest of.
fn residues(screen: &mut Screen, dscp: Dscp) {
    let residues = facts::residues(dscp);
    screen.line(&format!(
        "RFC 9435    leaves {} (Bleach-ToS-Precedence), {} (Bleach-low), 0 (Bleach-DSCP)",
        residues.bleach_tos_precedence, residues.bleach_low
    ));
    let origins: Vec<_> = facts::residue_of(dscp).iter().map(Dscp::to_string).collect();
    if !origins.is_empty() {
        screen.line(&format!("            may be what Bleach-ToS-Precedence left of {}", origins.join(", ")));
    }
    if dscp.value() == 54 {
        screen.line("            Linux sends ICMP errors about EF packets like this (ToS | 0xc0)");
    }
}

fn halves(left: &str, right: &str) -> String {
    if right.is_empty() { left.to_owned() } else { format!("{left:<HALF$}{}{right}", gap(left)) }
}

/// Two halves never run together.
fn gap(left: &str) -> &'static str {
    if left.len() >= HALF { "  " } else { "" }
}

/// All 64, those with a name marked by `*`.
#[must_use]
pub fn table(look: &Look) -> String {
    let headings =
        ["", "NAME", ">DSCP", ">HEX", "BINARY", ">ToS", ">HEX", ">PREC", ">UP", "RFC", "SERVICE CLASS (RFC 4594)"];
    let mut columns = Columns::new(&headings);
    for dscp in Dscp::all() {
        let tos = facts::tos(dscp, Ecn::NotEct);
        columns.row(vec![
            dscp.name().map_or("", |_| "*").to_owned(),
            dscp.name().unwrap_or("-").to_owned(),
            dscp.value().to_string(),
            format!("{:#04x}", dscp.value()),
            format!("{:06b}", dscp.value()),
            tos.to_string(),
            format!("{tos:#04x}"),
            facts::precedence(dscp).to_string(),
            facts::user_priority(dscp).to_string(),
            facts::behavior(dscp).map_or("", |(_, rfc)| rfc).to_owned(),
            facts::service_class(dscp).unwrap_or_default().to_owned(),
        ]);
    }
    let mut screen = Screen::default();
    screen.table(&columns);
    screen.blank();
    screen.footnote(look, "* = named by IANA.  PREC = IP precedence.  UP = 802.1D and Wi-Fi user priority (RFC 8325).");
    screen.footnote(look, "One in full, with the filter text of each tool: qosbpf dscp EF");
    screen.finish(look)
}
