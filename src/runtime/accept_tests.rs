//! Acceptance in its own words: what a user did to a key, and what the record says after each look.

use super::*;
use crate::api::unit::{LeaseId, Revision};
use proptest::prelude::*;

/// One object in a store of one incarnation after another, accepted as its owner would.
#[derive(Default)]
struct Object {
    revision: i64,
    incarnation: u64,
    user: Option<Stored<Vec<u8>>>,
    accepted: Option<Stored<Accepted<String>>>,
    conditions: Vec<Condition>,
    writes: u32,
    drawn: u128,
}

impl Object {
    fn put(&mut self, value: &str) {
        self.revision += 1;
        let create_revision = match &self.user {
            Some(old) => old.create_revision,
            None => Revision(self.revision),
        };
        self.user = Some(stored(value.into(), create_revision, self.revision));
    }

    /// What a user or an operator does to the store.
    fn act(&mut self, word: &str) {
        match word {
            "del" => {
                self.revision += 1;
                self.user = None;
            }
            // Keys get other numbers in another incarnation.
            "restore" => {
                self.incarnation += 1;
                self.revision += 100;
                if let Some(user) = &mut self.user {
                    user.create_revision = Revision(self.revision);
                    user.mod_revision = Revision(self.revision);
                }
            }
            // A copy by hand into an empty store, without a new incarnation.
            "copy" => {
                self.revision = 3;
                if let Some(user) = &mut self.user {
                    user.create_revision = Revision(0);
                    user.mod_revision = Revision(0);
                }
            }
            "cleaned" => self.accepted = None,
            value => self.put(value),
        }
    }

    /// What its owner does: decide and write.
    fn look(&mut self) -> Acceptance<String> {
        let acceptance = self.decide();
        if let Some(record) = acceptance.record.to_write() {
            self.revision += 1;
            self.writes += 1;
            self.accepted = Some(stored(
                record.clone(),
                Revision(self.revision),
                self.revision,
            ));
        }
        self.conditions = acceptance.condition.clone().into_iter().collect();
        acceptance
    }

    fn decide(&mut self) -> Acceptance<String> {
        let context = Context {
            incarnation: Incarnation(self.incarnation),
            now: Timestamp(self.revision),
            before: &self.conditions,
        };
        let written = self.user.as_ref().map(|user| Written {
            stored: user,
            parsed: parse(user),
        });
        self.drawn += 1;
        let mut ids = Ids::from_seed(self.drawn);
        decide(written, self.accepted.as_ref(), &context, &mut ids)
    }
}

fn stored<T>(value: T, create_revision: Revision, mod_revision: i64) -> Stored<T> {
    Stored {
        value: Arc::new(value),
        create_revision,
        mod_revision: Revision(mod_revision),
        lease: LeaseId(0),
    }
}

/// `bad...` does not parse; `a#x` is spec `a` with label `x`.
fn parse(user: &Stored<Vec<u8>>) -> Result<(Annotated, String), Refused> {
    let text = String::from_utf8_lossy(user).into_owned();
    if text.starts_with("bad") {
        return Err(Refused {
            reason: REASON_INVALID,
            message: format!("line 1: {text}"),
        });
    }
    let (spec, label) = text.split_once('#').unwrap_or((&text, ""));
    let mut metadata = Annotated::default();
    metadata.labels.insert("label".into(), label.into());
    Ok((metadata, spec.into()))
}

/// Acts word by word with a look after each (`+` joins two actions before one look); compares the last look as
/// `<uids so far>.<generation>=<spec>[x] <condition>`, and the number of writes.
fn check(actions: &str, expected: &str, writes: u32) {
    let mut object = Object {
        incarnation: 1,
        ..Object::default()
    };
    let mut uids = Vec::new();
    let mut seen = String::new();
    for word in actions.split(' ') {
        word.split('+').for_each(|action| object.act(action));
        let acceptance = object.look();
        let record = match acceptance.record.get() {
            None => "-".into(),
            Some(record) => {
                if !uids.contains(&record.uid) {
                    uids.push(record.uid.clone());
                }
                let gone = if record.deleted_at.is_some() { "x" } else { "" };
                format!("{}.{}={}{gone}", uids.len(), record.generation, record.spec)
            }
        };
        let reason = acceptance.condition.map_or("-".into(), |said| said.reason);
        seen = format!("{record} {reason}");
    }
    assert_eq!(seen, expected, "after {actions}");
    assert_eq!(object.writes, writes, "writes of {actions}");
}

#[test]
fn a_good_value_is_accepted_once() {
    check("a", "1.1=a Accepted", 1);
    check("a a a", "1.1=a Accepted", 1);
    check("a b", "1.2=b Accepted", 2);
    check("a b a", "1.3=a Accepted", 3);
}

#[test]
fn labels_change_the_record_and_not_the_generation() {
    check("a a#x", "1.1=a Accepted", 2);
}

#[test]
fn a_bad_value_keeps_the_spec_in_force() {
    check("bad", "- Invalid", 0);
    check("a bad", "1.1=a Invalid", 1);
    check("a bad bad2", "1.1=a Invalid", 1);
    check("a bad a", "1.1=a Accepted", 1);
    check("a bad b", "1.2=b Accepted", 2);
}

