//! The keys that operations are about: few, so that they meet; with prefixes of each other and bytes at both ends.
//!
//! Together with the probe they are twelve: up to twelve results etcd keeps equal ones in the order of keys when it sorts.

/// What [`crate::peer::Peer::level`] writes.
pub(crate) const PROBE: &str = "~probe";

/// All keys but the probe.
pub(crate) const KEYS: [&[u8]; 11] = [
    b"a", b"aa", b"ab", b"a\0", b"b", b"ba", b"c", b"d", b"\0", b"\xff", b"m/n",
];
