//! Tables of what is refused, in the words of a manifest.

use super::*;
use serde_json::{Value, json};

fn lines(refusals: Vec<Refusal>) -> Vec<String> {
    let line = |refusal: &Refusal| format!("{}: {}", refusal.path, refusal.message);
    refusals.iter().map(line).collect()
}

fn refused(kind: &str, value: Value) -> Vec<String> {
    match kind {
        "service" => lines(service(
            &serde_json::from_value(value).expect("a service"),
            &[],
        )),
        "node" => lines(node(&serde_json::from_value(value).expect("a node"))),
        _ => lines(network(&serde_json::from_value(value).expect("a network"))),
    }
}

/// One refusal that begins with `start`; none where it is empty.
fn check(kind: &str, value: Value, start: &str) {
    let found = refused(kind, value.clone());
    match start {
        "" => assert!(found.is_empty(), "{value}: {found:?}"),
        start => assert!(
            found.len() == 1 && found[0].starts_with(start),
            "{value}: {found:?}"
        ),
    }
}

fn container(field: &str, value: Value, start: &str) {
    let start = match start {
        "" => String::new(),
        start => format!("template.container.{start}"),
    };
    check(
        "service",
        json!({"template": {"container": {"image": "i", field: value}}}),
        &start,
    );
}

fn service_with(field: &str, value: Value, start: &str) {
    check(
        "service",
        json!({"template": {"container": "i"}, field: value}),
        start,
    );
}

#[test]
fn services() {
    service_with("replicas", json!(3), "");
    service_with("replicas", json!(1_000_000), "replicas: more than");
    service_with(
        "mode",
        json!("replicated-job"),
        "mode: jobs are not provided yet",
    );
    let global = json!({"mode": "global", "replicas": 1, "template": {"container": "i"}});
    check("service", global, "replicas: a global service");
    service_with(
        "update",
        json!({"maxFailureRatio": 1.5}),
        "update.maxFailureRatio: expected a share",
    );
    service_with("ports", json!(["8080:80", "8080:81/udp"]), "");
    service_with(
        "ports",
        json!(["8080:80", "8080:81"]),
        "ports[1].published: 8080/tcp is published by ports[0] too",
    );
    service_with("ports", json!(["127.0.0.1:1:80", "127.0.0.2:1:80"]), "");
    let health = |ports: Value, start: &str| {
        let template = json!({"container": "i"});
        let value = json!({"template": template, "ports": ports, "healthPort": 30999});
        check("service", value, start);
    };
    health(json!(["8080:80"]), "");
    health(json!(["30999:80/udp"]), "");
    health(json!(["30999:80"]), "healthPort: 30999/tcp is one of");
    health(
        json!(["host:8080:80"]),
        "healthPort: it tells of ports of mode ingress",
    );
    service_with("healthPort", json!(1), "healthPort: it tells of ports");
    service_with(
        "ports",
        json!(["127.0.0.1:1:80", "host:1:80"]),
        "ports[1].published",
    );
    service_with(
        "ports",
        json!([{"target": 0}]),
        "ports[0].target: expected a port",
    );
    service_with(
        "ports",
        json!([{"target": 1, "name": "a"}, {"target": 2, "name": "a"}]),
        "ports[1].name: is the name of ports[0] too",
    );
    service_with(
        "ports",
        json!([{"target": 1, "published": 1, "hostIP": "127.0.0.1"}, {"target": 2, "published": 1, "hostIP": "192.0.2.1"}]),
        "",
    );
    service_with(
        "ports",
        json!([{"target": 1, "published": 1, "hostIP": "0.0.0.0"}, {"target": 2, "published": 1, "hostIP": "192.0.2.1"}]),
        "ports[1].published: 1/tcp is published by ports[0] too",
    );
}

#[test]
fn templates() {
    let check = |field: &str, value: Value, start: &str| {
        check(
            "service",
            json!({"template": {"container": "i", field: value}}),
            start,
        );
    };
    check("networks", json!(["a", "b"]), "");
    check(
        "networks",
        json!(["a", "a"]),
        "template.networks[1].name: `a` is joined twice",
    );
    check("networks", json!(["a b"]), "template.networks[0].name");
    check(
        "secrets",
        json!(["x"]),
        "template.secrets: secrets are not provided yet",
    );
    check(
        "placement",
        json!({"constraints": ["node.rol == x"]}),
        "template.placement.constraints[0]: nodes have no `node.rol`: did you mean `node.role`?",
    );
    check(
        "placement",
        json!({"preferences": [{"spread": "node.role"}]}),
        "template.placement.preferences[0].spread",
    );
    check(
        "restart",
        json!({"delay": "10m"}),
        "template.restart.maxDelay",
    );
}

