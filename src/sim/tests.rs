use super::clock::SimClock;
use super::court::Court;
use super::line::{Hearing, Line, Way};
use super::process::Process;
use super::*;
use crate::api::node::EngineSpec;
use crate::api::task::Health;
use crate::api::uid::ContainerId;
use crate::api::unit::Revision;
use crate::embedded::memory::Memory;
use crate::engine::{Connector, ContainerState, Engine, Error};
use crate::runtime::clock::{Clock, timer_now};
use crate::spawn;
use crate::store::{self, Kv, Op, Outcome, RangeRequest, Txn, WatchRequest};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An engine with one image.
fn engine() -> SimEngine {
    let engine = SimEngine::new("n1");
    engine.add_image("web:1");
    engine
}

async fn create(engine: &SimEngine, name: &str) -> Result<ContainerId, Error> {
    let body = json!({"Image": "web:1", "Labels": {"c": "1"}});
    engine.create(name, &body.to_string()).await
}

async fn running(engine: &SimEngine, name: &str) -> ContainerId {
    let id = create(engine, name).await.unwrap();
    engine.start(&id).await.unwrap();
    id
}

#[tokio::test]
async fn an_address_of_ipv6_is_given_where_the_network_has_it_and_it_is_nobodys() {
    let engine = engine();
    engine.lighten_agent();
    let pool = json!({"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1", "IPRange": "10.9.0.128/28"});
    let pool6 =
        json!({"Subnet": "fd00:9::/64", "Gateway": "fd00:9::1", "IPRange": "fd00:9::80/124"});
    let both = json!({
        "Name": "both", "EnableIPv6": true, "IPAM": {"Config": [pool, pool6]},
        "Labels": {"dev.skep.subnet": "10.9.0.0/24"},
    });
    let plain = json!({"Name": "plain", "EnableIPv6": false, "IPAM": {"Config": [pool]}});
    engine.create_network(&both).await.unwrap();
    engine.create_network(&plain).await.unwrap();
    let start = async |name: &str, network: &str, address6: &str| {
        let last = name.len();
        let own = json!({"IPv4Address": format!("10.9.0.{last}"), "IPv6Address": address6});
        let networks = json!({"EndpointsConfig": {network: {"IPAMConfig": own}}});
        let body = json!({"Image": "web:1", "NetworkingConfig": networks});
        let id = engine.create(name, &body.to_string()).await.unwrap();
        engine.start(&id).await.map_err(|error| error.to_string())
    };
    assert_eq!(start("aa", "both", "fd00:9::2").await, Ok(()));
    let seen = engine.inspect("aa").await.unwrap().addresses;
    let expected: Vec<IpAddr> = vec!["10.9.0.2".parse().unwrap(), "fd00:9::2".parse().unwrap()];
    assert_eq!(seen, expected);
    for (name, network, address6, why) in [
        ("aaa", "both", "fd00:9::2", "already in use"),
        ("aaaa", "both", "fd00:9::1", "no configured subnet"),
        ("aaaaa", "both", "fd00:8::2", "no configured subnet"),
        ("aaaaaa", "plain", "fd00:9::6", "no configured subnet"),
    ] {
        let refused = start(name, network, address6).await.unwrap_err();
        assert!(refused.contains(why), "{name}: {refused}");
    }
    engine.attach_by_hand("other", "both").unwrap();
    let seen = engine.inspect("other").await.unwrap().addresses;
    let expected: Vec<IpAddr> = vec!["10.9.0.128".parse().unwrap(), "fd00:9::8f".parse().unwrap()];
    assert_eq!(seen, expected, "each from its range");
}

#[tokio::test]
async fn a_container_goes_through_its_life() {
    let engine = engine();
    let mut events = engine.events().await.unwrap();
    let id = running(&engine, "a").await;
    engine.start(&id).await.expect("it runs already");
    let seen = engine.inspect("a").await.unwrap();
    assert_eq!(seen.state, ContainerState::Running);
    assert!(seen.started_at.is_some());
    assert!(matches!(
        engine.remove(&id, false).await,
        Err(Error::Conflict { .. })
    ));
    engine.stop(&id, Duration::from_secs(10)).await.unwrap();
    assert_eq!(engine.inspect(id.as_str()).await.unwrap().exit_code, 143);
    engine.remove(&id, false).await.unwrap();
    assert!(matches!(
        engine.inspect("a").await,
        Err(Error::NotFound { .. })
    ));

    engine.drop_events();
    let mut actions = Vec::new();
    while let Some(Ok(event)) = events.next().await {
        actions.push(event.action);
    }
    assert_eq!(actions, ["create", "start", "die", "destroy"]);
    assert!(
        events.next().await.is_none(),
        "after the error comes the end"
    );
    assert_eq!(engine.count("start"), 2);
    assert!(engine.violations().is_empty());
}

