//! A task's container: its name, its labels, the body of `POST /containers/create`, and the way back from what an engine
//! shows to the task (rule C1). Pure.
//!
//! | Fields of `template.container` | Engine |
//! |---|---|
//! | image, command, args, env, workingDir, user, hostname, domainname, tty, stdin, stopSignal, stopGracePeriod, macAddress | Image, Entrypoint, Cmd, Env, WorkingDir, User, Hostname, Domainname, Tty, OpenStdin, StopSignal, StopTimeout, MacAddress |
//! | groups, init, readOnly | HostConfig: GroupAdd, Init, ReadonlyRootfs |
//! | capAdd, capDrop, privileged, securityOpt, sysctls, ulimits, shmSize, oomScoreAdj, isolation | HostConfig: the same words |
//! | devices, deviceRequests, deviceCgroupRules | HostConfig: the same words |
//! | pidMode, ipcMode, utsMode, usernsMode, cgroupnsMode, cgroupParent, runtime | HostConfig: PidMode, IpcMode, UTSMode, UsernsMode, CgroupnsMode, CgroupParent, Runtime |
//! | dns, extraHosts | HostConfig: Dns, DnsSearch, DnsOptions, ExtraHosts; on overlays the gateway of the first stands before the servers |
//! | labels; annotations | Labels; HostConfig: Annotations |
//! | logging | HostConfig: LogConfig |
//! | mounts; tmpfs | HostConfig: Mounts; Tmpfs |
//! | healthcheck | Healthcheck |
//! | resources.limits | HostConfig: NanoCpus, Memory, MemorySwap, PidsLimit, CpusetCpus, BlkioWeight |
//! | resources.reservations.memory | HostConfig: MemoryReservation (the scheduler keeps the rest) |
//! | the service's ports of mode host | ExposedPorts, HostConfig: PortBindings |
//!
//! Invariants:
//! - What was left out is left out of the body too, so the image's or the engine's own default holds.
//! - The engine's restart policy is `no` (rule C7): a rebooted node revives nothing that was replaced.
//! - Labels of ours win over those of the template.
//!
//! With `networks: []` a task joins nothing; where overlays are not realised, all others join the engine's `bridge`.
//! Deliberately absent: `pullPolicy` is the planner's; secrets and configs are refused at validation.

mod claim;
mod fields;
mod host;
mod label;

#[cfg(test)]
mod tests;

pub use claim::{Claim, Ours, claim, whose};
pub use label::{CLUSTER, INCARNATION, labels};

use self::fields::Fields;
use super::networks::Endpoint;
use crate::api::container::{Container, Healthcheck};
use crate::api::name::{NodeName, Scoped};
use crate::api::service::ServicePort;
pub use crate::api::task::container_name as name;
use crate::api::task::{Binding, ServiceRevision, Stamp, Task};
use crate::api::uid::Uid;
use crate::api::unit::Period;
use serde_json::{Map, Value, json};
use std::fmt::Display;

/// All that a container is made from.
#[derive(Clone, Copy, Debug)]
pub struct ContainerInput<'a> {
    /// The cluster's id.
    pub cluster: &'a Uid,
    /// The service by name.
    pub service: &'a Scoped,
    /// What the task is made from.
    pub revision: &'a ServiceRevision,
    /// The task.
    pub task: &'a Task,
    /// The node by name.
    pub node: &'a NodeName,
    /// The node's uid.
    pub node_uid: &'a Uid,
    /// What the task holds there.
    pub binding: &'a Binding,
    /// When the order is given.
    pub stamp: Stamp,
    /// The overlays that it joins; the first is that of its creation, and engines before API 1.44 take no more then.
    pub endpoints: &'a [Endpoint],
}

