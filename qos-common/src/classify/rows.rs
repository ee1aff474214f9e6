//! The rows that a packet's fields lead to, and the first rule that is in all of them.

use super::{Found, Rules, Traits, lookup};
use crate::{
    flow::Flow,
    locate::Header,
    packet::Packet,
    rules::{Constant, Row},
};

/// A row for each field; `None` for those that no rule asks for, which the verifier sees and removes.
pub(super) struct Rows<'a> {
    head: Option<&'a Row>,
    protocol: Option<&'a Row>,
    source: Option<&'a Row>,
    destination: Option<&'a Row>,
    source_port: Option<&'a Row>,
    destination_port: Option<&'a Row>,
    length: Option<&'a Row>,
    tag: Option<&'a Row>,
    mark_low: Option<&'a Row>,
    mark_high: Option<&'a Row>,
    from: Option<&'a Row>,
    /// Rules that ask for either port, by source port and by destination port: one of the two has to hold.
    either_port: Option<(&'a Row, &'a Row)>,
    /// Rules that ask that a mark is not so, by low half and high half: one of the two has to hold.
    mark_not: Option<(&'a Row, &'a Row)>,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    pub fn of<P, R>(packet: &P, header: &Header, flow: &Flow, traits: &Traits, rules: &'a R) -> Option<Self>
    where
        P: Packet + ?Sized,
        R: Rules,
    {
        let fields = lookup::Fields { packet, header, flow, traits, rules };
        let (source, destination) = fields.addresses()?;
        let (source_port, destination_port) = fields.ports()?;
        let (mark_low, mark_high) = fields.mark()?;
        Some(Self {
            head: row(rules, fields.head()?)?,
            protocol: row(rules, fields.protocol()?)?,
            source: row(rules, source)?,
            destination: row(rules, destination)?,
            source_port: row(rules, source_port)?,
            destination_port: row(rules, destination_port)?,
            length: row(rules, fields.length()?)?,
            tag: row(rules, fields.tag()?)?,
            mark_low: row(rules, mark_low)?,
            mark_high: row(rules, mark_high)?,
            from: row(rules, fields.from()?)?,
            either_port: second(rules, Constant::EitherPort, source_port, destination_port)?,
            mark_not: second(rules, Constant::MarkNot, mark_low, mark_high)?,
        })
    }

    /// The rules among 64 that match.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u64 {
        self.and(|row| row.words[index & 15])
    }

    #[inline(always)]
    fn and(&self, of: impl Fn(&Row) -> u64) -> u64 {
        let one = |row: Option<&Row>| match row {
            Some(row) => of(row),
            None => !0,
        };
        let or = |rows: Option<(&Row, &Row)>| match rows {
            Some((one, other)) => of(one) | of(other),
            None => !0,
        };
        let addresses = one(self.source) & one(self.destination);
        let ports = one(self.source_port) & one(self.destination_port) & or(self.either_port);
        let marks = one(self.mark_low) & one(self.mark_high) & or(self.mark_not);
        let others = one(self.head) & one(self.protocol) & one(self.length) & one(self.tag) & one(self.from);
        addresses & ports & marks & others
    }

    /// The first rule that is not among those that go on; `WORDS` words are in use.
    #[inline(always)]
    pub fn first_of_few<const WORDS: usize>(&self, passing: u64) -> u32 {
        let mut except = passing;
        for index in 0..WORDS {
            let word = self.word(index) & !except;
            if word != 0 {
                return index as u32 * 64 + word.trailing_zeros();
            }
            except = 0;
        }
        Found::NOBODY
    }

    /// The same for 16 words: only those are looked at that none of the rows has empty.
    #[inline(always)]
    pub fn first_of_many(&self, passing: u64) -> u32 {
        let mut left = self.and(|row| row.summary);
        for _ in 0..16 {
            if left == 0 {
                break;
            }
            let index = left.trailing_zeros() & 15;
            let except = if index == 0 { passing } else { 0 };
            let word = self.word(index as usize) & !except;
            if word != 0 {
                return index * 64 + word.trailing_zeros();
            }
            left &= left - 1;
        }
        Found::NOBODY
    }
}

/// The row of a number; none, and no failure, for 0: a field that no rule asks for.
#[inline(always)]
fn row<R: Rules>(rules: &R, number: u16) -> Option<Option<&Row>> {
    match number {
        0 => Some(None),
        number => rules.row(u32::from(number)).map(Some),
    }
}

/// The rows behind two, if there are such.
#[inline(always)]
fn second<R: Rules>(rules: &R, when: Constant, one: u16, other: u16) -> Option<Option<(&Row, &Row)>> {
    if rules.constant(when) == 0 {
        return Some(None);
    }
    Some(Some((rules.row(u32::from(one) + 1)?, rules.row(u32::from(other) + 1)?)))
}
