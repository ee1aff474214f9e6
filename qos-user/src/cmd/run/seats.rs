//! Who may hold the control socket for how many at once: nobody keeps root, or another user, from being served.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// For root alone.
const ROOT: usize = 32;

/// For everybody else together.
const OTHERS: usize = 32;

/// For one of them.
const EACH: usize = 8;

/// How many connections each user has now.
#[derive(Clone, Debug, Default)]
pub struct Seats(Arc<Mutex<HashMap<u32, usize>>>);

/// A connection that is served, as long as it is held.
#[derive(Debug)]
pub struct Seat {
    of: Seats,
    uid: u32,
}

impl Seats {
    /// A place for a connection of this user; `None` if there is none now.
    pub fn take(&self, uid: u32) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&uid).copied().unwrap_or_default();
        let others: usize = taken.iter().filter(|(uid, _)| **uid != 0).map(|(_, count)| count).sum();
        let free = if uid == 0 { own < ROOT } else { own < EACH && others < OTHERS };
        free.then(|| {
            taken.insert(uid, own + 1);
            Seat { of: self.clone(), uid }
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.uid) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(seats: &Seats, uid: u32) -> Vec<Seat> {
        std::iter::from_fn(|| seats.take(uid)).collect()
    }

    #[test]
    fn nobody_takes_the_place_of_root_or_of_another_user() {
        let seats = Seats::default();
        let one = all(&seats, 65_534);
        assert_eq!(one.len(), EACH);
        let more: Vec<_> = (1..100).flat_map(|uid| all(&seats, uid)).collect();
        assert_eq!(one.len() + more.len(), OTHERS);
        assert_eq!(all(&seats, 0).len(), ROOT);
    }

    #[test]
    fn a_place_is_free_when_its_connection_ends() {
        let seats = Seats::default();
        let mut held = all(&seats, 7);
        assert!(seats.take(7).is_none());
        held.pop();
        assert!(seats.take(7).is_some());
        held.clear();
        assert_eq!(all(&seats, 7).len(), EACH);
        assert!(seats.0.lock().unwrap().is_empty(), "who has gone is forgotten");
    }
}
