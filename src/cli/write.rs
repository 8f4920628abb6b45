//! Guarded writes of user keys: what was read has to be what is there.

use super::error::Error;
use super::session::Session;
use crate::api::unit::Revision;
use crate::store::{Compare, Op, Outcome, Txn};

/// Objects in one transaction: etcd takes 128 operations by default (--max-txn-ops), and one stays in reserve.
pub(super) const CHUNK: usize = 127;

/// One write under the condition that nobody else wrote since.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    /// The key, with the prefix.
    pub(super) key: String,
    /// The value; none: the key is deleted.
    pub(super) value: Option<Vec<u8>>,
    /// The revision that was read; none: the key did not exist.
    pub(super) read: Option<Revision>,
}

impl Guarded {
    fn compare(&self) -> Compare {
        match self.read {
            Some(revision) => Compare::ModifiedAt(self.key.clone(), revision),
            None => Compare::Missing(self.key.clone()),
        }
    }

    fn op(&self) -> Op {
        let key = self.key.clone();
        match &self.value {
            Some(value) => Op::Put {
                key,
                value: value.clone(),
                lease: None,
            },
            None => Op::Delete { key },
        }
    }
}

/// Writes all of them or none; says at which revision.
pub(super) async fn commit(session: &Session, writes: &[Guarded]) -> Result<Revision, Error> {
    let txn = Txn {
        compares: writes.iter().map(Guarded::compare).collect(),
        then: writes.iter().map(Guarded::op).collect(),
        otherwise: Vec::new(),
    };
    match session.kv.txn(&txn).await? {
        Outcome::Committed { revision, .. } => Ok(revision),
        Outcome::Refused { .. } => Err(conflict(session, writes).await?),
        Outcome::Unknown { error } => Err(Error::Unknown(error)),
    }
}

/// Which of the keys somebody else changed.
async fn conflict(session: &Session, writes: &[Guarded]) -> Result<Error, Error> {
    let mut changed = Vec::new();
    for write in writes {
        let request = crate::store::RangeRequest::key(&write.key);
        let found = session.kv.range(request).await?.kvs.into_iter().next();
        let now = found.map(|kv| kv.mod_revision);
        if now != write.read {
            let name = write
                .key
                .strip_prefix(&session.prefix)
                .unwrap_or(&write.key);
            changed.push(match now {
                Some(revision) => format!("{name} (now at revision {revision})"),
                None => format!("{name} (now gone)"),
            });
        }
    }
    let what = match changed.is_empty() {
        true => "the objects".into(),
        false => changed.join(", "),
    };
    Ok(Error::advised(
        format!("conflict: somebody else changed {what} meanwhile; nothing was written"),
        "run the command again to look at the present state first",
    ))
}
