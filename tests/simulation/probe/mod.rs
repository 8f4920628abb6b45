//! Probes at the doors of a scenario's processes: they count what goes through, and at one point play a trick.
//!
//! A run without a trick is the reference: its moments, each named by process, kind and ordinal, are the points at which
//! the families of `families/` do something. One seed is one trace, so the same ordinal is the same moment in every run,
//! up to the trick.

mod engine;
mod store;

use engine::Engines;
use skep::app::manager::Doors;
use skep::embedded::memory::Memory;
use skep::sim::world::Hook;
use skep::store::Kv;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use store::Store;
use tokio::sync::Notify;

/// What goes through a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A transaction that changed something below the prefix.
    Write,
    /// A call that changes something on an engine. (After one that only reads, the world is as after the last that did
    /// not.)
    Order,
    /// A batch of a process's one watch.
    Batch,
    /// An event of an engine.
    Event,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write",
            Self::Order => "order",
            Self::Batch => "batch",
            Self::Event => "event",
        })
    }
}

/// A key that a write or a batch changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) is_delete: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_delete { "-" } else { "" };
        write!(f, "{sign}{}", self.key.trim_start_matches("/skep/"))
    }
}

/// Something that went through a door of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) place: Place,
    /// For people: the keys, or the call with its container.
    pub(crate) what: String,
    /// What a write or a batch changed.
    pub(crate) changes: Vec<Change>,
    /// The node whose engine was called or tells.
    pub(crate) node: String,
    /// The store's revision that a write or a batch brought; 0: it has none.
    pub(crate) revision: i64,
}

/// Which of the moments of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) process: &'static str,
    pub(crate) kind: Kind,
    /// Counted from 0, for each process and kind, over all restarts of the process.
    pub(crate) ordinal: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}'s {} {}", self.process, self.kind, self.ordinal)
    }
}

/// What is done at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// The process dies right after it (whoever drives the run starts another).
    Die,
    /// The same, and the next one lists the store at once but hears of nothing new for long.
    DieAndLag,
    /// Whoever drives the run does something in the world.
    Tell,
    /// The batch comes long after others have seen it, and what follows it later still.
    Late,
    /// The watch breaks, and is mended by a listing once this key has changed again.
    Miss(Option<String>),
    /// It comes twice.
    Twice,
    /// It comes together with the next one.
    Join,
    /// It never comes.
    Drop,
    /// It comes after the next one.
    Swap,
}

/// The probes of one run; clones are the same.
#[derive(Clone)]
pub(crate) struct Probe {
    record: Arc<Mutex<Record>>,
    struck: Arc<Notify>,
    /// The cluster's store, for what is done to it by hand.
    store: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Record {
    is_counting: bool,
    counts: BTreeMap<(&'static str, Kind), usize>,
    moments: Vec<Moment>,
    /// What is still to be done, and where.
    next: Option<(Place, Trick)>,
    /// The process whose next view lags.
    lags: Option<&'static str>,
    /// The names of containers that were made, by id: an order names the id alone.
    names: BTreeMap<String, String>,
}

impl Probe {
    /// Probes that count nothing yet.
    pub(crate) fn new(store: Memory) -> Self {
        Self {
            record: Arc::default(),
            struck: Arc::default(),
            store: Arc::new(Mutex::new(store)),
        }
    }

    /// The cluster lives in another store from now on.
    pub(crate) fn move_to(&self, store: Memory) {
        *self.store() = store;
    }

    fn store(&self) -> MutexGuard<'_, Memory> {
        self.store.lock().expect("nobody panics with the store")
    }

    /// Somebody has the store forget all that was before now: no manager's doing, so no rule of theirs is about it.
    async fn forget(&self) {
        let store = self.store().clone();
        // Compacted by somebody else meanwhile is as good.
        let _ = store.compact(store.revision()).await;
    }

    /// Counts from now on, and plays the trick when its place is met.
    pub(crate) fn begin(&self, trick: Option<(Place, Trick)>) {
        let mut record = self.record();
        record.is_counting = true;
        record.next = trick;
    }

    /// Puts a probe at the doors of every manager that starts as this process.
    pub(crate) fn hook(&self, process: &'static str) -> Hook {
        let probe = self.clone();
        Arc::new(move |doors: Doors| {
            let tap = Tap {
                process,
                probe: probe.clone(),
                is_dead: Arc::default(),
            };
            Doors {
                kv: Arc::new(Store {
                    inner: doors.kv,
                    tap: tap.clone(),
                }),
                connector: Arc::new(Engines {
                    inner: doors.connector,
                    tap,
                }),
                ..doors
            }
        })
    }

    /// Whether the trick is still to be played.
    pub(crate) fn is_waiting(&self) -> bool {
        self.record().next.is_some()
    }

    /// Everything that was counted.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.record().moments.clone()
    }

    /// Returns once a trick was played that whoever drives the run has to follow up.
    pub(crate) async fn struck(&self) {
        self.struck.notified().await;
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nobody panics while it counts")
    }

    /// Something goes through a door: what is to be done with it.
    fn meet(
        &self,
        process: &'static str,
        kind: Kind,
        describe: impl FnOnce(Place) -> Moment,
    ) -> Option<Trick> {
        let mut record = self.record();
        if !record.is_counting {
            return None;
        }
        let count = record.counts.entry((process, kind)).or_default();
        let place = Place {
            process,
            kind,
            ordinal: *count,
        };
        *count += 1;
        record.moments.push(describe(place.clone()));
        let (_, trick) = record.next.take_if(|(next, _)| *next == place)?;
        if trick == Trick::DieAndLag {
            record.lags = Some(process);
        }
        Some(trick)
    }

    fn know(&self, id: &str, name: &str) {
        self.record().names.insert(id.to_owned(), name.to_owned());
    }

    /// The name of a container.
    fn name(&self, id: &str) -> String {
        let record = self.record();
        record.names.get(id).map_or(id, String::as_str).to_owned()
    }

    /// Whether the view of this process lags now; asked once.
    fn takes_lag(&self, process: &'static str) -> bool {
        self.record()
            .lags
            .take_if(|lags| *lags == process)
            .is_some()
    }
}

/// The probe of one process, from its start to its end; clones are the same.
#[derive(Clone)]
struct Tap {
    process: &'static str,
    probe: Probe,
    is_dead: Arc<AtomicBool>,
}

impl Tap {
    /// Returns at once while the process lives, and never after it died.
    async fn alive(&self) {
        if self.is_dead.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    /// Plays the part of a trick that is the same at every door.
    async fn play(&self, trick: Option<&Trick>) {
        match trick {
            Some(Trick::Die | Trick::DieAndLag) => {
                self.is_dead.store(true, Ordering::Relaxed);
                self.probe.struck.notify_one();
                self.alive().await;
            }
            Some(Trick::Tell) => self.probe.struck.notify_one(),
            _ => {}
        }
    }
}
