//! A picture for the tests of this folder.

use super::picture::{Node, Picture, Place, Service};
use crate::api::cluster::{Event, Severity};
use crate::api::time::Timestamp;

/// The time at which the picture is looked at: two and a half minutes after the start.
pub(super) const NOW: Timestamp = Timestamp(150_000);

pub(super) fn place() -> Place {
    Place {
        store: "127.0.0.1:2379".into(),
        data: "/data/skep".into(),
        since: Timestamp(0),
    }
}

/// Two services and two nodes, one of each not well.
pub(super) fn picture() -> Picture {
    let event = |object: &str, severity, reason: &str, message: &str, at| Event {
        object: object.into(),
        uid: None,
        severity,
        reason: reason.into(),
        message: message.into(),
        controller: "service".into(),
        count: 1,
        first: Timestamp(at),
        last: Timestamp(at),
    };
    Picture {
        services: [
            ("web".to_owned(), service(3, 3, 3, "ready", "")),
            (
                "shop/api".to_owned(),
                service(
                    2,
                    1,
                    0,
                    "waiting",
                    "no suitable node: 1 of 2 lacks resources",
                ),
            ),
        ]
        .into(),
        nodes: [
            ("local".to_owned(), node("ready", "", 4, "28.5.2")),
            (
                "n2".to_owned(),
                node(
                    "down",
                    "cannot connect to the engine at tcp://n2:2376",
                    0,
                    "",
                ),
            ),
        ]
        .into(),
        events: vec![
            event(
                "services/default/web",
                Severity::Normal,
                "Created",
                "3 tasks for revision 1",
                30_000,
            ),
            event(
                "nodes/n2",
                Severity::Warning,
                "NodeDown",
                "cannot connect",
                138_000,
            ),
        ],
        warnings: Vec::new(),
    }
}

pub(super) fn service(
    wanted: u32,
    running: u32,
    ready: u32,
    status: &str,
    message: &str,
) -> Service {
    Service {
        wanted,
        running,
        ready,
        status: status.into(),
        message: message.into(),
    }
}

pub(super) fn node(status: &str, message: &str, tasks: usize, engine: &str) -> Node {
    Node {
        status: status.into(),
        message: message.into(),
        tasks,
        engine: engine.into(),
    }
}
