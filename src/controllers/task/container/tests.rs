use super::*;
use crate::api::task::{Slot, network_name};
use crate::api::time::Timestamp;
use crate::api::uid::TaskId;
use crate::api::unit::{Incarnation, Revision, RevisionNumber, Term};
use crate::engine;
use std::collections::BTreeMap;

const TASK: &str = "abcdefghij0123456789abcde";

/// The body for a template and host ports given as JSON.
struct Case {
    cluster: Uid,
    service: Scoped,
    revision: ServiceRevision,
    task: Task,
    node: NodeName,
    node_uid: Uid,
    binding: Binding,
    endpoints: Vec<Endpoint>,
}

impl Case {
    fn new(container: Value, host_ports: Value) -> Self {
        let revision = json!({
            "service": "svc", "number": 3, "hash": "beef", "cause": "test",
            "createdAt": "2026-01-01T00:00:00Z",
            "template": {"container": container}, "hostPorts": host_ports,
        });
        let task = json!({
            "id": TASK, "service": "svc", "revision": 3, "slot": {"replica": 2}, "desired": "running",
            "createdAt": "2026-01-01T00:00:00Z",
        });
        Self {
            cluster: "cluster1".into(),
            service: Scoped::new("shop", "web"),
            revision: serde_json::from_value(revision).unwrap(),
            task: serde_json::from_value(task).unwrap(),
            node: "n1".into(),
            node_uid: "node1".into(),
            binding: Binding {
                task: TASK.into(),
                service: "svc".into(),
                namespace: "shop".into(),
                service_name: "web".into(),
                node: "node1".into(),
                reserved: Default::default(),
                host_ports: Vec::new(),
                bound_at: Timestamp(0),
            },
            endpoints: Vec::new(),
        }
    }

    fn input(&self) -> ContainerInput<'_> {
        ContainerInput {
            cluster: &self.cluster,
            service: &self.service,
            revision: &self.revision,
            task: &self.task,
            node: &self.node,
            node_uid: &self.node_uid,
            binding: &self.binding,
            stamp: Stamp {
                incarnation: Incarnation(1),
                term: Term(20),
                revision: Revision(300),
            },
            endpoints: &self.endpoints,
        }
    }

    fn body(&self) -> Value {
        serde_json::from_str(&body(&self.input())).unwrap()
    }
}

/// The container as an engine would show it.
fn seen(name: &str, labels: BTreeMap<String, String>) -> engine::Container {
    engine::Container {
        id: "c1".into(),
        name: name.into(),
        labels: labels.into(),
        state: engine::ContainerState::Running,
        started_at: None,
        finished_at: None,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        health: None,
        networks: Default::default(),
        addresses: Vec::new(),
        hardware: Default::default(),
        ports: Vec::new(),
    }
}

#[test]
fn names_carry_slot_and_task_and_the_namespace_unless_default() {
    let task = TaskId::from(TASK);
    let check = |namespace, slot, expected: &str| {
        let service = Scoped::new(namespace, "web");
        assert_eq!(name(&service, &slot, &task), expected.replace("ID", TASK));
    };
    check("default", Slot::Replica(3), "web.3.ID");
    check("shop", Slot::Replica(3), "shop_web.3.ID");
    check("default", Slot::Node("n1".into()), "web.n1.ID");
}

#[test]
fn what_is_left_out_is_left_to_the_image_and_the_engine() {
    let body = Case::new(json!({"image": "nginx"}), json!([])).body();
    let fields: Vec<_> = body.as_object().unwrap().keys().collect();
    let expected = ["Env", "HostConfig", "Image", "Labels", "OpenStdin", "Tty"];
    assert_eq!(fields, expected);
    let expected = json!({
        "NetworkMode": "bridge", "RestartPolicy": {"Name": "no"}, "PidsLimit": -1,
        "Privileged": false, "ReadonlyRootfs": false,
    });
    assert_eq!(body["HostConfig"], expected);
}

#[test]
fn labels_of_ours_win_and_dashboards_find_theirs() {
    let container = json!({"image": "x", "labels": {"a": "b", "com.docker.swarm.task.id": "fake"}});
    let labels = labels(&Case::new(container, json!([])).input());
    assert_eq!(labels["a"], "b");
    assert_eq!(labels["com.docker.swarm.task.id"], TASK);
    assert_eq!(labels["com.docker.swarm.service.name"], "shop_web");
    assert_eq!(
        labels["com.docker.swarm.task.name"],
        format!("shop_web.2.{TASK}")
    );
    assert_eq!(labels["com.docker.stack.namespace"], "shop");
    assert_eq!(
        labels.keys().filter(|k| k.starts_with("dev.skep.")).count(),
        12
    );
}

