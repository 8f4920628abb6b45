//! Which view of the store the agents of this manager's engines have programmed, so that a task is stopped once no node
//! sends anybody to it any more.
//!
//! A node is in it while its agent is spoken to and has programmed something: who cannot be reached is not waited for. It
//! is this process's own; of nodes that other managers drive nothing is known here.

use crate::api::name::NodeName;
use crate::api::unit::Revision;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What agents have programmed.
#[derive(Debug, Default)]
pub struct Acknowledged(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    of: BTreeMap<NodeName, Revision>,
    /// How many nodes are at each, so that the least is found at once.
    counts: BTreeMap<Revision, usize>,
    /// When the views were seen that changed something on a node and are not programmed everywhere yet (time since boot).
    pending: BTreeMap<Revision, Duration>,
}

impl Board {
    fn set(&mut self, node: &NodeName, revision: Option<Revision>) {
        let before = match revision {
            Some(revision) => self.of.insert(node.clone(), revision),
            None => self.of.remove(node),
        };
        if let Some(revision) = revision {
            *self.counts.entry(revision).or_default() += 1;
        }
        if let Some(before) = before
            && let Some(count) = self.counts.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&before);
            }
        }
    }

    /// When the views were seen that all nodes show now, each said once.
    fn take_done(&mut self) -> Vec<Duration> {
        let Some(least) = self.counts.keys().next() else {
            return Vec::new();
        };
        let later = self.pending.split_off(&Revision(least.0 + 1));
        std::mem::replace(&mut self.pending, later)
            .into_values()
            .collect()
    }
}

impl Acknowledged {
    /// The view that every node in it has programmed at least; none: there is no node in it.
    pub fn least(&self) -> Option<Revision> {
        self.board().counts.keys().next().copied()
    }

    /// Whether a node is in it.
    pub fn has(&self, node: &NodeName) -> bool {
        self.board().of.contains_key(node)
    }

    /// The place of a node whose agent is spoken to.
    pub(super) fn place(self: &Arc<Self>, node: &NodeName) -> Place {
        Place {
            acknowledged: self.clone(),
            node: node.clone(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0
            .lock()
            .expect("no code panics while it holds the board")
    }
}

/// A node's place: it is left when this is dropped.
pub(super) struct Place {
    acknowledged: Arc<Acknowledged>,
    node: NodeName,
}

impl Place {
    /// The node is sent a change that follows from this view of the store, which was seen at this time since boot.
    pub(super) fn send(&self, view: Revision, seen: Duration) {
        let mut board = self.acknowledged.board();
        board.pending.entry(view).or_insert(seen);
    }

    /// The node's kernel shows what follows from this view of the store; when those changes were seen that all nodes show now.
    pub(super) fn tell(&self, view: Revision) -> Vec<Duration> {
        let mut board = self.acknowledged.board();
        board.set(&self.node, Some(view));
        board.take_done()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.acknowledged.board().set(&self.node, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_that_of_the_slowest_who_is_still_there() {
        let all = Arc::new(Acknowledged::default());
        assert_eq!(all.least(), None);
        let (one, two) = (all.place(&"n1".into()), all.place(&"n2".into()));
        assert_eq!(all.least(), None, "they have said nothing yet");
        one.tell(Revision(3));
        two.tell(Revision(5));
        assert_eq!(all.least(), Some(Revision(3)));
        one.tell(Revision(5));
        assert_eq!(all.least(), Some(Revision(5)));
        two.tell(Revision(9));
        drop(one);
        assert_eq!(all.least(), Some(Revision(9)));
        assert!(!all.has(&"n1".into()) && all.has(&"n2".into()));
        drop(two);
        assert_eq!(all.least(), None);
    }

    #[test]
    fn a_change_is_over_once_the_last_node_shows_it() {
        let all = Arc::new(Acknowledged::default());
        let (one, two) = (all.place(&"n1".into()), all.place(&"n2".into()));
        let at = Duration::from_secs;
        one.tell(Revision(1));
        two.tell(Revision(1));
        one.send(Revision(3), at(10));
        two.send(Revision(3), at(10));
        one.send(Revision(5), at(20));
        let none = Vec::<Duration>::new();
        assert_eq!(one.tell(Revision(5)), none);
        assert_eq!(two.tell(Revision(3)), [at(10)]);
        assert_eq!(two.tell(Revision(5)), [at(20)]);
        assert_eq!(two.tell(Revision(5)), none, "it is said once");
        // Who cannot be reached is not waited for.
        one.send(Revision(7), at(30));
        assert_eq!(one.tell(Revision(7)), none);
        drop(two);
        assert_eq!(one.tell(Revision(7)), [at(30)]);
    }
}
