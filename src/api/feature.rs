//! Features of the Engine API: which fields of a container an engine's version does not know.
//!
//! An engine ignores fields that it does not know, in silence. So the scheduler refuses such a node by name of the
//! field, and whoever makes containers may ask again. The versions are those of Docker's API changelog.

use super::container::Container;

/// The fields of `container` that an engine with this API version (`1.41`) lacks, each with the version that has it.
///
/// Empty for a version that cannot be read: nothing is known against it.
pub fn unsupported(container: &Container, api_version: &str) -> Vec<String> {
    let Some(version) = parse(api_version) else {
        return Vec::new();
    };
    used(container)
        .into_iter()
        .filter(|(_, since, used)| *used && version < *since)
        .map(|(field, since, _)| format!("{field} needs API {}.{}", since.0, since.1))
        .collect()
}

fn used(container: &Container) -> [(&'static str, (u32, u32), bool); 3] {
    let health = container.healthcheck.as_ref();
    let subpath = container
        .mounts
        .iter()
        .filter_map(|mount| mount.volume.as_ref())
        .any(|volume| volume.subpath.is_some());
    [
        ("annotations", (1, 43), !container.annotations.is_empty()),
        (
            "healthcheck.startInterval",
            (1, 44),
            health.is_some_and(|check| check.start_interval.is_some()),
        ),
        ("mounts.volume.subpath", (1, 45), subpath),
    ]
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_fields_that_a_version_lacks() {
        let mut container = Container::default();
        assert!(unsupported(&container, "1.41").is_empty());
        container.annotations.insert("a".into(), "b".into());
        assert_eq!(
            unsupported(&container, "1.41"),
            ["annotations needs API 1.43"]
        );
        assert!(unsupported(&container, "1.43").is_empty());
        assert!(unsupported(&container, "").is_empty());
    }
}
