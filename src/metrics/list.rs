//! The list of all metrics.

/// A family of time series.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// Its name; ends in its unit.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its type.
    pub kind: Kind,
}

/// The type of a family.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// A value of now.
    Gauge,
    /// A distribution of seconds, with these upper bounds.
    Histogram(&'static [f64]),
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        help,
        labels,
        kind: Kind::Counter,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        help,
        labels,
        kind: Kind::Gauge,
    }
}

const fn seconds(
    name: &'static str,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Family {
    Family {
        name,
        help,
        labels,
        kind: Kind::Histogram(buckets),
    }
}

/// controller-runtime's buckets of reconcile times.
const RECONCILE: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0,
];
/// controller-runtime's buckets of work queues: from 10 ns, times ten, twelve of them.
const QUEUE: &[f64] = &[
    1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0,
];
/// From half a millisecond (a local store or engine) to the longest deadline of an ordinary call.
const CALL: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Reconciles by result.
pub static RECONCILES: Family = counter(
    "controller_runtime_reconcile_total",
    &["controller", "result"],
    "Total number of reconciliations per controller",
);
/// Failed reconciles.
pub static RECONCILE_ERRORS: Family = counter(
    "controller_runtime_reconcile_errors_total",
    &["controller"],
    "Total number of reconciliation errors per controller",
);
/// Failed reconciles that are not tried again.
pub static RECONCILE_TERMINAL_ERRORS: Family = counter(
    "controller_runtime_terminal_reconcile_errors_total",
    &["controller"],
    "Total number of terminal reconciliation errors per controller",
);
/// What agents mended.
pub static DATAPLANE_DRIFT: Family = counter(
    "skep_dataplane_drift_total",
    &["kind"],
    "What others changed in nodes' data planes and agents mended, by kind",
);
/// How long a change of endpoints takes.
pub static NETWORK_PROGRAMMING: Family = seconds(
    "skep_network_programming_duration_seconds",
    &[],
    CALL,
    "From a change of endpoints, networks or members that this manager saw until the last of its nodes had programmed it",
);
/// Questions to resolvers.
pub static DNS_QUERIES: Family = counter(
    "skep_dns_queries_total",
    &["kind"],
    "Questions of tasks to the resolvers of nodes, by kind of record",
);
/// What came of questions about names that are not ours.
pub static DNS_OUTCOMES: Family = counter(
    "skep_dns_outcomes_total",
    &["outcome"],
    "Questions that nodes did not answer from what they know, by outcome: forwarded, failed or refused",
);
/// Connections that a node's kernel tracks.
pub static CONNECTIONS: Family = gauge(
    "skep_dataplane_connections",
    &["node"],
    "Connections that the node's kernel tracks, to two digits",
);
/// How many it can track.
pub static CONNECTIONS_LIMIT: Family = gauge(
    "skep_dataplane_connections_limit",
    &["node"],
    "Connections that the node's kernel can track: beyond it new ones are dropped",
);
/// Addresses that are left.
pub static ADDRESSES_FREE: Family = gauge(
    "skep_network_addresses_free",
    &["namespace", "network"],
    "Addresses of a network that are left for tasks and services",
);
/// Planners that panicked.
pub static RECONCILE_PANICS: Family = counter(
    "controller_runtime_reconcile_panics_total",
    &["controller"],
    "Total number of reconciliation panics per controller",
);
/// Time of one reconcile.
pub static RECONCILE_TIME: Family = seconds(
    "controller_runtime_reconcile_time_seconds",
    &["controller"],
    RECONCILE,
    "Length of time per reconciliation per controller",
);
/// Workers of a controller.
pub static MAX_WORKERS: Family = gauge(
    "controller_runtime_max_concurrent_reconciles",
    &["controller"],
    "Maximum number of concurrent reconciles per controller",
);
/// Busy workers of a controller.
pub static ACTIVE_WORKERS: Family = gauge(
    "controller_runtime_active_workers",
    &["controller"],
    "Number of currently used workers per controller",
);
/// Keys that wait.
pub static QUEUE_DEPTH: Family = gauge(
    "workqueue_depth",
    &["name", "controller"],
    "Current depth of workqueue",
);
/// Keys added.
pub static QUEUE_ADDS: Family = counter(
    "workqueue_adds_total",
    &["name", "controller"],
    "Total number of adds handled by workqueue",
);
/// Time that keys wait.
pub static QUEUE_WAIT: Family = seconds(
    "workqueue_queue_duration_seconds",
    &["name", "controller"],
    QUEUE,
    "How long in seconds an item stays in workqueue before being requested",
);
/// Time that workers take.
pub static QUEUE_WORK: Family = seconds(
    "workqueue_work_duration_seconds",
    &["name", "controller"],
    QUEUE,
    "How long in seconds processing an item from workqueue takes",
);
/// Work under way.
pub static QUEUE_UNFINISHED: Family = gauge(
    "workqueue_unfinished_work_seconds",
    &["name", "controller"],
    "How many seconds of work is in progress and hasn't been observed by work_duration",
);
/// The oldest work under way.
pub static QUEUE_LONGEST: Family = gauge(
    "workqueue_longest_running_processor_seconds",
    &["name", "controller"],
    "How many seconds has the longest running processor for workqueue been running",
);
/// Keys tried again.
pub static QUEUE_RETRIES: Family = counter(
    "workqueue_retries_total",
    &["name", "controller"],
    "Total number of retries handled by workqueue",
);
/// Whether this manager leads a controller.
pub static LEADING: Family = gauge(
    "leader_election_master_status",
    &["name"],
    "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master",
);
/// Version of the manager.
pub static BUILD_INFO: Family = gauge(
    "skep_build_info",
    &["version"],
    "Version of this manager, always 1",
);
/// Calls to the store.
pub static STORE_CALLS: Family = seconds(
    "skep_store_request_duration_seconds",
    &["call", "result"],
    CALL,
    "Time of calls to the store by call and result",
);
/// Whether the cache follows the store.
pub static STORE_CONNECTED: Family = gauge(
    "skep_store_connected",
    &[],
    "Whether this manager follows the store, 1, or waits for it, 0",
);
/// Revision that the cache has reached.
pub static CACHE_REVISION: Family = gauge(
    "skep_cache_revision",
    &[],
    "Revision of the store that this manager's cache has reached",
);
/// Size of the store.
pub static STORE_SIZE: Family = gauge(
    "skep_store_size_bytes",
    &[],
    "Size of the store's database on disk",
);
/// Part of it in use.
pub static STORE_IN_USE: Family = gauge(
    "skep_store_in_use_bytes",
    &[],
    "Part of the store's database that is in use",
);
/// Its limit.
pub static STORE_QUOTA: Family = gauge(
    "skep_store_quota_bytes",
    &[],
    "Size at which the store refuses writes: as --store-quota or the store says it, else etcd's default",
);
/// Keys written.
pub static WRITES: Family = counter(
    "skep_store_writes_total",
    &["controller"],
    "Keys written to the store by controller",
);
/// Late writes.
pub static FENCED_ACTIONS: Family = counter(
    "skep_fenced_actions_total",
    &["controller"],
    "Writes that the fence refused because the term was over, or whose outcome is unknown",
);
/// Events.
pub static EVENTS: Family = counter(
    "skep_events_total",
    &["controller", "reason"],
    "Events recorded by controller and reason",
);
/// Events not written.
pub static EVENTS_DROPPED: Family = counter(
    "skep_events_dropped_total",
    &[],
    "Events that were not written because too many waited",
);
/// Calls to engines.
pub static ENGINE_CALLS: Family = seconds(
    "skep_engine_request_duration_seconds",
    &["call", "result"],
    CALL,
    "Time of calls to Docker Engines by call and result",
);
/// Nodes by state.
pub static NODES: Family = gauge("skep_nodes", &["state"], "Nodes by state");
/// A node's state.
pub static NODE_STATE: Family = gauge(
    "skep_node_status_condition",
    &["node", "state"],
    "The state of a node: 1 for the one that it is in",
);
/// A node's availability.
pub static NODE_UNSCHEDULABLE: Family = gauge(
    "skep_node_spec_unschedulable",
    &["node"],
    "Whether a node takes no new tasks, 1, or does, 0",
);
/// Tasks by state.
pub static TASKS: Family = gauge("skep_tasks", &["state"], "Tasks by observed state");
/// Replicas asked for.
pub static REPLICAS: Family = gauge(
    "skep_service_spec_replicas",
    &["namespace", "service"],
    "Tasks that a service asks for",
);
/// Replicas running.
pub static REPLICAS_RUNNING: Family = gauge(
    "skep_service_status_replicas",
    &["namespace", "service"],
    "Running tasks of a service",
);
/// Replicas serving.
pub static REPLICAS_READY: Family = gauge(
    "skep_service_status_replicas_ready",
    &["namespace", "service"],
    "Serving tasks of a service",
);
/// Replicas of the newest revision.
pub static REPLICAS_UPDATED: Family = gauge(
    "skep_service_status_replicas_updated",
    &["namespace", "service"],
    "Serving tasks of the newest revision of a service",
);
/// Generation of an object.
pub static GENERATION: Family = gauge(
    "skep_metadata_generation",
    &["kind", "namespace", "name"],
    "Generation of an object",
);
/// Generation that its controller has seen.
pub static OBSERVED_GENERATION: Family = gauge(
    "skep_status_observed_generation",
    &["kind", "namespace", "name"],
    "Generation of an object that its controller has dealt with",
);
/// Why tasks wait.
pub static PENDING_REASON: Family = gauge(
    "skep_pending_reason",
    &["namespace", "service", "filter"],
    "Nodes that refuse the waiting tasks of a service, by the filter that refuses",
);
/// Containers without a record.
pub static UNCLAIMED: Family = gauge(
    "skep_unmanaged_containers",
    &["node"],
    "Containers that carry our labels and have no record, by node",
);
/// Objects that are not accepted.
pub static NOT_ACCEPTED: Family = gauge(
    "skep_objects_not_accepted",
    &["kind"],
    "Objects whose last written value was refused, by kind",
);
/// Statements about objects.
pub static CONDITION: Family = gauge(
    "skep_status_condition",
    &["kind", "namespace", "name", "condition", "status"],
    "Conditions of objects: 1 for the status (true, false, unknown) that each has",
);
/// Records that cannot be read.
pub static UNREADABLE: Family = gauge(
    "skep_records_unreadable",
    &[],
    "Records of controllers that do not parse: the last value that did stays in force",
);
/// Keys that mean nothing.
pub static UNKNOWN_KEYS: Family = gauge(
    "skep_keys_unknown",
    &[],
    "Keys below the prefix that mean nothing to this version",
);
/// Whether everything waits for adoption.
pub static ADOPTING: Family = gauge(
    "skep_adopting",
    &[],
    "Whether what runs is being adopted after the store was rewound or wiped, 1: nothing is started or stopped meanwhile",
);
/// Scheduling attempts.
pub static SCHEDULE_ATTEMPTS: Family = counter(
    "skep_schedule_attempts_total",
    &["result"],
    "Tasks looked at by the scheduler, by result: scheduled or unschedulable",
);

