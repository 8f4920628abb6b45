//! What a network may say.

use super::super::network::NetworkSpec;
use super::super::path::Path;
use super::super::subnet::{Address, Cidr, Cidr6, Dual, NODES6, Subnet};
use super::{Found, Refusal};
use std::net::Ipv6Addr;

/// The least packet that IPv6 allows, and IPv4 in practice needs.
const LEAST_MTU: u32 = 1280;

/// Subnets of IPv6 that mean something else on every host: addresses of no network (nobody's, loopback's, those of IPv4 in
/// other words), link-local, multicast, and where nodes speak from.
const RESERVED6: [Cidr6; 4] = [
    reserved(0, 8),
    reserved(0xfe80, 10),
    reserved(0xff00, 8),
    NODES6,
];

const fn reserved(first: u16, length: u8) -> Cidr6 {
    let address = Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0);
    Cidr6 { address, length }
}

/// All that is wrong with a network.
pub fn network(spec: &NetworkSpec) -> Vec<Refusal> {
    let mut found = Found::default();
    found.one_of(Path::of("driver"), Some(&spec.driver), &["overlay"]);
    found.refuse_if(
        spec.mtu != 0 && !(LEAST_MTU..=65_535).contains(&spec.mtu),
        || Path::of("mtu"),
        format!("expected 0 (found from the underlay) or {LEAST_MTU} to 65535"),
    );
    let (mut subnet, mut subnet6) = (None, None);
    for (index, text) in spec.subnets.iter().enumerate() {
        let read = match text.contains(':') {
            false => version4(text).and_then(|read| first("IPv4", &mut subnet, index, read)),
            true => version6(text).and_then(|read| first("IPv6", &mut subnet6, index, read)),
        };
        if let Err(message) = read {
            found.refuse(Path::of("subnets").index(index), message);
        }
    }
    if let (Some((_, subnet)), Some((index, subnet6))) = (subnet, subnet6) {
        let dual = Dual { subnet, subnet6 };
        found.refuse_if(
            !dual.fits(),
            || Path::of("subnets").index(index),
            format!(
                "{subnet6} has fewer addresses than {subnet}, and each of that goes with one of it"
            ),
        );
    }
    found.0
}

/// Keeps the first subnet of a version; a second one is refused.
fn first<A: Address>(
    version: &str,
    kept: &mut Option<(usize, Subnet<A>)>,
    index: usize,
    read: Subnet<A>,
) -> Result<(), String> {
    match kept {
        Some((first, _)) => Err(format!(
            "a network has one subnet of {version}, and subnets[{first}] is one"
        )),
        None => {
            *kept = Some((index, read));
            Ok(())
        }
    }
}

fn version4(text: &str) -> Result<Cidr, String> {
    subnet(text, 8, 30)
}

fn version6(text: &str) -> Result<Cidr6, String> {
    let subnet: Cidr6 = subnet(text, 16, 120)?;
    let mut reserved = RESERVED6.into_iter();
    match reserved.find(|reserved| reserved.overlaps(subnet)) {
        Some(reserved) => Err(format!(
            "`{text}` overlaps {reserved}, which no network can have"
        )),
        None => Ok(subnet),
    }
}

/// Reads `10.1.0.0/16` or `fd00:1:2:3::/64`.
fn subnet<A: Address>(text: &str, least: u8, most: u8) -> Result<Subnet<A>, String> {
    let subnet: Subnet<A> = text.parse()?;
    if !(least..=most).contains(&subnet.length) {
        return Err(format!(
            "`{text}`: expected a length from /{least} to /{most}"
        ));
    }
    if !subnet.is_subnet() {
        return Err(format!(
            "`{text}` has bits behind its length: write the network's own address"
        ));
    }
    Ok(subnet)
}
