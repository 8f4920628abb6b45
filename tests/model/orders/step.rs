//! The steps: which can be taken in a state, and what each does.

use super::plan::plan;
use super::state::{
    Call, Commitment, Container, Desired, Lapse, Life, Manager, Order, Seen, Session, State,
    Status, TASKS, Term, Wish, Worker, Write,
};
use super::{Action, Bug, Protocol};

/// The steps that can be taken.
pub(super) fn actions(protocol: &Protocol, state: &State, actions: &mut Vec<Action>) {
    owner(protocol, state, actions);
    for task in 0..TASKS {
        if protocol.bounds.exits && state.engines[task].runs() {
            actions.push(Action::Exit { task });
        }
    }
    for (at, manager) in state.managers.iter().enumerate() {
        // Managers that are the same do the same.
        if at > 0 && state.managers[at - 1] == *manager {
            continue;
        }
        of_session(protocol, state, at, manager, actions);
        for task in 0..TASKS {
            of_worker(protocol, state, (at, manager), task, actions);
        }
    }
    for (at, order) in state.orders.iter().enumerate() {
        actions.push(Action::DeliverLate { order: at });
        // Elsewhere an order that never arrives is one that waits for ever; here its lease waits for it.
        let is_held = state.store.shards[protocol.shard(order.task)] == order.term;
        if !protocol.bounds.slow_transit && is_held {
            actions.push(Action::Lose { order: at });
        }
    }
    for write in 0..state.writes.len() {
        actions.push(Action::CommitLate { write });
    }
}

/// What the owner of the slot may do: it writes under its own fence, which `terms.rs` checks.
fn owner(protocol: &Protocol, state: &State, actions: &mut Vec<Action>) {
    let is_over = state.store.statuses[0] == Status::Over;
    match state.store.wish {
        Wish::First => actions.extend([Action::Retire, Action::Unbind]),
        Wish::Retired if is_over || protocol.bug == Some(Bug::ReplaceEarly) => {
            actions.push(Action::Replace);
        }
        Wish::Retired | Wish::Unbound | Wish::Replaced => {}
    }
}

fn of_session(
    protocol: &Protocol,
    state: &State,
    at: usize,
    manager: &Manager,
    actions: &mut Vec<Action>,
) {
    // The last session lasts: somebody has to finish.
    let may_end = state.sessions > 0;
    match manager.session {
        Session::None | Session::Open => {
            let may_claim = manager.session == Session::Open || state.sessions > 0;
            for shard in 0..protocol.bounds.shards {
                let is_ours = manager.terms[shard] != 0;
                let is_free =
                    state.store.shards[shard] == 0 || protocol.bug == Some(Bug::ClaimTaken);
                if may_claim && is_free && !is_ours {
                    actions.push(Action::Claim { manager: at, shard });
                }
            }
        }
        Session::Slept => actions.push(Action::Wake { manager: at }),
        Session::Closing => {}
    }
    if manager.session == Session::Open {
        if manager.view < state.store.wish {
            actions.push(Action::Sync { manager: at });
        }
        let writes = manager.workers.iter().any(|worker| worker.write.is_some());
        if may_end && !writes {
            actions.push(Action::Crash { manager: at });
        }
    }
    let has_lease = matches!(manager.session, Session::Open | Session::Closing);
    let is_orderly = manager.session == Session::Closing || may_end;
    if has_lease && is_orderly && protocol.may_lapse(state, manager) {
        actions.push(Action::LeaseEnds { manager: at });
    }
}

