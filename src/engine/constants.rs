//! Deadlines and limits of engine calls, with their reasons.

use std::time::Duration;

/// The oldest API that is spoken: Docker Engine 20.10. Everything that skep needs of an engine is in it.
pub const OLDEST_API: (u64, u64) = (1, 41);

/// The newest API that is spoken: Docker Engine 28.3. 1.52 takes fields away that older engines need.
pub const NEWEST_API: (u64, u64) = (1, 51);

/// A call that only looks or flips a switch. Long for an engine at ease, short enough that a frozen one is noticed.
pub const CALL: Duration = Duration::from_secs(10);

/// TCP and TLS handshakes: three retransmissions of a SYN (at 1 s and 3 s) do not fit, two do.
pub const CONNECT: Duration = Duration::from_secs(3);

/// Nothing new from a pull for so long: a large layer unpacks silently for minutes on a slow disk.
pub const PULL_SILENCE: Duration = Duration::from_secs(600);

/// Loading an image: the bytes go over the network and are unpacked before the answer ends.
pub const LOAD: Duration = Duration::from_secs(300);

/// What a stop may take beyond the container's own grace.
pub const STOP_MARGIN: Duration = Duration::from_secs(10);

/// bollard's own timeout: out of the way, for each call has its own deadline, its body included.
pub const BOLLARD_TIMEOUT_SECONDS: u64 = 24 * 3600;

/// The longest answer that is read as a whole: a list of 50,000 containers is about 50 MB.
pub const LONGEST_ANSWER: usize = 256 << 20;

/// The longest line of a stream (events, pulls): an event carries all labels of its container.
pub const LONGEST_LINE: usize = 4 << 20;

/// The longest frame of a container's output: engines cut at 16 KiB, a plugin may not.
pub const LONGEST_FRAME: usize = 16 << 20;

/// Idle connections kept per engine: eight creates at once, and the pings.
pub const IDLE_CONNECTIONS: usize = 10;

/// How long an idle connection is kept: below the three minutes after which Go's proxies close theirs.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
