//! What a task's container is told of resolvers: the parts of its `HostConfig`. Pure.
//!
//! The engine's embedded resolver stands in front: it answers what it knows itself and asks the servers given here for the
//! rest, in their order, the next one only where one says nothing. So the gateway of the task's first overlay comes first, and
//! is all that is needed: it asks the node's own resolvers for what is not ours. Servers that the user gives follow, for
//! when no agent answers.

use crate::api::container::Dns;
use std::net::Ipv4Addr;

/// Stands for "an option is given": what every C library does anyway.
const OPTION: &str = "attempts:2";

/// `Dns`, `DnsSearch` and `DnsOptions` of a container on overlays, by the gateway of the first of them and what the user
/// asks for.
///
/// Without an option of its own the container gets those of the node's `resolv.conf`. Where `ndots` is among them, whatever its
/// number, engine 20.10 says that single-label names like `web` have no address, and asks nobody; newer ones do where it is
/// above 0. So one option is always given, and it is not `ndots`; a user who asks for `ndots` gets that.
pub fn dns(gateway: Ipv4Addr, asked: &Dns) -> Dns {
    let gateway = gateway.to_string();
    let others = asked.servers.iter().filter(|server| **server != gateway);
    Dns {
        servers: [&gateway].into_iter().chain(others).cloned().collect(),
        search: asked.search.clone(),
        options: match asked.options.is_empty() {
            true => vec![OPTION.to_owned()],
            false => asked.options.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_asked_first_and_an_option_that_is_not_ndots_is_always_given() {
        let gateway = Ipv4Addr::new(10, 64, 1, 1);
        let plain = dns(gateway, &Dns::default());
        assert_eq!(plain.servers, ["10.64.1.1"]);
        assert_eq!(plain.options, ["attempts:2"]);
        let asked = Dns {
            servers: vec!["192.0.2.1".into(), "10.64.1.1".into()],
            search: vec!["example.com".into()],
            options: vec!["timeout:1".into()],
        };
        let given = dns(gateway, &asked);
        assert_eq!(given.servers, ["10.64.1.1", "192.0.2.1"]);
        assert_eq!((given.search, given.options), (asked.search, asked.options));
    }
}
