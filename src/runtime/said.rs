//! What controllers say of nodes, found by the node's name alone. Pure.
//!
//! A planner that looks at all nodes asks for three statuses of each, and with a thousand nodes that is what most of a
//! manager's time went into: under keys of objects each of these takes three texts from the allocator, and the search follows a
//! pointer for every comparison.

use super::cache::Stored;
use crate::api::name::{Kind, NodeName, ObjectKey};
use crate::api::status::Status;
use crate::api::text::Text;
use std::collections::BTreeMap;

/// By node and controller, of which there are a few.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(BTreeMap<NodeName, Vec<(Text, Stored<Status>)>>);

impl Said {
    /// What all controllers say of a node.
    pub(super) fn all(&self, node: &NodeName) -> &[(Text, Stored<Status>)] {
        self.0.get(node).map_or(&[], Vec::as_slice)
    }

    /// What one controller says of a node.
    pub(super) fn of(&self, node: &NodeName, controller: &str) -> Option<&Stored<Status>> {
        by(self.all(node), controller)
    }

    /// What stands under the key of a controller and an object now; nothing: it is gone. Of other objects than nodes nothing
    /// is kept.
    pub(super) fn take(
        &mut self,
        object: &ObjectKey,
        controller: &Text,
        found: Option<Stored<Status>>,
    ) {
        if object.kind != Kind::Node {
            return;
        }
        let node = object.node_name();
        let all = self.0.entry(node.clone()).or_default();
        all.retain(|(by, _)| by != controller);
        all.extend(found.map(|status| (controller.clone(), status)));
        if all.is_empty() {
            self.0.remove(&node);
        }
    }
}

/// What one controller says, of what all say.
pub(super) fn by<'a>(
    all: &'a [(Text, Stored<Status>)],
    controller: &str,
) -> Option<&'a Stored<Status>> {
    let said = all.iter().find(|(by, _)| by == controller);
    said.map(|(_, status)| status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::unit::{LeaseId, Revision};
    use std::sync::Arc;

    fn status(revision: i64) -> Option<Stored<Status>> {
        Some(Stored {
            value: Arc::new(Status::default()),
            create_revision: Revision(1),
            mod_revision: Revision(revision),
            lease: LeaseId(0),
        })
    }

    #[test]
    fn the_newest_of_each_controller_is_found_until_it_is_gone() {
        let mut said = Said::default();
        let node = NodeName::from("n1");
        let object = ObjectKey::node(&node);
        said.take(&object, &"health".into(), status(3));
        said.take(&object, &"task".into(), status(4));
        said.take(&object, &"health".into(), status(5));
        let revision = |said: &Said, by: &str| said.of(&node, by).map(|found| found.mod_revision.0);
        assert_eq!(revision(&said, "health"), Some(5));
        assert_eq!(revision(&said, "task"), Some(4));
        said.take(&object, &"health".into(), None);
        assert_eq!(revision(&said, "health"), None);
        said.take(&object, &"task".into(), None);
        assert!(said.0.is_empty());
    }

    #[test]
    fn an_object_of_another_kind_is_no_node() {
        let mut said = Said::default();
        let network = ObjectKey {
            kind: Kind::Network,
            namespace: "default".into(),
            name: "n1".into(),
        };
        said.take(&network, &"health".into(), status(3));
        assert!(said.0.is_empty());
    }
}
