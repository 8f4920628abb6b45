//! [`Change`]: all that a store has to remember, as data. What the journal writes and what a restart plays back. Pure.

use super::request::Event;
use std::sync::Arc;

/// One step of the store's life. Played back in order onto an empty store, the steps give the same store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keys were written or deleted, all in this revision, in this order.
    Written {
        /// The revision; one more than the one before.
        revision: i64,
        /// The keys; shared with the history and with watchers.
        events: Arc<[Event]>,
    },
    /// History before this revision was forgotten.
    Compacted {
        /// The oldest revision that can still be read.
        revision: i64,
    },
    /// A lease was granted. A restart gives it its whole TTL again, as etcd does.
    Granted {
        /// Its id.
        id: i64,
        /// Its TTL in seconds.
        ttl: i64,
        /// The store's revision then.
        revision: i64,
    },
    /// A lease ended, by its owner or by time; its keys went in a [`Change::Written`] before this one.
    Ended {
        /// Its id.
        id: i64,
        /// The TTL that it had, in seconds: what [`super::mvcc::Mvcc::undo`] gives back.
        ttl: i64,
        /// The store's revision when it had been granted.
        revision: i64,
    },
    /// The alarm that the store is full was raised or taken back.
    Full {
        /// Whether it is in force.
        raised: bool,
    },
}
