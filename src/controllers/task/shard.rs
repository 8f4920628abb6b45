//! The session and its shards: which engines this manager drives (rules S4, N6).

use super::agent::acknowledged::Acknowledged;
use super::agent::feed::{self, Compute, Feed};
use super::driver::{Driver, Memory};
use crate::api::accepted::AcceptedNode;
use crate::api::key::Key;
use crate::api::name::{Kind, NodeName};
use crate::api::node::EngineSpec;
use crate::api::uid::Uid;
use crate::api::unit::{LeaseId, Revision, Term};
use crate::engine::Connector;
use crate::planted::{Bug, planted};
use crate::runtime::apply::Writer;
use crate::runtime::backoff::Backoff;
use crate::runtime::cache::Cache;
use crate::runtime::changes::Changes;
use crate::runtime::context::Context;
use crate::runtime::orders::MayAct;
use crate::runtime::outage;
use crate::runtime::plan::encode;
use crate::runtime::term;
use crate::runtime::view;
use crate::spawn::part;
use crate::store::{Compare, LEASE_TTL, Op, Outcome, Session, Txn, election};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

/// The shard of all engines that any manager can reach.
const COMMON: &str = "000";

/// How often shards and nodes are looked at even if no change was seen.
const LOOK: Duration = Duration::from_secs(1);

/// Drives engines until `stop`: opens a session, claims shards, and begins anew when the lease is lost. With `compute`
/// overlays are realised: it says what the data plane of nodes should be.
pub async fn run(
    connector: Arc<dyn Connector>,
    compute: Option<Compute>,
    context: Context,
    stop: watch::Receiver<bool>,
) {
    let Some(compute) = compute else {
        return sessions(connector, None, context, stop).await;
    };
    let (told, feed) = watch::channel(None);
    tokio::select! {
        biased;
        () = sessions(connector, Some(feed), context.clone(), stop) => {}
        () = feed::run(compute, context, told) => {}
    }
}

async fn sessions(
    connector: Arc<dyn Connector>,
    feed: Option<Feed>,
    context: Context,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::store(context.clock.seed());
    context.metrics.introduce(view::TASK);
    loop {
        let opened = async {
            context.cache.filled().await;
            Session::open(context.kv.clone(), LEASE_TTL, context.boottime()).await
        };
        let session = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            session = opened => session,
        };
        let session = match session {
            Ok(session) => Arc::new(session),
            Err(error) => {
                outage::failed(view::TASK, "opening the session", &error);
                tokio::time::sleep(backoff.next()).await;
                continue;
            }
        };
        backoff.reset();
        let shards = Shards {
            connector: connector.clone(),
            feed: feed.clone(),
            acknowledged: Arc::default(),
            context: context.clone(),
            session: session.clone(),
        };
        let why = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => "stopping".to_owned(),
            () = session.lost() => "the lease is lost".to_owned(),
            why = shards.hold() => why,
        };
        info!(why, "drives engines no longer");
        // If the store does not answer, the lease runs out by itself.
        let _ = session.close().await;
    }
}

/// The shards of one session.
struct Shards {
    connector: Arc<dyn Connector>,
    feed: Option<Feed>,
    acknowledged: Arc<Acknowledged>,
    context: Context,
    session: Arc<Session>,
}

