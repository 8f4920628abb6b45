//! What is left over once everything is at rest, in the judge's own words.

use super::*;

#[test]
fn what_is_left_over_is_seen() {
    let quiet = || {
        let mut court = Court::new();
        court.put("status/nodes/n1/node", &json!({"observedGeneration": 1}));
        court.put("allocations/nodes/00001", &given("Node", "n1", "uid-n1"));
        court.put("allocations/nodes/00002", &released("n0"));
        court
    };
    let mut court = quiet();
    court.bench.rests();
    court.is_fine();
    let cases: [(&str, Value, &str); 9] = [
        (
            "status/tasks/n1/a",
            json!({"task": "a", "service": "s", "node": "uid-n1", "state": "running", "since": Timestamp(0)}),
            "seen of a task",
        ),
        (
            "status/networks/default/front/network",
            json!({}),
            "reports go",
        ),
        (
            "accepted/services/default/web",
            accepted("s", 1, &json!({})),
            "user's key",
        ),
        (
            "status/nodes/n1/node",
            json!({"observedGeneration": 2}),
            "generation in force",
        ),
        (
            "tasks/default/web/a",
            json!({"id": "a", "service": "s", "revision": 1, "slot": {"replica": 1}, "desired": "remove", "createdAt": Timestamp(0)}),
            "to be removed",
        ),
        (
            "allocations/vnis/00070000",
            given("Network", "front", "u"),
            "goes with its owner",
        ),
        (
            "allocations/addresses/u/10.64.0.7",
            given("Service", "web", "s"),
            "goes with its owner",
        ),
        (
            "allocations/ports/tcp/08080",
            given("Service", "web", "s"),
            "goes with its owner",
        ),
        (
            "allocations/nodes/00003",
            given("Node", "n1", "uid-n1"),
            "have their numbers",
        ),
    ];
    for (key, value, rule) in cases {
        let mut court = quiet();
        court.put(key, &value);
        court.bench.rests();
        court.breaks(rule);
    }
    let mut court = quiet();
    court.bind("n1", "a", &json!({}));
    court.bench.rests();
    court.breaks("goes with its task");
}

#[test]
fn what_an_earlier_life_left_keeps_its_node() {
    for (is_lost, runs) in [(true, true), (true, false), (false, true)] {
        let mut court = Court::new();
        court.show(is_lost);
        court.delete("nodes/n1");
        court.happens("n1", "a", Happening::Created);
        if runs {
            court.happens("n1", "a", Happening::Started);
        }
        court.broken();
        court.bench.rests();
        let left = court.broken();
        let is_seen = left.contains(&"a record goes with its user's key (I1)");
        assert_eq!(is_seen, !(is_lost && runs), "{left:?}");
    }
}

fn given(kind: &str, name: &str, uid: &str) -> Value {
    let mut owner = json!({"kind": kind, "name": name, "uid": uid});
    if kind != "Node" {
        owner["namespace"] = "default".into();
    }
    json!({ "owner": owner })
}

fn released(node: &str) -> Value {
    let mut value = given("Node", node, &format!("uid-{node}"));
    value["released"] = true.into();
    value
}

