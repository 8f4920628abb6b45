//! The keys of the store, below a configurable prefix (`/skep/` unless told otherwise).
//!
//! | Key | Writer | Holds |
//! |---|---|---|
//! | `services/<ns>/<name>`, `networks/<ns>/<name>`, `nodes/<name>` | user | what the user wrote |
//! | `scale/<ns>/<name>` | user | replicas of a service whose manifest leaves them out |
//! | `accepted/<plural>/[<ns>/]<name>` | the kind's controller | the spec in force |
//! | `status/<plural>/[<ns>/]<name>/<controller>` | that controller | what it observed |
//! | `revisions/<service-uid>/<n>` | service | an immutable template |
//! | `tasks/<ns>/<service>/<task-id>` | service | what is wanted of a task |
//! | `bindings/<node>/<task-id>` | scheduler | where it runs |
//! | `status/tasks/<node>/<task-id>` | holder of the node's shard | what was seen of it |
//! | `allocations/...` | network | what is given out once: [`super::allocation`] lists the keys |
//! | `cluster`, `election/<controller>/<lease>`, `managers/<id>`, `shards/<name>` | managers | identity, leadership |
//!
//! Every listing prefix ends in `/`, so `web` never reads `web2`; numbers are zero-padded.

use super::allocation::Item;
use super::name::{Kind, NodeName, ObjectKey, Scoped};
use super::text::Text;
use super::uid::{TaskId, Uid};
use super::unit::{LeaseId, RevisionNumber};
use std::fmt;

/// The prefix unless `--prefix` says otherwise.
pub const DEFAULT_PREFIX: &str = "/skep/";

/// The most parts of a key: `status/services/<ns>/<name>/<controller>`.
const LONGEST: usize = 5;

/// One key of the store, without the prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What a user wrote.
    User(ObjectKey),
    /// Replicas that `skep scale` or an autoscaler asked for.
    Scale(Scoped),
    /// The spec in force.
    Accepted(ObjectKey),
    /// What one controller observed of one object.
    Status(ObjectKey, Text),
    /// An immutable template.
    Revision(Uid, RevisionNumber),
    /// What is wanted of a task of the named service.
    Task(Scoped, TaskId),
    /// Where a task runs.
    Binding(NodeName, TaskId),
    /// What was seen of a task.
    TaskStatus(NodeName, TaskId),
    /// Something that is given out once, and its owner.
    Allocation(Item),
    /// The cluster's identity.
    Cluster,
    /// A candidate for a controller's leadership; the oldest leads.
    Election(String, LeaseId),
    /// A live manager.
    Manager(String),
    /// The right to work on the engines of a shard.
    Shard(String),
}

impl Key {
    /// Reads the part of a key behind the prefix; none for what skep does not know.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = [""; LONGEST];
        let mut count = 0;
        for part in text.split('/') {
            // None has more parts, and none is empty.
            *parts.get_mut(count)? = part;
            count += 1;
            if part.is_empty() {
                return None;
            }
        }
        match &parts[..count] {
            ["cluster"] => Some(Self::Cluster),
            ["scale", ns, name] => Some(Self::Scale(Scoped::new(*ns, *name))),
            ["accepted", rest @ ..] => object(rest).map(Self::Accepted),
            ["status", "tasks", node, task] => {
                Some(Self::TaskStatus((*node).into(), (*task).into()))
            }
            ["status", rest @ .., controller] => {
                object(rest).map(|key| Self::Status(key, (*controller).into()))
            }
            ["revisions", uid, number] => Some(Self::Revision(
                (*uid).into(),
                RevisionNumber(number.parse().ok()?),
            )),
            ["tasks", ns, service, task] => {
                Some(Self::Task(Scoped::new(*ns, *service), (*task).into()))
            }
            ["bindings", node, task] => Some(Self::Binding((*node).into(), (*task).into())),
            ["allocations", rest @ ..] => Item::parse(rest).map(Self::Allocation),
            ["election", controller, lease] => {
                let lease = i64::from_str_radix(lease, 16).ok()?;
                Some(Self::Election((*controller).into(), LeaseId(lease)))
            }
            ["managers", id] => Some(Self::Manager((*id).into())),
            ["shards", name] => Some(Self::Shard((*name).into())),
            rest => object(rest).map(Self::User),
        }
    }

    /// The whole key: `prefix` and this.
    pub fn full(&self, prefix: &str) -> String {
        match self {
            // Written thousands of times while a large service starts: without the detour through a formatter.
            Self::Task(service, task) => {
                let (namespace, name) = (service.namespace.as_str(), service.name.as_str());
                [prefix, "tasks/", namespace, "/", name, "/", task.as_str()].concat()
            }
            Self::Binding(node, task) => {
                [prefix, "bindings/", node.as_str(), "/", task.as_str()].concat()
            }
            Self::TaskStatus(node, task) => {
                [prefix, "status/tasks/", node.as_str(), "/", task.as_str()].concat()
            }
            _ => format!("{prefix}{self}"),
        }
    }
}

