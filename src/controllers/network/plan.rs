//! Acceptance of networks and what they have, and the network's part of a service's status.

use super::ipam::Standing;
use super::ports;
use super::snapshot::{Network, Service};
use super::status;
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::status::Status;
use crate::api::uid::Ids;
use crate::planted::{Bug, planted};
use crate::runtime::accept::{Context, decide};
use crate::runtime::cache::Stored;
use crate::runtime::plan::{Plan, Step};
use std::time::Duration;

/// A network or a published port that got no number is looked at again after this long: the reason may be another by now, and of what made it so
/// nothing leads here. (What makes a number free gives it out at once.)
const REFUSED: Duration = Duration::from_secs(15);

/// One that is to get a number is looked at again after this long: another may have been given what it would have got.
const PENDING: Duration = Duration::from_secs(1);

/// Accepts, refuses or forgets a network.
pub(super) fn network(snapshot: Network<'_>, ids: &mut Ids) -> Plan {
    let mut plan = Plan::default();
    let before = snapshot.status.map_or(&[][..], |status| &status.conditions);
    let context = Context {
        incarnation: snapshot.incarnation,
        now: snapshot.now.wall,
        before,
    };
    let acceptance = decide(snapshot.written, snapshot.accepted, &context, ids);
    acceptance.tell(snapshot.key, before, &mut plan);

    let record = Key::Accepted(snapshot.key.clone());
    let is_deleted = acceptance
        .record
        .get()
        .is_some_and(|record| record.deleted_at.is_some());
    if is_deleted {
        // Nothing on any node follows from a network yet, so its clean-up is done: what it was given is taken back once the
        // record is gone. What was made anew is accepted at the next look.
        let step = forget(
            Step::default().delete(record),
            snapshot.key,
            snapshot.status,
        );
        plan.push(step);
        return plan;
    }
    let mut step = Step::default();
    if let Some(accepted) = acceptance.record.to_write() {
        step = step.put(record, accepted);
    }
    let accepted = acceptance.record.get();
    let standing = accepted.map(|record| (snapshot.standing)(record));
    match standing {
        Some(Standing::Refused(_)) => plan.look_again(REFUSED),
        Some(Standing::Pending(_)) => plan.look_again(PENDING),
        Some(Standing::Has(..) | Standing::Fixed(_)) | None => {}
    }
    let step = match status::network(&acceptance, &context, standing.as_ref()) {
        Some(next) => report(step, snapshot.key, snapshot.status, &next),
        None => forget(step, snapshot.key, snapshot.status),
    };
    plan.push(step);
    plan
}

/// Reports what a service asks for and what of it is provided.
pub(super) fn service(snapshot: &Service<'_>) -> Plan {
    let mut plan = Plan::default();
    let step = match snapshot.accepted {
        Some(accepted) => {
            let before = snapshot.status.map(|status| &*status.value);
            let ports = snapshot.ports.as_deref();
            for standing in ports.unwrap_or_default() {
                match standing {
                    ports::Standing::Refused(_) => plan.look_again(REFUSED),
                    ports::Standing::Pending => plan.look_again(PENDING),
                    ports::Standing::Has(_) => {}
                }
            }
            let next = status::service(accepted, ports, before, snapshot.now.wall);
            report(Step::default(), snapshot.key, snapshot.status, &next)
        }
        None => forget(Step::default(), snapshot.key, snapshot.status),
    };
    plan.push(step);
    plan
}

fn report(step: Step, key: &ObjectKey, before: Option<&Stored<Status>>, next: &Status) -> Step {
    match before {
        Some(before) if *before.value == *next => step,
        Some(_) | None => step.put(Key::Status(key.clone(), status::CONTROLLER.into()), next),
    }
}

fn forget(step: Step, key: &ObjectKey, before: Option<&Stored<Status>>) -> Step {
    match before {
        Some(_) if planted(Bug::KeepsStatuses) => step,
        Some(_) => step.delete(Key::Status(key.clone(), status::CONTROLLER.into())),
        None => step,
    }
}
