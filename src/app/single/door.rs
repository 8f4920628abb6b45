//! The store's own address: which it is, who else has it, and what other machines need to come in.

use super::super::process::{FAILED, USAGE, explain};
use super::arguments::EmbeddedArgs;
use super::home::{self, Denied, Home};
use super::listen::{self, Wish};
use crate::cli::data_dir;
use crate::embedded::server::{Error, Listener, Tls};
use crate::embedded::store::Store;
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use tokio::task::JoinError;

/// Where etcd listens: etcdctl finds the store there without a flag.
const USUAL: ([u8; 4], u16) = ([127, 0, 0, 1], 2379);

/// A bound address.
pub(super) struct Door {
    listener: Listener,
}

/// Locks the data directory, or says who has it and how to reach that.
pub(super) fn home(
    flag: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<Home, (u8, String)> {
    let path = home::path(flag, environment)?;
    Home::take(&path).map_err(|denied| match denied {
        Denied::Failed(why) => (FAILED, why),
        Denied::Taken(holder) => (FAILED, taken(&path, holder)),
    })
}

fn taken(path: &Path, holder: Option<u32>) -> String {
    let who = match holder {
        Some(process) => format!("process {process}"),
        None => "another process".into(),
    };
    let config = fs::read_to_string(path.join(data_dir::CONFIG)).unwrap_or_default();
    let endpoint = config.split('"').nth(1);
    let where_ = endpoint
        .map(|at| format!(", its store is at {at}"))
        .unwrap_or_default();
    format!(
        "{who} runs on {}{where_}: look with `skep status`, stop it there with Ctrl-C, or give this one another --data-dir",
        path.display()
    )
}

impl Door {
    /// Binds the address that was asked for, else the remembered one, else the usual one, or the next port that is free.
    /// Remembers it.
    pub(super) async fn open(args: &EmbeddedArgs, home: &mut Home) -> Result<Self, (u8, String)> {
        let tls = tls(args)?;
        let usual = home
            .remembered
            .listen
            .filter(|known| tls.is_some() || known.ip().is_loopback());
        let usual = usual.unwrap_or(USUAL.into());
        let wish = Wish::new(args.listen, usual);
        let bound = wish.bind(
            async |address| Listener::bind(address, tls.clone()).await,
            |error| matches!(error, Error::Listen { source, .. } if listen::is_taken(source)),
        );
        let listener = bound.await.map_err(refused)?;
        let address = listener.address();
        if address != wish.first() && args.listen.is_none() {
            eprintln!(
                "{} is taken: the store listens on {address}, from now on",
                wish.first()
            );
        }
        home.remembered.listen = Some(address);
        Ok(Self { listener })
    }

    /// The endpoint as clients on this machine write it.
    pub(super) fn endpoint(&self) -> String {
        let url = self.listener.url();
        // Whoever listens everywhere is here, too.
        let url = match self.listener.address() {
            address if address.ip().is_unspecified() => {
                let here: SocketAddr = ([127, 0, 0, 1], address.port()).into();
                url.replace(&address.to_string(), &here.to_string())
            }
            _ => url,
        };
        // etcdctl's way for a store in the clear.
        url.strip_prefix("http://")
            .map(str::to_owned)
            .unwrap_or(url)
    }

    /// Serves until `stop` is done.
    pub(super) async fn serve(
        self,
        store: Store,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        self.listener.serve(store, stop).await
    }
}

/// Why a server ended by itself.
pub(super) fn why(served: Result<Result<(), Error>, JoinError>) -> String {
    match served {
        Ok(Ok(())) => "the store's server ended".into(),
        Ok(Err(error)) => explain(&error),
        Err(error) => error.to_string(),
    }
}

fn refused(error: Error) -> (u8, String) {
    match error {
        Error::Unprotected(address) => (
            USAGE,
            format!(
                "{address} can be reached from other machines: give --tls-cert FILE, --tls-key FILE and --tls-ca FILE (who signed the certificates of clients), or listen on 127.0.0.1"
            ),
        ),
        error => (
            FAILED,
            format!("{}; give another address with --listen", explain(&error)),
        ),
    }
}

fn tls(args: &EmbeddedArgs) -> Result<Option<Tls>, (u8, String)> {
    let (Some(ca), Some(cert), Some(key)) = (&args.tls_ca, &args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let read = |path: &Path| {
        let failed = |error| (FAILED, format!("cannot read {}: {error}", path.display()));
        fs::read(path).map_err(failed)
    };
    Ok(Some(Tls {
        certificate: read(cert)?,
        key: read(key)?,
        client_authority: read(ca)?,
    }))
}
