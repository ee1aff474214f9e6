//! The filter texts of `qosbpf dscp`, given to the tools they are for.
//!
//! tc flower, Wireshark, Cisco and Junos are not here: they need modules and machines that a test host has not.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use qos_common::ds::Dscp;
use qosbpf::render::dscp::filters::{Filters, filters};

fn all() -> impl Iterator<Item = (Dscp, Filters)> {
    Dscp::all().map(|dscp| (dscp, filters(dscp)))
}

/// What a command prints, given `input`; `package` is what to install if it is not there.
fn output(package: &str, command: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; it is in the package {package}", command[0]));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} (package {package}): {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same in a network namespace of its own, which is gone afterwards; without root in a user namespace.
fn isolated(package: &str, command: &[&str], input: &[u8]) -> String {
    let namespace = if nix::unistd::geteuid().is_root() { "-n" } else { "-rn" };
    let found = Command::new("sh").args(["-c", &format!("command -v {}", command[0])]).output().unwrap();
    assert!(found.status.success(), "{} is not here; it is in the package {package}", command[0]);
    output("util-linux", &[&["unshare", namespace], command].concat(), input)
}

/// A capture of 256 Ethernet frames, one a DS byte.
fn capture(frame: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let mut pcap = Vec::new();
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1];
    header.iter().for_each(|word| pcap.extend(word.to_ne_bytes()));
    for ds in 0..=u8::MAX {
        let frame = frame(ds);
        let length = u32::try_from(frame.len()).unwrap();
        [0, 0, length, length].iter().for_each(|word| pcap.extend(word.to_ne_bytes()));
        pcap.extend(frame);
    }
    pcap
}

fn ipv4(ds: u8) -> Vec<u8> {
    let mut frame = [&[0; 12][..], &[0x08, 0x00, 0x45, ds, 0, 20, 0, 0, 0, 0, 64, 59]].concat();
    frame.resize(60, 0);
    frame
}

fn ipv6(ds: u8) -> Vec<u8> {
    // The flow label is all ones: a filter that takes it for the traffic class would match too much.
    let words = [0x60 | ds >> 4, ds << 4 | 0x0f, 0xff, 0xff, 0, 0, 59, 64];
    let mut frame = [&[0; 12][..], &[0x86, 0xdd], &words].concat();
    frame.resize(60, 0);
    frame
}

#[test]
fn tcpdump_compiles_the_filters() {
    for (_, filter) in all() {
        for text in [filter.tcpdump, filter.tcpdump_ipv6] {
            let program = output("tcpdump", &["tcpdump", "-y", "EN10MB", "-d", &text], &[]);
            assert!(program.contains("jeq"), "{text}: {program}");
        }
    }
}

#[test]
fn tcpdump_matches_the_codepoint_with_each_ecn_and_nothing_else() {
    let (v4, v6) = (capture(ipv4), capture(ipv6));
    for (dscp, filter) in all() {
        let first = dscp.value() << 2;
        let each = [first, first + 1, first + 2, first + 3];
        assert_eq!(matched(&filter.tcpdump, &v4, 2), each, "{dscp:?}");
        assert_eq!(matched(&filter.tcpdump_ipv6, &v6, 1), each, "{dscp:?}");
        assert_eq!(matched(&filter.tcpdump, &v6, 2), [0_u8; 0], "{dscp:?}");
        assert_eq!(matched(&filter.tcpdump_ipv6, &v4, 1), [0_u8; 0], "{dscp:?}");
    }
}

/// The DS bytes of the packets that a filter lets through; the byte begins at a hexadecimal digit of the IP header.
fn matched(filter: &str, pcap: &[u8], digit: usize) -> Vec<u8> {
    let dump = output("tcpdump", &["tcpdump", "-nt", "-x", "-r", "-", filter], pcap);
    let headers = dump.lines().filter_map(|line| line.trim().strip_prefix("0x0000:  "));
    headers.map(|hex| u8::from_str_radix(&hex[digit..digit + 2], 16).unwrap()).collect()
}

