//! What of a node's data plane the engine holds: the agent's container and volume, and a network for each overlay, over
//! the bridge that the agent has made before.

use super::container::{NAME, Next, VOLUME, body, next};
use super::plane::{Made, REFUSED};
use super::session::{Line, Session};
use super::{ANSWER, Trouble};
use crate::api::allocation::Vni;
use crate::api::subnet::Cidr;
use crate::api::task::network_name;
use crate::api::uid::ContainerId;
use crate::api::unit::Incarnation;
use crate::controllers::task::container::{CLUSTER, INCARNATION};
use crate::controllers::task::driver::Connection;
use crate::dataplane::agent::Order as AgentOrder;
use crate::dataplane::kernel::bridge_name;
use crate::dataplane::state::{Network, State};
use crate::engine::{Container, Error};
use crate::runtime::orders::{Failure, Order, Report};
use crate::runtime::view;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};

/// How long an agent has to end by itself; what it programmed stays.
const GRACE: Duration = Duration::from_secs(5);

/// How often what stands under the agent's name is dealt with before it is left for later.
const ATTEMPTS: usize = 6;

/// Label: the overlay's number.
const VNI: &str = "dev.skep.vni";
/// Label: the overlay's subnet.
const SUBNET: &str = "dev.skep.subnet";
/// Label of an overlay that carries IPv6: its subnet of that.
const SUBNET6: &str = "dev.skep.subnet6";
/// Label of an attachable overlay: the node's block of the subnet.
const BLOCK: &str = "dev.skep.block";

impl Connection {
    /// The agent's container, running and of this version; it is made where it is missing.
    pub(super) async fn agent(&self) -> Result<ContainerId, Trouble> {
        let processor = std::env::consts::ARCH;
        if !self.processor.is_empty() && self.processor != processor {
            let why = format!(
                "its processor is {}, and this manager has an agent for {processor}",
                self.processor
            );
            return Err(Trouble::Other("OtherProcessor", why));
        }
        for _ in 0..ATTEMPTS {
            self.check_right()?;
            match self.under_its_name().await? {
                Next::Attach(id) => return Ok(id),
                Next::Leave(why) => return Err(Trouble::Other("NameTaken", why)),
                Next::Create => self.create_agent().await?,
                Next::Start(container) => {
                    taken(self.orders.run(&Order::Start { container }).await)?;
                }
                Next::Replace(container) => self.remove_agent(container).await?,
                Next::Upgrade(container) => {
                    // First: the kernel is not looked after while there is no agent. An image of this name may be of another build.
                    self.load_agent().await?;
                    self.remove_agent(container).await?;
                }
            }
        }
        let why = "another one stands under the agent's name again and again";
        Err(Trouble::Other("AgentTrouble", why.into()))
    }

