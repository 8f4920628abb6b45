//! Containers of others in attachable networks: seen by the engine's events, reported, never touched.
//!
//! Their going and coming is told in events of networks, and before a container runs; so those of containers that are not ours
//! count as well. Whatever was heard, the engine is asked once for all of them, at most every [`GATHER`]. An engine that tells
//! nothing is asked when its containers are listed anew.

use super::plane::Made;
use crate::api::allocation::Vni;
use crate::api::status::Stranger;
use crate::api::uid::Uid;
use crate::controllers::task::container::{Claim, whose};
use crate::controllers::task::driver::{Connection, Ended, within};
use crate::dataplane::address::{Dual, Mac};
use crate::engine::{Attached, EngineEvent, Error};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How long events are gathered.
const GATHER: Duration = Duration::from_millis(200);

impl Connection {
    /// An event may be about somebody who joins or leaves an attachable network.
    pub(in crate::controllers::task) fn hear_of_others(&self, event: &EngineEvent) {
        let plane = self.plane();
        let is_attachable = |made: &&Made| made.block.is_some();
        let mut attachable = plane.made().values().filter(is_attachable);
        let is_about_one = match event.action.as_str() {
            "start" | "die" => attachable.next().is_some(),
            "connect" | "disconnect" => {
                let network = event.attributes.get(EngineEvent::NETWORK);
                network.is_some_and(|id| attachable.any(|made| made.id == *id))
            }
            _ => false,
        };
        if is_about_one {
            self.stranger_doubts.notify_one();
        }
    }

    /// Asks for them whenever they may be others.
    pub(in crate::controllers::task) async fn follow_strangers(self: Arc<Self>) -> Ended {
        loop {
            self.stranger_doubts.notified().await;
            sleep(GATHER).await;
            if let Err(error) = self.look_at_strangers().await {
                return error.into();
            }
        }
    }

    /// Looks who is in the engine's attachable networks.
    pub(in crate::controllers::task) async fn look_at_strangers(&self) -> Result<(), Error> {
        let networks: BTreeMap<String, (Vni, Option<Dual>)> = {
            let plane = self.plane();
            let made = plane.made().iter();
            let attachable = made.filter(|(_, made)| made.block.is_some());
            attachable
                .map(|(vni, made)| (made.id.clone(), (*vni, made.dual())))
                .collect()
        };
        let listed = match networks.is_empty() {
            true => Vec::new(),
            false => {
                let ids: Vec<&str> = networks.keys().map(String::as_str).collect();
                let call = self.engine.attached(&ids);
                within(&*self.engine, "attached", call).await?
            }
        };
        let found = strangers(listed, &networks, self.served());
        if self.plane().attached(found) {
            self.tell();
        }
        Ok(())
    }
}

/// Those of the listed containers that are not ours.
fn strangers(
    listed: Vec<Attached>,
    networks: &BTreeMap<String, (Vni, Option<Dual>)>,
    cluster: &Uid,
) -> Vec<Stranger> {
    let others = listed.into_iter().filter(|one| {
        let claim = whose(&one.labels, &one.name, cluster);
        !matches!(claim, Claim::Ours(_))
    });
    let found = others.filter_map(|one| {
        let (network, dual) = *networks.get(&one.network)?;
        let goes_with = dual.and_then(|dual| dual.version6(one.address));
        let is_other = |address: &Ipv6Addr| dual.is_some() && goes_with != Some(*address);
        Some(Stranger {
            network,
            address: one.address,
            address6: one.address6.filter(is_other),
            bridged: one.hardware == Mac::of_container(one.address).to_string(),
            name: one.name,
            container: one.container,
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, network: &str, hardware: &str) -> Attached {
        Attached {
            network: network.into(),
            container: format!("id-of-{name}").into(),
            name: name.into(),
            labels: BTreeMap::new(),
            address: "10.9.0.130".parse().unwrap(),
            address6: None,
            hardware: hardware.into(),
        }
    }

    #[test]
    fn who_is_not_ours_is_reported_with_what_its_frames_need() {
        let networks = BTreeMap::from([("net".to_owned(), (Vni(70_000), None))]);
        let cluster = Uid::from("c");
        let copy = Attached {
            labels: BTreeMap::from([("dev.skep.cluster".to_owned(), "c".to_owned())]),
            ..listed("copy", "net", "02:42:0a:09:00:82")
        };
        let all = vec![
            listed("db", "net", "9a:00:00:00:00:01"),
            listed("else", "other", ""),
            copy,
        ];
        let found = strangers(all, &networks, &cluster);
        let shown = found.iter().map(|one| (one.name.as_str(), one.bridged));
        assert_eq!(shown.collect::<Vec<_>>(), [("db", false), ("copy", true)]);
        assert!(found.iter().all(|one| one.network == Vni(70_000)));
    }

    #[test]
    fn an_address_of_ipv6_is_told_where_it_does_not_go_with_the_other() {
        let dual = Dual {
            subnet: "10.9.0.0/24".parse().unwrap(),
            subnet6: "fd00:9::/64".parse().unwrap(),
        };
        let told = |dual: Option<Dual>, address: &str| {
            let networks = BTreeMap::from([("net".to_owned(), (Vni(70_000), dual))]);
            let one = Attached {
                address6: address.parse().ok(),
                ..listed("db", "net", "")
            };
            strangers(vec![one], &networks, &Uid::from("c"))[0].address6
        };
        assert_eq!(told(Some(dual), "fd00:9::82"), None);
        assert_eq!(told(Some(dual), "fd00:9::83"), "fd00:9::83".parse().ok());
        assert_eq!(told(Some(dual), ""), None);
        assert_eq!(told(None, "fd00:9::83"), None, "it is not ours to speak of");
    }
}
