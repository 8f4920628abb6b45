//! Properties of the plans of services, and one golden trace.

use super::tests::{ONE, START_FIRST, WEB, Web};
use crate::api::key::Key;
use crate::api::status::NodeState;
use crate::api::task::{Desired, Slot, Task, TaskState};
use crate::api::uid::TaskId;
use crate::controllers::fixture::web_name;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One thing that happens to a service of up to four slots.
#[derive(Clone, Debug)]
enum Event {
    Scale(u32),
    Image(u8),
    Fail(u32),
    Node(u8, u8),
    Round,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u32..5).prop_map(Event::Scale),
        (1u8..4).prop_map(Event::Image),
        (1u32..5).prop_map(Event::Fail),
        (1u8..3, 0u8..4).prop_map(|(node, what)| Event::Node(node, what)),
        Just(Event::Round),
        Just(Event::Round),
        (1u64..20).prop_map(Event::Wait),
    ]
}

/// Never more live slots than wanted, nor more in a slot than a pair.
fn check_slots(web: &Web, wanted: u32) {
    let mut slots: BTreeMap<Slot, usize> = BTreeMap::new();
    for task in web.0.tasks() {
        if task.desired == Desired::Running {
            *slots.entry(task.slot).or_default() += 1;
        }
    }
    assert!(slots.len() <= wanted as usize, "{slots:?} for {wanted}");
    assert!(slots.values().all(|count| *count <= 2), "{slots:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `settle` asserts on the way that planning again after applying plans nothing.
    #[test]
    fn never_more_than_wanted_and_always_in_step(
        events in proptest::collection::vec(event(), 1..25),
        start_first: bool,
    ) {
        let order = if start_first { "start-first" } else { "stop-first" };
        let (mut replicas, mut image) = (2, 1);
        let text = |replicas: u32, image: u8| {
            format!("{{replicas: {replicas}, template: {{container: 'nginx:{image}'}}, update: {{order: {order}, monitor: 1s}}}}")
        };
        let mut web = Web::new(&text(replicas, image));
        for event in events {
            match event {
                Event::Scale(number) => { replicas = number; web.put(&text(replicas, image)); }
                Event::Image(number) => { image = number; web.put(&text(replicas, image)); }
                Event::Fail(slot) => {
                    let bound = web.0.tasks().into_iter().rfind(|task| {
                        task.slot == Slot::Replica(slot)
                            && task.desired <= Desired::Running
                            && web.0.cache.binding(&task.id).is_some()
                            && !web.0.cache.task_status(&task.id).is_some_and(|status| status.state.is_terminal())
                    });
                    if let Some(task) = bound {
                        web.0.observe(&task.id, TaskState::Failed);
                        web.plan();
                    }
                }
                Event::Node(number, what) => {
                    let name = format!("n{number}");
                    match what {
                        0 => web.node(&name, NodeState::Down),
                        1 => web.drain(&name),
                        2 => web.node(&name, NodeState::Unknown),
                        _ => web.node(&name, NodeState::Ready),
                    }
                }
                Event::Round => web.round(),
                Event::Wait(seconds) => web.wait(seconds),
            }
            check_slots(&web, replicas);
        }
        // When all is well again, it ends with exactly what was asked for.
        web.node("n1", NodeState::Ready);
        web.node("n2", NodeState::Ready);
        for _ in 0..12 {
            web.go();
            web.wait(400);
        }
        let live: Vec<Task> = web.0.tasks().into_iter().filter(|task| task.desired == Desired::Running).collect();
        prop_assert!(live.len() >= replicas as usize);
    }

    /// The tasks' ids, and so their order in the store, do not matter.
    #[test]
    fn the_order_of_the_input_does_not_matter(seed in 0u64..1_000, failed in 1u32..4) {
        let outcome = |flip: bool| {
            let mut web = Web::running(WEB);
            let mut tasks = web.0.tasks();
            if flip { tasks.reverse(); }
            for (index, task) in tasks.iter().enumerate() {
                let id = TaskId::from(format!("{:025}", u64::try_from(index).unwrap() + seed));
                let mut renamed = task.clone();
                renamed.id = id.clone();
                web.0.delete(&Key::Task(web_name(), task.id.clone()));
                let node = web.0.cache.binding(&task.id).map(|(node, _)| node.clone()).unwrap();
                web.0.delete(&Key::Binding(node.clone(), task.id.clone()));
                web.0.put(&Key::Task(web_name(), id.clone()), &renamed);
                web.0.bind(&id, node.as_str());
                web.0.observe(&id, if task.slot == Slot::Replica(failed) { TaskState::Failed } else { TaskState::Running });
            }
            web.put(&START_FIRST.replace("replicas: 2", "replicas: 3"));
            web.0.tasks().iter().map(|task| format!("{} {:?} {}", task.slot, task.desired, task.revision)).collect::<Vec<_>>()
        };
        prop_assert_eq!(outcome(false), outcome(true));
    }
}

/// Golden: one whole change, as the store sees it.
#[test]
fn golden_trace_of_an_update() {
    let mut web = Web::running(ONE);
    let mut trace = Vec::new();
    web.0
        .user(&START_FIRST.replace("replicas: 2", "replicas: 1"));
    for _ in 0..4 {
        let before: BTreeMap<TaskId, Task> = web
            .0
            .tasks()
            .into_iter()
            .map(|task| (task.id.clone(), task))
            .collect();
        web.plan();
        for task in web.0.tasks() {
            if before.get(&task.id) != Some(&task) {
                let reason = task.reason.as_deref().unwrap_or("-");
                trace.push(format!(
                    "{}/{} {:?} {reason}",
                    task.slot, task.revision, task.desired
                ));
            }
        }
        web.schedule();
        web.0.engines();
    }
    assert_eq!(trace, ["1/2 Running Updated", "1/1 Shutdown Updated"]);
}
