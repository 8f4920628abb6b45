//! What leads agents from the states that they have to those of one view of the store, found and written down once for all nodes
//! that go the same way: of a thousand nodes that have the same networks and were at the same state, one is looked at.

use super::session::Line;
use super::whole;
use crate::dataplane::agent::Order;
use crate::dataplane::delta::{Way, is_one, way};
use crate::dataplane::state::State;
use std::sync::{Arc, Mutex};

/// How many are remembered at most: nodes are some states apart, as one agent answers sooner than another. Where nodes have
/// networks of their own there is one for each, and nobody to share it with.
const REMEMBERED: usize = 64;

/// Those that were found.
#[derive(Default)]
pub(in crate::controllers::task) struct Ways(Mutex<Vec<Found>>);

struct Found {
    before: Arc<State>,
    after: Arc<State>,
    /// None: there is nothing to do.
    order: Option<Line>,
}

impl Ways {
    /// The order that leads from one state to another; nothing: it is the same but for its number.
    ///
    /// Who comes while it is looked for waits, as it is mostly theirs as well; where there are too many, each looks for itself.
    pub(super) fn order(&self, before: &Arc<State>, after: &Arc<State>) -> Option<Line> {
        let mut all = self
            .0
            .lock()
            .expect("no code panics while it holds the ways");
        let leads = |found: &&Found| is_one(&found.before, before) && is_one(&found.after, after);
        let found = all.iter().find(leads);
        if let Some(found) = found.filter(|_| before.node == after.node) {
            return found.order.clone();
        }
        if all.len() == REMEMBERED {
            drop(all);
            return order(way(before, after), after);
        }
        let way = way(before, after);
        // A whole state says whose it is.
        let is_shared = !matches!(way, Way::Whole);
        let order = order(way, after);
        all.extend(is_shared.then(|| Found {
            before: before.clone(),
            after: after.clone(),
            order: order.clone(),
        }));
        order
    }
}

fn order(way: Way, after: &State) -> Option<Line> {
    match way {
        Way::Same => None,
        Way::Delta(delta) => Some(Line::of(&Order::Delta(delta))),
        Way::Whole => Some(whole(after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::state::{NodeIndex, StateRevision};
    use crate::dataplane::state_tests::example;
    use std::net::Ipv4Addr;

    /// The same state on another node and later, with what both have held once.
    fn at(state: &State, node: u16, revision: u64) -> Arc<State> {
        let (node, revision) = (NodeIndex(node), StateRevision(revision));
        Arc::new(State {
            node,
            revision,
            ..state.clone()
        })
    }

    /// The same with a member more.
    fn with(state: &State, index: u16, last: u8) -> State {
        let mut more = state.clone();
        let address = Ipv4Addr::new(192, 0, 2, last);
        more.members.insert(NodeIndex(index), address);
        more
    }

    fn parsed(line: &Line) -> Order {
        serde_json::from_slice(line.bytes()).expect("an order")
    }

    #[test]
    fn nodes_that_go_the_same_way_are_told_the_same() {
        let before = example();
        let after = with(&before, 9, 9);
        let ways = Ways::default();
        let order = |node| ways.order(&at(&before, node, 1), &at(&after, node, 2));
        let (one, other) = (order(1).expect("an order"), order(2).expect("an order"));
        assert_eq!(one.bytes().as_ptr(), other.bytes().as_ptr(), "it is one");
        let Order::Delta(delta) = parsed(&one) else {
            panic!("a member more is a change");
        };
        assert_eq!(
            at(&before, 2, 1).after(delta),
            Ok((*at(&after, 2, 2)).clone())
        );
    }

    #[test]
    fn who_is_elsewhere_goes_another_way() {
        let before = example();
        let between = with(&before, 8, 8);
        let after = with(&between, 9, 9);
        let ways = Ways::default();
        let changes = |from: &Arc<State>| {
            let order = ways.order(from, &at(&after, 1, 3)).expect("an order");
            match parsed(&order) {
                Order::Delta(delta) => delta.changes.len(),
                other => panic!("{other:?} is no change"),
            }
        };
        assert_eq!(changes(&at(&before, 1, 1)), 2);
        assert_eq!(changes(&at(&between, 1, 2)), 1);
        assert_eq!(changes(&at(&before, 1, 1)), 2);
    }

    #[test]
    fn who_becomes_another_node_is_told_all() {
        let before = example();
        let mut after = with(&before, 9, 9);
        let ways = Ways::default();
        ways.order(&at(&before, 1, 1), &at(&after, 1, 2));
        let whole = |from: u16, after: &State, to: u16| {
            let order = ways.order(&at(&before, from, 1), &at(after, to, 2));
            match parsed(&order.expect("an order")) {
                Order::State(state) => state.node,
                other => panic!("{other:?} is not all"),
            }
        };
        assert_eq!(whole(1, &after, 2), NodeIndex(2));
        // So is who is told another port for VXLAN, each for itself.
        after.vxlan_port.0 += 1;
        assert_eq!(whole(1, &after, 1), NodeIndex(1));
        assert_eq!(whole(2, &after, 2), NodeIndex(2));
    }

    #[test]
    fn so_many_are_remembered() {
        let state = example();
        let ways = Ways::default();
        for revision in 1..100 {
            assert!(
                ways.order(&at(&state, 1, revision), &at(&state, 1, revision + 1))
                    .is_none()
            );
        }
        assert_eq!(ways.0.lock().unwrap().len(), REMEMBERED);
    }
}
