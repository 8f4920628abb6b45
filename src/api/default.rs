//! The one table of defaults, and what fills it in at acceptance.
//!
//! Filled in once, by the controller that accepts, so that a new default in a later version changes nothing that runs.
//! `replicas` of a replicated service stays open here: `scale/<ns>/<name>` is merged in by the service controller.

use super::container::{Healthcheck, Mount, MountKind};
use super::service::{
    OnNodeLost, Order, PortMode, Restart, RestartCondition, ServiceSpec, Template, Update,
};
use super::unit::Period;

/// A field, what it is when it was left out, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The kind and the field's path: `service.spec.update.parallelism`.
    pub field: &'static str,
    /// The default as a manifest would write it; in words where it depends on other fields.
    pub value: &'static str,
    /// The reason.
    pub why: &'static str,
}

const fn line(field: &'static str, value: &'static str, why: &'static str) -> Line {
    Line { field, value, why }
}

/// Every default, in the order of the manifest's fields.
pub const TABLE: &[Line] = &[
    line("service.spec.mode", "replicated", "the usual case"),
    line(
        "service.spec.replicas",
        "what `skep scale` said, at first 1",
        "an autoscaler can own the number",
    ),
    line(
        "service.spec.template.container.stopGracePeriod",
        "10s",
        "Docker's",
    ),
    line(
        "service.spec.template.container.pullPolicy",
        "missing",
        "Docker's; an image that is there needs no registry",
    ),
    line(
        "service.spec.template.networks",
        "the namespace's own `default`",
        "services of a namespace find each other by name",
    ),
    line(
        "service.spec.template.restart.condition",
        "any",
        "a service is meant to stay up",
    ),
    line(
        "service.spec.template.restart.delay",
        "1s",
        "short for a hiccup; it doubles with each failure in a row",
    ),
    line(
        "service.spec.template.restart.maxDelay",
        "5m",
        "a crash loop costs little, a repair is noticed soon",
    ),
    line(
        "service.spec.template.restart.maxAttempts",
        "0",
        "never given up",
    ),
    line(
        "service.spec.template.restart.window",
        "0s",
        "all attempts count",
    ),
    line(
        "service.spec.template.placement.strategy",
        "spread",
        "one lost node costs the fewest tasks",
    ),
    line(
        "service.spec.template.onNodeLost",
        "replace",
        "the service stays up; `wait` where a task must never run twice",
    ),
    line(
        "service.spec.update.parallelism",
        "1",
        "a bad version reaches one task first",
    ),
    line(
        "service.spec.update.delay",
        "0s",
        "`monitor` is the wait that matters",
    ),
    line(
        "service.spec.update.order",
        "start-first; stop-first with a published host port, writable data or onNodeLost wait",
        "no gap in service, unless two tasks cannot share a port or must not share data",
    ),
    line(
        "service.spec.update.monitor",
        "max(5s, startPeriod + retries x interval)",
        "a task that is going to be found unhealthy has been by then",
    ),
    line(
        "service.spec.update.maxFailureRatio",
        "0.0",
        "the first failure counts",
    ),
    line(
        "service.spec.update.failureAction",
        "pause",
        "people decide",
    ),
    line(
        "service.spec.rollback.parallelism",
        "0",
        "all at once: back to what worked",
    ),
    line(
        "service.spec.rollback.order",
        "stop-first",
        "what fails makes room",
    ),
    line("service.spec.ports[].protocol", "tcp", "Docker's"),
    line(
        "service.spec.ports[].mode",
        "ingress",
        "reachable on every node",
    ),
    line(
        "service.spec.ports[].source",
        "preserve",
        "logs and limits by client address work",
    ),
    line(
        "service.spec.ports[].locality",
        "any",
        "all tasks share the load",
    ),
    line(
        "service.spec.ports[].published",
        "a free one, for mode host",
        "shown in the task's status",
    ),
    line(
        "service.spec.endpointMode",
        "vip",
        "one address that outlives tasks",
    ),
    line(
        "service.spec.sessionAffinity",
        "none",
        "connections are spread evenly",
    ),
    line("node.spec.role", "worker", "the usual case"),
    line(
        "node.spec.availability",
        "active",
        "a node that is added is meant to work",
    ),
    line("network.spec.driver", "overlay", "the only one"),
];

const RESTART_DELAY: Period = Period::seconds(1);
const RESTART_MAX_DELAY: Period = Period::seconds(300);
const STOP_GRACE: Period = Period::seconds(10);
const PARALLELISM: u32 = 1;
const MONITOR: Period = Period::seconds(5);

/// Docker's defaults of a health check, which the engine applies where a field was left out.
const HEALTH_INTERVAL: Period = Period::seconds(30);
const HEALTH_RETRIES: u32 = 3;

impl Default for Restart {
    fn default() -> Self {
        Self {
            condition: RestartCondition::Any,
            delay: RESTART_DELAY,
            max_delay: RESTART_MAX_DELAY,
            max_attempts: 0,
            window: Period::seconds(0),
        }
    }
}

/// Fills in what was left out of a service, except `replicas`. Filling twice changes nothing more.
pub fn fill(spec: &mut ServiceSpec) {
    fill_template(&mut spec.template);
    let order = order(spec);
    let monitor = monitor(spec.template.container.healthcheck.as_ref());
    let update: &mut Update = &mut spec.update;
    update.parallelism.get_or_insert(PARALLELISM);
    update.order.get_or_insert(order);
    let monitor = *update.monitor.get_or_insert(monitor);
    spec.rollback.order.get_or_insert(Order::StopFirst);
    spec.rollback.monitor.get_or_insert(monitor);
}

