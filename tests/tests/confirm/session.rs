//! The SSH session of whoever applies a policy: a real connection into the router, and what becomes of its mark.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::ensure;
use qosbpf::lab::topology::{EDGE_LAN, LAN_HOST};
use qosbpf_tests::binary::Answer;

use crate::edge::{Edge, PATIENCE};

const TO_LAN: &str =
    "[interface.lan0]\negress = \"t\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nCS2 = \"DF\"\nother = \"keep\"\n";
const CS2: u8 = 16;

/// A connection from the LAN host; what the router sends in it is marked CS2, as an sshd with `IPQoS cs2` does.
fn connection(edge: &Edge) -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = edge.router.edge().run(|| Ok(TcpListener::bind((EDGE_LAN.v4, 0))?))?;
    let to = listener.local_addr()?;
    let client = edge.router.lab().lan().run(|| Ok(TcpStream::connect(to)?))?;
    let (server, _) = listener.accept()?;
    let tos = i32::from(CS2 << 2);
    let size = size_of::<i32>() as u32;
    // SAFETY: an integer of the length named.
    let set =
        unsafe { libc::setsockopt(server.as_raw_fd(), libc::IPPROTO_IP, libc::IP_TOS, (&raw const tos).cast(), size) };
    ensure!(set == 0, "IP_TOS");
    Ok((client, server))
}

fn apply(edge: &Edge, line: &str, client: SocketAddr, server: SocketAddr) -> anyhow::Result<Answer> {
    let mut command = edge.router.command(line)?;
    let (from, to) = (client.ip(), server.ip());
    command.env("SSH_CONNECTION", format!("{from} {} {to} {}", client.port(), server.port()));
    Answer::of(&mut command)?.expect(0)
}

#[test]
fn apply_says_what_mark_its_packets_get() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("attach lan0 --egress")?;
    let file = edge.router.policy("to-lan", TO_LAN)?;
    let (client, server) = connection(&edge)?;
    let ends = (client.local_addr()?, server.local_addr()?);
    assert_eq!(ends.0.ip(), LAN_HOST.v4);
    let line = format!("policy apply {file} --prune");
    let session = format!("your SSH session {} > {}: passes, ", ends.0, ends.1);
    apply(&edge, &line, ends.0, ends.1)?.says(&[&session, "mark CS2 -> DF at lan0:egress"])?;
    let document = apply(&edge, &format!("{line} --json"), ends.0, ends.1)?.json()?;
    let session = &document["session"];
    assert_eq!(
        (&session["hook"], &session["before"], &session["after"]),
        (&"lan0:egress".into(), &16.into(), &0.into())
    );
    Ok(())
}

#[test]
fn what_this_host_keeps_and_what_no_table_is_for_is_said_too() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("attach lan0 --egress")?;
    let (client, server) = connection(&edge)?;
    let ends = (client.local_addr()?, server.local_addr()?);
    let spared = TO_LAN.replacen("egress", "local = \"keep\"\negress", 1);
    let file = edge.router.policy("spared", &spared)?;
    apply(&edge, &format!("policy apply {file} --prune"), ends.0, ends.1)?.says(&["mark CS2 kept at lan0:egress"])?;
    let keep = format!("policy apply {} --prune", edge.keep);
    apply(&edge, &keep, ends.0, ends.1)?.says(&["its mark unchanged at lan0:egress"])?;
    // A connection that this kernel does not have: the table says it.
    let nobody = SocketAddr::new(LAN_HOST.v4.into(), 1);
    let line = format!("policy apply {file} --prune");
    apply(&edge, &line, nobody, ends.1)?.says(&["marked as table t says at lan0:egress"])?;
    Ok(())
}

/// Whoever applies a policy that cuts their own session has only to wait.
#[test]
fn a_session_that_the_policy_cuts_comes_back_by_itself() -> anyhow::Result<()> {
    const CUT: &str = "[interface.lan0]\ningress = \"t\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n\
        [[rule]]\nname = \"nobody\"\non = \"lan0:ingress\"\nmatch = { proto = \"tcp\" }\ndrop = true\n";
    /// How long nothing is heard before the session counts as cut.
    const QUIET: Duration = Duration::from_secs(1);
    let edge = Edge::start()?;
    let file = edge.router.policy("cut", CUT)?;
    let (mut client, mut server) = connection(&edge)?;
    server.set_read_timeout(Some(QUIET))?;
    let ends = (client.local_addr()?, server.local_addr()?);
    let mut command = edge
        .router
        .command(&edge.with_etc(&format!("policy apply {file} --confirm {}s", (edge.soon + QUIET).as_secs())))?;
    command.env("SSH_CONNECTION", format!("{} {} {} {}", ends.0.ip(), ends.0.port(), ends.1.ip(), ends.1.port()));
    let refused = Answer::of(&mut command)?.expect(3)?;
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(edge.in_force()?, "keep");
    command.arg("--force");
    Answer::of(&mut command)?.expect(0)?;
    client.write_all(b"does it arrive?")?;
    let mut heard = [0; 15];
    let cut = server.read(&mut heard).map_err(|error| error.kind());
    assert!(matches!(cut, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{cut:?}");
    server.set_read_timeout(Some(PATIENCE))?;
    server.read_exact(&mut heard)?;
    assert_eq!(&heard, b"does it arrive?");
    assert_eq!(edge.in_force()?, "keep");
    Ok(())
}
