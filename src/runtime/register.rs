//! Registration: `managers/<name>` tells that a manager lives, for as long as its lease does, and whether it saw the store go
//! back: who leads `cluster`, and begins the next life, may be one that has heard of nothing that was lost (rule S6).

use super::backoff::Backoff;
use super::cache::Cache;
use super::context::Context;
use super::outage;
use super::plan::encode;
use crate::api::cluster::Manager;
use crate::api::key::Key;
use crate::api::unit::{Incarnation, LeaseId, Revision};
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
    let mut written = None;
    loop {
        let saw_end_of = context.cache.read(|cache| cache.rewound_in);
        let record = Manager {
            saw_end_of,
            ..manager.clone()
        };
        let put = Op::Put {
            key: key.clone(),
            value: encode(&record),
            lease: Some(guard.lease()),
        };
        let compare = match written {
            None => Compare::Missing(key.clone()),
            Some(revision) => Compare::ModifiedAt(key.clone(), revision),
        };
        let txn = Txn {
            compares: vec![compare],
            then: vec![put],
            otherwise: Vec::new(),
        };
        match context.kv.txn(&txn).await? {
            Outcome::Committed { revision, .. } => {
                tokio::select! {
                    biased;
                    () = guard.lost() => return Ok(()),
                    () = gone(context, &manager.name, revision) => return Ok(()),
                    () = differs(context, saw_end_of) => written = Some(revision),
                }
            }
            // Deleted by hand, or lost with the store: it is written anew.
            Outcome::Refused { .. } if written.is_some() => return Ok(()),
            Outcome::Refused { .. } => {
                warn!(
                    name = manager.name,
                    "another manager of this name lives: give each its own --name"
                );
                tokio::time::sleep(NAME_TAKEN).await;
                return Ok(());
            }
            // The lease goes with the guard, and the key with the lease.
            Outcome::Unknown { error } => return Err(error),
        }
    }
}

/// Waits until something else is known of the end of the store's life.
async fn differs(context: &Context, told: Option<Incarnation>) {
    let mut progress = context.cache.follow();
    let is_told = || context.cache.read(|cache| cache.rewound_in == told);
    // The cache is read outside the channel's lock. Its sender lives as long as the context: waiting cannot fail.
    while is_told() && progress.changed().await.is_ok() {}
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
            saw_end_of: None,
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
    async fn s6_who_saw_the_store_go_back_says_so_until_another_life_begins() {
        let store = Memory::new();
        let context = fixture::context(&store, Arc::new(SimClock::new(1)));
        let (_stop, stopped) = watch::channel(false);
        let record = |incarnation: u64| {
            let id = "0123456789abcdefghijklmno";
            let record = format!(r#"{{"id":"{id}","incarnation":{incarnation},"format":1}}"#);
            store.put("/skep/cluster", record);
        };
        let said = || {
            let record: Manager = serde_json::from_slice(&store.get(KEY)?.value).ok()?;
            record.saw_end_of
        };
        record(4);
        let watcher = Watcher::new(context.kv.clone(), context.cache.clone(), 1);
        tokio::spawn(watcher.run(stopped.clone()));
        tokio::spawn(register(context.clone(), manager(), stopped));
        tokio::time::sleep(2 * LEASE_TTL).await;
        let before = store.get(KEY).expect("it is registered");
        assert_eq!(said(), None);
        let backup = store.revision();
        store.put("/skep/nodes/n1", "lost");
        tokio::time::sleep(LEASE_TTL).await;
        store.rewind(backup).expect("the backup is there");
        tokio::time::sleep(LEASE_TTL).await;
        assert_eq!(said(), Some(Incarnation(4)));
        let lease = store.get(KEY).expect("it is registered").lease;
        assert_eq!(lease, before.lease, "it was never gone");
        record(5);
        tokio::time::sleep(LEASE_TTL).await;
        assert_eq!(said(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_another_manager_holds_is_left_to_it() {
        let (store, lease) = held().await;
        assert_eq!(holder(&store, None).await, lease);
    }
}
