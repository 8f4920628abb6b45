//! Lanes: which waiting plans are sent together, and what may be sent beside what is on its way. Pure.
//!
//! One transaction is sent as soon as there is anything to write. Further ones go beside it only when they are full: small
//! writes gain more from sharing the next transaction than from being early.
//!
//! Invariant: what touches a key that an earlier plan writes waits for it, wherever that plan is; so does a write of a key
//! that an earlier plan compares.

use crate::store::BATCH_OPERATIONS;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Transactions of one writer on their way at once: a few keep the store's disk busy, and each costs every watcher a
/// batch of its own.
const LANES: usize = 4;

/// What a waiting plan writes and compares.
pub(super) trait Touched {
    /// How many operations.
    fn operations(&self) -> usize;
    /// How many comparisons, the fence left out.
    fn comparisons(&self) -> usize;
    /// Marks of the keys that it writes.
    fn written(&self) -> &[u64];
    /// Marks of the keys that it compares.
    fn compared(&self) -> &[u64];
}

/// The plans of one writer that wait, and the keys of those on their way.
pub(super) struct Lanes<T> {
    fence: usize,
    waiting: VecDeque<T>,
    /// Of all that waits together.
    operations: usize,
    /// Of all that waits together.
    comparisons: usize,
    sent: BTreeMap<u64, Keys>,
    next: u64,
}

impl<T: Touched> Lanes<T> {
    /// No plans; every transaction compares so many keys besides.
    pub(super) fn new(fence: usize) -> Self {
        Self {
            fence,
            waiting: VecDeque::new(),
            operations: 0,
            comparisons: 0,
            sent: BTreeMap::new(),
            next: 0,
        }
    }

    /// A plan that waits.
    pub(super) fn add(&mut self, plan: T) {
        self.operations += plan.operations();
        self.comparisons += plan.comparisons();
        self.waiting.push_back(plan);
    }

    /// All that waits; it will not be sent.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        (self.operations, self.comparisons) = (0, 0);
        self.waiting.drain(..)
    }

    /// What was sent in this lane has ended.
    pub(super) fn done(&mut self, lane: u64) {
        self.sent.remove(&lane);
    }

    /// What is sent next, with its lane; none as long as nothing may or need be.
    pub(super) fn next(&mut self) -> Option<(u64, Vec<T>)> {
        if self.waiting.is_empty() || self.sent.len() == LANES || !self.may_be_due() {
            return None;
        }
        let (places, is_full) = self.choose();
        let last = *places.last()?;
        if !(is_full || self.sent.is_empty()) {
            return None;
        }
        let mut places = places.into_iter().peekable();
        let (mut batch, mut held_up) = (Vec::new(), Vec::new());
        for (place, plan) in self.waiting.drain(..=last).enumerate() {
            match places.next_if_eq(&place) {
                Some(_) => batch.push(plan),
                None => held_up.push(plan),
            }
        }
        for plan in held_up.into_iter().rev() {
            self.waiting.push_front(plan);
        }
        let mut keys = Keys::default();
        for plan in &batch {
            keys.add(plan);
            self.operations -= plan.operations();
            self.comparisons -= plan.comparisons();
        }
        let lane = self.next;
        self.next += 1;
        self.sent.insert(lane, keys);
        Some((lane, batch))
    }

    /// Whether all that waits would fill a transaction, or nothing is on its way. Asked first, because it costs nothing:
    /// plans arrive one by one, and looking at all that wait for each of them is work in the square of their number.
    fn may_be_due(&self) -> bool {
        self.sent.is_empty()
            || self.operations >= BATCH_OPERATIONS
            || self.fence + self.comparisons > BATCH_OPERATIONS + 1
    }

    /// The places of the first waiting plans that fit into one transaction and touch nothing that is on its way or waits
    /// before them; and whether no more would fit.
    fn choose(&self) -> (Vec<usize>, bool) {
        let mut places = Vec::new();
        let (mut operations, mut comparisons) = (0, self.fence);
        let mut held_up = Keys::default();
        for (place, plan) in self.waiting.iter().enumerate() {
            let is_held_up = self.sent.values().any(|keys| keys.bar(plan)) || held_up.bar(plan);
            if is_held_up {
                held_up.add(plan);
                continue;
            }
            operations += plan.operations();
            comparisons += plan.comparisons();
            let is_over = operations > BATCH_OPERATIONS || comparisons > BATCH_OPERATIONS + 1;
            if is_over && !places.is_empty() {
                return (places, true);
            }
            places.push(place);
            // A plan that fills a transaction by itself.
            if is_over || operations == BATCH_OPERATIONS {
                return (places, true);
            }
        }
        (places, false)
    }
}

