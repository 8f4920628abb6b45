//! What is left once everything is as users want it: nothing but what follows from that (rules I1, S8, C2). Pure.

use super::{Bench, Made};
use crate::api::name::Kind;
use crate::api::task::Desired;

impl Bench {
    /// Looks at the whole, once all is at rest.
    pub(in crate::sim) fn rests(&mut self) {
        let leaks = self.leaks();
        for (rule, leak) in leaks {
            self.log
                .check(rule, leak.is_none(), || leak.unwrap_or_default());
        }
    }

    /// Whether an engine runs what an earlier life left and nothing claims: until a person acts it stays, and its node.
    pub(super) fn keeps_lost(&self, engine: &str) -> bool {
        let is_lost = |made: &Made| made.runs && !self.store.tasks.contains_key(&made.task);
        let mut here = self
            .containers
            .values()
            .filter(|made| made.engine == engine);
        self.rights.were_lost() && here.any(is_lost)
    }

    /// Each rule with the first thing that breaks it.
    fn leaks(&self) -> Vec<(&'static str, Option<String>)> {
        let store = &self.store;
        let is_known = |task| store.tasks.contains_key(task);
        let of_object = |object| store.accepted.contains_key(object);
        let binding = store.bindings.keys().find(|task| !is_known(*task));
        // What an earlier life left has no record, and waits.
        let status = store
            .statuses
            .keys()
            .find(|task| !is_known(*task) && !self.rights.were_lost());
        let template = store.templates.keys().find(|(service, _)| {
            let mut records = store.accepted.values();
            !records.any(|record| record.uid == *service)
        });
        let report = store
            .reports
            .keys()
            .find(|(object, _)| !of_object(object) && !store.users.contains_key(object));
        let record = store.accepted.iter().find(|(object, record)| {
            let is_left = record.deleted_at.is_some() || !store.users.contains_key(*object);
            is_left && !(object.kind == Kind::Node && self.keeps_lost(object.name.as_str()))
        });
        let leaving = store.tasks.values().find(|(_, task)| {
            // The counter of what the reaper took stays for ten minutes.
            task.desired == Desired::Remove && task.reason.as_deref() != Some("Unclaimed")
        });
        let stale = store.reports.iter().find(|((object, controller), report)| {
            let owner = match object.kind {
                Kind::Service => "service",
                Kind::Node => "node",
                Kind::Network => "network",
            };
            let record = store.accepted.get(object);
            *controller == owner
                && record
                    .is_some_and(|record| report.observed_generation != Some(record.generation))
        });
        let text = |what: &str, of: Option<String>| of.map(|of| format!("{what} of {of}"));
        vec![
            (
                "what is given out goes with its owner (S1)",
                text("an allocation", self.allocation_of_nobody()),
            ),
            (
                "nodes and networks have their numbers (S1)",
                self.without_number().or_else(|| self.without_subnet6()),
            ),
            (
                "tasks have an address in their networks (S1)",
                self.without_address(),
            ),
            (
                "nodes have a block of each attachable network (S1)",
                self.without_block(),
            ),
            (
                "services have the ports that they publish, and no other (S1)",
                self.without_port(),
            ),
            (
                "a binding goes with its task (C6)",
                text("the binding", binding.map(ToString::to_string)),
            ),
            (
                "what was seen of a task goes with it (C2)",
                text("the status", status.map(ToString::to_string)),
            ),
            (
                "revisions go with their service (I1)",
                text(
                    "a revision",
                    template.map(|(service, _)| service.to_string()),
                ),
            ),
            (
                "reports go with their object (I2)",
                text("a report", report.map(|(object, _)| object.to_string())),
            ),
            (
                "a record goes with its user's key (I1)",
                text("the record", record.map(|(object, _)| object.to_string())),
            ),
            (
                "what is to be removed is removed (C2)",
                text("a task", leaving.map(|(service, _)| service.to_string())),
            ),
            (
                "a report speaks of the generation in force (I1)",
                text("a report", stale.map(|((object, _), _)| object.to_string())),
            ),
        ]
    }
}
