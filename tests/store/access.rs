//! Who may come in: TLS with client certificates, users whose tokens expire, authentication switched on and off.

use crate::server::{Server, programs};
use crate::support::*;
use etcd_client::{Client, ConnectOptions, Permission};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use skep::api::unit::Revision;
use skep::store::config::{Secret, StoreConfig};
use skep::store::etcd::Etcd;
use skep::store::list::latest_revision;
use skep::store::{Error, Kv};
use std::path::{Path, PathBuf};

/// An authority with a certificate for the server and one for us, as files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        for name in ["server", "client"] {
            let names = vec!["127.0.0.1".into(), "localhost".into()];
            let params = CertificateParams::new(names).unwrap();
            let key = KeyPair::generate().unwrap();
            let cert = params.signed_by(&key, &authority).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), cert.pem()).unwrap();
            let file = folder.path().join(format!("{name}.key"));
            std::fs::write(file, key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn config(&self, address: &str) -> StoreConfig {
        StoreConfig {
            endpoints: vec![format!("https://{address}")],
            cacert: Some(self.path("ca.pem")),
            cert: Some(self.path("client.pem")),
            key: Some(self.path("client.key")),
            ..StoreConfig::plain("")
        }
    }
}

async fn refusal(config: &StoreConfig) -> Error {
    let kv = Etcd::new(config).unwrap();
    latest_revision(&kv, "/t/").await.unwrap_err()
}

#[tokio::test]
async fn tls_with_client_certificates() {
    let files = Files::new();
    let strangers = Files::new();
    for program in programs() {
        let (cert, key, ca) = (
            files.text("server.pem"),
            files.text("server.key"),
            files.text("ca.pem"),
        );
        let arguments = ["--cert-file", &cert, "--key-file", &key];
        let trust = ["--client-cert-auth", "--trusted-ca-file", &ca];
        let server = Server::spawn(&program, "https", &[&arguments[..], &trust[..]].concat());
        let right = files.config(&server.address);
        server.answers(&right).await;
        let kv = Etcd::new(&right).unwrap();
        let revision = commit(&kv, vec![put("/t/a", "")]).await;
        let mut stream = watch(&kv, "/t/", revision).await.unwrap();
        assert_eq!(changes(&mut stream, 1).await, format!("+/t/a@{revision}"));

        let nameless = StoreConfig {
            cert: None,
            key: None,
            ..right.clone()
        };
        let foreign = StoreConfig {
            cert: Some(strangers.path("client.pem")),
            key: Some(strangers.path("client.key")),
            ..right.clone()
        };
        let distrusting = StoreConfig {
            cacert: Some(strangers.path("ca.pem")),
            ..right.clone()
        };
        for wrong in [nameless, foreign, distrusting] {
            let error = refusal(&wrong).await;
            println!("{error}");
            assert!(
                matches!(error, Error::Denied { .. } | Error::Unreachable { .. }),
                "{error}"
            );
        }
    }
    let missing = StoreConfig {
        cacert: Some(Path::new("/nowhere/ca.pem").into()),
        ..files.config("127.0.0.1:1")
    };
    let error = Etcd::new(&missing).unwrap_err().to_string();
    assert!(
        error.starts_with("/nowhere/ca.pem cannot be used for --cacert"),
        "{error}"
    );
}

/// The administrator: every call authenticates anew, so that no token is ever old.
async fn root(server: &Server) -> Client {
    let options = ConnectOptions::new().with_user("root", "r");
    Client::connect([&server.address], Some(options))
        .await
        .unwrap()
}

