//! What is tried from which node, computed from the same states that agents program. Pure.

use crate::api::allocation::{Item, NodeIndex};
use crate::api::name::{NodeName, Scoped};
use crate::api::published::PublishedKey;
use crate::api::service::{Locality, Protocol};
use crate::api::status::NodeState;
use crate::api::unit::Port;
use crate::controllers::network::state::Overlays;
use crate::dataplane::address::Version;
use crate::dataplane::dns::names::ServiceNames;
use crate::dataplane::probe::Probe;
use crate::dataplane::state::{Network, State, Vni};
use crate::runtime::cache::Cache;
use crate::runtime::{joins, view};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of a task where no other is known. Nobody has to listen: that a kernel refuses is an answer as well.
const DISCARD: Port = Port(9);

/// A node, and why nothing can be tried from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: NodeName,
    pub(super) address: Option<Ipv4Addr>,
    pub(super) trouble: Option<String>,
}

/// What a check is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Whether another node is there at all, outside of any overlay.
    Node(NodeName),
    /// A task on a node, in an overlay.
    Task(NodeName, IpAddr),
    /// The virtual address of a service.
    Virtual(String, IpAddr),
    /// The name of a service, asked for addresses of one version.
    Name(String, Version),
    /// A published port of a service, asked at a node.
    Port(String, PublishedKey, NodeName),
}

/// What has to come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// An answer, whatever it says.
    Answer,
    /// A refusal: there is nobody.
    Refusal,
    /// These addresses.
    Addresses(BTreeSet<IpAddr>),
}

impl Subject {
    /// Which addresses it is about; what is said between the nodes themselves is said over IPv4.
    pub(super) fn version(&self) -> Version {
        match self {
            Self::Task(_, address) | Self::Virtual(_, address) => Version::of(*address),
            Self::Name(_, version) => *version,
            Self::Node(_) | Self::Port(..) => Version::V4,
        }
    }
}

/// One thing to try from one node.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) from: NodeName,
    pub(super) subject: Subject,
    /// The network that it goes through; none: what lies under all of them.
    pub(super) network: Option<Scoped>,
    /// The nodes of the tasks that may answer.
    pub(super) through: BTreeSet<NodeName>,
    pub(super) probe: Probe,
    pub(super) expected: Expected,
}

/// All that is tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) members: Vec<Member>,
    pub(super) checks: Vec<Check>,
    /// Published ports of UDP, which nobody has to answer, and those of one address of IPv6: which node has it is not known.
    pub(super) left_out: BTreeSet<PublishedKey>,
}

/// What is tried in a cluster.
pub(super) fn plan(cache: &Cache) -> Plan {
    let overlays = Overlays::of(cache);
    let networks = joins::by_number(cache);
    let members: Vec<Member> = view::nodes(cache)
        .iter()
        .map(|node| member(cache, node))
        .collect();
    let named = members
        .iter()
        .filter_map(|member| Some((member.address?, member.name.clone())));
    let places: BTreeMap<Ipv4Addr, NodeName> = named.collect();
    let ports: BTreeMap<String, Port> = cache
        .services
        .iter()
        .filter_map(|(name, service)| {
            let mut ports = service.spec.ports.iter();
            let tcp = ports.find(|port| port.protocol == Protocol::Tcp)?;
            Some((called(name), tcp.target))
        })
        .collect();
    let mut plan = Plan::default();
    for (at, member) in members.iter().enumerate() {
        let state = overlays.state(&member.name);
        let Some(state) = state.filter(|_| member.trouble.is_none()) else {
            continue;
        };
        let around = members.iter().cycle().skip(at + 1).take(members.len() - 1);
        let next = around.clone().find(|other| other.address.is_some());
        let viewer = Viewer {
            cache,
            networks: &networks,
            members: &members,
            places: &places,
            ports: &ports,
            from: member,
            next,
            state: &state,
        };
        viewer.add_nodes(&mut plan);
        viewer.add_tasks(&mut plan);
        viewer.add_services(&mut plan);
        viewer.add_ports(&mut plan);
    }
    plan.members = members;
    plan
}