    async fn under_its_name(&self) -> Result<Next, Trouble> {
        let seen: Option<Container> = match self.engine.inspect(NAME).await {
            Ok(container) => Some(container),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(next(seen.as_ref(), self.served()))
    }

    async fn create_agent(&self) -> Result<(), Trouble> {
        let order = Order::Create {
            name: NAME.into(),
            body: body(self.served()).to_string(),
        };
        let report = self.orders.run(&order).await;
        match report.result {
            Err(Failure::Engine(Error::NotFound { .. })) => self.load_agent().await,
            // Made meanwhile, or before its answer was lost: the next look says whose it is.
            Err(Failure::Engine(Error::Conflict { .. })) => Ok(()),
            _ => taken(report),
        }
    }

    async fn load_agent(&self) -> Result<(), Trouble> {
        self.check_right()?;
        info!(node = %self.driver.node, "loads the agent's image");
        self.engine.load_program().await?;
        Ok(())
    }

    async fn remove_agent(&self, container: ContainerId) -> Result<(), Trouble> {
        let stop = Order::Stop {
            container: container.clone(),
            grace: GRACE,
        };
        // One that does not end is ended by the removal.
        let _ = self.orders.run(&stop).await;
        let force = true;
        let report = self.orders.run(&Order::Remove { container, force }).await;
        match report.result {
            Err(Failure::Engine(Error::NotFound { .. })) => Ok(()),
            _ => taken(report),
        }
    }

    /// Takes everything away: networks, then what the agent made in the kernel, then the agent.
    pub(super) async fn take_away(&self) -> Result<(), Trouble> {
        self.list_networks().await?;
        let made = self.plane().made().clone();
        for (vni, made) in made {
            self.check_right()?;
            self.remove_network(vni, &made).await?;
        }
        let life = self.authority().incarnation;
        if !self.plane().of_other_lives(life).is_empty() {
            // The store lost them, and containers are in them still: their ways stay until somebody puts the networks again,
            // or the containers are gone (rule S6).
            let why = "containers are in networks that an earlier life of the store knew";
            return Err(Trouble::Other("NetworksHeld", why.into()));
        }
        match self.under_its_name().await? {
            Next::Create | Next::Leave(_) => return Ok(()),
            Next::Start(_) | Next::Replace(_) | Next::Upgrade(_) | Next::Attach(_) => {}
        }
        let container = self.agent().await?;
        let removed = async {
            let authority = self.authority();
            let mut session = Session::open(&*self.engine, &container, authority).await?;
            session.send(&Line::of(&AgentOrder::Remove)).await?;
            loop {
                let report = session.next().await?;
                match (report.removed, report.trouble) {
                    (true, _) => return Ok(()),
                    (false, Some(why)) => return Err(Trouble::Other("AgentTrouble", why)),
                    (false, None) => {}
                }
            }
        };
        let silent = || {
            let why = format!("the agent has not answered for {ANSWER:?}");
            Trouble::Other("AgentSilent", why)
        };
        timeout(ANSWER, removed).await.map_err(|_| silent())??;
        self.check_right()?;
        self.remove_agent(container).await?;
        self.check_right()?;
        match self.engine.remove_volume(VOLUME).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        info!(node = %self.driver.node, "took the agent away");
        Ok(())
    }

    /// Looks which networks of ours the engine has.
    pub(super) async fn list_networks(&self) -> Result<(), Trouble> {
        Ok(self.look_at_networks().await?)
    }

    /// The same for who has the engine's errors to deal with.
    pub(in crate::controllers::task) async fn look_at_networks(&self) -> Result<(), Error> {
        let found = self.engine.networks(CLUSTER).await?;
        let ours = found.into_iter().filter_map(|network| {
            let label = |name: &str| network.labels.get(name);
            let is_ours = label(CLUSTER).is_some_and(|owner| owner == self.served().as_str());
            let vni: u32 = label(VNI)?.parse().ok()?;
            let made = Made {
                subnet: label(SUBNET).cloned().unwrap_or_default(),
                subnet6: label(SUBNET6).and_then(|text| text.parse().ok()),
                block: label(BLOCK).and_then(|text| text.parse().ok()),
                id: network.id.clone(),
                name: network.name.clone(),
                // Whoever made it may have been a version that does not say so.
                incarnation: label(INCARNATION)
                    .and_then(|text| text.parse().ok())
                    .map_or(Incarnation::default(), Incarnation),
            };
            is_ours.then_some((Vni(vni), made))
        });
        let ours = ours.collect();
        self.change_plane(|plane| plane.found(ours));
        Ok(())
    }

    /// Removes the engine's networks that a state lacks, before the bridges under them go. One that gives out another block
    /// than the node's is made anew while nobody of ours is in it, or about to be.
    pub(super) async fn retire_networks(&self, state: &State) -> Result<(), Trouble> {
        let numbers = self.numbers();
        let is_wanted = |vni: &Vni, made: &Made| {
            let (Some(name), Some(network)) = (numbers.get(vni), state.networks.get(vni)) else {
                return false;
            };
            let mut here = network.tasks.values();
            made.name == network_name(name)
                && made.subnet == network.subnet.to_string()
                && made.subnet6 == network.subnet6
                && (made.block == self.block(*vni) || here.any(|node| *node == state.node))
        };
        let mut made = self.plane().made().clone();
        made.retain(|vni, made| !is_wanted(vni, made));
        for (vni, made) in made {
            self.check_right()?;
            self.remove_network(vni, &made).await?;
        }
        Ok(())
    }

    /// A network in which somebody still is stays for now: who that is does not come from us.
    async fn remove_network(&self, vni: Vni, made: &Made) -> Result<(), Trouble> {
        match self.engine.remove_network(&made.id).await {
            Ok(()) | Err(Error::NotFound { .. }) => {
                self.change_plane(|plane| plane.set_made(vni, None));
                Ok(())
            }
            Err(error @ (Error::Refused { .. } | Error::Conflict { .. })) => {
                warn!(node = %self.driver.node, network = made.name, %error, "a network stays");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the networks that the engine lacks, all that can be made; none while what runs is being adopted (rule S6).
    pub(super) async fn make_networks(&self, state: &State) -> Result<(), Trouble> {
        if self.driver.context.cache.read(view::is_adopting) {
            return Ok(());
        }
        let lacking = self.plane().lacking();
        let numbers = self.numbers();
        let mut refused = Ok(());
        for vni in lacking {
            let (Some(network), Some(name)) = (state.networks.get(&vni), numbers.get(&vni)) else {
                continue;
            };
            self.check_right()?;
            let block = self.block(vni);
            let name = network_name(name);
            let incarnation = self.authority().incarnation;
            let cluster = self.served().as_str();
            let body = network_body(&name, vni, network, block, cluster, incarnation);
            match self.engine.create_network(&body).await {
                Ok(id) => {
                    let subnet = network.subnet.to_string();
                    let made = Made {
                        id,
                        name,
                        subnet,
                        subnet6: network.subnet6,
                        block,
                        incarnation,
                    };
                    self.change_plane(|plane| plane.set_made(vni, Some(made)));
                }
                Err(error) => {
                    let why = format!("its engine does not take network {name}: {error}");
                    refused = Err(Trouble::Other(REFUSED, why));
                }
            }
        }
        if refused.is_ok() && self.plane().lacking().is_empty() {
            self.change_plane(|plane| plane.took_all());
        }
        refused
    }
}

/// The body of `POST /networks/create`: the bridge is there already, and stays when the network goes. The engine has no
/// address to give in it but the node's block, where it has one, so that nobody else joins who was not given one by us. (The
/// engine's own `Attachable` means swarms, whose end takes such networks away.)
fn network_body(
    name: &str,
    vni: Vni,
    network: &Network,
    block: Option<Cidr>,
    cluster: &str,
    incarnation: Incarnation,
) -> Value {
    let given = block.unwrap_or(Cidr::of(network.gateway));
    let mut labels = BTreeMap::from([
        (CLUSTER, cluster.to_owned()),
        (VNI, vni.0.to_string()),
        (SUBNET, network.subnet.to_string()),
        (INCARNATION, incarnation.to_string()),
    ]);
    labels.extend(network.subnet6.map(|subnet| (SUBNET6, subnet.to_string())));
    labels.extend(block.map(|block| (BLOCK, block.to_string())));
    let pool = json!({
        "Subnet": network.subnet.to_string(),
        "Gateway": network.gateway.to_string(),
        "IPRange": given.to_string(),
    });
    let pools: Vec<Value> = [pool].into_iter().chain(pool6(network, given)).collect();
    json!({
        "Name": name,
        "CheckDuplicate": true,
        "Driver": "bridge",
        "EnableIPv6": pools.len() > 1,
        "IPAM": {"Config": pools},
        "Options": {
            "com.docker.network.bridge.name": bridge_name(vni),
            "com.docker.network.driver.mtu": network.mtu.to_string(),
        },
        "Labels": labels,
    })
}

/// The addresses of IPv6, where the network has some: the engine gives from those that go with what it gives of IPv4.
fn pool6(network: &Network, given: Cidr) -> Option<Value> {
    let dual = network.dual()?;
    Some(json!({
        "Subnet": dual.subnet6.to_string(),
        "Gateway": dual.version6(network.gateway)?.to_string(),
        "IPRange": dual.part(given)?.to_string(),
    }))
}

/// An order that was refused is trouble.
fn taken(report: Report) -> Result<(), Trouble> {
    match report.result {
        Ok(()) => Ok(()),
        Err(Failure::TermOver) => Err(Trouble::Term(Failure::TermOver.to_string())),
        Err(Failure::Engine(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::state_tests::example;

    fn body(subnet6: Option<&str>, block: Option<&str>) -> Value {
        let state = example();
        let (vni, network) = state.networks.iter().next().unwrap();
        let mut network = Network::clone(network);
        network.subnet6 = subnet6.map(|text| text.parse().unwrap());
        let block = block.map(|text| text.parse().unwrap());
        network_body("front", *vni, &network, block, "c", Incarnation(3))
    }

    #[test]
    fn an_engine_gives_from_the_parts_of_both_subnets_that_go_with_each_other() {
        let one = body(None, None);
        assert_eq!(one["EnableIPv6"], false);
        let pool = json!({
            "Subnet": "10.100.1.0/24", "Gateway": "10.100.1.1", "IPRange": "10.100.1.1/32",
        });
        assert_eq!(one["IPAM"]["Config"], json!([pool]));
        assert_eq!(one["Labels"].get(SUBNET6), None);

        let both = body(Some("fd00:1::/64"), None);
        assert_eq!(both["EnableIPv6"], true);
        let pool6 = json!({
            "Subnet": "fd00:1::/64", "Gateway": "fd00:1::1", "IPRange": "fd00:1::1/128",
        });
        assert_eq!(both["IPAM"]["Config"], json!([pool, pool6]));
        assert_eq!(both["Labels"][SUBNET6], "fd00:1::/64");

        let attachable = body(Some("fd00:1::/64"), Some("10.100.1.128/29"));
        let ranges: Vec<&Value> = [0, 1]
            .map(|index| &attachable["IPAM"]["Config"][index]["IPRange"])
            .into();
        assert_eq!(ranges, ["10.100.1.128/29", "fd00:1::80/125"]);
    }
}
