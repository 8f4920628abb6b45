//! The calls about containers and the engine itself.

use crate::subject::{engine, make, name, run, spec, url};
use serde_json::json;
use skep::engine::{Connector, ContainerState, DockerConnector, Engine, Error};
use std::time::Duration;

#[tokio::test]
async fn the_connector_makes_engines_that_answer() {
    let engine = DockerConnector.connect(&spec(&url())).await.unwrap();
    engine.ping().await.unwrap();
    assert_eq!(engine.address(), url());
}

#[tokio::test]
async fn identity_says_who_the_engine_is() {
    let identity = engine().await.identity().await.unwrap();
    assert!(!identity.id.is_empty());
    assert!(!identity.version.is_empty());
    assert_eq!(identity.os, "linux");
    assert!(identity.cpus > 0 && identity.memory > 0);
    assert!(
        identity.plugins.contains(&"network/bridge".to_owned()),
        "{identity:?}"
    );
    let (major, minor) = identity.api_version.split_once('.').unwrap();
    let minor: u32 = minor.parse().unwrap();
    assert!(major == "1" && (41..=51).contains(&minor), "{identity:?}");
}

#[tokio::test]
async fn a_container_goes_through_its_life() {
    let made =
        make(json!({"Cmd": ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]})).await;
    let (engine, id) = (&made.engine, &made.id);

    let created = made.inspect().await;
    assert_eq!(created.name, made.name);
    assert_eq!(created.state, ContainerState::Created);
    assert_eq!((created.started_at, created.finished_at), (None, None));

    engine.start(id).await.unwrap();
    engine.start(id).await.expect("304: it runs already");
    let running = made.inspect().await;
    assert_eq!(running.state, ContainerState::Running);
    assert!(running.started_at.is_some() && running.finished_at.is_none());
    assert_eq!(running.addresses.len(), 1, "{running:?}");

    let refused = engine.remove(id, false).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");

    engine.stop(id, Duration::from_millis(4500)).await.unwrap();
    engine
        .stop(id, Duration::ZERO)
        .await
        .expect("304: it does not run");
    let ended = made.ended().await;
    assert_eq!(ended.exit_code, 3);
    assert!(ended.finished_at >= ended.started_at);
    assert!(!ended.oom_killed);

    engine.remove(id, false).await.unwrap();
    let gone = engine.inspect(id.as_str()).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
    assert!(!gone.is_retryable() && !gone.is_ambiguous());
}

#[tokio::test]
async fn a_stop_kills_after_the_grace() {
    let made = run("trap '' TERM; while :; do sleep 0.1; done").await;
    made.engine
        .stop(&made.id, Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(made.ended().await.exit_code, 137);
}

#[tokio::test]
async fn force_removes_what_runs_with_its_anonymous_volumes() {
    let made = make(json!({
        "Cmd": ["sleep", "1000"], "HostConfig": {"Mounts": [{"Type": "volume", "Target": "/v"}]},
    }))
    .await;
    made.engine.start(&made.id).await.unwrap();
    made.engine.remove(&made.id, true).await.unwrap();
    let again = made.engine.remove(&made.id, true).await.unwrap_err();
    assert!(matches!(again, Error::NotFound { .. }), "{again}");
}

#[tokio::test]
async fn list_finds_by_label_what_runs_and_what_does_not() {
    let value = name();
    let body = json!({"Labels": {"dev.skep.test": value}, "Cmd": ["true"]});
    let (one, two) = (make(body.clone()).await, make(body).await);
    one.engine.start(&one.id).await.unwrap();
    one.ended().await;
    let mut found = one.engine.list("dev.skep.test", &value).await.unwrap();
    found.sort();
    let mut expected = vec![one.id.clone(), two.id.clone()];
    expected.sort();
    assert_eq!(found, expected);
    let any = one.engine.list("dev.skep.test", "").await.unwrap();
    assert!(
        expected.iter().all(|id| any.contains(id)),
        "an empty value lists all that carry the label"
    );
    assert!(
        one.engine
            .list("dev.skep.test", "x=y&z")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_taken_name_is_a_conflict() {
    let made = make(json!({})).await;
    let body = json!({"Image": crate::image::BUSYBOX});
    let error = made
        .engine
        .create(&made.name, &body.to_string())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert!(error.to_string().contains(&made.name), "{error}");
}

#[tokio::test]
async fn an_image_that_is_not_there_is_not_found() {
    let body = json!({"Image": "skep-test/nothing:1"});
    let error = engine()
        .await
        .create(&name(), &body.to_string())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_failed_start_leaves_a_container_that_never_ran() {
    let made = make(json!({"Cmd": ["/no/such/program"]})).await;
    let error = made.engine.start(&made.id).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    let seen = made.inspect().await;
    assert_eq!(
        (seen.state, seen.started_at),
        (ContainerState::Created, None)
    );
    assert!(!seen.error.is_empty());
}

#[tokio::test]
async fn a_health_check_is_read() {
    let check = json!({"Test": ["CMD", "true"], "Interval": 1_000_000_000u64});
    let made = make(json!({"Cmd": ["sleep", "1000"], "Healthcheck": check})).await;
    assert_eq!(made.inspect().await.health, None, "it has not run yet");
    made.engine.start(&made.id).await.unwrap();
    let healthy = Some(skep::api::task::Health::Healthy);
    made.until("healthy", |seen| seen.health == healthy).await;
}

#[tokio::test]
async fn a_port_that_the_engine_chose_is_told() {
    let made = make(json!({
        "Cmd": ["sleep", "1000"], "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
    }))
    .await;
    made.engine.start(&made.id).await.unwrap();
    let [port] = &made.inspect().await.ports[..] else {
        panic!("one port: {:?}", made.inspect().await);
    };
    assert!(port.published.0 > 0);
    assert_eq!(port.target.0, 80);
    assert_eq!(port.host_ip, "127.0.0.1".parse().ok());
}
