//! What users do to services.

use super::{Deed, QUICK, Scenario, WEB, service, web};
use crate::families::Family;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        create(),
        scale(),
        template(),
        ports(),
        delete(),
        recreate(),
        bad_put(),
    ]
}

/// A new cluster, and its first service.
fn create() -> Scenario {
    Scenario {
        name: "create",
        nodes: 2,
        rival: None,
        before: vec![],
        deeds: vec![(1, web(3, 1))],
        without: &[Family::Missed, Family::Reused],
        end: "web.1 v1, web.2 v1, web.3 v1",
    }
}

/// Up and down again.
fn scale() -> Scenario {
    Scenario {
        name: "scale",
        nodes: 2,
        rival: None,
        before: vec![web(2, 1)],
        deeds: vec![(0, web(4, 1)), (30, web(1, 1))],
        without: &[],
        end: "web.1 v1",
    }
}

/// A new template, one task after the other.
fn template() -> Scenario {
    Scenario {
        name: "template",
        nodes: 2,
        rival: None,
        before: vec![web(2, 1)],
        deeds: vec![(0, web(2, 2))],
        without: &[Family::Missed, Family::Reused],
        end: "web.1 v2, web.2 v2",
    }
}

/// A new template where every node has a task that holds a host port: it has to be freed before it is taken again.
fn ports() -> Scenario {
    let web = |version| {
        let size = "replicas: 2, ports: [\"host:8080:80\"]";
        Deed::Put(WEB, service(size, "parallelism: 1, monitor: 0s", version))
    };
    Scenario {
        name: "ports",
        nodes: 2,
        rival: Some(service("ports: [\"host:8080:80\"]", QUICK, 9)),
        before: vec![web(1)],
        deeds: vec![(0, web(2))],
        without: &[],
        end: "web.1 v2, web.2 v2",
    }
}

fn delete() -> Scenario {
    let api = Deed::Put("services/default/api", service("replicas: 1", QUICK, 1));
    Scenario {
        name: "delete",
        nodes: 2,
        rival: None,
        before: vec![api, web(3, 1)],
        deeds: vec![(0, Deed::Delete(WEB))],
        without: &[],
        end: "api.1 v1",
    }
}

/// Deleted and put again under the same name: within one moment, and while it is being cleaned up.
fn recreate() -> Scenario {
    Scenario {
        name: "recreate",
        nodes: 2,
        rival: None,
        before: vec![web(2, 1)],
        deeds: vec![
            (0, Deed::Delete(WEB)),
            (0, web(2, 1)),
            (30, Deed::Delete(WEB)),
            (31, web(2, 2)),
        ],
        without: &[],
        end: "web.1 v2, web.2 v2",
    }
}

/// A value that cannot be read, and its healing.
fn bad_put() -> Scenario {
    Scenario {
        name: "bad-put",
        nodes: 2,
        rival: None,
        before: vec![web(2, 1)],
        deeds: vec![(0, Deed::Put(WEB, "garbage: [".into())), (20, web(3, 1))],
        without: &[Family::Missed, Family::Reused],
        end: "web.1 v1, web.2 v1, web.3 v1",
    }
}
