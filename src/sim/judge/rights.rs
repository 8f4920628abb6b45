//! Who may write and order: one writer per key, fences, terms that end, one driver per engine (rules S1, S4, S5, N5, N6),
//! and how far back the store remembers (rule S8). Pure.

use super::store::{Store, key_of};
use super::{Bench, Log, STALE};
use crate::api::key::Key;
use crate::api::name::Kind;
use crate::api::uid::{ContainerId, TaskId};
use crate::api::unit::Revision;
use crate::store::{Compare, Op, Txn};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The order to remove whatever the container does.
pub(in crate::sim) const FORCED: &str = "remove by force";

/// After the store was lost, holders may not know for so long that their rights went with it: longer than a lease.
const UNAWARE: Duration = Duration::from_secs(10);

/// A watcher that was away for less resumes: five minutes, less what a look at the store may take.
const REMEMBERED: Duration = Duration::from_secs(290);

/// What is remembered of rights.
#[derive(Debug, Default)]
pub(super) struct Rights {
    /// Terms of shards that ended, and when.
    ended: BTreeMap<Revision, Duration>,
    /// Fences under which an outcome is unknown, by manager, and since when it knows that.
    unknown: BTreeMap<String, BTreeMap<(String, Revision), Duration>>,
    /// When the store was lost last.
    lost: Option<Duration>,
    /// The store's revision over the last minutes.
    revisions: VecDeque<(Duration, Revision)>,
}

impl Rights {
    pub(super) fn lost(&mut self, now: Duration) {
        self.ended.clear();
        self.unknown.clear();
        self.revisions.clear();
        self.lost = Some(now);
    }

    /// Whether the store was ever lost.
    pub(super) fn were_lost(&self) -> bool {
        self.lost.is_some()
    }

    pub(super) fn ended(&mut self, term: Revision, now: Duration) {
        self.ended.insert(term, now);
    }

    /// The newest change that is seen is of this revision. Where that was deleted, an older one is the newest.
    pub(super) fn reached(&mut self, revision: Revision, now: Duration) {
        let last = self.revisions.back().map(|(_, last)| *last);
        if last >= Some(revision) {
            return;
        }
        self.revisions.push_back((now, revision));
        let is_old = |(at, _): &(Duration, Revision)| now.saturating_sub(*at) >= REMEMBERED;
        while self.revisions.front().is_some_and(is_old) {
            self.revisions.pop_front();
        }
    }

    /// Whether an order of this shard's term may be carried out now.
    pub(super) fn may_be_of(&self, term: Revision, store: &Store, log: &Log) -> bool {
        let mut shards = store
            .holders
            .iter()
            .filter(|(right, _)| right.starts_with("shards/"));
        let is_held = shards.any(|(_, holders)| holders.contains_key(&term));
        is_held
            || log.is_within(self.ended.get(&term).copied(), STALE)
            || log.is_within(self.lost, STALE)
    }
}

/// Whose a key is: any of these rights. None: users', or of those who compete for rights.
fn owners(key: &Key, is_delete: bool) -> &'static [&'static str] {
    match key {
        Key::User(_) | Key::Scale(_) | Key::Election(..) | Key::Manager(_) | Key::Shard(_) => &[],
        Key::Cluster => &["election/cluster/"],
        Key::Allocation(_) => &["election/network/"],
        Key::Revision(..) => &["election/service/"],
        Key::Task(..) => &["election/service/", "election/reaper/"],
        Key::Binding(..) => &["election/scheduler/"],
        // Nobody drives the engine of a node that is forgotten.
        Key::TaskStatus(..) if is_delete => &["shards/", "election/node/"],
        Key::TaskStatus(..) => &["shards/"],
        Key::Accepted(object) => match object.kind {
            Kind::Service => &["election/service/"],
            Kind::Node => &["election/node/"],
            Kind::Network => &["election/network/"],
        },
        // Who forgets a node takes everybody's reports away.
        Key::Status(object, _) if is_delete && object.kind == Kind::Node => {
            &["election/node/", "election/reaper/"]
        }
        Key::Status(_, controller) => match controller.as_str() {
            "service" => &["election/service/"],
            "scheduler" => &["election/scheduler/"],
            "reaper" => &["election/reaper/"],
            "network" => &["election/network/"],
            "node" => &["election/node/"],
            "health" => &["election/health/", "shards/health-"],
            "task" => &["shards/"],
            _ => &["nobody"],
        },
    }
}

/// The keys that a transaction writes, with the rights of which each asks for one.
fn written(txn: &Txn) -> impl Iterator<Item = (&str, &'static [&'static str])> {
    txn.then.iter().filter_map(|op| {
        let is_delete = match op {
            Op::Get { .. } => return None,
            Op::Put { .. } => false,
            Op::Delete { .. } => true,
        };
        let owners = owners(&key_of(op.key())?, is_delete);
        (!owners.is_empty()).then_some((op.key(), owners))
    })
}

/// The rights that a transaction compares.
fn fences(txn: &Txn) -> impl Iterator<Item = (&str, Revision)> {
    txn.compares.iter().filter_map(|compare| match compare {
        Compare::CreatedAt(key, at) => Some((key.strip_prefix("/skep/")?, *at)),
        Compare::Missing(_)
        | Compare::ModifiedAt(..)
        | Compare::HeldBy(..)
        | Compare::NoneBelow(_) => None,
    })
}

/// Whether nobody else's claim of the same right fulfils this fence: who claims a shard compares the lease as well.
fn is_of_one(fence: &str, txn: &Txn) -> bool {
    let is_held = |compare: &Compare| match compare {
        Compare::HeldBy(key, _) => key.strip_prefix("/skep/") == Some(fence),
        Compare::Missing(_)
        | Compare::CreatedAt(..)
        | Compare::ModifiedAt(..)
        | Compare::NoneBelow(_) => false,
    };
    !fence.starts_with("shards/") || txn.compares.iter().any(is_held)
}