fn of_worker(
    protocol: &Protocol,
    state: &State,
    (at, manager): (usize, &Manager),
    task: usize,
    actions: &mut Vec<Action>,
) {
    let worker = &manager.workers[task];
    let may_act = protocol.may_act(manager);
    if manager.terms[task] == 0 {
        return;
    }
    if worker.write.is_some() {
        actions.push(Action::Commit { manager: at, task });
        if state.sessions > 0 && manager.session == Session::Open {
            actions.push(Action::Unknown { manager: at, task });
        }
    }
    match worker.order {
        Some(order) if !order.is_sent => actions.push(Action::Send { manager: at, task }),
        Some(_) => {
            actions.push(Action::Deliver { manager: at, task });
            if state.losses > 0 && may_act {
                actions.push(Action::GiveUp { manager: at, task });
            }
        }
        None if worker.write.is_none() && may_act && manager.view.of(task).is_some() => {
            if worker.seen != look(state, task) {
                actions.push(Action::Look { manager: at, task });
            }
            let decision = plan(state, manager, task, protocol.bug);
            if decision.write.is_some() || decision.call.is_some() {
                actions.push(Action::Plan { manager: at, task });
            }
            if waits_in_vain(state, worker, task) {
                actions.push(Action::LosePatience { manager: at, task });
            }
        }
        None => {}
    }
}

/// Whether a start was sent, does not show, and is not on its way any more: no engine takes longer than the patience.
fn waits_in_vain(state: &State, worker: &Worker, task: usize) -> bool {
    let Seen::Here(container) = worker.seen else {
        return false;
    };
    let is_of_it = |order: &Order| {
        order.task == task && matches!(order.call, Call::Start(id, _) if id == container.id)
    };
    worker.start_sent
        && worker.seen == look(state, task)
        && container.life == Life::Created
        && state.store.statuses[task] != Status::Over
        && !state.orders.iter().any(is_of_it)
}

impl Protocol {
    /// The shard of a task's engine.
    fn shard(&self, task: usize) -> usize {
        task.min(self.bounds.shards - 1)
    }

    /// The check of the deadline: it lies before the end of the lease (rule N5).
    fn may_act(&self, manager: &Manager) -> bool {
        manager.session == Session::Open
            || (manager.session == Session::Slept && self.bug == Some(Bug::NoDeadlineCheck))
    }

    /// Whether a lease can end now: with the window shut, what was checked and sent comes first.
    fn may_lapse(&self, state: &State, manager: &Manager) -> bool {
        let of_workers = manager.workers.iter().filter_map(|worker| worker.order);
        let late = state.orders.iter().copied();
        let of_its_terms = late.filter(|order| manager.terms[order.task] == order.term);
        self.bounds.slow_transit || of_workers.chain(of_its_terms).all(|order| !order.is_sent)
    }
}

/// What somebody who looks at a task's container sees.
fn look(state: &State, task: usize) -> Seen {
    state.engines[task]
        .container
        .map_or(Seen::Missing, Seen::Here)
}

/// The state after a step.
pub(super) fn next(protocol: &Protocol, state: &State, action: Action) -> State {
    let mut next = state.clone();
    match action {
        Action::Retire => next.store.wish = Wish::Retired,
        Action::Unbind => next.store.wish = Wish::Unbound,
        Action::Replace => next.store.wish = Wish::Replaced,
        Action::Exit { task } => {
            if let Some(container) = &mut next.engines[task].container {
                container.life = Life::Exited;
            }
        }
        Action::Claim { manager, shard } => claim(protocol, &mut next, manager, shard),
        Action::LeaseEnds { manager } => lease_ends(&mut next, manager),
        Action::Wake { manager } => {
            abandon(&mut next, manager);
            next.managers[manager] = Manager::idle();
        }
        Action::Crash { manager } => close(&mut next, manager),
        Action::Unknown { manager, task } => unknown(protocol, &mut next, manager, task),
        Action::Sync { manager } => next.managers[manager].view = next.store.wish,
        Action::Look { manager, task } => {
            next.managers[manager].workers[task].seen = look(state, task);
        }
        Action::Plan { manager, task } => act(protocol, &mut next, manager, task),
        Action::Send { manager, task } => {
            if let Some(order) = &mut next.managers[manager].workers[task].order {
                order.is_sent = true;
            }
        }
        Action::Deliver { manager, task } => {
            if let Some(order) = next.managers[manager].workers[task].order.take() {
                deliver(protocol, &mut next, &order);
            }
            next.managers[manager].workers[task].seen = look(&next, task);
        }
        Action::GiveUp { manager, task } => {
            next.losses -= 1;
            let worker = &mut next.managers[manager].workers[task];
            worker.seen = Seen::Unknown;
            let order = worker.order.take();
            next.orders.extend(order);
        }
        Action::Commit { manager, task } => commit(protocol, &mut next, manager, task),
        Action::LosePatience { manager, task } => {
            let term = next.managers[manager].terms[task];
            next.managers[manager].workers[task].write = Some(Write {
                task,
                term,
                status: Status::Over,
            });
        }
        Action::DeliverLate { order } => {
            let order = next.orders.remove(order);
            deliver(protocol, &mut next, &order);
        }
        Action::Lose { order } => {
            next.orders.remove(order);
        }
        Action::CommitLate { write } => {
            let write = next.writes.remove(write);
            apply(protocol, &mut next, &write);
        }
    }
    tidy(protocol, &mut next);
    next
}

