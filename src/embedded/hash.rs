//! A number that two stores share if they hold the same: what `Hash` and `HashKV` answer. Pure.
//!
//! It is FNV-1a over every change that is known, folded to 32 bits. Its value says nothing to etcd, whose own hash depends
//! on how its database lays out bytes; two stores of ours agree if their keys, their history and their compaction do.

use super::answer::Event;
use super::mvcc::Mvcc;
use super::refusal::Error;

/// The offset and the prime of 64-bit FNV-1a.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl Mvcc {
    /// The hash of all that is known up to `revision`; 0: up to now.
    ///
    /// # Errors
    /// The revision is the compacted one or older, or in the future.
    pub fn hash(&self, revision: i64) -> Result<u32, Error> {
        let (oldest, newest) = (self.compacted(), self.revision());
        if revision > 0 && revision <= oldest {
            return Err(Error::Compacted {
                asked: revision,
                oldest,
            });
        }
        if revision > newest {
            return Err(Error::Future {
                asked: revision,
                newest,
            });
        }
        let revision = if revision == 0 { newest } else { revision };
        let mut hash = Hash(OFFSET);
        hash.number(oldest);
        for event in self.history.events_by_key() {
            if event.revision() <= revision {
                hash.event(event);
            }
        }
        Ok(hash.folded())
    }
}

struct Hash(u64);

impl Hash {
    fn event(&mut self, event: &Event) {
        self.bytes(event.key());
        self.number(event.revision());
        if let Some(kv) = event.stored() {
            self.bytes(&kv.value);
            for number in [kv.create_revision, kv.version, kv.lease] {
                self.number(number);
            }
        }
    }

    /// Their length first, so that two runs of bytes never read as another two.
    fn bytes(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).expect("a length fits into 64 bits");
        for byte in length.to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_le_bytes());
    }

    fn folded(&self) -> u32 {
        let folded = (self.0 >> 32) ^ (self.0 & u64::from(u32::MAX));
        u32::try_from(folded).expect("both halves have 32 bits")
    }
}