/// All of them.
pub static ALL: &[&Family] = &[
    &RECONCILES,
    &RECONCILE_ERRORS,
    &RECONCILE_TERMINAL_ERRORS,
    &DATAPLANE_DRIFT,
    &NETWORK_PROGRAMMING,
    &DNS_QUERIES,
    &DNS_OUTCOMES,
    &CONNECTIONS,
    &CONNECTIONS_LIMIT,
    &ADDRESSES_FREE,
    &RECONCILE_PANICS,
    &RECONCILE_TIME,
    &MAX_WORKERS,
    &ACTIVE_WORKERS,
    &QUEUE_DEPTH,
    &QUEUE_ADDS,
    &QUEUE_WAIT,
    &QUEUE_WORK,
    &QUEUE_UNFINISHED,
    &QUEUE_LONGEST,
    &QUEUE_RETRIES,
    &LEADING,
    &BUILD_INFO,
    &STORE_CALLS,
    &STORE_CONNECTED,
    &CACHE_REVISION,
    &STORE_SIZE,
    &STORE_IN_USE,
    &STORE_QUOTA,
    &WRITES,
    &FENCED_ACTIONS,
    &EVENTS,
    &EVENTS_DROPPED,
    &ENGINE_CALLS,
    &NODES,
    &NODE_STATE,
    &NODE_UNSCHEDULABLE,
    &TASKS,
    &REPLICAS,
    &REPLICAS_RUNNING,
    &REPLICAS_READY,
    &REPLICAS_UPDATED,
    &GENERATION,
    &OBSERVED_GENERATION,
    &PENDING_REASON,
    &UNCLAIMED,
    &NOT_ACCEPTED,
    &CONDITION,
    &UNREADABLE,
    &UNKNOWN_KEYS,
    &ADOPTING,
    &SCHEDULE_ATTEMPTS,
];
