//! The steps: which can be taken in a state, and what each does.

use super::{Action, Bug, Candidate, Election, Entry, Lease, Phase, State, Txn};

/// The steps that can be taken.
pub(super) fn actions(election: &Election, state: &State, actions: &mut Vec<Action>) {
    for (candidate, one) in state.candidates.iter().enumerate() {
        // Candidates that are the same do the same.
        if candidate > 0 && state.candidates[candidate - 1] == *one {
            continue;
        }
        of_candidate(election, state, (candidate, one), actions);
    }
    // The last lease lasts: somebody has to lead in the end. Those of nobody end in any case.
    let may_end = state.granted < election.bounds.leases;
    let has_owner = |lease: &Lease| {
        let stands = |one: &Candidate| one.lease == *lease && one.phase != Phase::Idle;
        state.candidates.iter().any(stands)
    };
    let ending = state
        .leases
        .iter()
        .filter(|lease| may_end || !has_owner(lease));
    actions.extend(ending.map(|lease| Action::LeaseEnds { lease: *lease }));
    actions.extend((0..state.late.len()).map(|txn| Action::Late { txn }));
}

fn of_candidate(
    election: &Election,
    state: &State,
    (candidate, one): (usize, &Candidate),
    actions: &mut Vec<Action>,
) {
    let may_begin = state.granted < election.bounds.leases;
    match one.phase {
        Phase::Idle if may_begin => actions.push(Action::Campaign { candidate }),
        Phase::Waiting if leads(election, state, one).is_some() => {
            actions.push(Action::Lead { candidate });
        }
        Phase::Leading if one.txn.is_none() && state.planned < election.bounds.plans => {
            actions.push(Action::Plan { candidate });
        }
        Phase::Idle | Phase::Entering | Phase::Waiting | Phase::Leading | Phase::Gone => {}
    }
    if one.txn.is_some() {
        actions.push(Action::Answer { candidate });
        if may_begin {
            actions.push(Action::Unknown { candidate });
        }
    }
    if matches!(one.phase, Phase::Idle | Phase::Gone) {
        return;
    }
    if may_begin {
        actions.push(Action::Crash { candidate });
    }
    if !state.leases.contains(&one.lease) {
        actions.push(Action::Wake { candidate });
    }
}

/// What a candidate that reads the keys now compares from then on, if it leads.
fn leads(election: &Election, state: &State, one: &Candidate) -> Option<Entry> {
    let own = state.keys.iter().find(|entry| entry.lease == one.lease)?;
    let oldest = state.keys.iter().min()?;
    match election.bug {
        Some(Bug::LeadUnasked) => Some(*own),
        Some(Bug::FenceOfAnother) => Some(*oldest),
        _ => (own == oldest).then_some(*own),
    }
}

/// Whether somebody leads whose lease lives.
pub(super) fn is_led(state: &State) -> bool {
    let leads = |one: &Candidate| one.phase == Phase::Leading && state.leases.contains(&one.lease);
    state.candidates.iter().any(leads)
}

/// The state after a step.
pub(super) fn next(election: &Election, state: &State, action: Action) -> State {
    let mut next = state.clone();
    match action {
        Action::Campaign { candidate } => campaign(&mut next, candidate),
        Action::Answer { candidate } => answer(election, &mut next, candidate),
        Action::Unknown { candidate } => unknown(election, &mut next, candidate),
        Action::Lead { candidate } => {
            let fence = leads(election, state, &state.candidates[candidate]);
            let one = &mut next.candidates[candidate];
            one.phase = Phase::Leading;
            one.fence = fence;
        }
        Action::Plan { candidate } => {
            next.planned += 1;
            let one = &mut next.candidates[candidate];
            one.txn = one.fence.map(|fence| Txn::Write {
                fence,
                plan: next.planned,
                by: one.lease,
            });
        }
        Action::Crash { candidate } => {
            end_term(&mut next, candidate);
            // Who takes its place does not know the old lease.
            next.candidates[candidate].lease = 0;
        }
        Action::Wake { candidate } => end_term(&mut next, candidate),
        Action::LeaseEnds { lease } => end_lease(&mut next, lease),
        Action::Late { txn } => {
            let txn = next.late.remove(txn);
            apply(election, &mut next, txn);
        }
    }
    tidy(&mut next);
    next
}

/// First the old key and lease go, and then a new campaign begins.
fn campaign(state: &mut State, candidate: usize) {
    end_lease(state, state.candidates[candidate].lease);
    state.granted += 1;
    state.leases.push(state.granted);
    let one = &mut state.candidates[candidate];
    one.phase = Phase::Entering;
    one.lease = state.granted;
    one.txn = Some(Txn::Enter(state.granted));
}

fn end_lease(state: &mut State, lease: Lease) {
    state.leases.retain(|living| *living != lease);
    state.keys.retain(|entry| entry.lease != lease);
}

/// The candidate leads no more; what it sent goes on alone.
fn end_term(state: &mut State, candidate: usize) {
    let one = &mut state.candidates[candidate];
    one.phase = Phase::Idle;
    one.fence = None;
    state.late.extend(one.txn.take());
}

fn unknown(election: &Election, state: &mut State, candidate: usize) {
    let is_leading = state.candidates[candidate].phase == Phase::Leading;
    if election.bug == Some(Bug::TermGoesOn) && is_leading {
        let txn = state.candidates[candidate].txn.take();
        state.late.extend(txn);
    } else {
        end_term(state, candidate);
    }
}

fn answer(election: &Election, state: &mut State, candidate: usize) {
    let Some(txn) = state.candidates[candidate].txn.take() else {
        return;
    };
    let is_applied = apply(election, state, txn);
    match (is_applied, txn) {
        (true, Txn::Enter(_)) => state.candidates[candidate].phase = Phase::Waiting,
        (true, Txn::Write { .. }) => {}
        (false, _) => end_term(state, candidate),
    }
    if !is_applied && election.bug == Some(Bug::GiveUp) {
        state.candidates[candidate].phase = Phase::Gone;
    }
}

/// Applies a transaction whole or not at all; says which.
fn apply(election: &Election, state: &mut State, txn: Txn) -> bool {
    match txn {
        Txn::Enter(lease) => {
            let lives = state.leases.contains(&lease);
            if lives {
                state.revision += 1;
                let created = state.revision;
                state.keys.push(Entry { created, lease });
            }
            lives
        }
        Txn::Write { fence, plan, by } => {
            let holds = state.keys.contains(&fence) || election.bug == Some(Bug::NoFence);
            if holds {
                let (term, planned, writer) = state.last;
                state.has_two_writers |= writer != 0 && writer != by;
                state.shared |= term == fence.created && writer != by;
                state.overtaken |= fence.created < term;
                state.outdated |= plan < planned;
                state.last = (fence.created, plan, by);
            }
            holds
        }
    }
}

/// Puts in order what has none.
fn tidy(state: &mut State) {
    state.keys.sort_unstable();
    state.leases.sort_unstable();
    state.late.sort_unstable();
    state.candidates.sort_unstable();
}
