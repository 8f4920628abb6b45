//! Rules of what is given out once: numbers of nodes and overlays, subnets, published ports, addresses and blocks. Pure.

use super::Bench;
use super::store::Record;
use crate::api::allocation::{Allocation, Item, Owner};
use crate::api::name::{Kind, ObjectKey, Scoped};
use crate::api::published::PublishedKey;
use crate::api::service::{PortMode, Protocol};
use crate::api::status::Truth;
use crate::api::subnet::{Cidr, Cidr6};
use crate::api::task::Desired;
use crate::api::uid::{TaskId, Uid};
use crate::api::unit::Port;
use std::collections::{BTreeMap, BTreeSet};

impl Bench {
    /// What somebody has is given to nobody else, neither under its own key nor, of subnets, under another.
    pub(super) fn check_allocation(&mut self, item: &Item, given: &Allocation) {
        let before = self.store.allocations.get(item);
        let is_free = before.is_none_or(|before| before.released || before.owner == given.owner);
        self.log
            .check("what is given out is nobody else's (S1)", is_free, || {
                format!("{item} went over to {}", given.owner)
            });
        let subnet = match item {
            Item::Subnet(subnet) => subnet,
            Item::Port(key) => return self.check_port(key, given),
            Item::Address(network, address) => {
                let (first, last) = (u32::from(*address), u32::from(*address));
                return self.check_part(network, (first, last), item, given);
            }
            Item::Block(network, block) => {
                let first = u32::from(block.address);
                let last = first | u32::MAX.checked_shr(block.length.into()).unwrap_or(0);
                return self.check_part(network, (first, last), item, given);
            }
            Item::Subnet6(subnet) => return self.check_subnet6(*subnet, given),
            Item::Node(_) | Item::Vni(_) => return,
        };
        let first = |subnet: &Cidr| u32::from(subnet.address);
        let last =
            |subnet: &Cidr| first(subnet) | u32::MAX.checked_shr(subnet.length.into()).unwrap_or(0);
        let others = self
            .store
            .allocations
            .keys()
            .filter_map(|other| match other {
                Item::Subnet(other) if other != subnet => Some(other),
                Item::Subnet(_)
                | Item::Subnet6(_)
                | Item::Node(_)
                | Item::Vni(_)
                | Item::Port(_)
                | Item::Address(..)
                | Item::Block(..) => None,
            });
        let mut clashes =
            others.filter(|other| first(other) <= last(subnet) && first(subnet) <= last(other));
        let clash = clashes.next().copied();
        self.log
            .check("subnets share no address (S1)", clash.is_none(), || {
                let other = clash.map(|other| other.to_string()).unwrap_or_default();
                format!("{subnet} of {} and {other}", given.owner)
            });
    }

    /// Two subnets share an address if they begin alike for as many bits as the shorter one is long.
    fn check_subnet6(&mut self, subnet: Cidr6, given: &Allocation) {
        let clash = self.store.allocations.keys().find(|item| match item {
            Item::Subnet6(other) if *other != subnet => {
                let differ = u128::from(subnet.address) ^ u128::from(other.address);
                differ.leading_zeros() >= subnet.length.min(other.length).into()
            }
            _ => false,
        });
        let clash = clash.map(ToString::to_string);
        self.log
            .check("subnets share no address (S1)", clash.is_none(), || {
                let other = clash.unwrap_or_default();
                format!("{subnet} of {} and {other}", given.owner)
            });
    }

    /// Addresses and blocks of a network lie within it, and share none of it: neither the gateway's, nor that for all.
    fn check_part(
        &mut self,
        network: &Uid,
        (first, last): (u32, u32),
        item: &Item,
        given: &Allocation,
    ) {
        let end = |block: &Cidr| {
            let first = u32::from(block.address);
            (
                first,
                first | u32::MAX.checked_shr(block.length.into()).unwrap_or(0),
            )
        };
        let mut clash = None;
        for (other, owner) in self
            .store
            .allocations
            .iter()
            .filter(|(other, _)| *other != item)
        {
            let part = match (other, &owner.owner) {
                (Item::Address(uid, address), _) if uid == network => {
                    Some((u32::from(*address), u32::from(*address)))
                }
                (Item::Block(uid, block), _) if uid == network => Some(end(block)),
                (Item::Subnet(subnet), Owner::Network { uid, .. }) if uid == network => {
                    let (begin, end) = end(subnet);
                    let is_inside = begin + 1 < first && last < end;
                    clash = clash.or((!is_inside).then(|| other.to_string()));
                    None
                }
                _ => None,
            };
            if part.is_some_and(|(start, end)| start <= last && first <= end) {
                clash = Some(other.to_string());
            }
        }
        self.log.check(
            "addresses and blocks of a network share none (S1)",
            clash.is_none(),
            || {
                let other = clash.unwrap_or_default();
                format!("{item} of {} and {other}", given.owner)
            },
        );
    }

