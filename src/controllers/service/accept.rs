//! Acceptance of services: the user's value and the scale key become the spec in force. Pure.
//!
//! The rules that hold for every kind are `runtime::accept`'s. Here is what a service adds: replicas that the manifest
//! leaves out come from the scale key, else stay as they are, at first 1. So losing the scale key stops nothing.
//!
//! A value that was read before is not read again: a later version's new default changes nothing that runs.

use super::scale;
use super::snapshot::Snapshot;
use crate::api::accepted::AcceptedService;
use crate::api::manifest::{self, Spec};
use crate::api::name::ObjectKey;
use crate::api::service::{Annotated, Mode, ServiceSpec};
use crate::api::status::{Condition, Truth};
use crate::api::time::Timestamp;
use crate::api::uid::Ids;
use crate::api::unit::Incarnation;
use crate::runtime::accept::{
    ACCEPTED, Acceptance, Context, REASON_INVALID, Record, Refused, Written, decide,
};

/// Reason of `Accepted=False`: the scale key cannot be read; the replicas in force stay.
const REASON_INVALID_SCALE: &str = "InvalidScale";

/// What becomes of the accepted record.
pub(super) fn accept(
    snapshot: &Snapshot<'_>,
    incarnation: Incarnation,
    now: Timestamp,
    ids: &mut Ids,
) -> Acceptance<ServiceSpec> {
    let context = Context {
        incarnation,
        now,
        before: snapshot.conditions(),
    };
    let asked = snapshot.scale.map(|value| scale::parse(&value.value));
    let written = snapshot.user.map(|stored| Written {
        stored,
        parsed: parse(snapshot, incarnation, &asked),
    });
    let mut acceptance = decide(written, snapshot.accepted, &context, ids);
    // A tombstone leaves after the last task. So tasks without any record mean that the record was lost, and they say
    // which uid it had; another one would stop them all.
    if let (None, Record::Written(record), Some(task)) = (
        snapshot.accepted,
        &mut acceptance.record,
        snapshot.tasks.first(),
    ) {
        record.uid = task.task.value.service.clone();
    }
    if let (Some(Err(message)), Some(condition)) = (&asked, &mut acceptance.condition)
        && condition.status == Truth::True
    {
        let message = format!(
            "scale/{}: {message}; the replicas in force stay",
            snapshot.name
        );
        *condition = Condition::new(
            context.before,
            now,
            ACCEPTED,
            Truth::False,
            REASON_INVALID_SCALE,
            message,
        );
    }
    acceptance
}

fn parse(
    snapshot: &Snapshot<'_>,
    incarnation: Incarnation,
    asked: &Option<Result<u32, String>>,
) -> Result<(Annotated, ServiceSpec), Refused> {
    let in_force = snapshot.accepted.map(|record| &*record.value);
    let asked = asked
        .as_ref()
        .and_then(|asked| asked.as_ref().ok())
        .copied();
    if let Some(record) = in_force.filter(|record| is_read(snapshot, record, incarnation))
        && asked.is_none_or(|asked| record.spec.replicas == Some(asked))
    {
        return Ok((record.metadata.clone(), record.spec.clone()));
    }
    let (metadata, mut spec) = read(snapshot)?;
    if spec.mode == Mode::Replicated && spec.replicas.is_none() {
        let before = in_force.and_then(|record| record.spec.replicas);
        spec.replicas = asked.or(before).or(Some(1));
    }
    Ok((metadata, spec))
}

/// Whether the user's value is the one that the record was made from.
fn is_read(snapshot: &Snapshot<'_>, record: &AcceptedService, incarnation: Incarnation) -> bool {
    record.incarnation == incarnation
        && snapshot
            .user
            .is_some_and(|user| user.mod_revision == record.mod_revision)
}

fn read(snapshot: &Snapshot<'_>) -> Result<(Annotated, ServiceSpec), Refused> {
    let object = ObjectKey::service(snapshot.name);
    let value = snapshot.user.map_or(&[][..], |user| &user.value[..]);
    let refused = |message: String| Refused {
        reason: REASON_INVALID,
        message,
    };
    let manifest = manifest::parse_value(&object, value).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        refused(problems.join("; "))
    })?;
    match manifest.spec {
        Spec::Service(spec) => Ok((manifest.metadata, *spec)),
        Spec::Node(_) | Spec::Network(_) => {
            Err(refused("the key is for a Service, the value is not".into()))
        }
    }
}
