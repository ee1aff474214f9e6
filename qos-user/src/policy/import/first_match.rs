//! From rules that are all asked, where later ones override and some jump, to a list of which the first that matches
//! decides.
//!
//! A rule that matches splits what follows in two: what becomes of a packet that it marked, and of one that it did not.
//! Both are lists already when the rule itself is regarded, since the work begins at the end. What is the same at the
//! front of both is written once; for rules that do not ask for the mark that an earlier one set, that is all of it, and
//! the list is the rules in reverse.

use std::{collections::HashMap, rc::Rc};

use super::{
    condition::Condition,
    idle::Idle,
    program::{Act, Case, Marks, Meter, Program, Step, unchanged},
};
use crate::policy::import::Line;

/// More entries than a hook may have rules, by far.
const MOST_ENTRIES: usize = 8192;
/// How deep marks and jumps may be in each other.
const DEEPEST: usize = 256;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outcome {
    pub fate: Fate,
    pub priority: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Mark(Marks),
    Drop,
    Meter(Rc<Meter>),
}

/// A line of the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub when: Condition,
    pub outcome: Outcome,
    /// The rules that had a part in it.
    pub lines: Vec<Line>,
    /// What the author of the rule that matched last called it.
    pub name: Option<String>,
}

/// The first entry that holds decides; if none does, `last`.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub entries: Vec<Rc<Entry>>,
    pub last: Outcome,
}

/// Why there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tangled {
    /// The marks of rules depend on each other too much.
    Entries,
    /// Chains that jump in a circle, or as good as.
    Jumps,
}

/// Where the work is: a rule of a chain, and where to go on behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Position<'p> {
    chain: &'p str,
    step: usize,
    /// Behind the end of the chain.
    next: Option<usize>,
    /// Behind the base chain.
    accepted: Option<usize>,
}

type State = Outcome;

struct Work<'p> {
    program: &'p Program,
    positions: Vec<Position<'p>>,
    known: HashMap<Position<'p>, usize>,
    lists: HashMap<(Option<usize>, State), Rc<List>>,
    depth: usize,
    idle: Idle,
}

/// The list of a chain, which is run as a base chain, and what is known of rules that have no part in it.
pub(super) fn list(program: &Program, chain: &str) -> Result<(List, Idle), Tangled> {
    let (positions, known, lists, idle) = (Vec::new(), HashMap::new(), HashMap::new(), Idle::of(program));
    let mut work = Work { program, positions, known, lists, depth: 0, idle };
    let Some((chain, _)) = program.chains.get_key_value(chain) else {
        return Ok((List { entries: Vec::new(), last: untouched() }, work.idle));
    };
    let start = work.at(Position { chain, step: 0, next: None, accepted: None });
    let list = work.from(start, &untouched())?;
    Ok((tidy(&list, &mut work.idle), work.idle))
}

fn untouched() -> State {
    Outcome { fate: Fate::Mark(unchanged()), priority: None }
}

impl<'p> Work<'p> {
    fn at(&mut self, position: Position<'p>) -> Option<usize> {
        if let Some(known) = self.known.get(&position) {
            return Some(*known);
        }
        self.positions.push(position.clone());
        self.known.insert(position, self.positions.len() - 1);
        Some(self.positions.len() - 1)
    }

    /// What becomes of a packet in this state from here on.
    fn from(&mut self, at: Option<usize>, state: &State) -> Result<Rc<List>, Tangled> {
        if let Some(list) = self.lists.get(&(at, state.clone())) {
            return Ok(Rc::clone(list));
        }
        let Some(position) = at.and_then(|at| self.positions.get(at)).cloned() else {
            return Ok(Rc::new(List { entries: Vec::new(), last: state.clone() }));
        };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Tangled::Jumps);
        }
        let program = self.program;
        let steps = program.chains.get(position.chain).map_or(&[][..], Vec::as_slice);
        let mut list = self.from(position.next, state)?;
        for (index, step) in steps.iter().enumerate().skip(position.step).rev() {
            list = self.step(step, &Position { step: index, ..position.clone() }, state, &list)?;
        }
        self.depth -= 1;
        Ok(list)
    }

    /// What becomes of a packet from a rule on, if `rest` is what becomes of it behind the rule.
    fn step(
        &mut self,
        step: &'p Step,
        position: &Position<'p>,
        state: &State,
        rest: &List,
    ) -> Result<Rc<List>, Tangled> {
        let key = (self.at(position.clone()), state.clone());
        if let Some(list) = self.lists.get(&key) {
            return Ok(Rc::clone(list));
        }
        let behind = Position { step: position.step + 1, ..position.clone() };
        let mut list = rest.clone();
        // The first case is to come first.
        for case in step.cases.iter().rev() {
            let when = case.when.iter().filter_map(|when| as_it_came(when, state)).collect::<Vec<_>>();
            self.idle.met(step.line, !when.is_empty());
            if !when.is_empty() {
                let (then, before) = (self.after(case, &behind, state)?, list.entries.len());
                list = under(&when, step, &then, list, &mut self.idle);
                if list.entries.len() == before {
                    self.idle.adds_nothing(step.line, case, &when, &then);
                }
            }
        }
        if list.entries.len() > MOST_ENTRIES {
            return Err(Tangled::Entries);
        }
        let list = Rc::new(list);
        self.lists.insert(key, Rc::clone(&list));
        Ok(list)
    }

    /// What becomes of a packet for which a case holds.
    fn after(&mut self, case: &'p Case, behind: &Position<'p>, state: &State) -> Result<Rc<List>, Tangled> {
        let mut state = state.clone();
        for act in &case.acts {
            match act {
                Act::Mark(marks) => state.fate = then(&state.fate, marks),
                Act::Priority(priority) => state.priority = Some(*priority),
                Act::Drop => return Ok(ended(Fate::Drop)),
                Act::Meter(meter) => return Ok(ended(Fate::Meter(Rc::clone(meter)))),
                Act::Accept => return self.from(behind.accepted, &state),
                Act::Return => return self.from(behind.next, &state),
                Act::Jump(chain) | Act::Base(chain) | Act::Goto(chain) => {
                    let at = self.entered(act, chain, behind);
                    return self.from(at, &state);
                }
            }
        }
        let rest = self.at(behind.clone());
        self.from(rest, &state)
    }

    fn entered(&mut self, act: &Act, chain: &'p str, behind: &Position<'p>) -> Option<usize> {
        let rest = self.at(behind.clone());
        let (next, accepted) = match act {
            Act::Goto(_) => (behind.next, behind.accepted),
            Act::Base(_) => (rest, rest),
            _ => (rest, behind.accepted),
        };
        self.at(Position { chain, step: 0, next, accepted })
    }
}

