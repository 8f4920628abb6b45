//! The labels of a task's container: ours, and those that dashboards for Swarm read.

use super::{ContainerInput, name};
use crate::api::task::service_name;
use std::collections::BTreeMap;
use std::fmt::Display;

/// What all labels of ours begin with.
pub(super) const PREFIX: &str = "dev.skep.";
/// The cluster's id: what `list` asks engines for.
pub const CLUSTER: &str = "dev.skep.cluster";
pub(super) const TASK: &str = "dev.skep.task";
pub(super) const SERVICE: &str = "dev.skep.service";
pub(super) const SLOT: &str = "dev.skep.slot";
pub(super) const REVISION: &str = "dev.skep.revision";
pub(super) const HASH: &str = "dev.skep.hash";
pub(super) const NODE: &str = "dev.skep.node";
pub(super) const STORE_REVISION: &str = "dev.skep.store-revision";
/// The store's life in which a container or a network was made.
pub const INCARNATION: &str = "dev.skep.incarnation";
pub(super) const TERM: &str = "dev.skep.term";
pub(super) const NAMESPACE: &str = "dev.skep.namespace";
pub(super) const NAME: &str = "dev.skep.name";

/// All labels of the container; ours win over the template's.
pub fn labels(input: &ContainerInput<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    each(input, &mut |name, value| {
        labels.insert(name.to_owned(), value.to_string());
    });
    labels
}

/// Tells each label once.
pub(super) fn each(input: &ContainerInput<'_>, tell: &mut dyn FnMut(&str, &dyn Display)) {
    let (service, task) = (
        service_name(input.service),
        name(input.service, &input.task.slot, &input.task.id),
    );
    let ours = ours(input, &service, &task);
    let template = &input.revision.template.container.labels;
    let is_ours = |name: &str| ours.iter().any(|(ours, _)| *ours == name);
    for (name, value) in template.iter().filter(|(name, _)| !is_ours(name)) {
        tell(name, value);
    }
    for (name, value) in ours {
        tell(name, value);
    }
}

/// In order of their names: a map of what comes in order is made with few comparisons.
fn ours<'a>(
    input: &'a ContainerInput<'_>,
    service_name: &'a dyn Display,
    task_name: &'a dyn Display,
) -> [(&'static str, &'a dyn Display); 19] {
    let (service, task, stamp) = (input.service, input.task, &input.stamp);
    [
        ("com.docker.stack.namespace", &service.namespace),
        ("com.docker.swarm.node.id", input.node_uid),
        ("com.docker.swarm.service.id", &task.service),
        ("com.docker.swarm.service.name", service_name),
        // Swarm leaves it empty; dashboards ask only whether it is there.
        ("com.docker.swarm.task", &""),
        ("com.docker.swarm.task.id", &task.id),
        ("com.docker.swarm.task.name", task_name),
        (CLUSTER, input.cluster),
        (HASH, &input.revision.hash),
        (INCARNATION, &stamp.incarnation),
        (NAME, &service.name),
        (NAMESPACE, &service.namespace),
        (NODE, input.node_uid),
        (REVISION, &input.revision.number),
        (SERVICE, &task.service),
        (SLOT, &task.slot),
        (STORE_REVISION, &stamp.revision),
        (TASK, &task.id),
        (TERM, &stamp.term),
    ]
}
