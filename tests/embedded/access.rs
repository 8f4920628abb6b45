//! Who may come in: everybody on the loopback interface, elsewhere those with a certificate.

use crate::within;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use skep::embedded::server::{Error, Listener, Tls};
use skep::embedded::store::{Options, Store};

/// An authority, and a certificate with its key for each of the names.
fn certificates(names: [&str; 2]) -> (String, [(String, String); 2]) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    let signed = names.map(|name| {
        let params = CertificateParams::new(vec![name.into(), "127.0.0.1".into()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    });
    (authority.pem(), signed)
}

fn tls() -> (Tls, String, (String, String)) {
    let (authority, [server, client]) = certificates(["localhost", "client"]);
    let tls = Tls {
        certificate: server.0.into(),
        key: server.1.into(),
        client_authority: authority.clone().into(),
    };
    (tls, authority, client)
}

#[tokio::test]
async fn beyond_the_loopback_interface_it_listens_only_with_tls() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = Listener::bind(everywhere, None).await.err().unwrap();
    assert!(matches!(refused, Error::Unprotected(_)), "{refused}");
    let (tls, ..) = tls();
    let listener = Listener::bind(everywhere, Some(tls)).await.unwrap();
    assert!(listener.url().starts_with("https://"));
}

#[tokio::test]
async fn clients_need_a_certificate_of_the_authority() {
    let (tls, authority, (certificate, key)) = tls();
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(any, Some(tls)).await.unwrap();
    let url = listener.url();
    let serving = listener.serve(Store::memory(Options::default()), std::future::pending());
    let served = tokio::spawn(serving);
    let trusting = TlsOptions::new().ca_certificate(Certificate::from_pem(authority));
    let connect = async |tls: TlsOptions| {
        let options = ConnectOptions::new().with_tls(tls);
        let mut client = Client::connect([&url], Some(options)).await?;
        client.put("a", "1", None).await.map(|_| ())
    };
    let refused = within("a refusal", connect(trusting.clone())).await;
    assert!(refused.is_err(), "without a certificate");
    let known = trusting.identity(Identity::from_pem(certificate, key));
    within("a write", connect(known)).await.unwrap();
    served.abort();
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused_by_name() {
    let (tls, ..) = tls();
    let any = "127.0.0.1:0".parse().unwrap();
    let bad = Tls {
        client_authority: b"nothing".to_vec(),
        ..tls
    };
    let refused = Listener::bind(any, Some(bad)).await.err().unwrap();
    assert_eq!(
        refused.to_string(),
        "the authority of clients cannot be used"
    );
}
