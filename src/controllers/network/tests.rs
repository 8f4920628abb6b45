//! Networks in their own words, three properties, and one golden trace.

use super::*;
use crate::api::accepted::{Accepted, AcceptedNetwork};
use crate::api::cluster::Cluster;
use crate::api::manifest::{Spec, parse_value};
use crate::api::name::Scoped;
use crate::api::status::{Status, Truth};
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::api::unit::{Generation, Incarnation, Revision};
use crate::runtime::fixture::{World, lines};
use proptest::prelude::*;

fn network() -> Network {
    Network::default()
}

fn front() -> ObjectKey {
    ObjectKey::network(&Scoped::new("shop", "front"))
}

fn web() -> ObjectKey {
    ObjectKey::service(&Scoped::new("shop", "web"))
}

fn world() -> World {
    let mut world = World::default();
    let cluster = Cluster {
        id: Uid::from("c"),
        incarnation: Incarnation(1),
        format: 1,
        adopting_since: None,
        held: None,
    };
    world.put(Key::Cluster, &cluster);
    world
}

/// A service in force, as its controller would have accepted it.
fn accept_service(world: &mut World, value: &str) {
    let manifest = parse_value(&web(), value.as_bytes()).unwrap();
    let Spec::Service(spec) = manifest.spec else {
        panic!("{value} is no service");
    };
    let accepted = Accepted {
        uid: Uid::from("s"),
        generation: Generation(1),
        metadata: manifest.metadata,
        spec: *spec,
        create_revision: Revision(1),
        mod_revision: Revision(1),
        incarnation: Incarnation(1),
        created_at: Timestamp(0),
        deleted_at: None,
    };
    world.put(Key::Accepted(web()), &accepted);
}

/// `Type=Truth/Reason` of each condition.
fn said(world: &World, object: &ObjectKey) -> String {
    let status = world.cache.status(object, "network");
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    let words: Vec<_> = conditions
        .iter()
        .map(|said| format!("{}={}/{}", said.kind, said.status.as_str(), said.reason))
        .collect();
    words.join(" ")
}

fn record(world: &World) -> Option<&AcceptedNetwork> {
    world
        .cache
        .networks
        .get(&front().scoped())
        .map(|stored| &*stored.value)
}

#[test]
fn a_network_is_accepted_and_not_provided() {
    let mut world = world();
    world.raw("networks/shop/front", b"{internal: true}".to_vec());
    world.settle(&network());
    assert!(record(&world).unwrap().spec.internal);
    assert_eq!(
        said(&world, &front()),
        "Accepted=True/Accepted Allocated=True/Allocated Available=False/NotProvided"
    );
}

#[test]
fn what_a_network_goes_without_is_told() {
    let mut world = world();
    world.raw(
        "networks/shop/front",
        b"{ipv6: true, options: {a: b}, encrypted: true}".to_vec(),
    );
    world.settle(&network());
    let status = world.cache.status(&front(), "network").unwrap();
    let said = status.condition("Complete").unwrap();
    assert_eq!((said.status, &*said.reason), (Truth::False, "NotProvided"));
    assert!(said.message.contains("options") && said.message.contains("encrypted"));
    assert!(!said.message.contains("ipv6"), "{}", said.message);
    world.raw("networks/shop/front", b"{ipv6: true}".to_vec());
    world.settle(&network());
    let status = world.cache.status(&front(), "network").unwrap();
    assert_eq!(status.condition("Complete"), None);
}

#[test]
fn a_bad_value_keeps_the_network_in_force_and_is_told_once() {
    let mut world = world();
    world.raw("networks/shop/front", b"{mtu: 1400}".to_vec());
    world.settle(&network());
    world.raw("networks/shop/front", b"garbage: [".to_vec());
    let plan = world.settle(&network());
    assert_eq!(record(&world).unwrap().spec.mtu, 1400);
    assert_eq!(
        said(&world, &front()),
        "Accepted=False/Invalid Allocated=True/Allocated Available=False/NotProvided"
    );
    let notes: Vec<_> = plan.notes.iter().map(|note| note.reason).collect();
    assert_eq!(notes, ["NotAccepted"]);
    assert!(world.plan_all(&network()).notes.is_empty());
}

#[test]
fn a_deleted_network_leaves_at_once_also_when_it_was_refused() {
    for value in ["{mtu: 1400}", "garbage: ["] {
        let mut world = world();
        world.raw("networks/shop/front", value.into());
        world.settle(&network());
        world.del(&Key::User(front()));
        world.settle(&network());
        assert_eq!(record(&world), None);
        assert_eq!(world.cache.status(&front(), "network").map(|_| ()), None);
    }
}

