//! Acceptance of networks and what they have, and the network's part of a service's status.

use super::ipam::Standing;
use super::ports;
use super::snapshot::{Network, Service, parse};
use super::status;
use crate::api::accepted::{Accepted, AcceptedNetwork};
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::network::NetworkSpec;
use crate::api::service::Annotated;
use crate::api::status::Status;
use crate::api::uid::Ids;
use crate::api::unit::Revision;
use crate::planted::{Bug, planted};
use crate::runtime::accept::{Context, Record, Refused, Written, decide};
use crate::runtime::cache::Stored;
use crate::runtime::plan::{Plan, Step};
use std::sync::Arc;
use std::time::Duration;

/// A network or a published port that got no number, or that a node cannot have, is looked at again after this long: the reason may be another by now, and of what made it so
/// nothing leads here. (What makes a number free gives it out at once.)
const REFUSED: Duration = Duration::from_secs(15);

/// One that is to get a number is looked at again after this long: another may have been given what it would have got.
const PENDING: Duration = Duration::from_secs(1);

/// Accepts, refuses or forgets a network.
pub(super) fn network(mut snapshot: Network<'_>, ids: &mut Ids) -> Plan {
    let mut plan = Plan::default();
    let seen = snapshot.written.as_ref();
    let seen = seen.map(|written| written.stored.mod_revision);
    let implied = snapshot.implied.take();
    let implied = implied.as_ref().map(|stored| Written {
        stored,
        parsed: parse(snapshot.key, &stored.value),
    });
    let written = snapshot.written.take().or(implied);
    let is_used = !snapshot.users.is_empty() || !snapshot.strangers.is_empty();
    let held = snapshot.accepted.filter(|record| {
        // What nobody had written, and somebody writes now, stays the same one too.
        let was_implied = record.value.create_revision == Revision(0) && written.is_some();
        record.deleted_at.is_none() && (is_used || was_implied)
    });
    if let (Some(record), None) = (held, &written) {
        return hold(&snapshot, record);
    }
    // What was deleted while tasks were in it was never gone: put once more it is the same one, from then on of that key. One
    // that nobody wrote is of none, whoever writes it later.
    let is_unwritten = |revision: Revision| revision == Revision(0);
    let (mut same, mut of_none) = (None, None);
    if let (Some(record), Some(written)) = (held, &written)
        && record.value.create_revision != written.stored.create_revision
    {
        let (old, new) = (record.value.create_revision, written.stored.create_revision);
        if is_unwritten(old) || is_unwritten(new) {
            of_none = Some(Stored {
                create_revision: old,
                ..written.stored.clone()
            });
        } else {
            let value = Accepted {
                create_revision: new,
                ..record.value.as_ref().clone()
            };
            same = Some(Stored {
                value: Arc::new(value),
                ..record.clone()
            });
        }
    }
    let written = written.map(|written| Written {
        stored: of_none.as_ref().unwrap_or(written.stored),
        parsed: unchanging(written.parsed, snapshot.accepted),
    });
    let before = snapshot.status.map_or(&[][..], |status| &status.conditions);
    let context = Context {
        incarnation: snapshot.incarnation,
        now: snapshot.now.wall,
        before,
    };
    let accepted = same.as_ref().or(snapshot.accepted);
    let mut acceptance = decide(written, accepted, &context, ids);
    if let (Some(_), Record::Kept(kept)) = (&same, &acceptance.record) {
        acceptance.record = Record::Written(kept.as_ref().clone());
    }
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
        plan.push(acceptance.guard(step, snapshot.key, seen));
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
        // Of a node that does not refuse it any more nothing leads here.
        Some(Standing::Has(..)) if snapshot.is_refused() => plan.look_again(REFUSED),
        Some(Standing::Has(..) | Standing::Fixed(_)) | None => {}
    }
    let told = status::network(&acceptance, &context, standing.as_ref(), &snapshot);
    let step = match told {
        Some(next) => report(step, snapshot.key, snapshot.status, &next),
        None => forget(step, snapshot.key, snapshot.status),
    };
    plan.push(step);
    plan
}

/// Engines never change from which addresses they serve others, nor which versions of IP a network carries, and keep it while
/// anybody is in it: on some nodes an attachable network would be one and on others not, for as long as any task runs, and so
/// with IPv6. So it is one from its beginning or never.
fn unchanging(
    parsed: Result<(Annotated, NetworkSpec), Refused>,
    accepted: Option<&Stored<AcceptedNetwork>>,
) -> Result<(Annotated, NetworkSpec), Refused> {
    let (Some(before), Ok((_, spec))) = (accepted, &parsed) else {
        return parsed;
    };
    let fixed = [
        (
            "attachable",
            "AttachableFixed",
            before.spec.attachable,
            spec.attachable,
        ),
        (
            "ipv6",
            "Ipv6Fixed",
            before.spec.carries_ipv6(),
            spec.carries_ipv6(),
        ),
    ];
    let changed = fixed.into_iter().find(|(_, _, before, now)| before != now);
    changed.map_or(parsed, |(field, reason, before, now)| {
        Err(Refused {
            reason,
            message: format!(
                "{field} is {before}, and {now} is asked for by now: it does not change; delete the network and make it anew"
            ),
        })
    })
}

/// A network that was deleted stays in force until nobody is in it: engines do not let one go either, and tasks would be
/// left without ways.
fn hold(snapshot: &Network<'_>, record: &AcceptedNetwork) -> Plan {
    let mut plan = Plan::default();
    let before = snapshot.status.map_or(&[][..], |status| &status.conditions);
    let context = Context {
        incarnation: snapshot.incarnation,
        now: snapshot.now.wall,
        before,
    };
    let standing = (snapshot.standing)(record);
    let next = status::held(record, snapshot, &context, &standing);
    let step = report(Step::default(), snapshot.key, snapshot.status, &next);
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
            if snapshot.lacking.is_some() && !snapshot.is_programmed {
                plan.look_again(PENDING);
            }
            if let Some(soon) = snapshot.reach.soon {
                plan.look_again(soon);
            }
            if snapshot.outside > 0 {
                plan.look_again(REFUSED);
            }
            let next = status::service(snapshot, accepted, before);
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
