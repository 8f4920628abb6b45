//! The judge's own mirror of the store: which keys there are and when each changed last, so that a step is told by what
//! changed in it alone. Pure.
//!
//! Invariant: a step told in part is the step that the whole store would have told.

use crate::api::unit::Revision;
use crate::store::KeyValue;
use std::collections::{BTreeMap, BTreeSet};

/// What changed in the store since the judge looked last.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// The store was wiped or set back: nothing of this follows from what was there before, and all of it is new.
    pub(super) is_disaster: bool,
    /// Keys that are gone, in order, each with its creation.
    pub(super) gone: Vec<(String, Revision)>,
    /// Keys that are new or written anew, in order.
    pub(super) changed: Vec<KeyValue>,
    /// The newest change of any key before the step, and after it.
    pub(super) newest: (Revision, Revision),
    /// By how many revisions a disaster set the store back.
    pub(super) set_back: i64,
}

/// What the judge knows of every key.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// When each key was created and changed last.
    seen: BTreeMap<String, (Revision, Revision)>,
    /// How many keys changed last at each revision.
    changes: BTreeMap<Revision, u64>,
}

impl Mirror {
    /// The step that leads to this store.
    pub(super) fn whole(&mut self, kvs: Vec<KeyValue>, is_disaster: bool) -> Step {
        let before = self.newest();
        let mut gone = Vec::new();
        if is_disaster {
            *self = Self::default();
        } else {
            let here: BTreeSet<&str> = kvs.iter().map(|kv| kv.key.as_str()).collect();
            let is_gone = |key: &&String| !here.contains(key.as_str());
            let keys: Vec<String> = self.seen.keys().filter(is_gone).cloned().collect();
            gone.extend(keys.into_iter().filter_map(|key| self.lose(key)));
        }
        let changed = kvs.into_iter().filter(|kv| self.learn(kv)).collect();
        let newest = (before, self.newest());
        Step {
            is_disaster,
            gone,
            changed,
            newest,
            set_back: newest.0.0 - newest.1.0,
        }
    }

    /// The step that leads to these keys; none: the key is not there.
    pub(super) fn part(&mut self, keys: Vec<(String, Option<KeyValue>)>) -> Step {
        let before = self.newest();
        let mut step = Step::default();
        for (key, now) in keys {
            match now {
                None => step.gone.extend(self.lose(key)),
                Some(kv) if self.learn(&kv) => step.changed.push(kv),
                Some(_) => {}
            }
        }
        step.newest = (before, self.newest());
        step
    }

    /// Takes a key in; whether that is news.
    fn learn(&mut self, kv: &KeyValue) -> bool {
        let now = (kv.create_revision, kv.mod_revision);
        let before = match self.seen.get_mut(&kv.key) {
            Some(seen) => Some(std::mem::replace(seen, now)),
            None => self.seen.insert(kv.key.clone(), now),
        };
        if before == Some(now) {
            return false;
        }
        if let Some((_, changed)) = before {
            self.uncount(changed);
        }
        *self.changes.entry(kv.mod_revision).or_default() += 1;
        true
    }

    fn lose(&mut self, key: String) -> Option<(String, Revision)> {
        let (created, changed) = self.seen.remove(&key)?;
        self.uncount(changed);
        Some((key, created))
    }

    fn uncount(&mut self, changed: Revision) {
        if let Some(count) = self.changes.get_mut(&changed) {
            *count -= 1;
            if *count == 0 {
                self.changes.remove(&changed);
            }
        }
    }

    fn newest(&self) -> Revision {
        let newest = self.changes.last_key_value();
        newest.map_or(Revision(0), |(revision, _)| *revision)
    }
}

#[cfg(test)]
mod tests {
    use super::{Mirror, Step};
    use crate::api::unit::{LeaseId, Revision};
    use crate::store::KeyValue;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn kv(key: u8, created: i64, changed: i64) -> KeyValue {
        KeyValue {
            key: format!("/skep/{key}"),
            value: Vec::new(),
            create_revision: Revision(created),
            mod_revision: Revision(changed),
            version: 1,
            lease: LeaseId(0),
        }
    }

    fn told(step: &Step) -> String {
        format!("{:?} {:?} {:?}", step.gone, step.changed, step.newest)
    }

    proptest! {
        /// Whatever is written and deleted between two looks, and in whatever portions.
        #[test]
        fn a_step_told_in_part_is_the_one_that_the_whole_store_tells(
            steps in prop::collection::vec(prop::collection::vec((0_u8..6, any::<bool>()), 0..5), 1..20),
        ) {
            let (mut whole, mut part) = (Mirror::default(), Mirror::default());
            let mut store: BTreeMap<u8, KeyValue> = BTreeMap::new();
            let mut revision = 0;
            for step in steps {
                let mut touched = BTreeMap::new();
                for (key, is_put) in step {
                    revision += 1;
                    if is_put {
                        let created = store.get(&key).map_or(revision, |kv| kv.create_revision.0);
                        store.insert(key, kv(key, created, revision));
                    } else {
                        store.remove(&key);
                    }
                    touched.insert(format!("/skep/{key}"), key);
                }
                let keys = touched.into_iter();
                let keys = keys.map(|(text, key)| (text, store.get(&key).cloned())).collect();
                let (one, other) = (whole.whole(store.values().cloned().collect(), false), part.part(keys));
                prop_assert_eq!(told(&one), told(&other));
            }
        }
    }

    #[test]
    fn after_a_disaster_everything_is_new() {
        let mut mirror = Mirror::default();
        mirror.whole(vec![kv(1, 1, 5), kv(2, 2, 2)], false);
        let step = mirror.whole(vec![kv(2, 2, 2)], true);
        assert_eq!((step.gone.len(), step.changed.len()), (0, 1));
        assert_eq!(step.newest, (Revision(5), Revision(2)));
    }
}
