//! The part of the body that is the node's business: `HostConfig`.

use super::fields::Fields;
use super::{ContainerInput, port_key, unless_empty};
use crate::api::container::{
    Container, Device, DeviceRequest, Limits, Mount, MountKind, TmpfsOptions, VolumeOptions,
};
use crate::api::service::ServicePort;
use crate::api::task::{Binding, HostPort};
use crate::dataplane::dns::container::dns;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A JSON object that takes only what is there: a part of a part that few templates have.
#[derive(Default)]
struct Part(Map<String, Value>);

impl Part {
    fn set(&mut self, field: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.insert(field.to_owned(), value);
        }
    }

    fn text(&mut self, field: &str, value: Option<&String>) {
        self.set(field, value.map(|text| json!(text)));
    }

    fn texts(&mut self, field: &str, values: &[String]) {
        self.set(field, unless_empty(values).map(|values| json!(values)));
    }

    fn map(&mut self, field: &str, values: &BTreeMap<String, String>) {
        self.set(field, (!values.is_empty()).then(|| json!(values)));
    }
}

/// `HostConfig` of the body.
pub(super) fn config(fields: &mut Fields, input: &ContainerInput<'_>) {
    let container = &input.revision.template.container;
    fields.set("NetworkMode", Some(network_mode(input)));
    // Rule C7.
    fields.object("RestartPolicy", |policy| policy.set("Name", Some("no")));
    fields.set(
        "PortBindings",
        port_bindings(&input.revision.host_ports, input.binding),
    );
    process(fields, container);
    namespaces(fields, container);
    names(fields, input);
    devices(fields, container);
    storage(fields, container);
    limits(fields, &container.resources.limits);
    let reserved = container.resources.reservations.memory.0;
    fields.set("MemoryReservation", above_zero(reserved));
}

/// The network that a task joins at its creation.
pub(super) fn network_mode<'a>(input: &ContainerInput<'a>) -> &'a str {
    match (input.endpoints.first(), &input.revision.template.networks) {
        (Some(endpoint), _) => &endpoint.network,
        (None, Some(networks)) if networks.is_empty() => "none",
        (None, _) => "bridge",
    }
}

fn process(fields: &mut Fields, container: &Container) {
    fields.set("GroupAdd", unless_empty(&container.groups));
    fields.set("Init", container.init);
    fields.set("ReadonlyRootfs", Some(container.read_only));
    fields.set("CapAdd", unless_empty(&container.cap_add));
    fields.set("CapDrop", unless_empty(&container.cap_drop));
    fields.set("Privileged", Some(container.privileged));
    fields.set("SecurityOpt", unless_empty(&container.security_opt));
    fields.map("Sysctls", &container.sysctls);
    fields.list(
        "Ulimits",
        &container.ulimits,
        |limit| json!({"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard}),
    );
    fields.set("OomScoreAdj", container.oom_score_adj);
    fields.set("Isolation", container.isolation.as_ref());
    fields.set("Runtime", container.runtime.as_ref());
    fields.set("CgroupParent", container.cgroup_parent.as_ref());
    fields.map("Annotations", &container.annotations);
    let logging = container.logging.as_ref();
    fields.set(
        "LogConfig",
        logging.map(|logging| json!({"Type": logging.driver, "Config": logging.options})),
    );
}

fn namespaces(fields: &mut Fields, container: &Container) {
    fields.set("PidMode", container.pid_mode.as_ref());
    fields.set("IpcMode", container.ipc_mode.as_ref());
    fields.set("UTSMode", container.uts_mode.as_ref());
    fields.set("UsernsMode", container.userns_mode.as_ref());
    fields.set("CgroupnsMode", container.cgroupns_mode.as_ref());
}

/// Whom it asks for names: on overlays the node's agent first.
fn names(fields: &mut Fields, input: &ContainerInput<'_>) {
    let container = &input.revision.template.container;
    let first = input.endpoints.first();
    let on_overlays = first.map(|endpoint| dns(endpoint.gateway, &container.dns));
    let asked = on_overlays.as_ref().unwrap_or(&container.dns);
    fields.set("Dns", unless_empty(&asked.servers));
    fields.set("DnsSearch", unless_empty(&asked.search));
    fields.set("DnsOptions", unless_empty(&asked.options));
    fields.set("ExtraHosts", unless_empty(&container.extra_hosts));
}

fn devices(fields: &mut Fields, container: &Container) {
    fields.list("Devices", &container.devices, device);
    fields.list("DeviceRequests", &container.device_requests, device_request);
    fields.set(
        "DeviceCgroupRules",
        unless_empty(&container.device_cgroup_rules),
    );
}

fn device(device: &Device) -> Value {
    json!({
        "PathOnHost": device.source,
        "PathInContainer": device.target.as_ref().unwrap_or(&device.source),
        "CgroupPermissions": device.permissions.as_deref().unwrap_or("rwm"),
    })
}

fn device_request(request: &DeviceRequest) -> Value {
    let mut fields = Part::default();
    fields.text("Driver", request.driver.as_ref());
    fields.set("Count", request.count.map(|count| json!(count)));
    fields.texts("DeviceIDs", &request.ids);
    let capabilities = &request.capabilities;
    let any = (!capabilities.is_empty()).then(|| json!(capabilities));
    fields.set("Capabilities", any);
    fields.map("Options", &request.options);
    fields.0.into()
}

fn storage(fields: &mut Fields, container: &Container) {
    fields.set("ShmSize", container.shm_size.map(|size| json!(size.0)));
    fields.list("Mounts", &container.mounts, mount);
    // `path` or `path:options`, as Docker's own `--tmpfs`.
    let tmpfs = container.tmpfs.iter().map(|text| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        (path.to_owned(), options.to_owned())
    });
    fields.map("Tmpfs", &tmpfs.collect());
}

fn mount(mount: &Mount) -> Value {
    let mut fields = Part::default();
    let kind = match mount.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
    };
    fields.set("Type", Some(json!(kind)));
    fields.text("Source", mount.source.as_ref());
    fields.set("Target", Some(json!(mount.target)));
    fields.set("ReadOnly", Some(json!(mount.read_only)));
    let bind = mount.bind.as_ref().map(|options| {
        let mut fields = Part::default();
        fields.text("Propagation", options.propagation.as_ref());
        fields.set("NonRecursive", Some(json!(options.non_recursive)));
        Value::from(fields.0)
    });
    fields.set("BindOptions", bind);
    fields.set("VolumeOptions", mount.volume.as_ref().map(volume_options));
    fields.set("TmpfsOptions", mount.tmpfs.as_ref().map(tmpfs_options));
    fields.0.into()
}

