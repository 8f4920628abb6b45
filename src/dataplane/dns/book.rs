//! A state's names, ready to be looked up: by name, by address, by who asks. Pure.

use super::names::{Names, ServiceNames};
use crate::api::allocation::Vni;
use crate::api::unit::Port;
use crate::dataplane::shared::Shared;
use crate::dataplane::state::{Network, State};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// What a name leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Addresses by network; none: the name exists there, and nobody answers to it.
    places: BTreeMap<Vni, BTreeSet<Ipv4Addr>>,
    /// Ports by `_<name>._<protocol>`.
    ports: BTreeMap<String, Port>,
    /// Whether names below it are its own: it is a service's.
    has_tasks: bool,
}

/// What somebody who asks may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The networks, the one that is asked from first.
    networks: Vec<Vni>,
    /// The namespace in which it asks.
    namespace: String,
    /// Whether one of the networks has a way out.
    pub has_way_out: bool,
}

/// All names by name and by address, in lower case. Addresses are those of IPv4; those of IPv6 are found from them, and they from
/// those, when somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// As the state has them, but for their tasks: those may be others by now.
    networks: BTreeMap<Vni, Shared<Network>>,
    gateways: BTreeSet<Ipv4Addr>,
    namespaces: BTreeMap<Vni, String>,
    askers: BTreeMap<Ipv4Addr, BTreeSet<Vni>>,
    names: BTreeMap<String, Entry>,
    reverse: BTreeMap<Ipv4Addr, (Vni, String)>,
}

impl Book {
    /// The names of a state.
    pub fn new(state: &State) -> Self {
        let Names {
            namespaces,
            askers,
            services,
        } = &state.names;
        let networks = state.networks.values();
        let mut book = Self {
            gateways: networks.map(|network| network.gateway).collect(),
            networks: state.networks.clone(),
            namespaces: namespaces.clone(),
            askers: askers.clone(),
            ..Self::default()
        };
        // Aliases last: what a service is called is nobody's alias, and an alias of several is all of theirs.
        for (name, service) in services {
            book.add(&name.to_lowercase(), service);
        }
        let own: BTreeSet<String> = book.names.keys().cloned().collect();
        for (name, service) in services {
            book.add_aliases(&name.to_lowercase(), service, &own);
        }
        book
    }

    fn add(&mut self, name: &str, service: &ServiceNames) {
        let (_, namespace) = name.rsplit_once('.').unwrap_or((name, ""));
        let mut tasks = Entry::default();
        for vni in service.networks.keys() {
            tasks.places.insert(*vni, BTreeSet::new());
        }
        for (container, task) in &service.tasks {
            let container = format!("{}.{namespace}", container.to_lowercase());
            let slot = format!("{}.{name}", task.slot.to_lowercase());
            for (vni, address) in &task.addresses {
                self.reverse.insert(*address, (*vni, container.clone()));
                tasks.place(*vni, *address);
                for name in [&container, &slot] {
                    let entry = self.names.entry(name.clone()).or_default();
                    entry.place(*vni, *address);
                }
            }
        }
        tasks.ports = ports(service);
        let mut entry = tasks.clone();
        if !service.is_round_robin {
            let virtuals = service.networks.iter();
            entry.places = virtuals
                .map(|(vni, address)| (*vni, address.iter().copied().collect()))
                .collect();
            for (vni, address) in &service.networks {
                if let Some(address) = address {
                    self.reverse.insert(*address, (*vni, name.to_owned()));
                }
            }
        }
        entry.has_tasks = true;
        self.names.insert(name.to_owned(), entry);
        self.names.insert(format!("tasks.{name}"), tasks);
    }

    fn add_aliases(&mut self, name: &str, service: &ServiceNames, own: &BTreeSet<String>) {
        let (_, namespace) = name.rsplit_once('.').unwrap_or((name, ""));
        let Some(entry) = self.names.get(name).cloned() else {
            return;
        };
        for (vni, aliases) in &service.aliases {
            let Some(addresses) = entry.places.get(vni) else {
                continue;
            };
            for alias in aliases {
                let alias = format!("{}.{namespace}", alias.to_lowercase());
                if own.contains(&alias) {
                    continue;
                }
                let named = self.names.entry(alias).or_default();
                named.places.entry(*vni).or_default().extend(addresses);
                named.ports.extend(entry.ports.clone());
            }
        }
    }

