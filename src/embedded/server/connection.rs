//! Connections of clients: plain ones and those under TLS, with what clients write wrongly mended on the way in.

use super::authority::Mender;
use super::{Error, Tls};
use futures::stream::{self, FuturesUnordered};
use futures::{Stream, StreamExt};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

/// A client has so long to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// After the system refused a connection (too many open files, say), the next one is taken after this.
const REFUSED_WAIT: Duration = Duration::from_millis(100);

/// What bytes travel on.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection of a client.
pub(super) struct Connection {
    transport: Box<dyn Transport>,
    mender: Mender,
}

impl Connection {
    fn new(transport: impl Transport + 'static) -> Self {
        Self {
            transport: Box::new(transport),
            mender: Mender::default(),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(context, buffer);
        self.mender.mend(&mut buffer.filled_mut()[before..]);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

/// The connections that come in, each when it is ready to be served. A client that dawdles over its certificate holds up
/// nobody.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let accepted = stream::unfold(listener, |listener| async {
        Some((accept(&listener).await, listener))
    });
    let mut handshakes = FuturesUnordered::new();
    let mut accepted = Box::pin(accepted);
    let next = move |context: &mut Context<'_>| {
        while let Poll::Ready(Some(plain)) = accepted.poll_next_unpin(context) {
            match &tls {
                None => return Poll::Ready(Some(Ok(Connection::new(plain)))),
                Some(tls) => handshakes.push(handshake(tls.accept(plain))),
            }
        }
        while let Poll::Ready(Some(done)) = handshakes.poll_next_unpin(context) {
            if let Some(connection) = done {
                return Poll::Ready(Some(Ok(connection)));
            }
        }
        Poll::Pending
    };
    stream::poll_fn(next)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        let error = match listener.accept().await {
            Ok((connection, _)) => match connection.set_nodelay(true) {
                Ok(()) => return connection,
                // It was closed before it was looked at.
                Err(_) => continue,
            },
            Err(error) => error,
        };
        warn!(%error, "no connection could be taken");
        tokio::time::sleep(REFUSED_WAIT).await;
    }
}

async fn handshake(accept: tokio_rustls::Accept<TcpStream>) -> Option<Connection> {
    match tokio::time::timeout(HANDSHAKE, accept).await {
        Ok(Ok(connection)) => Some(Connection::new(connection)),
        Ok(Err(error)) => {
            debug!(%error, "a client was refused");
            None
        }
        Err(_) => None,
    }
}

/// TLS as the server speaks it: HTTP/2 only, and only with clients whose certificate comes from the authority.
pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, Error> {
    let bad = |what: &'static str| {
        move |source: Box<dyn std::error::Error + Send + Sync>| Error::Certificate { what, source }
    };
    let chain = certificates(&tls.certificate).map_err(bad("the certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key);
    let key = key.map_err(|error| bad("the key")(error.into()))?;
    let authority = certificates(&tls.client_authority).map_err(bad("the authority of clients"))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(authority);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| bad("the authority of clients")(error.into()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS")(error.into()))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| bad("the certificate with the key")(error.into()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}

fn certificates(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Box<dyn std::error::Error + Send + Sync>> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Err("there is none in it (PEM is wanted)".into());
    }
    Ok(all)
}
