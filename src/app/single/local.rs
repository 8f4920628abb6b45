//! This machine's engine as the node `local`: added at the first start, and never changed after.

use super::super::process::{Ended, FAILED};
use super::home::Home;
use crate::api::key::Key;
use crate::api::manifest::{self, Spec};
use crate::api::name::{NodeName, ObjectKey};
use crate::api::node::NodeSpec;
use crate::cli;
use crate::store::{Compare, Error, Kv, Op, Outcome, RangeRequest, Txn};
use std::collections::BTreeMap;
use tracing::{info, warn};

/// The node's name.
const NAME: &str = "local";

/// Where Docker listens unless told otherwise.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// The engine's URL: what was said, the socket that the docker command would use, the usual one.
pub(super) fn engine(said: Option<String>, environment: &BTreeMap<String, String>) -> String {
    let docker = environment.get("DOCKER_HOST").cloned();
    // Anything but a socket is another machine's.
    let docker = docker.filter(|url| url.starts_with("unix://"));
    said.or(docker).unwrap_or_else(|| SOCKET.into())
}

/// Adds the node if it was never added, or the store is a new one.
pub(super) async fn add(
    kv: &dyn Kv,
    prefix: &str,
    engine: &str,
    manager: &str,
    home: &mut Home,
) -> Ended {
    let failed = |error: Error| (FAILED, error.to_string());
    let key = ObjectKey::node(&NodeName::from(NAME));
    let user = Key::User(key.clone()).full(prefix);
    if !home.remembered.has_node || is_new(kv, prefix).await.map_err(failed)? {
        let manifest = cli::up::node(NAME, engine, manager).map_err(|why| (FAILED, why))?;
        let put = Op::Put {
            key: user.clone(),
            value: manifest.into_bytes(),
            lease: None,
        };
        let accepted = Key::Accepted(key.clone()).full(prefix);
        let txn = Txn {
            compares: vec![Compare::Missing(user.clone()), Compare::Missing(accepted)],
            then: vec![put],
            otherwise: Vec::new(),
        };
        match kv.txn(&txn).await.map_err(failed)? {
            Outcome::Committed { .. } => info!(node = NAME, engine, "added this machine's engine"),
            Outcome::Refused { .. } => {}
            Outcome::Unknown { error } => return Err(failed(error)),
        }
        home.remembered.has_node = true;
        home.remember()?;
    }
    let found = kv.range(RangeRequest::key(user)).await.map_err(failed)?;
    let stored = found
        .kvs
        .first()
        .map(|kv| manifest::parse_value(&key, &kv.value));
    if let Some(Ok(manifest)) = stored
        && let Spec::Node(spec) = manifest.spec
    {
        differs(&spec, engine, manager);
    }
    Ok(())
}

/// Whether no manager has ever worked on the store.
async fn is_new(kv: &dyn Kv, prefix: &str) -> Result<bool, Error> {
    let cluster = RangeRequest::key(Key::Cluster.full(prefix));
    Ok(kv.range(cluster).await?.kvs.is_empty())
}

/// Says what a person may have meant to change.
fn differs(spec: &NodeSpec, engine: &str, manager: &str) {
    let url = spec.engine.url.as_str();
    if url != engine {
        warn!(
            node = NAME,
            url, "the node keeps its engine: `skep apply` changes it"
        );
    }
    if let Some(owner) = spec.manager.as_deref().filter(|owner| *owner != manager) {
        warn!(
            node = NAME,
            owner,
            manager,
            "the node's socket belongs to a manager of another name, so nobody drives it: start with --name OWNER, or change spec.manager"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::memory::Memory;

    const KEY: &str = "/skep/nodes/local";

    async fn added(store: &Memory, home: &mut Home) {
        add(store, "/skep/", SOCKET, "here", home).await.unwrap();
    }

    #[tokio::test]
    async fn the_node_is_put_once_and_stays_as_people_want_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut home = Home::take(folder.path()).unwrap();
        let store = Memory::new();
        added(&store, &mut home).await;
        let first = store.get(KEY).unwrap();
        let text = String::from_utf8(first.value.clone()).unwrap();
        assert!(
            text.contains(SOCKET) && text.contains("manager: \"here\""),
            "{text}"
        );
        store.put("/skep/cluster", "{}");
        added(&store, &mut home).await;
        assert_eq!(store.get(KEY).unwrap().mod_revision, first.mod_revision);

        store.delete(KEY);
        added(&store, &mut home).await;
        assert!(store.get(KEY).is_none(), "who removed it meant it");

        store.delete("/skep/cluster");
        added(&store, &mut home).await;
        assert!(store.get(KEY).is_some(), "a new store has no node yet");
    }

    #[tokio::test]
    async fn what_is_there_already_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let mut home = Home::take(folder.path()).unwrap();
        let store = Memory::new();
        store.put(KEY, "{engine: 'tcp://other:2376'}");
        added(&store, &mut home).await;
        let text = String::from_utf8(store.get(KEY).unwrap().value).unwrap();
        assert!(text.contains("tcp://other:2376"), "{text}");
    }

    #[test]
    fn only_a_socket_of_docker_is_this_machine() {
        let with = |host: &str| BTreeMap::from([("DOCKER_HOST".to_owned(), host.to_owned())]);
        assert_eq!(engine(None, &BTreeMap::new()), SOCKET);
        assert_eq!(
            engine(None, &with("unix:///run/me.sock")),
            "unix:///run/me.sock"
        );
        assert_eq!(engine(None, &with("tcp://far:2376")), SOCKET);
        let said = Some("unix:///said.sock".to_owned());
        assert_eq!(
            engine(said, &with("unix:///run/me.sock")),
            "unix:///said.sock"
        );
    }
}