/// The body of `POST /containers/create`, as JSON: written field by field, as thousands are when a large service starts.
pub fn body(input: &ContainerInput<'_>) -> String {
    let container = &input.revision.template.container;
    let mut body = Fields::new();
    body.set("Image", Some(&container.image));
    body.set("Entrypoint", unless_empty(&container.command));
    body.set("Cmd", unless_empty(&container.args));
    body.words("Env", &environment(input));
    body.set("WorkingDir", container.working_dir.as_ref());
    body.set("User", container.user.as_ref());
    body.set("Hostname", container.hostname.as_ref());
    body.set("Domainname", container.domainname.as_ref());
    body.set("Tty", Some(container.tty));
    body.set("OpenStdin", Some(container.stdin));
    body.set("StopSignal", container.stop_signal.as_ref());
    let grace = container.stop_grace_period.map(whole_seconds);
    body.set("StopTimeout", grace);
    body.set("MacAddress", mac_address(input));
    body.object("Labels", |labels| {
        label::each(input, &mut |name, value| labels.show(name, value));
    });
    let check = container.healthcheck.as_ref();
    body.set("Healthcheck", check.map(healthcheck));
    body.set("ExposedPorts", exposed_ports(&input.revision.host_ports));
    body.object("HostConfig", |fields| host::config(fields, input));
    let endpoint = input.endpoints.first();
    let joined = endpoint.map(|endpoint| networking_config(input, endpoint));
    body.set("NetworkingConfig", joined);
    body.end()
}

/// The template's variables, and those by which a program learns what it is; the template's win.
fn environment<'a>(input: &'a ContainerInput<'_>) -> Vec<(&'a str, &'a dyn Display)> {
    let ours: [(&str, &dyn Display); 5] = [
        ("SKEP_NAMESPACE", &input.service.namespace),
        ("SKEP_SERVICE", &input.service.name),
        ("SKEP_TASK", &input.task.id),
        ("SKEP_SLOT", &input.task.slot),
        ("SKEP_NODE", &input.node),
    ];
    let container: &Container = &input.revision.template.container;
    let template = container.env.iter();
    let template = template.map(|(name, value)| (name.as_str(), value as &dyn Display));
    let is_left = |(name, _): &(&str, _)| !container.env.contains_key(*name);
    let mut all: Vec<_> = ours.into_iter().filter(is_left).chain(template).collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

/// At the top level, which every API from 1.41 to 1.51 understands; the endpoint's is ignored before 1.44.
fn mac_address<'a>(input: &ContainerInput<'a>) -> Option<&'a String> {
    let address = input.revision.template.container.mac_address.as_ref();
    // Without a network there is no interface to give it to, and engines refuse it.
    address.filter(|_| host::network_mode(input) != "none")
}

/// The first endpoint has the template's hardware address if there is one: engines want the two to be the same.
fn networking_config(input: &ContainerInput<'_>, endpoint: &Endpoint) -> Value {
    let mut config = endpoint.config();
    if let Some(address) = mac_address(input) {
        config["MacAddress"] = json!(address);
    }
    json!({"EndpointsConfig": {(&endpoint.network): config}})
}

fn healthcheck(check: &Healthcheck) -> Value {
    if check.disable {
        return json!({"Test": ["NONE"]});
    }
    let mut fields = Map::new();
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(field.to_owned(), value);
        }
    };
    set("Test", unless_empty(&check.test).map(|test| json!(test)));
    set("Interval", check.interval.map(nanoseconds));
    set("Timeout", check.timeout.map(nanoseconds));
    set("Retries", check.retries.map(|retries| json!(retries)));
    set("StartPeriod", check.start_period.map(nanoseconds));
    set("StartInterval", check.start_interval.map(nanoseconds));
    fields.into()
}

fn exposed_ports(ports: &[ServicePort]) -> Option<Value> {
    let exposed: Map<_, _> = ports
        .iter()
        .map(|port| (port_key(port), json!({})))
        .collect();
    (!exposed.is_empty()).then(|| exposed.into())
}

/// `80/tcp`.
fn port_key(port: &ServicePort) -> String {
    format!("{}/{}", port.target, port.protocol.as_str())
}

/// Left out: the image's own holds.
fn unless_empty(words: &[String]) -> Option<&[String]> {
    Some(words).filter(|words| !words.is_empty())
}

fn nanoseconds(period: Period) -> Value {
    json!(u64::try_from(period.0.as_nanos()).unwrap_or(u64::MAX))
}

/// Whole seconds, rounded up: a process is not to be cut short.
fn whole_seconds(period: Period) -> u64 {
    period.0.as_secs() + u64::from(period.0.subsec_nanos() > 0)
}
