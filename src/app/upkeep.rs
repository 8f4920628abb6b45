//! The cluster's upkeep in one manager: its identity, and the store's maintenance while it leads.

use crate::api::unit::Bytes;
use crate::controllers::cluster::{
    self, ClusterController, Maintenance, ProcessMemory, Refusal, StoreReport,
};
use crate::metrics::list;
use crate::runtime::context::Context;
use crate::runtime::reconciler;
use crate::runtime::shared::SharedCache;
use std::sync::Arc;
use tokio::sync::watch;

/// Settings of controller `cluster`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Somebody else compacts the store (`--no-compact`).
    pub no_compact: bool,
    /// The store's limit (`--store-quota`); none: what it says itself, else etcd's default.
    pub quota: Option<Bytes>,
}

/// Runs the controller, and the maintenance while it leads, until `stop`.
pub(super) async fn run(
    settings: Settings,
    memory: Arc<ProcessMemory>,
    context: Context,
    stop: watch::Receiver<bool>,
) {
    let (leads, leading) = watch::channel(false);
    let reporting = context.clone();
    let maintenance = Maintenance {
        kv: context.kv.clone(),
        clock: context.clock.clone(),
        prefix: context.cache.prefix().to_owned(),
        compacts: !settings.no_compact,
        quota: settings.quota.map(|quota| quota.0),
        report: Box::new(move |report| publish(&reporting, report)),
    };
    let controller = Arc::new(ClusterController::new(memory));
    tokio::join!(
        reconciler::run_and_tell(controller, context, stop.clone(), leads),
        cluster::maintain(maintenance, leading, stop),
    );
}

fn publish(context: &Context, report: StoreReport) {
    context
        .metrics
        .set(&list::STORE_SIZE, &[], report.db_size as f64);
    context
        .metrics
        .set(&list::STORE_IN_USE, &[], report.db_in_use as f64);
    context
        .metrics
        .set(&list::STORE_QUOTA, &[], report.quota as f64);
    context.recorder.record("cluster", report.notes);
}

/// Remembers what this process served, whoever leads; returns once it must not work on the store any more.
pub(super) async fn refused(cache: &Arc<SharedCache>, memory: &Arc<ProcessMemory>) -> Refusal {
    let mut progress = cache.follow();
    loop {
        let refusal = cache.read(|cache| {
            memory.observe(cache);
            cluster::refusal(cache, memory.known().as_ref())
        });
        if let Some(refusal) = refusal {
            return refusal;
        }
        if progress.changed().await.is_err() {
            // The cache outlives this: there is nothing left to refuse.
            std::future::pending::<()>().await;
        }
    }
}
