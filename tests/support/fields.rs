//! Every field of a container, proved by what an engine made of it; fields above the engine's API by the body.
//!
//! The field's value goes through the same types and the same function as a task's. What this machine's engine or
//! kernel cannot run is made and inspected only, and marked so.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, where clippy's own exception does not reach"
)]

use super::image::BUSYBOX;
use futures::StreamExt;
use serde_json::{Value, json};
use skep::api::name::{NodeName, Scoped};
use skep::api::task::{Binding, ServiceRevision, Stamp, Task};
use skep::api::uid::{ContainerId, Ids, Uid};
use skep::api::unit::{Incarnation, Revision, Term};
use skep::controllers::task::container::{self, ContainerInput};
use skep::engine::{ContainerState, Engine};

/// How far a case goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// Only the body: the engine's API is older, or its kernel lacks the control group.
    Body,
    /// Made and inspected: to run it would need what a small machine lacks.
    Made,
    /// Made, inspected, started.
    Runs,
}
use Proof::{Body, Made as OnlyMade, Runs};

/// The volume with a name that stays behind where the engine knows paths inside of volumes.
pub(crate) const VOLUME: &str = "skeng-fields";

/// A version of the engine's API.
pub(crate) type Api = (u64, u64);

/// A task of a service whose container has these fields.
pub(crate) struct Subject {
    revision: ServiceRevision,
    pub(crate) task: Task,
    binding: Binding,
    pub(crate) service: Scoped,
    node: NodeName,
    pub(crate) uid: Uid,
}

impl Subject {
    pub(crate) fn new(mut fields: Value, networks: Option<Value>, host_ports: Value) -> Self {
        let defaults = json!({"image": BUSYBOX, "command": ["sleep"], "args": ["1000"]});
        for (field, value) in defaults.as_object().unwrap() {
            let fields = fields.as_object_mut().unwrap();
            fields.entry(field.clone()).or_insert(value.clone());
        }
        let now = "2026-01-01T00:00:00Z";
        let mut template = json!({"container": fields});
        if let Some(networks) = networks {
            template["networks"] = networks;
        }
        // Names of containers end in the task id: one per case, the same in no other run.
        let seed = u128::from(std::process::id()) << 64 | u128::from(unique());
        let mut ids = Ids::from_seed(seed);
        let (task, uid) = (ids.task(), ids.uid());
        Self {
            revision: serde_json::from_value(json!({
                "service": "svc", "number": 1, "hash": "beef", "cause": "test", "createdAt": now,
                "template": template, "hostPorts": host_ports,
            }))
            .unwrap(),
            task: serde_json::from_value(json!({
                "id": task, "service": "svc", "revision": 1, "slot": {"replica": 1},
                "desired": "running", "createdAt": now,
            }))
            .unwrap(),
            binding: serde_json::from_value(json!({
                "task": task, "service": "svc", "namespace": "default", "serviceName": "skeng",
                "node": "node1", "boundAt": now,
            }))
            .unwrap(),
            service: Scoped::new("default", "skeng-fields"),
            node: "n1".into(),
            uid,
        }
    }

    pub(crate) fn input(&self) -> ContainerInput<'_> {
        ContainerInput {
            cluster: &self.uid,
            service: &self.service,
            revision: &self.revision,
            task: &self.task,
            node: &self.node,
            node_uid: &self.uid,
            binding: &self.binding,
            endpoints: &[],
            stamp: Stamp {
                incarnation: Incarnation(1),
                term: Term(2),
                revision: Revision(3),
            },
        }
    }

    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&container::body(&self.input())).unwrap()
    }

    pub(crate) fn name(&self) -> String {
        container::name(&self.service, &self.task.slot, &self.task.id)
    }
}