fn volume_options(options: &VolumeOptions) -> Value {
    let mut fields = Part::default();
    fields.set("NoCopy", Some(json!(options.no_copy)));
    fields.map("Labels", &options.labels);
    fields.text("Subpath", options.subpath.as_ref());
    if options.driver.is_some() || !options.options.is_empty() {
        let driver = options.driver.as_deref().unwrap_or("local");
        let driver = json!({"Name": driver, "Options": options.options});
        fields.set("DriverConfig", Some(driver));
    }
    fields.0.into()
}

fn tmpfs_options(options: &TmpfsOptions) -> Value {
    let mut fields = Part::default();
    fields.set("SizeBytes", options.size.map(|size| json!(size.0)));
    // Validation has seen that it is octal.
    let mode = options.mode.as_deref();
    let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok());
    fields.set("Mode", mode.map(|mode| json!(mode)));
    fields.0.into()
}

fn limits(fields: &mut Fields, limits: &Limits) {
    fields.set("NanoCpus", above_zero(limits.cpus.0));
    fields.set("Memory", above_zero(limits.memory.0));
    fields.set("MemorySwap", limits.memory_swap.map(|swap| json!(swap.0)));
    // Said aloud: some engines set a limit of their own where nothing is said.
    let pids = limits.pids.map_or(-1, i64::from);
    fields.set("PidsLimit", Some(json!(pids)));
    fields.set("CpusetCpus", limits.cpuset.as_ref());
    fields.set(
        "BlkioWeight",
        limits.blkio_weight.map(|weight| json!(weight)),
    );
}

/// Zero means no limit, which is said by leaving it out.
fn above_zero(amount: u64) -> Option<Value> {
    (amount > 0).then(|| json!(amount))
}

/// Where no number is published, the binding may hold one that is not another port's of the template, else the engine
/// chooses.
fn port_bindings(ports: &[ServicePort], binding: &Binding) -> Option<Value> {
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in ports {
        let held = || {
            let is_taken = |held: &&HostPort| {
                let mut others = ports.iter().filter(|other| other.protocol == held.protocol);
                others.any(|other| other.published == Some(held.published))
            };
            let mut held = binding.host_ports.iter().filter(|held| !is_taken(held));
            let same = held.find(|held| {
                held.target == port.target
                    && held.protocol == port.protocol
                    && held.host_ip == port.host_ip
            });
            same.map(|held| held.published)
        };
        let published = port.published.or_else(held);
        bindings.entry(port_key(port)).or_default().push(json!({
            "HostIp": port.host_ip.map_or_else(String::new, |ip| ip.to_string()),
            "HostPort": published.map_or_else(String::new, |number| number.to_string()),
        }));
    }
    (!bindings.is_empty()).then(|| json!(bindings))
}