    /// What who asks from an address may see; `None`: nobody of ours asks from there.
    pub fn view(&self, asker: Ipv4Addr) -> Option<View> {
        let mut subnets = self.networks.iter();
        let (own, _) = subnets.find(|(_, network)| network.subnet.holds(asker))?;
        let others = self.askers.get(&asker).into_iter().flatten();
        let others = others.filter(|vni| *vni != own);
        let networks: Vec<Vni> = [own].into_iter().chain(others).copied().collect();
        let namespace = self.namespaces.get(own).map(|name| name.to_lowercase());
        let is_internal = |vni: &Vni| {
            let network = self.networks.get(vni);
            network.is_some_and(|network| network.internal)
        };
        Some(View {
            has_way_out: networks.iter().any(|vni| !is_internal(vni)),
            namespace: namespace.unwrap_or_default(),
            networks,
        })
    }

    /// What a name leads to for somebody: first within the own namespace, then with the namespace as it is given.
    pub fn find(&self, view: &View, name: &str) -> Option<&Entry> {
        let full = format!("{name}.{}", view.namespace);
        let visible = |name: &str| {
            let entry = self.names.get(name);
            entry.filter(|entry| {
                view.networks
                    .iter()
                    .any(|vni| entry.places.contains_key(vni))
            })
        };
        visible(&full).or_else(|| visible(name))
    }

    /// The network whose addresses an entry has for somebody.
    pub fn network(&self, view: &View, entry: &Entry) -> Option<&Network> {
        let (vni, _) = entry.seen_by(view)?;
        self.networks.get(&vni).map(|network| &**network)
    }

    /// The name that an address of either version has for somebody.
    pub fn name_of(&self, view: &View, address: IpAddr) -> Option<&str> {
        let address = match address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => {
                let mut networks = self.networks.values();
                let network = networks.find(|network| network.holds(address))?;
                network.version4(address)?
            }
        };
        let (vni, name) = self.reverse.get(&address)?;
        view.networks.contains(vni).then_some(name)
    }

    /// Whether an address is one of an overlay of this node.
    pub fn holds(&self, address: IpAddr) -> bool {
        let mut networks = self.networks.values();
        networks.any(|network| network.holds(address))
    }

    /// Where names are asked for.
    pub fn gateways(&self) -> &BTreeSet<Ipv4Addr> {
        &self.gateways
    }
}

impl Entry {
    fn place(&mut self, vni: Vni, address: Ipv4Addr) {
        self.places.entry(vni).or_default().insert(address);
    }

    /// The addresses for somebody: those of one network that both are on, the one that is asked from if it has some.
    pub fn addresses(&self, view: &View) -> Vec<Ipv4Addr> {
        let seen = self.seen_by(view);
        let addresses = seen.map(|(_, addresses)| addresses);
        addresses.into_iter().flatten().copied().collect()
    }

    /// The addresses for somebody, with the network that they are of; `None`: nobody answers to the name.
    fn seen_by(&self, view: &View) -> Option<(Vni, &BTreeSet<Ipv4Addr>)> {
        let networks = view.networks.iter();
        let mut places = networks.filter_map(|vni| Some((*vni, self.places.get(vni)?)));
        places.find(|(_, addresses)| !addresses.is_empty())
    }

    /// The port called `_<name>._<protocol>`.
    pub fn port(&self, name: &str) -> Option<Port> {
        self.ports.get(name).copied()
    }

    /// Whether names below it are its own.
    pub fn has_tasks(&self) -> bool {
        self.has_tasks
    }
}

fn ports(service: &ServiceNames) -> BTreeMap<String, Port> {
    let ports = service.ports.iter();
    let called = ports.filter_map(|(name, port)| {
        let (name, protocol) = name.rsplit_once('/')?;
        Some((format!("_{}._{protocol}", name.to_lowercase()), *port))
    });
    called.collect()
}
