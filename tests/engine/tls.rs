//! TLS and TCP: a small proxy in front of the engine under test, with certificates made on the spot.

use crate::subject::{engine, spec, url};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use skep::api::node::{EngineSpec, TlsFiles};
use skep::engine::{Docker, Engine, Error, ExecRequest};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A certificate for 127.0.0.1 and its key.
    fn sign(&self, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// The files of a client: this authority to trust, a certificate signed by `signer`.
    fn files(&self, signer: &Authority, directory: &Path) -> TlsFiles {
        let (cert, key) = signer.sign(ExtendedKeyUsagePurpose::ClientAuth);
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_string_lossy().into_owned()
        };
        TlsFiles {
            ca: write("ca.pem", self.0.pem()),
            cert: write("cert.pem", cert.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }

    /// What a server does that shows a certificate of this authority and wants one from its clients.
    fn acceptor(&self) -> TlsAcceptor {
        let (cert, key) = self.sign(ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let chain: Vec<CertificateDer<'static>> = vec![cert.der().clone()];
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to the engine under test.
async fn backend() -> Box<dyn Stream> {
    let url = url();
    match url.split_once("://") {
        Some(("unix", path)) => Box::new(UnixStream::connect(path).await.unwrap()),
        Some(("tcp", host)) => Box::new(TcpStream::connect(host).await.unwrap()),
        _ => panic!("DOCKER_HOST={url} is neither unix:// nor tcp://"),
    }
}

/// Carries connections to the engine, with TLS or without; the address to connect to.
async fn proxy(tls: Option<TlsAcceptor>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let mut client: Box<dyn Stream> = match tls {
                    None => Box::new(stream),
                    Some(tls) => match tls.accept(stream).into_fallible().await {
                        Ok(stream) => Box::new(stream),
                        // Closed with bytes unread, a socket is reset, and the alert may be lost on its way.
                        Err((_, mut stream)) => {
                            let _ = stream.shutdown().await;
                            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                            return;
                        }
                    },
                };
                let _ = copy_bidirectional(&mut client, &mut backend().await).await;
            });
        }
    });
    format!("tcp://{address}")
}

async fn connect(url: &str, tls: Option<TlsFiles>) -> Result<Docker, Error> {
    let url = url.to_owned();
    let engine = Docker::new(&EngineSpec { url, tls })?;
    engine.ping().await?;
    Ok(engine)
}

#[tokio::test]
async fn the_right_certificate_opens_calls_streams_and_commands() {
    let authority = Authority::new("fleet");
    let directory = tempfile::tempdir().unwrap();
    let url = proxy(Some(authority.acceptor())).await;
    let files = authority.files(&authority, directory.path());
    let over_tls = connect(&url, Some(files)).await.unwrap();
    let identity = over_tls.identity().await.unwrap();
    assert_eq!(identity, engine().await.identity().await.unwrap());
    drop(over_tls.events().await.unwrap());

    let made = crate::subject::run("sleep 1000").await;
    let request = ExecRequest {
        command: vec!["cat".into()],
        stdin: true,
        ..ExecRequest::default()
    };
    let mut io = over_tls.exec(&made.id, &request).await.unwrap();
    io.input.write_all(b"through").await.unwrap();
    io.input.shutdown().await.unwrap();
    let line = futures::StreamExt::next(&mut io.output).await;
    assert_eq!(line.unwrap().unwrap().bytes, b"through");
}

/// The error of a connection is about TLS, is told so, and says what is wrong.
async fn check(url: &str, tls: Option<TlsFiles>, expected: &str) {
    let error = connect(url, tls).await.err().expect("no connection");
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(url) && text.contains(expected), "{text}");
    assert!(error.is_retryable() && !error.is_ambiguous());
}

#[tokio::test]
async fn an_engine_of_another_authority_is_not_trusted() {
    let (fleet, other) = (Authority::new("fleet"), Authority::new("other"));
    let directory = tempfile::tempdir().unwrap();
    let url = proxy(Some(fleet.acceptor())).await;
    let files = other.files(&fleet, directory.path());
    check(&url, Some(files), "not signed by the authority in tls.ca").await;
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_is_not_accepted() {
    let (fleet, other) = (Authority::new("fleet"), Authority::new("other"));
    let directory = tempfile::tempdir().unwrap();
    let url = proxy(Some(fleet.acceptor())).await;
    let files = fleet.files(&other, directory.path());
    check(&url, Some(files), "does not accept the client certificate").await;
}

#[tokio::test]
async fn tls_to_a_plain_port_says_so() {
    let fleet = Authority::new("fleet");
    let directory = tempfile::tempdir().unwrap();
    let url = proxy(None).await;
    let files = fleet.files(&fleet, directory.path());
    check(&url, Some(files), "does not speak TLS").await;
}

#[tokio::test]
async fn a_key_of_another_certificate_is_a_configuration_error() {
    let fleet = Authority::new("fleet");
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut files = fleet.files(&fleet, one.path());
    files.key = fleet.files(&fleet, two.path()).key;
    let error = connect("tcp://127.0.0.1:1", Some(files.clone()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    assert!(error.to_string().contains(&files.key), "{error}");
}

#[tokio::test]
async fn plain_tcp_reaches_the_engine() {
    let url = proxy(None).await;
    let engine = Docker::new(&spec(&url)).unwrap();
    engine.ping().await.unwrap();
    assert!(!engine.identity().await.unwrap().id.is_empty());
}
