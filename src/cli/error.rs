//! What a verb could not do, and the exit code that says so.

use crate::store::config::ConfigError;
use crate::{engine, store};
use std::io;

/// A failed verb.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The store did not do what was asked.
    #[error("the store could not be used")]
    Store(#[source] store::Error),
    /// An engine could not be reached or refused, and what to do.
    #[error("node {node}")]
    Engine {
        /// The node.
        node: String,
        /// From where it can be reached.
        hint: String,
        /// What was seen.
        #[source]
        source: engine::Error,
    },
    /// What was asked is wrong or not possible.
    #[error("{message}")]
    Refused {
        /// What and why.
        message: String,
        /// What to do; empty: nothing to add.
        hint: String,
    },
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Accepted, and not there yet.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// A change was halted.
    #[error("{0}")]
    RolloutFailed(String),
    /// A write whose outcome nobody knows.
    #[error("the outcome of the write is unknown: it may have happened, or happen later")]
    Unknown(#[source] store::Error),
    /// Standard output or input failed.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// A command in a container could not be run; the code is 125, 126 or 127.
    #[error("{message}")]
    Exec {
        /// The exit code.
        code: u8,
        /// What and why.
        message: String,
    },
    /// All that there is to say has been said.
    #[error("exit code {0}")]
    Said(u8),
}

impl Error {
    /// A refusal without advice.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            hint: String::new(),
        }
    }

    /// A refusal that says what to do.
    pub(super) fn advised(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The code that the process ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) | Self::Unknown(error) if is_unreachable(error) => 3,
            Self::Store(_) | Self::Unknown(_) | Self::Refused { .. } => 1,
            Self::Engine { source, .. } if source.is_retryable() => 3,
            Self::Engine { source, .. } => match source {
                engine::Error::Config { .. } => 3,
                _ => 1,
            },
            Self::Usage(_) => 2,
            Self::TimedOut(_) => 4,
            Self::RolloutFailed(_) => 5,
            Self::Output(_) => 1,
            Self::Exec { code, .. } | Self::Said(code) => *code,
        }
    }

    /// Whether nothing answers where the store should be.
    pub(super) fn is_store_away(&self) -> bool {
        matches!(
            self,
            Self::Store(store::Error::Unreachable { .. } | store::Error::Timeout { .. })
        )
    }

    /// What to do about it; empty: nothing to add.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Store(store::Error::Denied { .. }) => {
                "look at --user, --cacert, --cert and --key, or SKEP_* and ETCDCTL_* variables"
                    .into()
            }
            Self::Store(store::Error::Other { message }) if message.contains("grpc-status") => {
                "what answers there is not etcd's client port: look at --endpoints".into()
            }
            Self::Store(error) if is_unreachable(error) => {
                "is it running? say where with --endpoints, SKEP_ENDPOINTS or ETCDCTL_ENDPOINTS; one that asks for \
                 TLS hangs up on others: name it https://..., with --cacert"
                    .into()
            }
            Self::Unknown(_) => "look with `skep get` and repeat the command: it is safe".into(),
            Self::Engine { hint, .. } | Self::Refused { hint, .. } => hint.clone(),
            Self::Usage(_) => "see --help".into(),
            Self::TimedOut(_) => {
                "nothing is taken back; `skep why` and `skep status` show what is missing".into()
            }
            Self::Store(_)
            | Self::RolloutFailed(_)
            | Self::Output(_)
            | Self::Exec { .. }
            | Self::Said(_) => String::new(),
        }
    }

    /// The message with its causes, each once.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

fn is_unreachable(error: &store::Error) -> bool {
    match error {
        store::Error::Unreachable { .. }
        | store::Error::Timeout { .. }
        | store::Error::Denied { .. }
        | store::Error::WatchEnded { .. } => true,
        store::Error::Compacted { .. }
        | store::Error::Future { .. }
        | store::Error::Full
        | store::Error::TooLarge { .. }
        | store::Error::LeaseGone
        | store::Error::Other { .. } => false,
    }
}
