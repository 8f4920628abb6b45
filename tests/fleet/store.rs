//! etcd stops, dies, freezes, forgets, goes back: what runs goes on, and nothing is repeated.

use super::history::History;
use super::see::Running;
use super::world::{SLEEP, World, until_soon};
use crate::support::etcd::{Etcd, series};
use crate::support::fleet::Transport;
use skep::api::cluster::{Cluster, Manager};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Long enough that leases, pings and deadlines of every kind have run out.
const LONG: Duration = Duration::from_secs(15);

#[tokio::test]
async fn etcd_fails_in_every_way_and_what_runs_goes_on() {
    let mut world = World::new("store", 3, Transport::Plain).await;
    world.start_manager("m1", &[]);
    world.nodes_are_ready().await;
    world.put_service("web", &spec(6)).await;
    let web = world.settled("web", 6).await;
    let history = History::start(&world, "store").await;

    silence(&mut world, &web, Silence::Stopped).await;
    silence(&mut world, &web, Silence::Killed).await;
    silence(&mut world, &web, Silence::Frozen).await;
    compaction(&mut world, &web).await;
    assert_eq!(history.changes("web"), 0, "nothing was done to web");

    let nine = restored(&mut world, &web, &history).await;
    let changes = history.changes("web");
    wiped(&mut world, &nine).await;
    forgotten(&mut world, &nine).await;
    assert_eq!(history.changes("web"), changes, "nothing was done to web");
    history.nothing_doubled("web");

    world.put_service("web", &spec(10)).await;
    world.settled("web", 10).await;
    world.passed("after all of it the cluster works");
}

fn spec(replicas: usize) -> String {
    format!("{{replicas: {replicas}, template: {{container: {SLEEP}}}}}")
}

/// How etcd does not answer.
#[derive(Clone, Copy, Debug)]
enum Silence {
    Stopped,
    Killed,
    Frozen,
}