#[tokio::test]
async fn names_are_unique_and_images_have_to_be_there() {
    let engine = engine();
    create(&engine, "a").await.unwrap();
    assert!(matches!(
        create(&engine, "a").await,
        Err(Error::Conflict { .. })
    ));
    let missing = engine
        .create("b", &json!({"Image": "db:1"}).to_string())
        .await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));

    engine.pull("db:1", &|_| {}).await.unwrap();
    engine
        .create("b", &json!({"Image": "db:1"}).to_string())
        .await
        .unwrap();
    engine.set_registry(Registry::Unreachable);
    assert!(
        engine
            .pull("x:1", &|_| {})
            .await
            .unwrap_err()
            .is_retryable()
    );
    engine.set_registry(Registry::Only(["y:1".into()].into()));
    assert!(
        !engine
            .pull("x:1", &|_| {})
            .await
            .unwrap_err()
            .is_retryable()
    );
}

#[tokio::test]
async fn what_ran_and_is_started_again_is_a_violation() {
    let engine = engine();
    let id = running(&engine, "a").await;
    engine.exit(&id, 1);
    engine.start(&id).await.unwrap();
    assert_eq!(engine.violations().len(), 1, "{:?}", engine.violations());
}

#[tokio::test]
async fn ambiguous_faults_have_their_effect_and_others_do_not() {
    let engine = engine();
    engine.fail("create", Fault::TimeoutAfter, 1);
    engine.fail("create", Fault::TimeoutBefore, 1);
    engine.fail("create", Fault::server_error("disk full"), 1);
    assert!(create(&engine, "a").await.unwrap_err().is_ambiguous());
    assert!(create(&engine, "b").await.unwrap_err().is_ambiguous());
    let refused = create(&engine, "c").await.unwrap_err();
    assert!(matches!(refused, Error::Refused { status: 500, .. }));
    create(&engine, "d").await.expect("the faults are used up");
    let names: Vec<_> = engine.containers().into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["a", "d"]);
}

#[tokio::test]
async fn a_list_may_lack_the_newest() {
    let engine = engine();
    let first = create(&engine, "a").await.unwrap();
    let second = create(&engine, "b").await.unwrap();
    engine.fail("list", Fault::HideNewest, 1);
    assert_eq!(engine.list("c", "1").await.unwrap().len(), 1);
    assert_eq!(engine.list("c", "1").await.unwrap(), [first, second]);
    assert!(engine.list("c", "2").await.unwrap().is_empty());
    assert_eq!(engine.list("c", "").await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_unreachable_engine_keeps_its_containers() {
    let engine = engine();
    running(&engine, "a").await;
    let mut events = engine.events().await.unwrap();
    engine.set_reachable(false);
    assert!(matches!(engine.ping().await, Err(Error::Connect { .. })));
    assert!(matches!(
        events.next().await,
        Some(Err(Error::Broken { .. }))
    ));
    engine.set_reachable(true);
    engine.ping().await.unwrap();
    assert_eq!(engine.running().len(), 1);
    engine.reboot();
    assert_eq!(engine.running().len(), 0);
    assert_eq!(engine.containers()[0].exit_code, 137);
}

#[tokio::test]
async fn behaviours_decide_what_a_start_does() {
    let engine = engine();
    engine.set_behaviour("web:1", Behaviour::Exit(3));
    let id = running(&engine, "a").await;
    let seen = engine.inspect(id.as_str()).await.unwrap();
    assert_eq!((seen.state, seen.exit_code), (ContainerState::Exited, 3));

    engine.set_behaviour("web:1", Behaviour::RefuseStart("no such program".into()));
    let id = create(&engine, "b").await.unwrap();
    assert!(!engine.start(&id).await.unwrap_err().is_retryable());
    let seen = engine.inspect("b").await.unwrap();
    assert_eq!(
        (seen.state, seen.started_at),
        (ContainerState::Created, None)
    );
    assert_eq!(seen.error, "no such program");
}

#[tokio::test(start_paused = true)]
async fn a_stubborn_container_takes_the_whole_grace() {
    let engine = engine();
    engine.set_behaviour("web:1", Behaviour::Stubborn);
    let id = running(&engine, "a").await;
    let stop = engine.stop(&id, Duration::from_secs(10));
    let early = tokio::time::timeout(Duration::from_secs(9), stop).await;
    assert!(early.is_err(), "it still runs");
    engine.stop(&id, Duration::from_secs(10)).await.unwrap();
    assert_eq!(engine.inspect("a").await.unwrap().exit_code, 137);
}

#[tokio::test(start_paused = true)]
async fn latency_passes_before_the_effect() {
    let engine = engine();
    engine.set_latency("create", Duration::from_secs(5));
    let early = tokio::time::timeout(Duration::from_secs(4), create(&engine, "a")).await;
    assert!(early.is_err() && engine.containers().is_empty());
    create(&engine, "a").await.unwrap();
}

#[tokio::test]
async fn health_and_ports_are_as_the_body_asks() {
    let engine = engine();
    let body = json!({
        "Image": "web:1", "Healthcheck": {"Test": ["CMD", "true"]},
        "HostConfig": {"PortBindings": {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}], "53/udp": [{"HostIp": "", "HostPort": ""}],
        }},
    });
    let first = engine.create("a", &body.to_string()).await.unwrap();
    engine.start(&first).await.unwrap();
    let seen = engine.inspect("a").await.unwrap();
    assert_eq!(seen.health, Some(Health::Starting));
    let mut ports: Vec<_> = seen.ports.iter().map(|port| port.published.0).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 32768]);
    engine.set_health(&first, Health::Healthy);
    assert_eq!(
        engine.inspect("a").await.unwrap().health,
        Some(Health::Healthy)
    );

    let second = engine.create("b", &body.to_string()).await.unwrap();
    let taken = engine.start(&second).await.unwrap_err();
    assert!(
        taken.to_string().contains("port is already allocated"),
        "{taken}"
    );
    assert_eq!(engine.inspect("b").await.unwrap().started_at, None);
}

