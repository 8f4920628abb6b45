//! TLS to engines: the client's certificate and the one authority that is trusted.
//!
//! Invariant: only the given authority vouches for an engine, never the machine's own certificate store.

use super::Error;
use crate::api::node::TlsFiles;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Reads the files and prepares handshakes with them.
pub(super) fn client_config(files: &TlsFiles) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca, "authority (tls.ca)")? {
        roots
            .add(authority)
            .map_err(|error| unusable(&files.ca, "authority (tls.ca)", &error))?;
    }
    let chain = certificates(&files.cert, "client certificate (tls.cert)")?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, "client key (tls.key)", &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.key, "client key (tls.key)", &error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| Error::Config {
            message: format!(
                "the client key {} does not go with the certificate {}: {error}",
                files.key, files.cert
            ),
        })
}

fn certificates(path: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unusable(path, what, &"it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, what, &error)),
    }
}

fn unusable(path: &str, what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Config {
        message: format!(
            "cannot use {path} as {what}: {why}; the file has to be on the manager's machine, readable, and PEM"
        ),
    }
}

/// What a failed handshake or a broken TLS connection means, for people.
pub(super) fn explain(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    let hint = match error {
        Tls::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "the engine's certificate is not signed by the authority in tls.ca"
        }
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the engine's certificate has expired: issue a new one"
        }
        Tls::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "the engine's certificate names another host than its URL",
        Tls::InvalidCertificate(_) => "the engine's certificate is not valid",
        Tls::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::CertificateUnknown,
        ) => "the engine does not accept the client certificate in tls.cert",
        Tls::AlertReceived(Alert::CertificateExpired) => {
            "the client certificate in tls.cert has expired: issue a new one"
        }
        Tls::InvalidMessage(_) => "the other side does not speak TLS: is this the plain port?",
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let files = TlsFiles {
            ca: "/nowhere/ca.pem".into(),
            cert: "/nowhere/cert.pem".into(),
            key: "/nowhere/key.pem".into(),
        };
        let text = client_config(&files).unwrap_err().to_string();
        assert!(text.contains("/nowhere/ca.pem"), "{text}");
        assert!(text.contains("readable, and PEM"), "{text}");
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, "not a certificate").unwrap();
        let files = TlsFiles {
            ca: path.to_string_lossy().into_owned(),
            cert: String::new(),
            key: String::new(),
        };
        let text = client_config(&files).unwrap_err().to_string();
        assert!(text.contains("it holds no certificate"), "{text}");
    }
}
