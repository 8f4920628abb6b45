//! `skep store backup`: the whole store as one file, taken while it runs; what `restore` puts back.
//!
//! The file is the store's own, of the embedded store as of etcd, and ends in a SHA-256, which is checked before the file
//! gets its name. A file that is there is replaced, whole or not at all.

use super::super::error::Error;
use super::Surroundings;
use super::place::Opened;
use crate::embedded::backup::{self, Kind};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The length of a SHA-256.
const HASH: usize = 32;

/// Arguments of `skep store backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The store: http://HOST:PORT,... or the data directory of an embedded store that is stopped [default: the store
    /// that all verbs use]
    #[arg(long, value_name = "URL|DIR")]
    pub from: Option<String>,
}

pub(super) async fn run(around: &Surroundings, args: Args) -> Result<(), Error> {
    let path = around.at(&args.file);
    let opened = around.source(args.from.as_deref()).await?;
    let saved = save(&opened, &path).await;
    opened.close().await;
    let (kind, bytes) = saved?;
    around
        .terminal()
        .line(&format!("{} saved: {bytes} bytes", path.display()))?;
    around.note(match kind {
        Kind::Skep => "`skep store restore` puts it back into an embedded store",
        Kind::Etcd => {
            "it is etcd's own snapshot: `etcdctl snapshot restore` (from etcd 3.6 on `etcdutl`) makes a data directory of \
             it; managers notice that the store went back and adopt what runs"
        }
        Kind::Foreign => "it is in a format that this version does not know: the store's own tools read it",
    });
    Ok(())
}

/// Saves to the file; says what it is and how long.
async fn save(opened: &Opened, path: &Path) -> Result<(Kind, u64), Error> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let saved = match stream(opened, &part).await {
        Ok(saved) => std::fs::rename(&part, path)
            .and_then(|()| synced(path))
            .map(|()| saved)
            .map_err(|error| unwritten(path, &error)),
        Err(error) => Err(error),
    };
    if saved.is_err() {
        // Half a backup must not be taken for one; it may not have been made at all.
        let _ = std::fs::remove_file(&part);
    }
    saved
}

async fn stream(opened: &Opened, path: &Path) -> Result<(Kind, u64), Error> {
    let failed = |error: io::Error| unwritten(path, &error);
    // A store holds secrets: only its owner reads it.
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    let mut pieces = opened.kv.backup().await?;
    let mut check = Check::default();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        file.write_all(&piece).map_err(failed)?;
        check.take(&piece);
    }
    file.sync_all().map_err(failed)?;
    if !check.holds() {
        return Err(Error::advised(
            "the backup that came is damaged: its SHA-256 is another one",
            "nothing was saved; take it again",
        ));
    }
    Ok((backup::kind(&check.start), check.bytes))
}

/// Makes a file's name durable.
fn synced(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn unwritten(path: &Path, error: &io::Error) -> Error {
    Error::refused(format!("cannot write {}: {error}", path.display()))
}

/// Checks the hash at the end of what comes in pieces.
#[derive(Default)]
struct Check {
    hash: Sha256,
    /// What may be the hash: the last bytes.
    tail: Vec<u8>,
    /// The first bytes, which tell what it is.
    start: Vec<u8>,
    bytes: u64,
}

impl Check {
    fn take(&mut self, piece: &[u8]) {
        let missing = backup::START.saturating_sub(self.start.len());
        self.start.extend(piece.iter().take(missing));
        self.bytes += piece.len() as u64;
        self.tail.extend_from_slice(piece);
        let sure = self.tail.len().saturating_sub(HASH);
        self.hash.update(&self.tail[..sure]);
        self.tail.drain(..sure);
    }

    fn holds(self: &Check) -> bool {
        self.bytes > HASH as u64 && self.hash.clone().finalize().as_slice() == self.tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_found_however_the_pieces_are_cut() {
        let content = vec![7; 1000];
        let mut whole = content.clone();
        whole.extend_from_slice(&Sha256::digest(&content));
        for size in [1, 31, 32, 33, 500, 2000] {
            let mut check = Check::default();
            whole.chunks(size).for_each(|piece| check.take(piece));
            assert!(check.holds(), "{size}");
            assert_eq!(check.bytes, 1032);
        }
        whole[3] ^= 1;
        let mut damaged = Check::default();
        damaged.take(&whole);
        assert!(!damaged.holds());
        assert!(!Check::default().holds(), "nothing is no backup");
    }
}
