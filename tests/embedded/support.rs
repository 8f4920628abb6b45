//! Waiting for a state.

use crate::PATIENCE;
use std::time::Duration;

/// Waits until `state` holds.
pub(crate) async fn eventually(what: &str, mut state: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !state().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, wait).await;
    assert!(done.is_ok(), "after {PATIENCE:?} still not: {what}");
}
