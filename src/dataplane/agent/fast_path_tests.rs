//! Frames that are handed on from link to link, on a kernel in memory.

use super::tests::{engine, operations, programmed};
use super::{Agent, Kernel, Order, host};
use crate::dataplane::address::Mac;
use crate::dataplane::connections::{Connection, Tracked};
use crate::dataplane::host::{Host, Memory};
use crate::dataplane::kernel::{Forwarding, Place, bridge_name, tunnel_name};
use crate::dataplane::nftables::diff::{Change, Step};
use crate::dataplane::nftables::ruleset::{Element, Family, Table};
use crate::dataplane::plan::Operation;
use crate::dataplane::state::{State, Vni};
use crate::dataplane::state_tests::{dual_example, example};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Tasks of the example: on this node, and on another.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 100, 1, 11);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 100, 1, 21);

fn bridged(mut state: State) -> State {
    for network in state.networks.values_mut() {
        network.bridged = network.tasks.keys().copied().collect();
    }
    state
}

fn vni(state: &State) -> Vni {
    *state.networks.keys().next().expect("a network")
}

fn host() -> Memory {
    let mut host = engine();
    host.kernel.has_fast_path = true;
    host
}

/// A container's link joins the bridge, and its task has said something.
fn joins(agent: &mut Agent<Memory>, bridge: String, port: &str, index: u32) {
    let kernel = &mut agent.host().kernel;
    kernel.hairpins.insert(port.into(), true);
    kernel.indexes.insert(port.into(), index);
    kernel.ports.insert(port.into(), bridge.clone());
    let station = (bridge, Mac::of_container(HERE));
    kernel.stations.insert(station, port.into());
}

fn leaves(agent: &mut Agent<Memory>, port: &str) {
    let kernel = &mut agent.host().kernel;
    kernel.hairpins.remove(port);
    kernel.ports.remove(port);
    kernel.forget(port);
    kernel.stations.retain(|_, found| found != port);
}

fn links(agent: &mut Agent<Memory>) -> Table {
    let tables = &agent.host().kernel.tables;
    let mut tables = tables.iter();
    let found = tables.find(|(name, _)| name.family == Family::Netdev);
    found.expect("the kernel has fast paths").1.clone()
}

/// Where a table's maps of an overlay lead to.
fn ways(table: &Table, vni: Vni) -> BTreeMap<Vec<u8>, Element> {
    let of = |map: &str| table.sets[&format!("{map}_{}", vni.0)].elements.clone();
    let (here, mut all) = (of("here"), of("away"));
    all.extend(here);
    all
}

fn way(task: Ipv4Addr, index: u32) -> (Vec<u8>, Element) {
    let mac = Mac::of_container(task).0.to_vec();
    (mac, Element::Data(index.to_ne_bytes().to_vec()))
}

#[test]
fn a_task_is_handed_frames_once_its_port_is_known_and_no_longer_when_it_left() {
    for state in [example(), dual_example()].map(bridged) {
        let vni = vni(&state);
        let mut agent = programmed(host(), &state);
        let tunnel = agent.host().kernel.indexes[&tunnel_name(vni)];
        assert_eq!(ways(&links(&mut agent), vni), [way(THERE, tunnel)].into());
        joins(&mut agent, bridge_name(vni), "veth1", 77);
        agent.audit();
        let known = links(&mut agent);
        let both = [way(HERE, 77), way(THERE, tunnel)];
        assert_eq!(ways(&known, vni), both.into());
        let hooked: Vec<&str> = known
            .chains
            .values()
            .filter_map(|chain| chain.hook.as_ref()?.device.as_deref())
            .collect();
        assert_eq!(hooked, ["skepx4097", "veth1", "skepx4097", "veth1"]);
        let entry = Forwarding {
            link: "veth1".into(),
            mac: Mac::of_container(HERE),
            place: Place::Bridge,
        };
        assert_eq!(agent.host().kernel.forwarding.get(&entry), Some(&None));
        // A container that is made anew has another link.
        leaves(&mut agent, "veth1");
        joins(&mut agent, bridge_name(vni), "veth2", 78);
        agent.audit();
        let both = [way(HERE, 78), way(THERE, tunnel)];
        assert_eq!(ways(&links(&mut agent), vni), both.into());
        leaves(&mut agent, "veth2");
        agent.audit();
        assert_eq!(ways(&links(&mut agent), vni), [way(THERE, tunnel)].into());
        assert!(
            links(&mut agent)
                .chains
                .keys()
                .all(|name| !name.contains("veth"))
        );
        assert_eq!(agent.report().drift, BTreeMap::new(), "all of it is news");
        // What hands change is not.
        agent
            .host()
            .kernel
            .tables
            .retain(|name, _| name.family != Family::Netdev);
        agent.audit();
        assert!(agent.report().drift.contains_key("nftables"));
        assert_eq!(ways(&links(&mut agent), vni), [way(THERE, tunnel)].into());
    }
}

