//! Seam until the branch `engine` is merged.
use crate::api::name::{NodeName, Scoped};
use crate::api::status::Claim;
use crate::api::task::{Binding, ServiceRevision, Slot, Stamp, Task};
use crate::api::uid::{TaskId, Uid};
use crate::engine::Container;
/// seam
pub struct ContainerInput<'a> {
    /// seam
    pub cluster: &'a Uid,
    /// seam
    pub service: &'a Scoped,
    /// seam
    pub task: &'a Task,
    /// seam
    pub revision: &'a ServiceRevision,
    /// seam
    pub binding: &'a Binding,
    /// seam
    pub node: &'a NodeName,
    /// seam
    pub stamp: Stamp,
}
/// seam
pub fn name(service: &Scoped, slot: &Slot, task: &TaskId) -> String {
    format!("{}.{slot}.{task}", service.name)
}
/// seam
pub fn body(input: &ContainerInput<'_>) -> serde_json::Value {
    let claim = Claim {
        cluster: input.cluster.clone(),
        task: input.task.id.clone(),
        service: input.task.service.clone(),
        namespace: input.service.namespace.clone(),
        name: input.service.name.clone(),
        slot: input.task.slot.clone(),
        revision: input.task.revision,
        hash: input.revision.hash.clone(),
        node: input.binding.node.clone(),
        stamp: input.stamp,
    };
    serde_json::json!({"Labels": {"claim": serde_json::to_string(&claim).unwrap_or_default(),
        "dev.skep.cluster": input.cluster.as_str()}})
}
/// seam
pub fn claim(container: &Container) -> Option<Claim> {
    serde_json::from_str(container.labels.get("claim")?).ok()
}
