//! Who may change something: root, and the members of a group.

use std::{
    ffi::CString,
    io,
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
};

use libc::gid_t;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::{
    net::{UnixStream, unix::UCred},
    task::spawn_blocking,
};

use crate::kernel::peer;

/// Who is at the other end of a connection, as the kernel tells: its groups are those that it had when it connected.
#[derive(Clone, Debug)]
pub struct Peer {
    user: UCred,
    groups: Vec<gid_t>,
}

impl Peer {
    /// That of this connection.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        Ok(Self { user: stream.peer_cred()?, groups: peer::groups(stream.as_fd()) })
    }

    /// Its user.
    pub fn uid(&self) -> u32 {
        self.user.uid()
    }

    /// Whether it has the group by its credentials, whatever the list of members says.
    fn has(&self, group: Gid) -> bool {
        self.user.gid() == group.as_raw() || self.groups.contains(&group.as_raw())
    }
}

/// The group that was last asked for, and its number: whose place is whose is said without asking anybody.
static KNOWN: Mutex<Option<(String, Gid)>> = Mutex::new(None);

/// Whose places a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Those of root.
    Root,
    /// Those of whoever has the group's number by its credentials.
    Member,
    /// Those of everybody else; members whom the directory alone knows are among them.
    Other,
}

/// The number of a group; `None` if this host has none of that name.
///
/// # Errors
///
/// What the directory says.
pub fn number_of(name: &str) -> nix::Result<Option<Gid>> {
    let number = Group::from_name(name)?.map(|group| group.gid);
    *KNOWN.lock().unwrap_or_else(PoisonError::into_inner) = number.map(|number| (name.to_owned(), number));
    Ok(number)
}

/// Whose places this connection has, as far as the kernel tells.
pub fn rank(peer: &Peer, group: Option<&str>) -> Rank {
    if peer.uid() == 0 {
        return Rank::Root;
    }
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some((_, number)) = known.filter(|(name, _)| group == Some(name)) else { return Rank::Other };
    if peer.has(number) { Rank::Member } else { Rank::Other }
}

/// Root may, and who is in the group. As long as a directory service does not answer, who asks waits, and nobody else.
pub async fn may_change(peer: &Peer, group: Option<String>) -> Result<(), String> {
    if peer.uid() == 0 {
        return Ok(());
    }
    let name = group.ok_or("only root may change anything: no group is set")?;
    let peer = peer.clone();
    spawn_blocking(move || is_member(&peer, &name)).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// By its own groups, or by the list of members.
fn is_member(peer: &Peer, name: &str) -> Result<(), String> {
    let number = number_of(name).ok().flatten().ok_or_else(|| format!("there is no group {name}"))?;
    let is_member = peer.has(number) || listed(peer).contains(&number);
    if is_member { Ok(()) } else { Err(format!("only root and the members of {name} may change anything")) }
}

/// The groups of its user.
fn listed(peer: &Peer) -> Vec<Gid> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid())) else { return Vec::new() };
    let name = CString::new(user.name);
    name.ok().and_then(|name| getgrouplist(&name, user.gid).ok()).unwrap_or_default()
}

/// How a user is called.
pub fn name_of(peer: &Peer) -> String {
    let user = User::from_uid(Uid::from_raw(peer.uid())).ok().flatten();
    user.map_or_else(|| format!("uid {}", peer.uid()), |user| user.name)
}