fn member(cache: &Cache, node: &view::NodeView<'_>) -> Member {
    let said = view::dataplane(cache, &node.name);
    let trouble = match (node.state, said) {
        (NodeState::Down | NodeState::Unknown, _) => Some(format!(
            "the node is {}: {}",
            node.state.as_str(),
            node.reason
        )),
        (NodeState::Ready, None) => Some("it has no agent yet".into()),
        (NodeState::Ready, Some(_)) if view::is_programmed(cache, &node.name) => None,
        (NodeState::Ready, Some(said)) => Some(format!("{}: {}", said.reason, said.message)),
    };
    let address = node.address().and_then(|address| match address {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    });
    Member {
        name: node.name.clone(),
        address,
        trouble,
    }
}

/// What is looked at from one node.
struct Viewer<'a> {
    cache: &'a Cache,
    networks: &'a BTreeMap<Vni, &'a Scoped>,
    members: &'a [Member],
    /// The nodes by their addresses.
    places: &'a BTreeMap<Ipv4Addr, NodeName>,
    /// By the name of a service a port that its tasks may listen on.
    ports: &'a BTreeMap<String, Port>,
    from: &'a Member,
    /// The node after it, for what is asked at another.
    next: Option<&'a Member>,
    state: &'a State,
}

impl Viewer<'_> {
    fn check(&self, subject: Subject, probe: Probe, expected: Expected) -> Check {
        Check {
            from: self.from.name.clone(),
            subject,
            network: None,
            through: BTreeSet::new(),
            probe,
            expected,
        }
    }

    fn add_nodes(&self, plan: &mut Plan) {
        for other in self
            .members
            .iter()
            .filter(|other| other.name != self.from.name)
        {
            let Some(address) = other.address else {
                continue;
            };
            // Nobody listens there for TCP: where nothing drops it, the kernel itself refuses.
            let probe = connect(address.into(), self.state.vxlan_port);
            let subject = Subject::Node(other.name.clone());
            plan.checks
                .push(self.check(subject, probe, Expected::Answer));
        }
    }

    /// In each network a task on each node that has one.
    fn add_tasks(&self, plan: &mut Plan) {
        for (vni, network) in &self.state.networks {
            let mut seen: BTreeSet<NodeIndex> = BTreeSet::new();
            for (service, names) in &self.state.names.services {
                let tasks = names.tasks.values();
                for address in tasks.filter_map(|task| task.addresses.get(vni)) {
                    let Some(index) = network.tasks.get(address) else {
                        continue;
                    };
                    let Some(node) = self.node(*index).filter(|_| seen.insert(*index)) else {
                        continue;
                    };
                    for address in network.versions(*address) {
                        let subject = Subject::Task(node.clone(), address);
                        let probe = connect(address, self.port(service));
                        plan.checks.push(Check {
                            network: self.network(*vni),
                            through: [node.clone()].into(),
                            ..self.check(subject, probe, Expected::Answer)
                        });
                    }
                }
            }
        }
    }

    /// Virtual addresses and names.
    fn add_services(&self, plan: &mut Plan) {
        for (service, names) in &self.state.names.services {
            for (vni, virtual_address) in &names.networks {
                let Some(network) = self.state.networks.get(vni) else {
                    continue;
                };
                if let Some(address) = virtual_address {
                    let checks = self.of_virtual(service, *vni, network, *address);
                    plan.checks.extend(checks);
                }
                let expected = addresses(names, *vni, *virtual_address);
                let checks = self.of_name(service, *vni, network, &expected);
                plan.checks.extend(checks);
            }
        }
    }

    fn of_virtual(
        &self,
        service: &str,
        vni: Vni,
        network: &Network,
        address: Ipv4Addr,
    ) -> impl Iterator<Item = Check> {
        let behind = self.state.virtual_addresses.get(&address);
        let backends = behind
            .map(|behind| behind.backends.clone())
            .unwrap_or_default();
        network.versions(address).map(move |address| {
            let subject = Subject::Virtual(service.to_owned(), address);
            let probe = connect(address, self.port(service));
            Check {
                network: self.network(vni),
                through: self.places(&backends),
                ..self.check(subject, probe, somebody(&backends))
            }
        })
    }

    /// The resolver has one address, of IPv4, and tells of both versions.
    fn of_name(
        &self,
        service: &str,
        vni: Vni,
        network: &Network,
        expected: &BTreeSet<Ipv4Addr>,
    ) -> impl Iterator<Item = Check> {
        let (own, name) = (expected.iter().copied(), service.to_owned());
        let version4 = (
            Probe::Resolve(network.gateway, name.clone()),
            Version::V4,
            own.clone().map(IpAddr::from).collect(),
        );
        let version6 = network.dual().map(|_| {
            let expected = own.filter_map(|address| network.version6(address));
            (
                Probe::Resolve6(network.gateway, name),
                Version::V6,
                expected.map(IpAddr::from).collect(),
            )
        });
        let asked = [Some(version4), version6].into_iter().flatten();
        asked.map(move |(probe, version, expected)| {
            let subject = Subject::Name(service.to_owned(), version);
            Check {
                network: self.network(vni),
                ..self.check(subject, probe, Expected::Addresses(expected))
            }
        })
    }

    /// Published ports at this node and at the one after it.
    fn add_ports(&self, plan: &mut Plan) {
        for (key, port) in &self.state.ports {
            let is_of_version6 = key.address.is_some_and(|address| address.is_ipv6());
            if key.protocol != Protocol::Tcp || is_of_version6 {
                plan.left_out.insert(*key);
                continue;
            }
            let given = self.cache.allocations.get(&Item::Port(*key));
            let service = given.map(|given| given.owner.object().scoped());
            let service = service.map_or_else(String::new, |name| called(&name));
            for at in [Some(self.from), self.next].into_iter().flatten() {
                let Some(address) = at
                    .address
                    .filter(|at| key.address.is_none_or(|to| to == *at))
                else {
                    continue;
                };
                let is_there = |task: &&Ipv4Addr| {
                    port.locality != Locality::Local
                        || self.place(**task).as_ref() == Some(&at.name)
                };
                let backends = port.backends.iter().filter(is_there).copied().collect();
                let subject = Subject::Port(service.clone(), *key, at.name.clone());
                let mut through = self.places(&backends);
                through.insert(at.name.clone());
                plan.checks.push(Check {
                    through,
                    ..self.check(
                        subject,
                        connect(address.into(), key.port),
                        somebody(&backends),
                    )
                });
            }
        }
    }

    fn network(&self, vni: Vni) -> Option<Scoped> {
        self.networks.get(&vni).map(|name| (*name).clone())
    }

    fn node(&self, index: NodeIndex) -> Option<NodeName> {
        let address = self.state.members.get(&index)?;
        self.places.get(address).cloned()
    }

    fn place(&self, task: Ipv4Addr) -> Option<NodeName> {
        self.node(self.state.place(task)?)
    }

    fn places(&self, tasks: &BTreeSet<Ipv4Addr>) -> BTreeSet<NodeName> {
        tasks.iter().filter_map(|task| self.place(*task)).collect()
    }

    /// A port that a service's tasks may listen on.
    fn port(&self, service: &str) -> Port {
        self.ports.get(service).copied().unwrap_or(DISCARD)
    }
}

/// `web.default`, as names have it.
fn called(service: &Scoped) -> String {
    format!("{}.{}", service.name, service.namespace)
}

fn connect(address: IpAddr, port: Port) -> Probe {
    Probe::Connect(SocketAddr::new(address, port.0))
}

fn somebody(backends: &BTreeSet<Ipv4Addr>) -> Expected {
    match backends.is_empty() {
        true => Expected::Refusal,
        false => Expected::Answer,
    }
}

/// What a service's name means in a network.
fn addresses(names: &ServiceNames, vni: Vni, own: Option<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
    let tasks = names.tasks.values();
    match names.is_round_robin {
        true => tasks
            .filter_map(|task| task.addresses.get(&vni).copied())
            .collect(),
        false => own.into_iter().collect(),
    }
}
