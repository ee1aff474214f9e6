//! Who may change something: root, and the members of a group.

use std::{
    ffi::CString,
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::{
    net::{UnixStream, unix::UCred},
    task::spawn_blocking,
};

use crate::kernel::peer;

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
pub fn rank(stream: &UnixStream, peer: UCred, group: Option<&str>) -> Rank {
    if peer.uid() == 0 {
        return Rank::Root;
    }
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some((_, number)) = known.filter(|(name, _)| group == Some(name)) else { return Rank::Other };
    let is_member = peer.gid() == number.as_raw() || peer::groups(stream.as_fd()).contains(&number.as_raw());
    if is_member { Rank::Member } else { Rank::Other }
}

/// Root may, and who is in the group. As long as a directory service does not answer, who asks waits, and nobody else.
pub async fn may_change(peer: UCred, group: Option<String>) -> Result<(), String> {
    if peer.uid() == 0 {
        return Ok(());
    }
    let name = group.ok_or("only root may change anything: no group is set")?;
    spawn_blocking(move || is_member(peer, &name)).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// By its own group, or by the list of members.
fn is_member(peer: UCred, name: &str) -> Result<(), String> {
    let number = number_of(name).ok().flatten().ok_or_else(|| format!("there is no group {name}"))?;
    let is_member = peer.gid() == number.as_raw() || groups_of(peer).contains(&number);
    if is_member { Ok(()) } else { Err(format!("only root and the members of {name} may change anything")) }
}

fn groups_of(peer: UCred) -> Vec<Gid> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid())) else { return Vec::new() };
    let name = CString::new(user.name);
    name.ok().and_then(|name| getgrouplist(&name, user.gid).ok()).unwrap_or_default()
}

/// How a user is called.
pub fn name_of(peer: UCred) -> String {
    let user = User::from_uid(Uid::from_raw(peer.uid())).ok().flatten();
    user.map_or_else(|| format!("uid {}", peer.uid()), |user| user.name)
}
