//! What a network may say.

use super::super::network::NetworkSpec;
use super::super::path::Path;
use super::{Found, Refusal};
use std::net::IpAddr;

/// The least packet that IPv6 allows, and IPv4 in practice needs.
const LEAST_MTU: u32 = 1280;

/// All that is wrong with a network.
pub fn network(spec: &NetworkSpec) -> Vec<Refusal> {
    let mut found = Found::default();
    found.one_of(Path::of("driver"), Some(&spec.driver), &["overlay"]);
    found.refuse_if(
        spec.mtu != 0 && !(LEAST_MTU..=65_535).contains(&spec.mtu),
        || Path::of("mtu"),
        format!("expected 0 (found from the underlay) or {LEAST_MTU} to 65535"),
    );
    let mut seen: Vec<(usize, IpAddr, u8)> = Vec::new();
    for (index, text) in spec.subnets.iter().enumerate() {
        let path = Path::of("subnets").index(index);
        match subnet(text) {
            Err(message) => found.refuse(path, message),
            Ok((address, bits)) => {
                let overlaps = |(_, other, other_bits): &&(usize, IpAddr, u8)| {
                    masked(address, bits.min(*other_bits)) == masked(*other, bits.min(*other_bits))
                        && address.is_ipv4() == other.is_ipv4()
                };
                if let Some((first, ..)) = seen.iter().find(overlaps) {
                    found.refuse(path, format!("overlaps subnets[{first}]"));
                }
                seen.push((index, address, bits));
            }
        }
    }
    found.0
}

/// Reads `10.1.0.0/16`.
fn subnet(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("`{text}` is no subnet: write 10.1.0.0/16");
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits: u8 = bits.parse().map_err(|_| wrong())?;
    let (least, most) = if address.is_ipv4() {
        (8, 30)
    } else {
        (16, 126)
    };
    if !(least..=most).contains(&bits) {
        return Err(format!(
            "`{text}`: expected a length from /{least} to /{most}"
        ));
    }
    if masked(address, bits) != number(address) {
        return Err(format!(
            "`{text}` has bits behind its length: write the network's own address"
        ));
    }
    Ok((address, bits))
}

/// The address as a number in the upper bits.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    }
}

fn masked(address: IpAddr, bits: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    number(address) & mask
}
