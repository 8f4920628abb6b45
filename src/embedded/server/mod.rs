//! The gRPC server: etcd's v3 API over the running [`Store`], as etcd 3.4 answers it.
//!
//! One file for each service; [`convert`] turns messages into what the MVCC is asked and back, [`failure`] says what went
//! wrong in etcd's words. What is deliberately absent is answered in `unsupported.rs`, with what to do instead.
//!
//! Invariants:
//! - It listens beyond the loopback interface only with TLS and certificates of clients: there are no users and passwords.
//! - Answers carry the revision of what they tell; nothing that is told is undone later.
//! - A stream works as fast as its reader reads, and holds no more than the answers of one read of the history.

mod authority;
mod cluster;
mod connection;
mod convert;
mod failure;
mod fragment;
mod kv;
mod lease;
mod limit;
mod maintenance;
mod snapshot;
mod unsupported;
mod watch;
mod watches;

pub use maintenance::VERSION;

use super::store::Store;
use etcd_client::proto::{
    PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbResponseHeader,
    PbWatchServer,
};
use futures::stream::BoxStream;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch as signal;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;

/// The raft term in headers. A store of one member has no elections; etcd's first one ends in term 2.
const TERM: u64 = 2;

/// What a client may send ahead: large enough that a range or a snapshot never waits for a round trip.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Large frames: fewer headers and wake-ups in large answers. HTTP/2 allows up to 16 MiB.
const FRAME_BYTES: u32 = 1024 * 1024;

/// A connection that is silent is asked whether it lives, as etcd does after two hours; sooner, since it costs nothing.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The answers of a stream.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// Certificates and keys, in PEM.
#[derive(Clone)]
pub struct Tls {
    /// The server's certificate, with those between it and its authority.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// The authority that clients' certificates come from: there are no passwords, so each needs one.
    pub client_authority: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address lies beyond the loopback interface and there is no TLS.
    #[error(
        "{0} can be reached from other machines, and there is no TLS: listen on 127.0.0.1, or give a certificate, \
         its key and the authority of clients' certificates"
    )]
    Unprotected(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A certificate or key makes no sense.
    #[error("{what} cannot be used")]
    Certificate {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Serving failed.
    #[error("cannot serve the store")]
    Transport(#[from] tonic::transport::Error),
}

impl Error {
    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Listen { .. } => true,
            Self::Unprotected(_) | Self::Certificate { .. } | Self::Transport(_) => false,
        }
    }
}

/// A bound address, before anything is served: so that the port is known, and taken, before the store is opened.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds an address; port 0 is any free one.
    ///
    /// # Errors
    /// The address is taken, or lies beyond the loopback interface and there is no TLS, or a certificate makes no sense.
    pub async fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Self, Error> {
        if !address.ip().is_loopback() && tls.is_none() {
            return Err(Error::Unprotected(address));
        }
        let tls = tls.as_ref().map(connection::acceptor).transpose()?;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            address,
            tls,
        })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL, as clients name it.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves the store until `stop` is done: then watches end, calls that run are answered, what they wrote is durable.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        store: Store,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let (stopper, stopped) = signal::channel(false);
        let api = Api {
            store: store.clone(),
            url: self.url().into(),
            stopped,
        };
        let mut server = Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE));
        let incoming = connection::incoming(self.listener, self.tls);
        let signal = async {
            stop.await;
            // Everyone who would listen has gone if this fails.
            let _ = stopper.send(true);
        };
        let served = server
            .add_routes(routes(api))
            .serve_with_incoming_shutdown(incoming, signal)
            .await;
        store.stop().await;
        Ok(served?)
    }
}

/// The services, each with the limit on what it takes.
fn routes(api: Api) -> Routes {
    let most = limit::MOST_MESSAGE_BYTES;
    let routes = Routes::new(PbKvServer::new(api.clone()).max_decoding_message_size(most))
        .add_service(PbWatchServer::new(api.clone()).max_decoding_message_size(most))
        .add_service(PbLeaseServer::new(api.clone()).max_decoding_message_size(most))
        .add_service(PbMaintenanceServer::new(api.clone()).max_decoding_message_size(most))
        .add_service(PbClusterServer::new(api).max_decoding_message_size(most));
    routes
        .into_axum_router()
        .fallback(unsupported::fallback)
        .layer(axum::middleware::map_response(limit::explain))
        .into()
}

/// What every service stands on.
#[derive(Clone, Debug)]
struct Api {
    store: Store,
    url: Arc<str>,
    stopped: signal::Receiver<bool>,
}

impl Api {
    /// The header of an answer about `revision`.
    fn header(&self, revision: i64) -> Option<PbResponseHeader> {
        let identity = self.store.identity();
        Some(PbResponseHeader {
            cluster_id: identity.cluster,
            member_id: identity.member,
            revision,
            raft_term: TERM,
        })
    }

    /// Done when the server stops: streams end then.
    fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error says that the server is gone.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    }
}
