//! Every metric of the list has a series after a manager has lived through a good and a bad hour, in paused time.

use crate::support::wait::until;
use skep::app::manager::{self, CONTROLLERS, Doors, Options};
use skep::embedded::memory::Memory;
use skep::metrics::Metrics;
use skep::metrics::list::{self, ALL, Family, Kind};
use skep::runtime::clock::Clock;
use skep::runtime::gauges;
use skep::runtime::measured::{MeasuredConnector, MeasuredKv};
use skep::runtime::shared::SharedCache;
use skep::sim::clock::SimClock;
use skep::sim::{Fault, SimFleet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const IMAGE: &str = "app:1";

/// What the process sets from what only it knows, beside the manager (`tests/observe/scraped.rs` looks at these).
const OF_THE_PROCESS: [&Family; 2] = [&list::STORE_CONNECTED, &list::CACHE_REVISION];

/// What agents report where overlays are realised, behind `--networks`: no agent runs here (`tests/fleet/networks.rs` looks
/// at some of them on real nodes).
const OF_AGENTS: [&Family; 6] = [
    &list::DATAPLANE_DRIFT,
    &list::NETWORK_PROGRAMMING,
    &list::DNS_QUERIES,
    &list::DNS_OUTCOMES,
    &list::CONNECTIONS,
    &list::CONNECTIONS_LIMIT,
];

/// A manager over a store in memory and simulated engines.
struct Observed {
    store: Memory,
    fleet: SimFleet,
    cache: Arc<SharedCache>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
}

impl Observed {
    fn start() -> Self {
        let (store, fleet) = (Memory::new(), SimFleet::new());
        let (cache, metrics) = (SharedCache::new("/skep/"), Arc::new(Metrics::new()));
        let (stop, stopped) = watch::channel(false);
        let options = Options {
            name: "m1".into(),
            hostname: "m1".into(),
            controllers: CONTROLLERS.iter().map(ToString::to_string).collect(),
            metrics: None,
            cluster: Default::default(),
            network: Default::default(),
            node: Default::default(),
        };
        let clock = Arc::new(SimClock::new(7));
        let engine = fleet.add_at("tcp://n1:2375", "n1");
        engine.add_image(IMAGE);
        let wall = clock.clone();
        engine.set_clock(move || wall.now().wall);
        let doors = Doors {
            kv: Arc::new(MeasuredKv::new(Arc::new(store.clone()), metrics.clone())),
            cache: cache.clone(),
            connector: Arc::new(MeasuredConnector::new(
                Arc::new(fleet.clone()),
                metrics.clone(),
            )),
            clock,
            metrics: metrics.clone(),
        };
        tokio::spawn(async move {
            manager::run(options, doors, stopped)
                .await
                .expect("the manager runs until it is stopped");
        });
        Self {
            store,
            fleet,
            cache,
            metrics,
            stop,
        }
    }

    fn put(&self, key: &str, value: &str) {
        self.store.put(&format!("/skep/{key}"), value);
    }

    /// What a scrape shows.
    fn text(&self) -> String {
        self.cache
            .read(|cache| gauges::refresh(&self.metrics, cache));
        self.metrics.render()
    }

    /// Waits until a scrape has this line.
    async fn shows(&self, line: &str) {
        until(Duration::from_secs(120), line, async || {
            self.text().lines().any(|one| one == line).then_some(())
        })
        .await;
    }
}

/// Whether a family has a series.
fn has_series(text: &str, family: &Family) -> bool {
    let name = match family.kind {
        Kind::Histogram(_) => format!("{}_count", family.name),
        Kind::Counter | Kind::Gauge => family.name.to_owned(),
    };
    text.lines().any(|line| {
        let rest = line.strip_prefix(&name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    })
}

#[tokio::test(start_paused = true)]
async fn every_metric_of_the_list_is_fed() {
    let world = Observed::start();
    world.put("nodes/n1", r#"{engine: {url: "tcp://n1:2375"}}"#);
    let web = |replicas: u32, more: &str| {
        format!("{{replicas: {replicas}, template: {{container: \"{IMAGE}\"{more}}}}}")
    };
    world.put("services/default/web", &web(3, ""));
    let service = r#"{namespace="default",service="web"}"#;
    for suffix in ["spec_replicas", "status_replicas", "status_replicas_ready"] {
        world
            .shows(&format!("skep_service_{suffix}{service} 3"))
            .await;
    }
    world.put("networks/default/front", "{subnets: [10.9.0.0/24]}");
    world
        .shows(r#"skep_network_addresses_free{namespace="default",network="front"} 253"#)
        .await;
    world.shows(r#"skep_tasks{state="running"} 3"#).await;
    world
        .shows(r#"skep_schedule_attempts_total{result="scheduled"} 3"#)
        .await;
    world
        .shows(r#"leader_election_master_status{name="task"} 1"#)
        .await;

    // A bad hour: nowhere to go, a value that is refused, an engine that fails.
    world.put(
        "services/default/far",
        &web(
            1,
            r#", placement: {constraints: ["node.labels.zone == moon"]}"#,
        ),
    );
    world.put("services/default/bad", "garbage: [");
    world
        .shows(r#"skep_objects_not_accepted{kind="Service"} 1"#)
        .await;
    world
        .shows(r#"skep_pending_reason{filter="constraint",namespace="default",service="far"} 1"#)
        .await;
    let engine = world.fleet.get("tcp://n1:2375").expect("the engine");
    engine.fail("create", Fault::server_error("no space left on device"), 2);
    world.put("services/default/web", &web(4, ""));
    world.shows(r#"skep_tasks{state="running"} 4"#).await;
    world
        .shows(r#"controller_runtime_reconcile_errors_total{controller="task"} 2"#)
        .await;
    engine.set_reachable(false);
    world.shows(r#"skep_nodes{state="down"} 1"#).await;

    let text = world.text();
    let silent: Vec<&str> = ALL
        .iter()
        .filter(|family| !OF_THE_PROCESS.contains(family) && !OF_AGENTS.contains(family))
        .filter(|family| !has_series(&text, family))
        .map(|family| family.name)
        .collect();
    assert_eq!(silent, Vec::<&str>::new(), "without a series in:\n{text}");

    world.stop.send(true).expect("the manager listens");
    world
        .shows(r#"leader_election_master_status{name="service"} 0"#)
        .await;
    world
        .shows(r#"leader_election_master_status{name="task"} 0"#)
        .await;
}
