//! The part of the cache that holds allocations, with what planners ask of it: who has what, and what is free. Pure.
//!
//! Invariant: a key that exists is taken, also one whose value cannot be read: claiming it would fail for ever.

use super::cache::Stored;
use super::runs::Runs;
use crate::api::allocation::{Allocation, Item, Owner, Vni};
use crate::api::name::Scoped;
use crate::api::network::NetworkSpec;
use crate::api::published::PublishedKey;
use crate::api::service::Protocol;
use crate::api::subnet::{Cidr, Cidr6};
use crate::api::uid::Uid;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// A range of numbers from which each is given out once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// Numbers of nodes.
    Nodes,
    /// Numbers of overlays.
    Vnis,
    /// All addresses of IPv4, given out as subnets.
    Subnets,
    /// Published ports.
    Ports(Protocol),
    /// The addresses of the network with this uid, given out singly and in blocks.
    Addresses(Uid),
}

/// The numbers of a network that lacks none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// That on the wire.
    pub vni: Vni,
    /// Its subnet.
    pub subnet: Cidr,
    /// Its subnet of IPv6, where it carries that.
    pub subnet6: Option<Cidr6>,
}

/// All allocations.
#[derive(Clone, Debug, Default)]
pub struct Allocations {
    items: BTreeMap<Item, Stored<Allocation>>,
    unreadable: BTreeSet<Item>,
    by_owner: BTreeMap<Owner, BTreeSet<Item>>,
    /// The names that go with the uids of networks that own something.
    networks: BTreeMap<Uid, Scoped>,
    taken: BTreeMap<Space, Runs>,
}

/// All blocks of a network.
fn blocks_of(network: &Uid) -> RangeInclusive<Item> {
    let end = |address, length| Item::Block(network.clone(), Cidr { address, length });
    end(Ipv4Addr::UNSPECIFIED, 0)..=end(Ipv4Addr::BROADCAST, 32)
}

/// The space of an item, and the numbers of it that it takes; none: there are so many that nobody counts which are free.
pub fn place(item: &Item) -> Option<(Space, u32, u32)> {
    let place = match item {
        Item::Subnet6(_) => return None,
        Item::Node(index) => (Space::Nodes, index.0.into(), index.0.into()),
        Item::Vni(vni) => (Space::Vnis, vni.0, vni.0),
        Item::Subnet(subnet) => {
            let (first, last) = subnet.range();
            (Space::Subnets, first, last)
        }
        // On whichever addresses: a number that is chosen is nobody's on any.
        Item::Port(key) => (
            Space::Ports(key.protocol),
            key.port.0.into(),
            key.port.0.into(),
        ),
        Item::Address(network, address) => {
            let number = u32::from(*address);
            (Space::Addresses(network.clone()), number, number)
        }
        Item::Block(network, block) => {
            let (first, last) = block.range();
            (Space::Addresses(network.clone()), first, last)
        }
    };
    Some(place)
}

impl Allocations {
    /// What stands under an item's key.
    pub fn get(&self, item: &Item) -> Option<&Stored<Allocation>> {
        self.items.get(item)
    }

    /// All that can be read, in order: nodes, VNIs, subnets, published ports, addresses and blocks by network.
    pub fn iter(&self) -> impl Iterator<Item = (&Item, &Stored<Allocation>)> {
        self.items.iter()
    }

    /// All but the addresses and blocks of networks.
    pub fn numbers(&self) -> impl Iterator<Item = (&Item, &Stored<Allocation>)> {
        let is_number = |(item, _): &(&Item, &Stored<Allocation>)| match item {
            Item::Node(_) | Item::Vni(_) | Item::Subnet(_) | Item::Subnet6(_) | Item::Port(_) => {
                true
            }
            Item::Address(..) | Item::Block(..) => false,
        };
        self.items.iter().take_while(is_number)
    }

