//! What other tools say of packet filters and queueing disciplines. They are started as an operator would start them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        socket::SockProtocol,
    },
    unistd::Pid,
};

use super::super::{network::Network, raw_netlink};
use crate::{
    diagnosis::{
        facts::Asked,
        outside::Outside,
        tc::{self, Traffic},
    },
    netdev::Netdev,
};

/// How long a tool may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where tools of root's are, which others often do not have in their path.
const SYSTEM: &str = "/usr/sbin:/sbin:/usr/local/sbin";

/// Tables that the older iptables has; there is none where the file is empty or missing.
const LEGACY_TABLES: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETTABLE`.
const GET_TABLES: u16 = 10 << 8 | 1;

const NOT_INSTALLED: &str = "not installed";

/// Asks the packet filters.
#[must_use]
pub fn outside() -> Outside {
    let json = nft(&["-j", "-a", "list", "ruleset"]);
    let saved = saved(json.as_ref().is_ok_and(|json| json.contains("\"xt\"")));
    let text = json.as_ref().ok().and_then(|_| run("nft", &["-a", "list", "ruleset"]).ok()).unwrap_or_default();
    Outside::read(json.map(|json| (json, text)), saved)
}

/// Without the tool the kernel can still say that there is nothing to list.
fn nft(arguments: &[&str]) -> Asked<String> {
    match run("nft", arguments) {
        Err(why) if why == NOT_INSTALLED && has_no_tables() => Ok(r#"{"nftables":[]}"#.to_owned()),
        answer => answer,
    }
}

fn has_no_tables() -> bool {
    let any_family = [0, 0, 0, 0];
    raw_netlink::dump(SockProtocol::NetlinkNetFilter, GET_TABLES, &any_family).is_ok_and(|tables| tables.is_empty())
}

/// What the variants of iptables have saved; `in_nft`: nft lists rules that only iptables can read.
fn saved(in_nft: bool) -> Vec<(String, Asked<String>)> {
    let programs = [("iptables", LEGACY_TABLES[0]), ("ip6tables", LEGACY_TABLES[1])];
    programs.into_iter().flat_map(|(program, tables)| of_family(program, tables, in_nft)).collect()
}

fn of_family(program: &str, tables: &str, in_nft: bool) -> Vec<(String, Asked<String>)> {
    let legacy = fs::read_to_string(tables).is_ok_and(|names| !names.trim().is_empty());
    let name = format!("{program}-save");
    let said = run(&name, &[]);
    let is_nft = said.as_ref().is_ok_and(|text| text.contains("(nf_tables)"));
    let mut all = vec![(name, said)];
    if legacy && is_nft {
        let name = format!("{program}-legacy-save");
        all.push((name.clone(), run(&name, &[])));
    }
    // Where there is nothing to list, nobody misses the tool.
    all.retain(|(_, said)| legacy || in_nft || said.as_ref().err().is_none_or(|why| why != NOT_INSTALLED));
    all
}

/// What tc says of each interface, by index.
pub fn traffic(net: &Network, devices: &[Netdev]) -> BTreeMap<u32, Traffic> {
    let qdiscs = run("tc", &["-j", "qdisc", "show"]);
    devices.iter().map(|device| (device.ifindex, of_device(net, device, &qdiscs))).collect()
}

fn of_device(net: &Network, device: &Netdev, qdiscs: &Asked<String>) -> Traffic {
    let Ok(there) = net.queueing(device.ifindex) else { return Traffic::default() };
    let read = || {
        let washes = if there.may_wash { tc::washes(qdiscs.as_ref()?, &device.name)? } else { Vec::new() };
        let mut traffic = Traffic { washes, ..Traffic::default() };
        for place in &there.places {
            let words = place.words();
            let show =
                ["-j", "filter", "show", "dev", &device.name].into_iter().chain(words.iter().map(String::as_str));
            traffic.add(tc::filters(&run("tc", &show.collect::<Vec<_>>())?, place)?);
        }
        Ok::<_, String>(traffic)
    };
    let traffic = read().unwrap_or_else(|why| Traffic { unknown: Some(why), ..Traffic::default() });
    Traffic { ingress: there.ingress, ..traffic }
}

/// Runs a tool to its end.
fn run(program: &str, arguments: &[&str]) -> Asked<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", search_path(env::var_os("PATH"))).env("LC_ALL", "C");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NOT_INSTALLED.to_owned(),
        _ => error.to_string(),
    })?;
    let id = Pid::from_raw(child.id() as i32);
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    match receive.recv_timeout(PATIENCE) {
        Ok(output) => said(&output.map_err(|error| error.to_string())?),
        Err(_silent) => {
            let _ended_meanwhile = kill(id, Signal::SIGKILL);
            Err(format!("no answer in {} s", PATIENCE.as_secs()))
        }
    }
}

/// Whether a tool is where `run` looks for it.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    env::split_paths(&search_path(env::var_os("PATH"))).any(|folder| folder.join(program).is_file())
}

/// An empty part would mean the folder that somebody happens to be in.
fn search_path(path: Option<OsString>) -> OsString {
    let path = path.unwrap_or_default();
    let parts = path.as_bytes().split(|byte| *byte == b':').chain([SYSTEM.as_bytes()]);
    let parts: Vec<_> = parts.filter(|part| part.starts_with(b"/")).collect();
    OsString::from_vec(parts.join(&b':'))
}

fn said(output: &Output) -> Asked<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().find(|line| !line.trim().is_empty());
    Err(first.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tool_is_taken_from_the_current_folder() {
        let path = |path: Option<&str>| search_path(path.map(OsString::from)).into_string().unwrap();
        assert_eq!(path(None), SYSTEM);
        assert_eq!(path(Some("")), SYSTEM);
        assert_eq!(path(Some(":/usr/bin::/bin:.:bin:")), format!("/usr/bin:/bin:{SYSTEM}"));
    }

    #[test]
    fn a_tool_that_is_missing_or_fails_is_said() {
        assert_eq!(run("qosbpf-no-such-tool", &[]), Err(NOT_INSTALLED.to_owned()));
        assert_eq!(run("sh", &["-c", "echo no >&2; exit 1"]), Err("no".to_owned()));
        assert_eq!(run("sh", &["-c", "exit 3"]), Err("exit status: 3".to_owned()));
        assert!(is_installed("sh") && !is_installed("qosbpf-no-such-tool"));
        assert_eq!(run("echo", &["yes"]), Ok("yes\n".to_owned()));
    }
}
