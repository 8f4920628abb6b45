//! Subnets of IPv6: whose they are, which, and for how long.

use super::ipam_tests::{accept_node, check, delete, find, network, put, small, told, vni, world};
use super::*;
use crate::api::allocation::{Item, Owner, Vni};
use crate::api::name::Scoped;
use crate::api::subnet::Cidr6;
use crate::runtime::fixture::World;

/// The subnet of IPv6 that a network has.
fn subnet6(world: &World, name: &str) -> Option<Cidr6> {
    let record = &world.cache.networks[&Scoped::new("shop", name)];
    let owner = ipam::owner(&Scoped::new("shop", name), &record.uid);
    world.cache.allocations.subnet6_of(&owner)
}

/// A network that carries IPv6, alone in a cluster, and the subnet of that which it gets.
fn alone(uids: u64) -> (World, Cidr6) {
    let mut world = world();
    (0..uids).for_each(|_| {
        put(&mut world, "other", "{}");
        world.settle(&small());
        delete(&mut world, "other");
        world.settle(&small());
    });
    put(&mut world, "a", "{ipv6: true}");
    world.settle(&small());
    let subnet6 = subnet6(&world, "a").expect("it has one");
    (world, subnet6)
}

#[test]
fn a_network_that_carries_ipv6_has_a_subnet_of_it_that_its_uid_alone_gives() {
    let (mut world, first) = alone(0);
    assert_eq!(first.length, 64);
    assert_eq!(first.address.octets()[0], 0xfd, "it is nobody's to route");
    assert_eq!(told(&world, "a"), format!("10.64.0.0/24 and {first}"));
    assert_ne!(alone(1).1, first, "another uid has another one");
    // From a store that lost it the same network gets the same one.
    world.del(&Key::Allocation(Item::Subnet6(first)));
    world.settle(&small());
    assert_eq!(subnet6(&world, "a"), Some(first));
    // Where somebody has a part of it, it gets another one, which again is always the same.
    let taken = format!("allocations/subnets/{}-80", first.address);
    let second = || {
        let mut world = self::world();
        world.raw(&taken, b"garbage".to_vec());
        put(&mut world, "a", "{ipv6: true}");
        world.settle(&small());
        subnet6(&world, "a").expect("it has one")
    };
    assert!(!second().overlaps(first));
    assert_eq!(second(), second());
    let part = format!("{{subnets: [\"{}/80\"]}}", first.address);
    put(&mut world, "part", &part);
    world.settle(&small());
    let expected = format!(
        "SubnetTaken: {}/80 is or overlaps {first} of network shop/a",
        first.address
    );
    assert_eq!(told(&world, "part"), expected);
    delete(&mut world, "a");
    world.settle(&small());
    assert!(told(&world, "part").ends_with("/80"), "it is free now");
}

#[test]
fn a_subnet_of_ipv6_that_is_asked_for_is_had_by_one_alone_and_where_it_fits() {
    check(
        &[
            "{subnets: [\"10.9.0.0/16\", \"fd00:9::/64\"]}",
            "{subnets: [\"fd00:9::/64\"]}",
            "{subnets: [\"fd00:9::/48\"]}",
            "{subnets: [\"fd00:a::/120\"]}",
            "{subnets: [\"2001:db8::/64\"]}",
        ],
        &[
            "10.9.0.0/16 and fd00:9::/64",
            "SubnetTaken: fd00:9::/64 is or overlaps that of network shop/net0",
            "SubnetTaken: fd00:9::/48 is or overlaps fd00:9::/64 of network shop/net0",
            "10.64.0.0/24 and fd00:a::/120",
            "10.64.1.0/24 and 2001:db8::/64",
        ],
    );
    let mut world = world();
    put(
        &mut world,
        "a",
        "{subnets: [\"fd00::/120\"], attachable: true}",
    );
    world.settle(&small());
    let expected = "SubnetTooSmall: fd00::/120 has fewer addresses than 10.64.0.0/22";
    assert!(
        told(&world, "a").starts_with(expected),
        "{}",
        told(&world, "a")
    );
    let value = "{engine: \"tcp://n1:2375\", address: \"2001:db8::7\"}";
    accept_node(&mut world, "n1", "n1", value);
    put(&mut world, "b", "{subnets: [\"2001:db8::/64\"]}");
    world.settle(&small());
    let expected = "SubnetHoldsNode: 2001:db8::/64 holds the address of node n1, 2001:db8::7";
    assert_eq!(told(&world, "b"), expected);
    let given = world.cache.allocations.iter();
    let given = given.filter(|(_, given)| matches!(given.owner, Owner::Network { .. }));
    assert_eq!(given.count(), 0, "all or nothing");
}

#[test]
fn whether_a_network_carries_ipv6_does_not_change_nor_does_its_subnet() {
    let accepted = |world: &World| {
        let status = world.cache.status(&network("a"), "network");
        let said = status.and_then(|status| status.condition("Accepted"));
        said.map(|said| format!("{}/{}", said.status.as_str(), said.reason))
    };
    let (mut world, has) = alone(0);
    for (value, expected) in [
        ("{}", "False/Ipv6Fixed"),
        ("{ipv6: true, mtu: 1400}", "True/Accepted"),
        ("{subnets: [\"fd00:9::/64\"]}", "True/Accepted"),
    ] {
        put(&mut world, "a", value);
        world.settle(&small());
        assert_eq!(accepted(&world).as_deref(), Some(expected), "{value}");
        assert_eq!(subnet6(&world, "a"), Some(has), "{value}");
    }
    let expected = format!("SubnetFixed: the network keeps {has}, and fd00:9::/64 is asked for");
    assert!(told(&world, "a").starts_with(&expected));
    put(&mut world, "b", "{}");
    world.settle(&small());
    put(&mut world, "b", "{ipv6: true}");
    world.settle(&small());
    assert_eq!(subnet6(&world, "b"), None);
}

#[test]
fn s6_what_a_wiped_store_lost_of_ipv6_is_taken_over_from_engines() {
    let mut world = world();
    let both = ("shop_both", 1, 70_000, "10.64.0.0/24 and fd00:1::/64");
    let asks = ("shop_asks", 1, 70_001, "10.64.1.0/24 and fd00:2::/64");
    let none = ("shop_none", 1, 70_002, "10.64.2.0/24 and fd00:3::/64");
    find(&mut world, "n1", &[both, asks, none]);
    for (name, value) in [
        ("both", "{ipv6: true}"),
        ("asks", "{subnets: [\"fd00:7::/64\"]}"),
        ("none", "{}"),
    ] {
        put(&mut world, name, value);
    }
    world.settle(&small());
    assert_eq!(told(&world, "both"), "10.64.0.0/24 and fd00:1::/64");
    assert_eq!(
        told(&world, "asks"),
        "10.64.1.0/24 and fd00:7::/64",
        "what runs is at home by the other"
    );
    assert_eq!(told(&world, "none"), "10.64.2.0/24");
    // An older backup has another one than what runs by now.
    let younger = ("shop_both", 2, 70_003, "10.64.3.0/24 and fd00:4::/64");
    find(&mut world, "n1", &[younger]);
    world.settle(&small());
    assert_eq!(told(&world, "both"), "10.64.3.0/24 and fd00:4::/64");
    assert_eq!(vni(&world, "both"), Vni(70_003));
    // One that had the others before it carried IPv6 in this life gets that alone.
    world.del(&Key::Allocation(Item::Subnet6(
        "fd00:4::/64".parse().unwrap(),
    )));
    world.settle(&small());
    assert_eq!(told(&world, "both"), "10.64.3.0/24 and fd00:4::/64");
}
