//! Fields that an engine of some API version lacks: it would ignore them in silence.

use crate::api::container::{Container, Mount};

/// The API version that brought the field.
type Since = (u64, u64);

const ANNOTATIONS: Since = (1, 43);
const START_INTERVAL: Since = (1, 44);
const SUBPATH: Since = (1, 45);

/// What this container asks for and an engine of `api_version` (`1.41`) cannot do, one line per field; empty: nothing.
///
/// Everything else of the vocabulary is in 1.41, the oldest version that is spoken. An unreadable version counts as that.
pub fn unsupported(container: &Container, api_version: &str) -> Vec<String> {
    let spoken = parse(api_version).unwrap_or((1, 41));
    asked(container)
        .into_iter()
        .filter(|(_, since)| spoken < *since)
        .map(|(field, (major, minor))| {
            format!("{field} needs Engine API {major}.{minor}; this engine speaks {api_version}")
        })
        .collect()
}

fn asked(container: &Container) -> Vec<(String, Since)> {
    let mut asked = Vec::new();
    if !container.annotations.is_empty() {
        asked.push(("annotations".to_owned(), ANNOTATIONS));
    }
    let check = container.healthcheck.as_ref();
    if check.is_some_and(|check| !check.disable && check.start_interval.is_some()) {
        asked.push(("healthcheck.startInterval".to_owned(), START_INTERVAL));
    }
    let has_subpath = |mount: &Mount| {
        let volume = mount.volume.as_ref();
        volume.is_some_and(|volume| volume.subpath.is_some())
    };
    let mounts = container.mounts.iter().enumerate();
    let subpaths = mounts.filter(|(_, mount)| has_subpath(mount));
    asked.extend(subpaths.map(|(i, _)| (format!("mounts[{i}].volume.subpath"), SUBPATH)));
    asked
}

fn parse(version: &str) -> Option<Since> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
