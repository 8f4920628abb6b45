//! [`RealDisk`]: the door [`Disk`] on a directory of the file system.

use super::disk::{Disk, File, Lock};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that is locked and holds the number of the process that has it.
const LOCK: &str = "lock";

/// A store holds secrets: only its owner reads it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// Makes the directory (and those above it) where it is not there, durably and for its owner alone.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let is_new = |path: &&Path| !path.exists();
        let made: Vec<&Path> = path.ancestors().take_while(is_new).collect();
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE).create(&path)?;
        // A directory whose name is lost takes the store with it.
        for parent in made.iter().filter_map(|made| made.parent()) {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self { path })
    }

    fn file(&self, name: &str, options: &mut OpenOptions) -> io::Result<fs::File> {
        options
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .open(self.path.join(name))
    }
}

impl Disk for RealDisk {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut file = self.file(LOCK, OpenOptions::new().create(true).truncate(false))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                return Ok(Lock::Taken(text.trim().parse().ok()));
            }
            Err(error) => return Err(error.into()),
        }
        // Who holds it is told for people only: on a full disk the lock holds without it.
        let noted = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.or_else(|error| {
            if super::disk::is_full(&error) {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        Ok(Lock::Held(Box::new(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        // A name that is not UTF-8 is none of ours.
        entries
            .filter_map(|entry| match entry {
                Ok(entry) => entry.file_name().into_string().ok().map(Ok),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = self.file(name, &mut OpenOptions::new())?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = self.file(name, OpenOptions::new().create_new(true))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

/// A file of the directory.
struct RealFile(fs::File);

impl File for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            // Some file systems cannot: then the space is taken by writing.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.write_all_at(&vec![0; length as usize], 0),
            other => Ok(other?),
        }
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
