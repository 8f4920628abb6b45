//! Explores a model whole and says what was found.

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

/// A way to a state: each state with the step that leaves it, the last with none.
pub(crate) type Path<M> = Vec<(<M as Model>::State, Option<<M as Model>::Action>)>;

/// What a whole exploration found.
pub(crate) struct Found {
    /// How many states there are; managers and candidates are exchangeable, so that each stands for up to six.
    pub(crate) states: usize,
    /// The properties that do not hold.
    pub(crate) violated: BTreeSet<&'static str>,
    /// What can happen, of what should be possible.
    pub(crate) examples: BTreeSet<&'static str>,
}

/// Explores all states.
pub(crate) fn explore<M>(model: M) -> Found
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Hash + PartialEq + Send + Sync,
    M::Action: Clone + PartialEq,
{
    let mut is_failure = BTreeMap::new();
    for property in model.properties() {
        is_failure.insert(
            property.name,
            property.expectation != Expectation::Sometimes,
        );
    }
    let mut builder = model.checker().threads(2);
    // Also when all has been found: the number of states is part of the result.
    builder = builder.finish_when(HasDiscoveries::AllOf(BTreeSet::from(["never found"])));
    let checker = builder.spawn_bfs().join();
    let found = checker.discoveries().into_keys();
    let (violated, examples) = found.partition(|name| is_failure[name]);
    Found {
        states: checker.unique_state_count(),
        violated,
        examples,
    }
}

/// A way to the first state found that violates one property; none: it holds.
pub(crate) fn violation<M>(model: M, property: &'static str) -> Option<Path<M>>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let stop = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = model.clone().checker().finish_when(stop).spawn_bfs();
    let path = checker.join().discovery(property)?;
    let condition = model.property(property).condition;
    let mut steps = path.into_vec();
    let first = steps
        .iter()
        .position(|(state, _)| !condition(&model, state));
    if let Some(first) = first {
        steps.truncate(first + 1);
        steps[first].1 = None;
    }
    Some(steps)
}

/// The steps of a path, one in a line.
pub(crate) fn told<M>(path: &Path<M>) -> String
where
    M: Model,
    M::Action: Debug,
{
    let steps = path.iter().filter_map(|(_, action)| action.as_ref());
    steps.map(|action| format!("  {action:?}\n")).collect()
}

/// Whether a run may go round in a circle. If none can, and all is well wherever a run ends, then every run ends well,
/// whoever is slow.
pub(crate) fn has_circle<M>(model: &M) -> bool
where
    M: Model,
    M::State: Hash,
{
    let mut open: Vec<(u64, Vec<M::State>)> = Vec::new();
    // Whether it still lies on the way to where we are.
    let mut is_under_way: BTreeMap<u64, bool> = BTreeMap::new();
    let mut next = model.init_states();
    loop {
        while let Some(state) = next.pop() {
            let number = number(&state);
            match is_under_way.get(&number) {
                Some(true) => return true,
                Some(false) => {}
                None => {
                    is_under_way.insert(number, true);
                    let after = model.next_states(&state);
                    open.push((number, std::mem::replace(&mut next, after)));
                }
            }
        }
        let Some((done, rest)) = open.pop() else {
            return false;
        };
        is_under_way.insert(done, false);
        next = rest;
    }
}

fn number(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