/// A user `ali` with the password `sesame` who may read and write below `/t/`.
async fn with_users(server: &Server) {
    let mut client = Client::connect([&server.address], None).await.unwrap();
    client.user_add("root", "r", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("ali", "sesame", None).await.unwrap();
    client.role_add("t").await.unwrap();
    let permission = Permission::read_write("/t/").with_prefix();
    client.role_grant_permission("t", permission).await.unwrap();
    client.user_grant_role("ali", "t").await.unwrap();
    client.auth_enable().await.unwrap();
}

fn user(server: &Server, password: &str) -> Etcd {
    let config = StoreConfig {
        user: Some("ali".into()),
        password: Some(Secret(password.into())),
        ..server.config()
    };
    Etcd::new(&config).unwrap()
}

const CHEAP: [&str; 2] = ["--bcrypt-cost", "4"];

#[tokio::test]
async fn a_user_outlives_the_tokens_that_expire() {
    for program in programs() {
        let arguments = [&CHEAP[..], &["--auth-token-ttl", "1"]].concat();
        let server = Server::start_with(&program, &arguments).await;
        with_users(&server).await;
        let kv = user(&server, "sesame");
        commit(&kv, vec![put("/t/a", "")]).await;

        // A client that keeps its token shows when tokens of that age are refused.
        let options = ConnectOptions::new().with_user("ali", "sesame");
        let mut plain = Client::connect([&server.address], Some(options))
            .await
            .unwrap();
        plain.get("/t/a", None).await.unwrap();
        let expire = async |plain: &mut Client| {
            // An unused token is the one that expires: asking renews it.
            tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
            let refused = plain.get("/t/a", None).await.unwrap_err().to_string();
            assert!(refused.contains("invalid auth token"), "{refused}");
        };
        expire(&mut plain).await;
        let revision = commit(&kv, vec![put("/t/a", "")]).await;
        plain
            .update_user(Some(("ali".into(), "sesame".into())))
            .await
            .unwrap();
        expire(&mut plain).await;
        let mut stream = watch(&kv, "/t/", revision).await.unwrap();
        assert_eq!(changes(&mut stream, 1).await, format!("+/t/a@{revision}"));
        plain
            .update_user(Some(("ali".into(), "sesame".into())))
            .await
            .unwrap();
        expire(&mut plain).await;
        let lease = kv.grant(std::time::Duration::from_secs(60)).await.unwrap();
        assert_eq!(kv.keep_alive(lease.id).await.unwrap().ttl, lease.ttl);
    }
}

#[tokio::test]
async fn authentication_may_be_switched_and_changed_under_us() {
    for program in programs() {
        let server = Server::start_with(&program, &CHEAP).await;
        // A user is ignored while the server asks for none, as etcdctl does it.
        let kv = user(&server, "sesame");
        commit(&kv, vec![put("/t/a", "1")]).await;
        with_users(&server).await;
        commit(&kv, vec![put("/t/a", "2")]).await;
        // Every change of users raises the auth revision, and older tokens are refused.
        root(&server).await.role_add("other").await.unwrap();
        let revision = commit(&kv, vec![put("/t/a", "3")]).await;
        root(&server).await.role_add("another").await.unwrap();
        let mut stream = watch(&kv, "/t/", revision).await.unwrap();
        assert_eq!(changes(&mut stream, 1).await, format!("+/t/a@{revision}"));
        root(&server).await.auth_disable().await.unwrap();
        commit(&kv, vec![put("/t/a", "4")]).await;
        let mut client = Client::connect([&server.address], None).await.unwrap();
        client.auth_enable().await.unwrap();
        commit(&kv, vec![put("/t/a", "5")]).await;
    }
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    for program in programs() {
        let server = Server::start_with(&program, &CHEAP).await;
        with_users(&server).await;
        let denied = |result: Result<(), Error>| {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Denied { .. }), "{error}");
        };
        let kv = user(&server, "sesame");
        denied(kv.txn(&then(vec![put("/other/a", "")])).await.map(drop));
        denied(watch(&kv, "/other/", Revision(0)).await.map(drop));
        let wrong = user(&server, "open");
        denied(latest_revision(&wrong, "/t/").await.map(drop));
        let nobody = server.client();
        denied(latest_revision(&nobody, "/t/").await.map(drop));
    }
}
