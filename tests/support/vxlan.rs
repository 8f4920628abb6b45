//! What nodes send each other, made by hand.

use std::net::Ipv4Addr;

/// A datagram from port 7 to 9000 of a task, without a checksum, in an Ethernet frame in VXLAN (RFC 7348), as a node with this
/// router that routes for `from` would send it.
pub(crate) fn frame(
    vni: u32,
    router: [u8; 6],
    from: Ipv4Addr,
    to: Ipv4Addr,
    text: &[u8],
) -> Vec<u8> {
    let length = |extra: usize| {
        u16::try_from(extra + text.len())
            .expect("a short text")
            .to_be_bytes()
    };
    let mut packet = [&[0x45, 0][..], &length(28), &[0, 1, 0, 0, 64, 17, 0, 0]].concat();
    packet.extend([from.octets(), to.octets()].concat());
    let words = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("ten words carry less");
    packet[10..12].copy_from_slice(&(!sum).to_be_bytes());
    let udp = [&[0, 7, 0x23, 0x28][..], &length(8), &[0, 0], text].concat();
    let ethernet = [&router[..], &[2, 0, 0, 0, 0, 9], &[8, 0]].concat();
    [
        &[8, 0, 0, 0],
        &(vni << 8).to_be_bytes()[..],
        &ethernet,
        &packet,
        &udp,
    ]
    .concat()
}
