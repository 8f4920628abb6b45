//! The identity of the cluster and the lives of its store.

use super::snapshot::{Node, Snapshot};
use super::status;
use crate::api::cluster::{Cluster, FORMAT, Held, Severity};
use crate::api::key::Key;
use crate::api::status::NodeState;
use crate::api::time::Timestamp;
use crate::api::uid::{Ids, Uid};
use crate::api::unit::Incarnation;
use crate::planted::{Bug, planted};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::plan::{Plan, Step};
use std::time::Duration;

/// A node that does not answer is waited for so long before adopting ends without it: six times the grace after which
/// a node counts as down, so that a manager that has just started can judge.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// After a node was accepted while adopting, others may follow: a person who applies all manifests anew after a wipe
/// needs no longer.
pub(super) const SETTLE: Duration = Duration::from_secs(10);
/// Unknown keys wake nobody, so they are looked for this often.
const LOOK_FOR_UNKNOWN: Duration = Duration::from_secs(10);

/// Why this process must not work on this store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A newer version of skep has written it.
    #[error(
        "the store has format {found}, this version of skep knows format {FORMAT}: start the version that the other managers run"
    )]
    NewerFormat {
        /// The record's format.
        found: u32,
    },
    /// The record cannot be read.
    #[error(
        "the record at `cluster` cannot be read ({problem}): put it back, or delete it and start a manager with --cluster-id, the label dev.skep.cluster of its containers"
    )]
    Unreadable {
        /// What is wrong with it.
        problem: String,
    },
    /// The process served another cluster.
    #[error(
        "this manager served cluster {served}, the store now holds cluster {found}: check --endpoints; start the manager anew to serve {found}, or with --cluster-id {served} if that one lost its store"
    )]
    OtherCluster {
        /// The one that it knew.
        served: Uid,
        /// The one in the store.
        found: Uid,
    },
    /// The cluster lives in another store now.
    #[error(
        "the cluster moved to {to}: start the manager with --endpoints of that store; to serve this one again, which is its past, `skep store release`"
    )]
    Moved {
        /// Where it is.
        to: String,
    },
    /// The cluster is not all here.
    #[error(
        "the store is being filled from {from} and not whole: wait for that command, or repeat it if it was interrupted"
    )]
    Unfinished {
        /// Where it comes from.
        from: String,
    },
}

impl Refusal {
    /// Never: somebody has to mend the store, point elsewhere, or start another version.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NewerFormat { .. } | Self::Unreadable { .. } | Self::OtherCluster { .. } => false,
            Self::Moved { .. } | Self::Unfinished { .. } => false,
        }
    }
}

/// Whether this process must not work on this store; `known` is what it served so far.
pub fn refusal(cache: &Cache, known: Option<&Cluster>) -> Option<Refusal> {
    if let Some(problem) = cache.broken.get(&Key::Cluster.to_string()) {
        let problem = problem.clone();
        return Some(Refusal::Unreadable { problem });
    }
    let record = cache.cluster.as_ref()?;
    match known {
        _ if record.format > FORMAT => Some(Refusal::NewerFormat {
            found: record.format,
        }),
        Some(known) if known.id != record.id => Some(Refusal::OtherCluster {
            served: known.id.clone(),
            found: record.id.clone(),
        }),
        Some(_) | None => record.held.clone().map(Refusal::from),
    }
}

impl From<Held> for Refusal {
    fn from(held: Held) -> Self {
        match held {
            Held::MovedTo(to) => Self::Moved { to },
            Held::FilledFrom(from) => Self::Unfinished { from },
        }
    }
}

/// Plans the record, and tells of what is not as it should be.
pub(super) fn plan(snapshot: &Snapshot<'_>, ids: &mut Ids) -> Plan {
    let mut plan = Plan::default();
    plan.look_again(LOOK_FOR_UNKNOWN);
    status::tell_of_keys(snapshot, &mut plan);
    if let Some(refusal) = refusal(snapshot.cache, snapshot.memory.known.as_ref()) {
        plan.note(
            Key::Cluster,
            None,
            Severity::Warning,
            "StoreRefused",
            refusal.to_string(),
        );
        return plan;
    }
    match &snapshot.cache.cluster {
        None => make(snapshot, ids, &mut plan),
        Some(record) => keep(snapshot, record, &mut plan),
    }
    plan
}

