//! A backup of the whole store as one file: what etcd's call Snapshot sends, and what skep restores. Pure.
//!
//! | Bytes | What |
//! |---|---|
//! | 8 | `skepsnap` |
//! | 4 | the version of this format, [`FORMAT`] |
//! | 4 | zero |
//! | 8, 8 | ids of cluster and member |
//! | 8 | the revision |
//! | 8 | how many bytes of changes follow |
//! | ... | the changes, as the journal writes them |
//! | ... | zeros up to a multiple of 512 bytes |
//! | 32 | SHA-256 of all of that |
//!
//! Numbers are little-endian. Length and hash at the end are as in etcd's files, so etcdctl sees that one is whole; what is
//! inside is not: neither restores a backup of the other, and both say so.

use super::change::Change;
use super::journal::Identity;
use super::journal::codec;
use sha2::{Digest, Sha256};

/// The version of the format that this code writes and the newest that it reads.
pub const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"skepsnap";
const HEADER: usize = 48;
const HASH: usize = 32;
/// etcdctl takes a file for whole when it is a hash longer than a multiple of this.
const BLOCK: usize = 512;
/// etcd's own backups are bbolt files: the number at their byte 16.
const BOLT_MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();
/// Pieces are about so long: few allocations, and no second copy of the store.
const PIECE: usize = 32 * 1024;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Whose it is.
    pub identity: Identity,
    /// The revision that it is of.
    pub revision: i64,
    /// The whole store.
    pub changes: Vec<Change>,
}

/// What a file of a backup is, by its first [`START`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Skep's own.
    Skep,
    /// etcd's own.
    Etcd,
    /// Something else.
    Foreign,
}

/// So many bytes tell what a file is.
pub const START: usize = 20;

/// What a file that begins so is.
pub fn kind(start: &[u8]) -> Kind {
    if start.starts_with(MAGIC) {
        return Kind::Skep;
    }
    match start.get(16..START) == Some(&BOLT_MAGIC) {
        true => Kind::Etcd,
        false => Kind::Foreign,
    }
}

/// Why bytes are no backup that can be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is etcd's.
    #[error(
        "this is a snapshot of etcd's own: restore it with etcdctl into an etcd, and copy from there (skep store copy)"
    )]
    Etcd,
    /// It is something else.
    #[error("this is no snapshot of skep's: it does not begin with \"skepsnap\"")]
    Foreign,
    /// A newer version wrote it.
    #[error("the snapshot has format {0} and this version reads up to {FORMAT}: use a newer skep")]
    Newer(u32),
    /// It ends too early, or is not as it was written.
    #[error("the snapshot is damaged: {0}. Take another one")]
    Damaged(&'static str),
}

impl Error {
    /// Whether the same call may succeed later: never, the bytes stay what they are.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl Backup {
    /// How many bytes it has, without the hash at the end, and these bytes in pieces.
    pub fn into_pieces(self) -> (u64, impl Iterator<Item = Vec<u8>> + Send + 'static) {
        let mut scratch = Vec::new();
        let length: usize = self
            .changes
            .iter()
            .map(|change| {
                scratch.clear();
                codec::encode(change, &mut scratch);
                scratch.len()
            })
            .sum();
        let used = HEADER + length;
        let padding = used.next_multiple_of(BLOCK) - used;
        let header = self.header(length);
        let mut changes = self.changes.into_iter();
        let bodies = std::iter::from_fn(move || {
            let mut piece = Vec::with_capacity(PIECE * 2);
            while piece.len() < PIECE
                && let Some(change) = changes.next()
            {
                codec::encode(&change, &mut piece);
            }
            (!piece.is_empty()).then_some(piece)
        });
        let pieces = std::iter::once(header)
            .chain(bodies)
            .chain([vec![0; padding]]);
        ((used + padding) as u64, pieces)
    }