/// Keys that are on their way, by their marks.
#[derive(Default)]
struct Keys {
    written: BTreeSet<u64>,
    compared: BTreeSet<u64>,
}

impl Keys {
    fn add(&mut self, plan: &impl Touched) {
        self.written.extend(plan.written());
        self.compared.extend(plan.compared());
    }

    /// Whether a plan has to wait for them.
    fn bar(&self, plan: &impl Touched) -> bool {
        let (mut written, mut compared) = (plan.written().iter(), plan.compared().iter());
        written.any(|key| self.written.contains(key) || self.compared.contains(key))
            || compared.any(|key| self.written.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batch::mark;

    /// `a b?c`: writes a and b, compares c; `*70`: counts as so many operations.
    struct Words {
        names: Vec<String>,
        written: Vec<u64>,
        compared: Vec<u64>,
        weight: usize,
    }

    impl Touched for Words {
        fn operations(&self) -> usize {
            self.weight
        }
        fn comparisons(&self) -> usize {
            self.compared.len()
        }
        fn written(&self) -> &[u64] {
            &self.written
        }
        fn compared(&self) -> &[u64] {
            &self.compared
        }
    }

    fn plan(text: &str) -> Words {
        let (mut names, mut compared, mut weight) = (Vec::new(), Vec::new(), 1);
        for word in text.split(' ') {
            if let Some(count) = word.strip_prefix('*') {
                weight = count.parse().expect("a number");
            } else if let Some(key) = word.strip_prefix('?') {
                compared.push(mark(key));
            } else {
                names.push(word.to_owned());
            }
        }
        Words {
            written: names.iter().map(|name| mark(name)).collect(),
            names,
            compared,
            weight,
        }
    }

    /// What is sent at once when `plans` wait: each transaction as the keys that it writes.
    fn check(plans: &[&str], wanted: &[&str]) {
        let mut lanes = Lanes::new(1);
        for text in plans {
            lanes.add(plan(text));
        }
        let sent = std::iter::from_fn(|| lanes.next());
        let told: Vec<String> = sent.map(|(_, batch)| keys(&batch)).collect();
        assert_eq!(told, wanted);
    }

    fn keys(batch: &[Words]) -> String {
        let keys: Vec<&str> = batch
            .iter()
            .flat_map(|plan| plan.names.iter().map(String::as_str))
            .collect();
        keys.join(" ")
    }

    #[test]
    fn what_waits_together_is_sent_together() {
        check(&["a", "b", "c"], &["a b c"]);
        check(&[], &[]);
    }

    #[test]
    fn a_second_transaction_goes_beside_the_first_only_when_it_is_full() {
        check(&["a *127", "b"], &["a"]);
        check(&["a *127", "b *100", "c *100"], &["a", "b"]);
        check(
            &["a *127", "b *127", "c *127", "d *127", "e *127"],
            &["a", "b", "c", "d"],
        );
        check(&["a *500", "b *127"], &["a", "b"]);
    }

    #[test]
    fn plans_on_the_same_keys_keep_their_order() {
        check(&["a *127", "a *127"], &["a"]);
        check(&["a *127", "a x *127", "x *127", "b *127"], &["a", "b"]);
        check(&["a *127", "b ?a *127"], &["a"]);
        check(&["a ?b *127", "b *127"], &["a"]);
        check(&["a ?k *127", "b ?k *127"], &["a", "b"]);
    }

    #[test]
    fn what_was_held_up_goes_when_its_turn_comes() {
        let mut lanes = Lanes::new(1);
        for text in ["a *127", "a b *127", "b *127"] {
            lanes.add(plan(text));
        }
        let mut told = Vec::new();
        while let Some((lane, batch)) = lanes.next() {
            told.push(keys(&batch));
            assert!(lanes.next().is_none(), "the rest waits for it");
            lanes.done(lane);
        }
        assert_eq!(told, ["a", "a b", "b"]);
    }

    #[test]
    fn small_plans_that_arrive_while_something_is_on_its_way_go_once_they_fill_a_transaction() {
        let mut lanes = Lanes::new(1);
        lanes.add(plan("first"));
        let (first, _) = lanes.next().expect("nothing is on its way");
        let mut filled = Vec::new();
        for number in 0..130 {
            lanes.add(plan(&format!("k{number} ?a ?b")));
            filled.extend(lanes.next().map(|(_, batch)| (number, batch.len())));
        }
        // 128 comparisons and the fence: the 64th does not fit any more.
        assert_eq!(filled, [(63, 63), (126, 63)]);
        lanes.done(first);
        assert!(lanes.next().is_none(), "two are still on their way");
    }
}
