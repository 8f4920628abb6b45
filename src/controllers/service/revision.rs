//! Revisions: immutable copies of what tasks are made from. Pure.
//!
//! The current revision of a service is the one with its template's hash. Going back to an earlier template goes back to
//! its revision instead of making another: tasks that a half-done change had not reached yet are simply up to date again.

use crate::api::accepted::AcceptedService;
use crate::api::hash::template_hash;
use crate::api::service::PortMode;
use crate::api::task::ServiceRevision;
use crate::api::time::Timestamp;
use crate::api::unit::RevisionNumber;
use crate::runtime::cache::Stored;
use std::collections::BTreeSet;

/// So many revisions that no task uses are kept, the newest: what people may want to go back to.
const KEPT: usize = 10;

/// The revision that the service's tasks should be of.
pub(super) enum Current<'a> {
    /// It is in the store.
    Stored(&'a ServiceRevision),
    /// It has to be written.
    New(Box<ServiceRevision>),
}

impl Current<'_> {
    /// The revision itself.
    pub(super) fn get(&self) -> &ServiceRevision {
        match self {
            Self::Stored(revision) => revision,
            Self::New(revision) => revision,
        }
    }
}

/// Finds the revision with the hash of the service's template, or makes the next one.
pub(super) fn current<'a>(
    service: &AcceptedService,
    revisions: &[&'a Stored<ServiceRevision>],
    now: Timestamp,
) -> Current<'a> {
    let spec = &service.spec;
    let hash = template_hash(&spec.template, &spec.ports);
    if let Some(found) = revisions.iter().rev().find(|old| old.hash == hash) {
        return Current::Stored(&found.value);
    }
    let last = revisions.iter().map(|old| old.number.0).max().unwrap_or(0);
    let host_ports = spec
        .ports
        .iter()
        .filter(|port| port.mode == PortMode::Host)
        .cloned()
        .collect();
    Current::New(Box::new(ServiceRevision {
        service: service.uid.clone(),
        number: RevisionNumber(last + 1),
        hash,
        template: spec.template.clone(),
        host_ports,
        cause: cause(service, last),
        created_at: now,
    }))
}

fn cause(service: &AcceptedService, last: u64) -> String {
    match last {
        0 => "the service's first template".into(),
        _ => format!("generation {} changed the template", service.generation),
    }
}

/// The revisions that no task uses and that are not among the newest.
pub(super) fn outlived(
    revisions: &[&Stored<ServiceRevision>],
    used: &BTreeSet<RevisionNumber>,
) -> Vec<RevisionNumber> {
    let unused: Vec<RevisionNumber> = revisions
        .iter()
        .map(|revision| revision.number)
        .filter(|number| !used.contains(number))
        .collect();
    unused[..unused.len().saturating_sub(KEPT)].to_vec()
}