#[test]
fn a_port_without_a_number_does_not_take_that_of_another() {
    let ports = json!([
        {"name": "fixed", "target": 80, "published": 8080, "protocol": "tcp", "mode": "host"},
        {"name": "any", "target": 80, "protocol": "tcp", "mode": "host"},
    ]);
    let mut case = Case::new(json!({"image": "x"}), ports);
    let held = json!({"published": 8080, "protocol": "tcp", "target": 80});
    case.binding.host_ports = vec![serde_json::from_value(held).unwrap()];
    let body = case.body();
    assert_eq!(
        body["HostConfig"]["PortBindings"]["80/tcp"],
        json!([{"HostIp": "", "HostPort": "8080"}, {"HostIp": "", "HostPort": ""}])
    );
}

#[test]
fn a_port_without_a_number_is_left_to_the_engine_unless_the_binding_holds_one() {
    let ports = json!([
        {"target": 80, "published": 8080, "mode": "host"},
        {"target": 80, "mode": "host", "hostIP": "127.0.0.1"},
        {"target": 53, "protocol": "udp", "mode": "host"},
    ]);
    let mut case = Case::new(json!({"image": "x"}), ports);
    let expected = json!({
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": ""}],
        "53/udp": [{"HostIp": "", "HostPort": ""}],
    });
    assert_eq!(case.body()["HostConfig"]["PortBindings"], expected);
    assert_eq!(
        case.body()["ExposedPorts"],
        json!({"80/tcp": {}, "53/udp": {}})
    );

    let held = json!({"published": 5353, "protocol": "udp", "target": 53});
    case.binding.host_ports = vec![serde_json::from_value(held).unwrap()];
    let bindings = &case.body()["HostConfig"]["PortBindings"];
    assert_eq!(bindings["53/udp"][0]["HostPort"], "5353");
}

#[test]
fn a_task_begins_in_the_first_of_its_overlays_at_the_address_that_it_was_given() {
    let container = json!({"image": "x", "macAddress": "02:00:00:00:00:01"});
    let mut case = Case::new(container, json!([]));
    case.endpoints = [
        ("shop_front", [10, 64, 0, 9]),
        ("shop_back", [10, 64, 1, 9]),
    ]
    .map(|(network, address)| Endpoint {
        network: network.into(),
        address: address.into(),
        address6: None,
        gateway: [address[0], address[1], address[2], 1].into(),
    })
    .into();
    let body = case.body();
    assert_eq!(body["HostConfig"]["NetworkMode"], "shop_front");
    let expected = json!({"EndpointsConfig": {
        "shop_front": {
            "IPAMConfig": {"IPv4Address": "10.64.0.9"},
            "MacAddress": "02:00:00:00:00:01",
        },
    }});
    assert_eq!(
        body["NetworkingConfig"], expected,
        "two at once are too many for API 1.43"
    );
    assert_eq!(body["MacAddress"], "02:00:00:00:00:01");
    case.revision.template.container.mac_address = None;
    let first = &case.body()["NetworkingConfig"]["EndpointsConfig"]["shop_front"];
    assert_eq!(
        first["MacAddress"], "02:42:0a:40:00:09",
        "the one that follows from the address"
    );
    case.endpoints[0].address6 = "fd00:1::9".parse().ok();
    let first = &case.body()["NetworkingConfig"]["EndpointsConfig"]["shop_front"];
    let both = json!({"IPv4Address": "10.64.0.9", "IPv6Address": "fd00:1::9"});
    assert_eq!(first["IPAMConfig"], both);
}

#[test]
fn no_overlay_is_called_as_the_engines_own_networks_are() {
    let name = |namespace: &str, name: &str| network_name(&Scoped::new(namespace, name));
    assert_eq!(name("default", "front"), "front");
    assert_eq!(name("shop", "front"), "shop_front");
    assert_eq!(name("default", "default"), "default_default");
    assert_eq!(name("shop", "default"), "shop_default");
    assert_eq!(name("default", "host"), "default_host");
}