/// There is no record: the store is new or was wiped.
fn make(snapshot: &Snapshot<'_>, ids: &mut Ids, plan: &mut Plan) {
    let forgets = planted(Bug::MakesAnotherCluster);
    let (record, reason, message) = match (&snapshot.memory.known, &snapshot.told_id) {
        (Some(known), _) if !forgets => {
            let past = snapshot
                .cache
                .rewound_in
                .into_iter()
                .chain(labels(snapshot))
                .max();
            let past = past.map_or(known.incarnation, |past| past.max(known.incarnation));
            let message =
                "the cluster's record was gone and is written back: what runs is kept and adopted";
            (
                next_life(known.id.clone(), past, snapshot),
                "StoreWiped",
                message,
            )
        }
        (None, Some(told)) if !forgets => {
            let past = labels(snapshot).fold(unseen(snapshot), Incarnation::max);
            let message = "the cluster was given its id: what runs is kept and adopted";
            (
                next_life(told.clone(), past, snapshot),
                "ClusterIdGiven",
                message,
            )
        }
        (Some(_) | None, _) => {
            let record = Cluster {
                id: ids.uid(),
                incarnation: Incarnation(1),
                format: FORMAT,
                adopting_since: None,
                held: None,
            };
            (record, "ClusterCreated", "a new cluster")
        }
    };
    plan.note(
        Key::Cluster,
        Some(&record.id),
        Severity::Normal,
        reason,
        message,
    );
    plan.push(
        Step::default()
            .if_missing(Key::Cluster)
            .put(Key::Cluster, &record),
    );
}

/// There is a record: raise its incarnation, end adopting, or leave it.
fn keep(snapshot: &Snapshot<'_>, record: &Stored<Cluster>, plan: &mut Plan) {
    if let Some(next) = take_over(snapshot, record, plan) {
        write(snapshot, &next, plan);
        return;
    }
    status::tell_of_foreign(snapshot, record, plan);
    let past = past_life(snapshot, record).filter(|_| !planted(Bug::KeepsItsLife));
    if let Some(past) = past {
        let next = next_life(record.id.clone(), past, snapshot);
        let message = format!(
            "the store went back: its life {} begins; nothing is stopped or started until what runs is adopted",
            next.incarnation
        );
        plan.note(
            Key::Cluster,
            Some(&record.id),
            Severity::Warning,
            "StoreRewound",
            message,
        );
        write(snapshot, &next, plan);
    } else if record.adopting_since.is_some() {
        end_adopting(snapshot, record, plan);
    }
}

/// `--cluster-id` names another cluster: the record takes that id if nothing was ever placed under its own.
fn take_over(snapshot: &Snapshot<'_>, record: &Cluster, plan: &mut Plan) -> Option<Cluster> {
    let told = snapshot
        .told_id
        .as_ref()
        .filter(|told| **told != record.id)?;
    let is_unused = snapshot.cache.bindings.is_empty() && labels(snapshot).next().is_none();
    if !is_unused {
        let message = format!(
            "--cluster-id {told} is ignored: this store's cluster is {} and has tasks on its nodes",
            record.id
        );
        plan.note(
            Key::Cluster,
            Some(&record.id),
            Severity::Warning,
            "ClusterIdRefused",
            message,
        );
        return None;
    }
    let message = format!(
        "the cluster was {}: its containers are now those of {told}",
        record.id
    );
    plan.note(
        Key::Cluster,
        Some(told),
        Severity::Warning,
        "ClusterIdGiven",
        message,
    );
    Some(next_life(told.clone(), record.incarnation, snapshot))
}

/// The latest life of the store that is over, though the record does not say so.
fn past_life(snapshot: &Snapshot<'_>, record: &Cluster) -> Option<Incarnation> {
    let known = snapshot
        .memory
        .known
        .as_ref()
        .map(|known| known.incarnation);
    let is_over = |life: &Incarnation| *life >= record.incarnation;
    let managers = snapshot.cache.managers.values();
    let seen_by_others = managers.filter_map(|manager| manager.saw_end_of);
    let rewound = snapshot.cache.rewound_in.into_iter();
    let rewound = rewound.chain(seen_by_others).filter(is_over).max();
    let older = known.filter(|known| *known > record.incarnation);
    let ahead = snapshot
        .nodes
        .iter()
        .filter_map(|node| ahead(node, record))
        .max();
    rewound.max(older).max(ahead)
}

