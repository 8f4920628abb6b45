//! Manifests that differ in each field that matters, for walks from one to another.

use super::{Deed, Scenario, WEB};

/// Manifests by name; without a text the service is not there. There is room for each and each says its
/// replicas: new tasks that find no room leave the old ones running, and replicas that are left out stay those in force,
/// so there the end does depend on the way.
const MANIFESTS: [(&str, Option<&str>); 16] = [
    ("nothing", None),
    (
        "plain",
        Some("{replicas: 2, template: {container: \"app:1\"}}"),
    ),
    (
        "none-wanted",
        Some("{replicas: 0, template: {container: \"app:1\"}}"),
    ),
    (
        "more",
        Some("{replicas: 4, template: {container: \"app:1\"}}"),
    ),
    (
        "global",
        Some("{mode: global, template: {container: \"app:1\"}}"),
    ),
    (
        "image",
        Some("{replicas: 2, template: {container: \"app:2\"}}"),
    ),
    (
        "environment",
        Some("{replicas: 2, template: {container: {image: \"app:1\", env: {V: v2, A: b}}}}"),
    ),
    (
        "command",
        Some(
            "{replicas: 2, template: {container: {image: \"app:1\", command: [serve], args: [-v], stopGracePeriod: 3s}}}",
        ),
    ),
    (
        "port",
        Some("{replicas: 2, ports: [\"host:8080:80\"], template: {container: \"app:1\"}}"),
    ),
    (
        "another-port",
        Some("{replicas: 2, ports: [\"host:8081:80\"], template: {container: \"app:1\"}}"),
    ),
    (
        "resources",
        Some(
            "{replicas: 2, template: {container: {image: \"app:1\", resources: {reservations: {cpus: 0.5, memory: 64MiB}, limits: {cpus: 1, memory: 128MiB}}}}}",
        ),
    ),
    (
        "health",
        Some(
            "{replicas: 2, template: {container: {image: \"app:1\", healthcheck: {test: [CMD, \"true\"], interval: 1s, timeout: 1s, retries: 1}}}}",
        ),
    ),
    (
        "placement",
        Some(
            "{replicas: 2, template: {container: \"app:1\", placement: {constraints: [\"node.labels.disk == ssd\"]}}}",
        ),
    ),
    (
        "stop-first",
        Some(
            "{replicas: 2, update: {order: stop-first, parallelism: 2, monitor: 0s}, template: {container: \"app:1\", onNodeLost: wait, restart: {condition: on-failure}}}",
        ),
    ),
    (
        "forced",
        Some("{replicas: 2, template: {container: \"app:1\", forceUpdate: 1}}"),
    ),
    (
        "metadata",
        Some(
            "{apiVersion: skep.dev/v1, kind: Service, metadata: {name: web, labels: {app: web}}, spec: {replicas: 2, template: {container: \"app:1\"}}}",
        ),
    ),
];

/// A walk, and what it should end as: its last manifest alone.
pub(crate) struct Walk {
    pub(crate) name: String,
    pub(crate) walk: Scenario,
    /// Which of [`alone`].
    pub(crate) end: usize,
}

fn put((_, text): &(&str, Option<&str>)) -> Deed {
    match text {
        Some(text) => Deed::Put(WEB, (*text).to_owned()),
        None => Deed::Delete(WEB),
    }
}

fn scenario(before: Vec<Deed>, deed: Deed) -> Scenario {
    let labelled = "{apiVersion: skep.dev/v1, kind: Node, metadata: {name: n2, labels: {disk: ssd}}, spec: {engine: {url: \"tcp://n2:2375\"}}}";
    let mut all = vec![Deed::Put("nodes/n2", labelled.into())];
    all.extend(before);
    Scenario {
        name: "walks",
        nodes: 2,
        rival: None,
        before: all,
        deeds: vec![(0, deed)],
        without: &[],
        end: "",
    }
}

/// Each manifest on an empty cluster.
pub(crate) fn alone() -> Vec<Scenario> {
    let all = MANIFESTS.iter();
    all.map(|manifest| scenario(Vec::new(), put(manifest)))
        .collect()
}

/// From each to each other.
pub(crate) fn walks() -> Vec<Walk> {
    let mut walks = Vec::new();
    for from in &MANIFESTS {
        for (end, to) in MANIFESTS.iter().enumerate() {
            if from.0 != to.0 {
                walks.push(Walk {
                    name: format!("from {} to {}", from.0, to.0),
                    walk: scenario(vec![put(from)], put(to)),
                    end,
                });
            }
        }
    }
    walks
}
