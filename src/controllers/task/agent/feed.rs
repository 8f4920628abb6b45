//! What the data plane of every node should be: computed once for each view of the store that says something new, for all
//! engines that this manager drives.
//!
//! While what runs is being adopted nothing is computed: a store that lost what it knew must not take ways away (rule S6).

use super::ways::Ways;
use crate::api::allocation::Vni;
use crate::api::key::Key;
use crate::api::name::{Kind, NodeName, Scoped};
use crate::api::subnet::Cidr;
use crate::api::unit::Revision;
use crate::dataplane::state::State;
use crate::runtime::cache::Cache;
use crate::runtime::changes::Changes;
use crate::runtime::clock::timer_now;
use crate::runtime::context::Context;
use crate::runtime::{joins, view};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long changes are gathered at least: a service that starts makes thousands. What took longer to compute is computed no
/// more than half of the time: who writes is not to wait for a reader of the cache.
const GATHER: Duration = Duration::from_millis(20);

/// What a node should be; none: it has no number, or nobody knows where others reach it.
pub type StateOf = Arc<dyn Fn(&NodeName) -> Option<State> + Send + Sync>;

/// How that follows from the store: the network controller's own.
pub type Compute = Arc<dyn Fn(&Cache) -> StateOf + Send + Sync>;

/// Networks by their numbers.
pub type Numbers = BTreeMap<Vni, Scoped>;

/// The blocks that nodes have of attachable networks.
pub type Blocks = BTreeMap<(Vni, NodeName), Cidr>;

/// What all nodes should be.
#[derive(Clone)]
pub(in crate::controllers::task) struct States {
    /// The view of the store that it follows from.
    pub(in crate::controllers::task) revision: Revision,
    /// When the first change that led to it was seen: time since boot.
    pub(in crate::controllers::task) seen: Duration,
    /// Networks by their numbers; without one no node needs an agent.
    pub(in crate::controllers::task) numbers: Arc<Numbers>,
    /// From which addresses engines serve others.
    pub(in crate::controllers::task) blocks: Arc<Blocks>,
    /// Whether all nodes that are ready have said what their links carry.
    pub(in crate::controllers::task) is_measured: bool,
    /// A node's part.
    pub(in crate::controllers::task) of: StateOf,
    /// What leads to these parts, found once for all nodes that go the same way.
    pub(in crate::controllers::task) ways: Arc<Ways>,
}

/// The newest, for drivers; none: nothing is known yet.
pub(in crate::controllers::task) type Feed = watch::Receiver<Option<States>>;

/// Computes for as long as it is polled.
pub(in crate::controllers::task) async fn run(
    compute: Compute,
    context: Context,
    told: watch::Sender<Option<States>>,
) {
    let cache = &context.cache;
    let changes = Changes::of(cache, matters);
    cache.filled().await;
    let mut seen = context.clock.now().since_boot;
    let mut last: Option<(StateOf, Arc<Ways>)> = None;
    loop {
        let started = timer_now();
        let states = cache.read(|cache| {
            let numbers = joins::by_number(cache);
            let blocks = joins::blocks(cache, &numbers);
            let numbers = numbers.into_iter();
            (!view::is_adopting(cache)).then(|| {
                let of = compute(cache);
                let known = last.as_ref().filter(|(known, _)| Arc::ptr_eq(known, &of));
                let ways = known.map_or_else(Arc::default, |(_, ways)| ways.clone());
                last = Some((of.clone(), ways.clone()));
                States {
                    revision: cache.revision,
                    seen,
                    numbers: Arc::new(numbers.map(|(vni, name)| (vni, name.clone())).collect()),
                    blocks: Arc::new(blocks),
                    is_measured: view::is_measured(cache),
                    of,
                    ways,
                }
            })
        });
        if let Some(states) = states {
            told.send_replace(Some(states));
        }
        let took = started.elapsed();
        changes.next().await;
        seen = context.clock.now().since_boot;
        tokio::time::sleep(GATHER.max(took)).await;
    }
}

/// Whether a state may follow from the key. A shard's as well: who has claimed one waits for a view from after that.
fn matters(key: &Key) -> bool {
    match key {
        Key::Accepted(_)
        | Key::Allocation(_)
        | Key::Task(..)
        | Key::Binding(..)
        | Key::TaskStatus(..)
        | Key::Revision(..)
        | Key::Cluster
        | Key::Shard(_) => true,
        Key::Status(object, controller) => {
            object.kind == Kind::Node && [view::HEALTH, view::TASK].contains(&&**controller)
        }
        Key::User(_) | Key::Scale(_) | Key::Election(..) | Key::Manager(_) => false,
    }
}
