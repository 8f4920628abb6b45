//! Acceptance of nodes: the user's value becomes the spec in force. Pure.
//!
//! The rules of every kind are `runtime::accept`'s. Here is what a node adds: a `unix://` engine names the manager whose
//! socket it is, because the same path on another host is another engine (rule I4).

use super::Read;
use super::snapshot::Snapshot;
use crate::api::name::ObjectKey;
use crate::api::node::NodeSpec;
use crate::api::service::Annotated;
use crate::api::uid::Ids;
use crate::runtime::accept::{Acceptance, Context, REASON_INVALID, Refused, Written, decide};

/// Reason: a `unix://` engine without the manager whose socket it is.
pub const REASON_MANAGER_MISSING: &str = "ManagerMissing";

/// What becomes of the accepted record.
pub fn accept(snapshot: &Snapshot<'_>, read: Read, ids: &mut Ids) -> Acceptance<NodeSpec> {
    let context = Context {
        incarnation: snapshot.incarnation,
        now: snapshot.now.wall,
        before: snapshot.conditions(),
    };
    let written = snapshot.user.map(|stored| Written {
        stored,
        parsed: parse(snapshot, read, &stored.value),
    });
    decide(written, snapshot.accepted, &context, ids)
}

fn parse(
    snapshot: &Snapshot<'_>,
    read: Read,
    value: &[u8],
) -> Result<(Annotated, NodeSpec), Refused> {
    let object = ObjectKey::node(snapshot.name);
    let (metadata, spec) = read(&object, value).map_err(|message| Refused {
        reason: REASON_INVALID,
        message,
    })?;
    if is_socket(&spec) && spec.manager.is_none() {
        let managers: Vec<&str> = snapshot.managers.iter().map(String::as_str).collect();
        return Err(Refused {
            reason: REASON_MANAGER_MISSING,
            message: format!(
                "spec.manager: {} is a socket of one machine; write the name of the manager that runs there (registered: {})",
                spec.engine.url,
                if managers.is_empty() {
                    "none".into()
                } else {
                    managers.join(", ")
                },
            ),
        });
    }
    Ok((metadata, spec))
}

/// Whether the engine is reached by a socket of one machine.
pub fn is_socket(spec: &NodeSpec) -> bool {
    spec.engine.url.starts_with("unix://")
}