#[test]
fn the_entry_of_a_task_whose_frames_pass_the_router_again_goes_and_so_does_its_chain() {
    let state = example();
    let mut agent = programmed(host(), &bridged(state.clone()));
    joins(&mut agent, bridge_name(vni(&state)), "veth1", 77);
    agent.audit();
    agent.follow(Order::State(Box::new(state.clone())));
    assert_eq!(agent.report().trouble, None);
    let forwarding = agent.host().kernel.forwarding.keys();
    assert_eq!(forwarding.filter(|key| key.link == "veth1").count(), 0);
    assert_eq!(ways(&links(&mut agent), vni(&state)), BTreeMap::new());
    assert!(!links(&mut agent).chains.contains_key("in_veth1"));
}

#[test]
fn a_change_of_the_form_remembers_connections_before_the_first_frame_passes_the_bridge() {
    let state = bridged(dual_example());
    let mut agent = programmed(engine(), &state);
    agent.host().kernel.has_fast_path = true;
    let coming = operations(agent.host(), &state);
    let [
        Operation::Tables(first),
        Operation::Tables(second),
        Operation::Remember(Family::Netdev, within),
        Operation::Tables(third),
    ] = &coming[..]
    else {
        panic!("{coming:?}");
    };
    assert_eq!(within.len(), 2, "of both versions");
    // Chains that note what the router translates, with sets that are still empty; nothing of what there was.
    let is_new = |step: &Step| {
        matches!(
            step,
            Step::AddTable | Step::AddSet(..) | Step::AddChain(..) | Step::AppendRule(..)
        )
    };
    let is_of_links = |change: &Change| change.table.family == Family::Netdev;
    assert!(
        first
            .iter()
            .all(|change| is_of_links(change) && is_new(&change.step))
    );
    let notes =
        |step: &Step| matches!(step, Step::AppendRule(chain, _) if chain == "out_skepx4097");
    assert!(first.iter().any(|change| notes(&change.step)));
    // Then bridges leave it to them.
    let forgets = |step: &Step| *step == Step::DeleteSet("answers".into());
    assert!(second.iter().any(|change| forgets(&change.step)));
    // And then frames pass the router by.
    let fills =
        |step: &Step| matches!(step, Step::AddElements(set, ..) if set.starts_with("bridged"));
    assert!(!second.iter().any(|change| fills(&change.step)));
    assert!(third.iter().any(|change| fills(&change.step)));
    agent.audit();
    assert_eq!(agent.report().trouble, None);
    assert_eq!(operations(agent.host(), &state), []);
    // And back, where a kernel has no fast path any more.
    agent.host().kernel.has_fast_path = false;
    agent.audit();
    assert_eq!(agent.report().trouble, None);
    let tables = &agent.host().kernel.tables;
    assert_eq!(*tables, programmed(engine(), &state).host().kernel.tables);
}

#[test]
fn an_agent_that_is_killed_at_any_operation_is_finished_by_the_next() {
    let state = bridged(dual_example());
    let whole = |host: Memory| {
        let mut agent = programmed(host, &state);
        joins(&mut agent, bridge_name(vni(&state)), "veth1", 77);
        agent.audit();
        agent
    };
    let expected = whole(host()).host().kernel.clone();
    let mut killed = 0;
    for budget in 0.. {
        let mut first = host();
        first.budget = Some(budget);
        let mut agent = Agent::new(first, None).expect("it remembers nothing");
        agent.follow(Order::State(Box::new(state.clone())));
        let is_done = agent.report().trouble.is_none();
        agent.host().budget = None;
        assert_eq!(
            whole(agent.host().clone()).host().kernel,
            expected,
            "after {budget}"
        );
        if is_done {
            break;
        }
        killed += 1;
    }
    assert!(killed > 10, "{killed}");
    let mut agent = whole(host());
    leaves(&mut agent, "veth1");
    agent.follow(Order::Remove);
    assert!(agent.report().removed);
    assert_eq!(agent.host().kernel, host().kernel);
}

