//! What a service may say.

use super::super::constraint::{Constraint, is_label_reference};
use super::super::name::is_object_name;
use super::super::path::Path;
use super::super::published::addresses_meet;
use super::super::service::{Mode, PortMode, Protocol, ServicePort, ServiceSpec, Template};
use super::{Found, Refusal, container};
use std::collections::{BTreeMap, BTreeSet};

/// How many tasks a service may have: far above what one cluster runs, far below what an index counts.
const MAX_REPLICAS: u32 = 100_000;

/// All that is wrong with a service. `lines` says where each of its ports is written, where ranges are among them.
pub fn service(spec: &ServiceSpec, lines: &[usize]) -> Vec<Refusal> {
    let mut found = Found::default();
    mode(spec, &mut found);
    template(&spec.template, &mut found);
    roll_out(spec, &mut found);
    ports(spec, lines, &mut found);
    health_port(spec, &mut found);
    found.0
}

fn mode(spec: &ServiceSpec, found: &mut Found) {
    let replicas = || Path::of("replicas");
    match spec.mode {
        Mode::Replicated => found.refuse_if(
            spec.replicas
                .is_some_and(|replicas| replicas > MAX_REPLICAS),
            replicas,
            format!("more than {MAX_REPLICAS} replicas"),
        ),
        Mode::Global => found.refuse_if(
            spec.replicas.is_some(),
            replicas,
            "a global service has one task on each node: leave this out",
        ),
        Mode::ReplicatedJob | Mode::GlobalJob => {
            found.refuse(Path::of("mode"), "jobs are not provided yet");
        }
    }
}

fn template(template: &Template, found: &mut Found) {
    let path = Path::of("template");
    container::container(&template.container, &path.key("container"), found);
    let mut names = BTreeSet::new();
    for (index, network) in template.networks.iter().flatten().enumerate() {
        let path = path.key("networks").index(index).key("name");
        if !is_object_name(&network.name) {
            found.refuse(path, format!("`{}` is no network's name", network.name));
        } else if !names.insert(&network.name) {
            found.refuse(path, format!("`{}` is joined twice", network.name));
        }
    }
    found.refuse_if(
        !template.secrets.is_empty(),
        || path.key("secrets"),
        container::NO_SECRETS,
    );
    found.refuse_if(
        !template.configs.is_empty(),
        || path.key("configs"),
        container::NO_CONFIGS,
    );
    found.refuse_if(
        template.restart.max_delay < template.restart.delay,
        || path.key("restart").key("maxDelay"),
        format!("is below `delay`, {}", template.restart.delay),
    );
    placement(template, &path.key("placement"), found);
}

fn placement(template: &Template, path: &Path, found: &mut Found) {
    for (index, constraint) in template.placement.constraints.iter().enumerate() {
        if let Err(message) = Constraint::parse(constraint) {
            found.refuse(path.key("constraints").index(index), message);
        }
    }
    for (index, preference) in template.placement.preferences.iter().enumerate() {
        found.refuse_if(
            !is_label_reference(&preference.spread),
            || path.key("preferences").index(index).key("spread"),
            format!(
                "`{}` is no label: write node.labels.NAME",
                preference.spread
            ),
        );
    }
}

fn roll_out(spec: &ServiceSpec, found: &mut Found) {
    let ratios = [
        ("update", spec.update.max_failure_ratio),
        ("rollback", spec.rollback.max_failure_ratio),
    ];
    for (part, ratio) in ratios {
        found.refuse_if(
            !(0.0..=1.0).contains(&ratio),
            || Path::of(part).key("maxFailureRatio"),
            format!("expected a share from 0 to 1, found {ratio}"),
        );
    }
}

fn ports(spec: &ServiceSpec, lines: &[usize], found: &mut Found) {
    let line = |index: usize| lines.get(index).copied().unwrap_or(index);
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let path = Path::of("ports").index(line(index));
        port_alone(port, &path, found);
        if let Some(first) = port
            .name
            .as_deref()
            .and_then(|name| names.insert(name, index))
        {
            found.refuse(
                path.key("name"),
                format!("is the name of ports[{}] too", line(first)),
            );
        }
        let rival = spec.ports[..index]
            .iter()
            .position(|other| collide(other, port));
        if let (Some(first), Some(published)) = (rival, port.published) {
            let protocol = port.protocol.as_str();
            let first = line(first);
            let message = format!("{published}/{protocol} is published by ports[{first}] too");
            found.refuse(path.key("published"), message);
        }
    }
}

/// The port that tells of health is one of its own, and tells of ports that every node answers on.
fn health_port(spec: &ServiceSpec, found: &mut Found) {
    let Some(health) = spec.health_port else {
        return;
    };
    let path = || Path::of("healthPort");
    let zero = "expected a port from 1 to 65535, found 0";
    found.refuse_if(health.0 == 0, path, zero);
    let mut ports = spec.ports.iter();
    let is_same =
        |port: &ServicePort| port.published == Some(health) && port.protocol == Protocol::Tcp;
    let is_own = ports.any(is_same);
    let message = format!("{health}/tcp is one of the service's ports too");
    found.refuse_if(is_own, path, message);
    let mut ports = spec.ports.iter();
    let none = !ports.any(|port| port.mode == PortMode::Ingress);
    let message = "it tells of ports of mode ingress, and there is none";
    found.refuse_if(none, path, message);
}

fn port_alone(port: &ServicePort, path: &Path, found: &mut Found) {
    let zero = "expected a port from 1 to 65535, found 0";
    found.refuse_if(port.target.0 == 0, || path.key("target"), zero);
    let none = port.published.is_some_and(|port| port.0 == 0);
    found.refuse_if(none, || path.key("published"), zero);
    let name_is_wrong = port
        .name
        .as_deref()
        .is_some_and(|name| !is_object_name(name));
    found.refuse_if(
        name_is_wrong,
        || path.key("name"),
        "expected letters, digits, - and _",
    );
}

/// Whether two ports of one service cannot be open at the same time.
fn collide(one: &ServicePort, other: &ServicePort) -> bool {
    let same = |one: Protocol, other: Protocol| one == other;
    one.published.is_some()
        && one.published == other.published
        && same(one.protocol, other.protocol)
        && addresses_meet(one.host_ip, other.host_ip)
}
