//! One new connection to an engine: a socket, a TCP connection, or TLS on top of one.

use super::address::Address;
use super::constants::CONNECT;
use super::door::Duplex;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Makes connections for hyper's pool.
#[derive(Clone)]
pub(super) struct Connect {
    pub(super) address: Address,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Connect {
    async fn open(self) -> io::Result<Link> {
        let stream = tokio::time::timeout(CONNECT, self.stream()).await;
        let stream = stream.map_err(|_| {
            let text = format!("no connection within {CONNECT:?}");
            io::Error::new(io::ErrorKind::TimedOut, text)
        })??;
        Ok(Link(TokioIo::new(stream)))
    }

    async fn stream(self) -> io::Result<Box<dyn Duplex>> {
        let authority = self.address.authority(self.tls.is_some());
        let host = match self.address {
            Address::Unix { path } => {
                let stream = UnixStream::connect(&path).await;
                return Ok(Box::new(stream.map_err(|error| explained(error, &path))?));
            }
            Address::Tcp { host, .. } => host,
        };
        let stream = TcpStream::connect(&authority).await?;
        stream.set_nodelay(true)?;
        let Some(config) = self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Box::new(stream))
    }
}

/// Says what to do where a socket cannot be opened.
fn explained(error: io::Error, path: &str) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "this user may not use the socket: add it to the group docker"
        }
        io::ErrorKind::NotFound => "there is no such socket: is Docker Engine started?",
        io::ErrorKind::ConnectionRefused => "nobody listens: is Docker Engine started?",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{path}: {error}; {hint}"))
}

impl tower_service::Service<hyper::Uri> for Connect {
    type Response = Link;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Link>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}

/// An open connection, in hyper's terms.
pub(super) struct Link(TokioIo<Box<dyn Duplex>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
