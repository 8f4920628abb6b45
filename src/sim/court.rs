//! The judge in session: everything that happens goes through here, into the trace and before the judge.

use super::check::{Broken, Judge};
use super::{Happening, Witness};
use crate::api::unit::Revision;
use crate::embedded::memory::Memory;
use crate::engine::Container;
use crate::runtime::clock::timer_now;
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
    /// The moment of the last call, and how many there were in it.
    moment: (Duration, u32),
    /// Whether nobody's calls get through any more.
    is_frozen: bool,
}

/// More lines than any run needs: somebody never comes to rest.
const LINES: usize = 20_000;

/// More calls than any plan needs in one moment: somebody goes round in circles.
const CALLS: u32 = 10_000;

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
            moment: (Duration::ZERO, 0),
            is_frozen: false,
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
        if self.broken().is_some() {
            std::future::pending().await
        }
        let elapsed = self.elapsed();
        let count = {
            let mut session = self.session();
            session.moment = match session.moment {
                (moment, count) if moment == elapsed => (moment, count + 1),
                _ => (elapsed, 1),
            };
            match session.trace.len() {
                LINES.. => CALLS + u32::from(session.is_frozen),
                _ => session.moment.1,
            }
        };
        if count == CALLS {
            self.session().is_frozen = true;
            let what = format!("{who} makes one call more than any run needs");
            self.accuse(Broken::new("nobody goes round in circles", what));
        }
        if count >= CALLS {
            std::future::pending().await
        }
    }

    /// A line of the trace: who did what.
    pub fn note(&self, who: &str, what: &str) {
        let elapsed = self.elapsed();
        self.session().note(elapsed, who, what);
    }

    /// Shows the judge the store, if it has changed.
    pub fn look_at_store(&self, is_disaster: bool) {
        let mut session = self.session();
        let revision = session.store.revision();
        if revision == session.revision && !is_disaster {
            return;
        }
        session.revision = revision;
        let before = session.judge.broken().len();
        let kvs = session.store.dump("/skep/");
        session.judge.stored(&kvs, is_disaster);
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
        let session = self.session();
        let first = session.judge.broken().first();
        first.or(session.accused.first()).cloned()
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
    fn note(&mut self, elapsed: Duration, who: &str, what: &str) {
        let line = format!("{:>10.3}  {who:<6} {what}", elapsed.as_secs_f64());
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
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
