//! Images that `skep image load` put on engines, noted in the data directory: `skep down --all` takes them off again.

use super::super::process::{Ended, FAILED};
use crate::api::node::EngineSpec;
use crate::engine::{Connector, Engine, Error};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The list in the data directory: JSON, one to a line.
const FILE: &str = "images";

/// An image on an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Loaded {
    /// Where.
    pub(in crate::app) engine: EngineSpec,
    /// Its name.
    pub(in crate::app) name: String,
    /// Its id: another build of the same version has the same name.
    pub(in crate::app) id: String,
}

/// Notes an image, if there is such a directory.
pub(in crate::app) fn note(directory: &Path, loaded: &Loaded) -> Ended {
    if !directory.is_dir() || read(directory).contains(loaded) {
        return Ok(());
    }
    let path = directory.join(FILE);
    let line = serde_json::to_string(loaded).expect("plain fields are JSON");
    let written = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{line}"));
    written
        .map_err(|error: io::Error| (FAILED, format!("cannot write {}: {error}", path.display())))
}

/// The noted images, in order.
fn read(directory: &Path) -> Vec<Loaded> {
    let text = fs::read_to_string(directory.join(FILE)).unwrap_or_default();
    // A line that a full disk cut is an image that stays.
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Removes the noted images that nobody else uses; what happened to each, in lines.
pub(in crate::app) async fn remove(directory: &Path, connector: &dyn Connector) -> Vec<String> {
    let mut lines = Vec::new();
    for loaded in read(directory) {
        let place = format!("image {} ({})", loaded.name, short(&loaded.id));
        let removed = match connector.connect(&loaded.engine).await {
            Ok(engine) => off(engine.as_ref(), &loaded).await,
            Err(error) => Err(error),
        };
        lines.extend(match removed {
            Ok(()) => Some(format!("{place} removed")),
            Err(Error::NotFound { .. }) => None,
            Err(error) => Some(format!("{place} stays: {error}")),
        });
    }
    lines
}

/// By its name if that still means this image, else by its id: the name is another build's now.
async fn off(engine: &dyn Engine, loaded: &Loaded) -> Result<(), Error> {
    let is_same = engine
        .image(&loaded.name)
        .await
        .is_ok_and(|id| id == loaded.id);
    match is_same {
        true => engine.remove_image(&loaded.name).await,
        false => engine.remove_image(&loaded.id).await,
    }
}

fn short(id: &str) -> &str {
    let digits = id.trim_start_matches("sha256:");
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_noted_once_and_only_where_there_is_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = Loaded {
            engine: EngineSpec {
                url: "unix:///var/run/docker.sock".into(),
                tls: None,
            },
            name: "skep:0.1.0".into(),
            id: "sha256:0123456789abcdef".into(),
        };
        let nowhere = folder.path().join("nowhere");
        note(&nowhere, &loaded).unwrap();
        assert!(!nowhere.exists());
        note(folder.path(), &loaded).unwrap();
        note(folder.path(), &loaded).unwrap();
        assert_eq!(read(folder.path()), [loaded.clone()]);
        let other = Loaded {
            id: "sha256:fedcba9876543210".into(),
            ..loaded
        };
        note(folder.path(), &other).unwrap();
        assert_eq!(read(folder.path()).len(), 2);
    }
}
