//! The engine knows every field that the container uses, and has the volume driver that it names.

use super::super::snapshot::{Candidate, Request};
use super::Refused;
use crate::api::feature;

pub(super) const NAME: &str = "engine";

pub(super) fn check(request: &Request<'_>, candidate: &Candidate<'_>) -> Option<Refused> {
    let engine = candidate.node.engine?;
    let container = &request.revision.template.container;
    let version = engine.api_version.as_deref().unwrap_or("");
    let lacking = feature::unsupported(container, version);
    if !lacking.is_empty() {
        return Some(Refused {
            filter: NAME,
            message: format!("speaks API {version}: {}", lacking.join(", ")),
            remedy: format!(
                "upgrade the engine of {} or leave the field out",
                candidate.node.name
            ),
        });
    }
    let driver = container
        .mounts
        .iter()
        .filter_map(|mount| mount.volume.as_ref()?.driver.as_deref())
        .find(|driver| !has_plugin(&engine.plugins, "volume", driver))?;
    Some(Refused {
        filter: NAME,
        message: format!("has no volume driver `{driver}`"),
        remedy: format!("install `{driver}` on {}", candidate.node.name),
    })
}

/// Whether the engine lists the plugin; an engine that lists none of this kind is given the benefit of the doubt.
fn has_plugin(plugins: &[String], kind: &str, name: &str) -> bool {
    let mut of_kind = plugins
        .iter()
        .filter_map(|plugin| plugin.split_once('/'))
        .filter(|(of, _)| of.eq_ignore_ascii_case(kind))
        .map(|(_, plugin)| plugin)
        .peekable();
    let bare = |plugin: &str| plugin.strip_suffix(":latest").unwrap_or(plugin).to_owned();
    of_kind.peek().is_none() || of_kind.any(|plugin| bare(plugin) == bare(name))
}
