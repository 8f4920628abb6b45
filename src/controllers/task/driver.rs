//! One engine: connect, verify, follow, list, and feed the workers.

use super::agent::acknowledged::Acknowledged;
use super::agent::feed::Feed;
use super::agent::plane::Plane;
use super::container::CLUSTER;
use super::pulls::{EndOfPulls, Pulls};
use super::snapshot::Progress;
use super::view::EngineView;
use crate::api::cluster::Cluster;
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::node::EngineSpec;
use crate::api::status::{Found, Status};
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::Term;
use crate::engine::{Connector, Engine, EngineEvent, Error, EventStream};
use crate::planted::{Bug, planted};
use crate::runtime::apply::{WriteError, Writer};
use crate::runtime::backoff::{Backoff, Backoffs};
use crate::runtime::cache::Cache;
use crate::runtime::changes::Changes;
use crate::runtime::context::Context;
use crate::runtime::orders::{DEADLINE, MayAct, Orders};
use crate::runtime::outage;
use crate::runtime::plan::Step;
use crate::runtime::queue::Queue;
use crate::runtime::reconciler::RESYNC;
use crate::runtime::shared::Subscription;
use crate::runtime::view::{HEALTH, TASK, task_of};
use crate::spawn::part;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info};

/// Tasks of one engine that are worked on at once: most wait in a stop, pulls go on beside them (`pulls.rs`), creates have a limit of their own.
const WORKERS: usize = 64;
/// Containers inspected at once, for events and for lists.
const INSPECTS: usize = 8;
/// The first and the longest wait before an engine is connected anew.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The first and the longest wait before a task's failed order is repeated.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long the echo of a create or a start may wait for its look.
const ECHO: Duration = Duration::from_millis(500);
/// What was found beside the tasks is written at most this often.
const REPORT: Duration = Duration::from_millis(500);

/// Why a container is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// It was made or started, mostly by an order of ours.
    Echo,
    /// Something else happened to it.
    Change,
}

/// What this holder did for a node's tasks in this term; outlives connections and drivers.
pub(super) type Memory = Arc<Mutex<BTreeMap<TaskId, Progress>>>;

/// One engine to drive.
pub(super) struct Driver {
    pub(super) node: NodeName,
    pub(super) uid: Uid,
    pub(super) spec: EngineSpec,
    pub(super) term: Term,
    pub(super) writer: Writer,
    pub(super) may_act: MayAct,
    pub(super) context: Context,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) memory: Memory,
    /// What the data plane of nodes should be; none: overlays are not realised.
    pub(super) feed: Option<Feed>,
    /// What the agents of all nodes have programmed that this manager drives.
    pub(super) acknowledged: Arc<Acknowledged>,
}

/// Why a connection ended.
pub(super) enum Ended {
    /// The engine: connect anew.
    Engine(String),
    /// The term: nothing more may be done.
    Term(String),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Engine(error.to_string())
    }
}

