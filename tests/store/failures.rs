//! Endpoints that are dead, frozen or gone: every call ends in time, and says what it proves.

use crate::server::{Server, free_address, programs};
use crate::support::*;
use skep::api::unit::Revision;
use skep::store::config::StoreConfig;
use skep::store::etcd::Etcd;
use skep::store::list::{latest_revision, list};
use skep::store::{Error, Kv, Outcome, PING_DEADLINE, PING_INTERVAL, STORE_DEADLINE};
use std::time::Duration;

/// Runs a call that must end by the deadline, with room for a busy machine.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let limit = STORE_DEADLINE * 3;
    let done = tokio::time::timeout(limit, call).await;
    done.unwrap_or_else(|_| panic!("the call did not end within {limit:?}"))
}

fn config(endpoints: &[&str]) -> StoreConfig {
    let endpoint = |address: &&str| format!("http://{address}");
    StoreConfig {
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..StoreConfig::plain("")
    }
}

#[tokio::test]
async fn where_nobody_listens_a_call_errs_at_once_and_names_the_endpoints() {
    let (a, b) = (free_address(), free_address());
    let kv = Etcd::new(&config(&[&a, &b])).unwrap();
    // Nothing was sent, so it is an error and not an unknown outcome.
    let error = in_time(kv.txn(&then(vec![put("/t/a", "")])))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unreachable { .. }), "{text}");
    assert!(text.contains(&a) && text.contains(&b), "{text}");
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    for program in programs() {
        let server = Server::start(&program).await;
        let kv = Etcd::new(&config(&[&free_address(), &server.address])).unwrap();
        for n in 0..20 {
            commit(&kv, vec![put(&format!("/t/{n}"), "")]).await;
        }
        let mut stream = watch(&kv, "/t/", Revision(1)).await.unwrap();
        assert_eq!(next(&mut stream).await.unwrap().events.len(), 20);
    }
}

#[tokio::test]
async fn a_frozen_endpoint_leaves_a_write_unknown_and_the_next_call_goes_elsewhere() {
    for program in programs() {
        let frozen = Server::start(&program).await;
        let other = Server::start(&program).await;
        let kv = Etcd::new(&config(&[&frozen.address, &other.address])).unwrap();
        commit(&kv, vec![put("/t/a", "")]).await;
        frozen.freeze();
        let outcome = in_time(kv.txn(&then(vec![put("/t/b", "")]))).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        in_time(commit(&kv, vec![put("/t/c", "")])).await;
        assert_eq!(list(&other.client(), "/t/").await.unwrap().kvs.len(), 1);
    }
}

#[tokio::test]
async fn a_frozen_server_ends_calls_and_watches_and_a_thawed_one_is_found_again() {
    for program in programs() {
        let server = Server::start(&program).await;
        let kv = server.client();
        let first = commit(&kv, vec![put("/t/a", "")]).await;
        let mut stream = watch(&kv, "/t/", Revision(first.0 + 1)).await.unwrap();
        server.freeze();
        let error = in_time(latest_revision(&kv, "/t/")).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        // The call that ran into its deadline ends the watch of its endpoint as well.
        let ended = in_time(next(&mut stream)).await.unwrap_err();
        assert!(matches!(ended, Error::WatchEnded { .. }), "{ended}");
        assert!(in_time(kv.grant(Duration::from_secs(5))).await.is_err());
        assert!(in_time(watch(&kv, "/t/", first)).await.is_err());
        server.thaw();
        eventually("the store answers again", async || {
            latest_revision(&kv, "/t/").await.is_ok()
        })
        .await;
        let mut stream = watch(&kv, "/t/", first).await.unwrap();
        assert_eq!(changes(&mut stream, 1).await, format!("+/t/a@{first}"));
    }
}

#[tokio::test]
async fn a_watch_alone_on_a_frozen_server_ends_by_the_pings() {
    for program in programs() {
        let server = Server::start(&program).await;
        let kv = server.client();
        let mut stream = watch(&kv, "/t/", Revision(0)).await.unwrap();
        server.freeze();
        let limit = PING_INTERVAL + PING_DEADLINE * 2;
        let ended = tokio::time::timeout(limit, next(&mut stream)).await;
        let ended = ended.expect("the pings end it").unwrap_err();
        assert!(matches!(ended, Error::WatchEnded { .. }), "{ended}");
    }
}

#[tokio::test]
async fn a_killed_server_ends_its_watches() {
    for program in programs() {
        let server = Server::start(&program).await;
        let kv = server.client();
        let mut stream = watch(&kv, "/t/", Revision(0)).await.unwrap();
        drop(server);
        let ended = next(&mut stream).await.unwrap_err();
        assert!(matches!(ended, Error::WatchEnded { .. }), "{ended}");
    }
}

/// etcd closes connections whose client pings too often (`--grpc-keepalive-min-time`, 5 s).
#[tokio::test]
async fn an_idle_watch_stays_open() {
    for program in programs() {
        let server = Server::start(&program).await;
        let kv = server.client();
        let mut stream = watch(&kv, "/t/", Revision(0)).await.unwrap();
        // Real time: it is the server's clock that counts the pings.
        let quiet = tokio::time::timeout(PING_INTERVAL * 4, next(&mut stream)).await;
        assert!(quiet.is_err(), "{quiet:?}");
        commit(&server.client(), vec![put("/t/a", "")]).await;
        assert_eq!(next(&mut stream).await.unwrap().events.len(), 1);
    }
}
