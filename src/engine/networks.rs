//! Networks and volumes of an engine: of the agent's state and of overlays, and no more.

use super::Error;
use super::constants::CALL;
use super::docker::{Docker, Id};
use super::door::{Attached, Network};
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

/// A container as the engine lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    network_settings: Settings,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    #[serde(default, deserialize_with = "nullable")]
    networks: BTreeMap<String, Place>,
}

#[derive(Deserialize)]
struct Place {
    #[serde(default, rename = "NetworkID", deserialize_with = "nullable")]
    network: String,
    #[serde(default, rename = "IPAddress", deserialize_with = "nullable")]
    address: String,
    #[serde(default, rename = "GlobalIPv6Address", deserialize_with = "nullable")]
    address6: String,
    #[serde(default, rename = "MacAddress", deserialize_with = "nullable")]
    hardware: String,
}

/// Running containers in these networks.
pub(super) async fn attached(docker: &Docker, networks: &[&str]) -> Result<Vec<Attached>, Error> {
    let call = "attached";
    let filters = json!({"network": networks}).to_string();
    let path = format!("/containers/json?filters={}", encode(&filters));
    let work = docker.wire.get_json::<Vec<Member>>(call, &path);
    let found = docker.wire.within(call, CALL, work).await?.into_iter();
    Ok(found.flat_map(|member| places(member, networks)).collect())
}

/// Where a container is in some networks.
fn places(member: Member, networks: &[&str]) -> Vec<Attached> {
    // An alias of a link has another container's name in front.
    let mut names = member
        .names
        .iter()
        .filter_map(|name| name.strip_prefix('/'));
    let name = names.find(|name| !name.contains('/')).unwrap_or_default();
    let places = member.network_settings.networks.values();
    let here = places.filter(|place| networks.contains(&place.network.as_str()));
    let attached = here.filter_map(|place| {
        Some(Attached {
            network: place.network.clone(),
            container: ContainerId::from(member.id.clone()),
            name: name.to_owned(),
            labels: member.labels.clone(),
            // Empty until it is there.
            address: place.address.parse().ok()?,
            address6: place.address6.parse().ok(),
            hardware: place.hardware.clone(),
        })
    });
    attached.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_where_it_is_and_by_its_own_name() {
        let member: Member = serde_json::from_value(json!({
            "Id": "c1", "Names": ["/other/db", "/db"], "Labels": {"a": "b"}, "State": "running",
            "NetworkSettings": {"Networks": {
                "front": {"NetworkID": "n1", "IPAddress": "10.9.0.130", "GlobalIPv6Address": "fd00:9::82", "MacAddress": "9a:00:00:00:00:01"},
                "bridge": {"NetworkID": "n0", "IPAddress": "172.17.0.2"},
                "soon": {"NetworkID": "n2", "IPAddress": "", "MacAddress": null},
            }},
        }))
        .unwrap();
        let places = places(member, &["n1", "n2"]);
        assert_eq!(places.len(), 1, "{places:?}");
        assert_eq!((&*places[0].name, &*places[0].network), ("db", "n1"));
        assert_eq!(places[0].address.to_string(), "10.9.0.130");
        assert_eq!(places[0].address6, "fd00:9::82".parse().ok());
        let bare: Member =
            serde_json::from_value(json!({"Id": "c1", "NetworkSettings": null})).unwrap();
        assert_eq!(super::places(bare, &["n1"]), []);
    }
}
