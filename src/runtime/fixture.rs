//! For tests of planners, a store: a cache that takes plans as the real one would, step by step. For tests of loops, what
//! a manager's parts share.

use super::cache::Cache;
use super::clock::{Clock, Now};
use super::context::Context;
use super::controller::Controller;
use super::plan::{Expect, Plan, Step, Write, encode};
use super::recorder::Recorder;
use super::shared::SharedCache;
use crate::api::key::{DEFAULT_PREFIX, Key};
use crate::api::uid::Ids;
use crate::api::unit::{LeaseId, Revision};
use crate::embedded::memory::Memory;
use crate::metrics::Metrics;
use crate::store::{KeyValue, Kv, WatchBatch, WatchEvent};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// What the parts of the manager `m1` share over a store.
pub(crate) fn context(store: &Memory, clock: Arc<dyn Clock>) -> Context {
    let kv: Arc<dyn Kv> = Arc::new(store.clone());
    let metrics = Arc::new(Metrics::new());
    let recorder = Recorder::start(kv.clone(), DEFAULT_PREFIX, clock.clone(), metrics.clone());
    Context {
        kv,
        cache: SharedCache::new(DEFAULT_PREFIX),
        clock,
        metrics,
        recorder,
        manager: "m1".into(),
    }
}

/// A cache with a store's history.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) cache: Cache,
    pub(crate) now: Now,
    seed: u128,
}

impl World {
    /// Writes a record.
    pub(crate) fn put(&mut self, key: Key, value: &impl Serialize) {
        self.raw(&key.to_string(), encode(value));
    }

    /// Writes bytes at any key below the prefix.
    pub(crate) fn raw(&mut self, key: &str, value: Vec<u8>) {
        let revision = Revision(self.cache.revision.0 + 1);
        let create_revision = Key::parse(key)
            .and_then(|key| self.create_revision(&key))
            .unwrap_or(revision);
        let event = WatchEvent::Put(KeyValue {
            key: format!("{DEFAULT_PREFIX}{key}"),
            value,
            create_revision,
            mod_revision: revision,
            version: 1,
            lease: LeaseId(0),
        });
        self.advance(revision, event);
    }

    /// Deletes a key.
    pub(crate) fn del(&mut self, key: &Key) {
        let revision = Revision(self.cache.revision.0 + 1);
        let key = key.full(DEFAULT_PREFIX);
        self.advance(revision, WatchEvent::Delete { key, revision });
    }

    /// Lets both clocks go on.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.wall = self.now.wall.after(time);
        self.now.since_boot += time;
    }

    /// Plans everything once, as a leader that just started, without writing anything.
    pub(crate) fn plan_all<C: Controller>(&mut self, controller: &C) -> Plan {
        let mut all = Plan::default();
        for work in controller.all_work(&self.cache) {
            self.seed += 1;
            let mut ids = Ids::from_seed(self.seed);
            let plan = controller.plan(&work, &self.cache, self.now, &mut ids);
            all.steps.extend(plan.steps);
            all.notes.extend(plan.notes);
            if let Some(delay) = plan.look_again {
                all.look_again(delay);
            }
        }
        all
    }

    /// Plans and writes until there is nothing left to write; returns all that was written and noted.
    pub(crate) fn settle<C: Controller>(&mut self, controller: &C) -> Plan {
        let mut all = Plan::default();
        for _ in 0..20 {
            let plan = self.plan_all(controller);
            all.notes.extend(plan.notes.clone());
            if plan.is_in_step() {
                return all;
            }
            for step in &plan.steps {
                self.apply(step);
            }
            all.steps.extend(plan.steps);
        }
        panic!("twenty rounds of planning did not settle: {all:#?}");
    }

    /// Writes a step if what it expects holds; says whether it did.
    pub(crate) fn apply(&mut self, step: &Step) -> bool {
        let holds = step.expects.iter().all(|expect| match expect {
            Expect::Missing(key) => self.cache.mod_revision(key).is_none(),
            Expect::Unchanged(key, revision) | Expect::Known(key, revision) => {
                self.cache.mod_revision(key) == Some(*revision)
            }
            Expect::NoneBelow(prefix) => is_empty_below(&self.cache, prefix),
        });
        for write in step.writes.iter().filter(|_| holds) {
            match write {
                Write::Put(key, value) => self.raw(&key.to_string(), value.clone()),
                Write::Delete(key) => self.del(key),
            }
        }
        holds
    }

    /// The same objects, listed anew: what a process sees that starts now.
    pub(crate) fn advance(&mut self, revision: Revision, event: WatchEvent) {
        let batch = WatchBatch {
            revision,
            events: vec![event],
        };
        self.cache.advance(DEFAULT_PREFIX, &batch);
    }

    fn create_revision(&self, key: &Key) -> Option<Revision> {
        // Only users' keys are asked for their create revision by planners.
        match key {
            Key::User(object) => self.cache.users.get(object).map(|old| old.create_revision),
            _ => None,
        }
    }
}

/// Whether nothing of a task, the only kind of record that is asked for by prefix, stands below `prefix`.
pub(crate) fn is_empty_below(cache: &Cache, prefix: &str) -> bool {
    let bindings = cache.bindings.keys();
    let bindings = bindings.map(|(node, task)| Key::Binding(node.clone(), task.clone()));
    let statuses = cache.task_statuses.keys();
    let statuses = statuses.map(|(node, task)| Key::TaskStatus(node.clone(), task.clone()));
    let mut keys = bindings.chain(statuses);
    !keys.any(|key| key.to_string().starts_with(prefix))
}

/// The writes of a plan, one line each, in order: `put KEY` or `del KEY`, with what is expected in brackets.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let expect = |expect: &Expect| match expect {
        Expect::Missing(key) => format!("missing {key}"),
        Expect::Unchanged(key, _) => format!("unchanged {key}"),
        Expect::Known(key, _) => format!("known {key}"),
        Expect::NoneBelow(prefix) => format!("none below {prefix}"),
    };
    let write = |write: &Write| match write {
        Write::Put(key, _) => format!("put {key}"),
        Write::Delete(key) => format!("del {key}"),
    };
    plan.steps
        .iter()
        .map(|step| {
            let writes: Vec<_> = step.writes.iter().map(write).collect();
            let expects: Vec<_> = step.expects.iter().map(expect).collect();
            match expects.is_empty() {
                true => writes.join(", "),
                false => format!("{} [{}]", writes.join(", "), expects.join(", ")),
            }
        })
        .collect()
}
