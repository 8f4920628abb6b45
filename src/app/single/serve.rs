//! `skep store serve`: the embedded store alone, for tests and for people who want it apart from the manager.

use super::super::process::{Ended, FAILED, ended, environment, explain, start_logs};
use super::arguments::ServeArgs;
use super::door::{self, Door};
use super::plane;

/// Serves the store of a data directory until the process is told to end.
///
/// The directory is that of `skep up`, one after the other: the store, its address and the lock are the same.
pub(in crate::app) async fn serve(args: ServeArgs) -> Ended {
    start_logs(args.log_json);
    let mut home = door::home(args.store.data_dir.as_deref(), &environment())?;
    let door = Door::open(&args.store, &mut home).await?;
    home.remember()?;
    home.announce(&door.endpoint())?;
    let store = plane::open(&home, args.store.quota.0, args.store.salvage).await?;
    println!("store {}", door.endpoint());
    let served = door.serve(store.clone(), ended()).await;
    store.stop().await;
    served.map_err(|error| (FAILED, explain(&error)))
}
