//! Whose is a container? (rule C1)

use super::label;
use crate::api::name::{NodeName, Scoped};
use crate::api::task::{Slot, Stamp};
use crate::api::uid::{TaskId, Uid, is_identifier};
use crate::api::unit::{Incarnation, Revision, RevisionNumber, Term};
use crate::engine::Container;
use crate::planted::{Bug, planted};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Whose a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A task's of this cluster.
    Ours(Box<Ours>),
    /// Another cluster's: reported, never touched.
    ForeignCluster {
        /// The other cluster's id.
        cluster: Uid,
        /// What its labels say, where they read as a task's.
        theirs: Option<Box<Ours>>,
    },
    /// It carries this cluster's label and is not of its making (an image made by `docker commit` keeps labels):
    /// reported, never touched.
    Imposter {
        /// What gives it away.
        reason: String,
    },
    /// Somebody else's: none of our business.
    NotOurs,
}

/// What the labels of a container of ours say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// The task.
    pub task: TaskId,
    /// The service's uid.
    pub service: Uid,
    /// The service by name.
    pub name: Scoped,
    /// Its place. A number is read as a replica's; only the service's mode tells it from a node that is named by a number.
    pub slot: Slot,
    /// The service's revision.
    pub revision: RevisionNumber,
    /// The template's hash.
    pub hash: String,
    /// The node's uid.
    pub node: Uid,
    /// When the order to make it was given.
    pub stamp: Stamp,
}

/// Decides whose a container is: ours has the cluster's label AND a name that ends in the labelled task id.
pub fn claim(container: &Container, cluster: &Uid) -> Claim {
    whose(&container.labels, &container.name, cluster)
}

/// The same by labels and name alone.
pub fn whose(labels: &BTreeMap<String, String>, name: &str, cluster: &Uid) -> Claim {
    match labels.get(label::CLUSTER) {
        None => return Claim::NotOurs,
        Some(other) if other != cluster.as_str() => {
            return Claim::ForeignCluster {
                cluster: Uid::from(other.clone()),
                theirs: read(labels, name).ok().map(Box::new),
            };
        }
        Some(_) => {}
    }
    match read(labels, name) {
        Ok(ours) => Claim::Ours(Box::new(ours)),
        Err(reason) => Claim::Imposter { reason },
    }
}

/// Labels that begin as ours do, in order. A dozen are asked for one after the other, and there are hardly more.
type Labels<'a> = [(&'a String, &'a String)];

fn read(labels: &BTreeMap<String, String>, name: &str) -> Result<Ours, String> {
    let from = (Bound::Included(label::PREFIX), Bound::Unbounded);
    let ours = labels.range::<str, _>(from);
    let ours = ours.take_while(|(name, _)| name.starts_with(label::PREFIX));
    let labels = &ours.collect::<Vec<_>>()[..];
    let task = text(labels, label::TASK)?;
    if !is_identifier(task) {
        return Err(format!("label {} is no task id: `{task}`", label::TASK));
    }
    let end = name.strip_suffix(task);
    let fits = end.is_some_and(|rest| rest.ends_with('.'));
    if !fits && !planted(Bug::AdoptsCopies) {
        return Err(format!(
            "name `{name}` does not end in the task id of its label, {task}"
        ));
    }
    let slot = text(labels, label::SLOT)?;
    Ok(Ours {
        task: task.into(),
        service: text(labels, label::SERVICE)?.into(),
        name: Scoped::new(text(labels, label::NAMESPACE)?, text(labels, label::NAME)?),
        slot: match slot.parse() {
            Ok(number) => Slot::Replica(number),
            Err(_) => Slot::Node(NodeName::from(slot)),
        },
        revision: RevisionNumber(number(labels, label::REVISION)?),
        hash: text(labels, label::HASH)?.to_owned(),
        node: text(labels, label::NODE)?.into(),
        stamp: Stamp {
            incarnation: Incarnation(number(labels, label::INCARNATION)?),
            term: Term(number(labels, label::TERM)?),
            revision: Revision(number(labels, label::STORE_REVISION)?),
        },
    })
}

fn text<'a>(labels: &Labels<'a>, label: &str) -> Result<&'a str, String> {
    let found = labels.iter().find(|(name, _)| *name == label);
    found
        .map(|(_, text)| text.as_str())
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("label {label} is missing"))
}

fn number<T: std::str::FromStr>(labels: &Labels<'_>, label: &str) -> Result<T, String> {
    let text = text(labels, label)?;
    text.parse()
        .map_err(|_| format!("label {label} is no number: `{text}`"))
}
