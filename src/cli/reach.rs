//! Dials the engine of a task's node from this machine, or says from where it can be reached.

use super::error::Error;
use super::session::Session;
use crate::api::name::NodeName;
use crate::api::node::NodeSpec;
use crate::engine::{self, Engine};
use crate::runtime::cache::Cache;
use std::sync::Arc;

/// The engine of a node.
pub(super) async fn engine(
    session: &Session,
    cache: &Cache,
    node: &NodeName,
) -> Result<Arc<dyn Engine>, Error> {
    let Some(accepted) = cache.nodes.get(node) else {
        return Err(Error::refused(format!("node {node} is not there any more")));
    };
    dial(session, node, &accepted.spec).await
}

/// The engine of a node with this spec.
pub(super) async fn dial(
    session: &Session,
    node: &NodeName,
    spec: &NodeSpec,
) -> Result<Arc<dyn Engine>, Error> {
    let dialled = session.connector.connect(&spec.engine).await;
    let engine = dialled.map_err(|source| failed(node, spec, source))?;
    match engine.ping().await {
        Ok(()) => Ok(engine),
        Err(source) => Err(failed(node, spec, source)),
    }
}

/// An engine's failure with the place from which it can be reached.
pub(super) fn failed(node: &NodeName, spec: &NodeSpec, source: engine::Error) -> Error {
    let hint = match (&spec.manager, &spec.engine.tls) {
        (Some(manager), _) => format!(
            "{} is a socket on the machine of manager {manager}: run the command there",
            spec.engine.url
        ),
        (None, Some(tls)) => format!(
            "run the command on a machine that reaches {} and has {}, {} and {}, such as a manager's",
            spec.engine.url, tls.ca, tls.cert, tls.key
        ),
        (None, None) => format!(
            "run the command on a machine that reaches {}, such as a manager's",
            spec.engine.url
        ),
    };
    Error::Engine {
        node: node.to_string(),
        hint,
        source,
    }
}
