//! What happens to the whole store.

use super::{Deed, Scenario, web};
use crate::families::Family;

pub(super) fn all() -> Vec<Scenario> {
    vec![move_store()]
}

/// The store moves to another place, and life goes on there.
fn move_store() -> Scenario {
    Scenario {
        name: "move",
        nodes: 2,
        rival: None,
        before: vec![web(2, 1)],
        deeds: vec![(0, Deed::Move), (20, web(3, 1))],
        without: &[Family::Reused],
        end: "web.1 v1, web.2 v1, web.3 v1",
    }
}
