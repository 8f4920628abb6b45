//! The host ports that the task takes are no published ones, which every node answers on, and are free on the node (rule
//! C6: until whoever holds one was seen stopped, it is not).

use super::super::snapshot::{Candidate, Request};
use super::Refused;
use crate::api::published::addresses_meet;
use crate::api::task::HostPort;
use crate::api::uid::TaskId;
use crate::planted::{Bug, planted};

pub(super) const NAME: &str = "ports";

pub(super) fn are_free(request: &Request<'_>, candidate: &Candidate<'_>) -> bool {
    taken(request, candidate).is_none()
}

/// Whatever is on the node: the port is a service's on all of them.
pub(super) fn published(request: &Request<'_>) -> Option<Refused> {
    let (port, owner) = request.published.as_ref()?;
    let (number, protocol) = (port.published, port.protocol.as_str());
    Some(Refused {
        filter: NAME,
        message: format!("answers on {number}/{protocol} for {owner}, as every node does"),
        remedy: format!("publish another port than {number}/{protocol}"),
    })
}

pub(super) fn check(request: &Request<'_>, candidate: &Candidate<'_>) -> Option<Refused> {
    let (port, holder) = taken(request, candidate)?;
    let (number, protocol) = (port.published, port.protocol.as_str());
    Some(Refused {
        filter: NAME,
        message: format!("host port {number}/{protocol} is held by task {holder}"),
        remedy: format!("add a node, or publish another port than {number}/{protocol}"),
    })
}

fn taken<'c>(
    request: &Request<'_>,
    candidate: &'c Candidate<'_>,
) -> Option<(&'c HostPort, &'c TaskId)> {
    if request.ports.is_empty() || planted(Bug::IgnoresHostPorts) {
        return None;
    }
    candidate
        .ports
        .iter()
        .find(|(held, _)| request.ports.iter().any(|wanted| collide(held, wanted)))
}

/// Two ports collide where both would be open on one address.
fn collide(a: &HostPort, b: &HostPort) -> bool {
    a.published == b.published && a.protocol == b.protocol && addresses_meet(a.host_ip, b.host_ip)
}
