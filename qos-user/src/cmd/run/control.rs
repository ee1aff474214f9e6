//! The control socket: whoever may connect may ask; changes are for root and the members of a group.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::oneshot,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    delegate,
    seats::Seats,
    shared::{Order, Shared},
};
use crate::cmd::control::{self, Answer, Ask, Question};

/// How long a question may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longer than any question.
const LONGEST: u64 = 64 << 10;

/// Opens the socket, which everybody may connect to.
///
/// # Errors
///
/// What the file system says.
pub fn listen(path: &PathBuf) -> anyhow::Result<UnixListener> {
    // What a killed service left. There is one service alone, which holds the lock.
    let _absent = fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Answers for as long as it is polled. Whoever finds no place is sent away at once: nobody waits behind others.
pub async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    let seats = Seats::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => greet(stream, &seats, &shared),
            // Such as too many open files.
            Err(error) => {
                tracing::warn!("control socket: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn greet(stream: UnixStream, seats: &Seats, shared: &Arc<Shared>) {
    let Ok(peer) = stream.peer_cred() else { return };
    let Some(seat) = seats.take(peer.uid()) else {
        tracing::debug!(uid = peer.uid(), "control socket: no place is left");
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Err(error) = converse(stream, peer, &shared).await {
            tracing::debug!("control socket: {error:#}");
        }
        drop(seat);
    });
}

async fn converse(mut stream: UnixStream, peer: UCred, shared: &Arc<Shared>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    timeout(PATIENCE, (&mut stream).take(LONGEST).read_to_end(&mut text)).await??;
    let answer = match serde_json::from_slice::<Question>(&text) {
        Ok(question) => answer(question, peer, shared).await,
        Err(error) => Answer::Refused(format!("not a question: {error}")),
    };
    timeout(PATIENCE, stream.write_all(&serde_json::to_vec(&answer)?)).await??;
    Ok(())
}

async fn answer(question: Question, peer: UCred, shared: &Arc<Shared>) -> Answer {
    if !control::device(&shared.context.bpffs).is_ok_and(|device| device == question.bpffs) {
        return Answer::Refused("this service has its pins in another bpf file system".to_owned());
    }
    if question.ask.is_change()
        && let Err(refusal) = may_change(peer, shared.group()).await
    {
        tracing::warn!(uid = peer.uid(), "refused: {refusal}");
        return Answer::Refused(refusal);
    }
    match question.ask {
        Ask::Status => {
            let shared = Arc::clone(shared);
            let status = spawn_blocking(move || shared.status()).await;
            status.map_or_else(|error| Answer::Refused(error.to_string()), Answer::Status)
        }
        Ask::Trends => Answer::Trends(shared.trends()),
        Ask::Deadlines => {
            shared.order(Order::Deadlines).await;
            Answer::Done
        }
        Ask::Release(ifindex, direction) => {
            shared.release((ifindex, direction));
            Answer::Done
        }
        Ask::Attached(ifindex, direction) => {
            shared.attached((ifindex, direction));
            Answer::Done
        }
        Ask::Reload => {
            let (sender, receiver) = oneshot::channel();
            shared.order(Order::Reload(sender)).await;
            let ending = || Answer::Refused("the service is about to end".to_owned());
            receiver.await.map_or_else(|_| ending(), Answer::Reloaded)
        }
        Ask::Command(command) => {
            let context = shared.context.clone();
            let said = spawn_blocking(move || delegate::run(&command, &name_of(peer), &context)).await;
            shared.order(Order::Deadlines).await;
            said.map_or_else(|error| Answer::Refused(error.to_string()), Answer::Said)
        }
    }
}

/// Root may, and who is in the group. As long as a directory service does not answer, who asks waits, and nobody else.
async fn may_change(peer: UCred, group: Option<String>) -> Result<(), String> {
    if peer.uid() == 0 {
        return Ok(());
    }
    let name = group.ok_or("only root may change anything: no group is set")?;
    spawn_blocking(move || is_member(peer, &name)).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// By its own group, or by the list of members.
fn is_member(peer: UCred, name: &str) -> Result<(), String> {
    let group = Group::from_name(name).ok().flatten().ok_or_else(|| format!("there is no group {name}"))?;
    let is_member = peer.gid() == group.gid.as_raw() || groups_of(peer).contains(&group.gid);
    if is_member { Ok(()) } else { Err(format!("only root and the members of {name} may change anything")) }
}

fn groups_of(peer: UCred) -> Vec<Gid> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid())) else { return Vec::new() };
    let name = std::ffi::CString::new(user.name);
    name.ok().and_then(|name| getgrouplist(&name, user.gid).ok()).unwrap_or_default()
}

fn name_of(peer: UCred) -> String {
    let user = User::from_uid(Uid::from_raw(peer.uid())).ok().flatten();
    user.map_or_else(|| format!("uid {}", peer.uid()), |user| user.name)
}