    /// What one has of a port on one address, nobody has on all of them.
    fn check_port(&mut self, key: &PublishedKey, given: &Allocation) {
        let others = self.store.allocations.iter();
        let mut clashes = others.filter_map(|(other, given)| match other {
            Item::Port(other) if other != key && other.port == key.port => {
                let one_is_wide = other.address.is_none() || key.address.is_none();
                (one_is_wide && other.protocol == key.protocol).then(|| given.owner.to_string())
            }
            _ => None,
        });
        let clash = clashes.next();
        self.log
            .check("published ports do not meet (S1)", clash.is_none(), || {
                let other = clash.unwrap_or_default();
                format!("{key} of {} and {other}", given.owner)
            });
    }

    /// A published port that its service does not ask for, or that a service in force asks for and lacks without being told
    /// why, where published ports are given out.
    pub(super) fn without_port(&self) -> Option<String> {
        let mut given: BTreeMap<&Uid, Vec<(&PublishedKey, Option<Port>)>> = BTreeMap::new();
        for (item, allocation) in &self.store.allocations {
            if let (Item::Port(key), Owner::Service { uid, .. }) = (item, &allocation.owner) {
                given.entry(uid).or_default().push((key, allocation.target));
            }
        }
        if given.is_empty() {
            return None;
        }
        let services = self.store.accepted.iter();
        for (object, record) in services.filter(|(object, _)| object.kind == Kind::Service) {
            let Some(spec) = self.store.spec(&record.uid) else {
                continue;
            };
            let asked = spec
                .ports
                .iter()
                .filter(|port| port.mode == PortMode::Ingress && port.protocol != Protocol::Sctp);
            let asked: Vec<_> = match spec.template.networks.as_deref() {
                Some([]) => Vec::new(),
                Some(_) | None => asked.collect(),
            };
            let health = spec.health_port.filter(|_| !asked.is_empty());
            let count = asked.len() + usize::from(health.is_some());
            let has = given.remove(&record.uid).unwrap_or_default();
            let is_asked = |(key, chosen_for): &&(&PublishedKey, Option<Port>)| {
                let is_tcp = key.protocol == Protocol::Tcp && key.address.is_none();
                if health == Some(key.port) && is_tcp && chosen_for.is_none() {
                    return true;
                }
                let mut asked = asked.iter();
                asked.any(|port| {
                    let address = port.host_ip.filter(|address| !address.is_unspecified());
                    let is_number = match port.published {
                        Some(published) => chosen_for.is_none() && published == key.port,
                        None => *chosen_for == Some(port.target),
                    };
                    // Never wider than asked, nor narrower.
                    let is_place = address == key.address;
                    is_number && is_place && port.protocol == key.protocol
                })
            };
            if let Some((key, _)) = has.iter().find(|one| !is_asked(one)) {
                return Some(format!("{object} has {key} and does not ask for it"));
            }
            if has.len() > count || has.len() < count && !self.is_refused_port(object) {
                return Some(format!("{object} has {} of {count} ports", has.len()));
            }
        }
        None
    }

    /// Whether a service says why a port of it has no number.
    fn is_refused_port(&self, service: &ObjectKey) -> bool {
        let key = (service.clone(), "network".into());
        let status = self.store.reports.get(&key);
        let said = status.and_then(|status| status.condition("PortsReady"));
        let reasons = ["PortTaken", "PortsExhausted"];
        said.is_some_and(|said| reasons.contains(&said.reason.as_str()))
    }

    /// An allocation whose owner is not in force.
    pub(super) fn allocation_of_nobody(&self) -> Option<String> {
        let mut given = self.store.allocations.iter();
        let nobodys = given.find(|(item, given)| {
            let is_there = match item {
                Item::Block(network, _) => self.attachable().any(|(_, uid)| uid == network),
                _ => true,
            };
            !(given.released || is_there && self.is_in_force(&given.owner))
        });
        nobodys.map(|(item, given)| format!("{}: {item}", given.owner))
    }

    fn is_in_force(&self, owner: &Owner) -> bool {
        let record = self.store.accepted.get(&owner.object());
        match owner {
            Owner::Node { uid, .. } | Owner::Network { uid, .. } | Owner::Service { uid, .. } => {
                record.is_some_and(|record| record.uid == *uid)
            }
            Owner::Task { task, .. } => self.store.tasks.contains_key(task),
        }
    }

    /// The attachable networks in force, with their uids.
    fn attachable(&self) -> impl Iterator<Item = (&ObjectKey, &Uid)> {
        let records = self.store.accepted.iter();
        let attachable = records.filter(|(object, record)| {
            object.kind == Kind::Network && record.spec["attachable"] == true
        });
        attachable.map(|(object, record)| (object, &record.uid))
    }

