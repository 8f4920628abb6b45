//! The numbers of the store, each with its reason.

use std::time::Duration;

/// How long a lease lives without a keep-alive. A new leader starts within this after a crash; shorter, and an ordinary
/// pause of etcd (an election of its own takes 1 s to 2 s, a slow disk a second) ends healthy terms.
pub const LEASE_TTL: Duration = Duration::from_secs(5);

/// How much earlier than the lease its holder stops acting: clocks that run apart, and an order that is on its way
/// (rule N5). etcd itself ends leases up to 500 ms late, never early.
pub const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Between two keep-alives: three tries fit before the margin of a lease of [`LEASE_TTL`], each with its whole
/// answer time.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long one call to the store may take. A put takes about a millisecond and an election of etcd's up to 2 s; less than
/// LEASE_TTL - LEASE_MARGIN, so that a session survives one call that got lost.
pub const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// How long a connection may take to come about: a dead endpoint must leave time to ask another within
/// [`STORE_DEADLINE`].
pub const CONNECT_DEADLINE: Duration = Duration::from_millis(700);

/// Between two pings of the transport while a call or a watch is open. etcd closes the connection of a client that pings
/// more often than every 5 s (`--grpc-keepalive-min-time`; GOAWAY "too many pings" after the third, seen with 3.4.23), or
/// at all while nothing is open. So an idle watch notices a frozen server after this and [`PING_DEADLINE`]; sooner when a
/// call, such as a session's keep-alive, runs into [`STORE_DEADLINE`], which ends the endpoint's watches too.
pub const PING_INTERVAL: Duration = Duration::from_secs(6);

/// How long a ping may take: as long as any other call.
pub const PING_DEADLINE: Duration = Duration::from_secs(2);

/// The largest answer that is taken. etcd sends up to 2 GiB; the client's usual 4 MiB breaks large lists and the
/// replay of a watch.
pub const MAX_MESSAGE: usize = 1 << 30;

/// Keys per page of a list. Values are at most 512 KiB and nearly all below 4 KiB: a page is a few megabytes and arrives
/// well within [`STORE_DEADLINE`], and 10,000 tasks are ten pages.
pub const PAGE: i64 = 1_000;

/// etcd refuses larger transactions by default (`--max-txn-ops`): 128, one of which is left for the fence.
pub const BATCH_OPERATIONS: usize = 127;

/// etcd refuses requests of more than 1.5 MiB (`--max-request-bytes`); a third is left for what surrounds keys and values.
pub const BATCH_BYTES: usize = 1 << 20;
