//! Whether the kernel hands frames on from link to link.

use crate::dataplane::netlink::message::{Attributes, flag};
use crate::dataplane::netlink::socket::Socket;
use crate::dataplane::nftables::diff::diff;
use crate::dataplane::nftables::encode;
use crate::dataplane::nftables::fast_path::sample;
use crate::dataplane::nftables::ruleset::Ruleset;
use rustix::io::Errno;

/// Asks the kernel by a batch that has one of everything and ends in what it must refuse: nothing of it is done, and what
/// it refused says how far it came.
pub(super) fn is_there(socket: &mut Socket) -> bool {
    let sample = sample();
    let mut batch = encode::batch(&diff(&Ruleset::new(), &sample));
    let Some((table, _)) = sample.iter().next() else {
        return false;
    };
    let again = flag::CREATE | flag::EXCL;
    let name = Attributes::new().text(1, &table.name);
    let end = batch.len() - 1;
    batch.insert(end, encode::message(table, encode::NEW_TABLE, again, name));
    let refused = socket.batch("try the fast path", &batch);
    refused.is_err_and(|error| error.errno == Errno::EXIST)
}
