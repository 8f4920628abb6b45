//! The loops of health: every engine is contacted by itself, once a second, and all are judged together.
//!
//! The leader of `health` judges the engines that any manager can reach; a socket is judged by the manager that its spec
//! names, under the key `shards/health-<name>`. Each status is written only when it changes.

use super::Settings;
use super::accept::is_socket;
use super::health::{Contact, Doubt, Evidence, judge};
use super::snapshot::health_shard;
use super::status::{engine_status, tell};
use crate::api::accepted::AcceptedNode;
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::node::EngineSpec;
use crate::api::status::{NodeState, Status};
use crate::api::unit::{LeaseId, Revision, Term};
use crate::engine::{Connector, Engine, Error, Identity};
use crate::metrics::list;
use crate::runtime::apply::{WriteError, Writer};
use crate::runtime::backoff::Backoff;
use crate::runtime::cache::Cache;
use crate::runtime::clock::timer_now;
use crate::runtime::context::Context;
use crate::runtime::outage;
use crate::runtime::plan::{Note, Step, encode};
use crate::runtime::term;
use crate::runtime::view::HEALTH;
use crate::spawn::part;
use crate::store::{Compare, LEASE_TTL, Op, Outcome, Session, Txn, election};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::info;

/// How often each engine is contacted and judged.
const PING: Duration = Duration::from_secs(1);
/// How long an engine has to answer a ping; below the grace, so that a slow engine has several tries.
const PING_DEADLINE: Duration = Duration::from_secs(3);
/// How often what an engine says of itself is read again.
const IDENTITY: Duration = Duration::from_secs(60);

/// Judges engines until `stop`.
pub(super) async fn run(
    settings: Settings,
    connector: Arc<dyn Connector>,
    context: Context,
    stop: watch::Receiver<bool>,
) {
    let wards = Wards {
        settings,
        connector,
        context,
    };
    tokio::join!(wards.common(stop.clone()), wards.sockets(stop));
}

struct Wards {
    settings: Settings,
    connector: Arc<dyn Connector>,
    context: Context,
}

