//! The answers that are expected of connections from before anybody remembered them. Pure.

use super::bridge::names;
use super::bridge::{ANSWERS, OPEN_MS};
use super::diff::{Change, Step};
use super::ruleset::{Element, Family, Set};
use super::tables::{answer, table};
use crate::dataplane::address::{Prefix, Version, octets};
use crate::dataplane::connections::Connection;
use std::collections::BTreeMap;

/// What keeps the answers of the connections that were translated within these subnets, in a family's table; none: there are
/// none.
pub(in crate::dataplane) fn remembered(
    connections: &[Connection],
    family: Family,
    within: &[Prefix],
) -> Vec<Change> {
    let is_inside = |address| within.iter().any(|subnet| subnet.holds(address));
    let expected = connections.iter().filter(|connection| {
        let answer = connection.answer;
        // TCP and UDP.
        let has_ports = [6, 17].contains(&connection.protocol);
        has_ports && connection.is_translated && is_inside(answer.from) && is_inside(answer.to)
    });
    let mut elements: BTreeMap<Version, BTreeMap<Vec<u8>, Element>> = BTreeMap::new();
    for connection in expected {
        let version = Version::of(connection.answer.from);
        let elements = elements.entry(version).or_default();
        elements.insert(key(connection), Element::Member);
    }
    let change = |(version, elements)| {
        let shape = Set::dynamic(&answer(version), OPEN_MS, ANSWERS).shape;
        let step = Step::AddElements(names(version).answers.to_owned(), shape, elements);
        let table = table(family);
        Change { table, step }
    };
    elements.into_iter().map(change).collect()
}

fn key(connection: &Connection) -> Vec<u8> {
    let answer = connection.answer;
    let [from_port, to_port] = [answer.from_port, answer.to_port].map(|port| port.0.to_be_bytes());
    [
        &octets(answer.from)[..],
        &octets(answer.to),
        &[connection.protocol, 0, 0, 0],
        &from_port,
        &[0, 0],
        &to_port,
        &[0, 0],
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::unit::Port;
    use crate::dataplane::connections::Answer;

    #[test]
    fn only_what_was_translated_within_overlays_is_remembered() {
        let connection = |protocol, is_translated, to: [u8; 4]| Connection {
            protocol,
            destination: [10, 100, 1, 200].into(),
            port: Port(80),
            target: [10, 100, 1, 21].into(),
            is_translated,
            answer: Answer {
                from: [10, 100, 1, 21].into(),
                to: to.into(),
                from_port: Port(80),
                to_port: Port(0x8001),
            },
            mark: 0,
            handle: Vec::new(),
        };
        let inside = [10, 100, 1, 11];
        let within = [Prefix::V4("10.100.1.0/24".parse().expect("a subnet"))];
        let changes = |connections: &[Connection]| remembered(connections, Family::Bridge, &within);
        let others = [
            connection(6, false, inside),
            connection(6, true, [192, 0, 2, 1]),
            connection(1, true, inside),
        ];
        assert_eq!(changes(&others), []);
        let all = [&others[..], &[connection(6, true, inside)]].concat();
        let [
            Change {
                step: Step::AddElements(set, _, elements),
                ..
            },
        ] = &changes(&all)[..]
        else {
            panic!("one change");
        };
        assert_eq!(set, "answers");
        let key = [
            10, 100, 1, 21, 10, 100, 1, 11, 6, 0, 0, 0, 0, 80, 0, 0, 0x80, 1, 0, 0,
        ];
        assert_eq!(elements.keys().collect::<Vec<_>>(), [&key]);
    }
}
