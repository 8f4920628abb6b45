//! What each step does to the world.

use crate::plan::{Act, Step};
use crate::stage::Stage;
use crate::suffer::Lasting;
use skep::sim::SimEngine;

impl Stage {
    /// Does it; gives what lasts of it, and for how many seconds.
    pub(crate) async fn happen(&mut self, step: &Step) -> Option<(u64, Lasting)> {
        match step {
            Step::Act(act) => {
                self.court.note("user", &step.to_string());
                self.act(act);
                None
            }
            Step::Trouble(trouble) => {
                self.court.note("fault", &step.to_string());
                self.suffer(trouble).await
            }
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Put(name, spec) => {
                self.put_networks();
                self.put(&format!("services/default/{name}"), &spec.text());
                self.wanted.insert(name.clone(), spec.clone());
            }
            Act::BadPut(name) => self.put(&format!("services/default/{name}"), "garbage: ["),
            Act::Delete(name) => {
                self.delete(&format!("services/default/{name}"));
                // A network may go while tasks still name it.
                self.delete("networks/default/back");
                self.wanted.remove(name);
            }
            Act::Recreate(name, spec) => {
                self.delete(&format!("services/default/{name}"));
                self.put(&format!("services/default/{name}"), &spec.text());
                self.wanted.insert(name.clone(), spec.clone());
            }
            Act::AddNode(node) => self.add_node(*node),
            Act::RemoveNode(node) => {
                if *node > 1 && self.nodes.remove(node) {
                    self.delete(&format!("nodes/n{node}"));
                }
            }
            Act::Drain(node) if *node > 1 && self.nodes.contains(node) => {
                self.put_node(*node, "drain");
            }
            Act::Activate(node) if self.nodes.contains(node) => self.put_node(*node, "active"),
            Act::Drain(_) | Act::Activate(_) => {}
            Act::Impostor(node) => self.make_impostor(*node),
            Act::Attach(node) => {
                let engine = self.engine(*node);
                let name = format!("stranger-{}", engine.containers().len());
                // Where there is no such network (yet), nobody joins it.
                let _ = engine.attach_by_hand(&name, "front");
            }
            Act::Detach(node) => {
                let engine = self.engine(*node);
                let all = strangers(&engine).into_iter();
                all.for_each(|stranger| engine.remove_by_hand(&stranger.id));
            }
        }
    }

    /// A copy of the first container that runs, under a name of its own.
    fn make_impostor(&self, node: u64) {
        let engine = self.engine(node);
        let Some(original) = ours(&engine).into_iter().next() else {
            return;
        };
        let labels: Vec<(&str, &str)> = original
            .labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        self.by_hand(&engine, "copy", &labels);
    }
}

/// The running containers of others in the attachable network.
pub(crate) fn strangers(engine: &SimEngine) -> Vec<skep::engine::Container> {
    let mut running = engine.running();
    running.retain(|container| container.name.starts_with("stranger-"));
    running
}

/// The running containers that skep made.
pub(crate) fn ours(engine: &SimEngine) -> Vec<skep::engine::Container> {
    let mut running = engine.running();
    running.retain(|container| {
        let task = container.labels.get("dev.skep.task");
        task.is_some_and(|task| container.name.ends_with(task.as_str()))
    });
    running
}
