//! Features of the Engine API: which fields of a container an engine's version does not know.
//!
//! An engine ignores fields that it does not know, in silence. So the scheduler refuses such a node by name of the
//! field. Everything else of the vocabulary is in 1.41, the oldest version that is spoken. The versions are those of
//! Docker's API changelog.

use super::container::{Container, Mount};

/// The API version that brought the field.
type Since = (u64, u64);

const ANNOTATIONS: Since = (1, 43);
const START_INTERVAL: Since = (1, 44);
const SUBPATH: Since = (1, 45);

/// The fields of `container` that an engine with this API version (`1.41`) lacks, each with the version that has it.
///
/// Empty for a version that cannot be read: nothing is known against it.
pub fn unsupported(container: &Container, api_version: &str) -> Vec<String> {
    let Some(spoken) = parse(api_version) else {
        return Vec::new();
    };
    used(container)
        .into_iter()
        .filter(|(_, since)| spoken < *since)
        .map(|(field, (major, minor))| format!("{field} needs API {major}.{minor}"))
        .collect()
}

fn used(container: &Container) -> Vec<(String, Since)> {
    let mut used = Vec::new();
    if !container.annotations.is_empty() {
        used.push(("annotations".to_owned(), ANNOTATIONS));
    }
    let check = container.healthcheck.as_ref();
    if check.is_some_and(|check| !check.disable && check.start_interval.is_some()) {
        used.push(("healthcheck.startInterval".to_owned(), START_INTERVAL));
    }
    let has_subpath = |mount: &Mount| {
        let volume = mount.volume.as_ref();
        volume.is_some_and(|volume| volume.subpath.is_some())
    };
    let mounts = container.mounts.iter().enumerate();
    let subpaths = mounts.filter(|(_, mount)| has_subpath(mount));
    used.extend(subpaths.map(|(index, _)| (format!("mounts[{index}].volume.subpath"), SUBPATH)));
    used
}

fn parse(version: &str) -> Option<Since> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_fields_that_a_version_lacks() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "image": "x",
            "annotations": {"a": "b"},
            "healthcheck": {"test": ["CMD", "true"], "startInterval": "2s"},
            "mounts": [
                {"type": "volume", "target": "/a"},
                {"type": "volume", "source": "v", "target": "/b", "volume": {"subpath": "s"}},
            ],
        }))
        .expect("a container");
        let lacks = |version: &str| unsupported(&container, version);
        let all = [
            "annotations needs API 1.43",
            "healthcheck.startInterval needs API 1.44",
            "mounts[1].volume.subpath needs API 1.45",
        ];
        assert_eq!(lacks("1.41"), all);
        assert_eq!(lacks("1.43"), all[1..]);
        assert_eq!(lacks("1.44"), all[2..]);
        assert!(lacks("1.45").is_empty() && lacks("").is_empty());
        assert!(unsupported(&Container::default(), "1.41").is_empty());
    }
}
