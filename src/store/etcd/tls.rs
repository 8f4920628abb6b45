//! The certificates that the settings name: read, parsed, and handed to the client.
//!
//! All is looked at before anything connects: a wrong file is an error of whoever named it, not of the store.

use crate::store::config::{ConfigError, StoreConfig};
use etcd_client::{Certificate, Identity, TlsOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// What TLS is to be spoken with; none: it is not asked for.
///
/// # Errors
/// A file cannot be read, holds something else, or the key is not the certificate's.
pub(super) fn options(config: &StoreConfig) -> Result<Option<TlsOptions>, ConfigError> {
    if !config.wants_tls() {
        return Ok(None);
    }
    let mut tls = TlsOptions::new();
    if let Some(path) = &config.cacert {
        tls = tls.ca_certificate(Certificate::from_pem(authorities(path)?));
    }
    if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
        let (cert, key) = identity(cert, key)?;
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    Ok(Some(tls))
}

fn authorities(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unusable = |why: String| unusable("cacert", path, why);
    let pem = read(path).map_err(unusable)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&pem).map_err(unusable)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    Ok(pem)
}

/// Our certificate and its key, which have to go together.
fn identity(cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), ConfigError> {
    let cert_pem = read(cert).map_err(|why| unusable("cert", cert, why))?;
    let chain = certificates(&cert_pem).map_err(|why| unusable("cert", cert, why))?;
    let unusable = |why: String| unusable("key", key, why);
    let key_pem = read(key).map_err(unusable)?;
    let private = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|error| unusable(format!("it holds no private key in PEM ({error})")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, private)
        .map_err(|error| unusable(format!("it is not the key of {}: {error}", cert.display())))?;
    Ok((cert_pem, key_pem))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("it holds no certificate in PEM".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("it holds no certificate in PEM ({error})")),
    }
}

fn unusable(setting: &'static str, path: &Path, why: String) -> ConfigError {
    ConfigError::File {
        setting,
        variable: setting.to_ascii_uppercase(),
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Pair {
        cert: String,
        key: String,
    }

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(["etcd".to_owned()]).unwrap();
        Pair {
            cert: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    /// What is said of files with these contents; an empty text is a file that is not there.
    #[track_caller]
    fn check(cacert: &str, cert: &str, key: &str, said: &str) {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = directory.path().join(name);
            if !text.is_empty() {
                std::fs::write(&path, text).unwrap();
            }
            path
        };
        let config = StoreConfig {
            cacert: Some(file("ca.pem", cacert)),
            cert: Some(file("cert.pem", cert)),
            key: Some(file("key.pem", key)),
            ..StoreConfig::plain("127.0.0.1:1")
        };
        let found = match options(&config) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let found = found.replace(&format!("{}/", directory.path().display()), "");
        match said {
            "" => assert_eq!(found, ""),
            said => assert!(found.starts_with(said), "{found}"),
        }
    }

    #[test]
    fn a_file_that_is_missing_or_something_else_is_named_with_its_flag_and_variables() {
        let (one, other) = (pair(), pair());
        check(&one.cert, &one.cert, &one.key, "");
        check(
            "",
            &one.cert,
            &one.key,
            "ca.pem cannot be used for --cacert (SKEP_CACERT, ETCDCTL_CACERT): cannot read it: No such file",
        );
        let nothing = "it holds no certificate in PEM";
        check(
            "garbage",
            &one.cert,
            &one.key,
            &format!("ca.pem cannot be used for --cacert (SKEP_CACERT, ETCDCTL_CACERT): {nothing}"),
        );
        let torn = &one.cert[..one.cert.len() / 2];
        check(torn, &one.cert, &one.key, "ca.pem cannot be used");
        check(
            &one.cert,
            "garbage",
            &one.key,
            &format!("cert.pem cannot be used for --cert (SKEP_CERT, ETCDCTL_CERT): {nothing}"),
        );
        let key = "key.pem cannot be used for --key (SKEP_KEY, ETCDCTL_KEY): ";
        check(
            &one.cert,
            &one.cert,
            "garbage",
            &format!("{key}it holds no private key in PEM"),
        );
        check(&one.cert, &one.cert, "", &format!("{key}cannot read it"));
        check(
            &one.cert,
            &one.cert,
            &other.key,
            &format!("{key}it is not the key of cert.pem"),
        );
    }
}
