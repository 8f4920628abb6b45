//! A store that is filled: claimed first, whole before managers may serve it, safe to repeat at any point.
//!
//! The claim is the cluster's record with a mark that keeps managers away; every write compares it, so that two that
//! fill, or a manager, cannot mix. The record without the mark, in the cluster's next life, is the last write of all.

use super::super::error::Error;
use super::super::terminal::{Progress, Terminal};
use super::life;
use super::place::Opened;
use super::record::{self, Record, Rights};
use crate::api::cluster::{Cluster, Held};
use crate::api::key::Key;
use crate::api::unit::Revision;
use crate::store::{self, Committed, Compare, KeyValue, Op, RangeRequest, Unit};
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys between two words of progress: about a second of a slow store.
const SLICE: usize = 2_000;

/// How often a slice is sent before giving up. Its writes are the same each time and fenced, so a repetition is safe.
const ATTEMPTS: usize = 5;

/// Between two attempts: an election of etcd's takes a second or two.
const REST: Duration = Duration::from_secs(1);

/// What stands in a store that is to be filled with a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing below the prefix.
    Empty,
    /// Half of the same cluster: an earlier attempt was interrupted.
    Begun,
    /// The same cluster as it was before it moved away.
    LeftBehind,
    /// Something that would be lost: what, in words.
    Taken(String),
}

/// Judges what stands there. `keys`: how many there are below the prefix.
pub(super) fn judge(found: Option<&Cluster>, keys: i64, coming: &Cluster) -> Standing {
    let Some(found) = found else {
        return match keys {
            0 => Standing::Empty,
            1 => Standing::Taken("a key and no cluster's record".into()),
            keys => Standing::Taken(format!("{keys} keys and no cluster's record")),
        };
    };
    let life = found.incarnation;
    match &found.held {
        _ if found.id != coming.id => Standing::Taken(format!("another cluster, {}", found.id)),
        Some(Held::FilledFrom(_)) => Standing::Begun,
        Some(Held::MovedTo(_)) if life <= coming.incarnation => Standing::LeftBehind,
        Some(Held::MovedTo(_)) | None => {
            Standing::Taken(format!("this cluster, in its life {life}"))
        }
    }
}

/// A store that is to be filled, with what was found in it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The store.
    pub(super) opened: &'a Opened,
    /// What stands in it.
    pub(super) standing: Standing,
    found: Option<Record>,
    rights: Rights,
}

impl<'a> Target<'a> {
    /// Looks; refuses a store that holds something, or on which managers work, unless told otherwise.
    pub(super) async fn look(
        opened: &'a Opened,
        coming: &Cluster,
        overwrite: bool,
        stop_managers: bool,
    ) -> Result<Self, Error> {
        let found = record::read(opened).await?;
        let all = RangeRequest {
            limit: 1,
            keys_only: true,
            ..RangeRequest::prefix(&opened.prefix)
        };
        let keys = opened.kv.range(all).await?.count;
        let standing = judge(found.as_ref().map(|found| &found.cluster), keys, coming);
        if let (Standing::Taken(what), false) = (&standing, overwrite) {
            return Err(Error::advised(
                format!("{} holds {what} below {}", opened.name, opened.prefix),
                "give a store or a --prefix that is empty; --overwrite replaces all that is there",
            ));
        }
        let rights = record::rights(opened).await?;
        record::unused(opened, &rights, stop_managers)?;
        Ok(Self {
            opened,
            standing,
            found,
            rights,
        })
    }

    /// The highest life of this cluster that the store knew.
    pub(super) fn past(&self, coming: &Cluster) -> Option<&Cluster> {
        let found = self.found.as_ref().map(|found| &found.cluster);
        found.filter(|found| found.id == coming.id)
    }

    /// Claims the store: from now on nobody serves it.
    pub(super) async fn claim(self, coming: &Cluster, from: &str) -> Result<Claim<'a>, Error> {
        let held = life::held(coming, Held::FilledFrom(from.to_owned()));
        let before = self.found.as_ref().map(|found| found.revision);
        let record = record::write(self.opened, before, held, &self.rights).await?;
        record::emptied(self.opened, &self.rights).await?;
        Ok(Claim {
            opened: self.opened,
            revision: record.revision,
        })
    }
}

/// The right to fill a store.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    opened: &'a Opened,
    revision: Revision,
}

