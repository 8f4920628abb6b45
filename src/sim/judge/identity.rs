//! Objects, the cluster, and the lives of its store (rules I1 to I3, S6). Pure.

use super::store::Record;
use super::{Bench, LAG, Made, STALE};
use crate::api::allocation::Item;
use crate::api::cluster::Cluster;
use crate::api::key::Key;
use crate::api::name::{Kind, ObjectKey};
use crate::api::status::{Found, NodeState};
use crate::api::uid::Uid;
use crate::api::unit::Incarnation;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many revisions a store has to go back to be certain that it is seen: less is overtaken by the next elections.
const CERTAIN: i64 = 30;

/// How long what was decided before may take until it is ordered.
const ON_ITS_WAY: Duration = Duration::from_secs(3);

/// What outlives a loss of the store.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// The cluster's id.
    id: Option<Uid>,
    /// All lives so far.
    seen: BTreeSet<Incarnation>,
    /// The one that the record names, or named last.
    latest: Incarnation,
    /// Whether the store went back, or was emptied, since the record was written last.
    is_lost: bool,
    /// When the store went back for certain: the next life has to begin.
    over: Option<Duration>,
    /// When each manager was first heard of.
    heard: BTreeMap<String, Duration>,
    /// Since the store went back for certain: when one was heard of first that had been there before, and can tell.
    witness: Option<Duration>,
    /// Since when what runs is being adopted.
    adopting: Option<Duration>,
    /// Since when each manager knows that.
    told: BTreeMap<String, Duration>,
}

impl Lives {
    /// The store went back by so many revisions, or is empty.
    pub(super) fn lost(&mut self, revisions: i64, now: Duration) {
        if revisions > CERTAIN {
            self.over = Some(now);
            self.witness = None;
        }
        self.adopting = None;
        self.is_lost = true;
    }

    /// A manager does or hears something.
    pub(super) fn speaks(&mut self, manager: &str, now: Duration) {
        if !self.heard.contains_key(manager) {
            self.heard.insert(manager.to_owned(), now);
        }
        if self.over.is_some_and(|over| self.heard[manager] < over) {
            self.witness.get_or_insert(now);
        }
    }
}

impl Bench {
    /// Since when what runs is being adopted; none: it is not.
    pub(super) fn adopting_since(&self) -> Option<Duration> {
        self.lives.adopting
    }

    /// Whether what runs is being adopted, and a manager has heard so, or must have.
    pub(super) fn knows_of_adopting(&self, manager: &str) -> bool {
        let since = self.lives.adopting;
        let told = self
            .lives
            .told
            .get(manager)
            .map(|told| Some(*told).max(since));
        let knows = told.is_some_and(|told| !self.log.is_within(told, ON_ITS_WAY));
        let must_know = !self.log.is_within(since, LAG);
        since.is_some() && (knows || must_know)
    }

    /// A manager hears what the cluster's record says.
    pub(in crate::sim) fn hears(&mut self, manager: &str, record: &[u8]) {
        self.lives.speaks(manager, self.log.now);
        let Ok(record) = serde_json::from_slice::<Cluster>(record) else {
            return;
        };
        if record.adopting_since.is_some() {
            let now = self.log.now;
            self.lives.told.entry(manager.to_owned()).or_insert(now);
        } else {
            self.lives.told.remove(manager);
        }
    }

    /// When a store that went back has begun no new life yet: since when.
    pub(super) fn check_life(&mut self, what: impl FnOnce() -> String) {
        let over = self.lives.over;
        let is_recent = over.is_none_or(|since| self.log.is_within(Some(since), STALE));
        let is_kept = is_recent || self.is_told_by_nobody();
        self.log.check(
            "nothing is ordered between the store's loss and its next life (S6)",
            is_kept,
            what,
        );
    }

    /// Whether who orders can know nothing of the loss: it was started afterwards, whoever was there before is heard of no
    /// more, and on no engine that answers stands a container whose labels are ahead of the right to order (rule S6).
    fn is_told_by_nobody(&self) -> bool {
        let Some((term, holder)) = self.store.holder("shards/000") else {
            return false;
        };
        let is_new = self.lives.heard.get(holder) > self.lives.over.as_ref();
        let is_alone =
            self.lives.witness.is_none() || self.log.is_within(self.lives.witness, STALE);
        let is_ahead = |made: &Made| {
            made.incarnation > self.lives.latest || (made.term != term && made.revision > term)
        };
        let tells = |made: &Made| self.answers(&made.engine) && is_ahead(made);
        is_new && is_alone && !self.containers.values().any(tells)
    }

