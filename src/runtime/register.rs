//! Registration: `managers/<name>` tells that a manager lives, for as long as its lease does.

use super::backoff::Backoff;
use super::context::Context;
use super::outage;
use super::plan::encode;
use crate::api::cluster::Manager;
use crate::api::key::Key;
use crate::store::session::Session;
use crate::store::{Compare, Error, LEASE_TTL, Op, Outcome, Txn};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// How long to wait before looking again whether a manager of the same name is gone.
const NAME_TAKEN: Duration = Duration::from_secs(2);

/// Keeps the record until `stop`.
///
/// Two managers of one name take turns: the name is what `spec.manager` of a node compares with, so it has to mean one
/// process.
pub async fn register(context: Context, manager: Manager, mut stop: watch::Receiver<bool>) {
    let mut backoff = Backoff::store(context.clock.seed());
    loop {
        let attempt = async {
            match hold(&context, &manager).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    outage::failed("manager", "registering", &error);
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = attempt => {}
        }
    }
}

/// Registers and waits until the lease is lost.
async fn hold(context: &Context, manager: &Manager) -> Result<(), Error> {
    let session = Session::open(context.kv.clone(), LEASE_TTL, context.boottime()).await?;
    let guard = Guard {
        session: Some(session),
    };
    let key = Key::Manager(manager.name.clone()).full(context.cache.prefix());
    let put = Op::Put {
        key: key.clone(),
        value: encode(manager),
        lease: Some(guard.lease()),
    };
    let txn = Txn {
        compares: vec![Compare::Missing(key)],
        then: vec![put],
        otherwise: Vec::new(),
    };
    match context.kv.txn(txn).await? {
        Outcome::Committed { .. } => guard.lost().await,
        Outcome::Refused { .. } => {
            warn!(
                name = manager.name,
                "another manager of this name lives: give each its own --name"
            );
            tokio::time::sleep(NAME_TAKEN).await;
        }
        // The lease goes with the guard, and the key with the lease.
        Outcome::Unknown { error } => return Err(error),
    }
    Ok(())
}

/// Revokes the lease when registration ends, also in the middle.
struct Guard {
    session: Option<Session>,
}

impl Guard {
    fn lease(&self) -> crate::api::unit::LeaseId {
        self.session
            .as_ref()
            .expect("the session is there until the drop")
            .lease()
    }

    async fn lost(&self) {
        self.session
            .as_ref()
            .expect("the session is there until the drop")
            .lost()
            .await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            crate::spawn::task(async move { session.close().await });
        }
    }
}