#[test]
fn containers() {
    container("image", json!(""), "image: is missing");
    container("image", json!("a b"), "image: `a b` is no image's name");
    container(
        "labels",
        json!({"dev.skep.task": "x"}),
        "labels[\"dev.skep.task\"]: labels under dev.skep. are skep's own",
    );
    container("labels", json!({"dev.skeptic": "x"}), "");
    container("env", json!({"A=B": "x"}), "env[\"A=B\"]");
    container(
        "secrets",
        json!(["x"]),
        "secrets: secrets are not provided yet",
    );
    container(
        "configs",
        json!(["x"]),
        "configs: configs are not provided yet",
    );
    container(
        "ulimits",
        json!([{"name": "nofile", "soft": 2, "hard": 1}]),
        "ulimits[0].soft: is above `hard`",
    );
    container(
        "ulimits",
        json!([{"name": "nofile", "soft": -1, "hard": -1}]),
        "",
    );
    container(
        "ulimits",
        json!([{"name": "nofile", "soft": -2, "hard": 1}]),
        "ulimits[0].soft: expected -1",
    );
    container("oomScoreAdj", json!(2000), "oomScoreAdj");
    container(
        "ipcMode",
        json!("shared"),
        "ipcMode: expected one of none, private, shareable, host",
    );
    container(
        "pidMode",
        json!("private"),
        "pidMode: expected host or container:ID",
    );
    container(
        "devices",
        json!([{"source": "/dev/null", "permissions": "rx"}]),
        "devices[0].permissions",
    );
    container(
        "dns",
        json!({"servers": ["a"]}),
        "dns.servers[0]: `a` is no IP address",
    );
    container(
        "extraHosts",
        json!(["a"]),
        "extraHosts[0]: expected name:address",
    );
    container("extraHosts", json!(["a:::1"]), "");
    container("macAddress", json!("02:42"), "macAddress");
    container(
        "healthcheck",
        json!({"test": ["curl", "x"]}),
        "healthcheck.test: expected [CMD, ...]",
    );
    container(
        "healthcheck",
        json!({"test": ["NONE"]}),
        "healthcheck.test: write `disable: true`",
    );
    container(
        "healthcheck",
        json!({"disable": true, "test": "x"}),
        "healthcheck.test: a check that is disabled",
    );
}

#[test]
fn mounts_and_resources() {
    container(
        "mounts",
        json!([{"type": "volume", "source": "d", "target": "rel"}]),
        "mounts[0].target: expected an absolute path",
    );
    container(
        "mounts",
        json!(["a:/x", "b:/x"]),
        "mounts[1].target: /x is mounted at template.container.mounts[0].target too",
    );
    container(
        "mounts",
        json!([{"type": "bind", "source": "d", "target": "/x"}]),
        "mounts[0].source: a bind mount needs",
    );
    container(
        "mounts",
        json!([{"type": "volume", "source": "/d", "target": "/x"}]),
        "mounts[0].source: is a path",
    );
    container(
        "mounts",
        json!([{"type": "tmpfs", "target": "/x", "bind": {}}]),
        "mounts[0].bind: belongs to another type",
    );
    container(
        "tmpfs",
        json!(["run"]),
        "tmpfs[0]: expected an absolute path",
    );
    container(
        "resources",
        json!({"limits": {"memory": "1MiB"}}),
        "resources.limits.memory: Docker's least is 6MiB",
    );
    container(
        "resources",
        json!({"limits": {"memory": "64MiB"}, "reservations": {"memory": "65MiB"}}),
        "resources.reservations.memory: 65MiB is above the limit, 64MiB",
    );
    container(
        "resources",
        json!({"limits": {"cpus": 1}, "reservations": {"cpus": 2}}),
        "resources.reservations.cpus: 2 is above the limit, 1",
    );
    container(
        "resources",
        json!({"limits": {"memorySwap": "64MiB"}}),
        "resources.limits.memorySwap",
    );
    container(
        "resources",
        json!({"limits": {"blkioWeight": 5}}),
        "resources.limits.blkioWeight",
    );
}

