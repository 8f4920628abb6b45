//! One transaction: judge all conditions, check all that can fail, then run. Pure.
//!
//! Invariant: nothing is written before everything that can be refused has been checked.

use super::answer::{Answer, Done, Event, KeyBytes, Stored};
use super::check::{check_put, check_shape};
use super::mvcc::Mvcc;
use super::read::read;
use super::refusal::Error;
use super::request::{Condition, Operation, Put, Query, Relation, Span, Target, Transaction};
use std::cmp::Ordering;
use std::sync::Arc;

/// Runs a transaction.
pub(super) fn run(store: &mut Mvcc, txn: &Transaction) -> Result<Done, Error> {
    check_shape(txn)?;
    if store.is_full() && txn.has_puts() {
        return Err(Error::Full);
    }
    let taken = Taken::by(store, txn);
    taken.check(store)?;
    let mut writer = Writer::new(store);
    let answers = taken.run(&mut writer);
    writer.finish();
    Ok(Done {
        succeeded: taken.succeeded,
        revision: store.revision(),
        answers,
    })
}

/// Runs one put.
pub(super) fn put(store: &mut Mvcc, put: &Put) -> Result<Done, Error> {
    check_put(put)?;
    if store.is_full() {
        return Err(Error::Full);
    }
    check_lease(store, put)?;
    run(store, &Transaction::one(Operation::Put(put.clone())))
}

fn check_lease(store: &Mvcc, put: &Put) -> Result<(), Error> {
    if put.lease != 0 && !store.leases.contains(put.lease) {
        return Err(Error::LeaseMissing(put.lease));
    }
    Ok(())
}

/// The branches that a transaction takes, decided for all nested ones before the first operation runs.
struct Taken<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Put(&'a Put),
    Delete(&'a Span),
    Read(&'a Query),
    Txn(Taken<'a>),
}

impl<'a> Taken<'a> {
    fn by(store: &Mvcc, txn: &'a Transaction) -> Self {
        let succeeded = txn.conditions.iter().all(|condition| {
            let Condition { span, .. } = condition;
            let query = Query::now(span.clone());
            holds(condition, &read(&store.history, &query).kvs)
        });
        let branch = if succeeded { &txn.then } else { &txn.otherwise };
        let step = |operation: &'a Operation| match operation {
            Operation::Put(put) => Some(Step::Put(put)),
            Operation::Delete(span) => Some(Step::Delete(span)),
            Operation::Read(query) => Some(Step::Read(query)),
            Operation::Txn(inner) => Some(Step::Txn(Self::by(store, inner))),
            // The check of the shape has refused it.
            Operation::Empty => None,
        };
        Self {
            succeeded,
            steps: branch.iter().filter_map(step).collect(),
        }
    }

    /// Checks all that can fail: the puts first, then the reads, as etcd does.
    fn check(&self, store: &Mvcc) -> Result<(), Error> {
        self.check_puts(store, &mut Vec::new())?;
        self.check_reads(store)
    }

    /// `deleted` collects what the steps before delete to the end of the keys: no other delete can meet a put.
    fn check_puts(&self, store: &Mvcc, deleted: &mut Vec<&'a Span>) -> Result<(), Error> {
        for step in &self.steps {
            match step {
                Step::Put(put) => {
                    let is_deleted = || deleted.iter().any(|span| span.contains(&put.key));
                    if (put.ignore_value || put.ignore_lease)
                        && (store.history.current(&put.key).is_none() || is_deleted())
                    {
                        return Err(Error::KeyMissing);
                    }
                    check_lease(store, put)?;
                }
                Step::Delete(span) => deleted.push(span),
                Step::Txn(inner) => inner.check_puts(store, deleted)?,
                Step::Read(_) => {}
            }
        }
        Ok(())
    }

    fn check_reads(&self, store: &Mvcc) -> Result<(), Error> {
        for step in &self.steps {
            match step {
                Step::Read(query) => store.check_inner_revision(query.revision)?,
                Step::Txn(inner) => inner.check_reads(store)?,
                Step::Put(_) | Step::Delete(_) => {}
            }
        }
        Ok(())
    }

    fn run(&self, writer: &mut Writer<'_>) -> Vec<Answer> {
        let answer = |step: &Step<'_>| match step {
            Step::Put(put) => {
                let previous = writer.put(put);
                Answer::Put {
                    revision: writer.revision(),
                    previous,
                }
            }
            Step::Delete(span) => {
                let gone = writer.delete(span);
                Answer::Deleted {
                    revision: writer.revision(),
                    gone,
                }
            }
            Step::Read(query) => Answer::Read {
                revision: writer.revision(),
                found: read(&writer.store.history, query),
            },
            Step::Txn(inner) => Answer::Txn(Done {
                succeeded: inner.succeeded,
                revision: 0,
                answers: inner.run(writer),
            }),
        };
        self.steps.iter().map(answer).collect()
    }
}

/// Whether all these keys fulfil the condition; without any, whether a missing one does.
fn holds(condition: &Condition, kvs: &[Stored]) -> bool {
    match kvs {
        [] => fulfils(condition, None),
        kvs => kvs.iter().all(|kv| fulfils(condition, Some(kv))),
    }
}

fn fulfils(condition: &Condition, kv: Option<&Stored>) -> bool {
    let number = |of: fn(&Stored) -> i64, given: &i64| kv.map_or(0, of).cmp(given);
    let order: Ordering = match &condition.target {
        Target::Version(given) => number(|kv| kv.version, given),
        Target::Create(given) => number(|kv| kv.create_revision, given),
        Target::Mod(given) => number(|kv| kv.mod_revision, given),
        Target::Lease(given) => number(|kv| kv.lease, given),
        Target::Value(given) => match kv {
            Some(kv) => kv.value.cmp(given),
            // Nothing can say that a value is missing: the comparison fails, whatever the relation.
            None => return false,
        },
    };
    match condition.relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Greater => order.is_gt(),
        Relation::Less => order.is_lt(),
    }
}