/// Labels are ahead of the store if they name a later life, or a revision that the store had not reached when it
/// stored what was read from them, or if who drives the engine says that this history cannot have ordered them.
fn ahead(node: &Node, record: &Cluster) -> Option<Incarnation> {
    let (life, revision) = node.highest?;
    let is_ahead = life > record.incarnation
        || (life == record.incarnation && (node.is_ahead || revision > node.said_at));
    is_ahead.then_some(life)
}

fn labels<'a>(snapshot: &'a Snapshot<'_>) -> impl Iterator<Item = Incarnation> + 'a {
    snapshot
        .nodes
        .iter()
        .filter_map(|node| Some(node.highest?.0))
}

/// A life that no life of a lost store that nobody remembers has come to: lives count one by one, so the seconds since the
/// epoch are ahead of them. Were it life 1 again, what a node that is added later still runs of the first one would look
/// like this life's. Where a clock was wrong, labels that are ahead begin the next life.
fn unseen(snapshot: &Snapshot<'_>) -> Incarnation {
    let since_epoch = snapshot.now.wall.since(Timestamp(0));
    Incarnation(since_epoch.as_secs())
}

fn next_life(id: Uid, past: Incarnation, snapshot: &Snapshot<'_>) -> Cluster {
    Cluster {
        id,
        incarnation: Incarnation(past.0 + 1),
        format: FORMAT,
        adopting_since: Some(snapshot.now.wall),
        held: None,
    }
}

fn end_adopting(snapshot: &Snapshot<'_>, record: &Stored<Cluster>, plan: &mut Plan) {
    match wait(snapshot, record).filter(|_| !planted(Bug::EndsAdoptingEarly)) {
        Some(delay) => plan.look_again(delay),
        None => {
            let next = Cluster {
                adopting_since: None,
                ..record.value.as_ref().clone()
            };
            let message = "each node was looked at: what runs is adopted";
            plan.note(
                Key::Cluster,
                Some(&record.id),
                Severity::Normal,
                "Adopted",
                message,
            );
            write(snapshot, &next, plan);
        }
    }
}

/// How long to wait at least before adopting can end; none: it can.
///
/// Without a node nothing can be started, and who re-applies manifests after a wipe begins with the nodes: it waits.
fn wait(snapshot: &Snapshot<'_>, record: &Cluster) -> Option<Duration> {
    if snapshot.nodes.is_empty() {
        return Some(PATIENCE);
    }
    let nodes = snapshot
        .nodes
        .iter()
        .filter_map(|node| wait_for(node, snapshot, record));
    nodes.chain(settle(snapshot, record)).max()
}

fn wait_for(node: &Node, snapshot: &Snapshot<'_>, record: &Cluster) -> Option<Duration> {
    let rest = PATIENCE.saturating_sub(snapshot.adopting);
    let rest = (!rest.is_zero()).then_some(rest);
    match node.state {
        // What is adopted makes room in the list for the rest; what cannot be is not waited for.
        _ if node.looked_at_in == Some(record.incarnation) => rest.filter(|_| node.is_cut),
        NodeState::Down if node.is_state_fresh => None,
        // A state from before the store went back may be wrong today: it gets as long as one that is not known.
        NodeState::Down | NodeState::Unknown => rest,
        NodeState::Ready => Some(PATIENCE),
    }
}

/// A time to come is of a clock that runs ahead: it delays nothing.
fn settle(snapshot: &Snapshot<'_>, record: &Cluster) -> Option<Duration> {
    let (since, now) = (record.adopting_since?, snapshot.now.wall);
    let newest = snapshot
        .nodes
        .iter()
        .map(|node| node.created_at)
        .filter(|created| *created >= since && *created <= now)
        .max()?;
    let rest = SETTLE.saturating_sub(now.since(newest));
    (!rest.is_zero()).then_some(rest)
}

fn write(snapshot: &Snapshot<'_>, record: &Cluster, plan: &mut Plan) {
    plan.push(
        Step::default()
            .if_unchanged(snapshot.cache, Key::Cluster)
            .put(Key::Cluster, record),
    );
}