impl Wards {
    /// Leads `health` and judges the engines that any manager can reach.
    async fn common(&self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::store(self.context.clock.seed());
        let mut candidate = self.context.candidate(HEALTH);
        self.context.metrics.introduce(HEALTH);
        loop {
            let campaign = async {
                self.context.cache.filled().await;
                candidate.campaign().await
            };
            let leadership = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                leadership = campaign => leadership,
            };
            let leadership = match leadership {
                Ok(leadership) => leadership,
                Err(error) => {
                    outage::failed(HEALTH, "campaigning", &error);
                    tokio::time::sleep(backoff.next()).await;
                    continue;
                }
            };
            backoff.reset();
            let _leads = self.context.metrics.lead(HEALTH);
            let lease = leadership.session.lease();
            let key = Key::Election(HEALTH.to_owned(), lease);
            let mut ward = self.ward(None, key, leadership.term, lease);
            ward.since = leadership.since;
            let why = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => "stopping".to_owned(),
                () = leadership.session.lost() => "the lease is lost".to_owned(),
                why = ward.tend() => why,
            };
            info!(why, "judges engines no longer");
            // If the store does not answer, the lease runs out by itself.
            let _ = leadership.session.close().await;
        }
    }

    /// Judges the sockets of this manager's machine.
    async fn sockets(&self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::store(self.context.clock.seed());
        loop {
            let opened = async {
                self.context.cache.filled().await;
                Session::open(self.context.kv.clone(), LEASE_TTL, self.context.boottime()).await
            };
            let session = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                session = opened => session,
            };
            match session {
                Ok(session) => {
                    backoff.reset();
                    let why = tokio::select! {
                        biased;
                        _ = stop.wait_for(|stop| *stop) => "stopping".to_owned(),
                        () = session.lost() => "the lease is lost".to_owned(),
                        why = self.claim_sockets(&session) => why,
                    };
                    info!(why, "judges sockets no longer");
                    let _ = session.close().await;
                }
                Err(error) => {
                    outage::failed(HEALTH, "opening the session of sockets", &error);
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn claim_sockets(&self, session: &Session) -> String {
        let mut held: BTreeMap<NodeName, (Vec<Compare>, AbortHandle)> = BTreeMap::new();
        let mut wards: JoinSet<String> = JoinSet::new();
        let mut progress = self.context.cache.follow();
        // A node that was just added must not wait a second; neither are a thousand changes a thousand looks.
        let mut news = async || {
            let _ = progress.changed().await;
            tokio::time::sleep(PING / 20).await;
        };
        loop {
            if let Err(why) = self.give_back(&mut held).await {
                return why;
            }
            for node in self.context.cache.read(|cache| self.free(cache, &held)) {
                let key = Key::Shard(health_shard(&node));
                let full = key.full(self.context.cache.prefix());
                let value = encode(&self.context.holder());
                match election::claim(&*self.context.kv, &full, session.lease(), value).await {
                    Ok(election::Claim::Ours(term)) => {
                        let fence = election::claimed(&full, term, session.lease());
                        let ward = self.ward(Some(node.clone()), key, term, session.lease());
                        let handle = wards.spawn(part(async move { ward.tend().await }));
                        held.insert(node, (fence, handle));
                    }
                    Ok(election::Claim::Taken(_)) => {}
                    Ok(election::Claim::Unknown(error)) => {
                        return format!("the outcome of a claim is unknown: {error}");
                    }
                    Err(error) => {
                        outage::failed(HEALTH, &format!("claiming the socket of {node}"), &error);
                    }
                }
            }
            tokio::select! {
                biased;
                Some(ended) = wards.join_next() => match ended {
                    Ok(why) => return why,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return format!("a ward ended: {error}"),
                },
                () = news() => {}
                () = tokio::time::sleep(PING) => {}
            }
        }
    }

    /// Gives back the sockets that are deleted or another manager's now: it must be able to claim them (rule N6).
    async fn give_back(
        &self,
        held: &mut BTreeMap<NodeName, (Vec<Compare>, AbortHandle)>,
    ) -> Result<(), String> {
        let mine = self.context.cache.read(|cache| self.sockets_of_ours(cache));
        while let Some(node) = held.keys().find(|node| !mine.contains(*node)).cloned() {
            let Some((fence, ward)) = held.remove(&node) else {
                continue;
            };
            ward.abort();
            let key = Key::Shard(health_shard(&node)).full(self.context.cache.prefix());
            let txn = Txn {
                compares: fence,
                then: vec![Op::Delete { key }],
                otherwise: Vec::new(),
            };
            match self.context.kv.txn(&txn).await {
                Ok(Outcome::Committed { .. } | Outcome::Refused { .. }) => {}
                Ok(Outcome::Unknown { error }) | Err(error) => {
                    return Err(format!("the health of {node} is not given back: {error}"));
                }
            }
        }
        Ok(())
    }

    fn sockets_of_ours(&self, cache: &Cache) -> BTreeSet<NodeName> {
        cache
            .nodes
            .iter()
            .filter(|(_, node)| is_socket(&node.spec))
            .filter(|(_, node)| node.spec.manager.as_deref() == Some(&self.context.manager))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn free<T>(&self, cache: &Cache, held: &BTreeMap<NodeName, T>) -> Vec<NodeName> {
        let is_free = |name: &NodeName| {
            !held.contains_key(name) && !cache.shards.contains_key(&health_shard(name))
        };
        let mine = self.sockets_of_ours(cache);
        mine.into_iter().filter(is_free).collect()
    }

    fn ward(&self, only: Option<NodeName>, key: Key, term: Term, lease: LeaseId) -> Ward {
        let context = self.context.clone();
        let fence = election::claimed(&key.full(context.cache.prefix()), term, lease);
        let writer = Writer::start(
            context.kv.clone(),
            context.cache.clone(),
            HEALTH,
            fence,
            context.metrics.clone(),
        );
        Ward {
            only,
            key,
            term,
            since: Revision(term.0),
            lease,
            writer,
            settings: self.settings,
            connector: self.connector.clone(),
            context,
            beats: Arc::default(),
        }
    }
}

/// What is known of one engine from one's own contacts.
struct Beat {
    contact: Contact,
    identity: Option<Identity>,
}

type Beats = Arc<Mutex<BTreeMap<NodeName, Beat>>>;

/// Engines judged under one fence.
struct Ward {
    /// One socket; none: every engine that is no socket.
    only: Option<NodeName>,
    /// What gives the right to judge.
    key: Key,
    term: Term,
    /// What was written before is taken into account.
    since: Revision,
    lease: LeaseId,
    writer: Writer,
    settings: Settings,
    connector: Arc<dyn Connector>,
    context: Context,
    beats: Beats,
}

impl Ward {
    /// The engine behind a socket is where this process is.
    fn place(&self, node: &AcceptedNode, status: &mut Status) {
        let engine = status.engine.as_mut();
        if let Some(engine) = engine.filter(|_| is_socket(&node.spec)) {
            engine.address = engine.address.or(self.settings.address);
        }
    }

    /// Contacts and judges until the term is over; says why.
    async fn tend(&self) -> String {
        tokio::select! {
            biased;
            why = term::over(&self.context, HEALTH, &self.key, self.term, self.lease) => why,
            why = self.tend_all() => why,
        }
    }

    async fn tend_all(&self) -> String {
        // Who has not seen its own election would judge by verdicts from before it, and write over newer ones.
        self.context.cache.caught_up(self.since).await;
        let mut doubt = Doubt::default();
        let mut pulses: JoinSet<()> = JoinSet::new();
        let mut feeling: BTreeMap<(NodeName, EngineSpec), AbortHandle> = BTreeMap::new();
        loop {
            let targets = self.context.cache.read(|cache| self.targets(cache));
            feeling.retain(|target, pulse| {
                let keeps = targets.contains(target);
                if !keeps {
                    pulse.abort();
                    lock(&self.beats).remove(&target.0);
                }
                keeps
            });
            for target in targets {
                if let Entry::Vacant(vacant) = feeling.entry(target.clone()) {
                    let beat = Beat {
                        contact: Contact::taken(self.now()),
                        identity: None,
                    };
                    lock(&self.beats).insert(target.0.clone(), beat);
                    let pulse = self.pulse(&target);
                    vacant.insert(pulses.spawn(part(pulse.run())));
                }
            }
            // A quick look at first contact: a node must not wait a second to become ready. Asked before the report, for
            // which a contact meanwhile comes too late.
            let is_new = lock(&self.beats)
                .values()
                .any(|beat| beat.contact.error.is_none() && beat.identity.is_none());
            if let Err(why) = self.report(&mut doubt).await {
                return why;
            }
            while pulses.try_join_next().is_some() {}
            tokio::time::sleep(if is_new { PING / 20 } else { PING }).await;
        }
    }

    /// Judges and writes the verdicts that changed, counted as the reconciles of other controllers are. An error ends
    /// the term.
    async fn report(&self, doubt: &mut Doubt) -> Result<(), String> {
        let metrics = &self.context.metrics;
        let started = timer_now();
        let (steps, notes): (Vec<Step>, Vec<_>) = self.judge(doubt).into_iter().unzip();
        let written = match steps.is_empty() {
            true => Ok(()),
            false => self.writer.write_and_see(steps).await.map(|_| ()),
        };
        metrics.observe(&list::RECONCILE_TIME, &[HEALTH], timer_now() - started);
        let result = match written {
            Ok(()) => {
                let notes = notes.into_iter().flatten();
                self.context.recorder.record(HEALTH, notes);
                "success"
            }
            Err(WriteError::TermOver(why)) => return Err(why),
            Err(error) => {
                if let WriteError::Store(error) = &error {
                    outage::failed(HEALTH, "writing verdicts", error);
                }
                metrics.add(&list::RECONCILE_ERRORS, &[HEALTH], 1);
                "error"
            }
        };
        metrics.add(&list::RECONCILES, &[HEALTH, result], 1);
        Ok(())
    }

    fn targets(&self, cache: &Cache) -> BTreeSet<(NodeName, EngineSpec)> {
        cache
            .nodes
            .iter()
            .filter(|(name, node)| match &self.only {
                Some(only) => only == *name,
                None => !is_socket(&node.spec),
            })
            .map(|(name, node)| (name.clone(), node.spec.engine.clone()))
            .collect()
    }

    /// Judges all engines at once; gives what has to be written, and told with it.
    fn judge(&self, doubt: &mut Doubt) -> Vec<(Step, Option<Note>)> {
        let now = self.context.clock.now();
        let beats = lock(&self.beats);
        let contacts = beats.values().map(|beat| &beat.contact);
        let holds = doubt.look(contacts, self.settings.grace, now.since_boot);
        self.context.cache.read(|cache| {
            let on_record = on_record(cache);
            beats
                .iter()
                .filter_map(|(name, beat)| {
                    let node = cache.nodes.get(name)?;
                    let object = ObjectKey::node(name);
                    let before = cache
                        .status_of_node(name, HEALTH)
                        .map(|status| &*status.value)
                        .filter(|status| status.uid.as_ref() == Some(&node.uid));
                    let engine = before.and_then(|before| before.engine.as_ref());
                    let recorded = engine.and_then(|engine| engine.id.as_deref());
                    let id = recorded.or(beat.contact.id.as_deref());
                    let twin = twin(&on_record, node.create_revision, id);
                    let verdict = judge(&Evidence {
                        contact: &beat.contact,
                        recorded,
                        twin: twin.map(NodeName::as_str),
                        before: engine.map_or(NodeState::Unknown, |engine| engine.state),
                        grace: self.settings.grace,
                        holds,
                        now: now.since_boot,
                    });
                    let mut status =
                        engine_status(node, before, beat.identity.as_ref(), &verdict, now.wall);
                    self.place(node, &mut status);
                    let note = tell(name, before, &status);
                    let key = Key::Status(object, HEALTH.into());
                    (before != Some(&status)).then(|| (Step::default().put(key, &status), note))
                })
                .collect()
        })
    }

    fn pulse(&self, target: &(NodeName, EngineSpec)) -> Pulse {
        Pulse {
            node: target.0.clone(),
            spec: target.1.clone(),
            connector: self.connector.clone(),
            context: self.context.clone(),
            beats: self.beats.clone(),
        }
    }

    fn now(&self) -> Duration {
        self.context.clock.now().since_boot
    }
}

/// The nodes by the engine that is on record for them, each with its creation, in the order of names.
type OnRecord<'a> = BTreeMap<&'a str, Vec<(&'a NodeName, Revision)>>;

fn on_record(cache: &Cache) -> OnRecord<'_> {
    let mut on_record = OnRecord::new();
    for (name, node) in &cache.nodes {
        let status = cache.status_of_node(name, HEALTH);
        let id = status
            .filter(|status| status.uid.as_ref() == Some(&node.uid))
            .and_then(|status| status.value.engine.as_ref()?.id.as_deref());
        if let Some(id) = id {
            let nodes = on_record.entry(id).or_default();
            nodes.push((name, node.create_revision));
        }
    }
    on_record
}

/// An older node on record with the same engine: the younger one is the doubtful one, so that adding an engine twice
/// takes nothing from the node that is there.
fn twin<'a>(on_record: &OnRecord<'a>, own: Revision, id: Option<&str>) -> Option<&'a NodeName> {
    let nodes = on_record.get(id?)?;
    let older = nodes.iter().find(|(_, created)| *created < own);
    older.map(|(name, _)| *name)
}

/// The contacts with one engine.
struct Pulse {
    node: NodeName,
    spec: EngineSpec,
    connector: Arc<dyn Connector>,
    context: Context,
    beats: Beats,
}

impl Pulse {
    async fn run(self) {
        let mut engine: Option<Arc<dyn Engine>> = None;
        let mut identified = Duration::ZERO;
        loop {
            let is_due = self.now().saturating_sub(identified) >= IDENTITY;
            let contact = match &engine {
                Some(engine) if !is_due => within(&**engine, engine.ping()).await.map(|()| None),
                _ => self.identify(&mut engine).await.map(Some),
            };
            match contact {
                Ok(identity) => {
                    if identity.is_some() {
                        identified = self.now();
                    }
                    self.note(|beat, now| {
                        beat.contact.answered(now);
                        if let Some(identity) = identity {
                            beat.contact.id = Some(identity.id.clone());
                            beat.identity = Some(identity);
                        }
                    });
                }
                Err(error) => {
                    // Whoever answers next is asked who it is (rule I4).
                    engine = None;
                    self.note(|beat, _| beat.contact.error = Some(error));
                }
            }
            tokio::time::sleep(PING).await;
        }
    }

    async fn identify(&self, engine: &mut Option<Arc<dyn Engine>>) -> Result<Identity, Error> {
        let connected = self.connector.connect(&self.spec).await?;
        let identity = within(&*connected, connected.identity()).await?;
        *engine = Some(connected);
        Ok(identity)
    }

    fn note(&self, change: impl FnOnce(&mut Beat, Duration)) {
        let now = self.now();
        if let Some(beat) = lock(&self.beats).get_mut(&self.node) {
            change(beat, now);
        }
    }

    fn now(&self) -> Duration {
        self.context.clock.now().since_boot
    }
}

fn lock(beats: &Mutex<BTreeMap<NodeName, Beat>>) -> MutexGuard<'_, BTreeMap<NodeName, Beat>> {
    beats
        .lock()
        .expect("no code panics while it holds the contacts")
}

async fn within<T>(
    engine: &dyn Engine,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(PING_DEADLINE, work).await.unwrap_or_else(|_| {
        Err(Error::Timeout {
            address: engine.address().to_owned(),
            call: "ping",
            deadline: PING_DEADLINE,
        })
    })
}
