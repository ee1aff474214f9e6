//! The rows that a packet's fields lead to, and the first rule that is in all of them.

use super::{Behind, Found, lookup::Fields};
use crate::{
    condition::Case,
    packet::Packet,
    process::{Frame, Tables},
    rules::{Constant, Row},
};

/// What becomes of the rows, one field after the other; those that no rule asks for do not come.
pub(super) trait Rows<'a> {
    /// The rules that match are in this row.
    fn also(&mut self, field: Constant, row: &'a Row);

    /// They are in one of two: one of two ports has to hold, or one half of a mark.
    fn either(&mut self, field: Constant, one: &'a Row, other: &'a Row);
}

/// Looks everything up; `None` if the tables are not whole. Each value becomes a row before the next is looked at: the
/// verifier follows all kinds of values apart, but a row is a row.
#[inline(always)]
pub(super) fn gather<'a, P, F, T, R>(
    case: &'a Case<'a, P, F>,
    behind: &Behind,
    rules: &'a T,
    rows: &mut R,
) -> Option<()>
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
    R: Rows<'a>,
{
    let fields = Fields { case, rules };
    let ports = fields.ports(behind, rows)?;
    fields.number(Constant::Protocol, behind.protocol, rows)?;
    if rules.constant(Constant::Seldom) != 0 {
        fields.either(Constant::EitherPort, ports, rows)?;
        fields.number(Constant::Length, behind.length, rows)?;
        fields.tag(rows)?;
        fields.mark(rows)?;
        fields.from(rows)?;
    }
    fields.head(rows)?;
    fields.source(rows)?;
    fields.destination(rows)
}

/// Up to 64 rules, a bit each: those that are in all rows so far, so that no row has to be remembered.
pub(super) struct Few(u64);

impl Few {
    /// Before the first row.
    pub(super) const ALL: Self = Self(!0);

    /// The first rule that is not among those that go on, and which of those match.
    #[inline(always)]
    pub(super) const fn found(&self, passing: u64) -> Found {
        let decider = match self.0 & !passing {
            0 => Found::NOBODY,
            word => word.trailing_zeros(),
        };
        Found { decider, passing: (self.0 & passing) as u32 }
    }
}

impl<'a> Rows<'a> for Few {
    #[inline(always)]
    fn also(&mut self, _field: Constant, row: &'a Row) {
        self.0 &= row.words[0];
    }

    #[inline(always)]
    fn either(&mut self, _field: Constant, one: &'a Row, other: &'a Row) {
        self.0 &= one.words[0] | other.words[0];
    }
}

/// More rules than a word has bits: a row for each field, of which the summaries say which words are worth a look.
#[derive(Default)]
pub(super) struct Many<'a> {
    /// Whether a rule asks for one of the fields that few policies have: else none of these is looked at, in any word.
    seldom: bool,
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
    either_port: Option<(&'a Row, &'a Row)>,
    mark_not: Option<(&'a Row, &'a Row)>,
}

impl<'a> Rows<'a> for Many<'a> {
    #[inline(always)]
    fn also(&mut self, field: Constant, row: &'a Row) {
        let place = match field {
            Constant::Head => &mut self.head,
            Constant::Protocol => &mut self.protocol,
            Constant::Source4 | Constant::Source6 => &mut self.source,
            Constant::Destination4 | Constant::Destination6 => &mut self.destination,
            Constant::SourcePort => &mut self.source_port,
            Constant::DestinationPort => &mut self.destination_port,
            Constant::Length => &mut self.length,
            Constant::Tag => &mut self.tag,
            Constant::MarkLow => &mut self.mark_low,
            Constant::MarkHigh => &mut self.mark_high,
            _ => &mut self.from,
        };
        *place = Some(row);
    }

    #[inline(always)]
    fn either(&mut self, field: Constant, one: &'a Row, other: &'a Row) {
        let place = if field == Constant::EitherPort { &mut self.either_port } else { &mut self.mark_not };
        *place = Some((one, other));
    }
}

impl Many<'_> {
    /// Before the first row.
    #[inline(always)]
    pub(super) fn new<T: Tables>(rules: &T) -> Self {
        Self { seldom: rules.constant(Constant::Seldom) != 0, ..Self::default() }
    }

    /// The rules among 64 that match.
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
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
        let common = also(transport, self.head);
        if !self.seldom {
            return common;
        }
        let packet = also(also(either(common, self.either_port), self.length), self.tag);
        either(also(also(also(packet, self.from), self.mark_low), self.mark_high), self.mark_not)
    }

    /// The first rule that is not among those that go on, and which of those match: only those words are looked at that
    /// none of the rows has empty.
    #[inline(always)]
    pub(super) fn found<const WORDS: usize>(&self, passing: u64) -> Found {
        let there = if passing == 0 { 0 } else { (self.word(0) & passing) as u32 };
        Found { decider: self.first::<WORDS>(passing), passing: there }
    }

    #[inline(always)]
    fn first<const WORDS: usize>(&self, passing: u64) -> u32 {
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