async fn silence(world: &mut World, web: &Running, how: Silence) {
    let metrics = until_soon(
        "m1 is registered with where it serves metrics",
        async || world.record::<Manager>("managers/m1").await?.metrics,
    )
    .await;
    match how {
        Silence::Stopped => world.etcd.stop().await,
        Silence::Killed => world.etcd.kill(),
        Silence::Frozen => world.etcd.freeze(),
    }
    until_soon(
        "the manager says that the store does not answer",
        async || {
            let answer = http_get(&metrics, "/readyz").await?;
            let is_told = answer.starts_with("HTTP/1.1 503") && answer.contains("store");
            is_told.then_some(())
        },
    )
    .await;
    let health = http_get(&metrics, "/healthz").await.expect("it answers");
    assert!(health.starts_with("HTTP/1.1 200"), "it lives: {health}");
    tokio::time::sleep(LONG).await;
    let running = world.containers("web").await;
    let ids: Vec<&str> = running.iter().map(|one| one.id.as_str()).collect();
    for one in web.values() {
        assert!(ids.contains(&one.id.as_str()), "containers go on");
    }
    // A container that ends meanwhile is for later.
    match how {
        Silence::Stopped | Silence::Killed => world.etcd.run().await,
        Silence::Frozen => world.etcd.thaw(),
    }
    until_soon("the manager is ready again", async || {
        let answer = http_get(&metrics, "/readyz").await?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    works(world).await;
    assert_eq!(world.settled("web", 6).await, *web, "the same containers");
    world.passed(&format!(
        "etcd {how:?} for a while: containers go on, the manager continues"
    ));
}

/// The manager acts on what is new, so it is back at work and has looked at what is old.
async fn works(world: &World) {
    world.put_service("probe", &spec(1)).await;
    world.settled("probe", 1).await;
    world.remove_service("probe").await;
}

/// The history that a manager missed is compacted: it lists anew and misses no delete. Once while it is away, and once
/// while it sleeps over its open watch.
async fn compaction(world: &mut World, web: &Running) {
    for is_away in [true, false] {
        world.put_service("passing", &spec(3)).await;
        world.settled("passing", 3).await;
        if is_away {
            world.stop_manager("m1").await;
        } else {
            world.manager("m1").freeze();
        }
        world.delete("services/default/passing").await;
        if !is_away {
            // Its connection breaks as well, so that it has to watch again from where it was.
            world.etcd.kill();
            world.etcd.run().await;
        }
        for number in 0..50 {
            world
                .etcd
                .ctl(&["put", "/other/key", &number.to_string()])
                .await;
        }
        let status = world.etcd.ctl(&["get", "/other/key", "-w", "json"]).await;
        let status: serde_json::Value = serde_json::from_str(&status).expect("etcdctl's JSON");
        let revision = status["header"]["revision"].to_string();
        world.etcd.ctl(&["compact", &revision]).await;
        if is_away {
            world.start_manager("m1", &[]);
        } else {
            world.manager("m1").thaw();
        }
        until_soon("what was deleted is gone", async || {
            let record = world
                .etcd
                .get("/skep/accepted/services/default/passing")
                .await;
            let left = world.containers("passing").await;
            (record.is_none() && left.is_empty()).then_some(())
        })
        .await;
        assert_eq!(world.settled("web", 6).await, *web);
    }
    world.passed("a compaction while the manager is away, or asleep: no missed delete");
}

async fn incarnation(world: &World) -> Option<u64> {
    let cluster: Cluster = world.record("cluster").await?;
    cluster
        .adopting_since
        .is_none()
        .then_some(cluster.incarnation.0)
}

/// A snapshot from before a scale-up is restored: nothing stops, and the larger number finds its containers.
async fn restored(world: &mut World, web: &Running, history: &History) -> Running {
    let life = incarnation(world).await.expect("nothing is being adopted");
    let snapshot = world.etcd.snapshot("before").await;
    world.put_service("web", &spec(9)).await;
    let nine = world.settled("web", 9).await;
    let changes = history.changes("web");
    world.etcd.restore(&snapshot).await;
    until_soon("a new life of the store has begun", async || {
        incarnation(world).await.filter(|now| *now > life)
    })
    .await;
    world.event("cluster", "StoreRewound").await;
    works(world).await;
    let running = world.containers("web").await;
    let running = running.iter().filter(|one| one.is_running).count();
    assert_eq!(running, 9, "nothing is stopped");
    for (slot, one) in web {
        assert_eq!(nine[slot].id, one.id);
    }
    world.put_service("web", &spec(9)).await;
    assert_eq!(world.settled("web", 9).await, nine, "all nine are adopted");
    assert_eq!(history.changes("web"), changes, "nothing was done to them");
    world.passed("an older snapshot is restored: nothing stops, what runs is adopted");
    nine
}

/// The store is wiped under a running manager; nodes and manifests are put again.
async fn wiped(world: &mut World, nine: &Running) {
    let before: Cluster = world.record("cluster").await.expect("there is a cluster");
    world.etcd.wipe();
    world.etcd.run().await;
    until_soon("the manager writes the cluster's record back", async || {
        let cluster: Cluster = world.record("cluster").await?;
        (cluster.id == before.id && cluster.incarnation > before.incarnation).then_some(())
    })
    .await;
    world.put_nodes().await;
    world.nodes_are_ready().await;
    world.put_service("web", &spec(9)).await;
    assert_eq!(world.settled("web", 9).await, *nine, "the same containers");
    works(world).await;
    assert_eq!(world.settled("web", 9).await, *nine);
    world.passed("etcd is wiped, manifests are put again: what runs is adopted");
}

/// The store is wiped and no manager remembers the cluster: what runs is another cluster's until somebody says its id.
async fn forgotten(world: &mut World, nine: &Running) {
    let before: Cluster = world.record("cluster").await.expect("there is a cluster");
    world.kill_manager("m1");
    world.etcd.wipe();
    world.etcd.run().await;
    world.put_nodes().await;
    world.start_manager("m2", &[]);
    let event = world.event("cluster", "ForeignCluster").await;
    assert!(event.message.contains(before.id.as_str()), "{event:?}");
    world.stop_manager("m2").await;
    world.start_manager("m1", &["--cluster-id", before.id.as_str()]);
    until_soon("the cluster has its id back", async || {
        let cluster: Cluster = world.record("cluster").await?;
        (cluster.id == before.id).then_some(())
    })
    .await;
    world.put_service("web", &spec(9)).await;
    assert_eq!(world.settled("web", 9).await, *nine, "the same containers");
    world.passed(
        "a fresh manager on a wiped store touches nothing until it is told the cluster's id",
    );
}

/// One GET without a library: status line, headers and body as text.
pub(crate) async fn http_get(address: &str, path: &str) -> Option<String> {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    tokio::time::timeout(Duration::from_secs(5), ask)
        .await
        .ok()?
}

/// Every etcd release with TLS, client certificates and users: the manager signs in with a password.
#[tokio::test]
async fn the_manager_signs_in_to_an_etcd_with_tls_and_users() {
    let mut world = World::new("access", 1, Transport::Plain).await;
    for (series, name) in series().into_iter().zip(["m1", "m2"]) {
        world = world.with_store(Etcd::with_tls(series).await);
        for command in [
            // The tests themselves are the user that their certificate names.
            ["user", "add", "root:secret"].as_slice(),
            &["user", "grant-role", "root", "root"],
            &["user", "add", "client:secret"],
            &["user", "grant-role", "client", "root"],
            &["role", "add", "skep"],
            &[
                "role",
                "grant-permission",
                "skep",
                "--prefix=true",
                "readwrite",
                "/skep",
            ],
            &["user", "add", "skep:pa:ss"],
            &["user", "grant-role", "skep", "skep"],
            &["auth", "enable"],
        ] {
            world.etcd.ctl(command).await;
        }
        world.put_nodes().await;
        world.start_manager(name, &["--user", "skep:pa:ss"]);
        world.put_service("web", &spec(2)).await;
        world.settled("web", 2).await;
        world.remove_service("web").await;
        world.stop_manager(name).await;
        world.passed(&format!(
            "etcd {series} with TLS, client certificates and users"
        ));
    }
}
