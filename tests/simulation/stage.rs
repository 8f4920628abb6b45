//! A world, with what its users want of it.

use crate::mutants::{Door, Mutant};
use crate::newer;
use crate::plan::{Kind, Plan, Spec};
use skep::app::manager::CONTROLLERS;
use skep::controllers::network;
use skep::sim::SimEngine;
use skep::sim::world::{Role, World};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// The controllers that touch engines and judge them.
const HANDS: [&str; 3] = ["node", "task", "reaper"];

/// It is used as the world that it holds.
pub(crate) struct Stage {
    pub(crate) world: World,
    /// The services that users want now.
    pub(crate) wanted: BTreeMap<String, Spec>,
    /// Engines that another machine stands in for.
    pub(crate) swapped: BTreeMap<u64, SimEngine>,
    /// The nodes that a manager was cut off from all at once.
    pub(crate) uplinks: BTreeMap<String, Vec<u64>>,
    mutant: Option<Mutant>,
    managers: Vec<Kind>,
    has_networks: bool,
}

impl Stage {
    /// The plan's nodes and managers, at its begin.
    pub(crate) fn new(plan: &Plan, mutant: Option<Mutant>) -> Self {
        let mut world = World::new(plan.seed, Duration::from_millis(plan.latency));
        world.has_addresses = plan.has_networks();
        for node in 1..=plan.nodes {
            world.add_node(node);
        }
        let mut stage = Self {
            world,
            wanted: BTreeMap::new(),
            swapped: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            mutant,
            managers: plan.managers.clone(),
            has_networks: plan.has_networks(),
        };
        for place in 0..plan.managers.len() {
            let role = stage.role(place);
            stage.world.add_manager(role);
        }
        stage
    }

    /// The networks that services name, where they do; one is small, and has room for the pairs of all: tasks without an
    /// address wait, so in a full network no change comes to its end.
    pub(crate) fn put_networks(&mut self) {
        let networks = [
            ("front", "{attachable: true, ipv6: true}"),
            ("back", "{subnets: [\"10.1.0.0/26\"]}"),
        ];
        for (name, value) in networks.into_iter().filter(|_| self.has_networks) {
            let key = format!("networks/default/{name}");
            if self.store.get(&format!("/skep/{key}")).is_none() {
                self.put(&key, value);
            }
        }
    }

    /// What the manager in this place is for.
    pub(crate) fn role(&self, place: usize) -> Role {
        let kind = self.managers[place];
        let is_of = |name: &&str| match kind {
            Kind::Whole | Kind::Newer => true,
            Kind::Hands => HANDS.contains(name),
            Kind::Head => !HANDS.contains(name),
        };
        let newer = (kind == Kind::Newer).then(newer::hook);
        Role {
            controllers: CONTROLLERS.into_iter().filter(is_of).collect(),
            network: network::Settings {
                addresses: self.has_networks,
                ..Default::default()
            },
            hook: self.mutant.and_then(Mutant::door).map(Door::hook).or(newer),
        }
    }
}

impl Deref for Stage {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}
