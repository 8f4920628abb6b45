//! What an agent does for networks that carry IPv6, beside the rest.

use super::tests::{engine, operations, programmed};
use super::*;
use crate::dataplane::address::Prefix;
use crate::dataplane::host::Memory;
use crate::dataplane::kernel::Other;
use crate::dataplane::state::Vni;
use crate::dataplane::state_tests::{dual_example, example};

#[test]
fn a_network_that_carries_ipv6_is_refused_where_the_kernel_has_none_or_somebody_has_its_subnet() {
    let state = dual_example();
    let without = |change: &dyn Fn(&mut Kernel)| {
        let mut host = engine();
        change(&mut host.kernel);
        let refused = programmed(host, &state).report().refused.clone();
        refused.get(&Vni(4097)).cloned().unwrap_or_default()
    };
    assert_eq!(without(&|_| {}), "");
    let why = without(&|kernel| kernel.has_ipv6 = false);
    assert!(why.starts_with("the node's kernel has no IPv6"), "{why}");
    let other = Other {
        link: "br0".into(),
        is_bridge: true,
        subnet: "fd00:1::8000:0:0:1/65".parse().expect("a subnet"),
        mtu: 1_500,
    };
    let why = without(&|kernel| {
        kernel.others.insert(other.clone());
    });
    assert_eq!(why, "fd00:1::/64 overlaps fd00:1::8000:0:0:1/65 of br0");
}

#[test]
fn a_node_that_becomes_a_router_of_ipv6_keeps_its_own_and_is_a_host_again_afterwards() {
    let (all, of_link) = (
        "net/ipv6/conf/all/forwarding",
        "net/ipv6/conf/eth0/accept_ra",
    );
    let mut host = engine();
    host.kernel.advertised.insert("eth0".into());
    host.kernel.settings.insert(all.into(), "0".into());
    host.kernel.settings.insert(of_link.into(), "1".into());
    let before = host.kernel.settings.clone();
    let mut agent = programmed(host, &dual_example());
    let set = |agent: &mut Agent<Memory>, path: &str| agent.host().kernel.settings[path].clone();
    assert_eq!(set(&mut agent, all), "1");
    assert_eq!(set(&mut agent, of_link), "2");
    // What the router said is over for now: it will say it again.
    agent.host().kernel.advertised.clear();
    agent.audit();
    assert_eq!(set(&mut agent, of_link), "2");
    agent.follow(Order::State(Box::new(example())));
    assert_eq!(set(&mut agent, all), "0");
    assert_eq!(set(&mut agent, of_link), "1");
    // And whoever makes it a router from then on is left alone.
    let settings = &mut agent.host().kernel.settings;
    settings.insert(all.into(), "1".into());
    agent.audit();
    assert_eq!(set(&mut agent, all), "1");
    assert_eq!(agent.report().drift, BTreeMap::new());
    let settings = &mut agent.host().kernel.settings;
    settings.insert(all.into(), "0".into());
    agent.remove().expect("nothing is in the way");
    assert_eq!(agent.host().kernel.settings, before);
    // A link that has gone is missed by nobody.
    let mut agent = programmed(agent.host().clone(), &dual_example());
    agent.host().kernel.settings.remove(of_link);
    agent.remove().expect("nothing is in the way");
    assert_eq!(set(&mut agent, all), "0");
}

#[test]
fn what_is_known_of_a_link_comes_before_what_is_known_of_all() {
    let mut host = engine();
    host.kernel.advertised.insert("eth0".into());
    let settings = &mut host.kernel.settings;
    settings.insert("net/ipv6/conf/all/forwarding".into(), "0".into());
    settings.insert("net/ipv6/conf/eth0/accept_ra".into(), "1".into());
    let operations = operations(&host, &dual_example());
    let at = |of: &str| {
        let is_it = |one: &Operation| matches!(one, Operation::Set(path, _) if path.ends_with(of));
        operations.iter().position(is_it)
    };
    let (first, second) = (at("eth0/accept_ra"), at("ipv6/conf/all/forwarding"));
    assert!(first.is_some() && first < second, "{first:?} {second:?}");
    let address = |one: &Operation| matches!(one, Operation::AddAddress(_, Prefix::V6(_)));
    assert!(at("disable_ipv6") < operations.iter().position(address));
}
