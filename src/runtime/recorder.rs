//! The recorder: notes of plans become events under `/skep-events/`, beside the prefix that everybody watches.
//!
//! The same note about the same object is one event whose count rises. Events share leases, one a minute and at most
//! 1,000 keys each (rule S8), so an hour of them costs the store sixty leases. Events are for people: they are written
//! without a fence, and a full queue drops the newest and counts it. At the end of the process what waits is written
//! without the courtesy of letting other writes go first ([`Recorder::flush`]).

use super::clock::{Clock, Now};
use super::plan::{Note, encode};
use crate::api::cluster::Event;
use crate::api::key::event_prefix;
use crate::api::time::Timestamp;
use crate::api::uid::Ids;
use crate::api::unit::LeaseId;
use crate::metrics::Metrics;
use crate::store::{BATCH_OPERATIONS, Kv, Op, Outcome, Txn};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

/// Events live for an hour, as Kubernetes' do.
const LIFE: Duration = Duration::from_secs(3_600);
/// One lease serves the events of so long ...
const LEASE_SERVES: Duration = Duration::from_secs(60);
/// ... and at most so many of them.
const LEASE_KEYS: usize = 1_000;
/// Notes that wait to be written.
const WAITING: usize = 4_096;
/// Events stay behind the writes of what they tell of, and share transactions.
const COURTESY: Duration = Duration::from_millis(200);
/// Distinct events that are remembered for counting.
const REMEMBERED: usize = 4_096;
/// A repeated event is written again at most this often: its count must not cost a write per occurrence.
const REPEAT: Duration = Duration::from_secs(5);

/// Who writes events, in `skep_store_writes_total`: no controller's writes, and none while all is stable.
const RECORDER: &str = "recorder";

/// What the recorder is told.
enum Message {
    /// To be written.
    Note(&'static str, Note),
    /// All that was noted before is written, or has failed to be.
    Flushed(oneshot::Sender<()>),
}

/// Takes notes; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<Message>,
    /// Turns true with the first flush.
    hurry: Arc<watch::Sender<bool>>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// Starts writing events; ends when the last clone is dropped.
    pub fn start(
        kv: Arc<dyn Kv>,
        prefix: &str,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (notes, receiver) = mpsc::channel(WAITING);
        let (hurry, hurried) = watch::channel(false);
        let scribe = Scribe {
            kv,
            prefix: event_prefix(prefix),
            ids: Ids::from_seed(clock.seed()),
            clock,
            lease: None,
            known: BTreeMap::new(),
            metrics: metrics.clone(),
        };
        crate::spawn::task(scribe.run(receiver, hurried));
        Self {
            notes,
            hurry: Arc::new(hurry),
            metrics,
        }
    }

    /// Records what `controller` has to say.
    pub fn record(&self, controller: &'static str, notes: impl IntoIterator<Item = Note>) {
        for note in notes {
            self.metrics.event(controller, note.reason);
            info!(object = %note.object, reason = note.reason, controller, "{}", note.message);
            let note = Message::Note(controller, note);
            if self.notes.try_send(note).is_err() {
                self.metrics.event_dropped();
            }
        }
    }

    /// Waits until all that was noted is written, as far as the store takes it; later notes are written at once.
    ///
    /// It takes as long as the store does: callers that are about to end give it a deadline.
    pub async fn flush(&self) {
        self.hurry.send_replace(true);
        let (done, flushed) = oneshot::channel();
        if self.notes.send(Message::Flushed(done)).await.is_ok() {
            // An error means that the scribe has ended, which it does not while this sender lives.
            let _ = flushed.await;
        }
    }
}

