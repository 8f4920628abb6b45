//! Which number each published port of a service has: what it asks for, beside what the ledger gave it. Pure.
//!
//! A port that names its number has that one or none. One that leaves it out keeps the number that was chosen for the same
//! port of its tasks, whatever else of the service changes; of several alike the first in the spec has the lowest.

use super::allocations::Allocations;
use super::joins::service_owner;
use crate::api::accepted::AcceptedService;
use crate::api::name::Scoped;
use crate::api::published::PublishedKey;
use crate::api::service::{PortMode, Protocol, ServicePort, ServiceSpec};
use crate::api::unit::Port;
use std::net::{IpAddr, Ipv6Addr};

/// What a port of mode ingress asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// This one.
    Number(PublishedKey),
    /// Any number, on this address of nodes or on all.
    Any(Protocol, Option<IpAddr>),
    /// What is not provided, in words.
    NotProvided(&'static str),
}

/// The ports of mode ingress, in order; none without a network that would lead to the tasks.
pub fn ingress(spec: &ServiceSpec) -> impl Iterator<Item = &ServicePort> {
    let networks = spec.template.networks.as_ref();
    let has_network = networks.is_none_or(|networks| !networks.is_empty());
    let ports = spec.ports.iter().filter(move |_| has_network);
    ports.filter(|port| port.mode == PortMode::Ingress)
}

/// The key of the port that tells of a service's health, if it asks for one and has ports to tell of.
pub fn health(spec: &ServiceSpec) -> Option<PublishedKey> {
    let port = spec
        .health_port
        .filter(|_| ingress(spec).next().is_some())?;
    Some(PublishedKey {
        protocol: Protocol::Tcp,
        port,
        address: None,
    })
}

/// What a port of mode ingress asks for. An address that is given is never widened: one that cannot be had opens nothing.
pub fn asked(port: &ServicePort) -> Asked {
    let address = port.host_ip.filter(|address| !address.is_unspecified());
    if address == Some(Ipv6Addr::LOCALHOST.into()) {
        // Kernels let no packet with that address onto another link, and have no switch for it as for 127.0.0.0/8.
        return Asked::NotProvided("the loopback's address of IPv6");
    }
    match (port.protocol, port.published) {
        (Protocol::Sctp, _) => Asked::NotProvided("SCTP"),
        (protocol, Some(port)) => Asked::Number(PublishedKey {
            protocol,
            port,
            address,
        }),
        (protocol, None) => Asked::Any(protocol, address),
    }
}

/// Each port of mode ingress with what it was given.
pub fn given<'a>(
    allocations: &Allocations,
    name: &Scoped,
    service: &'a AcceptedService,
) -> Vec<(&'a ServicePort, Option<PublishedKey>)> {
    let ports: Vec<&ServicePort> = ingress(&service.spec).collect();
    if ports.is_empty() {
        return Vec::new();
    }
    let owner = service_owner(name, service);
    let has: Vec<(PublishedKey, Option<Port>)> = allocations
        .of(&owner)
        .filter_map(|item| Some((item.port()?, allocations.get(item)?.target)))
        .collect();
    let health = health(&service.spec);
    let is_named = |key: &PublishedKey| {
        let mut ports = ports.iter();
        health == Some(*key) || ports.any(|port| asked(port) == Asked::Number(*key))
    };
    let mut chosen: Vec<_> = has.iter().filter(|(key, _)| !is_named(key)).collect();
    let mut choose = |port: &ServicePort, protocol, address| {
        let fits = |(key, target): &&(PublishedKey, Option<Port>)| {
            *target == Some(port.target) && (key.protocol, key.address) == (protocol, address)
        };
        let at = chosen.iter().position(fits)?;
        Some(chosen.remove(at).0)
    };
    let given = |port: &&'a ServicePort| {
        let key = match asked(port) {
            Asked::Number(key) => has.iter().map(|(has, _)| *has).find(|has| *has == key),
            Asked::Any(protocol, address) => choose(port, protocol, address),
            Asked::NotProvided(_) => None,
        };
        (*port, key)
    };
    ports.iter().map(given).collect()
}