#[test]
fn a_task_on_overlays_asks_its_nodes_agent_first_and_then_whom_it_was_told_to() {
    let dns = json!({"servers": ["192.0.2.1"], "search": ["example.com"], "options": ["ndots:2"]});
    let mut case = Case::new(json!({"image": "x", "dns": dns}), json!([]));
    assert_eq!(case.body()["HostConfig"]["Dns"], json!(["192.0.2.1"]));
    case.endpoints = vec![Endpoint {
        network: "front".into(),
        address: [10, 64, 0, 9].into(),
        address6: None,
        gateway: [10, 64, 0, 1].into(),
    }];
    let host = &case.body()["HostConfig"];
    assert_eq!(host["Dns"], json!(["10.64.0.1", "192.0.2.1"]));
    assert_eq!(host["DnsSearch"], json!(["example.com"]));
    assert_eq!(host["DnsOptions"], json!(["ndots:2"]));
}

#[test]
fn no_networks_means_none_and_no_address_for_a_card_that_is_not_there() {
    let container = json!({"image": "x", "macAddress": "02:00:00:00:00:01"});
    let mut case = Case::new(container, json!([]));
    assert_eq!(case.body()["MacAddress"], "02:00:00:00:00:01");
    case.revision.template.networks = Some(Vec::new());
    assert_eq!(case.body()["HostConfig"]["NetworkMode"], "none");
    assert_eq!(case.body().get("MacAddress"), None);
}

#[test]
fn a_disabled_health_check_is_said_aloud() {
    let container = json!({"image": "x", "healthcheck": {"disable": true}});
    let body = Case::new(container, json!([])).body();
    assert_eq!(body["Healthcheck"], json!({"Test": ["NONE"]}));
}

#[test]
fn fields_above_the_engines_api_are_in_the_body_and_named() {
    let container = json!({
        "image": "x", "annotations": {"k": "v"},
        "healthcheck": {"test": ["CMD", "true"], "startInterval": "2s"},
        "mounts": [
            {"type": "volume", "target": "/a"},
            {"type": "volume", "source": "v", "target": "/b", "volume": {"subpath": "s"}},
        ],
    });
    let case = Case::new(container, json!([]));
    let body = case.body();
    assert_eq!(body["HostConfig"]["Annotations"]["k"], "v");
    assert_eq!(body["Healthcheck"]["StartInterval"], 2_000_000_000u64);
    assert_eq!(
        body["HostConfig"]["Mounts"][1]["VolumeOptions"]["Subpath"],
        "s"
    );
}

#[test]
fn a_container_of_ours_reads_back_to_its_task() {
    let case = Case::new(json!({"image": "x"}), json!([]));
    let input = case.input();
    let name = name(input.service, &input.task.slot, &input.task.id);
    let Claim::Ours(ours) = claim(&seen(&name, labels(&input)), input.cluster) else {
        panic!("it is ours");
    };
    let expected = Ours {
        task: TASK.into(),
        service: "svc".into(),
        name: Scoped::new("shop", "web"),
        slot: Slot::Replica(2),
        revision: RevisionNumber(3),
        hash: "beef".into(),
        node: "node1".into(),
        stamp: input.stamp,
    };
    assert_eq!(*ours, expected);
}

#[test]
fn labels_alone_do_not_make_a_container_ours() {
    let case = Case::new(json!({"image": "x"}), json!([]));
    let input = case.input();
    let ours = labels(&input);
    let cluster = input.cluster;
    let check = |name: &str, labels: &BTreeMap<String, String>| match claim(
        &seen(name, labels.clone()),
        cluster,
    ) {
        Claim::Imposter { reason } => reason,
        other => panic!("{name}: {other:?}"),
    };
    // An image made by `docker commit` gives its labels to whatever is run from it.
    assert!(check("debug-session", &ours).contains("does not end in the task id"));
    assert!(check(&format!("x{TASK}"), &ours).contains("does not end in the task id"));

    let name = name(input.service, &input.task.slot, &input.task.id);
    for label in ours
        .keys()
        .filter(|k| k.starts_with("dev.skep.") && *k != CLUSTER)
    {
        let mut without = ours.clone();
        without.remove(label);
        assert!(check(&name, &without).contains("is missing"), "{label}");
    }
}

#[test]
fn containers_of_others_are_told_apart() {
    let case = Case::new(json!({"image": "x"}), json!([]));
    let labels = labels(&case.input());
    let other = Uid::from("cluster2");
    let expected = Claim::ForeignCluster {
        cluster: "cluster1".into(),
        theirs: None,
    };
    assert_eq!(claim(&seen("any", labels.clone()), &other), expected);
    let input = case.input();
    let name = name(input.service, &input.task.slot, &input.task.id);
    match claim(&seen(&name, labels), &other) {
        Claim::ForeignCluster { theirs, .. } => assert_eq!(theirs.unwrap().task, input.task.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(claim(&seen("any", BTreeMap::new()), &other), Claim::NotOurs);
}
