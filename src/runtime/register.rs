//! Registration: `managers/<name>` tells that a manager lives, for as long as its lease does.

use super::backoff::Backoff;
use super::cache::Cache;
use super::context::Context;
use super::outage;
use super::plan::encode;
use crate::api::cluster::Manager;
use crate::api::key::Key;
use crate::api::unit::{LeaseId, Revision};
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
    let mut former = None;
    loop {
        let attempt = async {
            match hold(&context, &manager, &mut former).await {
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

/// Registers and waits until the lease is lost or somebody deleted the record. `former` is the lease of the registration before, which may outlive its
/// session: a store that starts again prolongs all leases. It ends here, so that nobody takes the own name for another's.
async fn hold(
    context: &Context,
    manager: &Manager,
    former: &mut Option<LeaseId>,
) -> Result<(), Error> {
    if let Some(lease) = *former {
        context.kv.revoke(lease).await?;
    }
    let session = Session::open(context.kv.clone(), LEASE_TTL, context.boottime()).await?;
    *former = Some(session.lease());
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
    match context.kv.txn(&txn).await? {
        Outcome::Committed { revision, .. } => {
            tokio::select! {
                biased;
                () = guard.lost() => {}
                () = gone(context, &manager.name, revision) => {}
            }
        }
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

/// Waits until the record that was written at `revision` is gone from the local copy: deleted by hand, its lease lives on.
async fn gone(context: &Context, name: &str, revision: Revision) {
    let mut progress = context.cache.follow();
    let is_gone = || {
        let read = |cache: &Cache| cache.revision >= revision && !cache.managers.contains_key(name);
        context.cache.read(read)
    };
    // The cache is read outside the channel's lock. Its sender lives as long as the context: waiting cannot fail.
    while !is_gone() && progress.changed().await.is_ok() {}
}

/// Revokes the lease when registration ends, also in the middle.
struct Guard {
    session: Option<Session>,
}

impl Guard {
    fn lease(&self) -> LeaseId {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::time::Timestamp;
    use crate::embedded::memory::Memory;
    use crate::runtime::fixture;
    use crate::runtime::watcher::Watcher;
    use crate::sim::clock::SimClock;
    use crate::store::Kv;
    use std::sync::Arc;

    const KEY: &str = "/skep/managers/m1";

    /// A store in which the name is held by a lease that ends in a day.
    async fn held() -> (Memory, LeaseId) {
        let store = Memory::new();
        let day = Duration::from_secs(86_400);
        let lease = store.grant(day).await.unwrap().id;
        let put = Op::Put {
            key: KEY.into(),
            value: Vec::new(),
            lease: Some(lease),
        };
        let txn = Txn {
            compares: Vec::new(),
            then: vec![put],
            otherwise: Vec::new(),
        };
        store.txn(&txn).await.unwrap();
        (store, lease)
    }

    fn manager() -> Manager {
        Manager {
            name: "m1".into(),
            hostname: "h".into(),
            version: "0.1.0".into(),
            controllers: Vec::new(),
            metrics: None,
            started_at: Timestamp(0),
        }
    }

    /// Whose the name is after a manager whose former lease is this one tried to register.
    async fn holder(store: &Memory, mut former: Option<LeaseId>) -> LeaseId {
        let context = fixture::context(store, Arc::new(SimClock::new(1)));
        let manager = manager();
        let trying = hold(&context, &manager, &mut former);
        // Long enough for one attempt, and for a session to be kept alive.
        let _ = tokio::time::timeout(2 * LEASE_TTL, trying).await;
        store.get(KEY).unwrap().lease
    }

    #[tokio::test(start_paused = true)]
    async fn a_former_lease_of_ours_is_no_other_manager() {
        let (store, lease) = held().await;
        assert_ne!(holder(&store, Some(lease)).await, lease);
        assert!(!store.leases().contains(&lease));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_somebody_deleted_comes_back_though_its_lease_lives() {
        let store = Memory::new();
        let context = fixture::context(&store, Arc::new(SimClock::new(1)));
        let (_stop, stopped) = watch::channel(false);
        let watcher = Watcher::new(context.kv.clone(), context.cache.clone(), 1);
        tokio::spawn(watcher.run(stopped.clone()));
        tokio::spawn(register(context, manager(), stopped));
        tokio::time::sleep(2 * LEASE_TTL).await;
        assert!(store.get(KEY).is_some());
        store.delete(KEY);
        tokio::time::sleep(2 * LEASE_TTL).await;
        assert!(store.get(KEY).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_another_manager_holds_is_left_to_it() {
        let (store, lease) = held().await;
        assert_eq!(holder(&store, None).await, lease);
    }
}
