//! From what hyper, rustls and bollard report to the one question of the caller: was it sent, and may it be repeated?

use super::Error;
use super::tls;
use std::error::Error as Cause;
use std::io;

/// The text by which a Go server refuses plain HTTP on its TLS port.
const PLAIN_ON_TLS: &str = "Client sent an HTTP request to an HTTPS server";

/// Which call failed on which engine.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) address: &'a str,
    pub(super) call: &'static str,
}

impl Site<'_> {
    /// A failure below HTTP, or bollard's own.
    pub(super) fn failed(self, error: &(dyn Cause + 'static)) -> Error {
        if let Some(bollard::errors::Error::DockerResponseServerError {
            status_code,
            message,
        }) = error.downcast_ref()
        {
            return self.refused(*status_code, message.clone());
        }
        let causes: Vec<_> = causes(error).collect();
        if let Some(error) = causes
            .iter()
            .find_map(|c| c.downcast_ref::<rustls::Error>())
        {
            return Error::Tls {
                address: self.address.to_owned(),
                message: tls::explain(error),
            };
        }
        let is_connect = causes.iter().any(|cause| {
            let hyper = cause.downcast_ref::<hyper_util::client::legacy::Error>();
            hyper.is_some_and(hyper_util::client::legacy::Error::is_connect)
        });
        // The last cause is the plainest: those above it only say that a request failed.
        let message = causes.last().map_or_else(String::new, ToString::to_string);
        match is_connect {
            true => Error::Connect {
                address: self.address.to_owned(),
                message,
            },
            false => self.broken(message),
        }
    }

    /// The connection broke, or what came over it makes no sense.
    pub(super) fn broken(self, message: impl Into<String>) -> Error {
        Error::Broken {
            address: self.address.to_owned(),
            call: self.call,
            message: message.into(),
        }
    }

    /// The engine answered with an error status.
    pub(super) fn refused(self, status: u16, message: String) -> Error {
        match status {
            404 => Error::NotFound { message },
            409 => Error::Conflict { message },
            400 if message.contains(PLAIN_ON_TLS) => Error::Tls {
                address: self.address.to_owned(),
                message: "the engine speaks TLS only: give tls.ca, tls.cert and tls.key".into(),
            },
            status => Error::Refused {
                call: self.call,
                status,
                message,
            },
        }
    }
}

/// An error and all that is behind it, also inside I/O errors, which hide their inner error from `source`.
fn causes<'a>(
    error: &'a (dyn Cause + 'static),
) -> impl Iterator<Item = &'a (dyn Cause + 'static)> + 'a {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Cause + 'static) = *error;
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn Cause + 'static));
        inner.or_else(|| error.source())
    })
}

/// Whether the engine refused because another version of its API has to be spoken: it was upgraded or downgraded.
pub(super) fn is_version_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused { status: 400, message, .. } if message.contains("client version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site<'_> = Site {
        address: "tcp://n1:2376",
        call: "start",
    };

    #[test]
    fn a_tls_error_is_found_inside_an_io_error() {
        let tls = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let error = SITE.failed(&io::Error::new(io::ErrorKind::InvalidData, tls));
        assert!(matches!(error, Error::Tls { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("does not accept the client certificate")
        );
    }

    #[test]
    fn what_was_perhaps_sent_is_broken_and_not_connect() {
        let error = SITE.failed(&io::Error::from(io::ErrorKind::ConnectionReset));
        assert!(matches!(error, Error::Broken { .. }), "{error}");
        assert!(error.is_ambiguous());
    }

    #[test]
    fn statuses_become_their_errors() {
        let refused = |status| SITE.refused(status, "text".into());
        assert!(matches!(refused(404), Error::NotFound { .. }));
        assert!(matches!(refused(409), Error::Conflict { .. }));
        assert!(refused(500).is_retryable());
        assert!(!refused(400).is_retryable());
        let tls = SITE.refused(400, format!("{PLAIN_ON_TLS}.\n"));
        assert!(matches!(tls, Error::Tls { .. }));
    }
}