    pub(super) fn check_cluster(&mut self, new: &Cluster) {
        let id = self.lives.id.get_or_insert_with(|| new.id.clone()).clone();
        self.log
            .check("the cluster keeps its id (I3)", id == new.id, || {
                format!("it was {id} and is {}", new.id)
            });
        let latest = self.lives.latest;
        let rule = "a life of the store never returns (S6)";
        let is_new = self.lives.seen.insert(new.incarnation);
        // Only where the store was lost a manager that remembers none begins one by its clock, and clocks go wrong.
        let may_be_lower = std::mem::take(&mut self.lives.is_lost);
        let is_next = is_new && (new.incarnation > latest || may_be_lower);
        let is_kept = is_next || new.incarnation == latest;
        self.lives.latest = new.incarnation;
        self.log.check(rule, is_kept, || {
            format!("life {} after life {latest}", new.incarnation)
        });
        if is_new {
            self.lives.over = None;
        }
        let was_adopting = self.lives.adopting.is_some();
        self.lives.adopting = match (new.adopting_since, self.lives.adopting) {
            (None, _) => None,
            (Some(_), Some(since)) => Some(since),
            (Some(_), None) => Some(self.log.now),
        };
        if was_adopting && self.lives.adopting.is_none() {
            self.check_looked_at(new);
        }
    }

    /// Adopting is over: each node that answers was looked at in this life.
    fn check_looked_at(&mut self, cluster: &Cluster) {
        let nodes = self.store.accepted.keys();
        let unseen = nodes
            .filter(|object| object.kind == Kind::Node)
            .find(|node| {
                let report = |name: &str| self.store.reports.get(&((*node).clone(), name.into()));
                let is_ready = report("health")
                    .and_then(|health| health.engine.as_ref())
                    .is_some_and(|engine| engine.state == NodeState::Ready);
                let looked_in = report("task").and_then(|report| report.found.as_ref());
                is_ready && looked_in.is_none_or(|found| found.incarnation != cluster.incarnation)
            });
        let unseen = unseen.map(ToString::to_string);
        let rule = "adopting ends once each node was looked at (S6)";
        self.log.check(rule, unseen.is_none(), || {
            format!("{} was not", unseen.unwrap_or_default())
        });
    }

    pub(super) fn check_accepted(&mut self, object: &ObjectKey, new: &Record) {
        let Some(old) = self.store.accepted.get(object) else {
            return;
        };
        if old.uid != new.uid {
            return;
        }
        // A network that was deleted while tasks had addresses in it, or containers of others were, is the same one when it is
        // put once more.
        let in_use = |item: &Item| match item {
            Item::Address(uid, _) => *uid == new.uid,
            Item::Block(uid, block) => {
                let mut reports = self.store.reports.values();
                let holds = |found: &Found| {
                    let mut strangers = found.strangers.iter();
                    strangers.any(|stranger| block.holds(stranger.address))
                };
                *uid == new.uid && reports.any(|report| report.found.as_ref().is_some_and(holds))
            }
            Item::Node(_) | Item::Vni(_) | Item::Subnet(_) | Item::Subnet6(_) | Item::Port(_) => {
                false
            }
        };
        let is_in_use = object.kind == Kind::Network && self.store.allocations.keys().any(in_use);
        let (old, log) = (old.clone(), &mut self.log);
        let is_same_life = old.incarnation == new.incarnation;
        let rule = "what was deleted and made anew is another object (I2)";
        let is_kept = !is_same_life || old.create_revision == new.create_revision || is_in_use;
        log.check(rule, is_kept, || {
            format!("{object} is made anew and keeps uid {}", new.uid)
        });
        let rule = "the generation counts the changes of the spec (I1)";
        let counted = old.generation.0 + u64::from(old.spec != new.spec);
        log.check(rule, counted == new.generation.0, || {
            format!("{object} has generation {}, not {counted}", new.generation)
        });
        if new.deleted_at.is_some() && old.deleted_at.is_none() {
            let rule = "only its absence ends an object (I1)";
            let written = self.store.users.get(object);
            let is_there = written.is_some_and(|created| *created == old.create_revision);
            log.check(rule, !is_there, || {
                format!("{object} ends, and its user's key is there")
            });
        }
    }

    /// Accepted records that left with this step: nothing that follows from them is there.
    pub(super) fn check_tombstones(&mut self, left: &[Key]) {
        let names = left.iter().filter_map(|key| match key {
            Key::Accepted(object) if object.kind == Kind::Service => Some(object.scoped()),
            _ => None,
        });
        for name in names {
            let mut tasks = self.store.tasks.values();
            let task = tasks.find(|(service, _)| *service == name);
            let task = task.map(|(_, task)| task.id.clone());
            let rule = "a service's record leaves after its tasks (I1)";
            self.log.check(rule, task.is_none(), || {
                format!("{name} is gone, and its task {task:?} is there")
            });
        }
    }
}
