//! The cluster's record in a store, who works on that store, and the mark that keeps managers away from it.

use super::super::error::Error;
use super::carried::is_right;
use super::place::Opened;
use crate::api::cluster::{Cluster, FORMAT, Holder, Manager};
use crate::api::key::Key;
use crate::api::unit::Revision;
use crate::store::{Compare, Op, Outcome, RangeRequest, Txn};
use std::collections::BTreeSet;
use std::time::Duration;

/// Managers that lost their rights end by themselves, and their leases after five seconds; a busy machine gets as much
/// again, and more.
const ENDING: Duration = Duration::from_secs(20);

/// A manager that lost its rights claims new ones at once if it does at all; its watch shows it the mark within a call's
/// deadline, or it is cut off from the store and claims nothing.
const QUIET: Duration = Duration::from_secs(3);

/// Between two looks whether they have.
const LOOK: Duration = Duration::from_millis(250);

/// Rights that are taken in the transaction of a mark, which holds 127 operations; a manager has about ten.
const RIGHTS: usize = 120;

/// The record with the revision that says whether somebody changed it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The record.
    pub(super) cluster: Cluster,
    /// Its last change.
    pub(super) revision: Revision,
}

/// Reads the record; none: no manager ever worked there.
pub(super) async fn read(opened: &Opened) -> Result<Option<Record>, Error> {
    let key = Key::Cluster.full(&opened.prefix);
    let found = opened.kv.range(RangeRequest::key(key)).await?;
    let Some(kv) = found.kvs.into_iter().next() else {
        return Ok(None);
    };
    let cluster: Cluster = serde_json::from_slice(&kv.value).map_err(|error| {
        let what = format!(
            "the record of the cluster in {} cannot be read",
            opened.name
        );
        Error::refused(format!("{what}: {error}"))
    })?;
    if cluster.format > FORMAT {
        return Err(Error::refused(format!(
            "the store {} has format {}, this version of skep knows format {FORMAT}: use the version that its managers run",
            opened.name, cluster.format
        )));
    }
    let revision = kv.mod_revision;
    Ok(Some(Record { cluster, revision }))
}

/// A process's rights in a store: their keys, and the managers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    keys: Vec<String>,
    /// Who holds them.
    pub(super) managers: BTreeSet<String>,
}

/// Who works on the store. In a directory that is ours alone nobody does, whatever a killed process left.
pub(super) async fn rights(opened: &Opened) -> Result<Rights, Error> {
    let mut rights = Rights::default();
    if !opened.is_shared() {
        return Ok(rights);
    }
    for part in ["election/", "managers/", "shards/"] {
        let request = RangeRequest::prefix(format!("{}{part}", opened.prefix));
        for kv in opened.kv.range(request).await?.kvs {
            let tail = kv.key.strip_prefix(&opened.prefix).unwrap_or(&kv.key);
            if !Key::parse(tail).is_some_and(|key| is_right(&key)) {
                continue;
            }
            let holder = serde_json::from_slice::<Holder>(&kv.value).map(|holder| holder.manager);
            let manager = || serde_json::from_slice::<Manager>(&kv.value).map(|it| it.name);
            let name = holder.or_else(|_| manager());
            rights
                .managers
                .insert(name.unwrap_or_else(|_| tail.to_owned()));
            rights.keys.push(kv.key);
        }
    }
    Ok(rights)
}

/// Refuses while managers work on the store, unless they are to be ended.
pub(super) fn unused(opened: &Opened, rights: &Rights, stop_managers: bool) -> Result<(), Error> {
    if rights.managers.is_empty() || stop_managers {
        return Ok(());
    }
    let names: Vec<&str> = rights.managers.iter().map(String::as_str).collect();
    let name = &opened.name;
    Err(Error::advised(
        format!("managers work on {name}: {}", names.join(", ")),
        "stop them (containers go on; the lease of one that was killed ends within 5 s), and of `skep up` give the data \
         directory in place of the endpoint; or --stop-managers: they lose their rights at once and end by themselves",
    ))
}

/// Writes the record if nobody changed it since, and takes all rights in the same transaction: whatever a manager
/// still sends fails its fence (rule S4). Gives the record as it is then.
pub(super) async fn write(
    opened: &Opened,
    before: Option<Revision>,
    cluster: Cluster,
    rights: &Rights,
) -> Result<Record, Error> {
    let key = Key::Cluster.full(&opened.prefix);
    let value = serde_json::to_vec(&cluster).expect("the record's fields are plain");
    let put = Op::Put {
        key: key.clone(),
        value,
        lease: None,
    };
    let taken = rights.keys.iter().take(RIGHTS);
    let taken = taken.map(|key| Op::Delete { key: key.clone() });
    let txn = Txn {
        compares: vec![match before {
            Some(revision) => Compare::ModifiedAt(key, revision),
            None => Compare::Missing(key),
        }],
        then: std::iter::once(put).chain(taken).collect(),
        otherwise: Vec::new(),
    };
    match opened.kv.txn(&txn).await? {
        Outcome::Committed { revision, .. } => Ok(Record { cluster, revision }),
        Outcome::Refused { .. } => Err(Error::advised(
            format!(
                "somebody else wrote the cluster's record in {} meanwhile",
                opened.name
            ),
            "does a manager or another copy work there? Look, then repeat the command: it is safe",
        )),
        Outcome::Unknown { error } => Err(Error::Unknown(error)),
    }
}

/// Waits until nobody works on the store any more. Where `taken` holds rights, their managers may claim new ones until
/// they see the mark, so nobody may have any for a while.
pub(super) async fn emptied(opened: &Opened, taken: &Rights) -> Result<(), Error> {
    let needed = match taken.keys.is_empty() {
        true => Duration::ZERO,
        false => QUIET,
    };
    let (mut waited, mut quiet) = (Duration::ZERO, Duration::ZERO);
    loop {
        let rights = rights(opened).await?;
        if rights.keys.is_empty() && quiet >= needed {
            return Ok(());
        }
        if waited >= ENDING {
            let names: Vec<&str> = rights.managers.iter().map(String::as_str).collect();
            return Err(Error::refused(format!(
                "managers still work on {} after {} s: {}",
                opened.name,
                ENDING.as_secs(),
                names.join(", ")
            )));
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
        quiet = match rights.keys.is_empty() {
            true => quiet + LOOK,
            false => Duration::ZERO,
        };
    }
}