#[test]
fn a_deleted_object_leaves_a_tombstone_until_it_is_cleaned_up() {
    check("a del", "1.1=ax Deleted", 2);
    check("a del del", "1.1=ax Deleted", 2);
    check("a del cleaned", "- -", 2);
    check("bad del", "- -", 0);
    check("a bad del", "1.1=ax Deleted", 2);
}

#[test]
fn what_ends_an_object_expects_its_key_as_it_was_seen() {
    let object = ObjectKey::node(&"n1".into());
    let guarded = |actions: &[&str]| {
        let mut state = Object::default();
        for action in actions {
            state.look();
            state.act(action);
        }
        let seen = state.user.as_ref().map(|user| user.mod_revision);
        let step = state.decide().guard(Step::default(), &object, seen);
        (step.expects, seen)
    };
    let key = Key::User(object.clone());
    let (gone, _) = guarded(&["a", "del"]);
    assert_eq!(gone, [Expect::Missing(key.clone())]);
    let (made_anew, seen) = guarded(&["a", "del", "b"]);
    let seen = seen.expect("the key is there");
    assert_eq!(made_anew, [Expect::Unchanged(key, seen)]);
    for lives in [&["a"][..], &["a", "b"], &["a", "bad"]] {
        assert_eq!(guarded(lives).0, [], "{lives:?}");
    }
}

#[test]
fn a_recreated_object_waits_for_the_old_one_and_gets_a_new_uid() {
    check("a del b", "1.1=ax Terminating", 2);
    check("a del b cleaned", "2.1=b Accepted", 3);
    check("a del a cleaned", "2.1=a Accepted", 3);
}

#[test]
fn a_delete_that_nobody_saw_ends_as_one_that_was_seen() {
    check("a del+b", "1.1=ax Terminating", 2);
    check("a del+b cleaned", "2.1=b Accepted", 3);
    check("a b del+a", "1.2=bx Terminating", 3);
    check("a del+bad", "1.1=ax Terminating", 2);
    check("a del+bad cleaned", "- Invalid", 2);
}

#[test]
fn another_incarnation_keeps_the_uid() {
    check("a restore", "1.1=a Accepted", 2);
    check("a restore a", "1.1=a Accepted", 2);
    check("a restore+b", "1.2=b Accepted", 2);
    check("a restore+del+b", "1.2=b Accepted", 2);
    check("a restore del b", "1.1=ax Terminating", 3);
    check("a bad restore", "1.1=a Invalid", 1);
    check("a del restore", "1.1=ax Deleted", 2);
}

#[test]
fn numbers_from_another_history_replace_nothing() {
    check("a copy", "1.1=a Accepted", 2);
    check("a copy+b", "1.2=b Accepted", 2);
}

#[test]
fn a_refusal_names_what_stays_in_force_and_is_told_once() {
    let mut object = Object::default();
    let service = ObjectKey {
        kind: crate::api::name::Kind::Service,
        namespace: "default".into(),
        name: "web".into(),
    };
    object.put("a");
    object.look();
    object.put("bad");
    for told in [1, 0] {
        let before = object.conditions.clone();
        let acceptance = object.look();
        let message = &acceptance.condition.as_ref().unwrap().message;
        assert_eq!(message, "line 1: bad; generation 1 stays in force");
        let mut plan = Plan::default();
        acceptance.tell(&service, &before, &mut plan);
        assert_eq!(plan.notes.len(), told, "{:?}", plan.notes);
    }
}

#[test]
fn the_condition_keeps_its_transition_time() {
    let mut object = Object::default();
    object.put("a");
    let first = object.look().condition.unwrap().last_transition_time;
    object.put("b");
    assert_eq!(object.look().condition.unwrap().last_transition_time, first);
    object.put("bad");
    assert!(object.look().condition.unwrap().last_transition_time > first);
}

fn actions() -> impl Strategy<Value = Vec<(&'static str, bool)>> {
    let words = prop::sample::select(vec!["a", "b", "a#x", "bad", "del", "restore", "cleaned"]);
    prop::collection::vec((words, any::<bool>()), 1..30)
}

proptest! {
    #[test]
    fn a_second_look_writes_nothing(actions in actions()) {
        let mut object = Object { incarnation: 1, ..Object::default() };
        for (action, look) in actions {
            object.act(action);
            if look {
                object.look();
                let again = object.look();
                prop_assert_eq!(again.record.to_write(), None);
            }
        }
    }

    #[test]
    fn a_spec_in_force_ends_only_by_a_delete(actions in actions()) {
        let mut object = Object { incarnation: 1, ..Object::default() };
        let mut deleted = false;
        for (action, look) in actions {
            if action == "cleaned" {
                continue;
            }
            object.act(action);
            deleted |= action == "del";
            let had = object.accepted.clone();
            if look {
                object.look();
                let now = object.accepted.clone();
                if let (Some(had), false) = (had, deleted) {
                    let now = now.expect("a record never vanishes by a decision");
                    prop_assert_eq!(&now.uid, &had.uid);
                    prop_assert!(now.deleted_at.is_none());
                    prop_assert!(now.generation >= had.generation);
                }
            }
        }
    }
}
