//! Allocations: what is given out once in a cluster. Numbers of nodes and overlays, subnets, addresses, published ports; one
//! key each, below `allocations/`.
//!
//! | Key | Given to |
//! |---|---|
//! | `allocations/nodes/<index>` | a node |
//! | `allocations/vnis/<number>` | a network |
//! | `allocations/subnets/<address>-<length>` | a network, of IPv4 or IPv6 |
//! | `allocations/ports/<tcp, udp>/<port>[/<address>]` | a service that publishes it on all addresses of nodes, or on one |
//! | `allocations/addresses/<network-uid>/<address>` | a service (its virtual address) or a task |
//! | `allocations/blocks/<network-uid>/<address>-<length>` | a node, for containers of others that join the network there |
//!
//! A key is claimed by writing it where it is missing, so whatever a planner believed, nothing is given out twice. Its
//! value names the owner with its uid: once that owner is gone, so is the claim. Numbers are zero-padded.

use super::decode;
use super::name::{NodeName, ObjectKey, Scoped};
use super::published::PublishedKey;
use super::subnet::{Address, Cidr, Cidr6, Subnet};
use super::uid::{TaskId, Uid};
use super::unit::Port;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A node's number within its cluster, 1 to [`NodeIndex::MOST`]: it stands in packet marks, conntrack zones and next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// As many as there are addresses for next hops in 169.254.64.0/18.
    pub const MOST: u16 = 0x3fff;
}

/// The number of an overlay on the wire, 1 to [`Vni::MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vni(pub u32);

impl Vni {
    /// VXLAN has 24 bits for it.
    pub const MOST: u32 = 0xff_ffff;
    /// The first that is given out: what counts its own from 1 (flannel), from 4096 (Docker's overlays, Calico) or within
    /// 16 bits (network plans made by hand) and shares a wire with us stays out of the way.
    pub const FIRST: u32 = 0x1_0000;
}

/// What a key below `allocations/` gives out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A node's number.
    Node(NodeIndex),
    /// An overlay's number on the wire.
    Vni(Vni),
    /// An overlay's subnet.
    Subnet(Cidr),
    /// Its other subnet, of IPv6.
    Subnet6(Cidr6),
    /// A port that every node answers on.
    Port(PublishedKey),
    /// An address of the network with this uid.
    Address(Uid, Ipv4Addr),
    /// Addresses of the network with this uid, from which a node's engine serves containers that are no tasks.
    Block(Uid, Cidr),
}

impl Item {
    /// Reads the names behind `allocations/`; none for what is not written as it would be printed.
    pub fn parse(parts: &[&str]) -> Option<Self> {
        let item = match parts {
            ["nodes", index] => Self::Node(NodeIndex(index.parse().ok()?)),
            ["vnis", vni] => Self::Vni(Vni(vni.parse().ok()?)),
            ["subnets", subnet] => match subnet.contains(':') {
                false => Self::Subnet(cidr(subnet)?),
                true => Self::Subnet6(cidr(subnet)?),
            },
            ["ports", protocol, port] => Self::Port(published(protocol, port, None)?),
            ["ports", protocol, port, address] => {
                Self::Port(published(protocol, port, Some(address.parse().ok()?))?)
            }
            ["addresses", network, address] => {
                Self::Address((*network).into(), address.parse().ok()?)
            }
            ["blocks", network, block] => Self::Block((*network).into(), cidr(block)?),
            _ => return None,
        };
        // `7` and `00007` are two keys: were both read as one number, it could be given out twice.
        (item.is_valid() && item.to_string() == parts.join("/")).then_some(item)
    }

    /// The node's number that it is.
    pub fn node(&self) -> Option<NodeIndex> {
        match self {
            Self::Node(index) => Some(*index),
            _ => None,
        }
    }

    /// The subnet that it is.
    pub fn subnet(&self) -> Option<Cidr> {
        match self {
            Self::Subnet(subnet) => Some(*subnet),
            _ => None,
        }
    }

    /// The subnet of IPv6 that it is.
    pub fn subnet6(&self) -> Option<Cidr6> {
        match self {
            Self::Subnet6(subnet) => Some(*subnet),
            _ => None,
        }
    }

    /// The published port that it is.
    pub fn port(&self) -> Option<PublishedKey> {
        match self {
            Self::Port(key) => Some(*key),
            _ => None,
        }
    }

    /// The address that it is, with its network's uid.
    pub fn address(&self) -> Option<(&Uid, Ipv4Addr)> {
        match self {
            Self::Address(network, address) => Some((network, *address)),
            _ => None,
        }
    }

    /// The block that it is, with its network's uid.
    pub fn block(&self) -> Option<(&Uid, Cidr)> {
        match self {
            Self::Block(network, block) => Some((network, *block)),
            _ => None,
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Node(index) => (1..=NodeIndex::MOST).contains(&index.0),
            Self::Vni(vni) => (1..=Vni::MOST).contains(&vni.0),
            Self::Subnet(subnet) | Self::Block(_, subnet) => subnet.is_subnet(),
            Self::Subnet6(subnet) => subnet.is_subnet(),
            Self::Port(key) => {
                key.port.0 > 0 && key.address.is_none_or(|address| !address.is_unspecified())
            }
            Self::Address(..) => true,
        }
    }
}