#[test]
fn what_somebody_has_is_given_to_nobody_else() {
    let mut court = Court::new();
    court.put("allocations/nodes/00001", &given("Node", "n1", "uid-n1"));
    court.put("allocations/nodes/00001", &released("n1"));
    court.put("allocations/nodes/00001", &given("Node", "n2", "uid-n2"));
    court.is_fine();
    court.put("allocations/nodes/00001", &given("Node", "n3", "uid-n3"));
    court.breaks("nobody else's");
    court.put(
        "allocations/subnets/10.1.0.0-16",
        &given("Network", "a", "a"),
    );
    court.put(
        "allocations/subnets/10.2.0.0-16",
        &given("Network", "b", "b"),
    );
    court.is_fine();
    court.put(
        "allocations/subnets/10.1.7.0-24",
        &given("Network", "c", "c"),
    );
    court.breaks("share no address");
    for (key, is_fine) in [
        ("fd00:1:0:1::-64", true),
        ("fd00::-32", true),
        ("fd00:1:0:0:8000::-65", false),
        ("fd00:1::-48", false),
    ] {
        let mut court = Court::new();
        let first = "allocations/subnets/fd00:1::-64";
        court.put(first, &given("Network", "a", "a"));
        let second = format!("allocations/subnets/{key}");
        court.put(&second, &given("Network", "b", "b"));
        match is_fine {
            true => court.is_fine(),
            false => court.breaks("share no address"),
        }
    }
    for (key, is_fine) in [
        ("addresses/u/10.1.0.9", true),
        ("blocks/u/10.1.0.16-28", true),
        ("blocks/v/10.1.0.0-28", true),
        ("addresses/u/10.1.0.17", false),
        ("blocks/u/10.1.0.8-29", false),
        ("blocks/u/10.1.0.24-29", false),
        ("blocks/u/10.1.0.0-29", false),
        ("addresses/u/10.1.0.255", false),
    ] {
        let mut court = Court::new();
        court.put(
            "allocations/subnets/10.1.0.0-24",
            &given("Network", "front", "u"),
        );
        court.put(
            "allocations/addresses/u/10.1.0.8",
            &given("Service", "web", "s"),
        );
        court.put(
            "allocations/blocks/u/10.1.0.16-28",
            &given("Node", "n1", "uid-n1"),
        );
        court.is_fine();
        court.put(
            &format!("allocations/{key}"),
            &given("Node", "n1", "uid-n1"),
        );
        match is_fine {
            true => court.is_fine(),
            false => court.breaks("share none"),
        }
    }
    let mut court = Court::new();
    for (key, service) in [
        ("tcp/08080/192.0.2.1", "a"),
        ("tcp/08080/192.0.2.2", "b"),
        ("udp/08080", "c"),
        ("tcp/08081", "d"),
    ] {
        court.put(
            &format!("allocations/ports/{key}"),
            &given("Service", service, service),
        );
    }
    court.is_fine();
    court.put("allocations/ports/tcp/08080", &given("Service", "a", "a"));
    court.breaks("do not meet");
}

#[test]
fn a_service_has_the_ports_that_it_publishes_and_no_other() {
    let shop = |ports: Value| {
        let mut court = Court::new();
        court.put("status/nodes/n1/node", &json!({"observedGeneration": 1}));
        court.put("allocations/nodes/00001", &given("Node", "n1", "uid-n1"));
        court.write("services/default/web", &json!(""));
        let template = json!({"container": {"image": "app:1"}});
        let spec =
            json!({"mode": "replicated", "replicas": 0, "template": template, "ports": ports});
        court.put("accepted/services/default/web", &accepted("s", 1, &spec));
        court.put("allocations/ports/tcp/08080", &given("Service", "web", "s"));
        court
    };
    let asks = |ports: Value, more: &[(&str, Option<u16>)], is_told: bool| {
        let mut court = shop(ports);
        for (key, target) in more {
            let mut value = given("Service", "web", "s");
            if let Some(target) = target {
                value["target"] = (*target).into();
            }
            court.put(&format!("allocations/ports/{key}"), &value);
        }
        let said = json!({
            "type": "PortsReady", "status": "False", "reason": "PortTaken", "message": "",
            "lastTransitionTime": Timestamp(0),
        });
        if is_told {
            court.put(
                "status/services/default/web/network",
                &json!({"observedGeneration": 1, "conditions": [said]}),
            );
        }
        court.bench.rests();
        court
    };
    let (one, two) = (
        json!([{"target": 80, "published": 8080}]),
        json!([{"target": 80, "published": 8080}, {"target": 81}]),
    );
    asks(one.clone(), &[], false).is_fine();
    asks(two.clone(), &[("tcp/30000", Some(81))], false).is_fine();
    asks(two.clone(), &[], true).is_fine();
    let rule = "ports that they publish";
    asks(two.clone(), &[], false).breaks(rule);
    asks(one.clone(), &[("tcp/30000", Some(81))], false).breaks(rule);
    asks(one.clone(), &[("udp/08080", None)], false).breaks(rule);
    asks(two.clone(), &[("tcp/30000", Some(80))], false).breaks(rule);
    let narrow = json!([{"target": 80, "published": 8080, "hostIP": "192.0.2.1"}]);
    asks(narrow, &[], false).breaks(rule);
    asks(two, &[("tcp/30000", None)], false).breaks(rule);
    asks(
        json!([{"target": 80, "published": 8080, "mode": "host"}]),
        &[],
        false,
    )
    .breaks(rule);
}

