//! Changes of backends alone, on a kernel in memory.

use super::Order;
use super::tests::{engine, programmed, states};
use crate::dataplane::state::{Change, Delta, PublishedPort, State, StateRevision, VirtualAddress};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Other tasks stand behind one of the addresses or ports.
fn moved(state: &State, which: u16, pick: u16) -> Option<Change> {
    let tasks = state.networks.values().flat_map(|one| one.tasks.keys());
    let picked = (0..16).zip(tasks).filter(|(bit, _)| pick >> bit & 1 == 1);
    let backends: BTreeSet<Ipv4Addr> = picked.map(|(_, task)| *task).collect();
    let addresses = state.virtual_addresses.iter().map(|(address, value)| {
        let backends = backends.clone();
        let value = VirtualAddress {
            backends,
            ..(**value).clone()
        };
        Change::VirtualAddress(*address, Some(value.into()))
    });
    let ports = state.ports.iter().map(|(key, value)| {
        let backends = backends.clone();
        let value = PublishedPort {
            backends,
            ..(**value).clone()
        };
        Change::Port(*key, Some(value.into()))
    });
    let all: Vec<Change> = addresses.chain(ports).collect();
    let count = all.len().max(1);
    all.into_iter().nth(usize::from(which) % count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn backends_that_change_lead_to_the_same_kernel_as_the_whole(
        first in states(),
        moves in proptest::collection::vec((any::<u16>(), any::<u16>()), 1..6),
    ) {
        let mut agent = programmed(engine(), &first);
        for (revision, (which, pick)) in (2..).zip(moves) {
            let from = agent.state.clone().expect("it has one");
            let Some(change) = moved(&from, which, pick) else { break };
            let to = StateRevision(revision);
            let delta = Delta { from: from.revision, to, changes: vec![change] };
            let looks = agent.host().looks;
            agent.follow(Order::Delta(delta.clone()));
            prop_assert_eq!(&agent.report().trouble, &None);
            prop_assert_eq!(agent.report().programmed, Some(to));
            prop_assert_eq!(agent.host().looks, looks, "no look is needed");
            let next = from.after(delta).expect("it makes sense");
            let straight = programmed(engine(), &next).host().kernel.clone();
            prop_assert_eq!(&agent.host().kernel, &straight);
            prop_assert_eq!(agent.seen.as_ref().map(|seen| &seen.tables), Some(&straight.tables));
        }
    }
}
