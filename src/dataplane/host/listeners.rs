//! Where programs listen, as `/proc/net` lists it: TCP sockets that take connections, UDP sockets that anybody may send to.
//!
//! What listens on IPv6's unspecified address takes IPv4 as well, unless it says otherwise, which the list does not show: it counts
//! for all addresses.

use crate::api::service::Protocol;
use crate::api::unit::Port;
use crate::dataplane::kernel::Listener;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The lists, as files of the thread's network namespace, with the state of what listens: TCP_LISTEN, and TCP_CLOSE for UDP
/// sockets that are not connected (net/tcp_states.h).
const LISTS: [(&str, Protocol, &str); 4] = [
    ("tcp", Protocol::Tcp, "0A"),
    ("tcp6", Protocol::Tcp, "0A"),
    ("udp", Protocol::Udp, "07"),
    ("udp6", Protocol::Udp, "07"),
];

/// All that listen. A list that is not there (a kernel without IPv6) is empty.
pub(super) fn read() -> BTreeSet<Listener> {
    let mut found = BTreeSet::new();
    for (name, protocol, state) in LISTS {
        let Ok(file) = File::open(format!("/proc/thread-self/net/{name}")) else {
            continue;
        };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        found.extend(listening(lines, protocol, state));
    }
    found
}

/// Those of a list. The kernel lists what takes connections of TCP before the connections, which may be many and are not read.
fn listening(
    lines: impl Iterator<Item = String>,
    protocol: Protocol,
    state: &str,
) -> Vec<Listener> {
    let is_first = |line: &String| protocol == Protocol::Udp || field(line, 3) == Some(state);
    let lines = lines.skip(1).take_while(is_first);
    let listening = lines.filter(|line| field(line, 3) == Some(state));
    listening
        .filter_map(|line| listener(&line, protocol))
        .collect()
}

fn field(line: &str, place: usize) -> Option<&str> {
    line.split_ascii_whitespace().nth(place)
}

/// A line's own address and port, in hexadecimal digits; an address is of 32-bit words in the machine's order.
fn listener(line: &str, protocol: Protocol) -> Option<Listener> {
    let (address, port) = field(line, 1)?.split_once(':')?;
    let words: Option<Vec<u32>> = (0..address.len() / 8)
        .map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok())
        .collect();
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::from(Ipv4Addr::from(bytes)),
        // One of IPv4 may be written as one of IPv6.
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
    };
    Some(Listener {
        protocol,
        port: Port(u16::from_str_radix(port, 16).ok()?),
        address: (!address.is_unspecified()).then_some(address),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(protocol: Protocol, state: &str, lines: &[&str], expected: &[&str]) {
        let lines = ["  sl  local_address rem_address   st"].iter().chain(lines);
        let found = listening(lines.map(|line| (*line).to_owned()), protocol, state);
        let shown = found.iter().map(|one| match one.address {
            Some(address) => std::net::SocketAddr::new(address, one.port.0).to_string(),
            None => one.port.to_string(),
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn what_listens_is_read_and_connections_are_not() {
        let tcp = [
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000",
            "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000",
            "   2: 0B00A8C0:0016 0100A8C0:D431 01 00000000:00000000 00:00000000",
            "   3: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000",
        ];
        check(Protocol::Tcp, "0A", &tcp, &["127.0.0.1:8080", "22"]);
        let tcp6 = [
            "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A",
            "   1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A",
            "   2: 0000000000000000FFFF00000B00A8C0:0050 00000000000000000000000000000000:0000 0A",
            "   3: 000080FE00000000FF005450B6CEADFE:0222 00000000000000000000000000000000:0000 0A",
            "   4: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A",
            "   5: B80D01200000000000000000:01BB 00000000000000000000000000000000:0000 0A",
            "   6: 0000000000000000FFFF000000000000:0051 00000000000000000000000000000000:0000 0A",
        ];
        let expected = [
            "22",
            "[::1]:25",
            "192.168.0.11:80",
            "[fe80::5054:ff:fead:ceb6]:546",
            "[2001:db8::1]:443",
            "81",
        ];
        check(Protocol::Tcp, "0A", &tcp6, &expected);
        let udp = [
            "  10: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000",
            "  11: 0B00A8C0:B38E 0100A8C0:0035 01 00000000:00000000 00:00000000",
            "  12: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000",
        ];
        check(Protocol::Udp, "07", &udp, &["127.0.0.53:53", "68"]);
    }

    #[test]
    fn a_program_that_listens_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener {
            protocol: Protocol::Tcp,
            port: Port(socket.local_addr().unwrap().port()),
            address: Some(Ipv4Addr::LOCALHOST.into()),
        };
        assert!(read().contains(&listener), "{listener:?}");
    }
}