impl Driver {
    /// Drives the engine until the term is over; says why.
    pub(super) async fn run(self) -> String {
        let driver = Arc::new(self);
        let mut backoff = Backoff::new(RECONNECT.0, RECONNECT.1, driver.context.clock.seed());
        loop {
            match driver.clone().connect(&mut backoff).await {
                Ended::Term(why) => return why,
                Ended::Engine(why) => {
                    debug!(node = %driver.node, why, "not driving the engine");
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn connect(self: Arc<Self>, backoff: &mut Backoff) -> Ended {
        match self.clone().open().await {
            Ok((connection, events)) => {
                info!(node = %self.node, "drives the engine");
                backoff.reset();
                connection.follow(events).await
            }
            Err(ended) => ended,
        }
    }

    /// Connects, verifies the engine's identity (rule I4), and opens its events before anything is listed.
    async fn open(self: Arc<Self>) -> Result<(Arc<Connection>, EventStream), Ended> {
        let (recorded, served) = self.identified().await;
        let engine = self.connector.connect(&self.spec).await?;
        let identity = within(&*engine, "identity", engine.identity()).await?;
        if identity.id != recorded && !planted(Bug::DrivesAnyEngine) {
            let why = format!("engine {} answers instead of {recorded}", identity.id);
            return Err(Ended::Engine(why));
        }
        let events = within(&*engine, "events", engine.events()).await?;
        let metrics = &self.context.metrics;
        let seed = self.context.clock.seed();
        let connection = Connection {
            orders: Orders::new(engine.clone(), self.may_act.clone()),
            engine,
            served,
            view: Mutex::default(),
            retries: Mutex::new(Backoffs::new(RETRY.0, RETRY.1, seed)),
            queue: Arc::new(Queue::new(TASK, WORKERS, metrics)),
            looks: Queue::new("task-inspect", INSPECTS, metrics),
            news: Notify::new(),
            pulls: Pulls::default(),
            plane: Mutex::default(),
            plane_doubts: Notify::new(),
            stranger_doubts: Notify::new(),
            processor: identity.arch,
            driver: self,
        };
        Ok((Arc::new(connection), events))
    }

    /// Waits until the engine's id and the cluster's are on record: a node that has just become ready is driven at once,
    /// not when a retry comes round.
    async fn identified(&self) -> (String, Uid) {
        let cache = &self.context.cache;
        let object = ObjectKey::node(&self.node);
        let changes = Changes::of(cache, move |key| match key {
            Key::Cluster => true,
            Key::Status(of, by) => *of == object && &**by == HEALTH,
            _ => false,
        });
        loop {
            let known = cache.read(|cache| {
                let cluster = cache.cluster.as_ref()?.id.clone();
                Some((self.recorded(cache)?, cluster))
            });
            if let Some(known) = known {
                return known;
            }
            changes.next().await;
        }
    }

    /// The engine id that health has recorded, unless it says that the engine is not the node's alone.
    fn recorded(&self, cache: &Cache) -> Option<String> {
        let status = cache.status_of_node(&self.node, HEALTH)?;
        let engine = status
            .engine
            .as_ref()
            .filter(|_| status.uid.as_ref() == Some(&self.uid))?;
        let is_doubtful = matches!(
            engine.reason.as_deref(),
            Some("EngineChanged" | "DuplicateEngine")
        );
        engine.id.clone().filter(|_| !is_doubtful)
    }
}

/// One connection to a verified engine; its view is its own.
pub(super) struct Connection {
    pub(super) driver: Arc<Driver>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) orders: Orders,
    /// The cluster whose containers are told from others.
    served: Uid,
    pub(super) queue: Arc<Queue<TaskId>>,
    view: Mutex<EngineView>,
    pub(super) retries: Mutex<Backoffs<TaskId>>,
    pub(super) pulls: Pulls,
    looks: Queue<(ContainerId, News)>,
    news: Notify,
    pub(super) plane: Mutex<Plane>,
    /// The engine's networks may be other ones than are known.
    pub(super) plane_doubts: Notify,
    /// Containers of others may have joined or left its attachable networks.
    pub(super) stranger_doubts: Notify,
    /// The engine's processor.
    pub(super) processor: String,
}

impl Connection {
    /// Lists, then follows events and the store until the connection or the term ends.
    async fn follow(self: Arc<Self>, mut events: EventStream) -> Ended {
        let _subscription = self.subscribe();
        if let Err(ended) = self.list().await {
            return ended;
        }
        // Dropped after the workers, who begin them.
        let _pulls = EndOfPulls(self.clone());
        let mut parts: JoinSet<Ended> = JoinSet::new();
        for _ in 0..WORKERS {
            parts.spawn(part(self.clone().work()));
        }
        for _ in 0..INSPECTS {
            parts.spawn(part(self.clone().look()));
        }
        parts.spawn(part(self.clone().report()));
        parts.spawn(part(self.clone().resync()));
        if let Some(feed) = &self.driver.feed {
            parts.spawn(part(self.clone().tend_plane(feed.clone())));
            parts.spawn(part(self.clone().follow_strangers()));
        }
        let reading = async {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        let is_labelled = event.attributes.contains_key(CLUSTER);
                        // Each health check is three events of an exec; the verdict is one of its own.
                        if is_labelled && !event.action.starts_with("exec_") {
                            self.hear(event);
                        } else if !is_labelled {
                            self.hear_of_others(&event);
                        }
                    }
                    Err(error) => return Ended::from(error),
                }
            }
            Ended::Engine("its events ended".into())
        };
        tokio::select! {
            biased;
            () = self.cluster_changed() => Ended::Engine("the cluster's id has changed".into()),
            Some(ended) = parts.join_next() => {
                ended.unwrap_or_else(|error| Ended::Term(format!("a worker ended: {error}")))
            }
            ended = reading => ended,
        }
    }

