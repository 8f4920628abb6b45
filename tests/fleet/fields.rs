//! Every field of a container on an engine of each version: what came with newer APIs is proved where they are spoken.

use crate::support::covered;
use crate::support::fields::{self, Proof};
use crate::support::fleet::{Fleet, Transport};
use crate::support::image;
use skep::api::node::EngineSpec;
use skep::engine::{Docker, Engine};

#[tokio::test(flavor = "multi_thread")]
async fn each_field_reaches_an_engine_of_each_version() {
    let fleet = Fleet::start(&covered::engine_versions(), Transport::Plain).await;
    fleet.load(&image::busybox(fleet.dir())).await;
    for node in &fleet.nodes {
        let url = node.url();
        let engine = Docker::new(&EngineSpec { url, tls: None }).expect("the node's URL is right");
        let identity = engine.identity().await.expect("the node's engine answers");
        let numbers = identity.api_version.split_once('.');
        let (major, minor) = numbers.expect("an API version has two numbers");
        let number = |text: &str| text.parse().expect("an API version has two numbers");
        let api = (number(major), number(minor));
        // Nodes lack some of a machine's capabilities: what they make of a field they show without running it.
        let wrong = fields::wrong(&engine, api, Proof::Made).await;
        assert!(wrong.is_empty(), "{}: {}", node.version, wrong.join("\n"));
        eprintln!(
            "passed: fields: Engine {} with API {major}.{minor}",
            identity.version
        );
    }
}
