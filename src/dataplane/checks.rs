//! Whether a state can be programmed as it stands. Pure.

use super::state::{Change, Error, NodeIndex, PublishedKey, State, Vni};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::Ipv4Addr;

/// What leads to backends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Led {
    /// A virtual address.
    Address(Ipv4Addr),
    /// A published port.
    Port(PublishedKey),
    /// No address or port: names.
    Name,
}

fn refuse(wrong: bool, why: impl FnOnce() -> String) -> Result<(), Error> {
    match wrong {
        true => Err(Error::Invalid(why())),
        false => Ok(()),
    }
}

impl State {
    /// What a change has lead elsewhere, if it does nothing else: what was checked before can only be wrong in that.
    pub(super) fn leads_elsewhere(&self, change: &Change) -> Option<Led> {
        match change {
            Change::VirtualAddress(address, Some(_)) => {
                let is_there = self.virtual_addresses.contains_key(address);
                is_there.then_some(Led::Address(*address))
            }
            Change::Port(key, Some(_)) => {
                let is_there = self.ports.contains_key(key);
                is_there.then_some(Led::Port(*key))
            }
            Change::Service(..) | Change::ServiceTask(..) => Some(Led::Name),
            _ => None,
        }
    }

    /// The same as [`State::check`] for a state that was one that passed it, and leads elsewhere now.
    pub(super) fn check_led(&self, led: &[Led]) -> Result<(), Error> {
        for one in led {
            match one {
                Led::Address(address) => {
                    let value = self.virtual_addresses.get(address);
                    self.check_tasks(address, value.map(|value| &value.backends))?;
                }
                Led::Port(key) => {
                    let value = self.ports.get(key);
                    self.check_tasks(key, value.map(|value| &value.backends))?;
                }
                Led::Name => {}
            }
        }
        let has_names = led.iter().any(|one| matches!(one, Led::Name));
        match has_names {
            true => self.check_names(),
            false => Ok(()),
        }
    }

    fn check_tasks(
        &self,
        name: &impl Display,
        backends: Option<&BTreeSet<Ipv4Addr>>,
    ) -> Result<(), Error> {
        let mut backends = backends.into_iter().flatten();
        let is_task = |backend: &Ipv4Addr| {
            let mut networks = self.networks.values();
            networks.any(|network| network.tasks.contains_key(backend))
        };
        match backends.find(|backend| !is_task(backend)) {
            Some(stranger) => Err(no_task(name, *stranger)),
            None => Ok(()),
        }
    }

    fn check_names(&self) -> Result<(), Error> {
        for vni in self.names.networks() {
            refuse(!self.networks.contains_key(&vni), || {
                format!("names of network {}, which this node has not", vni.0)
            })?;
        }
        Ok(())
    }

    /// Whether the state can be programmed as it stands.
    ///
    /// # Errors
    /// It contradicts itself; the message says where.
    pub fn check(&self) -> Result<(), Error> {
        refuse(!self.members.contains_key(&self.node), || {
            format!("this node, {}, is no member", self.node.0)
        })?;
        for index in self.members.keys() {
            let fits = (1..=NodeIndex::MOST).contains(&index.0);
            refuse(!fits, || format!("node {} has no place in marks", index.0))?;
        }
        for (vni, network) in &self.networks {
            let named = |why: String| format!("network {}: {why}", vni.0);
            refuse(!(1..=Vni::MOST).contains(&vni.0), || {
                named("not a number of VXLAN".into())
            })?;
            if let Some(why) = network.contradiction() {
                return Err(Error::Invalid(named(why)));
            }
            let later = self.networks.range(Vni(vni.0 + 1)..);
            for (other, rival) in later {
                let both = network.subnet6.zip(rival.subnet6);
                let is_shared = both.is_some_and(|(one, other)| one.overlaps(other));
                refuse(is_shared || network.subnet.overlaps(rival.subnet), || {
                    named(format!("its subnet overlaps that of network {}", other.0))
                })?;
            }
            for address in self.virtual_addresses.keys() {
                let is_taken = network.tasks.contains_key(address) || network.gateway == *address;
                refuse(is_taken, || {
                    named(format!("{address} is a virtual address too"))
                })?;
            }
        }
        self.check_names()?;
        self.check_backends()
    }

    fn check_backends(&self) -> Result<(), Error> {
        let tasks: BTreeSet<_> = self
            .networks
            .values()
            .flat_map(|network| network.tasks.keys())
            .collect();
        let sets = self.virtual_addresses.iter();
        let sets = sets.map(|(address, value)| (address as &dyn Display, &value.backends));
        let ports = self.ports.iter();
        let ports = ports.map(|(key, value)| (key as &dyn Display, &value.backends));
        for (name, backends) in sets.chain(ports) {
            if let Some(stranger) = backends.iter().find(|backend| !tasks.contains(backend)) {
                return Err(no_task(&name, *stranger));
            }
        }
        for address in self.virtual_addresses.keys() {
            let mut networks = self.networks.values();
            if !networks.any(|network| network.subnet.holds(*address)) {
                let why = format!("{address} is in no network of this node");
                return Err(Error::Invalid(why));
            }
        }
        Ok(())
    }
}

fn no_task(name: &impl Display, stranger: Ipv4Addr) -> Error {
    Error::Invalid(format!(
        "{name}: {stranger} is no task of a network of this node"
    ))
}