fn unique() -> u32 {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A field's value, and where the engine shows it.
pub(crate) struct Case {
    pub(crate) field: &'static str,
    value: Value,
    shown: &'static str,
    expected: Value,
    proof: Proof,
    /// The oldest API that has the field.
    since: Api,
}

fn case(field: &'static str, value: Value, shown: &'static str, expected: Value) -> Case {
    Case {
        field,
        value,
        shown,
        expected,
        proof: Runs,
        since: (1, 41),
    }
}

impl Case {
    fn only(mut self, proof: Proof) -> Self {
        self.proof = proof;
        self
    }

    fn since(mut self, api: Api) -> Self {
        self.since = api;
        self
    }
}

/// The field shows what it says.
fn same(field: &'static str, value: Value, shown: &'static str) -> Case {
    case(field, value.clone(), shown, value)
}

fn process() -> Vec<Case> {
    vec![
        same("image", json!(BUSYBOX), "/Config/Image"),
        same("command", json!(["sleep"]), "/Config/Entrypoint"),
        same("args", json!(["999"]), "/Config/Cmd"),
        same("workingDir", json!("/tmp"), "/Config/WorkingDir"),
        same("user", json!("0:0"), "/Config/User"),
        same("groups", json!(["7", "8"]), "/HostConfig/GroupAdd"),
        same("hostname", json!("bee"), "/Config/Hostname"),
        same("domainname", json!("hive.test"), "/Config/Domainname"),
        same("init", json!(true), "/HostConfig/Init"),
        same("tty", json!(true), "/Config/Tty"),
        same("stdin", json!(true), "/Config/OpenStdin"),
        same("readOnly", json!(true), "/HostConfig/ReadonlyRootfs"),
        same("stopSignal", json!("SIGUSR1"), "/Config/StopSignal"),
        case(
            "stopGracePeriod",
            json!("1m30s"),
            "/Config/StopTimeout",
            json!(90),
        ),
        same("capAdd", json!(["CAP_NET_ADMIN"]), "/HostConfig/CapAdd"),
        same("capDrop", json!(["CAP_CHOWN"]), "/HostConfig/CapDrop"),
        same("privileged", json!(true), "/HostConfig/Privileged").only(OnlyMade),
        same(
            "securityOpt",
            json!(["no-new-privileges"]),
            "/HostConfig/SecurityOpt",
        ),
        same(
            "sysctls",
            json!({"net.ipv4.ip_forward": "0"}),
            "/HostConfig/Sysctls",
        ),
        case(
            "ulimits",
            json!([{"name": "nofile", "soft": 100, "hard": 200}]),
            "/HostConfig/Ulimits",
            json!([{"Name": "nofile", "Soft": 100, "Hard": 200}]),
        ),
        case(
            "shmSize",
            json!("8Mi"),
            "/HostConfig/ShmSize",
            json!(8 << 20),
        ),
        same("oomScoreAdj", json!(100), "/HostConfig/OomScoreAdj"),
        same("isolation", json!("default"), "/HostConfig/Isolation").only(OnlyMade),
        same("labels", json!("x"), "/Config/Labels/user.label"),
        same("annotations", json!({"k": "v"}), "/HostConfig/Annotations").since((1, 43)),
        // The engine adds options of its own.
        case(
            "logging",
            json!({"driver": "json-file", "options": {"max-size": "1m"}}),
            "/HostConfig/LogConfig/Config/max-size",
            json!("1m"),
        ),
        case(
            "logging",
            json!({"driver": "none"}),
            "/HostConfig/LogConfig/Type",
            json!("none"),
        ),
    ]
}

fn surroundings() -> Vec<Case> {
    vec![
        case(
            "devices",
            json!([{"source": "/dev/null", "target": "/dev/hole", "permissions": "rw"}]),
            "/HostConfig/Devices",
            json!([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/hole", "CgroupPermissions": "rw"}]),
        ),
        case(
            "deviceRequests",
            json!([{"driver": "nvidia", "count": 1, "capabilities": [["gpu"]], "options": {"a": "b"}}]),
            "/HostConfig/DeviceRequests/0",
            json!({"Driver": "nvidia", "Count": 1, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {"a": "b"}}),
        )
        .only(OnlyMade),
        same("deviceCgroupRules", json!(["c 42:* rmw"]), "/HostConfig/DeviceCgroupRules"),
        same("pidMode", json!("host"), "/HostConfig/PidMode"),
        same("ipcMode", json!("none"), "/HostConfig/IpcMode"),
        same("utsMode", json!("host"), "/HostConfig/UTSMode"),
        same("usernsMode", json!("host"), "/HostConfig/UsernsMode"),
        same("cgroupnsMode", json!("host"), "/HostConfig/CgroupnsMode"),
        same("cgroupParent", json!("/skeng"), "/HostConfig/CgroupParent").only(OnlyMade),
        same("runtime", json!("runc"), "/HostConfig/Runtime"),
        case("dns", json!({"servers": ["10.1.1.1"]}), "/HostConfig/Dns", json!(["10.1.1.1"])),
        case("dns", json!({"search": ["a.test"]}), "/HostConfig/DnsSearch", json!(["a.test"])),
        case("dns", json!({"options": ["ndots:2"]}), "/HostConfig/DnsOptions", json!(["ndots:2"])),
        same("extraHosts", json!(["db:10.1.1.2"]), "/HostConfig/ExtraHosts"),
        case("tmpfs", json!(["/run"]), "/HostConfig/Tmpfs/~1run", json!("")),
        case(
            "tmpfs",
            json!(["/run:size=64k"]),
            "/HostConfig/Tmpfs",
            json!({"/run": "size=64k"}),
        ),
        case(
            "mounts",
            json!([{"type": "bind", "source": "/etc", "target": "/host", "readOnly": true,
                "bind": {"propagation": "rprivate", "nonRecursive": true}}]),
            "/HostConfig/Mounts",
            json!([{"Type": "bind", "Source": "/etc", "Target": "/host", "ReadOnly": true,
                "BindOptions": {"Propagation": "rprivate", "NonRecursive": true}}]),
        ),
        case(
            "mounts",
            json!([{"type": "bind", "source": "/etc", "target": "/host", "readOnly": true,
                "bind": {"propagation": "rslave", "nonRecursive": true}}]),
            "/HostConfig/Mounts",
            json!([{"Type": "bind", "Source": "/etc", "Target": "/host", "ReadOnly": true,
                "BindOptions": {"Propagation": "rslave", "NonRecursive": true}}]),
        )
        // Needs a source on a shared mount, which not every machine has.
        .only(OnlyMade),
        volume("/HostConfig/Mounts/0/Target", json!("/v")),
        volume("/HostConfig/Mounts/0/VolumeOptions/NoCopy", json!(true)),
        // Newer engines add a label of their own.
        volume("/HostConfig/Mounts/0/VolumeOptions/Labels/a", json!("b")),
        volume(
            "/HostConfig/Mounts/0/VolumeOptions/DriverConfig",
            json!({"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs"}}),
        ),
        case(
            "mounts",
            json!([{"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1Mi", "mode": "1770"}}]),
            "/HostConfig/Mounts",
            json!([{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}}]),
        ),
        case(
            "mounts",
            json!([{"type": "volume", "source": VOLUME, "target": "/v", "volume": {"subpath": "a/b"}}]),
            "/HostConfig/Mounts/0/VolumeOptions/Subpath",
            json!("a/b"),
        )
        // The volume would have to hold that path already.
        .only(OnlyMade)
        .since((1, 45)),
    ]
}