    /// Returns when the cluster has another id than this connection began with (`--cluster-id`): whose each container is
    /// has to be judged anew.
    async fn cluster_changed(&self) {
        let changes = Changes::of(&self.driver.context.cache, |key| *key == Key::Cluster);
        let is_other = |cluster: Cluster| cluster.id != self.served;
        while !self.cluster().is_some_and(is_other) {
            changes.next().await;
        }
    }

    /// Changes of the store that concern this node.
    fn subscribe(&self) -> Subscription {
        let queue = self.queue.clone();
        let node = self.driver.node.clone();
        let cache = &self.driver.context.cache;
        cache.subscribe_to_node(node.clone(), move |cache, keys| {
            for key in keys {
                match task_of(key) {
                    Some(task) => queue.add(task.clone()),
                    None if *key == Key::Cluster => queue.extend(tasks_on(cache, &node)),
                    None => {}
                }
            }
        })
    }

    /// Lists and inspects; then everything is looked at.
    async fn list(&self) -> Result<(), Ended> {
        let engine = &*self.engine;
        // Of any cluster: other clusters' containers and copies are reported, so they have to be seen (rule I3).
        let call = engine.list(CLUSTER, "");
        let listed = within(engine, "list", call).await?;
        // A list that lacks a container proves nothing: those that were known are inspected as well (rule C5).
        let mut ids: BTreeSet<ContainerId> = self.view().ids();
        ids.extend(listed);
        let mut inspects = futures::stream::iter(ids)
            .map(|id| async move { self.inspect(&id).await })
            .buffer_unordered(INSPECTS);
        while let Some(inspected) = inspects.next().await {
            inspected?;
        }
        if self.driver.feed.is_some() {
            // What was given out may be known from them alone: they are a part of what is looked at first.
            self.look_at_networks().await?;
            self.look_at_strangers().await?;
        }
        if let Some(cluster) = self.cluster() {
            self.view().look_for_rewind(&cluster, self.driver.term);
        }
        self.view().is_listed = true;
        let cache = &self.driver.context.cache;
        self.queue
            .extend(cache.read(|cache| tasks_on(cache, &self.driver.node)));
        self.news.notify_one();
        Ok(())
    }

    /// An event: its container is looked at. What a create and a start lead to, the order that sent them looks at itself;
    /// only what others made or started is news, which is told apart when the order is done.
    fn hear(&self, event: EngineEvent) {
        match event.action.as_str() {
            "create" | "start" => self.looks.add_after((event.container, News::Echo), ECHO),
            _ => self.looks.add((event.container, News::Change)),
        }
    }

    async fn resync(self: Arc<Self>) -> Ended {
        loop {
            tokio::time::sleep(RESYNC).await;
            if let Err(ended) = self.list().await {
                return ended;
            }
        }
    }

    /// One inspector of what events were about.
    async fn look(self: Arc<Self>) -> Ended {
        while let Some((id, news)) = self.looks.next().await {
            let is_known = news == News::Echo && self.view().is_running(&id);
            let inspected = match is_known {
                true => Ok(()),
                false => self.inspect(&id).await,
            };
            self.looks.done(&(id, news));
            if let Err(error) = inspected {
                return error.into();
            }
        }
        Ended::Engine("the inspectors were stopped".into())
    }

    async fn inspect(&self, id: &ContainerId) -> Result<(), Error> {
        let call = self.engine.inspect(id.as_str());
        let task = match within(&*self.engine, "inspect", call).await {
            Ok(container) => self.see(container),
            Err(Error::NotFound { .. }) => self.view().remove(id),
            Err(error) => return Err(error),
        };
        if let Some(task) = task {
            if let Some(progress) = self.memory().get_mut(&task) {
                progress.looked_at = Some(self.now());
            }
            self.queue.add(task);
        }
        self.news.notify_one();
        Ok(())
    }

    /// Takes in what was inspected; says whose it is.
    pub(super) fn see(&self, container: crate::engine::Container) -> Option<TaskId> {
        self.news.notify_one();
        let cluster = self.cluster()?;
        self.view().put(&cluster, container)
    }

