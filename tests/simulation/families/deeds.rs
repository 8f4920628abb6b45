//! What is done to the world of a run: a scenario's deeds, and what a trick asks for.

use super::play::{Run, TRICK};
use super::points::Act;
use crate::scenarios::Deed;
use crate::stores::Stores;
use skep::api::unit::Revision;
use skep::embedded::memory::Memory;
use skep::sim::check::Broken;
use skep::store::KeyValue;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether something is over that has no signal.
const MOMENT: Duration = Duration::from_millis(100);

/// So long a name is in others' use.
const IN_USE: Duration = Duration::from_secs(40);

impl Run {
    pub(super) async fn act(&mut self, deed: &Deed) -> Result<(), Broken> {
        let world = &mut self.world;
        world.court.note("user", &deed.to_string());
        match deed {
            Deed::Put(key, value) => world.put(key, value),
            Deed::Delete(key) => world.delete(key),
            Deed::AddNode(node) => world.add_node(*node),
            Deed::Lose(node) => {
                world.set_cut(*node, true);
                world.engine(*node).set_reachable(false);
            }
            Deed::Return(node) => {
                world.engine(*node).set_reachable(true);
                world.set_cut(*node, false);
            }
            Deed::Move => return self.move_store().await,
        }
        Ok(())
    }

    /// As a person does it: `skep store copy`, whose mark ends the managers, which start again over there.
    async fn move_store(&mut self) -> Result<(), Broken> {
        let there = Memory::new();
        let stores = Stores::by(Arc::new(self.world.clock.another()))
            .with("here:1", self.world.store.clone())
            .with("there:1", there.clone());
        let copying = tokio::spawn(async move {
            let words = "copy --from here:1 --to there:1 --stop-managers";
            let words: Vec<&str> = words.split(' ').collect();
            stores.run(&words).await
        });
        self.is_moving = true;
        while !copying.is_finished() {
            self.pass(MOMENT).await?;
        }
        self.is_moving = false;
        let said = copying.await.expect("the copy does not panic");
        self.world.court.note("user", said.out.trim());
        if said.code != 0 {
            return Err(Broken::new("a store can be copied", said.err));
        }
        self.probe.move_to(there.clone());
        self.world.move_to(there);
        self.begun = self.world.store.revision().0;
        Ok(())
    }

    /// A trick was played: what it asks for.
    pub(super) fn follow_up(&mut self) {
        let Some(point) = self.point.clone() else {
            return;
        };
        let note = |run: &Self, what: String| run.world.court.note("user", &what);
        match point.act {
            Act::Restart(process) => self.restart(process),
            Act::Occupy { node, name } => {
                note(self, format!("makes {name} on n{node}"));
                let engine = self.world.engine(node);
                let labels = [("com.example.mine", "yes")];
                self.world.by_hand(&engine, &name, &labels);
            }
            Act::Put { key, value } => {
                note(self, format!("puts {key}: {value}"));
                self.world.put(key, &value);
            }
            Act::None | Act::Backup(_) => {}
        }
    }

    fn restart(&mut self, process: &str) {
        let place = self.processes.iter().position(|name| *name == process);
        if let Some(place) = place
            && let Some(role) = self.world.kill(place)
        {
            self.world.start_manager(place, role);
        }
    }

    /// What a trick asks for at the end of the scenario.
    pub(super) async fn afterwards(&mut self) -> Result<(), Broken> {
        match self.point.as_ref().map(|point| point.act.clone()) {
            Some(Act::Put { key, .. }) => {
                self.pass(IN_USE).await?;
                self.act(&Deed::Delete(key)).await
            }
            Some(Act::Backup(revision)) => self.restore(Revision(revision)).await,
            Some(Act::None | Act::Restart(_) | Act::Occupy { .. }) | None => Ok(()),
        }
    }

    /// What users have written.
    fn users(&self) -> Vec<KeyValue> {
        let of = |prefix| self.world.store.dump(prefix);
        [of("/skep/nodes/"), of("/skep/services/")].concat()
    }

    /// Restores a backup; later users put again what they want.
    async fn restore(&mut self, revision: Revision) -> Result<(), Broken> {
        let wanted = self.users();
        let what = format!("a backup of r{} is restored", revision.0);
        self.world.court.note("fault", &what);
        if let Err(error) = self.world.store.rewind(revision) {
            return Err(Broken::new("the backup is there", error.to_string()));
        }
        self.has_unclaimed = true;
        self.world.court.look_at_store(true);
        self.pass(TRICK).await?;
        self.world.court.note("user", "puts everything once more");
        let is_wanted = |old: &KeyValue| wanted.iter().any(|kv| kv.key == old.key);
        for old in self.users().iter().filter(|old| !is_wanted(old)) {
            self.world.store.delete(&old.key);
        }
        for kv in wanted {
            self.world.store.put(&kv.key, kv.value);
        }
        self.world.court.look_at_store(false);
        Ok(())
    }
}
