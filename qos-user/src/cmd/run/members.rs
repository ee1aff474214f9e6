//! Who may change something: root, and the members of a group.

use std::{
    ffi::CString,
    fmt, io,
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use libc::gid_t;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::{
    net::{UnixStream, unix::UCred},
    task::spawn_blocking,
};

use super::refusals::Refusals;
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

/// Why somebody may not change anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They are not in the group of this name.
    Stranger(String),
    /// Something else.
    Other(String),
}

impl Refusal {
    /// The group that they are not in, if that is why.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Stranger(group) => Some(group),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger(group) => write!(out, "only root and the members of {group} may change anything"),
            Self::Other(why) => out.write_str(why),
        }
    }
}

/// What the commands of root ask beside their work is for root alone.
pub fn refuse_all_but_root(peer: &Peer) -> Result<(), Refusal> {
    match peer.uid() {
        0 => Ok(()),
        _ => Err(Refusal::Other("only root may ask for that".to_owned())),
    }
}

/// Root may, and who is in the group. As long as a directory service does not answer, who asks waits, and nobody else.
pub async fn may_change(peer: &Peer, group: Option<String>, refusals: &Refusals) -> Result<(), Refusal> {
    if peer.uid() == 0 {
        return Ok(());
    }
    let none = || Refusal::Other("only root may change anything: no group is set".to_owned());
    let name = group.ok_or_else(none)?;
    let is_stranger = refusals.has_stranger(peer.uid(), &name, Instant::now());
    let peer = peer.clone();
    let asked = spawn_blocking(move || is_member(&peer, &name, is_stranger)).await;
    asked.unwrap_or_else(|error| Err(Refusal::Other(error.to_string())))
}

/// By its own groups, or by the list of members, in which a stranger is known not to be.
fn is_member(peer: &Peer, name: &str, is_stranger: bool) -> Result<(), Refusal> {
    let not_said = |what: String, error| Refusal::Other(format!("whether {what} cannot be said: {error}"));
    let number = number_of(name).map_err(|error| not_said(format!("this host has the group {name}"), error))?;
    let number = number.ok_or_else(|| Refusal::Other(format!("there is no group {name}")))?;
    if peer.has(number) {
        return Ok(());
    }
    let whose = || format!("user {} is in the group {name}", peer.uid());
    let is_listed = !is_stranger && is_listed(peer, number).map_err(|error| not_said(whose(), error))?;
    if is_listed { Ok(()) } else { Err(Refusal::Stranger(name.to_owned())) }
}

/// Whether the directory has its user in a group; it may not have the user.
fn is_listed(peer: &Peer, group: Gid) -> nix::Result<bool> {
    let Some(user) = User::from_uid(Uid::from_raw(peer.uid()))? else { return Ok(false) };
    let Ok(name) = CString::new(user.name) else { return Ok(false) };
    Ok(getgrouplist(&name, user.gid)?.contains(&group))
}

/// How a user is called.
pub fn name_of(peer: &Peer) -> String {
    let user = User::from_uid(Uid::from_raw(peer.uid())).ok().flatten();
    user.map_or_else(|| format!("uid {}", peer.uid()), |user| user.name)
}
