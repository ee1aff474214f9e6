//! Rules of which several may mark one packet, as other tools have them: chains, jumps, and marks that a later rule
//! changes again.

use std::{collections::HashMap, rc::Rc};

use super::condition::Condition;
use crate::policy::import::Line;

/// What each of the 64 codepoints at the hook has become.
pub(super) type Marks = Rc<[u8; 64]>;

/// Chains by name.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub chains: HashMap<String, Vec<Step>>,
}

/// One rule. The first case that holds is done, and none other.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub line: Line,
    /// What its author called it.
    pub name: Option<String>,
    pub cases: Vec<Case>,
}

/// One of the conditions holds: then all of this is done, in its order.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub when: Vec<Condition>,
    pub acts: Vec<Act>,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// The codepoint becomes another one, by what it is now.
    Mark(Marks),
    /// The skb priority.
    Priority(u32),
    /// Ends the base chain.
    Accept,
    /// Goes back to the chain that jumped here.
    Return,
    /// Ends everything.
    Drop,
    /// A meter decides, and ends everything.
    Meter(Rc<Meter>),
    Jump(String),
    Goto(String),
    /// Runs a base chain: what it accepts goes on behind this.
    Base(String),
}

/// A meter in the words of our language.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Meter {
    /// Key and value.
    pub parameters: Vec<(&'static str, String)>,
    /// Green, yellow, red: a codepoint, `keep` or `drop`.
    pub colors: [String; 3],
}

impl Step {
    /// A rule that does one thing.
    pub fn new(line: Line, when: Vec<Condition>, acts: Vec<Act>) -> Self {
        Self { line, name: None, cases: vec![Case { when, acts }] }
    }
}

/// Every codepoint becomes this one.
pub(super) fn always(dscp: u8) -> Marks {
    Rc::new([dscp; 64])
}

/// Every codepoint stays.
pub(super) fn unchanged() -> Marks {
    by(|dscp| dscp)
}

/// Every codepoint becomes what `function` says.
pub(super) fn by(function: impl Fn(u8) -> u8) -> Marks {
    let mut marks = [0; 64];
    for (mark, dscp) in marks.iter_mut().zip(0..) {
        *mark = function(dscp) & 63;
    }
    Rc::new(marks)
}
