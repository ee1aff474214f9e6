//! A device with a number of its own, which is given to the next one, too: `dyn0`, number 77, over which packets leave.

use qosbpf::lab::namespace::Namespace;

use crate::{router::run_in, udp};

/// Makes it.
///
/// # Errors
///
/// What could not be done.
pub fn make(namespace: &Namespace) -> anyhow::Result<()> {
    for line in [
        "ip link add dyn0 index 77 type veth peer name peer0",
        "ip link set peer0 up",
        "ip link set dyn0 up",
        "ip address add 203.0.113.1/24 dev dyn0",
        "ip neighbour replace 203.0.113.2 lladdr 02:00:00:00:09:02 nud permanent dev dyn0",
    ] {
        run_in(namespace, line)?;
    }
    Ok(())
}

/// Removes it, and makes another one that is like it.
///
/// # Errors
///
/// What could not be done.
pub fn make_again(namespace: &Namespace) -> anyhow::Result<()> {
    run_in(namespace, "ip link del dyn0")?;
    make(namespace)
}

/// Sends so many packets in EF over it.
///
/// # Errors
///
/// What could not be done.
pub fn send(namespace: &Namespace, count: usize) -> anyhow::Result<()> {
    udp::send(namespace, "203.0.113.1:4000".parse()?, "203.0.113.2:4001".parse()?, 184, count)
}
