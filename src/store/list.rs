//! Lists at one revision, in pages (rule S2), and the store's newest revision (rule S6).

use super::{Error, KeyValue, Kv, PAGE, RangeRequest};
use crate::api::unit::Revision;

/// How often a list begins anew when it is compacted under way. Compaction runs every 5 minutes and a page takes
/// milliseconds: a second time is chance, a fourth is a store that somebody compacts in a loop.
const ATTEMPTS: usize = 4;

/// What a prefix held at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The revision of all of it. A watch goes on from the next.
    pub revision: Revision,
    /// The keys in ascending order.
    pub kvs: Vec<KeyValue>,
}

/// Lists all keys below `prefix` at one revision: the first page linearizable, the others at its revision.
///
/// # Errors
/// The store cannot be reached or refuses, or is compacted again and again while this lists.
pub async fn list(kv: &dyn Kv, prefix: &str) -> Result<Listing, Error> {
    list_in_pages(kv, prefix, PAGE).await
}

/// [`list`] with pages of so many keys.
///
/// # Errors
/// As [`list`].
pub async fn list_in_pages(kv: &dyn Kv, prefix: &str, page: i64) -> Result<Listing, Error> {
    let mut attempt = 1;
    loop {
        match list_once(kv, prefix, page).await {
            Err(Error::Compacted { .. }) if attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

async fn list_once(kv: &dyn Kv, prefix: &str, page: i64) -> Result<Listing, Error> {
    let mut request = RangeRequest {
        limit: page,
        ..RangeRequest::prefix(prefix)
    };
    let first = kv.range(request.clone()).await?;
    let revision = first.revision;
    let mut more = first.more;
    let mut kvs = first.kvs;
    request.revision = Some(revision);
    while more {
        let last = kvs.last().expect("a page that was cut holds a key");
        // The first key that can follow it.
        request.key = format!("{}\0", last.key);
        let next = kv.range(request.clone()).await?;
        more = next.more;
        kvs.extend(next.kvs);
    }
    Ok(Listing { revision, kvs })
}

/// The store's newest revision, read linearizably. Reads the key `prefix` itself, which users that may read only what is
/// below it may read as well.
///
/// # Errors
/// The store cannot be reached or refuses.
pub async fn latest_revision(kv: &dyn Kv, prefix: &str) -> Result<Revision, Error> {
    let key = if prefix.is_empty() { "\0" } else { prefix };
    Ok(kv.range(RangeRequest::key(key)).await?.revision)
}
