//! Numbers, subnets and addresses under whole managers.

use crate::world::{World, in_state};
use skep::api::allocation::{Item, Owner};
use skep::api::name::{NodeName, ObjectKey, Scoped};
use skep::api::subnet::Dual;
use skep::api::task::TaskState;
use skep::controllers::network::Settings;
use skep::controllers::network::state::Overlays;
use skep::controllers::task::agent::container::NAME;
use skep::engine::{Container, Engine};
use skep::runtime::allocations::Numbers;
use skep::runtime::cache::Cache;
use skep::runtime::joins;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

fn front() -> Scoped {
    Scoped::new("default", "front")
}

/// What is given out, as `NODES nodes NUMBERS numbers SERVICES+TASKS addresses`; indexes in quarantine are nobody's. Published ports
/// are left out.
fn given(cache: &Cache) -> String {
    let (mut nodes, mut numbers, mut services, mut tasks) = (0, 0, 0, 0);
    for (item, given) in cache
        .allocations
        .iter()
        .filter(|(_, given)| !given.released)
    {
        match (item, &given.owner) {
            (Item::Node(_), _) => nodes += 1,
            (Item::Vni(_) | Item::Subnet(_) | Item::Subnet6(_), _) => numbers += 1,
            (Item::Address(..), Owner::Service { .. }) => services += 1,
            (Item::Address(..), _) => tasks += 1,
            (Item::Port(_) | Item::Block(..), _) => {}
        }
    }
    format!("{nodes} nodes {numbers} numbers {services}+{tasks} addresses")
}

/// What a node's data plane is said to be.
fn dataplane(world: &World, node: &str) -> Option<String> {
    let node = ObjectKey::node(&node.into());
    world.condition(&node, "task", "DataplaneReady")
}

async fn until(world: &World, expected: &str) {
    world
        .until(expected, |cache| given(cache) == expected)
        .await;
}

/// Two nodes whose manager `m2` realises overlays.
async fn with_overlays() -> World {
    let mut world = World::start(2).await;
    world.kill("m1");
    world.network = Settings {
        addresses: true,
        ..Settings::default()
    };
    world.manager("m2");
    world
}

