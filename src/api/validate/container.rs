//! What a container may say.

use super::super::container::{Container, Healthcheck, Mount, MountKind, Resources};
use super::super::path::Path;
use super::super::unit::Period;
use super::{Found, OWN_LABELS};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why secrets are refused.
pub(super) const NO_SECRETS: &str =
    "secrets are not provided yet: mount a file of the nodes, or wait for a later version";
/// Why configs are refused.
pub(super) const NO_CONFIGS: &str =
    "configs are not provided yet: mount a file of the nodes, or wait for a later version";

/// Docker's least memory limit.
const LEAST_MEMORY: u64 = 6 << 20;

/// All that is wrong with a container.
pub(super) fn container(container: &Container, path: &Path, found: &mut Found) {
    let image = container.image.as_str();
    if image.is_empty() {
        found.refuse(
            path.key("image"),
            "is missing: write an image's name, such as nginx:1.27",
        );
    } else if image.contains(char::is_whitespace) {
        found.refuse(
            path.key("image"),
            format!("`{image}` is no image's name: it has spaces"),
        );
    }
    environment(&container.env, &path.key("env"), found);
    own_labels(&container.labels, &path.key("labels"), found);
    own_labels(&container.annotations, &path.key("annotations"), found);
    limits_per_process(container, path, found);
    modes(container, path, found);
    addresses(container, path, found);
    mounts(container, path, found);
    if let Some(check) = &container.healthcheck {
        healthcheck(check, &path.key("healthcheck"), found);
    }
    resources(&container.resources, &path.key("resources"), found);
    found.refuse_if(
        !container.secrets.is_empty(),
        || path.key("secrets"),
        NO_SECRETS,
    );
    found.refuse_if(
        !container.configs.is_empty(),
        || path.key("configs"),
        NO_CONFIGS,
    );
}

fn environment(env: &BTreeMap<String, String>, path: &Path, found: &mut Found) {
    for (name, value) in env {
        let wrong = name.is_empty() || name.contains(['=', '\0']);
        found.refuse_if(wrong, || path.key(name), "is no name of a variable");
        found.refuse_if(
            value.contains('\0'),
            || path.key(name),
            "holds a NUL character",
        );
    }
}

fn own_labels(labels: &BTreeMap<String, String>, path: &Path, found: &mut Found) {
    for label in labels.keys().filter(|label| label.starts_with(OWN_LABELS)) {
        let message = "labels under dev.skep. are skep's own: they say which containers are its";
        found.refuse(path.key(label), message);
    }
    let nameless = labels.contains_key("");
    found.refuse_if(nameless, || path.key(""), "a label needs a name");
}

fn limits_per_process(container: &Container, path: &Path, found: &mut Found) {
    for (index, limit) in container.ulimits.iter().enumerate() {
        let path = path.key("ulimits").index(index);
        let twice = container.ulimits[..index]
            .iter()
            .any(|other| other.name == limit.name);
        found.refuse_if(
            twice,
            || path.key("name"),
            format!("`{}` is limited twice", limit.name),
        );
        found.refuse_if(limit.name.is_empty(), || path.key("name"), "is missing");
        for (name, value) in [("soft", limit.soft), ("hard", limit.hard)] {
            let wrong = value < -1;
            found.refuse_if(
                wrong,
                || path.key(name),
                "expected -1 (no limit), 0 or more",
            );
        }
        let unlimited = limit.soft == -1 && limit.hard != -1;
        found.refuse_if(
            unlimited || (limit.hard != -1 && limit.soft > limit.hard),
            || path.key("soft"),
            "is above `hard`",
        );
    }
    let score = container.oom_score_adj;
    found.refuse_if(
        score.is_some_and(|score| !(-1000..=1000).contains(&score)),
        || path.key("oomScoreAdj"),
        "expected a number from -1000 to 1000",
    );
}

