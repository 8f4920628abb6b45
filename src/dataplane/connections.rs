//! Connections that the kernel tracks, and which of them lead to nobody. Pure.

use super::constants::{MARK, MARK_MASK};
use super::shared::Shared;
use super::state::{Network, PublishedKey, PublishedPort, State, Vni};
use crate::api::service::Protocol;
use crate::api::unit::Port;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A tracked connection, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// The IP protocol's number.
    pub protocol: u8,
    /// Whom the client asked.
    pub destination: IpAddr,
    /// At which port; 0 for protocols without.
    pub port: Port,
    /// Who answers.
    pub target: IpAddr,
    /// Whether the destination was translated.
    pub is_translated: bool,
    /// What an answer looks like.
    pub answer: Answer,
    /// The connection's mark.
    pub mark: u32,
    /// What the kernel knows it by, as it said it.
    pub handle: Vec<u8>,
}

/// How many connections a kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracked {
    /// Those that there are.
    pub count: u64,
    /// As many as there may be: beyond, the first packets of new ones are dropped.
    pub limit: u64,
}

impl Tracked {
    /// The same with its count cut to two digits: one more or less is no news.
    pub fn to_two_digits(self) -> Self {
        let digits = self.count.checked_ilog10().unwrap_or(0);
        let unit = 10_u64.pow(digits.saturating_sub(1));
        let count = self.count / unit * unit;
        Self { count, ..self }
    }
}

/// The addresses and ports of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// From whom, as [`Connection::target`].
    pub from: IpAddr,
    /// To whom: the client, or whom it was hidden behind.
    pub to: IpAddr,
    /// From which port; 0 for protocols without.
    pub from_port: Port,
    /// To which port.
    pub to_port: Port,
}

/// Whether a connection has to be cut for its client to get an answer.
///
/// Those that were sent to a task that is no more: the client's next packet finds another, or is refused. And those of UDP
/// that reached the node itself before the port was published: the kernel would go on sending them there.
pub fn is_stale(connection: &Connection, state: &State) -> bool {
    let is_ours = connection.mark & MARK_MASK == MARK;
    let mut networks = state.networks.values();
    let is_inside = networks.any(|network| network.holds(connection.target));
    if connection.is_translated {
        return (is_ours || is_inside) && state.place(connection.target).is_none();
    }
    // UDP.
    connection.protocol == 17
        && connection.target == connection.destination
        && is_published(connection, state)
}

/// Whether a change from one state to another may have made a connection stale: a task is no more, or a port of UDP leads
/// somewhere.
pub fn may_be_stale(before: &State, after: &State) -> bool {
    let is_gone = |(vni, network): (&Vni, &Shared<Network>)| {
        let now = after.networks.get(vni);
        let mut tasks = network.tasks.keys();
        tasks.any(|task| now.is_none_or(|now| !now.tasks.contains_key(task)))
    };
    let is_new = |(key, port): (&PublishedKey, &Shared<PublishedPort>)| {
        let was_empty = |port: &Shared<PublishedPort>| port.backends.is_empty();
        key.protocol == Protocol::Udp
            && !port.backends.is_empty()
            && before.ports.get(key).is_none_or(was_empty)
    };
    before.networks.iter().any(is_gone) || after.ports.iter().any(is_new)
}

/// Whether a port of the node's own addresses is published.
fn is_published(connection: &Connection, state: &State) -> bool {
    let to = connection.destination;
    let key = |address| PublishedKey {
        protocol: Protocol::Udp,
        address,
        port: connection.port,
    };
    let has = |key: &PublishedKey| {
        state
            .ports
            .get(key)
            .is_some_and(|port| !port.backends.is_empty())
    };
    let others = state.members6.get(&state.node).into_iter().flatten();
    let is_other = others.into_iter().any(|own| to == *own);
    let is_own = to == IpAddr::V4(state.address()) || to.is_loopback() || is_other;
    has(&key(Some(to))) || (is_own && has(&key(None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_said_to_two_digits() {
        let said = |count| Tracked { count, limit: 9 }.to_two_digits().count;
        let counts = [0, 7, 42, 99, 100, 1_234, 262_144];
        assert_eq!(counts.map(said), [0, 7, 42, 99, 100, 1_200, 260_000]);
    }
}
