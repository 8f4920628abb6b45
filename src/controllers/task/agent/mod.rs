//! The agent of a node's data plane: it is put on the engine, told what the node should be, and listened to.
//!
//! It belongs to the engine's driver and not to a controller of its own: orders about it are orders to that engine, under
//! the same shard, the same verified identity and the same lease; it has to be there before a task may start, and gone
//! before its node is; and what it says is asked for by every task that waits. Two holders would have to agree on all of that.
//!
//! ```text
//! feed (once a manager) -> session (one per engine: container, networks, stream) -> plane -> workers (gates, rule C8)
//! ```
//!
//! Invariants:
//! - It is there while the cluster has a network and the node is not about to be forgotten; then it takes what is its own
//!   from the kernel, and goes with its volume. The engine's networks go before the bridges under them.
//! - A state is sent when the one before was answered, so an agent that is slow gets fewer and newer ones.
//! - The engine's networks are made once all nodes that are ready have said what their links carry, or were given time to.
//! - An address is used once this node's agent has programmed it. Other nodes program the same state at the same time, and
//!   send nobody there before the task serves; who calls it by its address in the first moments waits for their ARP.
//! - Which view of the store a node has programmed is noted ([`acknowledged`]): a task is stopped once all have one in which it
//!   gets nobody any more.
//! - Nothing is sent while what runs is being adopted (rule S6), nor by who has not seen its own claim (rule S2).
//!
//! Deliberately absent: images for other processors than this one's, and taking agents away where a manager is started without networks (`skep down` does).

pub mod acknowledged;
pub mod container;
pub mod feed;
pub mod plane;
mod realise;
mod reported;
mod session;
mod strangers;
mod ways;

use super::driver::{Connection, Ended};
use crate::api::allocation::Vni;
use crate::api::subnet::Cidr;
use crate::api::unit::{Incarnation, Revision};
use crate::dataplane::agent::{Authority, Order};
use crate::dataplane::state::State;
use crate::engine::Error;
use crate::metrics::list;
use crate::runtime::backoff::Backoff;
use crate::runtime::cache::Cache;
use acknowledged::Place;
use feed::{Feed, StateOf, States};
use plane::Plane;
use reported::Reported;
use session::{Line, Session};
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use ways::Ways;

/// The first and the longest wait before an agent is spoken to anew.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long an agent may take to answer: a thousand services arriving at once took 0.3 s.
const ANSWER: Duration = Duration::from_secs(30);

/// How long an engine's new networks wait for all nodes that are ready to say what their links carry: an engine never changes
/// what it was told of a network.
const MEASURED: Duration = Duration::from_secs(5);

/// Why an agent is not spoken to any more.
pub(super) enum Trouble {
    /// The term is over.
    Term(String),
    /// A `PascalCase` word and the same for people: try again later.
    Other(&'static str, String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Other("EngineTrouble", error.to_string())
    }
}

/// The view of the store that a state follows from.
struct View {
    revision: Revision,
    /// Whether all nodes that are ready have said what their links carry.
    is_measured: bool,
    /// When the first change that led to it was seen: time since boot.
    seen: Duration,
    /// How the states of nodes follow from it.
    of: StateOf,
    /// What leads to those states.
    ways: Arc<Ways>,
}

/// What the store asks of this node.
enum Wish {
    /// No agent.
    Nothing,
    /// One with this state.
    State(Box<State>, View),
    /// The same as by the view before, by this one as well.
    Same(View),
    /// One, if it were known with which.
    Unknown,
}

