//! Three members on the loopback: skep goes on when one of them dies, whichever it is.

use crate::server::{free_address, programs};
use crate::support::*;
use etcd_client::Client;
use skep::api::unit::Revision;
use skep::store::config::StoreConfig;
use skep::store::etcd::Etcd;
use skep::store::{Compare, Kv, LEASE_TTL, Outcome, Session, Txn, WatchEvent};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// How soon a write that failed is tried again.
const PAUSE: Duration = Duration::from_millis(50);

struct Member {
    client: String,
    peer: String,
    child: Option<Child>,
}

/// Three members; they end with it.
struct Cluster {
    program: String,
    members: Vec<Member>,
    data: TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }
}

impl Cluster {
    async fn start(program: &str) -> Self {
        let member = |_| Member {
            client: free_address(),
            peer: free_address(),
            child: None,
        };
        let mut cluster = Self {
            program: program.to_owned(),
            members: (0..3).map(member).collect(),
            data: TempDir::new().unwrap(),
        };
        for number in 0..3 {
            cluster.run(number);
        }
        for number in 0..3 {
            cluster.answers(number).await;
        }
        cluster
    }

    /// Starts a member (again), with the data that it has.
    fn run(&mut self, number: usize) {
        let peers = self.members.iter().enumerate();
        let peers: Vec<_> = peers
            .map(|(n, member)| format!("m{n}=http://{}", member.peer))
            .collect();
        let log = self.data.path().join(format!("m{number}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log);
        let log = log.unwrap();
        let member = &self.members[number];
        let (client, peer) = (
            format!("http://{}", member.client),
            format!("http://{}", member.peer),
        );
        let child = Command::new(&self.program)
            .args(["--name", &format!("m{number}"), "--data-dir"])
            .arg(self.data.path().join(format!("m{number}")))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.join(",")])
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        self.members[number].child = Some(child);
    }

    /// `kill -9`.
    fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until a member takes part.
    async fn answers(&self, number: usize) {
        let kv = Etcd::new(&self.config(&[number])).unwrap();
        let what = format!("member {number} answers");
        eventually(&what, async || {
            skep::store::list::latest_revision(&kv, "/c/").await.is_ok()
        })
        .await;
    }

    /// The endpoints of these members, in this order.
    fn config(&self, numbers: &[usize]) -> StoreConfig {
        let endpoint = |number: &usize| format!("http://{}", self.members[*number].client);
        StoreConfig {
            endpoints: numbers.iter().map(endpoint).collect(),
            ..StoreConfig::plain("")
        }
    }

    async fn leader(&self) -> usize {
        for (number, member) in self.members.iter().enumerate() {
            let mut client = Client::connect([&member.client], None).await.unwrap();
            let status = client.status().await.unwrap();
            if status.leader() == status.header().unwrap().member_id() {
                return number;
            }
        }
        panic!("three members that answer have a leader");
    }
}

/// Puts a key that nobody has put, as often as it takes; a repetition finds what an unknown outcome left.
async fn insist(kv: &dyn Kv, key: &str) {
    let txn = Txn {
        compares: vec![Compare::Missing(key.to_owned())],
        ..then(vec![put(key, "")])
    };
    let work = async {
        loop {
            match kv.txn(&txn).await {
                Ok(Outcome::Committed { .. } | Outcome::Refused { .. }) => return,
                Ok(Outcome::Unknown { error }) | Err(error) => {
                    assert!(error.is_retryable(), "{key}: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    within(key, work).await;
}

/// Follows all keys below `/c/`, and goes on after each break from where it was.
fn follow(kv: Arc<Etcd>, seen: Arc<Mutex<Vec<String>>>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut last = Revision(0);
        loop {
            let Ok(mut stream) = watch(&*kv, "/c/", Revision(last.0 + 1)).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Some(Ok(batch)) = futures::StreamExt::next(&mut stream).await {
                for event in batch.events {
                    if let WatchEvent::Put(kv) = event {
                        seen.lock().unwrap().push(kv.key);
                    }
                }
                last = batch.revision;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_watches_and_leases_outlive_the_leader_and_the_member_that_is_spoken_to() {
    for program in programs() {
        let mut cluster = Cluster::start(&program).await;
        let leader = cluster.leader().await;
        let spoken_to = (leader + 1) % 3;
        // Twice the usual: an election on a busy machine is not what is looked at here.
        let ttl = LEASE_TTL * 2;
        // The first endpoint is the one that is spoken to.
        let kv = Arc::new(
            Etcd::new(&cluster.config(&[spoken_to, leader, 3 - leader - spoken_to])).unwrap(),
        );
        let session = Session::open(kv.clone(), ttl, boottime()).await.unwrap();
        commit(&*kv, vec![put_leased("/held", "", Some(session.lease()))]).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let following = follow(kv.clone(), seen.clone());

        let mut written = Vec::new();
        for (round, victim) in [
            ("before", None),
            ("leader", Some(leader)),
            ("peer", Some(spoken_to)),
        ] {
            if let Some(victim) = victim {
                cluster.kill(victim);
            }
            for n in 0..20 {
                let key = format!("/c/{round}/{n}");
                insist(&*kv, &key).await;
                written.push(key);
            }
            let what = format!("the watch shows what was written ({round})");
            eventually(&what, async || seen.lock().unwrap().len() >= written.len()).await;
            assert!(session.is_valid_now(), "{round}: the lease is lost");
            if let Some(victim) = victim {
                cluster.run(victim);
                cluster.answers(victim).await;
            }
        }
        assert_eq!(*seen.lock().unwrap(), written, "each once and in order");
        let held = skep::store::list(&*kv, "/held").await.unwrap();
        assert_eq!(held.kvs.len(), 1, "its lease was kept alive");
        following.abort();
        session.close().await.unwrap();
    }
}

/// The program itself; it ends with the value.
struct Manager(Child);

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_goes_on_when_the_leader_dies() {
    for program in programs() {
        let mut cluster = Cluster::start(&program).await;
        let config = cluster.config(&[0, 1, 2]);
        let log = std::fs::File::create(cluster.data.path().join("manager.log")).unwrap();
        let manager = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["manager", "--name", "m1", "--metrics-listen", "127.0.0.1:0"])
            .args(["--endpoints", &config.endpoints.join(",")])
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut manager = Manager(manager);
        let kv = Etcd::new(&config).unwrap();
        for name in ["before", "after", "again"] {
            if name != "before" {
                let leader = cluster.leader().await;
                cluster.kill(leader);
                accepted(&kv, &format!("missing-{name}")).await;
                cluster.run(leader);
                cluster.answers(leader).await;
            }
            accepted(&kv, name).await;
        }
        assert!(manager.0.try_wait().unwrap().is_none(), "it runs on");
    }
}

/// Puts a service and waits until the manager has accepted it.
async fn accepted(kv: &Etcd, name: &str) {
    let value = "{replicas: 1, template: {container: 'nothing:1'}}";
    let key = format!("/skep/services/default/{name}");
    let what = format!("{name} is accepted");
    eventually(&what, async || {
        let there = skep::store::list(kv, &key).await;
        if there.is_ok_and(|there| there.kvs.is_empty()) {
            // The outcome shows in the next look.
            let _ = kv.txn(&then(vec![put(&key, value)])).await;
        }
        let record = format!("/skep/accepted/services/default/{name}");
        let records = skep::store::list(kv, &record).await;
        records.is_ok_and(|records| !records.kvs.is_empty())
    })
    .await;
}
