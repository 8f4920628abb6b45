//! Planted bugs in what is written and heard.

use super::Door;
use serde_json::Value;
use skep::store::{Op, Txn, WatchBatch, WatchEvent};

impl Door {
    /// What is sent instead of a transaction.
    pub(super) fn write(self, mut txn: Txn) -> Txn {
        match self {
            Self::ForgetsRetirement => edit(&mut txn, "/skep/tasks/", |task| {
                if task["desired"] == "remove" {
                    task["desired"] = "running".into();
                }
            }),
            Self::NeverRetires => edit(&mut txn, "/skep/tasks/", |task| {
                if task["desired"] == "shutdown" || task["desired"] == "remove" {
                    task["desired"] = "running".into();
                }
            }),
            Self::NeverRetiresPair => {
                txn.then.retain(|op| match op {
                    Op::Put { key, value, .. } if key.starts_with("/skep/tasks/") => {
                        !String::from_utf8_lossy(value).contains("\"desired\":\"shutdown\"")
                    }
                    _ => true,
                });
            }
            Self::KeepsEverything => {
                let is_kept =
                    |op: &Op| matches!(op, Op::Delete { key } if key.starts_with("/skep/tasks/"));
                txn.then.retain(|op| !is_kept(op));
            }
            _ => {}
        }
        txn
    }

    /// What is heard instead of a batch of changes.
    pub(super) fn hear(self, mut batch: WatchBatch) -> WatchBatch {
        if self == Self::MissesDeletes {
            batch.events.retain(|event| match event {
                WatchEvent::Delete { key, .. } => !key.starts_with("/skep/services/"),
                WatchEvent::Put(_) => true,
            });
        }
        batch
    }
}

fn edit(txn: &mut Txn, prefix: &str, change: impl Fn(&mut Value)) {
    for op in &mut txn.then {
        let Op::Put { key, value, .. } = op else {
            continue;
        };
        if !key.starts_with(prefix) {
            continue;
        }
        if let Ok(mut read) = serde_json::from_slice::<Value>(value) {
            change(&mut read);
            *value = read.to_string().into_bytes();
        }
    }
}