    /// Writes what was found beside the tasks, when it changes.
    async fn report(self: Arc<Self>) -> Ended {
        loop {
            match self.write_found().await {
                Ok(()) => {}
                Err(WriteError::TermOver(why)) => return Ended::Term(why),
                Err(WriteError::Store(error)) => {
                    outage::failed(
                        TASK,
                        &format!("writing what {} has", self.driver.node),
                        &error,
                    );
                }
                Err(WriteError::Conflict) => {}
            }
            tokio::time::sleep(REPORT).await;
            // Also without news: records come and go in the store.
            let _ = timeout(RESYNC / 30, self.news.notified()).await;
        }
    }

    async fn write_found(&self) -> Result<(), WriteError> {
        self.serves().map_err(WriteError::TermOver)?;
        let Some(cluster) = self.cluster() else {
            return Ok(());
        };
        let driver = &self.driver;
        let object = ObjectKey::node(&driver.node);
        let now = driver.context.clock.now().wall;
        let numbers = self.numbers();
        let networks = self.plane().of_other_lives(cluster.incarnation);
        let refused = self.plane().refused().clone();
        let strangers = self.plane().strangers().to_vec();
        let step = driver.context.cache.read(|cache| {
            let found = self.view().found(cache, &cluster, &driver.node, now);
            let before = cache.status(&object, TASK);
            let said = before.map_or(&[][..], |before| &before.conditions);
            let dataplane = self.plane().condition(&numbers, said, now);
            let status = Status {
                uid: Some(driver.uid.clone()),
                found: Some(Found {
                    networks,
                    strangers,
                    refused,
                    ..found
                }),
                conditions: dataplane.into_iter().collect(),
                underlay: self
                    .plane()
                    .underlay(before.and_then(|before| before.underlay.as_ref())),
                ..Status::default()
            };
            let is_news = before.is_none_or(|before| *before.value != status);
            // Whoever forgets a node deletes what was said of it: what came later would stay for ever.
            let step = Step::default().if_unchanged(cache, Key::Accepted(object.clone()));
            is_news.then(|| step.put(Key::Status(object.clone(), TASK.into()), &status))
        });
        match step {
            Some(step) => driver.writer.write_and_see(vec![step]).await.map(|_| ()),
            None => Ok(()),
        }
    }

    pub(super) fn cluster(&self) -> Option<Cluster> {
        let cache = &self.driver.context.cache;
        cache.read(|cache| {
            cache
                .cluster
                .as_ref()
                .map(|cluster| (*cluster.value).clone())
        })
    }

    /// Another id in the record means other owners of all containers: nothing more is done as things were told apart.
    /// Either the store is another cluster's, and the process is about to end, or this one was given its id (rule I3).
    pub(super) fn serves(&self) -> Result<(), String> {
        match self.cluster() {
            Some(cluster) if cluster.id != self.served => Err(format!(
                "the cluster is {} now, not {}",
                cluster.id, self.served
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The cluster whose containers are told from others.
    pub(super) fn served(&self) -> &Uid {
        &self.served
    }

    /// There is something to report of the node.
    pub(super) fn tell(&self) {
        self.news.notify_one();
    }

    pub(super) fn now(&self) -> Duration {
        self.driver.context.clock.now().since_boot
    }

    pub(super) fn view(&self) -> MutexGuard<'_, EngineView> {
        self.view
            .lock()
            .expect("no code panics while it holds the view")
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, BTreeMap<TaskId, Progress>> {
        self.driver
            .memory
            .lock()
            .expect("no code panics while it holds the memory")
    }
}

/// Tasks that are bound to a node or were seen on it.
fn tasks_on(cache: &Cache, node: &NodeName) -> BTreeSet<TaskId> {
    let bound = cache.bindings_on(node).map(|binding| &binding.task);
    let seen = cache.task_statuses_on(node).map(|status| &status.task);
    bound.chain(seen).cloned().collect()
}

/// A call with the deadline of calls that do not wait by nature.
pub(super) async fn within<T>(
    engine: &dyn Engine,
    call: &'static str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| {
        Err(Error::Timeout {
            address: engine.address().to_owned(),
            call,
            deadline: DEADLINE,
        })
    })
}