/// A volume without a name, with all its options but one.
fn volume(shown: &'static str, expected: Value) -> Case {
    let value = json!([{"type": "volume", "target": "/v",
        "volume": {"noCopy": true, "labels": {"a": "b"}, "driver": "local",
            "options": {"type": "tmpfs", "device": "tmpfs"}}}]);
    case("mounts", value, shown, expected)
}

fn health_and_resources() -> Vec<Case> {
    let resource = |value, shown, expected| case("resources", value, shown, expected);
    vec![
        case(
            "healthcheck",
            json!({"test": ["CMD-SHELL", "true"], "interval": "5s", "timeout": "2s", "retries": 4, "startPeriod": "1500ms"}),
            "/Config/Healthcheck",
            json!({"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000u64, "Timeout": 2_000_000_000u64,
                "Retries": 4, "StartPeriod": 1_500_000_000u64}),
        ),
        case(
            "healthcheck",
            json!({"disable": true}),
            "/Config/Healthcheck/Test",
            json!(["NONE"]),
        ),
        case(
            "healthcheck",
            json!({"test": ["CMD", "true"], "startInterval": "2s"}),
            "/Config/Healthcheck/StartInterval",
            json!(2_000_000_000u64),
        )
        .since((1, 44)),
        resource(
            json!({"limits": {"cpus": "0.5"}}),
            "/HostConfig/NanoCpus",
            json!(500_000_000),
        ),
        resource(
            json!({"limits": {"memory": "32Mi"}}),
            "/HostConfig/Memory",
            json!(32 << 20),
        ),
        resource(
            json!({"limits": {"memory": "32Mi", "memorySwap": "64Mi"}}),
            "/HostConfig/MemorySwap",
            json!(64 << 20),
        )
        .only(OnlyMade),
        resource(
            json!({"limits": {"pids": 50}}),
            "/HostConfig/PidsLimit",
            json!(50),
        ),
        resource(
            json!({"limits": {"cpuset": "0"}}),
            "/HostConfig/CpusetCpus",
            json!("0"),
        ),
        resource(
            json!({"limits": {"blkioWeight": 300}}),
            "/HostConfig/BlkioWeight",
            json!(300),
        )
        .only(Body),
        resource(
            json!({"reservations": {"memory": "16Mi", "cpus": 1, "generic": {"gpu": 1}}}),
            "/HostConfig/MemoryReservation",
            json!(16 << 20),
        ),
    ]
}

