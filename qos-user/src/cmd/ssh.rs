//! The SSH session in which a command is given. sudo takes `$SSH_CONNECTION` out of the environment, so the processes that
//! this one descends from are asked too.

use std::{env, fs, net::SocketAddr, os::unix::fs::MetadataExt as _, path::PathBuf};

use nix::unistd::getppid;

const VARIABLE: &str = "SSH_CONNECTION";

/// How the processes are called that have a session: OpenSSH's of all versions, and dropbear.
const SERVERS: [&str; 2] = ["sshd", "dropbear"];

/// What is known of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Session {
    /// There is none, or its packets are in another network namespace.
    None,
    /// Client and server.
    Between(SocketAddr, SocketAddr),
    /// There is one, and this is why its ends are not known.
    Unknown(String),
}

/// The session, if this network namespace has its packets.
#[must_use]
pub fn session() -> Session {
    match env::var(VARIABLE) {
        // Said to be none.
        Ok(nothing) if nothing.is_empty() => Session::None,
        Ok(connection) => between(&connection),
        Err(_not_set) => of_ancestors(),
    }
}

/// The address of its client, wherever its packets are.
#[must_use]
pub fn client() -> Option<String> {
    let connection = env::var(VARIABLE).ok().or_else(|| ancestors().find_map(|pid| variable(&environment(pid)?)))?;
    connection.split(' ').next().filter(|address| !address.is_empty()).map(str::to_owned)
}

fn of_ancestors() -> Session {
    let here = namespace("self");
    for pid in ancestors() {
        let is_elsewhere = || namespace(&pid.to_string()).is_some_and(|there| Some(there) != here);
        if let Some(connection) = environment(pid).as_deref().and_then(variable) {
            return if is_elsewhere() { Session::None } else { between(&connection) };
        }
        if is_server(pid) {
            return if is_elsewhere() {
                Session::None
            } else {
                Session::Unknown(format!("no process of it has ${VARIABLE}"))
            };
        }
    }
    Session::None
}

fn between(connection: &str) -> Session {
    match parse(connection) {
        Some((client, server)) => Session::Between(client, server),
        None => Session::Unknown(format!("${VARIABLE} is `{connection}`, by which no route can be asked for")),
    }
}

/// `CLIENT PORT SERVER PORT`.
fn parse(connection: &str) -> Option<(SocketAddr, SocketAddr)> {
    let words: Vec<_> = connection.split_whitespace().collect();
    let [client, client_port, server, server_port] = words[..] else { return None };
    let end = |address: &str, port: &str| Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?));
    Some((end(client, client_port)?, end(server, server_port)?))
}

/// From the parent to the first process.
fn ancestors() -> impl Iterator<Item = i32> {
    std::iter::successors(Some(getppid().as_raw()), |pid| parent(*pid)).take_while(|pid| *pid > 1)
}

/// The fourth word of `/proc/PID/stat`; the second is a name in brackets that may have anything in it.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(proc(pid, "stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn environment(pid: i32) -> Option<Vec<u8>> {
    fs::read(proc(pid, "environ")).ok()
}

fn variable(environment: &[u8]) -> Option<String> {
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|text| text.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok().filter(|value| !value.is_empty())
}

fn is_server(pid: i32) -> bool {
    let name = fs::read_to_string(proc(pid, "comm")).unwrap_or_default();
    SERVERS.iter().any(|server| name.starts_with(server))
}

fn namespace(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|found| found.ino())
}

fn proc(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_sets_is_read() {
        let (client, server) = parse("192.0.2.7 51514 203.0.113.1 22").unwrap();
        assert_eq!((client.to_string(), server.to_string()), ("192.0.2.7:51514".into(), "203.0.113.1:22".into()));
        let (client, _) = parse("2001:db8::7 51514 2001:db8::1 22").unwrap();
        assert_eq!(client.to_string(), "[2001:db8::7]:51514");
        // A link-local address comes with its zone, by which no route can be asked for.
        for nothing in ["192.0.2.7 51514 203.0.113.1", "fe80::1%eth0 1 fe80::2%eth0 22"] {
            assert!(matches!(between(nothing), Session::Unknown(why) if why.contains(nothing)), "{nothing}");
        }
    }

    #[test]
    fn a_variable_is_found_among_others() {
        assert_eq!(variable(b"A=1\0SSH_CONNECTION=1.2.3.4 5\0B=2\0"), Some("1.2.3.4 5".to_owned()));
        assert_eq!(variable(b"XSSH_CONNECTION=1\0SSH_CONNECTION_=2\0"), None);
        assert_eq!(variable(b"SSH_CONNECTION=\0"), None);
    }

    #[test]
    fn the_first_ancestor_is_the_parent() {
        assert_eq!(ancestors().next(), Some(getppid().as_raw()).filter(|pid| *pid > 1));
        assert_eq!(parent(std::process::id().cast_signed()), Some(getppid().as_raw()));
    }
}
