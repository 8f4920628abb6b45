//! What is told of the cluster: there is no status key, only events.

use super::snapshot::{Snapshot, suspects, told_of};
use crate::api::cluster::{Cluster, Severity};
use crate::api::key::Key;
use crate::runtime::plan::Plan;

/// Tells once of each key that means nothing and each record that cannot be read.
pub(super) fn tell_of_keys(snapshot: &Snapshot<'_>, plan: &mut Plan) {
    let is_new = |key: &&String| !snapshot.memory.told.contains(*key);
    for key in snapshot.cache.unknown.iter().filter(is_new) {
        let message = "skep knows services/<namespace>/<name>, networks/<namespace>/<name>, nodes/<name> and \
                       scale/<namespace>/<name>: this key is left alone and means nothing";
        plan.note(key, None, Severity::Warning, "UnknownKey", message);
    }
    for (key, problem) in snapshot.cache.broken.iter().filter(|(key, _)| is_new(key)) {
        let message = format!(
            "this record of a controller cannot be read and stays as it was last read, if ever: {problem}"
        );
        plan.note(key, None, Severity::Warning, "BrokenRecord", message);
    }
}

/// Tells once of another cluster's containers, where that cluster may be this one with a lost store (rule I3). A mere
/// neighbour is the reaper's to report.
pub(super) fn tell_of_foreign(snapshot: &Snapshot<'_>, record: &Cluster, plan: &mut Plan) {
    for (node, id) in suspects(&snapshot.nodes) {
        if snapshot.memory.told.contains(&told_of(&node, &id)) {
            continue;
        }
        let message = format!(
            "containers of cluster {id} run on node {node}: they are left alone; if that cluster lost its store, start \
             the manager with --cluster-id {id} to take them back"
        );
        plan.note(
            Key::Cluster,
            Some(&record.id),
            Severity::Warning,
            "ForeignCluster",
            message,
        );
    }
}
