//! A world, with what its users want of it.

use crate::mutants::Mutant;
use crate::plan::{Plan, Spec};
use skep::sim::world::{Role, World};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// It is used as the world that it holds.
pub(crate) struct Stage {
    pub(crate) world: World,
    /// The services that users want now.
    pub(crate) wanted: BTreeMap<String, Spec>,
    /// What managers are for.
    pub(crate) role: Role,
}

impl Stage {
    /// The plan's nodes and managers, at its begin.
    pub(crate) fn new(plan: &Plan, mutant: Option<Mutant>) -> Self {
        let mut world = World::new(plan.seed, Duration::from_millis(plan.latency));
        let role = Role {
            hook: mutant.map(Mutant::hook),
            ..Role::default()
        };
        for node in 1..=plan.nodes {
            world.add_node(node);
        }
        for _ in 0..plan.managers {
            world.add_manager(role.clone());
        }
        Self {
            world,
            wanted: BTreeMap::new(),
            role,
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
