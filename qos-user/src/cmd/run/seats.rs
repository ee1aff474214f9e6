//! Who may hold connections, and for how many at once. Where no place is left, whoever has been silent longest goes: those
//! who only hold their places keep nobody from being served.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::sync::{Notify, oneshot};

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// For all together.
    pub all: usize,
    /// For one user.
    pub each: usize,
}

/// The places of one room.
#[derive(Clone, Debug)]
pub struct Seats {
    room: Room,
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    rows: Mutex<Rows>,
    /// Somebody has gone, or is silent now.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    /// Counts what happens: what came later has the larger number.
    clock: u64,
    taken: BTreeMap<u64, Holder>,
}

/// Who holds a place.
#[derive(Debug)]
struct Holder {
    user: u32,
    /// Since when nothing has been heard of it; `None` while it is being answered.
    silent: Option<u64>,
    /// Dropped when it has to go.
    _stays: oneshot::Sender<()>,
}

/// A connection that is served, as long as it is held.
#[derive(Debug)]
pub struct Seat {
    place: Place,
    goes: oneshot::Receiver<()>,
}

/// How a connection is to be counted.
#[derive(Clone, Debug)]
pub struct Place {
    table: Arc<Table>,
    number: u64,
}

impl Seats {
    /// Those of a room in which nobody is.
    pub fn new(room: Room) -> Self {
        Self { room, table: Arc::default() }
    }

    /// A place for a connection of this user; `None` if there is none, and everybody is being answered.
    pub fn take(&self, user: u32) -> Option<Seat> {
        let mut rows = self.table.rows();
        let leaves = if rows.of(user) >= self.room.each {
            Some(rows.longest_silent(|holder| holder.user == user)?)
        } else if rows.taken.len() >= self.room.all {
            Some(rows.longest_silent(|_| true)?)
        } else {
            None
        };
        leaves.and_then(|number| rows.taken.remove(&number));
        let (stays, goes) = oneshot::channel();
        let number = rows.now();
        rows.taken.insert(number, Holder { user, silent: Some(number), _stays: stays });
        Some(Seat { place: Place { table: Arc::clone(&self.table), number }, goes })
    }

    /// The same, but waits for a place.
    pub async fn wait(&self, user: u32) -> Seat {
        loop {
            if let Some(seat) = self.take(user) {
                return seat;
            }
            self.table.changed.notified().await;
        }
    }
}

impl Table {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn of(&self, user: u32) -> usize {
        self.taken.values().filter(|holder| holder.user == user).count()
    }

    /// Of those users who hold most, so that a user who has many of them does not gain by it.
    fn longest_silent(&self, is_meant: impl Fn(&Holder) -> bool) -> Option<u64> {
        let mut held = BTreeMap::new();
        self.taken.values().for_each(|holder| *held.entry(holder.user).or_insert(0_usize) += 1);
        let meant = self.taken.iter().filter(|(_, holder)| is_meant(holder));
        let silent = meant.filter_map(|(number, holder)| Some((*number, held.get(&holder.user)?, holder.silent?)));
        silent.min_by_key(|(_, held, silent)| (std::cmp::Reverse(*held), *silent)).map(|(number, ..)| number)
    }
}

impl Seat {
    /// How it is to be counted.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it has to go by now.
    pub fn poll_gone(&mut self, waker: &mut Context<'_>) -> Poll<()> {
        if !self.goes.is_terminated() {
            let _by_its_end = ready!(Pin::new(&mut self.goes).poll(waker));
        }
        Poll::Ready(())
    }

    /// Waits until it has to go.
    pub async fn gone(&mut self) {
        std::future::poll_fn(|waker| self.poll_gone(waker)).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.place.table.rows().taken.remove(&self.place.number);
        self.place.table.changed.notify_one();
    }
}

impl Place {
    /// It has asked, and stays until it is answered; whether it has not had to go already.
    pub fn is_answered(&self) -> bool {
        self.set(|_| None)
    }

    /// It was heard of just now, and has nothing to wait for.
    pub fn is_silent(&self) {
        self.set(Some);
        self.table.changed.notify_one();
    }

    /// It was heard of just now.
    pub fn is_heard(&self) {
        let mut rows = self.table.rows();
        let now = rows.now();
        if let Some(silent) = rows.taken.get_mut(&self.number).and_then(|holder| holder.silent.as_mut()) {
            *silent = now;
        }
    }

    fn set(&self, silent: impl Fn(u64) -> Option<u64>) -> bool {
        let mut rows = self.table.rows();
        let now = rows.now();
        let holder = rows.taken.get_mut(&self.number);
        holder.map(|holder| holder.silent = silent(now)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats() -> Seats {
        Seats::new(Room { all: 6, each: 3 })
    }

    fn stays(seat: &mut Seat) -> bool {
        seat.goes.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }

    fn staying(seats: &mut [Seat]) -> Vec<bool> {
        seats.iter_mut().map(stays).collect()
    }

    fn take(seats: &Seats, users: &[u32]) -> Vec<Seat> {
        users.iter().map(|user| seats.take(*user).unwrap()).collect()
    }

    #[test]
    fn whoever_has_had_their_share_loses_their_own_longest_silent_one() {
        let seats = seats();
        let mut held = take(&seats, &[7, 8, 7, 7, 7]);
        assert_eq!(staying(&mut held), [false, true, true, true, true]);
    }

    #[test]
    fn where_all_is_full_who_holds_most_makes_way() {
        let seats = seats();
        let mut held = take(&seats, &[9, 1, 1, 2, 2, 2, 3]);
        assert_eq!(staying(&mut held), [true, true, true, false, true, true, true]);
        held.extend(take(&seats, &[4]));
        assert_eq!(
            staying(&mut held),
            [true, false, true, false, true, true, true, true],
            "the oldest of two users' two"
        );
    }

    #[test]
    fn who_is_being_answered_stays_and_who_was_heard_stays_longer() {
        let seats = seats();
        let mut held = take(&seats, &[1, 2, 3, 4, 5, 6]);
        assert!(held[0].place.is_answered());
        held[1].place.is_heard();
        held.extend(take(&seats, &[7]));
        assert_eq!(staying(&mut held), [true, true, false, true, true, true, true]);
        assert!(!held[2].place.is_answered(), "it had to go before");
        held[0].place.is_silent();
        for user in 8..14 {
            held.extend(take(&seats, &[user]));
        }
        assert!(!stays(&mut held[0]));
    }

    #[test]
    fn nobody_is_sent_away_while_being_answered() {
        let seats = seats();
        let held = take(&seats, &[1, 2, 3, 4, 5, 6]);
        assert!(held.iter().all(|seat| seat.place.is_answered()));
        assert!(seats.take(7).is_none());
        held[5].place.is_silent();
        assert!(seats.take(7).is_some());
    }

    #[test]
    fn a_place_is_free_when_its_connection_ends() {
        let seats = seats();
        let mut held = take(&seats, &[7, 7, 7]);
        held.pop();
        held.extend(take(&seats, &[7]));
        assert_eq!(staying(&mut held), [true; 3]);
        drop(held);
        assert!(seats.table.rows().taken.is_empty(), "who has gone is forgotten");
    }

    #[tokio::test]
    async fn who_waits_has_the_first_place_that_is_left() {
        let seats = Seats::new(Room { all: 1, each: 1 });
        let mut first = seats.take(1).unwrap();
        assert!(first.place.is_answered());
        let waits = tokio::spawn({
            let seats = seats.clone();
            async move { seats.wait(2).await.place.number }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        first.place.is_silent();
        assert_eq!(waits.await.unwrap(), 4);
        first.gone().await;
    }
}
