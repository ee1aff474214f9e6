//! The rows that a packet's fields lead to, and the first rule that is in all of them.

use super::{Behind, Found, Rules, lookup::Fields};
use crate::{
    condition::Case,
    packet::Packet,
    process::{Frame, Tables},
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
    /// Looks everything up. Each value becomes a row before the next is looked at: the verifier follows all kinds of
    /// values apart, but a row is a row.
    #[inline(always)]
    pub fn of<P, F, T>(case: &Case<'_, P, F>, behind: &Behind, rules: &'a T) -> Option<Self>
    where
        P: Packet + ?Sized,
        F: Frame,
        T: Tables,
    {
        let fields = Fields { case, rules };
        let (source, destination) = fields.ports(behind)?;
        let (source_port, destination_port) = (row(rules, source)?, row(rules, destination)?);
        let either_port = second(rules, Constant::EitherPort, source, destination)?;
        let protocol = row(rules, fields.find(Constant::Protocol, behind.protocol)?)?;
        let length = row(rules, fields.find(Constant::Length, behind.length)?)?;
        let tag = row(rules, fields.tag()?)?;
        let (low, high) = fields.mark()?;
        let (mark_low, mark_high) = (row(rules, low)?, row(rules, high)?);
        let mark_not = second(rules, Constant::MarkNot, low, high)?;
        let head = row(rules, fields.head()?)?;
        let from = row(rules, fields.from()?)?;
        let source = row(rules, fields.source()?)?;
        let destination = row(rules, fields.destination()?)?;
        Some(Self {
            head,
            protocol,
            source,
            destination,
            source_port,
            destination_port,
            length,
            tag,
            mark_low,
            mark_high,
            from,
            either_port,
            mark_not,
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
        let mut except = passing;
        // One bit after the other, and not the lowest that is set: the verifier would follow every order of bits.
        for index in 0..16 {
            if left & 1 != 0 {
                let word = self.word(index) & !except;
                if word != 0 {
                    return index as u32 * 64 + word.trailing_zeros();
                }
            }
            except = 0;
            left >>= 1;
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
