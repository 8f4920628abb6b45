//! The endpoints: one client each, made when first needed, and which of them is in use.
//!
//! Why not the client's balancer: it goes on sending calls to an endpoint that is dead or frozen. Here a failure turns
//! to the next one and stays there.

use super::failure::Failure;
use super::tls;
use crate::store::config::{ConfigError, Secret, StoreConfig};
use crate::store::{CONNECT_DEADLINE, Error, PING_DEADLINE, PING_INTERVAL};
use etcd_client::{Client, ConnectOptions, TlsOptions};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

pub(super) struct Endpoints {
    endpoints: Vec<Endpoint>,
    current: AtomicUsize,
    tls: Option<TlsOptions>,
    user: Option<(String, Secret)>,
}

struct Endpoint {
    url: String,
    slot: Mutex<Option<Slot>>,
}

struct Slot {
    client: Client,
    abandoned: watch::Sender<bool>,
}

/// A way to one endpoint.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    /// Turns true when the endpoint stopped answering: watches over this connection are over then.
    pub(super) abandoned: watch::Receiver<bool>,
}

impl Slot {
    fn connection(&self) -> Connection {
        Connection {
            client: self.client.clone(),
            abandoned: self.abandoned.subscribe(),
        }
    }
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.urls())
    }
}

impl Endpoints {
    pub(super) fn new(config: &StoreConfig) -> Result<Self, ConfigError> {
        let endpoint = |url: &String| Endpoint {
            url: url.clone(),
            slot: Mutex::new(None),
        };
        if config.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        Ok(Self {
            endpoints: config.endpoints.iter().map(endpoint).collect(),
            current: AtomicUsize::new(0),
            tls: tls::options(config)?,
            user: config.user.clone().zip(config.password.clone()),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// The endpoint in use.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Turns to the next endpoint, unless somebody else has done so since `index` was read.
    pub(super) fn turn_from(&self, index: usize) {
        let next = (index + 1) % self.len();
        // Losing the race is fine: then the endpoint has changed already.
        let _ = self
            .current
            .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Turns away from an endpoint that let a call run into its deadline: its connection may be dead without a sign, so a
    /// new one is made next time and its watches end.
    pub(super) fn abandon(&self, index: usize) {
        if let Some(slot) = self.slot(index).take() {
            slot.abandoned.send_replace(true);
        }
        self.turn_from(index);
    }

    /// The connection to an endpoint, authenticated if there is a user.
    pub(super) async fn connection(&self, index: usize) -> Result<Connection, Failure> {
        if let Some(slot) = self.slot(index).as_ref() {
            return Ok(slot.connection());
        }
        let url = &self.endpoints[index].url;
        let mut client = Client::connect([url], Some(self.options(url))).await?;
        self.authenticate(&mut client).await?;
        // Two calls that connect at once both may: the first to arrive here stays.
        let mut slot = self.slot(index);
        let slot = slot.get_or_insert_with(|| Slot {
            client,
            abandoned: watch::Sender::new(false),
        });
        Ok(slot.connection())
    }

    /// The connection with a fresh token, which all clones of its client share; none without a user.
    pub(super) async fn authenticate_anew(
        &self,
        index: usize,
    ) -> Result<Option<Connection>, Failure> {
        if self.user.is_none() {
            return Ok(None);
        }
        let mut connection = self.connection(index).await?;
        self.authenticate(&mut connection.client).await?;
        Ok(Some(connection))
    }

    /// As etcdctl does, a user is ignored where the server has authentication switched off.
    async fn authenticate(&self, client: &mut Client) -> Result<(), Failure> {
        let Some((name, password)) = self.user.clone() else {
            return Ok(());
        };
        match client.update_user(Some((name, password.0))).await {
            Ok(()) => Ok(()),
            Err(etcd_client::Error::GRpcStatus(status))
                if status.message().contains("authentication is not enabled") =>
            {
                // 3.4 refuses an old token even so: go on without one.
                client.update_user(None).await.map_err(Failure::from)
            }
            Err(error) => Err(match Failure::from(error) {
                // Nothing of ours was sent yet, only the name and the password.
                Failure::Ambiguous(error) | Failure::NotSent(error) => Failure::NotSent(error),
                Failure::Stale(error) | Failure::Definite(error) => Failure::Definite(error),
            }),
        }
    }

    fn options(&self, url: &str) -> ConnectOptions {
        let options = ConnectOptions::new()
            .with_keep_alive(PING_INTERVAL, PING_DEADLINE)
            // etcd takes pings without an open call as an attack.
            .with_keep_alive_while_idle(false)
            .with_connect_timeout(CONNECT_DEADLINE)
            // A member that was cut off from its cluster ends our watches instead of staying silent.
            .with_require_leader(true);
        match &self.tls {
            Some(tls) if url.starts_with("https://") => options.with_tls(tls.clone()),
            Some(_) | None => options,
        }
    }

    /// Names the endpoints in an error that says only "etcd".
    pub(super) fn describe(&self, error: Error) -> Error {
        match error {
            Error::Unreachable { message, .. } => Error::Unreachable {
                endpoints: self.urls(),
                message,
            },
            error => error,
        }
    }

    fn urls(&self) -> String {
        let urls: Vec<&str> = self.endpoints.iter().map(|e| e.url.as_str()).collect();
        urls.join(",")
    }

    fn slot(&self, index: usize) -> MutexGuard<'_, Option<Slot>> {
        let slot = self.endpoints[index].slot.lock();
        slot.unwrap_or_else(PoisonError::into_inner)
    }
}
