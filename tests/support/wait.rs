//! Waiting for a state of something real, with a deadline.

use std::time::Duration;

/// How often a state is looked at.
const PERIOD: Duration = Duration::from_millis(50);

/// Waits until `check` answers something, and gives it back.
///
/// # Panics
/// It did not within `deadline`; the message names `what` was waited for.
pub(crate) async fn until<T>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> T {
    let wait = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(PERIOD).await;
        }
    };
    match tokio::time::timeout(deadline, wait).await {
        Ok(found) => found,
        Err(_) => panic!("waited {deadline:?} in vain until {what}"),
    }
}