fn claim(protocol: &Protocol, state: &mut State, at: usize, shard: usize) {
    state.store.revision += 1;
    state.store.shards[shard] = state.store.revision;
    let manager = &mut state.managers[at];
    if manager.session == Session::None {
        manager.session = Session::Open;
        state.sessions -= 1;
    }
    for task in (0..TASKS).filter(|task| protocol.shard(*task) == shard) {
        manager.terms[task] = state.store.revision;
    }
}

fn lease_ends(state: &mut State, at: usize) {
    let manager = &mut state.managers[at];
    let terms = manager.terms;
    for term in &mut state.store.shards {
        if terms.contains(term) {
            *term = 0;
        }
    }
    let of_workers = manager
        .workers
        .iter_mut()
        .filter_map(|worker| worker.order.as_mut());
    for order in of_workers.chain(&mut state.orders) {
        if terms.contains(&order.term) && order.lapse == Lapse::None {
            order.lapse = match order.is_sent {
                true => Lapse::InTransit,
                false => Lapse::Unsent,
            };
        }
    }
    match manager.session {
        Session::Closing => *manager = Manager::idle(),
        _ => manager.session = Session::Slept,
    }
}

/// The manager forgets what it did; what it sent goes on alone.
fn abandon(state: &mut State, at: usize) {
    let workers = std::mem::take(&mut state.managers[at].workers);
    for worker in workers {
        state
            .orders
            .extend(worker.order.filter(|order| order.is_sent));
        state.writes.extend(worker.write);
    }
}

/// The term ends; its keys stay until the lease has ended too.
fn close(state: &mut State, at: usize) {
    abandon(state, at);
    let manager = &mut state.managers[at];
    manager.view = Wish::First;
    manager.session = Session::Closing;
}

fn unknown(protocol: &Protocol, state: &mut State, at: usize, task: usize) {
    if protocol.bug != Some(Bug::TermGoesOn) {
        return close(state, at);
    }
    // Each costs a session, so that they are few.
    state.sessions -= 1;
    let write = state.managers[at].workers[task].write.take();
    state.writes.extend(write);
}

fn act(protocol: &Protocol, state: &mut State, at: usize, task: usize) {
    let decision = plan(state, &state.managers[at], task, protocol.bug);
    let manager = &mut state.managers[at];
    let term = manager.terms[task];
    let worker = &mut manager.workers[task];
    worker.start_sent |= matches!(decision.call, Some(Call::Start(..)));
    worker.write = decision.write.map(|status| Write { task, term, status });
    worker.order = decision.call.map(|call| Order {
        task,
        term,
        call,
        is_sent: !protocol.bounds.pause_before_sending,
        lapse: Lapse::None,
    });
}

fn commit(protocol: &Protocol, state: &mut State, at: usize, task: usize) {
    let Some(write) = state.managers[at].workers[task].write.take() else {
        return;
    };
    let is_fenced = !holds(protocol, state, &write);
    let is_applied = apply(protocol, state, &write);
    if is_fenced && state.managers[at].session == Session::Open {
        close(state, at);
    } else if is_fenced {
        abandon(state, at);
        state.managers[at] = Manager::idle();
    } else if !is_applied {
        // The ground has changed: it waits until its cache shows that.
        state.managers[at].view = state.store.wish;
    } else if write.status == Status::Starting {
        state.managers[at].workers[task].is_committed = true;
    }
}

