//! What each step does to the world, and how it ends.

use crate::plan::{Act, Step, Trouble};
use crate::stage::Stage;
use skep::api::unit::Revision;
use skep::sim::SimEngine;
use skep::sim::line::Way;
use skep::sim::world::url;
use skep::store::Kv;
use std::time::Duration;

/// How a trouble ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    StartManager(usize),
    /// The line of the manager in this place is open again, if it is still the one that had trouble.
    OpenLine(usize, String),
    MendLink(usize, String, u64),
    StoreUp,
    EngineUp(u64),
    Fast(u64),
    Unmute(u64),
}

impl Stage {
    /// Does it; gives how it ends and after how many seconds.
    pub(crate) async fn happen(&mut self, step: &Step) -> Option<(u64, End)> {
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
                self.put(&format!("services/default/{name}"), &spec.text());
                self.wanted.insert(name.clone(), spec.clone());
            }
            Act::BadPut(name) => self.put(&format!("services/default/{name}"), "garbage: ["),
            Act::Delete(name) => {
                self.delete(&format!("services/default/{name}"));
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

    async fn suffer(&mut self, trouble: &Trouble) -> Option<(u64, End)> {
        match trouble {
            Trouble::Kill(..)
            | Trouble::Pause(..)
            | Trouble::CutLine(..)
            | Trouble::CutLink(..) => self.suffer_manager(trouble),
            Trouble::EngineDown(..) | Trouble::Slow(..) | Trouble::Mute(..) => {
                self.suffer_engine(trouble)
            }
            Trouble::StoreDown(seconds) => {
                self.store.set_reachable(false);
                Some((*seconds, End::StoreUp))
            }
            _ => {
                self.suffer_once(trouble).await;
                None
            }
        }
    }

    fn suffer_manager(&mut self, trouble: &Trouble) -> Option<(u64, End)> {
        let (Trouble::Kill(place, seconds)
        | Trouble::Pause(place, seconds)
        | Trouble::CutLine(place, seconds)
        | Trouble::CutLink(place, _, seconds)) = trouble
        else {
            return None;
        };
        let place = usize::try_from(*place).ok()?;
        let name = self.managers.get(place)?.as_ref()?.name.clone();
        let end = match trouble {
            Trouble::Kill(..) => {
                self.kill(place);
                End::StartManager(place)
            }
            Trouble::CutLink(_, node, _) => {
                let manager = self.managers[place].as_ref()?;
                manager.cuts.send_modify(|cuts| {
                    cuts.urls.insert(url(*node));
                });
                self.set_cut(*node, true);
                End::MendLink(place, name, *node)
            }
            _ => {
                let is_pause = matches!(trouble, Trouble::Pause(..));
                let way = if is_pause { Way::Held } else { Way::Cut };
                self.managers[place].as_ref()?.line.set(way);
                End::OpenLine(place, name)
            }
        };
        Some((*seconds, end))
    }

    fn suffer_engine(&mut self, trouble: &Trouble) -> Option<(u64, End)> {
        match trouble {
            Trouble::EngineDown(node, seconds) => {
                self.engine(*node).set_reachable(false);
                self.set_cut(*node, true);
                Some((*seconds, End::EngineUp(*node)))
            }
            Trouble::Slow(node, latency, seconds) => {
                self.engine(*node)
                    .set_latency("*", Duration::from_millis(*latency));
                // A slow engine may be taken for one that does not answer.
                self.set_cut(*node, true);
                Some((*seconds, End::Fast(*node)))
            }
            Trouble::Mute(node, seconds) => {
                self.engine(*node).mute_events(true);
                Some((*seconds, End::Unmute(*node)))
            }
            _ => None,
        }
    }

    async fn suffer_once(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::CutWatches => self.store.cut_watches(),
            Trouble::Unknown(fault) => self.store.fail_next(*fault),
            Trouble::Late => self.commit_late(),
            Trouble::Compact => {
                let revision = self.store.revision();
                // An unreachable store compacts nothing, which is no trouble.
                let _ = self.store.compact(revision).await;
            }
            Trouble::Rewind(many) => {
                let revision =
                    Revision((self.store.revision().0 - i64::try_from(*many).unwrap_or(0)).max(2));
                match self.store.rewind(revision) {
                    Ok(()) => self.court.look_at_store(true),
                    Err(error) => self.court.note("fault", &format!("no rewind: {error}")),
                }
            }
            Trouble::Wipe => {
                self.store.wipe();
                self.court.look_at_store(true);
            }
            Trouble::Lie(node, call, fault, times) => {
                let times = usize::try_from(*times).unwrap_or(1);
                self.engine(*node).fail(call, fault.clone(), times);
            }
            Trouble::Exit(node, which) => self.at(*node, *which, |engine, id| engine.exit(id, 1)),
            Trouble::Lose(node, which) => {
                self.at(*node, *which, |engine, id| engine.remove_by_hand(id));
            }
            Trouble::Events(node) => self.engine(*node).drop_events(),
            Trouble::Reboot(node) => self.engine(*node).reboot(),
            _ => {}
        }
    }

    /// Does something to one of the running containers that are ours.
    fn at(
        &self,
        node: u64,
        which: u64,
        act: impl FnOnce(&SimEngine, &skep::api::uid::ContainerId),
    ) {
        let engine = self.engine(node);
        let running = ours(&engine);
        let which = usize::try_from(which).unwrap_or(0) % running.len().max(1);
        if let Some(container) = running.get(which) {
            act(&engine, &container.id);
        }
    }

    pub(crate) fn commit_late(&self) {
        let committed = self.store.apply_late();
        if committed > 0 {
            self.court
                .note("fault", &format!("{committed} commit late"));
        }
        self.court.look_at_store(false);
    }

    /// A trouble ends.
    pub(crate) fn end(&mut self, end: &End, latency: Duration) {
        match end {
            End::StartManager(place) => {
                let role = self.role.clone();
                self.start_manager(*place, role);
            }
            End::OpenLine(place, name) => {
                let manager = self.managers[*place].as_ref();
                if let Some(manager) = manager.filter(|manager| manager.name == *name) {
                    self.court.note(name, "has its line to the store again");
                    manager.line.set(Way::Open);
                }
            }
            End::MendLink(place, name, node) => {
                let manager = self.managers[*place].as_ref();
                if let Some(manager) = manager.filter(|manager| manager.name == *name) {
                    manager.cuts.send_modify(|cuts| {
                        cuts.urls.remove(&url(*node));
                    });
                }
                self.set_cut(*node, false);
            }
            End::StoreUp => self.store.set_reachable(true),
            End::EngineUp(node) => {
                self.engine(*node).set_reachable(true);
                self.set_cut(*node, false);
            }
            End::Fast(node) => {
                self.engine(*node).set_latency("*", latency);
                self.set_cut(*node, false);
            }
            End::Unmute(node) => self.engine(*node).mute_events(false),
        }
        self.court.note("fault", &format!("over: {end:?}"));
    }
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