/// Fills in what was left out of a template.
pub fn fill_template(template: &mut Template) {
    template
        .container
        .stop_grace_period
        .get_or_insert(STOP_GRACE);
}

/// `start-first` where nothing prevents that the old and the new task of a slot run at the same time.
///
/// A published host port does on a node that both would run on. A volume or a path of the node that the task writes to
/// may belong to a database: two writers can destroy it, so the gap in service is the lesser evil. Who asks for
/// `onNodeLost: wait` asks that a task never runs twice.
fn order(spec: &ServiceSpec) -> Order {
    let host_port = |port: &super::service::ServicePort| {
        port.mode == PortMode::Host && port.published.is_some()
    };
    let single = spec.ports.iter().any(host_port)
        || spec
            .template
            .container
            .mounts
            .iter()
            .any(is_shared_and_written)
        || spec.template.on_node_lost == OnNodeLost::Wait;
    match single {
        true => Order::StopFirst,
        false => Order::StartFirst,
    }
}

/// Whether tasks write to what a mount shows and another task may see; a volume without a name is the container's own.
fn is_shared_and_written(mount: &Mount) -> bool {
    !mount.read_only && mount.kind != MountKind::Tmpfs && mount.source.is_some()
}

fn monitor(healthcheck: Option<&Healthcheck>) -> Period {
    let Some(check) = healthcheck.filter(|check| !check.disable) else {
        return MONITOR;
    };
    // Docker takes zero, too, for its own default.
    let interval = check.interval.filter(|interval| !interval.is_zero());
    let retries = check.retries.filter(|retries| *retries > 0);
    let failures = interval
        .unwrap_or(HEALTH_INTERVAL)
        .0
        .saturating_mul(retries.unwrap_or(HEALTH_RETRIES));
    let start = check.start_period.unwrap_or_default().0;
    MONITOR.max(Period(start.saturating_add(failures)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn filled(spec: Value) -> ServiceSpec {
        let mut spec: ServiceSpec = serde_json::from_value(spec).expect("a service");
        fill(&mut spec);
        spec
    }

    /// The table says what the code does: each plain value is found in a spec that was filled in.
    #[test]
    fn the_table_is_what_is_filled_in() {
        let ports = json!([{"target": 80}]);
        let service = filled(json!({"template": {"container": "nginx"}, "ports": ports}));
        let node: super::super::node::NodeSpec =
            serde_json::from_value(json!({"engine": "unix:///x"})).expect("a node");
        let all = json!({
            "service": {"spec": service},
            "node": {"spec": node},
            "network": {"spec": super::super::network::NetworkSpec::default()},
        });
        let mut found = 0;
        for line in TABLE.iter().filter(|line| !line.value.contains(' ')) {
            let path = format!("/{}", line.field.replace("[]", "/0").replace('.', "/"));
            let shown = match all.pointer(&path) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => panic!("{} is not filled in", line.field),
            };
            assert_eq!(shown, line.value, "{}", line.field);
            found += 1;
        }
        assert!(found > 20, "{found}");
    }

    #[test]
    fn filling_twice_changes_nothing_more_and_replicas_stay_open() {
        let once = filled(json!({"template": {"container": "nginx"}}));
        let mut twice = once.clone();
        fill(&mut twice);
        assert_eq!(once, twice);
        assert_eq!(once.replicas, None);
    }

    #[test]
    fn the_order_is_start_first_where_nothing_prevents_it() {
        let check = |container: Value, ports: Value, order: Order| {
            let spec =
                filled(json!({"template": {"container": container.clone()}, "ports": ports}));
            assert_eq!(spec.update.order, Some(order), "{container} {ports}");
        };
        let mounts = |mount: &str| json!({"image": "db", "mounts": [mount]});
        check(json!("nginx"), json!([]), Order::StartFirst);
        check(json!("nginx"), json!(["8080:80"]), Order::StartFirst);
        check(json!("nginx"), json!(["host:80"]), Order::StartFirst);
        check(json!("nginx"), json!(["host:8080:80"]), Order::StopFirst);
        check(mounts("data:/data"), json!([]), Order::StopFirst);
        check(mounts("data:/data:ro"), json!([]), Order::StartFirst);
        check(mounts("/srv:/data"), json!([]), Order::StopFirst);
        check(mounts("/cache"), json!([]), Order::StartFirst);
    }

    #[test]
    fn the_monitor_waits_for_the_health_check_to_decide() {
        let check = |health: Value, seconds: u64| {
            let container = json!({"image": "nginx", "healthcheck": health.clone()});
            let spec = filled(json!({"template": {"container": container}}));
            assert_eq!(
                spec.update.monitor,
                Some(Period::seconds(seconds)),
                "{health}"
            );
        };
        check(
            json!({"test": "x", "interval": "5s", "retries": 3, "startPeriod": "10s"}),
            25,
        );
        check(json!({"test": "x"}), 90);
        check(json!({"test": "x", "interval": "1s", "retries": 1}), 5);
        check(json!({"disable": true}), 5);
    }
}