#[test]
fn nodes() {
    let url = |url: &str, start: &str| check("node", json!({"engine": url}), start);
    url("unix:///var/run/docker.sock", "");
    url("tcp://10.0.0.11:2376", "");
    url("tcp://n1.example.org:2376", "");
    url("tcp://[fd00::1]:2376", "");
    url("tcp://10.0.0.11", "engine.url: expected tcp://HOST:PORT");
    url("tcp://:2376", "engine.url: expected tcp://HOST:PORT");
    url(
        "unix://var/run/docker.sock",
        "engine.url: expected an absolute path",
    );
    url("ssh://root@n1", "engine.url: ssh:// is not provided yet");
    url("https://n1:2376", "engine.url: write tcp://");
    url(
        "n1",
        "engine.url: expected unix:///var/run/docker.sock or tcp://HOST:PORT",
    );
    let tls = |key: &str, start: &str| {
        let files = json!({"ca": "/ca.pem", "cert": "/cert.pem", "key": key});
        check(
            "node",
            json!({"engine": {"url": "tcp://n1:2376", "tls": files}}),
            start,
        );
    };
    tls("/key.pem", "");
    tls("key.pem", "engine.tls.key: expected an absolute path");
    check(
        "node",
        json!({"engine": "tcp://n1:2376", "manager": "m1"}),
        "manager: only a unix:// engine",
    );
    check("node", json!({"engine": "unix:///x", "manager": "m1"}), "");
    check(
        "node",
        json!({"engine": "unix:///x", "address": "0.0.0.0"}),
        "address: is no address",
    );
}

#[test]
fn networks() {
    let subnets =
        |subnets: Value, start: &str| check("network", json!({"subnets": subnets}), start);
    for both in [
        json!(["10.1.0.0/16", "fd00::/64"]),
        json!(["fd00::/120", "10.1.0.0/24"]),
    ] {
        subnets(both, "");
    }
    subnets(
        json!(["10.1.0.0"]),
        "subnets[0]: `10.1.0.0` is no IPv4 subnet",
    );
    subnets(json!(["fd00::"]), "subnets[0]: `fd00::` is no IPv6 subnet");
    subnets(
        json!(["10.1.0.1/16"]),
        "subnets[0]: `10.1.0.1/16` has bits behind its length",
    );
    subnets(
        json!(["10.1.0.0/31"]),
        "subnets[0]: `10.1.0.0/31`: expected a length",
    );
    subnets(
        json!(["10.1.0.0/16", "fd00::/64", "10.2.0.0/24"]),
        "subnets[2]: a network has one subnet of IPv4, and subnets[0] is one",
    );
    subnets(
        json!(["fd00::/64", "fd01::/64"]),
        "subnets[1]: a network has one subnet of IPv6",
    );
    subnets(
        json!(["10.1.0.0/16", "fd00::/120"]),
        "subnets[1]: fd00::/120 has fewer addresses than 10.1.0.0/16",
    );
    subnets(
        json!(["fd00::/121"]),
        "subnets[0]: `fd00::/121`: expected a length from /16 to /120",
    );
    for reserved in [
        "::/64",
        "::ffff:10.1.0.0/112",
        "fe80:1::/64",
        "ff02::/16",
        "fd73:6b65:7000:7::/64",
        "fd73::/16",
    ] {
        let expected = format!("subnets[0]: `{reserved}` overlaps");
        subnets(json!([reserved]), &expected);
    }
    check(
        "network",
        json!({"driver": "bridge"}),
        "driver: expected one of overlay",
    );
    check("network", json!({"mtu": 100}), "mtu: expected 0");
}

#[test]
fn k1_a_key_in_the_store_is_refused() {
    for key in ["-----BEGIN PRIVATE KEY-----\nMIIE", "LS0tLS1CRUdJTg=="] {
        let files = json!({"ca": "/ca.pem", "cert": "/cert.pem", "key": key});
        check(
            "node",
            json!({"engine": {"url": "tcp://n1:2376", "tls": files}}),
            "engine.tls.key: expected",
        );
    }
}
