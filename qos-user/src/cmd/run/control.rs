//! The control socket: whoever may connect may ask; changes are for root and the members of a group.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf, absolute},
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::body::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::oneshot,
    task::{spawn_blocking, yield_now},
    time::{sleep, timeout},
};

use super::{
    delegate,
    members::{self, Peer, Rank, Refusal, may_change, name_of},
    refusals::{QUIET, Told},
    seats::{Place, Room, Seats},
    shared::{Order, Shared},
};
use crate::cmd::control::{self, Answer, Ask, Question, Whose};

/// How long a question may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longer than any question.
const LONGEST: u64 = 64 << 10;

/// For root.
const ROOT: Room = Room { all: 32, each: 32 };

/// For members of the group, and again for everybody else.
const OTHERS: Room = Room { all: 32, each: 8 };

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

/// Answers for as long as it is polled.
pub async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    let (root, member, other) = (Seats::new(ROOT), Seats::new(OTHERS), Seats::new(OTHERS));
    let seats = |rank| match rank {
        Rank::Root => &root,
        Rank::Member => &member,
        Rank::Other => &other,
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => greet(stream, seats, &shared),
            // Such as too many open files.
            Err(error) => {
                tracing::warn!("control socket: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
        // Whoever has asked already is heard before the next is let in, and is not silent by then.
        yield_now().await;
    }
}

fn greet<'a>(stream: UnixStream, seats: impl Fn(Rank) -> &'a Seats, shared: &Arc<Shared>) {
    let Ok(peer) = Peer::of(&stream) else { return };
    let rank = members::rank(&peer, shared.group().as_deref());
    let Some(mut seat) = seats(rank).take(peer.uid()) else {
        tracing::debug!(uid = peer.uid(), "control socket: no place is left");
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let place = seat.place().clone();
        let done = tokio::select! {
            done = converse(stream, &peer, &place, &shared) => done,
            () = seat.gone() => Err(anyhow::anyhow!("others need the place of one who is silent")),
        };
        if let Err(error) = done {
            tracing::debug!(uid = peer.uid(), "control socket: {error:#}");
        }
    });
}

async fn converse(mut stream: UnixStream, peer: &Peer, place: &Place, shared: &Arc<Shared>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    timeout(PATIENCE, (&mut stream).take(LONGEST).read_to_end(&mut text)).await??;
    if !place.is_answered() {
        return Ok(());
    }
    let answer = match serde_json::from_slice::<Question>(&text) {
        Ok(question) => answer(question, peer, shared).await?,
        Err(error) => document(&Answer::Refused(format!("not a question: {error}")))?,
    };
    place.is_silent();
    timeout(PATIENCE, stream.write_all(&answer)).await??;
    Ok(())
}

fn document(answer: &Answer) -> anyhow::Result<Bytes> {
    Ok(serde_json::to_vec(answer)?.into())
}

/// Why a question is not answered.
async fn refusal(question: &Question, peer: &Peer, shared: &Arc<Shared>) -> Option<String> {
    if !control::device(&shared.context.bpffs).is_ok_and(|device| device == question.bpffs) {
        return Some(elsewhere(&shared.context.bpffs));
    }
    let refusal = match question.ask.whose() {
        Whose::Anybody => return None,
        Whose::Members => may_change(peer, shared.group(), &shared.refusals).await.err()?,
        Whose::Root => members::refuse_all_but_root(peer).err()?,
    };
    say(&refusal, peer.uid(), shared);
    Some(refusal.to_string())
}

/// Somebody asks who looks in another bpf file system, or where none is.
fn elsewhere(bpffs: &Path) -> String {
    let there = absolute(bpffs).unwrap_or_else(|_| bpffs.to_owned());
    let service = process::id();
    format!(
        "the service (process {service}) has its pins in another bpf file system, {}: name that by --bpffs",
        there.display()
    )
}

/// Says it in the log, which has room for others, too.
fn say(refusal: &Refusal, uid: u32, shared: &Arc<Shared>) {
    match shared.refusals.note(uid, refusal.group(), Instant::now()) {
        Told::Now => tracing::warn!(uid, "refused: {refusal}"),
        Told::First { whose, until } => {
            tracing::debug!(uid, "refused: {refusal}");
            tokio::spawn(say_how_many(whose, until, Arc::clone(shared)));
        }
        Told::More => tracing::debug!(uid, "refused: {refusal}"),
    }
}

async fn say_how_many(whose: Option<u32>, until: Instant, shared: Arc<Shared>) {
    sleep(until.saturating_duration_since(Instant::now())).await;
    let (more, within) = (shared.refusals.settle(whose), humantime::format_duration(QUIET));
    match whose {
        Some(uid) => tracing::warn!(uid, "refused {more} more times within {within}"),
        None => tracing::warn!("others were refused {more} more times within {within}"),
    }
}

async fn answer(question: Question, peer: &Peer, shared: &Arc<Shared>) -> anyhow::Result<Bytes> {
    if let Some(refusal) = refusal(&question, peer, shared).await {
        return document(&Answer::Refused(refusal));
    }
    document(&match question.ask {
        Ask::Status => Answer::Status(shared.status().await),
        Ask::Trends => return shared.trends().await.map_err(anyhow::Error::msg),
        Ask::Deadlines => {
            shared.order(Order::Deadlines).await;
            Answer::Done
        }
        Ask::Release(ifindex, direction) if shared.release((ifindex, direction)) => Answer::Done,
        Ask::Release(ifindex, _) => Answer::Refused(format!("there is no interface {ifindex}")),
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
            let (context, peer) = (shared.context.clone(), peer.clone());
            let said = spawn_blocking(move || delegate::run(&command, &name_of(&peer), &context)).await;
            shared.order(Order::Deadlines).await;
            said.map_or_else(|error| Answer::Refused(error.to_string()), Answer::Said)
        }
    })
}