fn object(parts: &[&str]) -> Option<ObjectKey> {
    let (kind, rest) = parts.split_first()?;
    let kind = Kind::from_plural(kind)?;
    match (kind.is_namespaced(), rest) {
        (true, [namespace, name]) => Some(ObjectKey {
            kind,
            namespace: (*namespace).into(),
            name: (*name).into(),
        }),
        (false, [name]) => Some(ObjectKey {
            kind,
            namespace: String::new(),
            name: (*name).into(),
        }),
        _ => None,
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(object) => write!(f, "{object}"),
            Self::Scale(service) => write!(f, "scale/{service}"),
            Self::Accepted(object) => write!(f, "accepted/{object}"),
            Self::Status(object, controller) => write!(f, "status/{object}/{controller}"),
            Self::Revision(uid, number) => write!(f, "revisions/{uid}/{:010}", number.0),
            Self::Task(service, task) => write!(f, "tasks/{service}/{task}"),
            Self::Binding(node, task) => write!(f, "bindings/{node}/{task}"),
            Self::TaskStatus(node, task) => write!(f, "status/tasks/{node}/{task}"),
            Self::Allocation(item) => write!(f, "allocations/{item}"),
            Self::Cluster => f.write_str("cluster"),
            Self::Election(controller, lease) => {
                write!(f, "election/{controller}/{:016x}", lease.0)
            }
            Self::Manager(id) => write!(f, "managers/{id}"),
            Self::Shard(name) => write!(f, "shards/{name}"),
        }
    }
}

/// The prefix of events, beside the main one so that nobody's watch carries them: `/skep/` gives `/skep-events/`.
pub fn event_prefix(prefix: &str) -> String {
    format!("{}-events/", prefix.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_as_they_are_read() {
        for text in [
            "services/default/web",
            "nodes/n1",
            "networks/shop/front",
            "scale/default/web",
            "accepted/services/default/web",
            "accepted/nodes/n1.example.org",
            "status/services/default/web/scheduler",
            "status/nodes/n1/node",
            "status/tasks/n1/0000000000000000000000abc",
            "revisions/0000000000000000000000abc/0000000012",
            "tasks/default/web/0000000000000000000000abc",
            "bindings/n1/0000000000000000000000abc",
            "allocations/nodes/00007",
            "allocations/vnis/00065536",
            "allocations/subnets/10.64.1.0-24",
            "allocations/addresses/0000000000000000000000abc/10.64.1.7",
            "cluster",
            "election/service/00000000000004d2",
            "managers/m1",
            "shards/000",
            "shards/node-local",
        ] {
            let key = Key::parse(text).unwrap_or_else(|| panic!("{text} does not parse"));
            assert_eq!(key.to_string(), text);
            assert_eq!(key.full("/skep/"), format!("/skep/{text}"));
        }
        for text in [
            "",
            "service/default/web",
            "services/web",
            "nodes/a/b",
            "services//web",
            "tasks/a/b",
            "tasks/a/b/c/d/e",
            "tasks/a/b/",
            "allocations/nodes/7",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
        assert_eq!(event_prefix("/skep/"), "/skep-events/");
    }
}
