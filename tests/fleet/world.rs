//! A cluster under test: real engines, a real etcd, and `skep manager` as processes.
//!
//! What is wanted is put with etcdctl, and what is there is read with etcdctl and the docker client (see [`super::see`]), so
//! that nothing of the program under test vouches for itself.

use crate::support::etcd::Etcd;
use crate::support::fleet::{Fleet, Transport};
use crate::support::image;
use crate::support::node::Node;
use crate::support::process::{Process, skep};
use crate::support::wait::until;
use std::collections::BTreeMap;
use std::time::Duration;

/// For states: generous, for a machine of two cores that does other things as well. Never a measure of speed.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// What a service's containers run: it ends at once when it is killed, and never by itself.
pub(crate) const SLEEP: &str =
    "{image: 'skep-test/busybox:1', command: [sleep, '1000000'], stopSignal: SIGKILL}";

/// The cluster.
pub(crate) struct World {
    /// Ended first when the world is dropped, so that nothing is logged of what goes after them.
    managers: BTreeMap<&'static str, Process>,
    pub(crate) etcd: Etcd,
    pub(crate) fleet: Fleet,
    title: &'static str,
}

impl World {
    /// `count` engines of several versions, each a node of the store, and no manager yet.
    pub(crate) async fn new(title: &'static str, count: usize, transport: Transport) -> Self {
        let fleet = Fleet::mixed(count, transport).await;
        let tar = image::busybox(fleet.dir());
        let (etcd, ()) = futures::join!(Etcd::start(), fleet.load(&tar));
        let world = Self {
            managers: BTreeMap::new(),
            etcd,
            fleet,
            title,
        };
        world.put_nodes().await;
        world
    }

    /// The same cluster over another store.
    pub(crate) fn with_store(mut self, etcd: Etcd) -> Self {
        self.etcd = etcd;
        self
    }

    /// Tells that a scenario has passed.
    pub(crate) fn passed(&self, scenario: &str) {
        eprintln!("passed: {}: {scenario}", self.title);
    }

    /// Starts a manager with more flags (`--node-grace`). Its log grows over restarts.
    pub(crate) fn start_manager(&mut self, name: &'static str, flags: &[&str]) {
        let mut arguments = self.store_flags();
        arguments.extend(["manager", "--name", name].map(String::from));
        arguments.extend(["--metrics-listen", "127.0.0.1:0"].map(String::from));
        arguments.extend(flags.iter().map(ToString::to_string));
        let process = Process::skep(name, &arguments, self.fleet.dir());
        let before = self.managers.insert(name, process);
        assert!(before.is_none(), "{name} runs already");
    }

    /// The process of a manager.
    pub(crate) fn manager(&self, name: &str) -> &Process {
        &self.managers[name]
    }

    /// `kill -9` of a manager.
    pub(crate) fn kill_manager(&mut self, name: &str) {
        let mut process = self.managers.remove(name).expect("the manager runs");
        assert!(
            process.is_running(),
            "{name} had ended by itself:\n{}",
            process.tail()
        );
        process.kill();
    }

    /// Ends a manager in order.
    pub(crate) async fn stop_manager(&mut self, name: &str) {
        let mut process = self.managers.remove(name).expect("the manager runs");
        let status = process.terminate(SOON).await;
        assert!(status.success(), "{name}: {status}\n{}", process.tail());
    }

    /// Runs `skep ARGS` against the store: exit code and what it printed, errors after the rest.
    pub(crate) async fn skep(&self, arguments: &[&str]) -> (i32, String) {
        let mut all = self.store_flags();
        all.extend(arguments.iter().map(ToString::to_string));
        let output = tokio::process::Command::from(skep(&all))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap_or_else(|error| panic!("cannot run skep: {error}"));
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    fn store_flags(&self) -> Vec<String> {
        let mut flags = vec!["--endpoints".into(), self.etcd.endpoint()];
        if let Some(files) = self.etcd.client_files() {
            let paths = [
                ("--cacert", &files.ca),
                ("--cert", &files.cert),
                ("--key", &files.key),
            ];
            for (flag, path) in paths {
                flags.extend([flag.into(), path.display().to_string()]);
            }
        }
        flags
    }

    /// Puts a value under the prefix, as anyone could.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        let key = format!("/skep/{key}");
        self.etcd.ctl(&["put", &key, "--", value]).await;
    }

    /// Deletes a key.
    pub(crate) async fn delete(&self, key: &str) {
        self.etcd.ctl(&["del", &format!("/skep/{key}")]).await;
    }

    /// Puts a service of the namespace `default` in its short form.
    pub(crate) async fn put_service(&self, name: &str, spec: &str) {
        self.put(&format!("services/default/{name}"), spec).await;
    }

    /// Deletes a service and waits until nothing of it is left, in the store or on the nodes.
    pub(crate) async fn remove_service(&self, name: &str) {
        self.delete(&format!("services/default/{name}")).await;
        until(SOON, &format!("{name} is gone"), async || {
            let record = format!("/skep/accepted/services/default/{name}");
            let is_gone = self.etcd.get(&record).await.is_none();
            let is_clean = is_gone && self.containers(name).await.is_empty();
            is_clean.then_some(())
        })
        .await;
    }

    /// Puts every node of the fleet.
    pub(crate) async fn put_nodes(&self) {
        for node in &self.fleet.nodes {
            self.put_node(node, "").await;
        }
    }

    /// Puts one node, with more of its spec (`availability: drain`).
    pub(crate) async fn put_node(&self, node: &Node, more: &str) {
        let value = node_value(node, more);
        self.put(&format!("nodes/{}", node.name), &value).await;
    }
}

/// Waits for a state, generously.
pub(crate) async fn until_soon<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    until(SOON, what, check).await
}

/// A node's manifest.
pub(crate) fn node_value(node: &Node, more: &str) -> String {
    let tls = node.tls.as_ref().map_or_else(String::new, |files| {
        format!(
            ", tls: {{ca: {:?}, cert: {:?}, key: {:?}}}",
            files.ca, files.cert, files.key
        )
    });
    format!("{{engine: {{url: '{}'{tls}}}, {more}}}", node.url())
}
