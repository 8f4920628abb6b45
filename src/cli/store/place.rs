//! Where a store is, as `--from` and `--to` say it: endpoints, or the directory of an embedded store that is not running.
//!
//! `http://...`, `https://...` and `HOST:PORT` are endpoints, several with commas between; `dir:PATH` is a directory, and
//! so is what looks like a path. A directory is that of `skep up`, or of its `store/` alone.

use super::super::error::Error;
use crate::embedded::journal::disk::{Disk, Lock};
use crate::embedded::journal::real::RealDisk;
use crate::embedded::local::Local;
use crate::embedded::store::{OpenError, Options, Store};
use crate::store::Kv;
use crate::store::config::StoreConfig;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which store is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One that runs.
    Endpoints(String),
    /// One that lies in a directory.
    Directory(PathBuf),
}

impl Place {
    /// Reads what a person wrote.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("dir:") {
            return Ok(Self::Directory(path.into()));
        }
        let is_endpoint = |part: &str| {
            let port = part.rsplit_once(':').map(|(_, port)| port);
            part.contains("://") || port.is_some_and(|port| port.parse::<u16>().is_ok())
        };
        if text.split(',').all(|part| is_endpoint(part.trim())) {
            return Ok(Self::Endpoints(text.into()));
        }
        let is_path = text.contains('/') || text.starts_with('.') || Path::new(text).exists();
        match is_path {
            true => Ok(Self::Directory(text.into())),
            false => Err(format!(
                "`{text}` is neither endpoints (http://HOST:PORT) nor a directory (dir:PATH)"
            )),
        }
    }
}

/// A store that was opened.
pub(super) struct Opened {
    /// The store.
    pub(super) kv: Arc<dyn Kv>,
    /// The prefix of its keys.
    pub(super) prefix: String,
    /// How it is called in messages and marks: endpoints or a path, never a password.
    pub(super) name: String,
    /// The embedded store, where it was opened from a directory: nobody else uses it meanwhile.
    local: Option<Directory>,
}

/// A directory's store, locked.
struct Directory {
    store: Store,
    _lock: Option<Box<dyn Send + Sync>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Opened {
    /// A store that runs.
    pub(super) fn running(kv: Arc<dyn Kv>, config: &StoreConfig) -> Self {
        Self {
            kv,
            prefix: config.prefix.clone(),
            name: config.endpoints.join(","),
            local: None,
        }
    }

    /// The store of a directory; `must_exist`: one that is not there is an error, else it is made.
    pub(super) async fn directory(
        path: &Path,
        prefix: &str,
        must_exist: bool,
    ) -> Result<Self, Error> {
        let home = Home::of(path)?;
        if must_exist && !home.has_store() {
            return Err(Error::refused(format!(
                "there is no embedded store in {}",
                path.display()
            )));
        }
        let lock = home.lock()?;
        let store = open(&home.store).await?;
        Ok(Self {
            kv: Arc::new(Local::new(store.clone())),
            prefix: prefix.to_owned(),
            name: home.name(),
            local: Some(Directory { store, _lock: lock }),
        })
    }

    /// Whether other processes may use it at the same time.
    pub(super) fn is_shared(&self) -> bool {
        self.local.is_none()
    }

    /// Waits until all is on the disk, where the store is this process's own.
    pub(super) async fn close(self) {
        if let Some(directory) = self.local {
            directory.store.stop().await;
        }
    }
}

/// The directory of an embedded store.
pub(super) struct Home {
    /// The directory of `skep up`; none: the store's own directory was named.
    pub(super) up: Option<PathBuf>,
    /// The store's directory.
    pub(super) store: PathBuf,
}

impl Home {
    /// Finds out which of both was named.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path)
            .map_err(|error| Error::refused(format!("{}: {error}", path.display())))?;
        let store = path.join("store");
        Ok(match !store.is_dir() && has_journal(&path) {
            true => Self {
                up: None,
                store: path,
            },
            false => Self {
                up: Some(path),
                store,
            },
        })
    }

    /// Whether a store lies there.
    pub(super) fn has_store(&self) -> bool {
        has_journal(&self.store)
    }

    /// The directory that people name.
    pub(super) fn name(&self) -> String {
        let path = self.up.as_ref().unwrap_or(&self.store);
        path.display().to_string()
    }

    /// Takes the directory of `skep up` for this process, as that does; none: only the store's own lock counts.
    pub(super) fn lock(&self) -> Result<Option<Box<dyn Send + Sync>>, Error> {
        let Some(up) = &self.up else {
            return Ok(None);
        };
        let failed = |error| Error::refused(format!("cannot use {}: {error}", up.display()));
        match RealDisk::open(up).and_then(|disk| disk.lock()) {
            Ok(Lock::Held(lock)) => Ok(Some(lock)),
            Ok(Lock::Taken(holder)) => Err(taken(up, holder)),
            Err(error) => Err(failed(error)),
        }
    }
}

fn has_journal(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("segment-") || name.starts_with("snapshot-")
    })
}

fn taken(path: &Path, holder: Option<u32>) -> Error {
    let who = match holder {
        Some(process) => format!("process {process}"),
        None => "another process".into(),
    };
    Error::advised(
        format!("{who} runs on {}", path.display()),
        "stop it first (Ctrl-C, or SIGTERM; containers go on)",
    )
}

/// Opens the embedded store in its directory. Reading the journal blocks.
pub(super) async fn open(path: &Path) -> Result<Store, Error> {
    let directory = path.to_owned();
    let opened =
        tokio::task::spawn_blocking(move || Store::open(&directory, Options::default())).await;
    let opened = opened.expect("opening a store does not panic");
    opened
        .map(|(store, _)| store)
        .map_err(|error| unopened(&error))
}

/// An error of the embedded store with its causes.
pub(super) fn unopened(error: &OpenError) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::refused(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let read = match Place::parse(text) {
            Ok(Place::Endpoints(list)) => format!("endpoints {list}"),
            Ok(Place::Directory(path)) => format!("directory {}", path.display()),
            Err(error) => error,
        };
        assert!(read.starts_with(expected), "{text}: {read}");
    }

    #[test]
    fn endpoints_and_directories_are_told_apart() {
        check("http://127.0.0.1:2379", "endpoints http://127.0.0.1:2379");
        check(
            "https://a:1,https://b:1",
            "endpoints https://a:1,https://b:1",
        );
        check("127.0.0.1:2379", "endpoints");
        check("[::1]:2379", "endpoints");
        check("dir:a:1", "directory a:1");
        check("/var/lib/skep", "directory /var/lib/skep");
        check("./data", "directory ./data");
        check("no-such-thing", "`no-such-thing` is neither");
    }
}
