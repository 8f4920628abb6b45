//! Which view of the store the agents of this manager's engines have programmed, so that a task is stopped once no node
//! sends anybody to it any more.
//!
//! A node is in it while its agent is spoken to and has programmed something: who cannot be reached is not waited for. It
//! is this process's own; of nodes that other managers drive nothing is known here.

use crate::api::name::NodeName;
use crate::api::unit::Revision;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What agents have programmed.
#[derive(Debug, Default)]
pub struct Acknowledged(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    of: BTreeMap<NodeName, Revision>,
    /// How many nodes are at each, so that the least is found at once.
    counts: BTreeMap<Revision, usize>,
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
    /// The node's kernel shows what follows from this view of the store.
    pub(super) fn tell(&self, revision: Revision) {
        self.acknowledged.board().set(&self.node, Some(revision));
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
}