/// The writes of one transaction: they share one revision, which is taken with the first of them.
pub(super) struct Writer<'a> {
    store: &'a mut Mvcc,
    next: i64,
    events: Vec<Event>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: &'a mut Mvcc) -> Self {
        let next = store.revision() + 1;
        Self {
            store,
            next,
            events: Vec::new(),
        }
    }

    /// The revision as this transaction sees it now.
    fn revision(&self) -> i64 {
        self.next - i64::from(self.events.is_empty())
    }

    fn put(&mut self, put: &Put) -> Option<Stored> {
        let previous = self.store.history.current(&put.key).cloned();
        let (key, created, version) = match &previous {
            Some(kv) => (&kv.key, kv.create_revision, kv.version + 1),
            None => (&put.key, self.next, 1),
        };
        let kept = |keep: bool| previous.as_ref().filter(|_| keep);
        let stored = Stored {
            // The key that is there already, so that its bytes are held once.
            key: Arc::clone(key),
            value: Arc::clone(kept(put.ignore_value).map_or(&put.value, |kv| &kv.value)),
            create_revision: created,
            mod_revision: self.next,
            version,
            lease: kept(put.ignore_lease).map_or(put.lease, |kv| kv.lease),
        };
        self.write(Event::Put(stored), previous.as_ref());
        previous
    }

    /// Deletes all keys of a span and gives what they were.
    fn delete(&mut self, span: &Span) -> Vec<Stored> {
        let gone = read(&self.store.history, &Query::now(span.clone())).kvs;
        for kv in &gone {
            self.write(Event::Delete(Arc::clone(&kv.key), self.next), Some(kv));
        }
        gone
    }

    /// Deletes one key, if it is there.
    pub(super) fn delete_key(&mut self, key: &KeyBytes) {
        self.delete(&Span::One(Arc::clone(key)));
    }

    fn write(&mut self, event: Event, previous: Option<&Stored>) {
        self.store.apply(event.clone(), previous);
        self.events.push(event);
    }

    /// Closes the revision, if one was taken; gives its events.
    pub(super) fn finish(self) -> Option<Arc<[Event]>> {
        if self.events.is_empty() {
            return None;
        }
        let events: Arc<[Event]> = self.events.into();
        self.store.history.close(Arc::clone(&events));
        Some(events)
    }
}