#[test]
fn a_link_that_goes_while_it_is_programmed_is_no_trouble() {
    struct Losing(Memory);

    impl Host for Losing {
        fn look(&mut self) -> Result<Kernel, host::Error> {
            self.0.look()
        }

        fn act(&mut self, operation: &Operation) -> Result<(), host::Error> {
            // The container ends between the look and the first thing that is done.
            let kernel = &mut self.0.kernel;
            if kernel.hairpins.remove("veth1").is_some() {
                kernel.ports.clear();
                kernel.forget("veth1");
                kernel.stations.clear();
            }
            self.0.act(operation)
        }

        fn connections(&mut self) -> Result<Vec<Connection>, host::Error> {
            self.0.connections()
        }

        fn tracked(&mut self) -> Option<Tracked> {
            self.0.tracked()
        }

        fn cut(&mut self, connection: &Connection) -> Result<(), host::Error> {
            self.0.cut(connection)
        }
    }

    let state = bridged(example());
    let mut agent = programmed(host(), &state);
    joins(&mut agent, bridge_name(vni(&state)), "veth1", 77);
    let mut agent = Agent::new(Losing(agent.host().clone()), None).expect("it remembers nothing");
    agent.follow(Order::State(Box::new(state.clone())));
    assert_eq!(agent.report().trouble, None);
    let kernel = &agent.host().0.kernel;
    assert!(kernel.forwarding.keys().all(|key| key.link != "veth1"));
}

#[test]
fn connections_from_before_a_port_was_known_are_remembered_before_frames_come_in_by_it() {
    let state = bridged(example());
    let mut agent = programmed(host(), &state);
    let bridge = bridge_name(vni(&state));
    // A container that comes and says something later: what goes out to it is noted from the first moment on.
    joins(&mut agent, bridge.clone(), "veth1", 77);
    let seen = agent
        .host()
        .kernel
        .stations
        .remove(&(bridge.clone(), Mac::of_container(HERE)));
    agent.audit();
    let chains = links(&mut agent).chains;
    assert!(chains.contains_key("out_veth1") && !chains.contains_key("in_veth1"));
    let station = (bridge.clone(), Mac::of_container(HERE));
    agent
        .host()
        .kernel
        .stations
        .extend(seen.map(|port| (station, port)));
    let coming = operations(agent.host(), &state);
    assert!(
        !coming
            .iter()
            .any(|one| matches!(one, Operation::Remember(..))),
        "{coming:?}"
    );
    // One that came and said something while no agent ran.
    let mut agent = programmed(host(), &state);
    joins(&mut agent, bridge, "veth1", 77);
    let coming = operations(agent.host(), &state);
    let at = |is_it: &dyn Fn(&Operation) -> bool| coming.iter().position(is_it);
    let adds = |operation: &Operation, chain: &str| match operation {
        Operation::Tables(changes) => changes
            .iter()
            .any(|change| matches!(&change.step, Step::AddChain(name, _) if name == chain)),
        _ => false,
    };
    let notes = at(&|one| adds(one, "out_veth1"));
    let remembers = at(&|one| matches!(one, Operation::Remember(Family::Netdev, _)));
    let comes_in = at(&|one| adds(one, "in_veth1"));
    assert!(
        notes.is_some() && notes < remembers && remembers < comes_in,
        "{coming:?}"
    );
    // So it is where a table is made anew.
    let mut agent = programmed(host(), &state);
    for (name, table) in &mut agent.host().kernel.tables {
        if name.family == Family::Netdev {
            let hooks = table
                .chains
                .values_mut()
                .filter_map(|chain| chain.hook.as_mut());
            hooks.for_each(|hook| hook.device = None);
        }
    }
    let coming = operations(agent.host(), &state);
    let [
        Operation::Tables(anew),
        Operation::Remember(..),
        Operation::Tables(passing),
    ] = &coming[..]
    else {
        panic!("{coming:?}");
    };
    assert_eq!(anew[0].step, Step::DeleteTable);
    let fills =
        |change: &Change| matches!(&change.step, Step::AddElements(set, ..) if set == "bridged");
    assert!(!anew.iter().any(fills) && passing.iter().any(fills));
}