impl Shards {
    /// Claims what is free and drives what is held; says why the session has to end.
    async fn hold(&self) -> String {
        let matters = |key: &Key| is_node(key) || matches!(key, Key::Shard(_));
        let changes = Changes::of(&self.context.cache, matters);
        let mut held: BTreeSet<String> = BTreeSet::new();
        let mut parts: JoinSet<Ended> = JoinSet::new();
        loop {
            for shard in self.free(&held) {
                match self.claim(&shard).await {
                    Ok(Some((term, lease))) => {
                        held.insert(shard.clone());
                        parts.spawn(part(self.drive(shard, term, lease)));
                    }
                    Ok(None) => {}
                    Err(why) => return why,
                }
            }
            tokio::select! {
                biased;
                Some(ended) = parts.join_next() => match ended {
                    Ok(Ended::GivenBack(shard)) => {
                        held.remove(&shard);
                    }
                    Ok(Ended::Term(why)) => return why,
                    Err(error) => return format!("a shard's part ended: {error}"),
                },
                () = changes.next() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Shards that this manager may hold and nobody holds, as far as the cache knows.
    fn free(&self, held: &BTreeSet<String>) -> Vec<String> {
        let is_free = |cache: &Cache, shard: &String| {
            !cache.shards.contains_key(shard) || planted(Bug::ClaimsTakenShards)
        };
        self.context.cache.read(|cache| {
            let sockets = cache.nodes.iter().filter_map(|(name, node)| {
                let is_mine = node.spec.manager.as_deref() == Some(&self.context.manager);
                (is_socket(node) && is_mine).then(|| format!("node-{name}"))
            });
            std::iter::once(COMMON.to_owned())
                .chain(sockets)
                .filter(|shard| !held.contains(shard) && is_free(cache, shard))
                .collect()
        })
    }

    /// Claims a shard; an error ends the session.
    async fn claim(&self, shard: &str) -> Result<Option<(Term, LeaseId)>, String> {
        let key = Key::Shard(shard.to_owned()).full(self.context.cache.prefix());
        let value = encode(&self.context.holder());
        let lease = self.session.lease();
        match election::claim(&*self.context.kv, &key, lease, value).await {
            Ok(election::Claim::Ours(term)) => {
                info!(shard, %term, "holds");
                Ok(Some((term, lease)))
            }
            Ok(election::Claim::Taken(Some(taken))) if planted(Bug::ClaimsTakenShards) => {
                Ok(Some((Term(taken.create_revision.0), taken.lease)))
            }
            Ok(election::Claim::Taken(_)) => Ok(None),
            Ok(election::Claim::Unknown(error)) => {
                Err(format!("the outcome of a claim is unknown: {error}"))
            }
            Err(error) => {
                outage::failed(view::TASK, &format!("claiming shard {shard}"), &error);
                Ok(None)
            }
        }
    }

    /// Drives the engines of one shard; ends when the term is over.
    fn drive(
        &self,
        name: String,
        term: Term,
        lease: LeaseId,
    ) -> impl Future<Output = Ended> + use<> {
        let session = self.session.clone();
        let key = Key::Shard(name.clone()).full(self.context.cache.prefix());
        let fence = election::claimed(&key, term, lease);
        let context = self.context.clone();
        let writer = Writer::start(
            context.kv.clone(),
            context.cache.clone(),
            view::TASK,
            fence.clone(),
            context.metrics.clone(),
        );
        let may_act: MayAct = Arc::new(move || session.is_valid_now());
        let shard = Shard {
            name,
            term,
            lease,
            fence,
            writer,
            may_act,
            context,
            connector: self.connector.clone(),
            feed: self.feed.clone(),
            acknowledged: self.acknowledged.clone(),
        };
        shard.drive()
    }
}

/// One shard that is held.
struct Shard {
    name: String,
    term: Term,
    lease: LeaseId,
    fence: Vec<Compare>,
    writer: Writer,
    may_act: MayAct,
    context: Context,
    connector: Arc<dyn Connector>,
    feed: Option<Feed>,
    acknowledged: Arc<Acknowledged>,
}

/// Why a shard is held no longer.
enum Ended {
    /// It has no node any more, and its key is deleted: another manager may claim it.
    GivenBack(String),
    /// The term is over: the session has to end.
    Term(String),
}

/// What makes a driver another one.
type Target = (NodeName, Uid, EngineSpec);

impl Shard {
    async fn drive(self) -> Ended {
        let context = self.context.clone();
        // Who has not seen its own claim would plan on a view from before it.
        context.cache.caught_up(Revision(self.term.0)).await;
        let key = Key::Shard(self.name.clone());
        let over = term::over(&context, view::TASK, &key, self.term, self.lease);
        let mut over = std::pin::pin!(over);
        let changes = Changes::of(&self.context.cache, is_node);
        let mut drivers: JoinSet<String> = JoinSet::new();
        let mut running = BTreeMap::new();
        // One shard stands for the controller: a socket's belongs to its machine's manager for ever.
        let _leads = (self.name == COMMON).then(|| self.context.metrics.lead(view::TASK));
        // What was done in this term outlives a driver: a start is never repeated because a URL changed.
        let mut memories: BTreeMap<Uid, Memory> = BTreeMap::new();
        loop {
            let targets = self.context.cache.read(|cache| self.targets(cache));
            running.retain(|target, handle: &mut tokio::task::AbortHandle| {
                let keeps = targets.contains(target);
                if !keeps {
                    handle.abort();
                }
                keeps
            });
            if targets.is_empty() && self.name != COMMON {
                drivers.shutdown().await;
                return self.give_back().await;
            }
            for target in targets {
                if let Entry::Vacant(vacant) = running.entry(target.clone()) {
                    let memory = memories.entry(target.1.clone()).or_default().clone();
                    let driver = self.driver(&target, memory);
                    vacant.insert(drivers.spawn(part(driver.run())));
                }
            }
            tokio::select! {
                biased;
                why = &mut over => return Ended::Term(why),
                Some(ended) = drivers.join_next() => match ended {
                    Ok(why) => return Ended::Term(why),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return Ended::Term(format!("a driver ended: {error}")),
                },
                () = changes.next() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn driver(&self, target: &Target, memory: Memory) -> Driver {
        Driver {
            node: target.0.clone(),
            uid: target.1.clone(),
            spec: target.2.clone(),
            term: self.term,
            writer: self.writer.clone(),
            may_act: self.may_act.clone(),
            context: self.context.clone(),
            connector: self.connector.clone(),
            memory,
            feed: self.feed.clone(),
            acknowledged: self.acknowledged.clone(),
        }
    }

    /// The engines of this shard; deleted nodes stay until they are cleaned up.
    fn targets(&self, cache: &Cache) -> BTreeSet<Target> {
        cache
            .nodes
            .iter()
            .filter(|(name, node)| match is_socket(node) {
                true => {
                    let is_mine = node.spec.manager.as_deref() == Some(&self.context.manager);
                    is_mine && self.name == format!("node-{name}")
                }
                false => self.name == COMMON,
            })
            .map(|(name, node)| (name.clone(), node.uid.clone(), node.spec.engine.clone()))
            .collect()
    }

    /// Another manager may claim the node's shard from now on.
    async fn give_back(self) -> Ended {
        let txn = Txn {
            compares: self.fence.clone(),
            then: vec![Op::Delete {
                key: Key::Shard(self.name.clone()).full(self.context.cache.prefix()),
            }],
            otherwise: Vec::new(),
        };
        match self.context.kv.txn(&txn).await {
            Ok(Outcome::Committed { .. } | Outcome::Refused { .. }) => Ended::GivenBack(self.name),
            // Its lease ends with the session, and with it the key.
            Ok(Outcome::Unknown { error }) | Err(error) => {
                Ended::Term(format!("shard {} is not given back: {error}", self.name))
            }
        }
    }
}

/// Whether an accepted node stands under the key.
fn is_node(key: &Key) -> bool {
    matches!(key, Key::Accepted(object) if object.kind == Kind::Node)
}

fn is_socket(node: &AcceptedNode) -> bool {
    node.spec.engine.url.starts_with("unix://")
}