#[test]
fn nft_means_the_same_codepoint() {
    for (dscp, filter) in all() {
        let rules = format!("table inet t {{\n chain c {{\n {}\n {}\n }}\n}}\n", filter.nft, filter.nft_ipv6);
        let code = isolated("nftables", &["nft", "-c", "--debug=netlink", "-f", "-"], rules.as_bytes());
        // IPv4: the byte. IPv6: two bytes as a little-endian number, of which the byte is bits 4 to 11.
        let tos = u16::from(dscp.value()) << 2;
        let v4 = format!("[ bitwise reg 1 = ( reg 1 & 0x000000fc ) ^ 0x00000000 ]\n  [ cmp eq reg 1 {tos:#010x} ]");
        assert!(code.contains(&v4), "{dscp:?}: {code}");
        let swapped = (tos << 4).swap_bytes();
        let v6 = format!("[ bitwise reg 1 = ( reg 1 & 0x0000c00f ) ^ 0x00000000 ]\n  [ cmp eq reg 1 {swapped:#010x} ]");
        assert!(code.contains(&v6), "{dscp:?}: {code}");
    }
}

#[test]
fn iptables_means_the_same_codepoint() {
    let rules: String = all().map(|(_, filter)| format!("-A OUTPUT {}\n", filter.iptables)).collect();
    let rules = format!("*filter\n{rules}COMMIT\n");
    for tool in ["iptables", "ip6tables"] {
        let script = format!("{tool}-restore && {tool}-save");
        output("iptables", &["sh", "-c", &format!("command -v {tool}-restore")], &[]);
        let saved = isolated("iptables", &["sh", "-c", &script], rules.as_bytes());
        let read: Vec<&str> = saved.lines().filter_map(|line| line.strip_prefix("-A OUTPUT ")).collect();
        let meant: Vec<String> = Dscp::all().map(|dscp| format!("-m dscp --dscp {:#04x}", dscp.value())).collect();
        assert_eq!(read, meant, "{tool}");
    }
}

#[test]
fn tc_u32_means_the_same_codepoint() {
    let mut commands = "qdisc add dev lo clsact\n".to_owned();
    for (dscp, filter) in all() {
        let add = "filter add dev lo egress protocol";
        let priority = u16::from(dscp.value()) + 1;
        commands.push_str(&format!("{add} ip pref {priority} u32 {} classid 1:1\n", filter.tc_u32));
        commands.push_str(&format!("{add} ipv6 pref {} u32 {} classid 1:1\n", priority + 64, filter.tc_u32_ipv6));
    }
    let script = "tc -batch - && tc filter show dev lo egress";
    output("iproute2", &["sh", "-c", "command -v tc"], &[]);
    let shown = isolated("iproute2", &["sh", "-c", script], commands.as_bytes());
    let read: Vec<&str> = shown.lines().filter_map(|line| line.trim().strip_prefix("match ")).collect();
    let tos = |dscp: Dscp| u32::from(dscp.value()) << 2;
    let v4 = Dscp::all().map(|dscp| format!("{:08x}/00fc0000 at 0", tos(dscp) << 16));
    let v6 = Dscp::all().map(|dscp| format!("{:08x}/0fc00000 at 0", tos(dscp) << 20));
    assert_eq!(read, v4.chain(v6).collect::<Vec<_>>());
}

#[test]
fn ping_takes_the_tos() {
    for (dscp, filter) in all() {
        let command = filter.ping.replace("HOST", "127.0.0.1 -c 1 -W 1 -i 0.2");
        let script = format!("ip link set lo up && {command}");
        output("iputils-ping", &["sh", "-c", "command -v ping"], &[]);
        let answer = isolated("iputils-ping", &["sh", "-c", &script], &[]);
        assert!(answer.contains("1 received"), "{dscp:?}: {answer}");
    }
}