fn modes(container: &Container, path: &Path, found: &mut Found) {
    let ipc = ["none", "private", "shareable", "host"];
    found.one_of(path.key("ipcMode"), container.ipc_mode.as_ref(), &ipc);
    found.one_of(path.key("utsMode"), container.uts_mode.as_ref(), &["host"]);
    found.one_of(
        path.key("usernsMode"),
        container.userns_mode.as_ref(),
        &["host"],
    );
    let cgroup = ["host", "private"];
    found.one_of(
        path.key("cgroupnsMode"),
        container.cgroupns_mode.as_ref(),
        &cgroup,
    );
    let isolation = ["default", "process", "hyperv"];
    found.one_of(
        path.key("isolation"),
        container.isolation.as_ref(),
        &isolation,
    );
    let shared = |mode: &&String| *mode != "host" && !mode.starts_with("container:");
    if let Some(mode) = container.pid_mode.as_ref().filter(shared) {
        let message = format!("expected host or container:ID, found {mode:?}");
        found.refuse(path.key("pidMode"), message);
    }
    for (index, device) in container.devices.iter().enumerate() {
        let path = path.key("devices").index(index);
        let letters = device.permissions.as_deref().unwrap_or("rwm");
        found.refuse_if(
            letters.is_empty() || !letters.chars().all(|c| "rwm".contains(c)),
            || path.key("permissions"),
            "expected letters of rwm",
        );
        let relative = !device.source.starts_with('/');
        found.refuse_if(relative, || path.key("source"), "expected an absolute path");
    }
}

fn addresses(container: &Container, path: &Path, found: &mut Found) {
    for (index, server) in container.dns.servers.iter().enumerate() {
        found.refuse_if(
            server.parse::<std::net::IpAddr>().is_err(),
            || path.key("dns").key("servers").index(index),
            format!("`{server}` is no IP address"),
        );
    }
    for (index, line) in container.extra_hosts.iter().enumerate() {
        let complete = line
            .split_once(':')
            .is_some_and(|(name, address)| !name.is_empty() && !address.is_empty());
        found.refuse_if(
            !complete,
            || path.key("extraHosts").index(index),
            format!("expected name:address, found {line:?}"),
        );
    }
    let is_mac = |text: &str| {
        let parts: Vec<&str> = text.split([':', '-']).collect();
        let byte = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
        parts.len() == 6 && parts.iter().all(byte)
    };
    let wrong = container
        .mac_address
        .as_deref()
        .is_some_and(|mac| !is_mac(mac));
    found.refuse_if(
        wrong,
        || path.key("macAddress"),
        "expected an address such as 02:42:ac:11:00:02",
    );
}

fn mounts(container: &Container, path: &Path, found: &mut Found) {
    let mut targets: BTreeMap<&str, Path> = BTreeMap::new();
    let long = container.mounts.iter().enumerate().map(|(index, mount)| {
        let path = path.key("mounts").index(index);
        (mount.target.as_str(), path.key("target"))
    });
    let short = container.tmpfs.iter().enumerate().map(|(index, target)| {
        let target = target.split(':').next().unwrap_or_default();
        (target, path.key("tmpfs").index(index))
    });
    for (target, path) in long.chain(short) {
        if !target.starts_with('/') {
            found.refuse(path, format!("expected an absolute path, found {target:?}"));
        } else if let Some(first) = targets.get(target) {
            found.refuse(path, format!("{target} is mounted at {first} too"));
        } else {
            targets.insert(target, path);
        }
    }
    for (index, mount) in container.mounts.iter().enumerate() {
        one_mount(mount, &path.key("mounts").index(index), found);
    }
}

