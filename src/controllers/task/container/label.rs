//! The labels of a task's container: ours, and those that dashboards for Swarm read.

use super::{ContainerInput, name};
use crate::api::task::service_name;
use std::collections::BTreeMap;

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
    each(input).collect()
}

/// Each label; of two with one name the later one counts.
pub(super) fn each(input: &ContainerInput<'_>) -> impl Iterator<Item = (String, String)> {
    let ours = swarm(input).into_iter().chain(ours(input));
    let ours = ours.map(|(key, value)| (key.to_owned(), value));
    let template = &input.revision.template.container.labels;
    let template = template
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    template.chain(ours)
}

/// In order of their names, as those of [`swarm`] are: a map of what comes in order is made with few comparisons.
fn ours(input: &ContainerInput<'_>) -> [(&'static str, String); 12] {
    [
        (CLUSTER, input.cluster.to_string()),
        (HASH, input.revision.hash.clone()),
        (INCARNATION, input.stamp.incarnation.to_string()),
        (NAME, input.service.name.to_string()),
        (NAMESPACE, input.service.namespace.to_string()),
        (NODE, input.node_uid.to_string()),
        (REVISION, input.revision.number.to_string()),
        (SERVICE, input.task.service.to_string()),
        (SLOT, input.task.slot.to_string()),
        (STORE_REVISION, input.stamp.revision.to_string()),
        (TASK, input.task.id.to_string()),
        (TERM, input.stamp.term.to_string()),
    ]
}

fn swarm(input: &ContainerInput<'_>) -> [(&'static str, String); 7] {
    let task_name = name(input.service, &input.task.slot, &input.task.id);
    [
        (
            "com.docker.stack.namespace",
            input.service.namespace.to_string(),
        ),
        ("com.docker.swarm.node.id", input.node_uid.to_string()),
        (
            "com.docker.swarm.service.id",
            input.task.service.to_string(),
        ),
        ("com.docker.swarm.service.name", service_name(input.service)),
        // Swarm leaves it empty; dashboards ask only whether it is there.
        ("com.docker.swarm.task", String::new()),
        ("com.docker.swarm.task.id", input.task.id.to_string()),
        ("com.docker.swarm.task.name", task_name),
    ]
}
