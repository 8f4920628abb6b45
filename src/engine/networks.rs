//! Networks and volumes of an engine: of the agent's state and of overlays, and no more.

use super::Error;
use super::constants::CALL;
use super::docker::{Docker, Id};
use super::door::Network;
use super::inspect::nullable;
use super::wire::{Wire, encode};
use crate::api::uid::ContainerId;
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A network as the engine lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

/// Networks with a label.
pub(super) async fn list(docker: &Docker, label: &str) -> Result<Vec<Network>, Error> {
    let call = "networks";
    let filters = json!({"label": [label]}).to_string();
    let path = format!("/networks?filters={}", encode(&filters));
    let work = docker.wire.get_json::<Vec<Listed>>(call, &path);
    let found = docker.wire.within(call, CALL, work).await?.into_iter();
    let network = |found: Listed| Network {
        id: found.id,
        name: found.name,
        labels: found.labels,
    };
    Ok(found.map(network).collect())
}

/// Makes a network; its id.
pub(super) async fn create(docker: &Docker, body: &Value) -> Result<String, Error> {
    let call = "create_network";
    let work = async {
        let response = post(&docker.wire, call, "/networks/create", body).await?;
        docker.wire.json::<Id>(call, response).await
    };
    Ok(docker.wire.within(call, CALL, work).await?.id)
}

/// Removes a network.
pub(super) async fn remove(docker: &Docker, network: &str) -> Result<(), Error> {
    delete(
        docker,
        "remove_network",
        &format!("/networks/{}", encode(network)),
    )
    .await
}

/// Connects a container to a network.
pub(super) async fn connect(
    docker: &Docker,
    network: &str,
    container: &ContainerId,
    endpoint: &Value,
) -> Result<(), Error> {
    let call = "connect_network";
    let body = json!({"Container": container, "EndpointConfig": endpoint});
    let path = format!("/networks/{}/connect", encode(network));
    let work = async {
        post(&docker.wire, call, &path, &body).await?;
        Ok(())
    };
    docker.wire.within(call, CALL, work).await
}

/// Removes a volume.
pub(super) async fn remove_volume(docker: &Docker, volume: &str) -> Result<(), Error> {
    delete(
        docker,
        "remove_volume",
        &format!("/volumes/{}", encode(volume)),
    )
    .await
}

async fn delete(docker: &Docker, call: &'static str, path: &str) -> Result<(), Error> {
    let request = docker
        .wire
        .request(Method::DELETE, path, Bytes::new(), None);
    let work = async {
        docker.wire.send(call, request).await?;
        Ok(())
    };
    docker.wire.within(call, CALL, work).await
}

async fn post(
    wire: &Wire,
    call: &'static str,
    path: &str,
    body: &Value,
) -> Result<hyper::Response<hyper::body::Incoming>, Error> {
    let json = Some("application/json");
    let request = wire.request(Method::POST, path, Bytes::from(body.to_string()), json);
    wire.send(call, request).await
}