fn one_mount(mount: &Mount, path: &Path, found: &mut Found) {
    let source = mount.source.as_deref();
    match mount.kind {
        MountKind::Bind => {
            let absolute = source.is_some_and(|source| source.starts_with('/'));
            let message = "a bind mount needs an absolute path of the node";
            found.refuse_if(!absolute, || path.key("source"), message);
        }
        MountKind::Volume => {
            let path_like = source.is_some_and(|source| source.contains('/'));
            let message = "is a path, not a volume's name: write `type: bind`";
            found.refuse_if(path_like, || path.key("source"), message);
        }
        MountKind::Tmpfs => {
            let message = "memory has no source: leave this out";
            found.refuse_if(source.is_some(), || path.key("source"), message);
        }
    }
    let options = [
        ("bind", mount.bind.is_some(), MountKind::Bind),
        ("volume", mount.volume.is_some(), MountKind::Volume),
        ("tmpfs", mount.tmpfs.is_some(), MountKind::Tmpfs),
    ];
    for (name, present, kind) in options {
        let wrong = present && kind != mount.kind;
        found.refuse_if(wrong, || path.key(name), "belongs to another type of mount");
    }
    let propagation = mount
        .bind
        .as_ref()
        .and_then(|bind| bind.propagation.as_ref());
    let known = [
        "private", "rprivate", "shared", "rshared", "slave", "rslave",
    ];
    found.one_of(path.key("bind").key("propagation"), propagation, &known);
    let mode = mount.tmpfs.as_ref().and_then(|tmpfs| tmpfs.mode.as_deref());
    let wrong = mode.is_some_and(|mode| u32::from_str_radix(mode, 8).is_err());
    let mode = || path.key("tmpfs").key("mode");
    found.refuse_if(wrong, mode, "expected an octal mode such as \"1777\"");
}

fn healthcheck(check: &Healthcheck, path: &Path, found: &mut Found) {
    found.refuse_if(
        check.disable && !check.test.is_empty(),
        || path.key("test"),
        "a check that is disabled has no test",
    );
    let kind = check.test.first().map(String::as_str);
    let message = match (kind, check.test.len()) {
        (None, _) | (Some("CMD"), 2..) | (Some("CMD-SHELL"), 2) => None,
        (Some("CMD"), _) => Some("CMD needs a command behind it".to_owned()),
        (Some("CMD-SHELL"), _) => Some("CMD-SHELL takes exactly one line".to_owned()),
        (Some("NONE"), _) => Some("write `disable: true`".to_owned()),
        (Some(word), _) => Some(format!(
            "expected [CMD, ...] or [CMD-SHELL, line], found {word:?} first"
        )),
    };
    if let Some(message) = message {
        found.refuse(path.key("test"), message);
    }
    // Docker's least, except for zero, which is its default.
    let short = |period: Option<Period>| {
        period.is_some_and(|period| !period.is_zero() && period.0 < Duration::from_millis(1))
    };
    for (name, period) in [("interval", check.interval), ("timeout", check.timeout)] {
        found.refuse_if(short(period), || path.key(name), "expected at least 1ms");
    }
}

fn resources(resources: &Resources, path: &Path, found: &mut Found) {
    let (limits, kept) = (&resources.limits, &resources.reservations);
    let low = limits.memory.0 > 0 && limits.memory.0 < LEAST_MEMORY;
    let memory = || path.key("limits").key("memory");
    found.refuse_if(low, memory, "Docker's least is 6MiB");
    found.refuse_if(
        limits.cpus.0 > 0 && kept.cpus > limits.cpus,
        || path.key("reservations").key("cpus"),
        format!("{} is above the limit, {}", kept.cpus, limits.cpus),
    );
    found.refuse_if(
        limits.memory.0 > 0 && kept.memory > limits.memory,
        || path.key("reservations").key("memory"),
        format!("{} is above the limit, {}", kept.memory, limits.memory),
    );
    let swap = limits.memory_swap.filter(|swap| swap.0 > 0);
    found.refuse_if(
        swap.is_some_and(|swap| swap < limits.memory || limits.memory.0 == 0),
        || path.key("limits").key("memorySwap"),
        "memory and swap together: needs `memory`, and is at least that",
    );
    found.refuse_if(
        limits
            .blkio_weight
            .is_some_and(|weight| !(10..=1000).contains(&weight)),
        || path.key("limits").key("blkioWeight"),
        "expected a weight from 10 to 1000",
    );
}
