//! Certificates of a test's own authority, for engines and etcd with TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::{Path, PathBuf};

/// A certificate with its key and the authority that signed it, as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The authority.
    pub(crate) ca: PathBuf,
    /// The certificate.
    pub(crate) cert: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

/// An authority that signs what a test needs. Two of them trust nothing of each other.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    /// A new authority whose files go to `dir`, which is made.
    pub(crate) fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("the temporary directory takes a folder");
        let mut params = named("skep test authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, key()).expect("an authority signs itself");
        std::fs::write(dir.join("ca.pem"), issuer.pem()).expect("the folder takes a file");
        Self {
            issuer,
            dir: dir.into(),
        }
    }

    /// A certificate for a server at these names and addresses, or for a client (none), as `NAME.pem`, `NAME-key.pem`.
    pub(crate) fn sign(&self, name: &str, addresses: &[String]) -> Files {
        let key = key();
        let certificate = named(name, addresses)
            .signed_by(&key, &self.issuer)
            .expect("the authority signs");
        let files = Files {
            ca: self.dir.join("ca.pem"),
            cert: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}-key.pem")),
        };
        std::fs::write(&files.cert, certificate.pem()).expect("the folder takes a file");
        std::fs::write(&files.key, key.serialize_pem()).expect("the folder takes a file");
        files
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness for a key")
}

fn named(name: &str, addresses: &[String]) -> CertificateParams {
    let mut params = CertificateParams::new(addresses).expect("the addresses are names or IPs");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
