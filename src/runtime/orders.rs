//! The executor of engine orders: dull, it decides nothing.
//!
//! A planner returns an [`Order`] as data; [`Orders::run`] gives it to the engine and says what was seen. After every
//! order that may have changed a container the container is inspected, so that the next plan rests on what is there and
//! not on what was asked for. That is also how an unknown outcome ends: a call that timed out is never repeated from
//! here, it is looked at.
//!
//! Invariants:
//! - Start, stop and remove go by container id, never by name (rule C4).
//! - Before a create or start is sent the right to act is checked once more (rules C4, N5).
//! - At most [`AT_ONCE`] creates and starts run on one engine; engines do not share the limit, so none waits for another.
//!
//! Deliberately absent: retries. They are the worker's, which plans again before each.

use crate::api::uid::ContainerId;
use crate::engine::{Container, Engine, Error};
use crate::planted::{Bug, planted};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Creates and starts: more at once only queue inside the engine, which takes a lock per container and one for its network
/// allocator, and fight for its processors.
pub const AT_ONCE: usize = 8;

/// How long an engine has for an order that does not wait by nature.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long a pull may take: images of several GiB over slow lines do arrive.
pub const PULL_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// One call to an engine, as data.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Fetch an image.
    Pull {
        /// Its name.
        image: String,
    },
    /// Make a container.
    Create {
        /// Its name, which ends in the task's id.
        name: String,
        /// The body of `POST /containers/create`, as JSON.
        body: String,
    },
    /// Connect a container to a further network.
    Connect {
        /// The container.
        container: ContainerId,
        /// The network's name.
        network: String,
        /// The endpoint's configuration.
        endpoint: Value,
    },
    /// Start a container that never ran.
    Start {
        /// The container.
        container: ContainerId,
    },
    /// Stop a container.
    Stop {
        /// The container.
        container: ContainerId,
        /// Time to end by itself before it is killed.
        grace: Duration,
    },
    /// Remove a container.
    Remove {
        /// The container.
        container: ContainerId,
        /// Also if the engine calls it broken.
        force: bool,
    },
    /// Look at a container.
    Inspect {
        /// Its id where it is known, then its name where that is wanted too: missing is what answers to none of them.
        /// A task's container that was made anew has another id than the one recorded last.
        names: Vec<String>,
    },
}

/// What an engine showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// The container.
    Here(Container),
    /// A 404 by id, or by the name that nothing else may have (rule C5).
    Missing,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The engine's answer, or its lack.
    #[error(transparent)]
    Engine(#[from] Error),
    /// It was not sent: the right to act has ended.
    #[error("the order was not sent: the lease on the shard has reached its deadline")]
    TermOver,
}

impl Failure {
    /// Whether the same order may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_retryable(),
            Self::TermOver => false,
        }
    }
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whether the engine took it.
    pub result: Result<(), Failure>,
    /// What was seen of the container afterwards; none if it could not be looked at.
    pub sight: Option<Sight>,
}

/// Whether the holder may still act; asked right before an order is sent.
pub type MayAct = Arc<dyn Fn() -> bool + Send + Sync>;

/// Carries out orders on one engine.
pub struct Orders {
    engine: Arc<dyn Engine>,
    places: Semaphore,
    may_act: MayAct,
}

impl Orders {
    /// Orders for `engine`, as long as `may_act` says so.
    pub fn new(engine: Arc<dyn Engine>, may_act: MayAct) -> Self {
        Self {
            engine,
            places: Semaphore::new(AT_ONCE),
            may_act,
        }
    }

    /// Carries out one order and looks at its container.
    pub async fn run(&self, order: &Order) -> Report {
        match order {
            Order::Inspect { names } => self.inspect(names).await,
            Order::Pull { image } => self.pull(image).await,
            Order::Create { name, body } => self.create(name, body).await,
            Order::Connect {
                container,
                network,
                endpoint,
            } => {
                let call = self.engine.connect_network(network, container, endpoint);
                self.act("connect_network", DEADLINE, container, call).await
            }
            Order::Start { container } => {
                let _place = self.place().await;
                let call = self.engine.start(container);
                self.act("start", DEADLINE, container, call).await
            }
            Order::Stop { container, grace } => {
                let call = self.engine.stop(container, *grace);
                self.act("stop", *grace + DEADLINE, container, call).await
            }
            Order::Remove { container, force } => {
                let call = self.engine.remove(container, *force);
                self.act("remove", DEADLINE, container, call).await
            }
        }
    }

    /// Waits for its turn on the engine.
    async fn place(&self) -> SemaphorePermit<'_> {
        let place = self.places.acquire().await;
        place.expect("the semaphore is never closed")
    }

    async fn pull(&self, image: &str) -> Report {
        let result = match (self.may_act)() {
            true => {
                let call = self.engine.pull(image, &|_| {});
                self.within("pull", PULL_DEADLINE, call)
                    .await
                    .map_err(Failure::from)
            }
            false => Err(Failure::TermOver),
        };
        Report {
            result,
            sight: None,
        }
    }

    async fn create(&self, name: &str, body: &str) -> Report {
        let _place = self.place().await;
        if !(self.may_act)() {
            return over();
        }
        let call = self.engine.create(name, body);
        let made = self.within("create", DEADLINE, call).await;
        // By id what was made; by name what stands in the way, or what a lost answer left.
        let look_at = match &made {
            Ok(id) => Some(id.as_str()),
            Err(Error::Conflict { .. }) => Some(name),
            Err(error) if error.is_ambiguous() => Some(name),
            Err(_) => None,
        };
        let sight = match look_at {
            Some(container) => self.look(container).await.ok(),
            None => None,
        };
        Report {
            result: made.map(|_| ()).map_err(Failure::from),
            sight,
        }
    }

    async fn act(
        &self,
        name: &'static str,
        deadline: Duration,
        container: &ContainerId,
        call: impl Future<Output = Result<(), Error>>,
    ) -> Report {
        if !(self.may_act)() {
            return over();
        }
        let result = self.within(name, deadline, call).await;
        Report {
            result: result.map_err(Failure::from),
            sight: self.look(container.as_str()).await.ok(),
        }
    }

    async fn inspect(&self, names: &[String]) -> Report {
        for name in names {
            match self.look(name).await {
                Ok(Sight::Missing) => {}
                Ok(sight) => return seen(sight),
                Err(error) => {
                    return Report {
                        result: Err(error.into()),
                        sight: None,
                    };
                }
            }
        }
        seen(Sight::Missing)
    }

    async fn look(&self, container: &str) -> Result<Sight, Error> {
        let call = self.engine.inspect(container);
        match self.within("inspect", DEADLINE, call).await {
            Ok(container) => Ok(Sight::Here(container)),
            Err(Error::NotFound { .. }) => Ok(Sight::Missing),
            Err(_) if planted(Bug::TakesErrorForGone) => Ok(Sight::Missing),
            Err(error) => Err(error),
        }
    }

    async fn within<T>(
        &self,
        call: &'static str,
        deadline: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        timeout(deadline, work).await.unwrap_or_else(|_| {
            Err(Error::Timeout {
                address: self.engine.address().to_owned(),
                call,
                deadline,
            })
        })
    }
}

fn seen(sight: Sight) -> Report {
    Report {
        result: Ok(()),
        sight: Some(sight),
    }
}

fn over() -> Report {
    Report {
        result: Err(Failure::TermOver),
        sight: None,
    }
}
