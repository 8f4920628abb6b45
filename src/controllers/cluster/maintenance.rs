//! The store's upkeep while this process leads: compaction, and a warning before the store is full (rule S8).

use super::Compaction;
use crate::api::cluster::Severity;
use crate::api::key::Key;
use crate::api::unit::Bytes;
use crate::runtime::clock::Clock;
use crate::runtime::outage;
use crate::runtime::plan::{Note, Plan};
use crate::store::{Error, Kv, RangeRequest, StoreStatus};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::info;

/// The store is looked at this often: ten samples for each compaction.
const LOOK: Duration = Duration::from_secs(30);
/// etcd's limit unless `--quota-backend-bytes` says otherwise.
const DEFAULT_QUOTA: u64 = 2 << 30;
/// Warned at this share, in percent: the rest leaves days to act.
const NEARLY_FULL: u64 = 80;

/// What the upkeep needs.
pub struct Maintenance {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The prefix of skep's keys.
    pub prefix: String,
    /// False: somebody else compacts (`--no-compact`).
    pub compacts: bool,
    /// The store's limit in bytes (`--store-quota`); none: what the store says, else etcd's default.
    pub quota: Option<u64>,
    /// Where observations go: metrics and the event recorder.
    pub report: Box<dyn Fn(StoreReport) + Send + Sync>,
}

/// What was seen of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReport {
    /// Bytes on disk.
    pub db_size: u64,
    /// Bytes in use.
    pub db_in_use: u64,
    /// The limit that is reckoned with, in bytes.
    pub quota: u64,
    /// Events; each is told once until its cause is gone.
    pub notes: Vec<Note>,
}

/// What was told already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    nearly_full: bool,
    alarm: bool,
}

/// Keeps the store while `leads` is true, until `stop`.
pub async fn maintain(
    upkeep: Maintenance,
    leads: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = run(&upkeep, leads) => {}
    }
}

async fn run(upkeep: &Maintenance, mut leads: watch::Receiver<bool>) {
    let mut told = Told::default();
    // A term of leadership begins with an empty memory: it compacts after five minutes at the earliest.
    while leads.wait_for(|leads| *leads).await.is_ok() {
        let mut compaction = Compaction::default();
        while *leads.borrow() {
            if let Err(error) = look(upkeep, &mut compaction, &mut told).await {
                outage::failed("cluster", "looking after the store", &error);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn look(
    upkeep: &Maintenance,
    compaction: &mut Compaction,
    told: &mut Told,
) -> Result<(), Error> {
    let status = upkeep.kv.status().await?;
    let report = judge(&status, upkeep.quota, told);
    (upkeep.report)(report);
    let request = RangeRequest::key(Key::Cluster.full(&upkeep.prefix));
    let found = upkeep.kv.range(request).await?;
    let record = found.kvs.first();
    let record = record.map(|record| (record.create_revision, record.mod_revision));
    let target = compaction.look(upkeep.clock.now().since_boot, found.revision, record);
    if let Some(target) = target.filter(|_| upkeep.compacts) {
        upkeep.kv.compact(target).await?;
        info!(revision = %target, "compacted the store");
    }
    Ok(())
}

/// What to tell of the store's size.
fn judge(status: &StoreStatus, quota: Option<u64>, told: &mut Told) -> StoreReport {
    let (quota, origin) = match (quota, status.quota.filter(|quota| *quota > 0)) {
        (Some(quota), _) => (quota, "--store-quota"),
        (None, Some(quota)) => (quota, "as the store says"),
        (None, None) => (DEFAULT_QUOTA, "etcd's default; --store-quota gives another"),
    };
    let now = Told {
        nearly_full: status.db_size.saturating_mul(100) >= quota.saturating_mul(NEARLY_FULL),
        alarm: !status.alarms.is_empty(),
    };
    let mut plan = Plan::default();
    if now.nearly_full && !told.nearly_full {
        let message = format!(
            "the store has {} of {} ({origin}), {} in use: defragment it (etcdctl defrag), or raise the limit; a full store is read-only",
            Bytes(status.db_size),
            Bytes(quota),
            Bytes(status.db_in_use)
        );
        plan.note(
            Key::Cluster,
            None,
            Severity::Warning,
            "StoreNearlyFull",
            message,
        );
    }
    if now.alarm && !told.alarm {
        let message = format!(
            "the store raises {}: it refuses writes until it is mended and the alarm is disarmed (etcdctl alarm disarm)",
            status.alarms.join(", ")
        );
        plan.note(Key::Cluster, None, Severity::Warning, "StoreAlarm", message);
    }
    *told = now;
    StoreReport {
        db_size: status.db_size,
        db_in_use: status.db_in_use,
        quota,
        notes: plan.notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[u64], quota: Option<u64>, expected: &[usize]) {
        let mut told = Told::default();
        let notes: Vec<usize> = sizes
            .iter()
            .map(|size| {
                let status = StoreStatus {
                    db_size: *size,
                    ..StoreStatus::default()
                };
                judge(&status, quota, &mut told).notes.len()
            })
            .collect();
        assert_eq!(notes, expected, "{sizes:?} of {quota:?}");
    }

    #[test]
    fn a_nearly_full_store_is_told_of_once_until_there_is_room() {
        check(&[10, 79, 80, 81, 99], Some(100), &[0, 0, 1, 0, 0]);
        check(&[80, 50, 80], Some(100), &[1, 0, 1]);
    }

    #[test]
    fn without_a_limit_etcds_own_is_reckoned_with() {
        check(&[1 << 30, 2 << 30], None, &[0, 1]);
    }

    #[test]
    fn an_alarm_is_told_of_once() {
        let mut told = Told::default();
        let status = StoreStatus {
            alarms: vec!["NOSPACE".into()],
            ..StoreStatus::default()
        };
        assert_eq!(
            judge(&status, None, &mut told).notes[0].reason,
            "StoreAlarm"
        );
        assert_eq!(judge(&status, None, &mut told).notes, Vec::new());
    }
}