#[test]
fn a_network_that_was_made_anew_gets_a_new_uid() {
    let mut world = world();
    world.raw("networks/shop/front", b"{mtu: 1400}".to_vec());
    world.settle(&network());
    let before = record(&world).unwrap().uid.clone();
    world.del(&Key::User(front()));
    world.raw("networks/shop/front", b"{mtu: 1400}".to_vec());
    world.settle(&network());
    assert_ne!(record(&world).unwrap().uid, before);
}

#[test]
fn nothing_is_accepted_before_the_cluster_has_its_record() {
    let mut world = World::default();
    world.raw("networks/shop/front", b"{mtu: 1400}".to_vec());
    assert!(world.settle(&network()).is_in_step());
}

fn check_service(fields: &str, expected: &str) {
    let mut world = world();
    accept_service(
        &mut world,
        &format!("{{template: {{container: nginx{fields}}}"),
    );
    world.settle(&network());
    assert_eq!(said(&world, &web()), expected, "{fields}");
}

#[test]
fn services_are_told_what_is_not_provided() {
    const NONE: &str = "NetworksReady=True/NotNeeded PortsReady=True/NotNeeded";
    check_service("}", NONE);
    check_service(", networks: []}", NONE);
    check_service("}, ports: [\"host:8080:80\"]", NONE);
    check_service(
        ", networks: [front]}",
        "NetworksReady=False/NotProvided PortsReady=True/NotNeeded",
    );
    check_service(
        "}, ports: [\"8080:80\", \"host:81:81\"]",
        "NetworksReady=True/NotNeeded PortsReady=False/NotProvided",
    );
    check_service(
        ", networks: []}, ports: [\"host:8080:80\"]",
        "NetworksReady=True/NotNeeded PortsReady=False/NoNetwork",
    );
}

/// What is said of the default network of the namespace, where overlays are realised; nothing: there is none.
fn default_said(world: &mut World) -> String {
    let realising = Network(Settings {
        addresses: true,
        ..Settings::default()
    });
    for _ in 0..3 {
        world.settle(&realising);
    }
    let object = ObjectKey::network(&Scoped::new("shop", "default"));
    let record = world.cache.networks.get(&object.scoped());
    assert_eq!(
        record.is_some(),
        world.cache.status(&object, "network").is_some()
    );
    said(world, &object)
}

#[test]
fn a_namespace_has_its_own_network_while_a_service_leaves_networks_out() {
    let all = "Accepted=True/Accepted Allocated=True/Allocated Available=True/Provided";
    let default = || Scoped::new("shop", "default");
    let mut world = world();
    accept_service(
        &mut world,
        "{template: {container: nginx, networks: [front]}}",
    );
    assert_eq!(default_said(&mut world), "");
    accept_service(&mut world, "{template: {container: nginx}}");
    assert_eq!(default_said(&mut world), all);
    let uid = |world: &World| world.cache.networks[&default()].uid.clone();
    let first = uid(&world);
    // Whoever writes it gives it other values, and it is the same.
    world.raw("networks/shop/default", b"{mtu: 1400}".to_vec());
    assert_eq!(default_said(&mut world), all);
    assert_eq!(world.cache.networks[&default()].spec.mtu, 1400);
    assert_eq!(uid(&world), first);
    world.del(&Key::User(ObjectKey::network(&default())));
    assert_eq!(default_said(&mut world), all);
    assert_eq!(world.cache.networks[&default()].spec.mtu, 0);
    assert_eq!(uid(&world), first);
    accept_service(&mut world, "{template: {container: nginx, networks: []}}");
    assert_eq!(default_said(&mut world), "");
    // What never changes of it stays as it was written.
    let written = b"{ipv6: true, attachable: true}";
    world.raw("networks/shop/default", written.to_vec());
    accept_service(&mut world, "{template: {container: nginx}}");
    let lasting = |world: &mut World| {
        let said = default_said(world);
        assert!(said.starts_with("Accepted=True/Accepted"), "{said}");
        let spec = &world.cache.networks[&default()].spec;
        (spec.ipv6, spec.attachable)
    };
    assert_eq!(lasting(&mut world), (true, true));
    world.del(&Key::User(ObjectKey::network(&default())));
    assert_eq!(lasting(&mut world), (true, true));
    accept_service(&mut world, "{template: {container: nginx, networks: []}}");
    assert_eq!(default_said(&mut world), "");
    // Without the switch nobody needs one.
    accept_service(&mut world, "{template: {container: nginx}}");
    world.settle(&network());
    assert!(!world.cache.networks.contains_key(&default()));
}

