//! The data directory of `skep up`: one process at a time, and what is remembered from one start to the next.
//!
//! | In it | |
//! |---|---|
//! | `lock` | held while a process uses the directory; its text is that process's id |
//! | `config.yaml` | where the store listens, for other verbs |
//! | `up.json` | the manager's name, where the store listens, whether the node was added |
//! | `store/` | the embedded store |
//! | `manager/` | leases of the manager (rule N5) |
//! | `images` | images that were loaded, for `skep down --all` |
//! | `up.log` | the log of a `skep up` with a live view |

use super::super::process::{Ended, FAILED, USAGE};
use crate::cli::data_dir;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The files that `skep down --all` removes; anything else in the directory is not ours.
const OURS: [&str; 8] = [
    "config.yaml",
    "up.json",
    "up.json.new",
    "images",
    "up.log",
    "up.log.old",
    "manager",
    "store",
];

/// What is remembered from one start to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::app) struct Remembered {
    /// The manager's name: nodes name it, so it stays when the host's name changes.
    pub(in crate::app) manager: Option<String>,
    /// Where the store listened last.
    pub(in crate::app) listen: Option<SocketAddr>,
    /// Whether the node of this machine was added: one that was removed by hand stays away.
    pub(in crate::app) has_node: bool,
}

/// The directory, locked; the lock ends with it, also when the process is killed.
#[derive(Debug)]
pub(in crate::app) struct Home {
    path: PathBuf,
    _lock: File,
    pub(in crate::app) remembered: Remembered,
}

/// Why the directory is not ours to use.
#[derive(Debug)]
pub(in crate::app) enum Denied {
    /// Another process has it; its id, where it is known.
    Taken(Option<u32>),
    /// It cannot be used.
    Failed(String),
}

/// The directory that a flag or the environment names.
pub(in crate::app) fn path(
    flag: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<PathBuf, (u8, String)> {
    let unknown = || {
        let why = "there is no home directory to keep state in: say where with --data-dir DIR";
        (USAGE, why.to_owned())
    };
    let path = match flag {
        Some(path) => path.to_owned(),
        None => data_dir::default(environment).ok_or_else(unknown)?,
    };
    // What is written there names it, and a process may be asked for it from another directory.
    std::path::absolute(&path).map_err(|error| (FAILED, format!("{}: {error}", path.display())))
}

impl Home {
    /// Makes the directory, for this user alone, and locks it.
    pub(in crate::app) fn take(path: &Path) -> Result<Self, Denied> {
        let failed = |error: io::Error| {
            Denied::Failed(format!(
                "cannot use the directory {}: {error}",
                path.display()
            ))
        };
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let lock = lock(path).map_err(failed)?.map_err(Denied::Taken)?;
        let remembered = match fs::read(path.join("up.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                // What it remembers is small and can be told anew: no reason to guess, and none to leave a person alone.
                Denied::Failed(format!(
                    "cannot read what an earlier `skep up` remembered in {}: {error}; restore that file, or delete it \
                     and start with the --name and --listen of before",
                    path.join("up.json").display()
                ))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Remembered::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
            remembered,
        })
    }

    /// The directory.
    pub(in crate::app) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store is.
    pub(in crate::app) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where the manager notes its leases.
    pub(in crate::app) fn manager(&self) -> PathBuf {
        self.path.join("manager")
    }

    /// Writes what is remembered, whole or not at all.
    pub(in crate::app) fn remember(&self) -> Ended {
        let text = serde_json::to_vec_pretty(&self.remembered).expect("plain fields are JSON");
        self.write("up.json", &text)
    }

    /// Tells other verbs where the store is.
    pub(in crate::app) fn announce(&self, endpoint: &str) -> Ended {
        let text = format!(
            "# Where the store of `skep up` is; written at each start.\nendpoints: [\"{endpoint}\"]\n"
        );
        self.write(data_dir::CONFIG, text.as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Ended {
        let (new, path) = (self.path.join(format!("{name}.new")), self.path.join(name));
        let written = File::create(&new)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(|error| (FAILED, format!("cannot write {}: {error}", path.display())))
    }

    /// Removes what is ours in the directory, and the directory itself if nothing else is in it.
    pub(in crate::app) fn remove(self) -> io::Result<bool> {
        for name in OURS.iter().chain(&["config.yaml.new"]) {
            let path = self.path.join(name);
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        // The lock goes last: until then nobody else begins here.
        fs::remove_file(self.path.join("lock"))?;
        Ok(fs::remove_dir(&self.path).is_ok())
    }
}

/// Locks a directory that exists, or says who has it.
fn lock(path: &Path) -> io::Result<Result<File, Option<u32>>> {
    let mut options = File::options();
    options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600);
    let mut file = options.open(path.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            return Ok(Err(text.trim().parse().ok()));
        }
        Err(error) => return Err(error.into()),
    }
    // For people only: on a full disk the lock holds without it.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Ok(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_the_other_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/skep");
        let mut home = Home::take(&path).unwrap();
        match Home::take(&path) {
            Err(Denied::Taken(holder)) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        assert_eq!(home.remembered, Remembered::default());
        home.remembered.manager = Some("here".into());
        home.remembered.listen = Some(([127, 0, 0, 1], 2380).into());
        home.remember().unwrap();
        drop(home);
        let again = Home::take(&path).unwrap();
        assert_eq!(again.remembered.manager.as_deref(), Some("here"));
        assert_eq!(again.remembered.listen.unwrap().port(), 2380);
    }

    #[test]
    fn a_memory_that_cannot_be_read_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("up.json"), "{\"manager\": ").unwrap();
        let Err(Denied::Failed(text)) = Home::take(folder.path()) else {
            panic!("half a file was taken");
        };
        assert!(
            text.contains("up.json") && text.contains("line 1") && text.contains("--name"),
            "{text}"
        );
    }

    #[test]
    fn removal_leaves_what_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(folder.path()).unwrap();
        home.remember().unwrap();
        home.announce("127.0.0.1:1").unwrap();
        fs::create_dir_all(home.store()).unwrap();
        fs::write(folder.path().join("letter.txt"), "mine").unwrap();
        assert!(!home.remove().unwrap(), "the directory is not empty");
        let left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["letter.txt"]);
    }
}