/// Every field at least once.
pub(crate) fn all() -> Vec<Case> {
    let mut all = process();
    all.extend(surroundings());
    all.extend(health_and_resources());
    all
}

/// Cases whose field needs more than its own value.
fn fields_of(case: &Case) -> Value {
    match case.field {
        "labels" => json!({"labels": {"user.label": case.value}}),
        field => json!({field: case.value}),
    }
}

/// Proves every case on an engine that speaks `api`, none further than `limit`; says what is wrong.
pub(crate) async fn wrong(engine: &dyn Engine, api: Api, limit: Proof) -> Vec<String> {
    let prove = |case: Case| async move { prove(engine, api, limit, &case).await };
    // A few at once: most of the time is the engine's.
    let results = futures::stream::iter(all()).map(prove).buffer_unordered(4);
    let results: Vec<_> = results.collect().await;
    results.into_iter().flatten().collect()
}

async fn prove(engine: &dyn Engine, api: Api, limit: Proof, case: &Case) -> Option<String> {
    let (field, value) = (case.field, &case.value);
    let subject = Subject::new(fields_of(case), None, json!([]));
    let proof = match case.since <= api {
        true => case.proof.min(limit),
        false => Body,
    };
    if proof == Body {
        let shown = case.shown.trim_start_matches("/Config");
        let found = subject.body().pointer(shown).cloned();
        let is_right = found.as_ref() == Some(&case.expected);
        return (!is_right).then(|| format!("{field} {value}: the body says {found:?}"));
    }
    let id = match engine
        .create(&subject.name(), &subject.body().to_string())
        .await
    {
        Ok(id) => id,
        Err(error) => return Some(format!("{field} {value}: {error}")),
    };
    let wrong = inspected(engine, &id, case, proof).await;
    let removed = engine.remove(&id, true).await;
    let stays = removed
        .err()
        .map(|error| format!("{field} {value}: {error}"));
    wrong.map(|why| format!("{field} {value}: {why}")).or(stays)
}

async fn inspected(
    engine: &dyn Engine,
    id: &ContainerId,
    case: &Case,
    proof: Proof,
) -> Option<String> {
    let shown = match engine.inspect_raw(id.as_str()).await {
        Ok(shown) => shown,
        Err(error) => return Some(error.to_string()),
    };
    let found = shown.pointer(case.shown);
    if found != Some(&case.expected) {
        return Some(format!("{found:?}, not {}", case.expected));
    }
    if proof == OnlyMade {
        return None;
    }
    if let Err(error) = engine.start(id).await {
        return Some(error.to_string());
    }
    match engine.inspect(id.as_str()).await {
        Ok(seen) if seen.state == ContainerState::Running => None,
        seen => Some(format!("{seen:?}")),
    }
}