impl Bench {
    /// A manager sends a transaction.
    pub(in crate::sim) fn sends(&mut self, manager: &str, txn: &Txn) {
        self.lives.speaks(manager, self.log.now);
        let rule = "every write compares the key that gives the right to it (S4)";
        for (key, owners) in written(txn) {
            let mut fences = fences(txn);
            let is_kept = fences.any(|(fence, _)| {
                owners.iter().any(|one| fence.starts_with(one)) && is_of_one(fence, txn)
            });
            self.log
                .check(rule, is_kept, || format!("{manager} writes {key}"));
        }
        self.check_compared(manager, txn);
        let unknown = self.rights.unknown.get(manager);
        let since = |key: &str, at| unknown?.get(&(key.to_owned(), at)).copied();
        // What is sent in the same moment was on its way.
        let now = self.log.now;
        let is_over = |(key, at): &(&str, Revision)| since(key, *at).is_some_and(|at| at < now);
        // It may give up the right itself.
        let over = fences(txn)
            .find(is_over)
            .filter(|_| written(txn).next().is_some());
        let rule = "an unknown outcome ends the term (S5)";
        self.log.check(rule, over.is_none(), || {
            format!("{manager} goes on under {over:?}")
        });
    }

    /// A task's record has two writers, and a binding rests on it: each write compares the record.
    fn check_compared(&mut self, manager: &str, txn: &Txn) {
        let is_compared = |key: &str| {
            let mut compares = txn.compares.iter();
            compares.any(|compare| compare.key() == key)
        };
        let is_record_of =
            |task: &TaskId, key: &str| matches!(key_of(key), Some(Key::Task(_, of)) if of == *task);
        let is_bound_as_seen = |task: &TaskId| {
            let mut compares = txn.compares.iter();
            compares.any(|compare| match compare {
                Compare::ModifiedAt(key, _) => is_record_of(task, key),
                Compare::Missing(_)
                | Compare::CreatedAt(..)
                | Compare::HeldBy(..)
                | Compare::NoneBelow(_) => false,
            })
        };
        for op in &txn.then {
            let is_kept = match (key_of(op.key()), op) {
                (Some(Key::Task(..)), Op::Put { .. } | Op::Delete { .. }) => is_compared(op.key()),
                (Some(Key::Binding(_, task)), Op::Put { .. }) => is_bound_as_seen(&task),
                _ => continue,
            };
            let rule = "what others may write is compared (S1)";
            self.log.check(rule, is_kept, || {
                format!("{manager} writes {} without a look", op.key())
            });
        }
    }

    /// A transaction of a manager was committed, right now: the store is shown next.
    pub(in crate::sim) fn commits(&mut self, manager: &str, txn: &Txn) {
        if self.log.is_within(self.rights.lost, UNAWARE) {
            return;
        }
        for (key, owners) in written(txn) {
            let rights = self.store.holders.iter();
            let mut ours = rights.filter(|(right, _)| {
                owners
                    .iter()
                    .any(|one| format!("{right}/").starts_with(one))
            });
            let is_kept = ours.any(|(_, holders)| {
                let first = holders.first_key_value();
                first.is_some_and(|(_, holder)| holder == manager)
            });
            let rule = "one writes: who leads (S1)";
            self.log.check(rule, is_kept, || {
                format!("{manager} writes {key} and does not lead")
            });
        }
    }

    /// A manager was told that nobody knows what became of its transaction.
    pub(in crate::sim) fn knows_not(&mut self, manager: &str, txn: &Txn) {
        let now = self.log.now;
        let all = self.rights.unknown.entry(manager.to_owned()).or_default();
        for (key, at) in fences(txn) {
            all.entry((key.to_owned(), at)).or_insert(now);
        }
    }

    /// A manager gives an engine an order that changes something.
    pub(in crate::sim) fn orders(&mut self, manager: &str, node: &str, order: &str, on: &str) {
        let own = format!("shards/node-{node}");
        let holder = self.store.holder(&own).or(self.store.holder("shards/000"));
        let is_holder = holder.is_some_and(|(_, holder)| holder == manager);
        let is_kept = is_holder || self.log.is_within(self.rights.lost, UNAWARE);
        let holder = holder.map(|(_, holder)| holder.to_owned());
        let is_adopting = self.knows_of_adopting(manager);
        let rule = "nothing is ordered while what runs is adopted (S6)";
        self.log.check(rule, !is_adopting, || {
            format!("{manager} orders {order} of {node}")
        });
        let made = self.containers.get(&ContainerId::from(on));
        let runs = made.is_some_and(|made| made.runs) && order == FORCED;
        let rule = "what runs is stopped before it is removed (C2)";
        self.log
            .check(rule, !runs, || format!("{manager} has {node} remove {on}"));
        let rule = "only who holds its shard orders an engine (N5, N6)";
        self.log.check(rule, is_kept, || {
            format!("{manager} orders {order} of {node}, whose shard is {holder:?}'s")
        });
    }

    /// A manager has the store forget what was before a revision.
    pub(in crate::sim) fn compacts(&mut self, manager: &str, revision: Revision) {
        let now = self.log.now;
        let is_recent = |(at, _): &&(Duration, Revision)| now.saturating_sub(*at) < REMEMBERED;
        let first = self.rights.revisions.iter().find(is_recent);
        let is_kept = first.is_none_or(|(_, then)| revision < *then);
        let rule = "the store remembers five minutes (S8)";
        self.log.check(rule, is_kept, || {
            format!("{manager} compacts to {revision}, of less than five minutes ago")
        });
    }
}
