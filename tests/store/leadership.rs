//! Sessions, elections with their fence, claims and batches, on every store.

use crate::support::*;
use skep::api::unit::Revision;
use skep::embedded::fault::Fault;
use skep::embedded::memory::Memory;
use skep::store::batch::{self, Committed, Unit};
use skep::store::election::{Candidate, Claim, Leadership, claim};
use skep::store::list::list;
use skep::store::session::{Boottime, Session};
use skep::store::{Compare, Error, KEEP_ALIVE_INTERVAL, Kv, LEASE_MARGIN, LEASE_TTL};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn candidate(kv: &Arc<dyn Kv>, name: &str) -> Candidate {
    Candidate::new(Arc::clone(kv), "/t/", "service", name, boottime())
}

fn unit(key: &str) -> Unit {
    Unit {
        ops: vec![put(key, "v")],
        ..Unit::default()
    }
}

async fn write(kv: &dyn Kv, leader: &Leadership, key: &str) -> Committed {
    let mut results = batch::commit(kv, &[leader.fence()], vec![unit(key)]).await;
    results.pop().unwrap()
}

#[tokio::test]
async fn one_leads_at_a_time_and_an_old_leader_cannot_write() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let mut first = candidate(&kv, "first");
        let mut second = candidate(&kv, "second");
        let leader = first.campaign().await.unwrap();
        let written = write(kv.as_ref(), &leader, "/t/work/1").await;
        assert!(matches!(written, Committed::Committed(_)), "{written:?}");

        let waiting = tokio::spawn(async move { (second.campaign().await, second) });
        eventually("the second candidate waits", async || {
            list(kv.as_ref(), "/t/election/").await.unwrap().kvs.len() == 2
        })
        .await;
        assert!(!waiting.is_finished());

        // The leader campaigns anew, as after an unknown outcome: its old term ends first, and the other is older.
        let again = tokio::spawn(async move { first.campaign().await });
        let (next, _second) = within("the second leads", waiting).await.unwrap();
        let next = next.unwrap();
        assert!(next.term > leader.term);
        let late = write(kv.as_ref(), &leader, "/t/work/2").await;
        assert_eq!(late, Committed::FenceLost);
        let written = write(kv.as_ref(), &next, "/t/work/3").await;
        let Committed::Committed(written) = written else {
            panic!("{written:?}");
        };

        assert!(!again.is_finished());
        // Somebody else's key: the store's revision rises, and no watch of the prefix hears of it.
        kv.txn(&then(vec![put("/other/1", "v")])).await.unwrap();
        next.resign().await.unwrap();
        let last = within("the first leads again", again)
            .await
            .unwrap()
            .unwrap();
        assert!(last.session.is_valid_now());
        let listing = list(kv.as_ref(), "/t/").await.unwrap();
        let own = listing.kvs.iter().find(|kv| kv.key == last.key).unwrap();
        assert_eq!(
            own.create_revision,
            Revision(last.term.0),
            "the term is the same"
        );
        assert_eq!(own.mod_revision, last.since, "a cache comes to see it");
        assert!(written < last.since, "after all of the leaders before");
        let keys: Vec<String> = listing.kvs.into_iter().map(|kv| kv.key).collect();
        assert_eq!(keys, [last.key.as_str(), "/t/work/1", "/t/work/3"]);
    })
    .await;
}

#[tokio::test]
async fn a_leader_whose_process_is_gone_is_followed_when_its_lease_ends() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let mut first = candidate(&kv, "first");
        first.ttl = Duration::from_secs(2);
        drop(first.campaign().await.unwrap());
        let mut second = candidate(&kv, "second");
        let leader = within("the second leads", second.campaign()).await;
        assert!(leader.unwrap().session.is_valid_now());
    })
    .await;
}

