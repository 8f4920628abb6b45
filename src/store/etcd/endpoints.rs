//! The endpoints: one client each, made when first needed, and which of them is in use.
//!
//! Why not the client's balancer: it goes on sending calls to an endpoint that is dead or frozen. Here a failure turns
//! to the next one and stays there.

use super::failure::{Failure, chain, denied, other};
use crate::store::config::{Secret, StoreConfig};
use crate::store::{CONNECT_DEADLINE, Error, PING_DEADLINE, PING_INTERVAL};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

pub(super) struct Endpoints {
    endpoints: Vec<Endpoint>,
    current: AtomicUsize,
    tls: Option<TlsOptions>,
    user: Option<(String, Secret)>,
}

struct Endpoint {
    url: String,
    client: Mutex<Option<Client>>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.urls())
    }
}

impl Endpoints {
    pub(super) fn new(config: &StoreConfig) -> Result<Self, Error> {
        let endpoint = |url: &String| Endpoint {
            url: url.clone(),
            client: Mutex::new(None),
        };
        if config.endpoints.is_empty() {
            return Err(other("no endpoint of etcd is given"));
        }
        Ok(Self {
            endpoints: config.endpoints.iter().map(endpoint).collect(),
            current: AtomicUsize::new(0),
            tls: tls(config)?,
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

    /// The client of an endpoint, authenticated if there is a user.
    pub(super) async fn client(&self, index: usize) -> Result<Client, Failure> {
        if let Some(client) = self.slot(index).clone() {
            return Ok(client);
        }
        let url = &self.endpoints[index].url;
        let mut client = Client::connect([url], Some(self.options(url))).await?;
        self.authenticate(&mut client).await?;
        // Two calls that connect at once both may: the later client stays.
        *self.slot(index) = Some(client.clone());
        Ok(client)
    }

    /// The client with a fresh token, which all its clones share; none without a user.
    pub(super) async fn authenticate_anew(&self, index: usize) -> Result<Option<Client>, Failure> {
        if self.user.is_none() {
            return Ok(None);
        }
        let mut client = self.client(index).await?;
        self.authenticate(&mut client).await?;
        Ok(Some(client))
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
                Ok(())
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
            .with_keep_alive_while_idle(true)
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

    fn slot(&self, index: usize) -> std::sync::MutexGuard<'_, Option<Client>> {
        let slot = self.endpoints[index].client.lock();
        slot.unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls(config: &StoreConfig) -> Result<Option<TlsOptions>, Error> {
    if !config.wants_tls() {
        return Ok(None);
    }
    let mut tls = TlsOptions::new();
    if let Some(path) = &config.cacert {
        tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
    }
    if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(Some(tls))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        denied(&format!(
            "cannot read {}: {}",
            path.display(),
            chain(&error)
        ))
    })
}
