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
        let (source_port, destination_port) =
            (row(rules, Constant::SourcePort, source)?, row(rules, Constant::DestinationPort, destination)?);
        let either_port = second(rules, Constant::EitherPort, source, destination)?;
        let protocol = row(rules, Constant::Protocol, fields.find(Constant::Protocol, behind.protocol)?)?;
        let length = row(rules, Constant::Length, fields.find(Constant::Length, behind.length)?)?;
        let tag = row(rules, Constant::Tag, fields.tag()?)?;
        let (low, high) = fields.mark()?;
        let (mark_low, mark_high) = (row(rules, Constant::MarkLow, low)?, row(rules, Constant::MarkHigh, high)?);
        let mark_not = second(rules, Constant::MarkNot, low, high)?;
        let head = row(rules, Constant::Head, fields.head()?)?;
        let from = row(rules, Constant::From, fields.from()?)?;
        let source = row(rules, Constant::Source4, fields.source()?)?;
        let destination = row(rules, Constant::Destination4, fields.destination()?)?;
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

    /// One row after the other into one register. As one expression, each row that is not there would be a value of ones.
    #[inline(always)]
    fn and(&self, of: impl Fn(&Row) -> u64) -> u64 {
        let also = |left: u64, row: Option<&Row>| match row {
            Some(row) => left & of(row),
            None => left,
        };
        let either = |left: u64, rows: Option<(&Row, &Row)>| match rows {
            Some((one, other)) => left & (of(one) | of(other)),
            None => left,
        };
        let addresses = also(also(!0, self.source), self.destination);
        let transport = also(also(also(addresses, self.destination_port), self.source_port), self.protocol);
        let packet = also(also(also(either(transport, self.either_port), self.head), self.length), self.tag);
        either(also(also(also(packet, self.from), self.mark_low), self.mark_high), self.mark_not)
    }

    /// The first rule that is not among those that go on, among 64.
    #[inline(always)]
    pub fn first_of_few(&self, passing: u64) -> u32 {
        match self.word(0) & !passing {
            0 => Found::NOBODY,
            word => word.trailing_zeros(),
        }
    }

    /// The same for several words: only those are looked at that none of the rows has empty.
    #[inline(always)]
    pub fn first_of_many<const WORDS: usize>(&self, passing: u64) -> u32 {
        let mut left = self.and(|row| row.summary);
        let mut except = passing;
        // One bit after the other, and not the lowest that is set: the verifier would follow every order of bits.
        for index in 0..WORDS {
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

/// The row of a number; none, and no failure, for a field that no rule asks for. The constant says so, not the number:
/// the verifier would follow both answers of each field.
#[inline(always)]
fn row<R: Rules>(rules: &R, first: Constant, number: u16) -> Option<Option<&Row>> {
    match rules.constant(first) {
        0 => Some(None),
        _ => rules.row(u32::from(number)).map(Some),
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