#[test]
fn a_network_has_one_subnet_of_ipv6_where_it_carries_that() {
    let network = |spec: Value, subnets: &[&str], reason: &str| {
        let mut court = Court::new();
        court.put("status/nodes/n1/node", &json!({"observedGeneration": 1}));
        court.put("allocations/nodes/00001", &given("Node", "n1", "uid-n1"));
        court.write("networks/default/front", &json!(""));
        court.put("accepted/networks/default/front", &accepted("u", 1, &spec));
        court.put("allocations/vnis/00070000", &given("Network", "front", "u"));
        for subnet in subnets {
            let key = format!("allocations/subnets/{subnet}");
            court.put(&key, &given("Network", "front", "u"));
        }
        let status = if reason == "Allocated" {
            "True"
        } else {
            "False"
        };
        let said = json!({
            "type": "Allocated", "status": status, "reason": reason, "message": "",
            "lastTransitionTime": Timestamp(0),
        });
        court.put(
            "status/networks/default/front/network",
            &json!({"observedGeneration": 1, "conditions": [said]}),
        );
        court.bench.rests();
        court
    };
    let (one, two) = (["fd00:1::-64"], ["fd00:1::-64", "fd00:2::-64"]);
    let (carries, plain) = (json!({"ipv6": true}), json!({"ipv6": false}));
    let named = json!({"subnets": ["10.1.0.0/24", "fd00:1::/64"]});
    network(carries.clone(), &one, "Allocated").is_fine();
    network(named.clone(), &one, "Allocated").is_fine();
    network(plain.clone(), &[], "Allocated").is_fine();
    network(carries.clone(), &[], "SubnetTaken").is_fine();
    let rule = "have their numbers";
    network(carries.clone(), &[], "Allocated").breaks(rule);
    network(named, &[], "Allocated").breaks(rule);
    network(carries, &two, "Allocated").breaks(rule);
    network(plain, &one, "Allocated").breaks(rule);
}

#[test]
fn a_node_has_one_block_of_each_attachable_network() {
    let network = |attachable: bool, reason: &str| {
        let mut court = Court::new();
        court.put("status/nodes/n1/node", &json!({"observedGeneration": 1}));
        court.put("allocations/nodes/00001", &given("Node", "n1", "uid-n1"));
        court.write("networks/default/front", &json!(""));
        let spec = json!({"driver": "overlay", "attachable": attachable});
        court.put("accepted/networks/default/front", &accepted("u", 1, &spec));
        court.put("allocations/vnis/00070000", &given("Network", "front", "u"));
        let said = json!({
            "type": "Attachable", "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": Timestamp(0),
        });
        let conditions = if attachable { vec![said] } else { Vec::new() };
        court.put(
            "status/networks/default/front/network",
            &json!({"observedGeneration": 1, "conditions": conditions}),
        );
        court
    };
    let block = |court: &mut Court, key: &str| {
        let key = format!("allocations/blocks/u/{key}");
        court.put(&key, &given("Node", "n1", "uid-n1"));
        court.bench.rests();
    };
    let mut court = network(true, "Provided");
    court.bench.rests();
    court.breaks("have a block");
    let mut court = network(true, "BlocksExhausted");
    court.bench.rests();
    court.is_fine();
    let mut court = network(true, "Provided");
    block(&mut court, "10.1.0.16-28");
    court.is_fine();
    block(&mut court, "10.1.0.32-28");
    court.breaks("have a block");
    let mut court = network(false, "");
    block(&mut court, "10.1.0.16-28");
    court.breaks("goes with its owner");
}

#[test]
fn a_task_has_an_address_in_each_network_that_is_not_full() {
    let shop = || {
        let mut court = Court::new();
        court.put("status/nodes/n1/node", &json!({"observedGeneration": 1}));
        court.put("allocations/nodes/00001", &given("Node", "n1", "uid-n1"));
        for (key, uid) in [
            ("networks/default/front", "u"),
            ("services/default/web", "s"),
        ] {
            court.write(key, &json!(""));
            let template =
                json!({"container": {"image": "app:1"}, "networks": [{"name": "front"}]});
            let spec = json!({"mode": "replicated", "replicas": 1, "template": template});
            court.put(&format!("accepted/{key}"), &accepted(uid, 1, &spec));
        }
        court.put("allocations/vnis/00070000", &given("Network", "front", "u"));
        court.put(
            "allocations/addresses/u/10.64.0.2",
            &given("Service", "web", "s"),
        );
        court.task("a", "running", &json!({}));
        court
    };
    let mut court = shop();
    court.bench.rests();
    court.breaks("have an address");
    let mut court = shop();
    let owner = json!({"kind": "Task", "namespace": "default", "name": "web", "task": "a"});
    court.put(
        "allocations/addresses/u/10.64.0.3",
        &json!({ "owner": owner }),
    );
    court.bench.rests();
    court.is_fine();
    let mut court = shop();
    let full = json!({
        "type": "AddressesLeft", "status": "False", "reason": "AddressesExhausted", "message": "",
        "lastTransitionTime": Timestamp(0),
    });
    court.put(
        "status/networks/default/front/network",
        &json!({"observedGeneration": 1, "conditions": [full]}),
    );
    court.bench.rests();
    court.is_fine();
}
