//! Draws steps: sensible ones, and wrong ones of all kinds.

mod kv;
mod watch;

use crate::compare::Hint;
use crate::keys::KEYS;
use crate::random::Random;
use crate::step::Step;
use etcd_client::proto::{
    PbAlarmRequest, PbCompactionRequest, PbHashKvRequest, PbLeaseGrantRequest,
};

/// Draws steps from a seed.
pub(crate) struct Generator {
    random: Random,
    /// Leases that end by themselves take seconds, so few are drawn.
    expiries: i64,
    /// Whether the alarm of a full store was raised last: then it is soon taken back.
    is_full: bool,
}

/// The ids of leases are small numbers, so that operations meet those of others.
const LEASES: i64 = 6;

/// Ids of leases that end by themselves begin above.
const SHORT_LEASES: i64 = 100;

/// At most so many leases of a sequence end by themselves.
const MOST_EXPIRIES: i64 = 2;

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            expiries: 0,
            is_full: false,
        }
    }

    /// The next step.
    pub(crate) fn next(&mut self, hint: &Hint) -> Step {
        if self.is_full && self.random.chance(20) {
            self.is_full = false;
            return alarm(2, 1);
        }
        match self.random.below(1000) {
            0..250 => Step::Put(self.put()),
            250..400 => Step::Range(self.range(hint)),
            400..480 => Step::Delete(self.delete()),
            // While it is full, etcd lets puts of nested transactions through; the embedded store does not.
            480..640 if self.is_full => Step::Txn(self.transaction(hint, 0)),
            480..640 => Step::Txn(self.transaction(hint, 2)),
            640..680 => self.compaction(hint),
            680..800 => self.lease(),
            800..945 => self.watching(hint),
            945..990 => self.maintenance(hint),
            _ => self.rare(),
        }
    }

    fn compaction(&mut self, hint: &Hint) -> Step {
        let revision = match self.random.below(6) {
            0 => hint.compacted,
            1 => hint.compacted + self.random.between(-2, 3),
            2 => hint.revision + self.random.between(0, 3),
            3 => hint.revision + 50,
            _ => hint.revision - self.random.between(0, 20).min(hint.revision),
        };
        Step::Compact(PbCompactionRequest {
            revision,
            physical: self.random.chance(50),
        })
    }

    /// Leases have times that lie far apart, so that the order of their ends is the same everywhere.
    fn lease(&mut self) -> Step {
        let id = self.random.between(1, LEASES);
        match self.random.below(10) {
            0..4 => {
                let ttl = match self.random.below(12) {
                    0 => 9_000_000_001,
                    1 => i64::MAX,
                    _ => 1_000 * id,
                };
                Step::Grant(PbLeaseGrantRequest { id, ttl })
            }
            4..6 => Step::Revoke(self.random.between(0, LEASES + 1)),
            6 => Step::KeepAlive(self.random.between(0, LEASES + 1)),
            7..9 => Step::TimeToLive {
                id: self.random.between(0, LEASES + 1),
                keys: self.random.chance(60),
            },
            _ => Step::Leases,
        }
    }

    fn maintenance(&mut self, hint: &Hint) -> Step {
        match self.random.below(9) {
            0 => Step::Status,
            1 => Step::Hash,
            2..4 => Step::HashKv(PbHashKvRequest {
                revision: self.revision(hint),
            }),
            4 => Step::Members,
            5 => Step::Defragment,
            6 => alarm(0, self.random.between(0, 1)),
            7 => alarm(2, self.random.between(0, 1)),
            _ => {
                self.is_full = true;
                alarm(1, 1)
            }
        }
    }

    fn rare(&mut self) -> Step {
        if self.expiries < MOST_EXPIRIES && self.random.chance(40) {
            self.expiries += 1;
            let count = self.random.below(4);
            return Step::Expire {
                id: SHORT_LEASES + self.expiries,
                ttl: self.random.between(-1, 2),
                keys: (0..count).map(|_| self.key()).collect(),
            };
        }
        Step::Restart {
            kill: self.random.chance(50),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        match self.random.below(60) {
            0 => Vec::new(),
            _ => self.random.pick(&KEYS).to_vec(),
        }
    }

    /// Key and end of a range: of all kinds, also those that hold nothing.
    fn span(&mut self) -> (Vec<u8>, Vec<u8>) {
        let key = self.key();
        let end = match self.random.below(10) {
            0..4 => Vec::new(),
            4..6 => vec![0],
            6 => {
                // The end of the prefix.
                let mut end = key.clone();
                if let Some(last) = end.last_mut() {
                    *last = last.saturating_add(1);
                }
                end
            }
            _ => self.key(),
        };
        (key, end)
    }

    /// A revision to read at: mostly there, at times compacted, to come, or none at all.
    fn revision(&mut self, hint: &Hint) -> i64 {
        match self.random.below(12) {
            0..4 => 0,
            4..8 => hint.revision - self.random.between(0, 12).min(hint.revision),
            8 => hint.compacted + self.random.between(-1, 1),
            9 => hint.revision + self.random.between(0, 2),
            10 => -1,
            _ => self.random.between(0, hint.revision + 10),
        }
    }
}

fn alarm(action: i64, alarm: i64) -> Step {
    Step::Alarm(PbAlarmRequest {
        action: i32::try_from(action).unwrap(),
        alarm: i32::try_from(alarm).unwrap(),
        member_id: 0,
    })
}