impl Connection {
    /// Looks after the node's data plane until the term is over.
    pub(super) async fn tend_plane(self: Arc<Self>, mut feed: Feed) -> Ended {
        let mut backoff = Backoff::new(AGAIN.0, AGAIN.1, self.driver.context.clock.seed());
        loop {
            match self.tend(&mut feed, &mut backoff).await {
                Ok(()) => backoff.reset(),
                Err(Trouble::Term(why)) => return Ended::Term(why),
                Err(Trouble::Other(reason, why)) => {
                    self.change_plane(|plane| plane.fail(reason, why));
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Does what is wished until something else is.
    async fn tend(&self, feed: &mut Feed, backoff: &mut Backoff) -> Result<(), Trouble> {
        let wish = self.wish(feed, None);
        match wish {
            None | Some(Wish::Same(_)) => {}
            Some(Wish::Nothing) => {
                self.take_away().await?;
                let is_done = self.plane().made().is_empty();
                self.change_plane(|plane| plane.want(false));
                if is_done {
                    return self.idle(feed).await;
                }
            }
            Some(Wish::Unknown) => {
                let why =
                    "the node has no address at which other nodes reach it: give it `address`";
                self.change_plane(|plane| {
                    plane.want(true);
                    plane.fail("NoAddress", why.into());
                });
            }
            Some(Wish::State(state, view)) => {
                self.change_plane(|plane| plane.want(true));
                return self.serve(*state, view, feed, backoff).await;
            }
        }
        // The sender is the manager's: it ends after this.
        let _ = feed.changed().await;
        Ok(())
    }

    /// Waits until something is asked for: nobody else makes what was taken away, so that the engine is not asked again at each
    /// change of the store.
    async fn idle(&self, feed: &mut Feed) -> Result<(), Trouble> {
        while let Some(Wish::Nothing) = self.wish(feed, None) {
            let ended = |_| Trouble::Term("the manager ends".into());
            feed.changed().await.map_err(ended)?;
        }
        Ok(())
    }

    /// What is asked of this node, if it may be another than by what is `known`; nothing: not known yet.
    fn wish(&self, feed: &mut Feed, known: Option<&StateOf>) -> Option<Wish> {
        let states = feed.borrow_and_update().clone()?;
        // Who has not seen its own claim knows less than the one before it.
        if states.revision.0 < self.driver.term.0 {
            return None;
        }
        let is_leaving = self
            .driver
            .context
            .cache
            .read(|cache| self.is_leaving(cache));
        if states.numbers.is_empty() || is_leaving {
            return Some(Wish::Nothing);
        }
        let view = View {
            revision: states.revision,
            is_measured: states.is_measured,
            seen: states.seen,
            of: states.of,
            ways: states.ways,
        };
        if known.is_some_and(|known| Arc::ptr_eq(known, &view.of)) {
            return Some(Wish::Same(view));
        }
        Some(match (view.of)(&self.driver.node) {
            Some(state) => Wish::State(Box::new(state), view),
            None => Wish::Unknown,
        })
    }

    /// Whether the node is deleted and has no tasks any more.
    fn is_leaving(&self, cache: &Cache) -> bool {
        let node = &self.driver.node;
        let has_tasks = cache.bindings_on(node).next().is_some()
            || cache.task_statuses_on(node).next().is_some();
        let record = cache.nodes.get(node);
        record.is_none_or(|record| record.deleted_at.is_some()) && !has_tasks
    }

    /// Keeps the agent at what the store asks for, until it asks for none.
    async fn serve(
        &self,
        first: State,
        mut view: View,
        feed: &mut Feed,
        backoff: &mut Backoff,
    ) -> Result<(), Trouble> {
        let container = self.agent().await?;
        self.list_networks().await?;
        let place = self.driver.acknowledged.place(&self.driver.node);
        let mut sent = Arc::new(first);
        self.retire_networks(&sent).await?;
        let authority = self.authority();
        let mut session = Session::open(&*self.engine, &container, authority).await?;
        session.send(&whole(&sent)).await?;
        let mut reported = Reported::new(&self.driver.context.metrics, &self.driver.node);
        let mut overdue = Some(Box::pin(sleep(ANSWER)));
        let mut measuring = Some(Box::pin(sleep(MEASURED)));
        loop {
            tokio::select! {
                biased;
                report = session.next() => {
                    let report = report?;
                    reported.hear(&report);
                    if report.needs_state {
                        session.send(&whole(&sent)).await?;
                        continue;
                    }
                    self.change_plane(|plane| plane.hear(&report, &sent));
                    let is_programmed = report.programmed == Some(sent.revision);
                    if is_programmed {
                        self.note_programmed(&place.tell(view.revision));
                        backoff.reset();
                        self.make_measured(&sent, &view, &mut measuring).await?;
                    }
                    if is_programmed || report.trouble.is_some() {
                        overdue = None;
                    }
                }
                () = self.plane_doubts.notified() => {
                    self.list_networks().await?;
                    self.make_measured(&sent, &view, &mut measuring).await?;
                }
                () = until(&mut measuring) => {
                    measuring = None;
                    self.make_networks(&sent).await?;
                }
                // The sender is the manager's: it ends after this.
                Ok(()) = feed.changed(), if overdue.is_none() => match self.wish(feed, Some(&view.of)) {
                    Some(Wish::Same(same)) => {
                        view = same;
                        self.acknowledge(&place, &sent, view.revision);
                        self.make_measured(&sent, &view, &mut measuring).await?;
                    }
                    Some(Wish::State(next, after)) => {
                        view = after;
                        let next = Arc::new(*next);
                        if let Some(order) = view.ways.order(&sent, &next) {
                            sent = next;
                            place.send(view.revision, view.seen);
                            self.retire_networks(&sent).await?;
                            session.send(&order).await?;
                            overdue = Some(Box::pin(sleep(ANSWER)));
                        } else {
                            self.acknowledge(&place, &sent, view.revision);
                            self.make_measured(&sent, &view, &mut measuring).await?;
                        }
                    }
                    Some(Wish::Nothing | Wish::Unknown) | None => return Ok(()),
                },
                () = until(&mut overdue) => {
                    let why = format!("the agent has not answered for {ANSWER:?}");
                    return Err(Trouble::Other("AgentSilent", why));
                }
            }
        }
    }

    /// Makes networks once it is known how large their packets may be, in the view of the store that the state follows from.
    async fn make_measured(
        &self,
        state: &State,
        view: &View,
        measuring: &mut Option<Pin<Box<Sleep>>>,
    ) -> Result<(), Trouble> {
        if view.is_measured {
            *measuring = None;
        }
        match measuring {
            Some(_) => Ok(()),
            None => self.make_networks(state).await,
        }
    }

    /// By which right this manager gives orders.
    pub(super) fn authority(&self) -> Authority {
        let cluster = self.cluster();
        Authority {
            incarnation: cluster.map_or(Incarnation::default(), |cluster| cluster.incarnation),
            term: self.driver.term,
        }
    }

    /// Notes that a view asks for nothing but what was sent, where the kernel shows that.
    fn acknowledge(&self, place: &Place, sent: &State, view: Revision) {
        if self.plane().is_at(sent) {
            self.note_programmed(&place.tell(view));
        }
    }

    /// Notes how long changes took that all nodes show now, by when they were seen.
    fn note_programmed(&self, seen: &[Duration]) {
        let context = &self.driver.context;
        let now = context.clock.now().since_boot;
        for seen in seen {
            let took = now.saturating_sub(*seen);
            context
                .metrics
                .observe(&list::NETWORK_PROGRAMMING, &[], took);
        }
    }

    pub(super) fn plane(&self) -> MutexGuard<'_, Plane> {
        self.plane
            .lock()
            .expect("no code panics while it holds the plane")
    }

    /// Changes what is known of the data plane, and has those looked at again that waited for it.
    fn change_plane(&self, change: impl FnOnce(&mut Plane)) {
        let waited = {
            let mut plane = self.plane();
            change(&mut plane);
            plane.changed()
        };
        self.queue.extend(waited);
        self.tell();
    }

    /// Whether orders may still be given.
    fn check_right(&self) -> Result<(), Trouble> {
        match (self.driver.may_act)() {
            true => self.serves().map_err(Trouble::Term),
            false => Err(Trouble::Term("the lease's deadline has passed".into())),
        }
    }

    /// Networks by their numbers, as the last states had them.
    pub(super) fn numbers(&self) -> Arc<feed::Numbers> {
        let states = self.states();
        states.map(|states| states.numbers).unwrap_or_default()
    }

    /// The node's block of a network, as the last states had it: a store that lost it, or its network, must not take it away.
    fn block(&self, vni: Vni) -> Option<Cidr> {
        let place = (vni, self.driver.node.clone());
        self.states()?.blocks.get(&place).copied()
    }

    fn states(&self) -> Option<States> {
        let feed = self.driver.feed.as_ref();
        feed.and_then(|feed| feed.borrow().clone())
    }
}

/// A state for an agent that has none, or another one.
fn whole(state: &State) -> Line {
    Line::of(&Order::State(Box::new(state.clone())))
}

async fn until(end: &mut Option<Pin<Box<Sleep>>>) {
    match end {
        Some(end) => end.await,
        None => std::future::pending().await,
    }
}
