//! etcd's answer to the call Snapshot as a stream of pieces.

use super::failure::Failure;
use crate::store::{BackupStream, Error};
use etcd_client::SnapshotStreaming;
use futures::{StreamExt, stream};
use std::time::Duration;

/// How long the next piece may take: a store of gigabytes is read from its disk before the first, and etcd's disk may be
/// busy for seconds.
const PIECE_DEADLINE: Duration = Duration::from_secs(30);

/// The pieces as they come; the first error is the last item.
pub(super) fn stream(pieces: SnapshotStreaming) -> BackupStream {
    let next = async |pieces: Option<SnapshotStreaming>| {
        let mut pieces = pieces?;
        match piece(&mut pieces).await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(pieces))),
            Err(error) => Some((Err(error), None)),
        }
    };
    stream::unfold(Some(pieces), next).boxed()
}

async fn piece(pieces: &mut SnapshotStreaming) -> Result<Option<Vec<u8>>, Error> {
    let message = tokio::time::timeout(PIECE_DEADLINE, pieces.message()).await;
    let message = message.map_err(|_| Error::Timeout {
        call: "snapshot",
        deadline: PIECE_DEADLINE,
    })?;
    let message = message.map_err(|error| Error::from(Failure::from(error)))?;
    Ok(message.map(|message| message.blob().to_vec()))
}