fn ended(fate: Fate) -> Rc<List> {
    Rc::new(List { entries: Vec::new(), last: Outcome { fate, priority: None } })
}

fn then(fate: &Fate, marks: &Marks) -> Fate {
    match fate {
        Fate::Mark(before) => Fate::Mark(Rc::new(before.map(|dscp| marks[usize::from(dscp & 63)]))),
        ended => ended.clone(),
    }
}

/// A condition on the mark that a packet has by now, as one on the mark that it came with.
fn as_it_came(when: &Condition, state: &State) -> Option<Condition> {
    let Fate::Mark(marks) = &state.fate else { return None };
    let came = marks.iter().enumerate().filter(|(_, now)| when.dscp >> **now & 1 == 1);
    let dscp = came.map(|(dscp, _)| 1u64 << dscp).sum();
    (dscp != 0).then(|| Condition { dscp, ..when.clone() })
}

/// `then` for what `when` holds for, else `list`.
fn under(when: &[Condition], step: &Step, then: &List, mut list: List, idle: &mut Idle) -> List {
    let shared = then.entries.iter().zip(&list.entries).take_while(|(one, other)| is_same(one, other)).count();
    let behind = list.entries.split_off(shared);
    let own = &then.entries[shared..];
    // What ends as the other list does needs no end of its own.
    let goes_on = then.last == list.last
        && own.len() >= behind.len()
        && own[own.len() - behind.len()..].iter().zip(&behind).all(|(one, other)| is_same(one, other));
    let (own, last) = if goes_on { (&own[..own.len() - behind.len()], None) } else { (own, Some(&then.last)) };
    for condition in when {
        within(condition, step, (own, last), &mut list.entries, idle);
    }
    list.entries.extend(behind);
    list
}

fn is_same(one: &Rc<Entry>, other: &Rc<Entry>) -> bool {
    Rc::ptr_eq(one, other) || one.when == other.when && one.outcome == other.outcome
}

/// Adds entries for what `condition` holds for, and what becomes of the rest of that.
fn within(
    condition: &Condition,
    step: &Step,
    (then, last): (&[Rc<Entry>], Option<&Outcome>),
    list: &mut Vec<Rc<Entry>>,
    idle: &mut Idle,
) {
    let own = |lines: &[Line]| {
        // What is not from the text has no line.
        let own = Some(step.line).filter(|line| line.number > 0);
        own.into_iter().chain(lines.iter().copied()).collect::<Vec<_>>()
    };
    let start = list.len();
    for (at, entry) in then.iter().enumerate() {
        for when in condition.and(&entry.when) {
            let is_all = when.covers(condition);
            list.push(Rc::new(Entry { when, lines: own(&entry.lines), ..Entry::clone(entry) }));
            if is_all {
                return then[at..].iter().skip(1).for_each(|late| idle.decided(&late.lines, &entry.lines));
            }
        }
    }
    let Some(last) = last else { return };
    while list.len() > start && list.last().is_some_and(|entry| entry.outcome == *last) {
        list.pop();
    }
    let (when, lines) = (condition.clone(), own(&[]));
    list.push(Rc::new(Entry { when, outcome: last.clone(), lines, name: step.name.clone() }));
}

/// The same list without entries that never decide, or decide what `last` would.
fn tidy(list: &List, idle: &mut Idle) -> List {
    let mut entries: Vec<Rc<Entry>> = Vec::with_capacity(list.entries.len());
    for entry in &list.entries {
        match entries.iter().find(|earlier| earlier.when.covers(&entry.when)) {
            Some(earlier) => idle.decided(&entry.lines, &earlier.lines),
            None => entries.push(Rc::clone(entry)),
        }
    }
    while entries.last().is_some_and(|entry| entry.outcome == list.last) {
        entries.pop();
    }
    List { entries, last: list.last.clone() }
}
