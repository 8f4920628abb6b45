//! What a manager decides for one task: `controllers/task/plan.rs` without pulls, backoffs, reasons and removal.

use super::Bug;
use super::state::{Call, Commitment, Desired, Life, Manager, Seen, State, Status, Worker};

/// What to do next. Empty: wait for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) write: Option<Status>,
    pub(crate) call: Option<Call>,
}

impl Decision {
    fn write(status: Status) -> Self {
        Self {
            write: Some(status),
            call: None,
        }
    }

    fn call(call: Call) -> Self {
        Self {
            write: None,
            call: Some(call),
        }
    }
}

/// Decides for a manager that is neither waiting for the store nor for the engine.
pub(crate) fn plan(state: &State, manager: &Manager, task: usize, bug: Option<Bug>) -> Decision {
    let status = state.store.statuses[task];
    let worker = &manager.workers[task];
    match manager.view.of(task) {
        None => Decision::default(),
        Some(Desired::Running) if status == Status::Over => Decision::default(),
        Some(Desired::Running) => forward(state, manager, task, bug),
        Some(Desired::Shutdown) => shutdown(status, worker, bug),
    }
}

fn forward(state: &State, manager: &Manager, task: usize, bug: Option<Bug>) -> Decision {
    let status = state.store.statuses[task];
    let worker = &manager.workers[task];
    match worker.seen {
        // One that was made is looked for: a look needs no order.
        Seen::Unknown if status != Status::Nothing => Decision::default(),
        Seen::Missing if worker.start_sent || status == Status::Running => {
            Decision::write(Status::Over)
        }
        Seen::Unknown | Seen::Missing => Decision {
            write: (!worker.is_committed && bug != Some(Bug::NoCommit)).then_some(Status::Starting),
            call: Some(Call::Create),
        },
        Seen::Here(container) => match container.life {
            Life::Running if status < Status::Running => Decision::write(Status::Running),
            Life::Running => Decision::default(),
            Life::Exited if bug == Some(Bug::StartWhatRan) && worker.is_committed => {
                start(state, manager, task, container.id)
            }
            Life::Exited => Decision::write(Status::Over),
            Life::Created => {
                let is_ours = container.term == manager.terms[task];
                match bug {
                    Some(Bug::WaitForOtherTerms) if !is_ours => Decision::default(),
                    Some(Bug::AdoptOtherTerms) => created(state, manager, task, container.id, bug),
                    _ if !is_ours => Decision::call(Call::Remove(container.id)),
                    _ => created(state, manager, task, container.id, bug),
                }
            }
        },
    }
}

fn created(
    state: &State,
    manager: &Manager,
    task: usize,
    container: u8,
    bug: Option<Bug>,
) -> Decision {
    let worker = &manager.workers[task];
    if worker.start_sent && bug != Some(Bug::StartTwice) {
        // The patience with a start that was lost is a step of its own.
        Decision::default()
    } else if !worker.is_committed && bug != Some(Bug::NoCommit) {
        Decision::write(Status::Starting)
    } else {
        start(state, manager, task, container)
    }
}

fn start(state: &State, manager: &Manager, task: usize, container: u8) -> Decision {
    let commitment = match state.facts.committed[task] {
        (term, true) if term == manager.terms[task] => Commitment::Sound,
        (term, false) if term == manager.terms[task] => Commitment::Unwanted,
        _ => Commitment::Missing,
    };
    Decision::call(Call::Start(container, commitment))
}

fn shutdown(status: Status, worker: &Worker, bug: Option<Bug>) -> Decision {
    match worker.seen {
        // The start may still come: it is over when that is certain.
        Seen::Here(container)
            if container.life == Life::Created
                && worker.start_sent
                && bug != Some(Bug::ForgetTheStart) =>
        {
            Decision::default()
        }
        Seen::Here(container) if container.life == Life::Running => {
            Decision::call(Call::Stop(container.id))
        }
        Seen::Unknown => Decision::default(),
        Seen::Missing | Seen::Here(_) if status == Status::Over => Decision::default(),
        Seen::Missing | Seen::Here(_) => Decision::write(Status::Over),
    }
}