#[tokio::test]
async fn a_session_whose_lease_is_revoked_is_lost() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let session = Session::open(Arc::clone(&kv), LEASE_TTL, boottime());
        let session = session.await.unwrap();
        assert!(session.is_valid_now());
        let before = session.deadline();
        eventually("the lease is renewed", async || session.deadline() > before).await;
        kv.revoke(session.lease()).await.unwrap();
        within("the session is lost", session.lost()).await;
        assert!(!session.is_valid_now());
        session.close().await.unwrap();
    })
    .await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test's own clock, which is paused"
)]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A clock that the test winds.
fn wound() -> (Arc<AtomicU64>, Boottime) {
    let millis = Arc::new(AtomicU64::new(1_000_000));
    let read = Arc::clone(&millis);
    let clock = move || Duration::from_millis(read.load(Ordering::SeqCst));
    (millis, Arc::new(clock))
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_finds_its_session_over_before_it_acts() {
    let store = Memory::new();
    let (clock, boottime) = wound();
    let session = Session::open(Arc::new(store.clone()), LEASE_TTL, boottime);
    let session = session.await.unwrap();
    assert_eq!(
        session.deadline(),
        Duration::from_secs(1_000) + LEASE_TTL - LEASE_MARGIN
    );
    clock.fetch_add(3_999, Ordering::SeqCst);
    assert!(session.is_valid_now());
    clock.fetch_add(1, Ordering::SeqCst);
    assert!(!session.is_valid_now(), "before any timer has fired");
    session.lost().await;
    // The lease itself still lives, but a lost session is not revived.
    assert_eq!(store.leases(), [session.lease()]);
    tokio::time::advance(KEEP_ALIVE_INTERVAL * 2).await;
    assert!(!session.is_valid_now());
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_by_its_own_clock_when_the_store_is_away() {
    let store = Memory::new();
    let started = now();
    let boottime: Boottime = Arc::new(move || started.elapsed());
    let session = Session::open(Arc::new(store.clone()), LEASE_TTL, boottime);
    let session = session.await.unwrap();
    store.set_reachable(false);
    session.lost().await;
    assert_eq!(started.elapsed(), LEASE_TTL - LEASE_MARGIN);
    store.set_reachable(true);
    assert_eq!(
        store.leases(),
        [session.lease()],
        "the store still holds it: the margin"
    );
}

#[tokio::test]
async fn a_key_is_claimed_once() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let lease = kv.grant(LEASE_TTL).await.unwrap().id;
        let key = "/t/shards/000";
        let ours = claim(kv.as_ref(), key, lease, b"me".to_vec())
            .await
            .unwrap();
        let Claim::Ours(term) = ours else {
            panic!("{ours:?}");
        };
        let taken = claim(kv.as_ref(), key, lease, b"you".to_vec())
            .await
            .unwrap();
        let Claim::Taken(Some(holder)) = taken else {
            panic!("{taken:?}");
        };
        assert_eq!(
            (holder.create_revision.0, holder.value),
            (term.0, b"me".to_vec())
        );
    })
    .await;
}

#[tokio::test]
async fn a_conflict_in_a_batch_does_not_hold_up_its_neighbours() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let term = commit(kv.as_ref(), vec![put("/t/leader", "")]).await;
        let taken = commit(kv.as_ref(), vec![put("/t/taken", "")]).await;
        let fence = [Compare::CreatedAt("/t/leader".into(), term)];
        // Each a plan of its own, but for 141, which belongs to the one of 140.
        let plan = |n: usize| if n == 141 { 140 } else { n };
        let mut units: Vec<Unit> = (0..300)
            .map(|n| Unit {
                plan: plan(n),
                ..unit(&format!("/t/{n}"))
            })
            .collect();
        units[140].compares = vec![Compare::Missing("/t/taken".into())];
        units[290].ops = vec![put_leased("/t/290", "", Some(skep::api::unit::LeaseId(99)))];
        let results = batch::commit(kv.as_ref(), &fence, units).await;
        for (n, result) in results.iter().enumerate() {
            match (n, result) {
                (140 | 141, result) => assert_eq!(result, &Committed::Conflict),
                (290, result) => assert_eq!(result, &Committed::Failed(Error::LeaseGone)),
                (_, Committed::Committed(revision)) => assert!(*revision > taken),
                (_, result) => panic!("{n}: {result:?}"),
            }
        }
        // 127 in one, 125 apart, 45 apart.
        let last = list(kv.as_ref(), "/t/").await.unwrap();
        assert_eq!(last.kvs.len(), 299);
        assert_eq!(last.revision, Revision(taken.0 + 1 + 125 + 45));

        commit(kv.as_ref(), vec![delete("/t/leader")]).await;
        let units = (0..130).map(|n| unit(&format!("/t/x{n}"))).collect();
        let results = batch::commit(kv.as_ref(), &fence, units).await;
        assert_eq!(results, vec![Committed::FenceLost; 130]);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_outcome_ends_a_batch() {
    let store = Memory::new();
    store.fail_next(Fault::Lost);
    let units = (0..130).map(|n| unit(&format!("/t/{n}"))).collect();
    let results = batch::commit(&store, &[], units).await;
    let unknown = |result: &&Committed| matches!(result, Committed::Unknown(_));
    let failed = |result: &&Committed| matches!(result, Committed::Failed(_));
    assert_eq!(results.iter().filter(unknown).count(), 127);
    assert_eq!(results.iter().filter(failed).count(), 3);
    assert!(store.dump("/t/").is_empty());
}

#[tokio::test]
async fn a_campaign_after_an_unknown_outcome_makes_the_late_commit_fail() {
    let store = Memory::new();
    let kv: Arc<dyn Kv> = Arc::new(store.clone());
    let mut only = candidate(&kv, "only");
    let leader = only.campaign().await.unwrap();
    store.fail_next(Fault::Late);
    let result = write(kv.as_ref(), &leader, "/t/work").await;
    assert!(matches!(result, Committed::Unknown(_)), "{result:?}");
    let next = only.campaign().await.unwrap();
    assert!(next.term > leader.term);
    assert_eq!(store.apply_late(), 0);
    assert!(store.get("/t/work").is_none());
}
