//! The transport under bollard: one pooled hyper client per engine, over a socket, TCP or TLS.
//!
//! bollard's own constructors do not pool, trust the machine's certificate store and lose the API version; every request
//! of skep, bollard's and our own, passes through [`Transport::send`], which puts `/v<negotiated>` in front of the path.

use super::Error;
use super::address::Address;
use super::connect::Connect;
use super::constants::{IDLE_CONNECTIONS, IDLE_TIME};
use super::tls;
use crate::api::node::EngineSpec;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::{Arc, Mutex};

/// Whatever hyper or a body says.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A version of the Engine API, major and minor.
pub(super) type ApiVersion = (u64, u64);

/// A pooled client of one engine. Clones share the pool and the negotiated version.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<Connect, Body>,
    base: Arc<str>,
    version: Arc<Mutex<Option<ApiVersion>>>,
}

impl Transport {
    /// Prepares a client; does not connect yet.
    pub(super) fn new(spec: &EngineSpec) -> Result<Self, Error> {
        let address = Address::parse(&spec.url)?;
        let tls = match (&spec.tls, &address) {
            (None, _) => None,
            (Some(files), Address::Tcp { .. }) => Some(Arc::new(tls::client_config(files)?)),
            (Some(_), Address::Unix { .. }) => {
                return Err(Error::Config {
                    message: format!("engine {}: TLS is for tcp:// only; remove tls", spec.url),
                });
            }
        };
        let base = format!("http://{}", address.authority(tls.is_some())).into();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(TokioTimer::new())
            .build(Connect { address, tls });
        Ok(Self {
            client,
            base,
            version: Arc::default(),
        })
    }

    /// `http://host:port`, which stands for the engine in requests whatever the transport.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The negotiated version; none: not yet, and paths go out as they are.
    pub(super) fn version(&self) -> Option<ApiVersion> {
        *self.lock()
    }

    /// From now on speaks this version; none: negotiate anew.
    pub(super) fn set_version(&self, version: Option<ApiVersion>) {
        *self.lock() = version;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ApiVersion>> {
        self.version
            .lock()
            .expect("nobody panics while holding the version")
    }

    /// Sends one request with the version in front of its path.
    pub(super) async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        if let Some(version) = self.version() {
            parts.uri = versioned(parts.uri, version);
        }
        self.send_plain(Request::from_parts(parts, body)).await
    }

    /// Sends one request as it is: for the negotiation itself.
    pub(super) async fn send_plain<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        self.client.request(request).await
    }
}

/// `/v1.41` in front of the path; a URI that has no path of its own stays as it is.
fn versioned(uri: Uri, (major, minor): ApiVersion) -> Uri {
    let mut parts = uri.clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |p| p.as_str());
    let Ok(path) = PathAndQuery::try_from(format!("/v{major}.{minor}{path}")) else {
        return uri;
    };
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_in_front_of_path_and_query() {
        let uri = "http://localhost/containers/json?all=true".parse().unwrap();
        let expected = "http://localhost/v1.41/containers/json?all=true";
        assert_eq!(versioned(uri, (1, 41)).to_string(), expected);
    }

    #[test]
    fn tls_over_a_socket_is_refused() {
        let spec = EngineSpec {
            url: "unix:///x.sock".into(),
            tls: Some(crate::api::node::TlsFiles {
                ca: String::new(),
                cert: String::new(),
                key: String::new(),
            }),
        };
        assert!(matches!(Transport::new(&spec), Err(Error::Config { .. })));
    }
}