/// Whether the fence of a write holds.
fn holds(protocol: &Protocol, state: &State, write: &Write) -> bool {
    state.store.shards[protocol.shard(write.task)] == write.term
        || protocol.bug == Some(Bug::NoFence)
}

/// Applies a transaction whole or not at all; says which.
fn apply(protocol: &Protocol, state: &mut State, write: &Write) -> bool {
    let task = write.task;
    let wish = state.store.wish;
    let is_wanted = wish.of(task) == Some(Desired::Running);
    let is_commitment = write.status == Status::Starting;
    let is_let_through = match protocol.bug {
        Some(Bug::NoRecordCompare) => wish != Wish::Unbound,
        Some(Bug::NoBindingCompare) => wish == Wish::Unbound,
        _ => false,
    };
    let compares = !is_commitment || is_wanted || is_let_through;
    if !compares || !holds(protocol, state, write) {
        return false;
    }
    let facts = &mut state.facts;
    facts.overtaken |= write.term < facts.wrote[task];
    facts.wrote[task] = write.term;
    facts.went_back |= write.status < state.store.statuses[task];
    if is_commitment {
        facts.committed[task] = (write.term, is_wanted);
    }
    state.store.statuses[task] = write.status;
    true
}

/// An order takes effect, or the engine refuses it.
fn deliver(protocol: &Protocol, state: &mut State, order: &Order) {
    let is_of_term = state.store.shards[protocol.shard(order.task)] == order.term;
    let engine = &mut state.engines[order.task];
    match (order.call, engine.container) {
        (Call::Create, None) => {
            engine.made += 1;
            engine.container = Some(Container {
                id: engine.made,
                term: order.term,
                life: Life::Created,
            });
        }
        (Call::Start(id, commitment), Some(container))
            if container.life != Life::Running
                && (id == container.id || protocol.bug == Some(Bug::StartByName)) =>
        {
            run(state, order, container, commitment, is_of_term);
        }
        (Call::Stop(id), Some(mut container))
            if id == container.id && container.life == Life::Running =>
        {
            container.life = Life::Exited;
            engine.container = Some(container);
        }
        (Call::Remove(id), Some(container))
            if id == container.id
                && (container.life != Life::Running
                    || protocol.bug == Some(Bug::RemoveWithForce)) =>
        {
            engine.container = None;
        }
        // No such container, or it is in a state that the engine refuses or that is wanted already.
        (Call::Create | Call::Start(..) | Call::Stop(_) | Call::Remove(_), _) => {}
    }
}

fn run(
    state: &mut State,
    order: &Order,
    mut container: Container,
    commitment: Commitment,
    is_of_term: bool,
) {
    let engine = &mut state.engines[order.task];
    match container.life {
        Life::Created => engine.ran += 1,
        Life::Running | Life::Exited => state.facts.restarted = true,
    }
    container.life = Life::Running;
    engine.container = Some(container);
    let facts = &mut state.facts;
    facts.worst = facts.worst.min(commitment);
    if !is_of_term {
        facts.late = Some(
            facts
                .late
                .map_or(order.lapse, |before| before.min(order.lapse)),
        );
    }
}

/// Leaves out what can have no effect any more, and puts in order what has none.
fn tidy(protocol: &Protocol, state: &mut State) {
    let State {
        orders,
        writes,
        engines,
        store,
        ..
    } = state;
    orders.retain(|order| {
        let here = engines[order.task].container.map(|container| container.id);
        match order.call {
            Call::Create => true,
            Call::Start(..) if protocol.bug == Some(Bug::StartByName) => true,
            Call::Start(id, _) | Call::Stop(id) | Call::Remove(id) => here == Some(id),
        }
    });
    let is_over = |term: Term, task: usize| store.shards[protocol.shard(task)] != term;
    if protocol.bug != Some(Bug::NoFence) {
        writes.retain(|write| !is_over(write.term, write.task));
    }
    orders.sort_unstable();
    writes.sort_unstable();
    state.managers.sort_unstable();
}