/// Says where its nodes reach each other.
fn address(world: &World) {
    for (node, address) in [("n1", "192.0.2.1"), ("n2", "192.0.2.2")] {
        let value = format!("{{engine: {{url: \"tcp://{node}:2375\"}}, address: {address}}}");
        world.put(&format!("nodes/{node}"), &value);
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_come_and_go_with_networks_and_nodes_whoever_leads() {
    let mut world = World::start(2).await;
    until(&world, "2 nodes 0 numbers 0+0 addresses").await;
    world.put("networks/default/front", "{subnets: [\"10.9.0.0/16\"]}");
    world.put("networks/default/other", "{subnets: [\"10.9.1.0/24\"]}");
    until(&world, "2 nodes 2 numbers 0+0 addresses").await;
    world.quiet().await;
    let said = |world: &World, name: &str| {
        let object = ObjectKey::network(&Scoped::new("default", name));
        world.condition(&object, "network", "Allocated")
    };
    assert_eq!(said(&world, "front").as_deref(), Some("True/Allocated"));
    assert_eq!(said(&world, "other").as_deref(), Some("False/SubnetTaken"));
    world.kill("m1");
    world.store.delete("/skep/networks/default/front");
    world.store.delete("/skep/nodes/n2");
    world.manager("m2");
    until(&world, "1 nodes 2 numbers 0+0 addresses").await;
    world.quiet().await;
    assert_eq!(said(&world, "other").as_deref(), Some("True/Allocated"));
    // No service names a network that would need an address, and none is given out.
    world.service(
        "web",
        "{replicas: 2, template: {container: IMAGE, networks: [other]}}",
    );
    world.serving("web", 2).await;
    world.settled().await;
    assert_eq!(given(&world.cache()), "1 nodes 2 numbers 0+0 addresses");
}

#[tokio::test(start_paused = true)]
async fn tasks_wait_for_their_agent_and_say_so() {
    let mut world = with_overlays().await;
    world.put("networks/default/front", "{}");
    world.service(
        "web",
        "{replicas: 3, template: {container: IMAGE, networks: [front]}}",
    );
    until(&world, "2 nodes 2 numbers 1+3 addresses").await;
    world.settled().await;
    // The nodes' own addresses are not known here, so no node is a member yet, and no task starts.
    let web = Scoped::new("default", "web");
    assert_eq!(in_state(&world.cache(), &web, TaskState::Preparing), 3);
    let cache = world.cache();
    let node = NodeName::from("n1");
    let said = cache.task_statuses_on(&node).next();
    let said = said.map(|status| (status.reason.clone(), status.message.clone()));
    let (reason, message) = said.expect("a task is on n1");
    assert_eq!(reason.as_deref(), Some("NetworksNotReady"));
    let message = message.unwrap_or_default();
    assert!(message.contains("give it `address`"), "{message}");
    assert_eq!(dataplane(&world, "n1").as_deref(), Some("False/NoAddress"));
    let service = ObjectKey::service(&web);
    let ready = |world: &World| world.condition(&service, "network", "NetworksReady");
    assert_eq!(ready(&world).as_deref(), Some("True/Provided"));
    // With them the states follow.
    address(&world);
    world.serving("web", 3).await;
    world.settled().await;
    let agents = |world: &World| {
        let running = world.running();
        running.iter().filter(|name| **name == NAME).count()
    };
    assert_eq!(agents(&world), 2);
    assert_eq!(dataplane(&world, "n1").as_deref(), Some("True/Programmed"));
    let overlays = Overlays::of(&world.cache());
    for node in ["n1", "n2"] {
        let state = overlays
            .state(&NodeName::from(node))
            .expect("it is a member");
        assert_eq!(state.check(), Ok(()));
        assert_eq!(
            state
                .networks
                .values()
                .map(|network| network.tasks.len())
                .sum::<usize>(),
            3
        );
        let mut virtuals = state.virtual_addresses.values();
        assert_eq!(virtuals.next().map(|value| value.backends.len()), Some(3));
    }
    world.service(
        "web",
        "{replicas: 1, template: {container: IMAGE, networks: [front]}}",
    );
    until(&world, "2 nodes 2 numbers 1+1 addresses").await;
    world.kill("m2");
    world.store.delete("/skep/services/default/web");
    world.manager("m3");
    until(&world, "2 nodes 2 numbers 0+0 addresses").await;
    world.store.delete("/skep/networks/default/front");
    until(&world, "2 nodes 0 numbers 0+0 addresses").await;
    world.settled().await;
    assert!(!world.cache().networks.contains_key(&front()));
    assert_eq!(agents(&world), 0, "without networks there are no agents");
    assert_eq!(dataplane(&world, "n1"), None);
    for node in ["n1", "n2"] {
        let networks = world.engine(node).networks("dev.skep.cluster").await;
        assert_eq!(networks, Ok(Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_is_made_anew_and_its_node_goes_only_after_it() {
    let world = with_overlays().await;
    address(&world);
    world.put("networks/default/front", "{}");
    world.put("networks/default/back", "{}");
    let spec = "{replicas: 2, template: {container: IMAGE, networks: [front, back]}}";
    world.service("web", spec);
    world.serving("web", 2).await;
    world.settled().await;
    let engine = world.engine("n2");
    let agent = engine.inspect(NAME).await.expect("there is an agent");
    engine.exit(&agent.id, 137);
    world.service("more", spec);
    world.serving("more", 2).await;
    world.settled().await;
    let second = engine.inspect(NAME).await.expect("there is another");
    assert_ne!(second.id, agent.id);

    // Tasks are in it: it stays, and put once more it is the same.
    let uid = |world: &World| world.cache().networks[&front()].uid.clone();
    let before = uid(&world);
    world.store.delete("/skep/networks/default/front");
    world.quiet().await;
    let object = ObjectKey::network(&front());
    let said = world.condition(&object, "network", "Accepted");
    assert_eq!(said.as_deref(), Some("False/InUse"));
    world.put("networks/default/front", "{}");
    world.quiet().await;
    let said = world.condition(&object, "network", "Accepted");
    assert_eq!(said.as_deref(), Some("True/Accepted"));
    assert_eq!(uid(&world), before);

    world.store.delete("/skep/nodes/n2");
    let is_gone = |cache: &Cache| !cache.nodes.contains_key(&NodeName::from("n2"));
    world.until("n2 is forgotten", is_gone).await;
    assert!(engine.inspect(NAME).await.is_err(), "the agent went before");
    world.serving("web", 2).await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn engines_that_need_no_agent_are_not_asked_about_it_at_each_change() {
    let world = with_overlays().await;
    world.quiet().await;
    let asked = |world: &World| world.engine("n1").count("networks");
    let before = asked(&world);
    for name in ["a", "b", "c"] {
        world.service(
            name,
            "{replicas: 2, template: {container: IMAGE, networks: []}}",
        );
        world.serving(name, 2).await;
    }
    world.quiet().await;
    assert_eq!(asked(&world), before);
    // Once there is a network they have one, and once it is gone none.
    let has_agent = async |world: &World| world.engine("n1").inspect(NAME).await.is_ok();
    world.put("networks/default/front", "{}");
    world.quiet().await;
    let value = "{engine: {url: \"tcp://n1:2375\"}, address: 192.0.2.1}";
    world.put("nodes/n1", value);
    world.quiet().await;
    assert!(has_agent(&world).await);
    world.store.delete("/skep/networks/default/front");
    world.quiet().await;
    assert!(!has_agent(&world).await);
}

/// The ledger of published ports, as `PORT=SERVICE`.
fn ledger(cache: &Cache) -> String {
    let ports = cache.allocations.ports();
    let words = ports.map(|(key, given)| format!("{key}={}", given.owner.object().name));
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_port_is_one_services_whoever_leads_and_the_next_ones_once_it_is_free() {
    let mut world = World::start(1).await;
    world.kill("m1");
    world.network = Settings {
        addresses: true,
        ..Settings::default()
    };
    world.manager("m2");
    let value = "{engine: {url: \"tcp://n1:2375\"}, address: 192.0.2.1}";
    world.put("nodes/n1", value);
    let publishes =
        |ports: &str| format!("{{replicas: 1, template: {{container: IMAGE}}, ports: [{ports}]}}");
    let until = async |world: &World, expected: &str| {
        world
            .until(expected, |cache| ledger(cache) == expected)
            .await;
    };
    let said = |world: &World, name: &str| {
        let object = ObjectKey::service(&Scoped::new("default", name));
        world.condition(&object, "network", "PortsReady")
    };
    world.service("web", &publishes("\"8080:80\""));
    until(&world, "tcp/8080=web").await;
    world.service("app", &publishes("\"8080:80\", \"8081:81\""));
    until(&world, "tcp/8080=web tcp/8081=app").await;
    world.quiet().await;
    assert_eq!(said(&world, "app").as_deref(), Some("False/PortTaken"));
    // Nobody puts a task that wants it on a node.
    world.service("host", &publishes("\"host:8080:80\""));
    world.quiet().await;
    let waits = |cache: &Cache| {
        let host = Scoped::new("default", "host");
        cache
            .tasks_of(&host)
            .all(|task| cache.binding(&task.id).is_none())
    };
    assert!(waits(&world.cache()));
    // While it is asked for in mode host it is nobody's any more.
    world.kill("m2");
    world.store.delete("/skep/services/default/web");
    world.manager("m3");
    until(&world, "tcp/8081=app").await;
    world.serving("host", 1).await;
    world.store.delete("/skep/services/default/host");
    until(&world, "tcp/8080=app tcp/8081=app").await;
    world.quiet().await;
    assert_eq!(said(&world, "app").as_deref(), Some("True/Provided"));
    // They left networks out: their namespace's own is there while they are.
    let default = Scoped::new("default", "default");
    assert!(world.cache().networks.contains_key(&default));
    world.store.delete("/skep/services/default/app");
    until(&world, "").await;
    world.settled().await;
    assert!(!world.cache().networks.contains_key(&default));
    let networks = world.engine("n1").networks("dev.skep.cluster").await;
    assert_eq!(networks, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn containers_of_others_join_attachable_networks_also_where_no_task_is() {
    let mut world = with_overlays().await;
    address(&world);
    world.put("networks/default/front", "{attachable: true}");
    world.put("networks/default/closed", "{}");
    let spec = "{replicas: 2, template: {container: IMAGE, networks: [closed], placement: {constraints: [node.name == n1]}}}";
    world.service("web", spec);
    world.serving("web", 2).await;
    world.quiet().await;
    let object = ObjectKey::network(&front());
    let said = |world: &World, kind: &str| world.condition(&object, "network", kind);
    assert_eq!(said(&world, "Attachable").as_deref(), Some("True/Provided"));
    assert_eq!(said(&world, "Complete"), None);

    let (n1, n2) = (world.engine("n1"), world.engine("n2"));
    let refused = n1.attach_by_hand("no", "closed").unwrap_err().to_string();
    assert!(refused.contains("no available IPv4 addresses"), "{refused}");
    let there = n2.attach_by_hand("db", "front").expect("it joins");
    n1.attach_by_hand("db2", "front").expect("it joins");
    let seen =
        |count: usize| move |cache: &Cache| joins::strangers(cache, &front()).count() == count;
    world.until("both are seen", seen(2)).await;
    let places = |world: &World| {
        let overlays = Overlays::of(&world.cache());
        let state = overlays.state(&NodeName::from("n1")).expect("a state");
        assert_eq!(state.check(), Ok(()));
        let networks = state.networks.values();
        let front = networks.filter(|network| network.subnet.length == 20);
        front.map(|network| network.tasks.len()).sum::<usize>()
    };
    assert_eq!(places(&world), 2);

    world.kill("m2");
    n1.remove_by_hand(&n1.inspect("db2").await.expect("it runs").id);
    world.manager("m3");
    world.until("one is gone", seen(1)).await;
    assert_eq!(places(&world), 1);
    world.store.delete("/skep/networks/default/front");
    world.quiet().await;
    assert_eq!(said(&world, "Accepted").as_deref(), Some("False/InUse"));
    n2.remove_by_hand(&there);
    let is_gone = |cache: &Cache| !cache.networks.contains_key(&front());
    world.until("the network is gone", is_gone).await;
    world.settled().await;
    assert_eq!(given(&world.cache()), "2 nodes 2 numbers 1+2 addresses");
    let networks = n2.networks("dev.skep.cluster").await;
    assert_eq!(networks, Ok(Vec::new()));
}

/// What the store gives a network, with its number.
fn numbers(cache: &Cache) -> Option<Numbers> {
    let record = cache.networks.get(&front())?;
    let owner = joins::network_owner(&front(), &record.uid);
    cache.allocations.all_of(&owner, &record.spec)
}

#[tokio::test(start_paused = true)]
async fn s6_a_network_that_carries_ipv6_does_so_everywhere_and_keeps_its_subnets_when_the_store_is_wiped()
 {
    let world = with_overlays().await;
    let put = |world: &World| {
        address(world);
        world.put("networks/default/front", "{ipv6: true, attachable: true}");
        let spec = "{replicas: 2, template: {container: IMAGE, networks: [front]}}";
        world.service("web", spec);
    };
    put(&world);
    world.serving("web", 2).await;
    world.settled().await;
    let before = numbers(&world.cache()).expect("it has all");
    let subnet6 = before.subnet6.expect("it carries IPv6");
    let dual = Dual {
        subnet: before.subnet,
        subnet6,
    };

    // Engines' networks have both subnets, and tasks both addresses.
    let (n1, n2) = (world.engine("n1"), world.engine("n2"));
    for engine in [&n1, &n2] {
        let networks = engine.networks("dev.skep.cluster").await.unwrap();
        let labels: Vec<_> = networks
            .iter()
            .map(|network| &network.labels["dev.skep.subnet6"])
            .collect();
        assert_eq!(labels, [&subnet6.to_string()]);
    }
    let tasks = |world: &World| -> BTreeSet<(Ipv4Addr, Ipv6Addr)> {
        let running = [world.engine("n1"), world.engine("n2")].map(|engine| engine.running());
        let tasks = running.into_iter().flatten();
        let tasks = tasks.filter(|one| one.labels.contains_key("dev.skep.task"));
        let pair = |one: Container| match one.addresses[..] {
            [IpAddr::V4(address), IpAddr::V6(address6)] => (address, address6),
            _ => panic!("{} has {:?}", one.name, one.addresses),
        };
        tasks.map(pair).collect()
    };
    let all = tasks(&world);
    assert_eq!(all.len(), 2);
    for (address, address6) in &all {
        assert_eq!(dual.version6(*address), Some(*address6));
    }
    // A container of others has what its engine gives it, and nodes know what does not go with the other.
    n2.attach_by_hand("db", "front").expect("it joins");
    let others = |cache: &Cache| -> BTreeMap<Ipv4Addr, Ipv6Addr> {
        let state = Overlays::of(cache).state(&NodeName::from("n1"));
        let networks = state.into_iter().flat_map(|state| {
            assert_eq!(state.check(), Ok(()));
            state.networks
        });
        let networks = networks.filter(|(_, network)| network.subnet6 == Some(subnet6));
        networks
            .flat_map(|(_, network)| network.addresses6.clone())
            .collect()
    };
    world
        .until("it is known", |cache| others(cache).len() == 1)
        .await;
    let db = n2.inspect("db").await.expect("it runs");
    let (own, other) = others(&world.cache()).pop_first().expect("one");
    assert_eq!(db.addresses, [IpAddr::V4(own), IpAddr::V6(other)]);

    let made = (n1.count("create_network"), n2.count("create_network"));
    world.store.wipe();
    put(&world);
    let is_back = |cache: &Cache| {
        let is_adopting = skep::runtime::view::is_adopting(cache);
        !is_adopting && numbers(cache) == Some(before) && others(cache).len() == 1
    };
    world.until("its numbers are taken over", is_back).await;
    world.serving("web", 2).await;
    world.settled().await;
    assert_eq!(tasks(&world), all, "nobody was moved");
    let now = (n1.count("create_network"), n2.count("create_network"));
    assert_eq!(now, made, "the engines' networks are the same");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_was_made_anew_with_ipv6_is_made_anew_on_engines() {
    let world = with_overlays().await;
    address(&world);
    world.put("networks/default/front", "{subnets: [10.9.0.0/24]}");
    world.quiet().await;
    world.store.delete("/skep/networks/default/front");
    let both = "{subnets: [10.9.0.0/24, \"fd00:9::/64\"]}";
    world.put("networks/default/front", both);
    let spec = "{replicas: 2, template: {container: IMAGE, networks: [front]}}";
    world.service("web", spec);
    world.serving("web", 2).await;
    world.settled().await;
    for node in ["n1", "n2"] {
        for task in world.engine(node).running() {
            let is_task = task.labels.contains_key("dev.skep.task");
            let has_both = task.addresses.iter().any(IpAddr::is_ipv6);
            assert!(has_both || !is_task, "{} {:?}", task.name, task.addresses);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s6_a_wiped_store_takes_no_container_of_others_out_of_its_network() {
    let world = with_overlays().await;
    let put = |world: &World| {
        address(world);
        world.put("networks/default/front", "{attachable: true}");
    };
    put(&world);
    world.quiet().await;
    let (n1, n2) = (world.engine("n1"), world.engine("n2"));
    n2.attach_by_hand("db", "front").expect("it joins");
    let places = |cache: &Cache| -> Vec<_> {
        let front = front();
        let all = joins::strangers(cache, &front);
        all.map(|(node, one)| (node, one.address)).collect()
    };
    world
        .until("it is seen", |cache| places(cache).len() == 1)
        .await;
    let before = places(&world.cache());
    let removals = (n1.count("remove_network"), n1.count("create_network"));
    world.store.wipe();
    // The nodes are known again before anything else is.
    put(&world);
    let is_adopting = |cache: &Cache| {
        let cluster = cache.cluster.is_some() && cache.nodes.len() == 2;
        cluster && skep::runtime::view::is_adopting(cache)
    };
    world.until("what runs is adopted", is_adopting).await;
    for _ in 0..200 {
        if !is_adopting(&world.cache()) {
            break;
        }
        let now = (n1.count("remove_network"), n1.count("create_network"));
        assert_eq!(now, removals, "nothing is taken away or made meanwhile");
        world.pass(Duration::from_millis(50)).await;
    }
    world
        .until("it is seen again", |cache| places(cache) == before)
        .await;
    n1.attach_by_hand("db2", "front").expect("it joins");
    world
        .until("both are seen", |cache| places(cache).len() == 2)
        .await;
    world.settled().await;
}
