//! Which resolvers the node itself asks, from its `resolv.conf`. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// As many as the C library reads.
const MOST: usize = 3;

/// The resolvers in a `resolv.conf`, but those that are ourselves: they would ask us in turn. None: nobody can be asked.
pub fn resolvers(text: &str, own: &BTreeSet<Ipv4Addr>) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next())?
    });
    // An address of one link only, with its interface behind, is none that can be read.
    let addresses = servers.filter_map(|word| word.parse::<IpAddr>().ok());
    let others = addresses
        .map(|address| match address {
            // As the C library does.
            IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            address => address,
        })
        .filter(|address| match address {
            IpAddr::V4(address) => !own.contains(address),
            IpAddr::V6(_) => true,
        });
    others
        .take(MOST)
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_c_library_reads_them_and_ourselves_left_out() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\nnameserver 10.64.1.1\n nameserver\t192.0.2.1 # first\n\
                    nameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserver 0.0.0.0\nnameserver 192.0.2.4\noptions ndots:0\nnameserver";
        let own = BTreeSet::from([Ipv4Addr::new(10, 64, 1, 1)]);
        let found: Vec<String> = resolvers(text, &own)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "127.0.0.1:53"]);
        assert_eq!(resolvers("nameserver 10.64.1.1\n", &own), []);
        assert_eq!(resolvers("", &own), []);
    }
}
