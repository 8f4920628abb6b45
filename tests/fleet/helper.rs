//! The fleet, etcd and process helpers prove themselves, so that a failure elsewhere is not theirs.

use crate::support::docker::docker;
use crate::support::etcd::{Etcd, series};
use crate::support::fleet::{Fleet, Transport};
use crate::support::image;
use crate::support::wait::until;
use std::time::Duration;

/// Long enough for anything that is expected at once.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn engines_of_several_versions_run_a_container_and_one_returns_after_a_kill() {
    let fleet = Fleet::mixed(3, Transport::Plain).await;
    fleet.load(&image::busybox(fleet.dir())).await;
    for node in &fleet.nodes {
        let id = node
            .docker(&[
                "run",
                "--detach",
                "--name",
                "sleeper",
                "--cap-add",
                "NET_ADMIN",
                image::BUSYBOX,
                "sleep",
                "1000000",
            ])
            .await;
        assert_eq!(id.len(), 64, "an id: {id}");
        let said = node
            .docker(&["exec", "sleeper", "sh", "-c", "echo $((6 * 7))"])
            .await;
        assert_eq!(said, "42");
        let name = node
            .docker(&["info", "--format", "{{index .Labels 0}}"])
            .await;
        assert_eq!(
            name,
            format!("node={}", node.name),
            "the address leads to this node"
        );
    }

    let node = fleet.node(1);
    node.kill().await;
    assert_eq!(
        node.engine_version().await,
        None,
        "a killed engine answers nothing"
    );
    node.start().await;
    let state = node
        .docker(&["inspect", "--format", "{{.State.Status}}", "sleeper"])
        .await;
    assert_eq!(
        state, "exited",
        "a reboot ends what ran, and keeps that it was there"
    );
}

#[tokio::test]
async fn a_node_can_be_frozen_unplugged_and_lose_its_engine() {
    let fleet = Fleet::mixed(1, Transport::Plain).await;
    let node = fleet.node(1);

    node.pause().await;
    assert_eq!(
        node.engine_version().await,
        None,
        "a frozen engine answers nothing"
    );
    node.unpause().await;
    node.ready().await;

    node.disconnect().await;
    assert_eq!(
        node.engine_version().await,
        None,
        "an unplugged engine cannot be reached"
    );
    node.connect().await;
    node.ready().await;

    let before = node.exec("cat /run/engine").await;
    node.kill_engine().await;
    until(SOON, "the node starts its engine again", async || {
        let now = node.exec("cat /run/engine").await;
        (now != before && node.engine_version().await.is_some()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn engines_with_tls_refuse_a_stranger() {
    let fleet = Fleet::mixed(3, Transport::Tls).await;
    let stranger = super::support::certificates::Authority::new(&fleet.dir().join("stranger"));
    for node in &fleet.nodes {
        let mut other = node.clone();
        let mut files = stranger.sign("client", &[]);
        // The stranger trusts the engine; the engine does not trust the stranger.
        files
            .ca
            .clone_from(&node.tls.as_ref().expect("the fleet has TLS").ca);
        other.tls = Some(files);
        let error = other
            .try_docker(&["version"])
            .await
            .expect_err("a stranger is refused");
        assert!(error.contains("certificate"), "{}: {error}", node.version);
    }
}

#[tokio::test]
async fn a_dropped_fleet_leaves_nothing() {
    let fleet = Fleet::mixed(1, Transport::Plain).await;
    let container = fleet.node(1).container.clone();
    let network = fleet.node(1).network.clone();
    drop(fleet);
    let filter = format!("name={container}");
    assert_eq!(
        docker(&["ps", "--all", "--quiet", "--filter", &filter]).await,
        ""
    );
    let filter = format!("name={network}");
    assert_eq!(
        docker(&["network", "ls", "--quiet", "--filter", &filter]).await,
        ""
    );
}

#[tokio::test]
async fn etcd_keeps_its_data_over_a_kill_and_loses_it_when_wiped() {
    for series in series() {
        let mut etcd = Etcd::of(series, &[]).await;
        etcd.ctl(&["put", "a", "1"]).await;
        etcd.kill();
        etcd.run().await;
        assert_eq!(etcd.get("a").await.as_deref(), Some("1"), "{series}");

        let snapshot = etcd.snapshot("before").await;
        etcd.ctl(&["put", "a", "2"]).await;
        etcd.stop().await;
        etcd.run().await;
        assert_eq!(etcd.get("a").await.as_deref(), Some("2"), "{series}");
        etcd.restore(&snapshot).await;
        assert_eq!(etcd.get("a").await.as_deref(), Some("1"), "{series}");

        etcd.freeze();
        assert!(
            etcd.try_ctl(&["get", "a"]).await.is_err(),
            "{series}: a frozen etcd answers nothing"
        );
        etcd.thaw();
        etcd.wipe();
        etcd.run().await;
        assert_eq!(etcd.keys("").await, Vec::<String>::new(), "{series}");
    }
}

#[tokio::test]
async fn etcd_with_tls_asks_for_a_certificate() {
    for series in series() {
        let etcd = Etcd::with_tls(series).await;
        etcd.ctl(&["put", "a", "1"]).await;
        let files = etcd.client_files().expect("it has TLS");
        let ca = files.ca.to_str().expect("a temporary path is text");
        let without = etcd
            .try_ctl(&["--cacert", ca, "--cert", "", "--key", "", "get", "a"])
            .await;
        assert!(without.is_err(), "{series}: no certificate, no answer");
    }
}