fn cidr<A: Address>(text: &str) -> Option<Subnet<A>> {
    text.replace('-', "/").parse().ok()
}

fn published(protocol: &str, port: &str, address: Option<IpAddr>) -> Option<PublishedKey> {
    Some(PublishedKey {
        protocol: PublishedKey::protocol(protocol)?,
        address,
        port: Port(port.parse().ok()?),
    })
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(index) => write!(f, "nodes/{:05}", index.0),
            Self::Vni(vni) => write!(f, "vnis/{:08}", vni.0),
            Self::Subnet(subnet) => write!(f, "subnets/{}-{}", subnet.address, subnet.length),
            Self::Subnet6(subnet) => write!(f, "subnets/{}-{}", subnet.address, subnet.length),
            Self::Port(key) => {
                write!(f, "ports/{}/{:05}", key.protocol.as_str(), key.port.0)?;
                key.address
                    .map_or(Ok(()), |address| write!(f, "/{address}"))
            }
            Self::Address(network, address) => write!(f, "addresses/{network}/{address}"),
            Self::Block(network, block) => {
                write!(f, "blocks/{network}/{}-{}", block.address, block.length)
            }
        }
    }
}

/// Whose an allocation is. Another uid is another owner, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Owner {
    /// A node.
    Node {
        /// Its name.
        name: NodeName,
        /// Its uid.
        uid: Uid,
    },
    /// A network.
    Network {
        /// Its name.
        #[serde(flatten)]
        name: Scoped,
        /// Its uid.
        uid: Uid,
    },
    /// A service.
    Service {
        /// Its name.
        #[serde(flatten)]
        name: Scoped,
        /// Its uid.
        uid: Uid,
    },
    /// A task.
    Task {
        /// The name of its service.
        #[serde(flatten)]
        service: Scoped,
        /// The task.
        task: TaskId,
    },
}

impl Owner {
    /// The object that people know it by.
    pub fn object(&self) -> ObjectKey {
        match self {
            Self::Node { name, .. } => ObjectKey::node(name),
            Self::Network { name, .. } => ObjectKey::network(name),
            Self::Service { name, .. } | Self::Task { service: name, .. } => {
                ObjectKey::service(name)
            }
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { name, .. } => write!(f, "node {name}"),
            Self::Network { name, .. } => write!(f, "network {name}"),
            Self::Service { name, .. } => write!(f, "service {name}"),
            Self::Task { service, task } => write!(f, "task {task} of service {service}"),
        }
    }
}

/// The value of an allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Whose it is, or was.
    pub owner: Owner,
    /// The owner is gone and the number is in quarantine: nobody's, and not to be had.
    #[serde(default, skip_serializing_if = "decode::is_default")]
    pub released: bool,
    /// Of a published port whose number was chosen here: the port of the tasks that it is for. By it the service has the same
    /// number after every change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Port>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Item> {
        Item::parse(&text.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn an_item_has_one_key() {
        for text in [
            "nodes/00001",
            "nodes/16383",
            "vnis/00065536",
            "subnets/10.64.1.0-24",
            "subnets/fd00:1:2:3::-64",
            "ports/tcp/08080",
            "ports/tcp/08080/2001:db8::1",
            "ports/udp/00053/192.0.2.1",
            "addresses/0000000000000000000000abc/10.64.1.7",
            "blocks/0000000000000000000000abc/10.64.1.128-29",
        ] {
            let item = parse(text).unwrap_or_else(|| panic!("{text} does not parse"));
            assert_eq!(item.to_string(), text);
        }
        for text in [
            "nodes/1",
            "nodes/00000",
            "nodes/16384",
            "vnis/65536",
            "vnis/16777216",
            "subnets/10.64.1.7-24",
            "subnets/10.64.1.0",
            "subnets/10.64.1.0/24",
            "subnets/fd00:1:2:3::1-64",
            "subnets/fd00:1:2:3:0::-64",
            "addresses/a/10.64.01.7",
            "blocks/a/10.64.1.129-29",
            "blocks/10.64.1.128-29",
            "ports/80",
            "ports/tcp/8080",
            "ports/tcp/00000",
            "ports/tcp/65536",
            "ports/sctp/08080",
            "ports/tcp/08080/0.0.0.0",
            "ports/tcp/08080/::",
            "ports/tcp/08080/192.0.2.01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_names_its_owner() {
        let network = Owner::Network {
            name: Scoped::new("shop", "front"),
            uid: "u".into(),
        };
        let task = Owner::Task {
            service: Scoped::new("shop", "web"),
            task: "t".into(),
        };
        for (owner, released, expected) in [
            (
                network,
                false,
                r#"{"owner":{"kind":"Network","namespace":"shop","name":"front","uid":"u"}}"#,
            ),
            (
                task,
                true,
                r#"{"owner":{"kind":"Task","namespace":"shop","name":"web","task":"t"},"released":true}"#,
            ),
        ] {
            let allocation = Allocation {
                owner,
                released,
                target: None,
            };
            let text = serde_json::to_string(&allocation).expect("it is JSON");
            assert_eq!(text, expected);
            let read: Allocation = serde_json::from_str(&text).expect("it reads back");
            assert_eq!(read, allocation);
        }
    }
}
