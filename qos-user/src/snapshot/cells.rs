//! The counters of a hook as a list of the cells that are not zero: small enough for a file.

use qos_common::abi::Counter;
use serde::{Deserialize, Serialize};

use super::Counts;

/// Which array of [`Counts`] a cell belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Array {
    /// Index: family x 256 + DS byte.
    Kept,
    /// The same.
    Changed,
    /// Index: from x 64 + to.
    Remarked,
    /// Index: DSCP.
    Ruled,
    /// Index: DSCP.
    Dropped,
    /// Index: 0.
    Protected,
    /// Index: [`Uncounted`](qos_common::abi::Uncounted).
    Uncounted,
    /// Index: later fragments, header chain too long.
    Limited,
}

const ARRAYS: [Array; 8] = [
    Array::Kept,
    Array::Changed,
    Array::Remarked,
    Array::Ruled,
    Array::Dropped,
    Array::Protected,
    Array::Uncounted,
    Array::Limited,
];

/// The cells of [`Counts`] that are not zero: array, index, packets, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cells(Vec<(Array, usize, u64, u64)>);

impl Counts {
    fn array(&self, array: Array) -> &[Counter] {
        match array {
            Array::Kept => self.sums.kept.as_flattened(),
            Array::Changed => self.sums.changed.as_flattened(),
            Array::Remarked => self.remarked.as_flattened(),
            Array::Ruled => &self.sums.ruled,
            Array::Dropped => &self.sums.dropped,
            Array::Protected => std::slice::from_ref(&self.sums.protected),
            Array::Uncounted => &self.sums.uncounted,
            Array::Limited => &self.sums.limited,
        }
    }

    fn array_mut(&mut self, array: Array) -> &mut [Counter] {
        match array {
            Array::Kept => self.sums.kept.as_flattened_mut(),
            Array::Changed => self.sums.changed.as_flattened_mut(),
            Array::Remarked => self.remarked.as_flattened_mut(),
            Array::Ruled => &mut self.sums.ruled,
            Array::Dropped => &mut self.sums.dropped,
            Array::Protected => std::slice::from_mut(&mut self.sums.protected),
            Array::Uncounted => &mut self.sums.uncounted,
            Array::Limited => &mut self.sums.limited,
        }
    }

    /// The cells that are not zero.
    #[must_use]
    pub fn cells(&self) -> Cells {
        let cells = ARRAYS.into_iter().flat_map(|array| {
            let counters = self.array(array).iter().enumerate();
            counters.map(move |(index, counter)| (array, index, counter.packets, counter.bytes))
        });
        Cells(cells.filter(|(_, _, packets, bytes)| (*packets, *bytes) != (0, 0)).collect())
    }

    /// What was counted after `earlier`; `None` if a counter is smaller than it was, which only those of another
    /// attachment are.
    #[must_use]
    pub fn less(&self, earlier: &Cells) -> Option<Self> {
        let mut rest = self.clone();
        for (array, index, packets, bytes) in &earlier.0 {
            let cell = rest.array_mut(*array).get_mut(*index)?;
            cell.packets = cell.packets.checked_sub(*packets)?;
            cell.bytes = cell.bytes.checked_sub(*bytes)?;
        }
        // Between two readings of the same table there is nothing that is not its own.
        rest.untabled.fill(Counter::default());
        rest.earlier = self.earlier_in(&rest);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::counts::tests as traffic, *};

    proptest! {
        #[test]
        fn earlier_and_the_rest_are_all_of_it(first in traffic::packets(), second in traffic::packets()) {
            let earlier = traffic::count(&first);
            let both: Vec<_> = first.into_iter().chain(second.clone()).collect();
            let text = serde_json::to_string(&earlier.cells()).unwrap();
            let read: Cells = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(traffic::count(&both).less(&read), Some(traffic::count(&second)));
        }
    }

    #[test]
    fn only_what_moved_is_written() {
        let mut counts = Counts::zero();
        assert_eq!(serde_json::to_string(&counts.cells()).unwrap(), "[]");
        counts.sums.changed[1][184] = Counter { packets: 2, bytes: 300 };
        counts.remarked[46][0] = Counter { packets: 1, bytes: 150 };
        let text = serde_json::to_string(&counts.cells()).unwrap();
        assert_eq!(text, r#"[["changed",440,2,300],["remarked",2944,1,150]]"#);
    }

    #[test]
    fn the_cells_of_another_attachment_are_refused() {
        let mut counts = Counts::zero();
        counts.sums.protected.packets = 5;
        assert_eq!(Counts::zero().less(&counts.cells()), None);
        let beyond: Cells = serde_json::from_str(r#"[["dropped",64,0,0]]"#).unwrap();
        assert_eq!(counts.less(&beyond), None);
    }
}