    /// The addresses of a network that are given out.
    pub fn addresses<'a>(
        &'a self,
        network: &Uid,
    ) -> impl Iterator<Item = (Ipv4Addr, &'a Stored<Allocation>)> + use<'a> {
        let first = Item::Address(network.clone(), Ipv4Addr::UNSPECIFIED);
        let last = Item::Address(network.clone(), Ipv4Addr::BROADCAST);
        let range = self.items.range(first..=last);
        range.filter_map(|(item, stored)| Some((item.address()?.1, stored)))
    }

    /// The blocks of a network that are given out.
    pub fn blocks<'a>(
        &'a self,
        network: &Uid,
    ) -> impl Iterator<Item = (Cidr, &'a Stored<Allocation>)> + use<'a> {
        let range = self.items.range(blocks_of(network));
        range.filter_map(|(item, stored)| Some((item.block()?.1, stored)))
    }

    /// The uids of networks of which addresses or blocks are given out.
    pub fn addressed(&self) -> impl Iterator<Item = &Uid> {
        self.taken.keys().filter_map(|space| match space {
            Space::Addresses(network) => Some(network),
            Space::Nodes | Space::Vnis | Space::Subnets | Space::Ports(_) => None,
        })
    }

    /// What an owner has.
    pub fn of<'a>(&'a self, owner: &Owner) -> impl Iterator<Item = &'a Item> + use<'a> {
        self.by_owner.get(owner).into_iter().flatten()
    }

    /// The VNI and the subnet of a network, the lowest if somebody gave it several by hand.
    pub fn numbers_of(&self, network: &Owner) -> (Option<Vni>, Option<Cidr>) {
        let (mut vni, mut subnet) = (None, None);
        for item in self.of(network) {
            match item {
                Item::Vni(number) => vni = vni.or(Some(*number)),
                Item::Subnet(cidr) => subnet = subnet.or(Some(*cidr)),
                Item::Subnet6(_)
                | Item::Node(_)
                | Item::Port(_)
                | Item::Address(..)
                | Item::Block(..) => {}
            }
        }
        (vni, subnet)
    }

    /// The subnet of IPv6 of a network, the lowest if somebody gave it several by hand.
    pub fn subnet6_of(&self, network: &Owner) -> Option<Cidr6> {
        self.of(network).find_map(Item::subnet6)
    }

    /// What a network has that is to be what `spec` says; none: it lacks something of it.
    pub fn all_of(&self, network: &Owner, spec: &NetworkSpec) -> Option<Numbers> {
        let (Some(vni), Some(subnet)) = self.numbers_of(network) else {
            return None;
        };
        let subnet6 = match spec.carries_ipv6() {
            true => Some(self.subnet6_of(network)?),
            false => None,
        };
        Some(Numbers {
            vni,
            subnet,
            subnet6,
        })
    }

    /// The subnets of IPv6 given out that share an address with `subnet`.
    pub fn overlapping6(&self, subnet: Cidr6) -> impl Iterator<Item = Cidr6> {
        let end = |address: u128, length| {
            Item::Subnet6(Cidr6 {
                address: address.into(),
                length,
            })
        };
        let all = end(0, 0)..=end(u128::MAX, 128);
        let readable = self.items.range(all.clone()).map(|(item, _)| item);
        let all = readable.chain(self.unreadable.range(all));
        all.filter_map(Item::subnet6)
            .filter(move |other| other.overlaps(subnet))
    }

    /// How many addresses of a network are free for tasks and services.
    pub fn free_addresses(&self, network: &Uid, subnet: Cidr) -> u64 {
        let (first, last) = subnet.hosts();
        let all = (u64::from(last) + 1).saturating_sub(u64::from(first));
        let runs = self.taken(&Space::Addresses(network.clone()));
        runs.map_or(all, |runs| runs.count_free(first, last))
    }

    /// The name of the network with this uid, if it has a number or a subnet.
    pub fn network(&self, uid: &Uid) -> Option<&Scoped> {
        self.networks.get(uid)
    }

    /// What of a space is taken.
    pub fn taken(&self, space: &Space) -> Option<&Runs> {
        self.taken.get(space)
    }

    /// The subnets given out that share an address with `subnet`.
    pub fn overlapping(&self, subnet: Cidr) -> Vec<Cidr> {
        let (first, last) = subnet.range();
        let at = |address: u32, length: u8| {
            Item::Subnet(Cidr {
                address: Ipv4Addr::from(address),
                length,
            })
        };
        // Those around it have its first address cut to fewer bits; all others begin within it.
        let around = (0..subnet.length).filter_map(|length| {
            let wide = Cidr { length, ..subnet };
            Some(at(wide.range().0, length)).filter(|item| self.exists(item))
        });
        let readable = self.items.range(at(first, subnet.length)..=at(last, 32));
        let within = readable.map(|(item, _)| item);
        let unreadable = self
            .unreadable
            .range(at(first, subnet.length)..=at(last, 32));
        let all = around.chain(within.cloned()).chain(unreadable.cloned());
        all.filter_map(|item| item.subnet()).collect()
    }

    /// The published ports given out that would be open at one place with `key`, itself too.
    pub fn meeting(&self, key: PublishedKey) -> Vec<PublishedKey> {
        let (first, last) = key.anywhere().into_inner();
        let (first, last) = (Item::Port(first), Item::Port(last));
        let readable = self.items.range(&first..=&last).map(|(item, _)| item);
        let all = readable.chain(self.unreadable.range(&first..=&last));
        all.filter_map(Item::port)
            .filter(|other| other.meets(&key))
            .collect()
    }

    /// All published ports that are given out.
    pub fn ports(&self) -> impl Iterator<Item = (PublishedKey, &Stored<Allocation>)> {
        self.numbers()
            .filter_map(|(item, stored)| Some((item.port()?, stored)))
    }

    fn exists(&self, item: &Item) -> bool {
        self.items.contains_key(item) || self.unreadable.contains(item)
    }

    /// Puts what stands under an item's key now.
    pub(super) fn put(&mut self, item: &Item, stored: Stored<Allocation>) {
        self.remove(item);
        let owner = &stored.owner;
        if !stored.released {
            let items = self.by_owner.entry(owner.clone()).or_default();
            items.insert(item.clone());
        }
        if let Owner::Network { name, uid } = owner {
            self.networks.insert(uid.clone(), name.clone());
        }
        self.items.insert(item.clone(), stored);
        self.take(item);
    }

    /// The key exists, and its value cannot be read. The last one that could stays.
    pub(super) fn occupy(&mut self, item: &Item) {
        if !self.items.contains_key(item) {
            self.unreadable.insert(item.clone());
            self.take(item);
        }
    }

    /// The key is gone.
    pub(super) fn remove(&mut self, item: &Item) {
        let was_unreadable = self.unreadable.remove(item);
        let Some(before) = self.items.remove(item) else {
            if was_unreadable {
                self.give_back(item);
            }
            return;
        };
        if let Some(items) = self.by_owner.get_mut(&before.owner) {
            items.remove(item);
            if items.is_empty() {
                self.by_owner.remove(&before.owner);
                if let Owner::Network { uid, .. } = &before.owner {
                    self.networks.remove(uid);
                }
            }
        }
        self.give_back(item);
    }

    fn take(&mut self, item: &Item) {
        if let Some((space, first, last)) = place(item) {
            self.taken.entry(space).or_default().take(first, last);
        }
    }

    fn give_back(&mut self, item: &Item) {
        let Some((space, first, last)) = place(item) else {
            return;
        };
        // Subnets and blocks that were put by hand may overlap, and a port may be several's on an address each: what others
        // have of it stays taken.
        let others: Vec<(u32, u32)> = match item {
            Item::Subnet(subnet) => {
                let others = self.overlapping(*subnet).into_iter();
                others.map(Cidr::range).collect()
            }
            Item::Port(key) => {
                let anywhere = PublishedKey {
                    address: None,
                    ..*key
                };
                let others = self.meeting(anywhere).into_iter();
                others.map(|_| (first, last)).collect()
            }
            Item::Address(network, address) => self.within(network, Cidr::of(*address)),
            Item::Block(network, block) => self.within(network, *block),
            Item::Node(_) | Item::Vni(_) | Item::Subnet6(_) => Vec::new(),
        };
        let Some(runs) = self.taken.get_mut(&space) else {
            return;
        };
        runs.free(first, last);
        for (first, last) in others {
            runs.take(first, last);
        }
        if runs.is_empty() {
            self.taken.remove(&space);
        }
    }

    /// What is given out of a network's addresses and shares some with `part`.
    fn within(&self, network: &Uid, part: Cidr) -> Vec<(u32, u32)> {
        let (first, last) = part.range();
        let address = |number: u32| Item::Address(network.clone(), number.into());
        let single = address(first)..=address(last);
        let readable = self.items.range(single.clone()).map(|(item, _)| item);
        let single = readable.chain(self.unreadable.range(single));
        let readable = self.items.range(blocks_of(network)).map(|(item, _)| item);
        let blocks = readable.chain(self.unreadable.range(blocks_of(network)));
        let all = single.chain(blocks).filter_map(place);
        all.map(|(_, first, last)| (first, last))
            .filter(|(start, end)| *start <= last && first <= *end)
            .collect()
    }

    /// The keys of all items, readable or not.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Item> {
        self.items.keys().chain(&self.unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::name::NodeName;
    use crate::api::unit::{LeaseId, Revision};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn items() -> Vec<Item> {
        let subnets = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.2.0/25",
            "10.2.0.0/16",
        ];
        let subnets = subnets.map(|text| Item::Subnet(text.parse().expect("a subnet")));
        let addresses = ["10.1.2.3", "10.1.2.4"]
            .map(|text| Item::Address("u".into(), text.parse().expect("an address")));
        let blocks = ["10.1.2.0/29", "10.1.2.4/30", "10.1.2.128/29"]
            .map(|text| Item::Block("u".into(), text.parse().expect("a block")));
        let numbers = [Item::Vni(Vni(70_000)), Item::Vni(Vni(70_001))];
        let ports = ["tcp/80", "tcp/192.0.2.1:80", "tcp/192.0.2.2:80", "udp/80"];
        let ports = ports.map(|text| Item::Port(text.parse().expect("a port")));
        subnets
            .into_iter()
            .chain(addresses)
            .chain(blocks)
            .chain(numbers)
            .chain(ports)
            .collect()
    }

    fn given(owner: usize) -> Stored<Allocation> {
        let owner = match owner {
            0 => Owner::Node {
                name: NodeName::from("n"),
                uid: "n".into(),
            },
            _ => Owner::Network {
                name: Scoped::new("shop", "front"),
                uid: "u".into(),
            },
        };
        Stored {
            value: Arc::new(Allocation {
                owner,
                released: false,
                target: None,
            }),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            lease: LeaseId(0),
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_beside_the_keys_is_what_the_keys_say(
            steps in prop::collection::vec((0..16usize, 0..4usize), 0..50)
        ) {
            let mut kept = Allocations::default();
            for (item, what) in steps {
                let item = &items()[item];
                match what {
                    0 | 1 => kept.put(item, given(what)),
                    2 => kept.occupy(item),
                    _ => kept.remove(item),
                }
            }
            let mut anew = Allocations::default();
            kept.items.iter().for_each(|(item, stored)| anew.put(item, stored.clone()));
            kept.unreadable.iter().for_each(|item| anew.occupy(item));
            prop_assert_eq!(&kept.taken, &anew.taken);
            prop_assert_eq!(&kept.by_owner, &anew.by_owner);
            prop_assert_eq!(&kept.networks, &anew.networks);
            for probe in ["10.1.2.0/24", "10.1.0.0/16", "10.1.2.4/30", "10.3.0.0/16"] {
                let probe: Cidr = probe.parse().expect("a subnet");
                let found: BTreeSet<Cidr> = kept.overlapping(probe).into_iter().collect();
                let expected = kept.keys().filter_map(|item| match item {
                    Item::Subnet(subnet) if subnet.overlaps(probe) => Some(*subnet),
                    _ => None,
                });
                prop_assert_eq!(found, expected.collect());
            }
            for probe in ["tcp/80", "tcp/192.0.2.1:80", "udp/192.0.2.1:80", "tcp/81"] {
                let probe: PublishedKey = probe.parse().expect("a port");
                let expected = kept.keys().filter_map(|item| match item {
                    Item::Port(other) if other.meets(&probe) => Some(*other),
                    _ => None,
                });
                let expected: BTreeSet<PublishedKey> = expected.collect();
                prop_assert_eq!(kept.meeting(probe).into_iter().collect::<BTreeSet<_>>(), expected);
            }
        }
    }
}
