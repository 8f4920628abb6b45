//! A cluster's store as controllers leave it, and what is to be found of it elsewhere.

pub(crate) use crate::support::stores::Stores;
use skep::api::cluster::Cluster;
use skep::embedded::memory::Memory;
use skep::store::{Kv, RangeRequest};

/// The cluster of all these tests.
pub(crate) const ID: &str = "0000000000000000000000001";

/// A cluster with a service and what controllers wrote for it, in its second life.
pub(crate) fn cluster() -> Memory {
    let store = Memory::new();
    fill(&store);
    store
}

pub(crate) fn fill(store: &Memory) {
    store.put("/skep/cluster", record(2).as_str());
    for (key, value) in CONTENT {
        store.put(&format!("/skep/{key}"), *value);
    }
}

/// The record of [`ID`] in a life.
pub(crate) fn record(life: u64) -> String {
    format!(r#"{{"id":"{ID}","incarnation":{life},"format":1}}"#)
}

/// What goes along. The values need not be whole records: nobody reads them on the way.
pub(crate) const CONTENT: &[(&str, &str)] = &[
    (
        "services/default/web",
        "# mine\nreplicas: 2\ntemplate: {container: a:1}\n",
    ),
    ("nodes/n1", "{engine: 'unix:///run/n1.sock', manager: m1}"),
    ("scale/default/web", "3"),
    (
        "accepted/nodes/n1",
        r#"{"uid":"0000000000000000000000007","generation":1,"metadata":{},"spec":{"engine":{"url":"tcp://n1:2375"},"manager":"m1","role":"worker","availability":"active"},"createRevision":1,"modRevision":1,"incarnation":1,"createdAt":"2026-01-02T03:04:05.000Z"}"#,
    ),
    ("bindings/n1/0000000000000000000000abc", "{}"),
    ("tasks/default/web/0000000000000000000000abc", "{}"),
    ("status/tasks/n1/0000000000000000000000abc", "{}"),
    ("revisions/0000000000000000000000009/0000000001", "{}"),
    ("allocations/later", "x"),
];

/// Everything below the prefix but the record.
pub(crate) async fn content(kv: &dyn Kv) -> Vec<(String, String)> {
    let listing = skep::store::list(kv, "/skep/").await.unwrap();
    let kvs = listing.kvs.into_iter();
    kvs.filter(|kv| kv.key != "/skep/cluster")
        .map(|kv| (kv.key, String::from_utf8(kv.value).unwrap()))
        .collect()
}

/// What [`content`] gives for [`CONTENT`].
pub(crate) fn expected() -> Vec<(String, String)> {
    let all = CONTENT.iter();
    let mut all: Vec<_> = all
        .map(|(key, value)| (format!("/skep/{key}"), (*value).to_owned()))
        .collect();
    all.sort();
    all
}

/// The cluster's record.
pub(crate) async fn cluster_of(kv: &dyn Kv) -> Cluster {
    let found = kv.range(RangeRequest::key("/skep/cluster")).await.unwrap();
    serde_json::from_slice(&found.kvs[0].value).unwrap()
}