struct Scribe {
    kv: Arc<dyn Kv>,
    prefix: String,
    clock: Arc<dyn Clock>,
    ids: Ids,
    lease: Option<Shared>,
    known: BTreeMap<(String, &'static str, String), Known>,
    metrics: Arc<Metrics>,
}

struct Shared {
    id: LeaseId,
    since: Duration,
    keys: usize,
}

struct Known {
    key: String,
    event: Event,
    written: Duration,
}

impl Scribe {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut hurry: watch::Receiver<bool>,
    ) {
        while let Some(first) = messages.recv().await {
            if let Message::Note(..) = first {
                // What the note tells of goes on: its own writes come first, unless the process is about to end. An
                // error means that nobody is left who could say so.
                let hurried = hurry.wait_for(|hurry| *hurry);
                let _ = tokio::time::timeout(COURTESY, hurried).await;
            }
            let (mut notes, mut flushed) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Note(controller, note) => notes.push((controller, note)),
                    Message::Flushed(done) => flushed.push(done),
                }
                next = match notes.len() < BATCH_OPERATIONS {
                    true => messages.try_recv().ok(),
                    false => None,
                };
            }
            if let Err(error) = self.write(notes).await {
                // The log has it all the same; an event is not worth holding anything up.
                debug!(%error, "events were not written");
            }
            for done in flushed {
                // Whoever waited may have run out of patience.
                let _ = done.send(());
            }
        }
    }

    async fn write(&mut self, notes: Vec<(&'static str, Note)>) -> Result<(), crate::store::Error> {
        let now = self.clock.now();
        // A key may be written once in a transaction; the last count is the right one.
        let mut events = BTreeMap::new();
        for (controller, note) in notes {
            events.extend(self.count(controller, note, now));
        }
        let mut then = Vec::new();
        for (key, value) in events {
            let lease = Some(self.lease(now.since_boot).await?);
            then.push(Op::Put { key, value, lease });
        }
        if then.is_empty() {
            return Ok(());
        }
        let count = then.len();
        let txn = Txn {
            then,
            ..Txn::default()
        };
        match self.kv.txn(&txn).await? {
            Outcome::Committed { .. } | Outcome::Refused { .. } => {
                self.metrics.written(RECORDER, count);
                Ok(())
            }
            Outcome::Unknown { error } => {
                warn!(%error, "events may not have been written");
                Ok(())
            }
        }
    }

    /// Counts a note; gives the event's key and value where it is to be written.
    fn count(
        &mut self,
        controller: &'static str,
        note: Note,
        now: Now,
    ) -> Option<(String, Vec<u8>)> {
        let identity = (note.object.clone(), note.reason, note.message.clone());
        let life = Timestamp::since;
        self.known
            .retain(|_, known| life(now.wall, known.event.last) < LIFE);
        if self.known.len() >= REMEMBERED {
            self.known.pop_first();
        }
        let prefix = &self.prefix;
        let ids = &mut self.ids;
        let known = self.known.entry(identity).or_insert_with(|| Known {
            key: format!(
                "{prefix}{}/{:012x}-{}",
                namespace(&note.object),
                now.wall.0,
                &ids.uid().as_str()[..8]
            ),
            event: Event {
                object: note.object,
                uid: note.uid,
                severity: note.severity,
                reason: note.reason.to_owned(),
                message: note.message,
                controller: controller.to_owned(),
                count: 0,
                first: now.wall,
                last: now.wall,
            },
            written: Duration::ZERO,
        });
        known.event.count += 1;
        known.event.last = now.wall;
        if known.event.count > 1 && now.since_boot.saturating_sub(known.written) < REPEAT {
            return None;
        }
        known.written = now.since_boot;
        Some((known.key.clone(), encode(&known.event)))
    }

    async fn lease(&mut self, now: Duration) -> Result<LeaseId, crate::store::Error> {
        if let Some(shared) = &mut self.lease
            && now.saturating_sub(shared.since) < LEASE_SERVES
            && shared.keys < LEASE_KEYS
        {
            shared.keys += 1;
            return Ok(shared.id);
        }
        let granted = self.kv.grant(LIFE).await?;
        self.lease = Some(Shared {
            id: granted.id,
            since: now,
            keys: 1,
        });
        Ok(granted.id)
    }
}

/// The namespace in the tail of an object's key; `-` for kinds without one.
fn namespace(object: &str) -> &str {
    match object.split('/').collect::<Vec<_>>().as_slice() {
        ["services" | "networks" | "tasks" | "scale", namespace, ..] => namespace,
        _ => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster::Severity;
    use crate::embedded::memory::Memory;
    use crate::runtime::clock::{Now, timer_now};

    struct Paused(tokio::time::Instant);

    impl Clock for Paused {
        fn now(&self) -> Now {
            let elapsed = timer_now() - self.0;
            Now {
                wall: Timestamp(0).after(elapsed),
                since_boot: elapsed,
            }
        }

        fn seed(&self) -> u128 {
            7
        }
    }

    fn note(message: &str) -> Note {
        Note {
            object: "services/shop/web".into(),
            uid: None,
            severity: Severity::Warning,
            reason: "Invalid",
            message: message.into(),
        }
    }

    async fn events(store: &Memory) -> Vec<Event> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let kvs = store.dump("/skep-events/shop/");
        kvs.iter()
            .map(|kv| serde_json::from_slice(&kv.value).expect("an event"))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_writes_what_was_noted_before_it_at_once() {
        let store = Memory::new();
        let clock = Arc::new(Paused(timer_now()));
        let kv = Arc::new(store.clone());
        let recorder = Recorder::start(kv, "/skep/", clock, Arc::new(Metrics::new()));
        let many = BATCH_OPERATIONS + 5;
        recorder.record("service", (0..many).map(|n| note(&format!("line {n}"))));
        let before = timer_now();
        recorder.flush().await;
        assert_eq!(timer_now(), before, "no courtesy");
        assert_eq!(store.dump("/skep-events/shop/").len(), many);
        recorder.flush().await;

        store.set_reachable(false);
        recorder.record("service", [note("lost")]);
        recorder.flush().await;
        assert_eq!(store.dump("/skep-events/shop/").len(), many);
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_events_are_one_whose_count_rises_and_all_share_a_lease() {
        let store = Memory::new();
        let clock = Arc::new(Paused(timer_now()));
        let recorder = Recorder::start(
            Arc::new(store.clone()),
            "/skep/",
            clock,
            Arc::new(Metrics::new()),
        );
        recorder.record("service", [note("line 3"), note("line 3"), note("line 4")]);
        let seen = events(&store).await;
        assert_eq!(
            seen.iter()
                .map(|event| event.message.as_str())
                .collect::<Vec<_>>(),
            ["line 3", "line 4"]
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
        recorder.record("service", [note("line 3")]);
        let seen = events(&store).await;
        assert_eq!(seen[0].count, 3);
        assert_eq!(store.leases().len(), 1);
        tokio::time::sleep(Duration::from_secs(3_700)).await;
        assert!(
            store.dump("/skep-events/").is_empty(),
            "events end with their lease"
        );
    }
}