impl Claim<'_> {
    /// Makes the store hold exactly these values below the prefix, besides the record; says how many keys it wrote.
    pub(super) async fn fill(
        &self,
        values: &BTreeMap<String, Vec<u8>>,
        terminal: &Terminal,
    ) -> Result<usize, Error> {
        let prefix = &self.opened.prefix;
        let there = store::list(self.opened.kv.as_ref(), prefix).await?;
        let units = differences(prefix, &there.kvs, values);
        let (all, mut done) = (units.len(), 0);
        let mut progress = terminal.progress();
        let mut units = units.into_iter().peekable();
        while units.peek().is_some() {
            let slice: Vec<Unit> = units.by_ref().take(SLICE).collect();
            let count = slice.len();
            self.send(slice, &mut progress).await?;
            done += count;
            progress.say(&format!("{done} of {all} keys written"));
        }
        drop(progress);
        self.check(values).await?;
        Ok(all)
    }

    async fn send(&self, mut units: Vec<Unit>, progress: &mut Progress) -> Result<(), Error> {
        let key = Key::Cluster.full(&self.opened.prefix);
        let fence = [Compare::ModifiedAt(key, self.revision)];
        for attempt in 1.. {
            let ended = store::commit(self.opened.kv.as_ref(), &fence, units.clone()).await;
            let mut left = Vec::new();
            let mut why = None;
            for (unit, ended) in units.into_iter().zip(ended) {
                match ended {
                    Committed::Committed(_) => continue,
                    Committed::FenceLost | Committed::Conflict => {
                        return Err(Error::refused(format!(
                            "somebody else fills or serves {}: the claim is gone",
                            self.opened.name
                        )));
                    }
                    Committed::Failed(error) if !error.is_retryable() => return Err(error.into()),
                    Committed::Unknown(error) | Committed::Failed(error) => why = Some(error),
                }
                left.push(unit);
            }
            match why {
                None => return Ok(()),
                Some(error) if attempt >= ATTEMPTS => return Err(error.into()),
                Some(error) => progress.say(&format!("{error}: trying again")),
            }
            units = left;
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }

    /// Reads everything back: what was copied is all there and nothing else is.
    async fn check(&self, values: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
        let prefix = &self.opened.prefix;
        let there = store::list(self.opened.kv.as_ref(), prefix).await?;
        match differences(prefix, &there.kvs, values).first() {
            None => Ok(()),
            Some(unit) => Err(Error::advised(
                format!(
                    "read back, {} differs from what was written at {}",
                    self.opened.name,
                    unit.ops.first().map_or("", Op::key)
                ),
                "does something else write there? Repeat the command: it is safe",
            )),
        }
    }

    /// The last write: managers may serve the store in this life.
    pub(super) async fn finish(self, cluster: Cluster) -> Result<Revision, Error> {
        let rights = Rights::default();
        let record = record::write(self.opened, Some(self.revision), cluster, &rights).await?;
        Ok(record.revision)
    }
}

/// What has to be written and deleted so that `there` becomes `values`; the cluster's record is not part of either.
fn differences(prefix: &str, there: &[KeyValue], values: &BTreeMap<String, Vec<u8>>) -> Vec<Unit> {
    let unit = |op: Op| Unit {
        ops: vec![op],
        ..Unit::default()
    };
    let mut same = std::collections::BTreeSet::new();
    let mut units = Vec::new();
    for kv in there {
        let tail = kv.key.strip_prefix(prefix).unwrap_or(&kv.key);
        if Key::parse(tail) == Some(Key::Cluster) {
            continue;
        }
        match values.get(tail) {
            Some(value) if *value == kv.value && kv.lease.0 == 0 => {
                same.insert(tail);
            }
            Some(_) => {}
            None => units.push(unit(Op::Delete {
                key: kv.key.clone(),
            })),
        }
    }
    let missing = values
        .iter()
        .filter(|(key, _)| !same.contains(key.as_str()));
    units.extend(missing.map(|(key, value)| {
        unit(Op::Put {
            key: format!("{prefix}{key}"),
            value: value.clone(),
            lease: None,
        })
    }));
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster::FORMAT;
    use crate::api::uid::Uid;
    use crate::api::unit::Incarnation;
    use crate::embedded::memory::Memory;

    fn cluster(id: &str, life: u64, held: Option<Held>) -> Cluster {
        Cluster {
            id: Uid::from(id),
            incarnation: Incarnation(life),
            format: FORMAT,
            adopting_since: None,
            held,
        }
    }

    #[test]
    fn only_what_cannot_be_lost_is_written_over_without_a_word() {
        let coming = cluster("a", 3, None);
        let check = |found: Option<Cluster>, keys, expected: &str| {
            let standing = format!("{:?}", judge(found.as_ref(), keys, &coming));
            assert!(standing.starts_with(expected), "{standing}");
        };
        let moved = || Some(Held::MovedTo("there".into()));
        check(None, 0, "Empty");
        check(None, 4, "Taken(\"4 keys");
        check(Some(cluster("b", 1, None)), 9, "Taken(\"another cluster");
        check(Some(cluster("b", 1, moved())), 9, "Taken(\"another cluster");
        check(Some(cluster("a", 2, None)), 9, "Taken(\"this cluster");
        check(Some(cluster("a", 2, moved())), 9, "LeftBehind");
        check(Some(cluster("a", 4, moved())), 9, "Taken(\"this cluster");
        let begun = Some(Held::FilledFrom("x".into()));
        check(Some(cluster("a", 2, begun)), 9, "Begun");
    }

    #[test]
    fn only_what_differs_is_written() {
        let store = Memory::new();
        store.put("/skep/cluster", "{}");
        store.put("/skep/same", "1");
        store.put("/skep/other", "1");
        store.put("/skep/surplus", "1");
        let values = [("same", "1"), ("other", "2"), ("new", "3")];
        let values = values.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let units = differences("/skep/", &store.dump("/skep/"), &BTreeMap::from(values));
        let ops: Vec<String> = units
            .iter()
            .flat_map(|unit| &unit.ops)
            .map(|op| match op {
                Op::Put { key, .. } => format!("+{key}"),
                Op::Delete { key } | Op::Get { key } => format!("-{key}"),
            })
            .collect();
        assert_eq!(ops, ["-/skep/surplus", "+/skep/new", "+/skep/other"]);
    }
}