    /// A node in force that has not exactly one block of an attachable network, where addresses are given out. (For some none
    /// may be left, and the network says so.)
    pub(super) fn without_block(&self) -> Option<String> {
        for (object, uid) in self.attachable() {
            let report = (object.clone(), "network".into());
            let report = self.store.reports.get(&report);
            let Some(said) = report.and_then(|report| report.condition("Attachable")) else {
                continue;
            };
            let mut nodes =
                self.store.accepted.iter().filter(|(node, record)| {
                    node.kind == Kind::Node && record.deleted_at.is_none()
                });
            let odd = nodes.find(|(_, node)| {
                let given = self.store.allocations.iter();
                let blocks = given.filter(|(item, given)| {
                    let is_of_it = matches!(item, Item::Block(network, _) if network == uid);
                    let is_its =
                        matches!(&given.owner, Owner::Node { uid, .. } if *uid == node.uid);
                    is_of_it && is_its
                });
                let count = blocks.count();
                count > 1 || (count == 0 && said.reason != "BlocksExhausted")
            });
            if let Some((node, _)) = odd {
                return Some(format!("{node} has not one block of {object}"));
            }
        }
        None
    }

    /// A node or network in force that has not exactly one number. (A network may rightly be refused one, and says so.)
    pub(super) fn without_number(&self) -> Option<String> {
        let mut records = self.store.accepted.iter();
        let odd = records.find(|(object, record)| {
            let given = self.store.allocations.iter();
            let of_it = |owner: &Owner| match owner {
                Owner::Node { uid, .. } | Owner::Network { uid, .. } => *uid == record.uid,
                Owner::Service { .. } | Owner::Task { .. } => false,
            };
            let count = given
                .filter(|(item, given)| {
                    let is_number =
                        !matches!(item, Item::Subnet(_) | Item::Subnet6(_) | Item::Block(..));
                    !given.released && of_it(&given.owner) && is_number
                })
                .count();
            let is_refused = || self.is_full(object);
            match object.kind {
                // What an earlier life left may keep the record of a node that has no number any more.
                Kind::Node if record.deleted_at.is_some() && self.keeps_lost(&object.name) => {
                    count > 1
                }
                Kind::Node => count != 1,
                Kind::Network => count != 1 && !is_refused(),
                Kind::Service => false,
            }
        });
        odd.map(|(object, _)| format!("{object} has not one number"))
    }

    /// A network in force that has not one subnet of IPv6 where it carries that, or has one where it does not. (It may rightly be
    /// refused one, and says so.)
    pub(super) fn without_subnet6(&self) -> Option<String> {
        let records = self.store.accepted.iter();
        let mut networks = records.filter(|(object, _)| object.kind == Kind::Network);
        let odd = networks.find(|(object, record)| {
            let given = self.store.allocations.iter();
            let subnets = given.filter(|(item, given)| {
                let is_its =
                    matches!(&given.owner, Owner::Network { uid, .. } if *uid == record.uid);
                matches!(item, Item::Subnet6(_)) && is_its
            });
            let named = record.spec["subnets"].as_array();
            let mut named = named.into_iter().flatten();
            let is_named = named.any(|one| one.as_str().is_some_and(|text| text.contains(':')));
            let carries = record.spec["ipv6"] == true || is_named;
            let count = subnets.count();
            count != usize::from(carries) && !(count == 0 && self.is_full(object))
        });
        odd.map(|(object, _)| format!("{object} has not the subnet of IPv6 that it asks for"))
    }

    /// A task that is wanted and lacks an address in a network that its service names, where addresses are given out and
    /// the network has one left.
    pub(super) fn without_address(&self) -> Option<String> {
        let owners: BTreeSet<(&Uid, &TaskId)> = self
            .store
            .allocations
            .iter()
            .filter_map(|(item, given)| match (item, &given.owner) {
                (Item::Address(network, _), Owner::Task { task, .. }) => Some((network, task)),
                _ => None,
            })
            .collect();
        let is_given_out = |item: &Item| matches!(item, Item::Address(..));
        if !self.store.allocations.keys().any(is_given_out) {
            return None;
        }
        let tasks =
            self.store.tasks.values().filter(|(_, task)| {
                task.desired <= Desired::Running && !self.store.is_over(&task.id)
            });
        for (service, task) in tasks {
            let spec = self.store.spec(&task.service);
            let named = spec
                .into_iter()
                .flat_map(|spec| spec.template.networks.unwrap_or_default());
            for network in named {
                let object =
                    ObjectKey::network(&Scoped::new(service.namespace.clone(), network.name));
                let record = self.store.accepted.get(&object);
                let lacks = |record: &Record| !owners.contains(&(&record.uid, &task.id));
                if record.is_some_and(lacks) && !self.is_full(&object) {
                    return Some(format!("{} of {service} has none in {object}", task.id));
                }
            }
        }
        None
    }

    /// Whether a network says that no address is left, or that it has no subnet.
    fn is_full(&self, network: &ObjectKey) -> bool {
        let status = self.store.reports.get(&(network.clone(), "network".into()));
        let is_false = |kind: &str| {
            let condition = status.and_then(|status| status.condition(kind));
            condition.is_some_and(|condition| condition.status == Truth::False)
        };
        is_false("AddressesLeft") || is_false("Allocated")
    }
}
