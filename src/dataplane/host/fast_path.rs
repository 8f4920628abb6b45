//! Whether the kernel hands frames on from link to link.

use crate::dataplane::netlink::message::{Attributes, flag};
use crate::dataplane::netlink::socket::Socket;
use crate::dataplane::nftables::diff::diff;
use crate::dataplane::nftables::encode;
use crate::dataplane::nftables::fast_path::sample;
use crate::dataplane::nftables::ruleset::Ruleset;
use rustix::io::Errno;
use rustix::system::uname;

/// Before 6.11 what leaves a link is not always seen as what it is: without "netfilter: nf_tables: set transport offset from
/// mac header for netdev/egress" (6.7) ports of IPv6 are read in the wrong place, and without "netfilter: nf_tables: restore IP
/// sanity checks for netdev/egress" (6.11) the shortest datagrams have no ports. Some older kernels have both; they do not
/// say so.
const SINCE: (u32, u32) = (6, 11);

/// Whether a release such as `6.12.48+deb13-amd64` is as new as that.
fn is_new_enough(release: &str) -> bool {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    let (Some(major), Some(minor)) = (next(), next()) else {
        return false;
    };
    (major, minor) >= SINCE
}

/// Asks the kernel by a batch that has one of everything and ends in what it must refuse: nothing of it is done, and what
/// it refused says how far it came.
pub(super) fn is_there(socket: &mut Socket) -> bool {
    let name = uname();
    if !name.release().to_str().is_ok_and(is_new_enough) {
        return false;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_apart_by_their_releases() {
        for new in [
            "6.11.0",
            "6.12.48+deb13-amd64",
            "6.18.44-fc-v1045",
            "7.0-rc1",
        ] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in [
            "4.18.0-553.el8_10.x86_64",
            "5.15.0-91-generic",
            "6.1.0-18-amd64",
            "6.9.3",
            "six",
        ] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}
