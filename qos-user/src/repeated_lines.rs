//! Log lines of work that is tried again until it succeeds: what one attempt says as the one before it did is no news, and
//! is left out, whoever says it.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt::{Debug, Write as _},
    mem,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

thread_local! {
    static UNDER_WAY: RefCell<Option<UnderWay>> = const { RefCell::new(None) };
}

/// What the last attempt at something has said.
#[derive(Debug, Default)]
pub struct Attempts(HashSet<String>);

/// The attempt that this thread makes.
#[derive(Debug)]
struct UnderWay {
    before: HashSet<String>,
    now: HashSet<String>,
}

/// Ends the attempt that this thread makes, also by a panic.
struct Ends;

impl Attempts {
    /// One more attempt.
    pub fn again<T>(&mut self, attempt: impl FnOnce() -> T) -> T {
        let before = mem::take(&mut self.0);
        UNDER_WAY.set(Some(UnderWay { before, now: HashSet::new() }));
        let _ends = Ends;
        let done = attempt();
        self.0 = UNDER_WAY.take().map(|attempt| attempt.now).unwrap_or_default();
        done
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        UNDER_WAY.set(None);
    }
}

impl UnderWay {
    fn is_news(&mut self, words: String) -> bool {
        let is_news = !self.before.contains(&words);
        self.now.insert(words);
        is_news
    }
}

/// Leaves lines out that repeat those of the attempt before; without an attempt none.
#[derive(Clone, Copy, Debug)]
pub struct NewsOnly;

impl<S: Subscriber> Layer<S> for NewsOnly {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        if !under_way(|attempt| attempt.is_some()) {
            return true;
        }
        let mut words = Words::default();
        event.record(&mut words);
        under_way(|attempt| attempt.as_mut().is_none_or(|attempt| attempt.is_news(words.0)))
    }
}

/// `false` where the thread is about to end, and makes no attempt any more.
fn under_way(ask: impl FnOnce(&mut Option<UnderWay>) -> bool) -> bool {
    UNDER_WAY.try_with(|attempt| ask(&mut attempt.borrow_mut())).unwrap_or(false)
}

/// All that a line says.
#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // How long something took is no news.
        if field.name() != "us" {
            let _endless_room = write!(self.0, "{field}={value:?} ");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps what comes through.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let mut words = Words::default();
            event.record(&mut words);
            self.0.lock().unwrap().push(words.0);
        }
    }

    /// How many lines come of an attempt each.
    fn lines(attempts: &[&dyn Fn()]) -> Vec<usize> {
        let (kept, mut memory) = (Kept::default(), Attempts::default());
        let subscriber = tracing_subscriber::registry().with(NewsOnly).with(kept.clone());
        tracing::subscriber::with_default(subscriber, || {
            let count = |attempt: &&dyn Fn()| {
                memory.again(attempt);
                mem::take(&mut *kept.0.lock().unwrap()).len()
            };
            attempts.iter().map(count).collect()
        })
    }

    #[test]
    fn what_an_attempt_says_again_is_left_out_until_one_has_not_said_it() {
        let fails = |why: &'static str| move || tracing::error!(hook = "wan0:egress", "a rollback is due: {why}");
        let (read_only, busy) = (fails("read-only"), fails("busy"));
        let both = || {
            read_only();
            busy();
        };
        let succeeds = || ();
        let attempts: [&dyn Fn(); 7] = [&read_only, &read_only, &both, &busy, &succeeds, &busy, &busy];
        assert_eq!(lines(&attempts), [1, 0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn other_hooks_are_news_and_other_times_are_none() {
        let prepared = |hooks: u64, us: u64| move || tracing::info!(hooks, us, "prepared");
        assert_eq!(lines(&[&prepared(1, 17), &prepared(1, 34), &prepared(2, 34)]), [1, 0, 1]);
    }

    #[test]
    fn what_is_said_beside_an_attempt_always_comes_through() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(NewsOnly).with(kept.clone());
        tracing::subscriber::with_default(subscriber, || {
            let said = || tracing::warn!("the same");
            Attempts::default().again(said);
            said();
            let panics = || Attempts::default().again::<()>(|| panic!("in the midst of it"));
            std::panic::catch_unwind(panics).unwrap_err();
            said();
        });
        assert_eq!(kept.0.lock().unwrap().len(), 3);
    }
}
