//! The judge in session: everything that happens goes through here, into the trace and before the judge.

use super::bounds::Bounds;
use super::check::{Broken, Judge};
use super::{Happening, Witness};
use crate::api::unit::Revision;
use crate::embedded::memory::Memory;
use crate::engine::Container;
use crate::runtime::clock::timer_now;
use crate::store::{Op, Txn};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// Where the trace is kept and the judge sits; clones are the same court.
#[derive(Clone)]
pub struct Court {
    start: Instant,
    session: Arc<Mutex<Session>>,
}

struct Session {
    store: Memory,
    judge: Judge,
    accused: Vec<Broken>,
    trace: Vec<String>,
    revision: Revision,
    digest: Sha256,
    bounds: Bounds,
}

/// Where the cluster's keys are.
const PREFIX: &str = "/skep/";

impl Court {
    /// A court over this store, from now on.
    pub fn new(store: Memory) -> Self {
        let session = Session {
            store,
            judge: Judge::new(),
            accused: Vec::new(),
            trace: Vec::new(),
            revision: Revision(0),
            digest: Sha256::new(),
            bounds: Bounds::default(),
        };
        Self {
            start: timer_now(),
            session: Arc::new(Mutex::new(session)),
        }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        let mut session = self.session.lock().expect("nobody panics in session");
        session.judge.set_time(self.elapsed());
        session
    }

    /// The time since the run began.
    pub fn elapsed(&self) -> Duration {
        timer_now() - self.start
    }

    /// Somebody makes a call. Where calls never end within a moment, time would never go on: they stop here. So they do
    /// once a rule is broken, which ends the run.
    pub async fn call(&self, who: &str) {
        if let Some(broken) = self.admit(who) {
            if let Some(broken) = broken {
                self.accuse(broken);
            }
            std::future::pending().await
        }
    }

    /// Whether a call is one too many, and the rule that it breaks, if it is the first one.
    fn admit(&self, who: &str) -> Option<Option<Broken>> {
        let elapsed = self.elapsed();
        let mut session = self.session();
        if session.first_broken().is_some() {
            return Some(None);
        }
        let excess = session.bounds.call(elapsed)?;
        let what = format!("{who} {}", excess.what);
        Some(Some(Broken::new(excess.rule, what)))
    }

    /// A transaction of a manager was committed right now; the judge sees the store next.
    pub(super) fn commits(&self, manager: &str, txn: &Txn) {
        let elapsed = self.elapsed();
        let size = |op: &Op| match op {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
            Op::Get { .. } => 0,
        };
        let bytes = txn.then.iter().map(size).sum();
        self.session().bounds.commit(elapsed, bytes);
        self.judge(|judge| judge.commits(manager, txn));
    }

    /// A line of the trace: who did what.
    pub fn note(&self, who: &str, what: &str) {
        let elapsed = self.elapsed();
        self.session().note(elapsed, who, what);
    }

    /// Shows the judge what has changed in the store, if anything has. `is_disaster`: it went back, or is empty.
    pub fn look_at_store(&self, is_disaster: bool) {
        let mut session = self.session();
        let revision = session.store.revision();
        if revision == session.revision && !is_disaster {
            return;
        }
        let seen = std::mem::replace(&mut session.revision, revision);
        let before = session.judge.broken().len();
        let is_known = !is_disaster && seen != Revision(0) && seen < revision;
        let changed = match is_known {
            true => session.store.changed_since(PREFIX, seen),
            false => None,
        };
        match changed {
            Some(keys) => session.judge.changed(keys),
            // Another store, or one that has forgotten what the judge missed.
            None => {
                let kvs = session.store.dump(PREFIX);
                match is_disaster {
                    true => session.judge.set_back(kvs, seen.0 - revision.0),
                    false => session.judge.stored(kvs, false),
                }
            }
        }
        session.note_broken(self.elapsed(), before);
    }

    /// The cluster lives in another store from now on; what was true of it still is.
    pub(super) fn move_to(&self, store: Memory) {
        {
            let mut session = self.session();
            session.store = store;
            session.revision = Revision(0);
        }
        self.look_at_store(false);
    }

    /// What engines tell.
    pub fn witness(&self) -> Witness {
        let court = self.clone();
        Arc::new(
            move |node: &str, happening: Happening, container: &Container| {
                // What is committed counts before what follows from it.
                court.look_at_store(false);
                let mut session = court.session();
                let what = format!("{} {}", happening.as_str(), container.name);
                session.note(court.elapsed(), node, &what);
                let before = session.judge.broken().len();
                session.judge.happened(node, happening, container);
                session.note_broken(court.elapsed(), before);
            },
        )
    }

    /// Tells the judge something, or asks.
    pub fn judge<T>(&self, act: impl FnOnce(&mut Judge) -> T) -> T {
        let elapsed = self.elapsed();
        let mut session = self.session();
        let before = session.judge.broken().len();
        let answer = act(&mut session.judge);
        session.note_broken(elapsed, before);
        answer
    }

    /// Something that only the driver of the run can see.
    pub fn accuse(&self, broken: Broken) {
        let line = format!("BROKEN: {}: {}", broken.rule, broken.what);
        self.note("judge", &line);
        self.session().accused.push(broken);
    }

    /// What was broken first, if anything was.
    pub fn broken(&self) -> Option<Broken> {
        self.session().first_broken().cloned()
    }

    /// Everything that was noted, a line each: time, who, what.
    pub fn trace(&self) -> Vec<String> {
        self.session().trace.clone()
    }

    /// How often each rule was looked at.
    pub fn checked(&self) -> BTreeMap<&'static str, u64> {
        self.session().judge.checked()
    }

    /// The SHA-256 of the trace, its first 64 bits.
    pub fn hash(&self) -> String {
        let digest = self.session().digest.clone().finalize();
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Session {
    fn first_broken(&self) -> Option<&Broken> {
        self.judge.broken().first().or(self.accused.first())
    }

    fn note(&mut self, elapsed: Duration, who: &str, what: &str) {
        let line = format!("{:>10.3}  {who:<6} {what}", elapsed.as_secs_f64());
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
        self.bounds.line(line.len());
        self.trace.push(line);
    }

    fn note_broken(&mut self, elapsed: Duration, before: usize) {
        let describe = |broken: &Broken| format!("BROKEN: {}: {}", broken.rule, broken.what);
        let lines: Vec<String> = self.judge.broken()[before..].iter().map(describe).collect();
        for line in lines {
            self.note(elapsed, "judge", &line);
        }
    }
}