#[tokio::test]
async fn a_fleet_hands_out_its_engines_by_url() {
    let fleet = SimFleet::new();
    let engine = fleet.add("n1");
    let connect = |url: &str| {
        let url = url.to_owned();
        let fleet = fleet.clone();
        async move { fleet.connect(&EngineSpec { url, tls: None }).await.unwrap() }
    };
    connect("sim://n1").await.ping().await.unwrap();
    assert_eq!(engine.count("ping"), 1);
    let nobody = connect("sim://n2").await.ping().await;
    assert!(matches!(nobody, Err(Error::Connect { .. })));

    let other = SimEngine::at("sim://n1", "other");
    fleet.replace("sim://n1", other);
    let identity = connect("sim://n1").await.identity().await.unwrap();
    assert_ne!(identity.id, engine.identity().await.unwrap().id);
}

#[tokio::test]
async fn events_come_as_badly_as_they_are_told() {
    let engine = engine();
    let mut events = engine.events().await.unwrap();
    let mut heard = Vec::new();
    for telling in [Telling::Twice, Telling::Swapped, Telling::EverySecond] {
        engine.tell(telling);
        running(&engine, &format!("{telling:?}")).await;
        engine.tell(Telling::Well);
        while let Some(Some(Ok(event))) = events.next().now_or_never() {
            heard.push(event.action);
        }
    }
    let expected = [
        "create", "create", "start", "start", "start", "create", "create",
    ];
    assert_eq!(heard, expected);
}

/// A manager's line to a store, and the court that it is on record in.
fn line() -> (Memory, Line) {
    let store = Memory::new();
    let court = Court::new(store.clone());
    (store.clone(), Line::to(store, "m1", court))
}

fn put(key: &str) -> Txn {
    let put = Op::Put {
        key: key.into(),
        value: b"v".to_vec(),
        lease: None,
    };
    Txn {
        then: vec![put],
        ..Txn::default()
    }
}

#[tokio::test(start_paused = true)]
async fn over_a_deaf_line_what_is_sent_arrives_and_nothing_comes_back() {
    let (store, line) = line();
    line.set(Way::Deaf);
    let outcome = line.txn(&put("/skep/a")).await;
    assert!(
        matches!(outcome, Ok(Outcome::Unknown { .. })),
        "{outcome:?}"
    );
    assert!(store.get("/skep/a").is_some());
    let found = line.range(RangeRequest::key("/skep/a")).await;
    assert!(
        matches!(found, Err(store::Error::Timeout { .. })),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_comes_late_twice_and_split() {
    let (store, line) = line();
    line.txn(&put("/skep/a")).await.unwrap();
    line.txn(&put("/skep/b")).await.unwrap();
    let lag = Duration::from_secs(3);
    line.set_hearing(Hearing {
        lag,
        twice: true,
        split: true,
    });
    let start = Revision(2);
    let prefix = "/skep/".into();
    let mut heard = line.watch(WatchRequest { prefix, start }).await.unwrap();
    let before = timer_now();
    let mut revisions = Vec::new();
    for _ in 0..4 {
        revisions.push(heard.next().await.unwrap().unwrap().revision.0);
    }
    assert_eq!(revisions, [2, 2, 3, 3], "{:?}", store.revision());
    assert_eq!(timer_now() - before, lag);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_process_does_nothing_until_it_wakes_and_a_part_of_it_neither() {
    let process = Arc::new(Process::default());
    let ticks = Arc::new(AtomicU64::new(0));
    let told = ticks.clone();
    let tick = async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            told.fetch_add(1, Ordering::Relaxed);
        }
    };
    let whole = async move { spawn::task(tick).await };
    let run = tokio::spawn(spawn::behind(process.clone(), whole));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    process.stop();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ticks.load(Ordering::Relaxed), 2);
    process.wake();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(
        ticks.load(Ordering::Relaxed),
        4,
        "one was due, one came since"
    );
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn clocks_of_two_machines_are_set_apart() {
    let one = SimClock::new(1);
    let other = one.another();
    other.set_ahead(-5_000);
    let (right, wrong) = (one.now(), other.now());
    assert_eq!(right.wall.0 - wrong.wall.0, 5_000);
    assert_eq!(right.since_boot, wrong.since_boot);
    assert_ne!(one.seed(), other.seed(), "both draw from one source");
}