#[test]
fn a_forgotten_service_takes_its_status_along() {
    let mut world = world();
    accept_service(&mut world, "{template: {container: nginx}}");
    world.settle(&network());
    world.del(&Key::Accepted(web()));
    world.settle(&network());
    assert!(world.cache.status(&web(), "network").is_none());
}

#[test]
fn golden_trace() {
    let mut world = world();
    let mut trace = Vec::new();
    for value in [
        Some("{mtu: 1400}"),
        Some("{mtu: 1500}"),
        Some("{mtu: x}"),
        None,
    ] {
        match value {
            Some(value) => world.raw("networks/shop/front", value.into()),
            None => world.del(&Key::User(front())),
        }
        trace.extend(lines(&world.settle(&network())));
    }
    let number = number_in(&trace);
    let trace: Vec<String> = trace
        .iter()
        .map(|line| line.replace(&number, "N"))
        .collect();
    let both = "put accepted/networks/shop/front, put status/networks/shop/front/network";
    let (vni, subnet) = ("allocations/vnis/N", "allocations/subnets/10.64.0.0-24");
    let expected = [
        both.to_owned(),
        format!("put {subnet}, put {vni} [missing {subnet}, missing {vni}]"),
        "put status/networks/shop/front/network".to_owned(),
        both.to_owned(),
        "put status/networks/shop/front/network".to_owned(),
        "del accepted/networks/shop/front, del status/networks/shop/front/network \
         [missing networks/shop/front]"
            .to_owned(),
        format!("del {vni} [unchanged {vni}]"),
        format!("del {subnet} [unchanged {subnet}]"),
    ];
    assert_eq!(trace, expected);
}

/// Which number it is follows from the network's uid.
fn number_in(trace: &[String]) -> String {
    let mut numbers = trace.iter().filter_map(|line| line.split_once("vnis/"));
    let (_, number) = numbers.next().expect("a number is given out");
    number[..8].to_owned()
}

fn actions() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..6usize, 1..20)
}

fn act(world: &mut World, action: usize) {
    match action {
        0 => world.raw("networks/shop/front", b"{mtu: 1400}".to_vec()),
        1 => world.raw("networks/shop/front", b"{mtu: 1500}".to_vec()),
        2 => world.raw("networks/shop/front", b"garbage: [".to_vec()),
        3 => world.del(&Key::User(front())),
        4 => accept_service(world, "{template: {container: nginx, networks: [front]}}"),
        _ => world.del(&Key::Accepted(web())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn planning_again_plans_nothing(actions in actions()) {
        let mut world = world();
        for action in actions {
            act(&mut world, action);
            world.settle(&network());
            let again = world.plan_all(&network());
            prop_assert!(again.is_in_step() && again.notes.is_empty(), "{again:?}");
        }
    }

    #[test]
    fn the_order_of_looks_does_not_matter(actions in actions()) {
        let mut world = world();
        actions.into_iter().for_each(|action| act(&mut world, action));
        let mut other = world.clone();
        let mut works = network().all_work(&world.cache);
        let mut ends = Vec::new();
        for world in [&mut world, &mut other] {
            for _ in 0..4 {
                for work in &works {
                    let plan = network().plan(work, &world.cache, world.now, &mut Ids::from_seed(1));
                    plan.steps.iter().for_each(|step| { world.apply(step); });
                }
            }
            works.reverse();
            let mut statuses: Vec<(String, Status)> = Vec::new();
            for ((object, _), status) in &world.cache.statuses {
                statuses.push((object.to_string(), status.value.as_ref().clone()));
            }
            let specs: Vec<_> = world.cache.networks.values().map(|record| record.spec.clone()).collect();
            ends.push((statuses, specs));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }

    #[test]
    fn only_its_own_keys_are_written(actions in actions()) {
        let mut world = world();
        for action in actions {
            act(&mut world, action);
            for line in lines(&world.settle(&network())) {
                for write in line.split(", ") {
                    let key = write.split(' ').nth(1).unwrap();
                    prop_assert!(
                        key.starts_with("accepted/networks/")
                            || key.starts_with("allocations/")
                            || key.ends_with("/network"),
                        "{key}"
                    );
                }
            }
        }
    }
}