    /// The whole file in pieces, the last of which is its hash.
    pub fn into_file(self) -> impl Iterator<Item = Vec<u8>> + Send + 'static {
        let (_, mut pieces) = self.into_pieces();
        let mut hash = Some(Sha256::new());
        std::iter::from_fn(move || match pieces.next() {
            Some(piece) => {
                hash.as_mut()?.update(&piece);
                Some(piece)
            }
            None => Some(hash.take()?.finalize().to_vec()),
        })
    }

    /// The whole file, with its hash.
    pub fn into_bytes(self) -> Vec<u8> {
        self.into_file().flatten().collect()
    }

    fn header(&self, length: usize) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&self.identity.cluster.to_le_bytes());
        header.extend_from_slice(&self.identity.member.to_le_bytes());
        header.extend_from_slice(&self.revision.to_le_bytes());
        header.extend_from_slice(&(length as u64).to_le_bytes());
        header
    }

    /// Reads a backup; with or without the hash at the end, which some clients cut off.
    ///
    /// # Errors
    /// It is none, is damaged, or a newer version wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        match kind(bytes) {
            Kind::Skep => {}
            Kind::Etcd => return Err(Error::Etcd),
            Kind::Foreign => return Err(Error::Foreign),
        }
        let word = |at: usize| -> Result<[u8; 8], Error> {
            let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
            word.ok_or(Error::Damaged("it ends too early"))
        };
        let format = u32::try_from(u64::from_le_bytes(word(8)?) & 0xffff_ffff).unwrap_or(u32::MAX);
        if format > FORMAT {
            return Err(Error::Newer(format));
        }
        let length = usize::try_from(u64::from_le_bytes(word(40)?)).unwrap_or(usize::MAX);
        let body = bytes[HEADER.min(bytes.len())..].get(..length);
        let body = body.ok_or(Error::Damaged("it ends too early"))?;
        check_hash(bytes)?;
        Ok(Self {
            identity: Identity {
                cluster: u64::from_le_bytes(word(16)?),
                member: u64::from_le_bytes(word(24)?),
            },
            revision: i64::from_le_bytes(word(32)?),
            changes: codec::decode_all(body).map_err(Error::Damaged)?,
        })
    }
}

fn check_hash(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() % BLOCK != HASH {
        return Err(Error::Damaged("its hash is missing, or it was cut off"));
    }
    let (content, hash) = bytes.split_at(bytes.len() - HASH);
    if Sha256::digest(content).as_slice() != hash {
        return Err(Error::Damaged("its hash is another one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::mvcc::{Mvcc, Operation, Put, Transaction};

    fn backup() -> Backup {
        let mut store = Mvcc::new();
        for number in 0..200 {
            let put = Put::new(format!("key{number}"), vec![7; 1000]);
            store.txn(&Transaction::one(Operation::Put(put))).unwrap();
        }
        Backup {
            identity: Identity {
                cluster: 1,
                member: 2,
            },
            revision: store.revision(),
            changes: store.changes().collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = backup().into_bytes();
        assert_eq!(bytes.len() % 512, 32, "etcdctl looks for that");
        assert_eq!(Backup::from_bytes(&bytes), Ok(backup()));
    }

    #[test]
    fn the_length_is_told_before() {
        let (length, pieces) = backup().into_pieces();
        assert_eq!(pieces.map(|piece| piece.len() as u64).sum::<u64>(), length);
    }

    #[test]
    fn what_is_no_backup_is_refused_with_the_reason() {
        let check = |bytes: &[u8], wanted: &str| {
            let text = Backup::from_bytes(bytes).unwrap_err().to_string();
            assert!(text.contains(wanted), "{text}");
        };
        check(b"", "no snapshot of skep's");
        let mut bolt = vec![0; 4096];
        bolt[16..20].copy_from_slice(&BOLT_MAGIC);
        check(&bolt, "etcd's own");
        let whole = backup().into_bytes();
        check(&whole[..20], "ends too early");
        check(&whole[..whole.len() - 1], "cut off");
        let mut newer = whole.clone();
        newer[8] = 2;
        check(&newer, "format 2");
        let mut damaged = whole;
        damaged[5000] ^= 1;
        check(&damaged, "another one");
    }
}
