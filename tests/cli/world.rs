//! A store, a fleet and a person at a terminal.

use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use skep::api::time::Timestamp;
use skep::api::unit::{LeaseId, Revision};
use skep::cli::{Cli, Doors, Terminal, code};
use skep::embedded::memory::Memory;
use skep::runtime::clock::{Clock, Now};
use skep::sim::SimFleet;
use skep::store::{
    Error, Kv, LeaseStatus, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn, WatchRequest,
    WatchStream,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// It is always a minute after the records were made, so that ages are known.
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Now {
        Now {
            wall: Timestamp::parse("2026-01-02T03:05:05Z").unwrap(),
            since_boot: Duration::from_secs(60),
        }
    }

    fn seed(&self) -> u128 {
        1
    }
}

/// How a verb ended.
pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct World {
    pub(crate) store: Arc<Memory>,
    pub(crate) fleet: SimFleet,
    pub(crate) directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::new(Memory::new()),
            fleet: SimFleet::new(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs `skep` with these words and nothing on standard input.
    pub(crate) async fn skep(&self, words: &str) -> Said {
        self.skep_with(words, "").await
    }

    /// Runs `skep` with these words and a text on standard input.
    pub(crate) async fn skep_with(&self, words: &str, input: &str) -> Said {
        self.skep_until(words, input, std::future::pending()).await
    }

    /// Runs `skep` until it ends or the person interrupts.
    pub(crate) async fn skep_until(
        &self,
        words: &str,
        input: &str,
        interrupted: impl Future<Output = ()> + Send + 'static,
    ) -> Said {
        let store = self.store.clone();
        self.skep_over(store, words, input, interrupted).await
    }

    /// Runs `skep` over another store than the world's.
    pub(crate) async fn skep_over(
        &self,
        store: Arc<dyn Kv>,
        words: &str,
        input: &str,
        interrupted: impl Future<Output = ()> + Send + 'static,
    ) -> Said {
        let arguments: Vec<&str> = std::iter::once("skep")
            .chain(words.split_whitespace())
            .collect();
        let cli = match Cli::try_parse_from(arguments) {
            Ok(cli) => cli,
            Err(error) => panic!("`skep {words}`: {error}"),
        };
        let (terminal, captured) = Terminal::captured(input.as_bytes());
        let doors = Doors {
            store: Box::new(move |_| {
                let store = store.clone();
                Box::pin(async move { Ok(store) })
            }),
            connector: Arc::new(self.fleet.clone()),
            clock: Arc::new(Stopped),
            terminal,
            environment: BTreeMap::new(),
            directory: PathBuf::from("/nonexistent"),
            interrupted: Box::pin(interrupted),
            grammar: Cli::command(),
        };
        let code = code(cli, doors).await;
        Said {
            code,
            out: captured.take_out(),
            err: captured.take_err(),
        }
    }

    /// Runs a verb that has to succeed; its output.
    pub(crate) async fn ok(&self, words: &str) -> String {
        let said = self.skep(words).await;
        assert_eq!(said.code, 0, "`skep {words}`: {}{}", said.out, said.err);
        said.out
    }

    /// Writes a file; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The value of a key below the prefix.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let kv = self.store.get(&format!("/skep/{key}"))?;
        Some(String::from_utf8(kv.value).unwrap())
    }

    pub(crate) fn put(&self, key: &str, value: &str) -> i64 {
        self.store.put(&format!("/skep/{key}"), value).0
    }

    pub(crate) fn put_json(&self, key: &str, value: &Value) -> i64 {
        self.put(key, &value.to_string())
    }

    pub(crate) fn revision(&self) -> i64 {
        self.store.revision().0
    }

    /// What the owning controller writes for the present user value of an object.
    pub(crate) fn accept(&self, key: &str, generation: u64) {
        let user = self.store.get(&format!("/skep/{key}")).unwrap();
        let parts: Vec<&str> = key.split('/').collect();
        let kind = skep::api::name::Kind::from_plural(parts[0]).unwrap();
        let object = skep::api::name::ObjectKey {
            kind,
            namespace: if parts.len() == 3 {
                parts[1].into()
            } else {
                String::new()
            },
            name: (*parts.last().unwrap()).into(),
        };
        let manifest = skep::api::manifest::parse_value(&object, &user.value).unwrap();
        let record = json!({
            "uid": UID, "generation": generation, "metadata": manifest.metadata,
            "spec": manifest.spec.to_value(),
            "createRevision": user.create_revision, "modRevision": user.mod_revision,
            "incarnation": 1, "createdAt": "2026-01-02T03:04:05.000Z",
        });
        self.put_json(&format!("accepted/{key}"), &record);
    }

    /// What the service controller says of a service.
    pub(crate) fn counts(&self, key: &str, generation: u64, wanted: u32, ready: u32) {
        let status = json!({
            "uid": UID, "observedGeneration": generation,
            "conditions": [condition("Accepted", "True", ""), condition("Available", "True", "enough")],
            "replicas": {"wanted": wanted, "running": ready, "ready": ready, "updated": ready, "pending": 0},
        });
        self.put_json(&format!("status/{key}/service"), &status);
    }

    /// A node at a simulated engine, accepted and ready.
    pub(crate) fn node(&self, name: &str) {
        let url = format!("tcp://{name}:2375");
        self.fleet.add_at(&url, name);
        self.put(&format!("nodes/{name}"), &format!("{{engine: '{url}'}}"));
        self.accept(&format!("nodes/{name}"), 1);
        let health = json!({"uid": UID, "engine": {"state": "ready", "version": "28.5.2", "cpus": "4", "memory": "8GiB"}});
        self.put_json(&format!("status/nodes/{name}/health"), &health);
    }

    /// A task of `default/web` in a slot, bound to a node and running in a container there.
    pub(crate) async fn task(
        &self,
        id: &str,
        slot: u32,
        node: &str,
    ) -> skep::api::uid::ContainerId {
        use skep::engine::Connector;
        let spec = skep::api::node::EngineSpec {
            url: format!("tcp://{node}:2375"),
            tls: None,
        };
        let engine = self.fleet.get(&spec.url).unwrap();
        let container = engine
            .make_by_hand(&format!("web.{slot}.{id}"), &[], true)
            .unwrap();
        drop(self.fleet.connect(&spec).await.unwrap());
        let task = json!({
            "id": id, "service": UID, "revision": 1, "slot": {"replica": slot}, "desired": "running",
            "createdAt": "2026-01-02T03:04:05.000Z",
        });
        self.put_json(&format!("tasks/default/web/{id}"), &task);
        let binding = json!({
            "task": id, "service": UID, "namespace": "default", "serviceName": "web", "node": UID,
            "boundAt": "2026-01-02T03:04:05.000Z",
        });
        self.put_json(&format!("bindings/{node}/{id}"), &binding);
        let status = json!({
            "task": id, "service": UID, "node": UID, "state": "running", "container": container,
            "addresses": ["172.17.0.2"],
            "ports": [{"published": 32768, "protocol": "tcp", "target": 80}],
            "since": "2026-01-02T03:04:05.000Z",
        });
        self.put_json(&format!("status/tasks/{node}/{id}"), &status);
        container
    }
}

pub(crate) fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Because", "message": message,
        "lastTransitionTime": "2026-01-02T03:04:05.000Z",
    })
}

/// One uid is enough for objects of different names.
pub(crate) const UID: &str = "0000000000000000000000001";

pub(crate) const WEB: &str = "\
# the shop's front
apiVersion: skep.dev/v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3   # three are enough
  template: {container: {image: \"nginx:1.27\"}}
";

/// A store in which somebody else writes a key just before each transaction.
pub(crate) struct Meddled {
    store: Arc<Memory>,
    key: String,
    value: String,
}

impl Meddled {
    pub(crate) fn new(world: &World, key: &str, value: &str) -> Arc<Self> {
        Arc::new(Self {
            store: world.store.clone(),
            key: key.into(),
            value: value.into(),
        })
    }
}

#[async_trait::async_trait]
impl Kv for Meddled {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.store.range(request).await
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        self.store.put(&self.key, self.value.as_str());
        self.store.txn(txn).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        self.store.watch(request).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.store.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.store.revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.store.compact(revision).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        self.store.status().await
    }
}
