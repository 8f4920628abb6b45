//! Which numbers of a range are taken, as runs without a gap: the next free one is found without walking over the taken
//! ones. Pure.
//!
//! Tens of thousands of numbers given out from one end are a single run. A search passes over one run per step, so it is
//! slow only where as many gaps as there are runs are all too small for what is looked for.

use std::collections::BTreeMap;

/// Taken numbers: first and last of each run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(BTreeMap<u32, u32>);

impl Runs {
    /// Takes `first` to `last`; what of them is taken already stays so.
    pub fn take(&mut self, first: u32, last: u32) {
        let (mut first, mut last) = (first, last);
        if let Some((start, end)) = self.before(first)
            && end >= first.saturating_sub(1)
        {
            (first, last) = (start, last.max(end));
        }
        let touched = |runs: &Self, last: u32| {
            let mut runs = runs.0.range(first..=last.saturating_add(1));
            runs.next().map(|(start, end)| (*start, *end))
        };
        while let Some((start, end)) = touched(self, last) {
            self.0.remove(&start);
            last = last.max(end);
        }
        self.0.insert(first, last);
    }

    /// Frees `first` to `last`; what of them is free already stays so.
    pub fn free(&mut self, first: u32, last: u32) {
        let from = self.before(first).map_or(first, |(start, _)| start);
        let runs = self.0.range(from..=last);
        let hit: Vec<(u32, u32)> = runs
            .map(|(start, end)| (*start, *end))
            .filter(|(_, end)| *end >= first)
            .collect();
        for (start, end) in hit {
            self.0.remove(&start);
            if start < first {
                self.0.insert(start, first - 1);
            }
            if end > last {
                self.0.insert(last + 1, end);
            }
        }
    }

    /// Whether none of `first` to `last` is taken.
    pub fn is_free(&self, first: u32, last: u32) -> bool {
        self.before(last).is_none_or(|(_, end)| end < first)
    }

    /// The first of `size` free numbers from `from` to `to`, at a multiple of `size`.
    pub fn next_free(&self, from: u32, to: u32, size: u32) -> Option<u32> {
        let mut at = from.checked_next_multiple_of(size)?;
        loop {
            let end = at.checked_add(size - 1).filter(|end| *end <= to)?;
            match self.before(end).filter(|(_, taken)| *taken >= at) {
                None => return Some(at),
                Some((_, taken)) => at = taken.checked_add(1)?.checked_next_multiple_of(size)?,
            }
        }
    }

    /// How many numbers from `first` to `last` are free.
    pub fn count_free(&self, first: u32, last: u32) -> u64 {
        if first > last {
            return 0;
        }
        let from = self.before(first).map_or(first, |(start, _)| start);
        let taken = self.0.range(from..=last).map(|(start, end)| {
            let (start, end) = (*start.max(&first), *end.min(&last));
            (u64::from(end) + 1).saturating_sub(u64::from(start))
        });
        u64::from(last - first) + 1 - taken.sum::<u64>()
    }

    /// Whether nothing is taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last run that begins at `number` or before.
    fn before(&self, number: u32) -> Option<(u32, u32)> {
        let mut runs = self.0.range(..=number);
        runs.next_back().map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_ends_of_the_range_are_numbers_too() {
        let mut runs = Runs::default();
        runs.take(0, 0);
        runs.take(u32::MAX, u32::MAX);
        assert!(!runs.is_free(0, 0) && !runs.is_free(u32::MAX, u32::MAX));
        assert_eq!(runs.next_free(u32::MAX, u32::MAX, 1), None);
        assert_eq!(runs.next_free(0, u32::MAX, 1), Some(1));
        assert_eq!(runs.next_free(u32::MAX - 2, u32::MAX, 256), None);
        runs.take(1, u32::MAX - 1);
        assert_eq!(runs, Runs(BTreeMap::from([(0, u32::MAX)])));
        assert_eq!(runs.count_free(0, u32::MAX), 0);
        runs.free(0, u32::MAX);
        assert!(runs.is_empty());
        assert_eq!(runs.count_free(0, u32::MAX), 1 << 32);
    }

    #[test]
    fn what_is_given_out_in_order_is_one_run() {
        let mut runs = Runs::default();
        for _ in 0..50_000 {
            let first = runs.next_free(0, u32::MAX, 256).expect("there is room");
            runs.take(first, first + 255);
        }
        assert_eq!(runs, Runs(BTreeMap::from([(0, 50_000 * 256 - 1)])));
    }

    proptest! {
        #[test]
        fn runs_say_what_a_set_says(
            steps in prop::collection::vec((any::<bool>(), 0..60u32, 0..9u32), 0..40),
            from in 0..64u32,
            to in 0..64u32,
            size in prop::sample::select(vec![1u32, 2, 4, 8]),
        ) {
            let mut runs = Runs::default();
            let mut set = BTreeSet::new();
            for (takes, first, more) in steps {
                let range = first..=first + more;
                match takes {
                    true => {
                        runs.take(first, first + more);
                        set.extend(range);
                    }
                    false => {
                        runs.free(first, first + more);
                        set.retain(|number| !range.contains(number));
                    }
                }
            }
            let is_free = |first: u32, last: u32| set.range(first..=last).next().is_none();
            for number in 0..70 {
                prop_assert_eq!(runs.is_free(number, number), is_free(number, number));
                prop_assert_eq!(runs.is_free(number, number + 3), is_free(number, number + 3));
            }
            let free = (from..=to).filter(|number| !set.contains(number)).count();
            prop_assert_eq!(runs.count_free(from, to), free as u64);
            let found = (from..=to).find(|first| {
                first % size == 0 && first + size - 1 <= to && is_free(*first, first + size - 1)
            });
            prop_assert_eq!(runs.next_free(from, to, size), found);
            // Neighbours are one run: that is what makes a search short.
            let mut gaps = runs.0.iter().zip(runs.0.keys().skip(1));
            prop_assert!(gaps.all(|((_, end), start)| *start > end + 1));
        }
    }
}
