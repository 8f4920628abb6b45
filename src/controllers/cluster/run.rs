//! The controller's wiring in a manager: its memory, its loop, and the store's upkeep while it leads.

use super::{ClusterController, Maintenance, ProcessMemory, maintain};
use crate::api::uid::Uid;
use crate::metrics::list;
use crate::runtime::cache::Cache;
use crate::runtime::context::Context;
use crate::runtime::controller::Controller;
use crate::runtime::reconciler;
use std::sync::Arc;
use tokio::sync::watch;

/// Settings of the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The id of a cluster that lost its store (`--cluster-id`).
    pub id: Option<Uid>,
    /// Somebody else compacts the store (`--no-compact`).
    pub no_compact: bool,
    /// The store's limit in bytes (`--store-quota`); none: what the store says, else etcd's default.
    pub quota: Option<u64>,
}

/// Runs the controller and the store's upkeep until `stop`.
pub async fn run(settings: Settings, context: Context, stop: watch::Receiver<bool>) {
    let memory = Arc::new(ProcessMemory::new(settings.id.clone()));
    let (leading, leads) = watch::channel(false);
    let observe = {
        let (memory, manager) = (memory.clone(), context.manager.clone());
        let metrics = context.metrics.clone();
        move |cache: &Cache| {
            memory.observe(cache);
            let is_ours = |holder: &str| holder == manager;
            let leader = cache.leader(ClusterController::NAME);
            let leads = leader.is_some_and(|(_, holder)| is_ours(&holder.manager));
            if leading.send_replace(leads) && !leads {
                // The next leader measures the store: what was seen here is history.
                for family in [&list::STORE_SIZE, &list::STORE_IN_USE, &list::STORE_QUOTA] {
                    metrics.reset(family);
                }
            }
        }
    };
    context.cache.read(&observe);
    // Also while another process leads: only so can this one write back what it knew after a wipe.
    let _subscription = context.cache.subscribe(move |cache, _| observe(cache));
    let upkeep = upkeep(&settings, &context);
    let controller = Arc::new(ClusterController::new(memory));
    futures::join!(
        reconciler::run(controller, context, stop.clone()),
        maintain(upkeep, leads, stop),
    );
}

fn upkeep(settings: &Settings, context: &Context) -> Maintenance {
    let (metrics, recorder) = (context.metrics.clone(), context.recorder.clone());
    Maintenance {
        kv: context.kv.clone(),
        clock: context.clock.clone(),
        prefix: context.cache.prefix().to_owned(),
        compacts: !settings.no_compact,
        quota: settings.quota,
        report: Box::new(move |report| {
            metrics.set(&list::STORE_SIZE, &[], report.db_size as f64);
            metrics.set(&list::STORE_IN_USE, &[], report.db_in_use as f64);
            metrics.set(&list::STORE_QUOTA, &[], report.quota as f64);
            recorder.record(ClusterController::NAME, report.notes);
        }),
    }
}
