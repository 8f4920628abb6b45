//! A backup as etcd's call sends it: chunks of 32 KiB, how much is left, and at the end a SHA-256 over all of it.
//! Clients write the chunks to a file, one after another; what they mean is in [`crate::embedded::backup`].

use sha2::{Digest, Sha256};

/// etcd's own.
const CHUNK_BYTES: usize = 32 * 1024;

/// The chunks of a backup that is made piece by piece, each with the bytes that are left after it, hash not counted.
pub(super) struct Chunks<Pieces> {
    pieces: Pieces,
    left: u64,
    ready: Vec<u8>,
    hash: Option<Sha256>,
}

impl<Pieces: Iterator<Item = Vec<u8>>> Chunks<Pieces> {
    /// Of pieces that are `length` bytes together.
    pub(super) fn new(pieces: Pieces, length: u64) -> Self {
        Self {
            pieces,
            left: length,
            ready: Vec::new(),
            hash: Some(Sha256::new()),
        }
    }
}

impl<Pieces: Iterator<Item = Vec<u8>>> Iterator for Chunks<Pieces> {
    type Item = (Vec<u8>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.len() < CHUNK_BYTES
            && let Some(piece) = self.pieces.next()
        {
            self.ready.extend(piece);
        }
        if self.ready.is_empty() {
            let hash = self.hash.take()?;
            return Some((hash.finalize().to_vec(), 0));
        }
        let rest = self.ready.split_off(self.ready.len().min(CHUNK_BYTES));
        let chunk = std::mem::replace(&mut self.ready, rest);
        if let Some(hash) = &mut self.hash {
            hash.update(&chunk);
        }
        self.left = self.left.saturating_sub(chunk.len() as u64);
        Some((chunk, self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the chunks and what is left after each.
    fn check(pieces: &[usize], wanted: &[(usize, u64)]) {
        let length = pieces.iter().sum::<usize>() as u64;
        let pieces = pieces.iter().map(|length| vec![7; *length]);
        let chunks: Vec<_> = Chunks::new(pieces, length).collect();
        let sizes: Vec<_> = chunks
            .iter()
            .map(|(bytes, left)| (bytes.len(), *left))
            .collect();
        assert_eq!(sizes, wanted);
        let mut hash = Sha256::new();
        for (bytes, _) in &chunks[..chunks.len() - 1] {
            hash.update(bytes);
        }
        assert_eq!(chunks[chunks.len() - 1].0, hash.finalize().to_vec());
    }

    #[test]
    fn a_backup_goes_out_in_chunks_and_its_hash_last() {
        let kib = 1024;
        check(&[512], &[(512, 0), (32, 0)]);
        check(
            &[40 * kib, 24 * kib],
            &[(32 * kib, 32 * 1024), (32 * kib, 0), (32, 0)],
        );
        check(&[kib; 33], &[(32 * kib, 1024), (kib, 0), (32, 0)]);
    }
}
