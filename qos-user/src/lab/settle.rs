//! Waiting until the devices run and the kernel has said what it says when a device comes up.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

use super::{namespace::Namespace, topology::End};

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);
/// Several times as long as the pause between two MLD reports.
const QUIET: Duration = Duration::from_millis(150);

/// Waits until every device runs, and then until nothing has been sent for a while.
///
/// # Errors
///
/// That it takes more than ten seconds.
pub fn wait(ends: &[(&Namespace, End)]) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut quiet_since = start;
    let mut sent = None;
    while start.elapsed() < PATIENCE {
        let now = sent_by_all(ends)?;
        if now.is_none() || now != sent {
            quiet_since = Instant::now();
            sent = now;
        }
        if quiet_since.elapsed() >= QUIET {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    anyhow::bail!("the lab's devices have not come to rest within {PATIENCE:?}")
}

/// The frames that each device has sent; none as long as one does not run.
fn sent_by_all(ends: &[(&Namespace, End)]) -> anyhow::Result<Option<Vec<u64>>> {
    ends.iter().map(|(namespace, end)| namespace.run(|| sent(end.device))).collect()
}

fn sent(device: &str) -> anyhow::Result<Option<u64>> {
    let runs = getifaddrs()?
        .any(|address| address.interface_name == device && address.flags.contains(InterfaceFlags::IFF_RUNNING));
    let table = fs::read_to_string("/proc/thread-self/net/dev").context("/proc/thread-self/net/dev")?;
    Ok(if runs { sent_in(&table, device) } else { None })
}

/// The tenth column, as proc_pid_net(5) has it.
fn sent_in(table: &str, device: &str) -> Option<u64> {
    let of_device = |line: &str| Some(line.split_once(':').filter(|(name, _)| name.trim() == device)?.1.to_owned());
    table.lines().find_map(of_device)?.split_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_sent_are_the_tenth_column() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets\n\
                        lo:   1   2 0 0 0 0 0 0   3   4 0 0 0 0 0 0\n  lan0: 11  12 0 0 0 0 0 0  13  14 0 0 0 0 0 0\n";
        assert_eq!(sent_in(table, "lan0"), Some(14));
        assert_eq!(sent_in(table, "lo"), Some(4));
        assert_eq!(sent_in(table, "wan0"), None);
    }
}
