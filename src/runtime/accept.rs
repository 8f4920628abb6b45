//! Acceptance: how a user's value becomes the accepted record, for every kind alike (rules I1 and I2). Pure.
//!
//! The controller that owns a kind parses the user's value and calls [`decide`]. It writes the record that comes back,
//! reports the condition, and removes the tombstone once what followed from the object is gone.
//!
//! Invariants:
//! - A bad value keeps the spec in force; nothing but the absence or re-creation of the user's key ends it.
//! - A put that changes nothing writes nothing, whatever etcd counts for it.
//! - No number of etcd alone replaces an object: in another incarnation the name decides and the uid stays; so it does
//!   where the numbers cannot come from the history in which the record was written.
//! - What was deleted and made anew gets a new uid, and only after the old one is cleaned up.
//!
//! Deliberately absent: when a tombstone may leave. Only the owner knows what follows from its objects.

use super::cache::Stored;
use super::plan::{Expect, Plan, Step};
use crate::api::accepted::Accepted;
use crate::api::cluster::Severity;
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::service::Annotated;
use crate::api::status::{Condition, Truth};
use crate::api::time::Timestamp;
use crate::api::uid::Ids;
use crate::api::unit::{Generation, Incarnation, Revision};
use crate::planted::{Bug, planted};
use std::sync::Arc;

/// The type of the condition that every kind has.
pub const ACCEPTED: &str = "Accepted";
/// Reason: the value is in force.
pub const REASON_ACCEPTED: &str = "Accepted";
/// Reason: the value does not parse or validate.
pub const REASON_INVALID: &str = "Invalid";
/// Reason: an object of this name was deleted before, and is still being cleaned up.
pub const REASON_TERMINATING: &str = "Terminating";
/// Reason: the user's key is gone.
pub const REASON_DELETED: &str = "Deleted";

/// A user's key with what was made of its value.
#[derive(Clone, Debug)]
pub struct Written<'a, S> {
    /// The key as the store has it.
    pub stored: &'a Stored<Vec<u8>>,
    /// Labels, annotations and normalised spec, or why there is none.
    pub parsed: Result<(Annotated, S), Refused>,
}

/// Why a value is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A `PascalCase` word; [`REASON_INVALID`] for what does not parse or validate.
    pub reason: &'static str,
    /// Line, field, what was expected.
    pub message: String,
}

impl Refused {
    /// A value with these problems, as the parser found them.
    pub fn invalid(problems: &[impl ToString]) -> Self {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self {
            reason: REASON_INVALID,
            message: problems.join("; "),
        }
    }
}

/// What decisions depend on beside the object itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The store's life, from the cluster's record.
    pub incarnation: Incarnation,
    /// The wall clock.
    pub now: Timestamp,
    /// The conditions that the owner reported last; empty where there are none.
    pub before: &'a [Condition],
}

/// What becomes of the accepted record, and what is said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance<S> {
    /// The record.
    pub record: Record<S>,
    /// `Accepted`; none if there is neither a value nor a record.
    pub condition: Option<Condition>,
}

/// The accepted record after the decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<S> {
    /// There is none and there will be none.
    Absent,
    /// It stays as it is.
    Kept(Arc<Accepted<S>>),
    /// It has to be written: made, changed, or turned into a tombstone.
    Written(Accepted<S>),
}

impl<S> Record<S> {
    /// The record as it is after the decision: in force, or a tombstone if `deleted_at` is set.
    pub fn get(&self) -> Option<&Accepted<S>> {
        match self {
            Self::Absent => None,
            Self::Kept(record) => Some(record),
            Self::Written(record) => Some(record),
        }
    }

    /// The record if it has to be written.
    pub fn to_write(&self) -> Option<&Accepted<S>> {
        match self {
            Self::Written(record) => Some(record),
            Self::Absent | Self::Kept(_) => None,
        }
    }
}

/// Decides what becomes of the accepted record, given the user's key (none: it is gone) and the record that there is.
pub fn decide<S: Clone + PartialEq>(
    written: Option<Written<'_, S>>,
    accepted: Option<&Stored<Accepted<S>>>,
    context: &Context<'_>,
    ids: &mut Ids,
) -> Acceptance<S> {
    let (record, condition) = match (written, accepted) {
        (None, None) => return absent(),
        (None, Some(old)) => (tombstone(&old.value, context.now), deleted(context)),
        (Some(written), None) => match written.parsed {
            Ok(wanted) => (first(written.stored, wanted, context, ids), good(context)),
            Err(refused) => (Record::Absent, bad(&refused, None, context)),
        },
        (Some(written), Some(old))
            if old.deleted_at.is_some() || is_recreated(written.stored, &old.value, context) =>
        {
            (tombstone(&old.value, context.now), terminating(context))
        }
        (Some(written), Some(old)) => match written.parsed {
            Ok(wanted) => (
                next(written.stored, wanted, &old.value, context),
                good(context),
            ),
            Err(_) if planted(Bug::TakesGarbageForDeletion) => {
                (tombstone(&old.value, context.now), deleted(context))
            }
            Err(refused) => (
                Record::Kept(old.value.clone()),
                bad(&refused, Some(old.generation), context),
            ),
        },
    };
    Acceptance {
        record,
        condition: Some(condition),
    }
}

