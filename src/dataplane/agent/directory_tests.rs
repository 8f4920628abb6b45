//! What an agent finds in its directory after whatever ended it.

use super::tests::engine;
use super::*;
use crate::dataplane::state::{Change, NodeIndex};
use crate::dataplane::state::{Delta, Vni};
use crate::dataplane::state_tests::{dual_example, example};
use std::net::Ipv4Addr;

/// Of a change only the change is written; what was torn, or belongs to another state, is not read.
#[test]
fn the_directory_remembers_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Directory::open(folder.path()).expect("ours");
    let (state, changes) = (
        folder.path().join("state.json"),
        folder.path().join("changes.json"),
    );
    let read = |path| std::fs::read(path).expect("it is there");
    let change = |from: u64| {
        let address = Ipv4Addr::new(10, 100, 1, 30);
        let value = from.is_multiple_of(2).then_some(NodeIndex(2));
        Order::Delta(Delta {
            from: StateRevision(from),
            to: StateRevision(from + 1),
            changes: vec![Change::Task(Vni(4097), address, value)],
        })
    };
    let mut agent = Agent::new(engine(), Some(open())).expect("it is empty");
    agent.follow(Order::State(Box::new(example())));
    let whole = read(&state);
    for from in 7..27 {
        agent.follow(change(from));
    }
    assert_eq!(agent.report().programmed, Some(StateRevision(27)));
    assert_eq!(read(&state), whole, "it is not written again");
    let last = agent.state.clone();
    drop(agent);
    let kept = || {
        let agent = Agent::new(engine(), Some(open())).expect("it reads");
        agent.state
    };
    assert_eq!(kept(), last);

    let all = read(&changes);
    std::fs::write(&changes, &all[..all.len() - 1]).expect("a torn end");
    let torn = kept().map(|state| state.revision);
    assert_eq!(torn, Some(StateRevision(26)));
    // What a disk has of a file that was not synced: a hole.
    let mut holed = all.clone();
    let line = holed.len() / 2;
    holed[line..line + 20].fill(0);
    std::fs::write(&changes, &holed).expect("a hole in it");
    let until = kept().expect("what came before it").revision;
    assert!(
        StateRevision(7) < until && until < StateRevision(26),
        "{until:?}"
    );
    std::fs::write(&changes, &all[..all.len() - 1]).expect("a torn end");
    let mut agent = Agent::new(engine(), Some(open())).expect("it reads");
    agent.renew();
    drop(agent);
    assert_ne!(read(&state), whole, "all is written at the start");
    std::fs::write(&changes, &all).expect("those of the state before");
    let other = kept().map(|state| state.revision);
    assert_eq!(other, Some(StateRevision(26)));
}

#[test]
fn the_directory_remembers_the_state_and_what_was_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Directory::open(folder.path());
    let mut first = Agent::new(engine(), Some(open().expect("ours"))).expect("it is empty");
    first.follow(Order::State(Box::new(dual_example())));
    assert_eq!(first.report().trouble, None);
    assert!(open().is_err(), "one agent at a time");
    let after_a_reboot = engine();
    drop(first);
    let mut second =
        Agent::new(after_a_reboot, Some(open().expect("free again"))).expect("it reads");
    second.renew();
    assert_eq!(second.report().programmed, Some(StateRevision(7)));
    drop(second);
    let mut host = engine();
    for value in host.kernel.settings.values_mut() {
        *value = "1".into();
    }
    let mut third = Agent::new(host, Some(open().expect("free again"))).expect("it reads");
    third.renew();
    third.remove().expect("nothing is in the way");
    assert_eq!(third.host().kernel, engine().kernel);
    drop(third);
    let fourth = Agent::new(engine(), Some(open().expect("free again"))).expect("it reads");
    assert_eq!(fourth.state, None);
}