impl<S> Acceptance<S> {
    /// Has the step that ends an object expect the user's key as it was seen: gone, or made anew. The view may be that of a
    /// store that went back since, and has the key (rule I1).
    pub fn guard(&self, mut step: Step, object: &ObjectKey, user: Option<Revision>) -> Step {
        let record = self.record.get();
        if record.is_some_and(|record| record.deleted_at.is_some()) {
            let key = Key::User(object.clone());
            step.expects.push(match user {
                Some(revision) => Expect::Unchanged(key, revision),
                None => Expect::Missing(key),
            });
        }
        step
    }

    /// Tells users what is new since the conditions that were reported last: each refusal once, until it changes.
    pub fn tell(&self, object: &ObjectKey, before: &[Condition], plan: &mut Plan) {
        let Some(condition) = &self.condition else {
            return;
        };
        let told = before.iter().any(|old| {
            old.kind == condition.kind
                && old.status == condition.status
                && old.reason == condition.reason
                && old.message == condition.message
        });
        let uid = self.record.get().map(|record| &record.uid);
        let message = condition.message.as_str();
        match (condition.status, self.record.to_write()) {
            (Truth::True, Some(record)) => {
                let message = format!("accepted generation {}", record.generation);
                plan.note(object, uid, Severity::Normal, REASON_ACCEPTED, message);
            }
            (Truth::True, None) => {}
            (Truth::False | Truth::Unknown, _) if told => {}
            (Truth::False | Truth::Unknown, _) => match condition.reason.as_str() {
                REASON_DELETED => {
                    plan.note(object, uid, Severity::Normal, REASON_DELETED, message);
                }
                REASON_TERMINATING => {
                    plan.note(object, uid, Severity::Normal, REASON_TERMINATING, message);
                }
                _ => plan.note(object, uid, Severity::Warning, "NotAccepted", message),
            },
        }
    }
}

/// Whether the user's key was deleted and made anew since the record was written.
///
/// In another incarnation revisions mean nothing. Within one, a re-created key is younger than anything that was read
/// before; one that is not was copied or restored from elsewhere, and is matched by its name.
fn is_recreated<S>(user: &Stored<Vec<u8>>, old: &Accepted<S>, context: &Context<'_>) -> bool {
    old.incarnation == context.incarnation
        && user.create_revision != old.create_revision
        && user.create_revision > old.mod_revision
        && !planted(Bug::ForgetsRecreation)
}

fn first<S>(
    user: &Stored<Vec<u8>>,
    (metadata, spec): (Annotated, S),
    context: &Context<'_>,
    ids: &mut Ids,
) -> Record<S> {
    Record::Written(Accepted {
        uid: ids.uid(),
        generation: Generation(1),
        metadata,
        spec,
        create_revision: user.create_revision,
        mod_revision: user.mod_revision,
        incarnation: context.incarnation,
        created_at: context.now,
        deleted_at: None,
    })
}

fn next<S: Clone + PartialEq>(
    user: &Stored<Vec<u8>>,
    (metadata, spec): (Annotated, S),
    old: &Arc<Accepted<S>>,
    context: &Context<'_>,
) -> Record<S> {
    let is_same_history =
        old.incarnation == context.incarnation && user.create_revision == old.create_revision;
    let is_same_spec = spec == old.spec;
    let is_same = is_same_history && is_same_spec && metadata == old.metadata;
    if is_same && !planted(Bug::RewritesTheSame) {
        return Record::Kept(old.clone());
    }
    let is_next = !is_same_spec && !planted(Bug::KeepsGeneration);
    Record::Written(Accepted {
        uid: old.uid.clone(),
        generation: Generation(old.generation.0 + u64::from(is_next)),
        metadata,
        spec,
        create_revision: user.create_revision,
        mod_revision: user.mod_revision,
        incarnation: context.incarnation,
        created_at: old.created_at,
        deleted_at: None,
    })
}

fn tombstone<S: Clone>(old: &Arc<Accepted<S>>, now: Timestamp) -> Record<S> {
    if old.deleted_at.is_some() {
        return Record::Kept(old.clone());
    }
    Record::Written(Accepted {
        deleted_at: Some(now),
        ..old.as_ref().clone()
    })
}

fn absent<S>() -> Acceptance<S> {
    Acceptance {
        record: Record::Absent,
        condition: None,
    }
}

fn condition(context: &Context<'_>, status: Truth, reason: &str, message: String) -> Condition {
    Condition::new(
        context.before,
        context.now,
        ACCEPTED,
        status,
        reason,
        message,
    )
}

fn good(context: &Context<'_>) -> Condition {
    condition(
        context,
        Truth::True,
        REASON_ACCEPTED,
        "the value is in force".into(),
    )
}

fn bad(refused: &Refused, in_force: Option<Generation>, context: &Context<'_>) -> Condition {
    let message = match in_force {
        Some(generation) => format!(
            "{}; generation {generation} stays in force",
            refused.message
        ),
        None => refused.message.clone(),
    };
    condition(context, Truth::False, refused.reason, message)
}

fn deleted(context: &Context<'_>) -> Condition {
    condition(
        context,
        Truth::False,
        REASON_DELETED,
        "deleted; what followed from it is being cleaned up".into(),
    )
}

fn terminating(context: &Context<'_>) -> Condition {
    condition(
        context,
        Truth::False,
        REASON_TERMINATING,
        "an object of this name was deleted and is still being cleaned up; this one follows".into(),
    )
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
