//! The settings of a kernel, as paths below `/proc/sys`: what they should be for a state, and which of them matter. Pure.

use super::address::Version;
use super::kernel::{Kernel, Link, LinkKind, bridge_name, is_ours, tunnel_name};
use super::state::State;
use std::collections::BTreeMap;

/// Settings of the whole namespace: routers forward, and do not tell tasks to go another way (which also eats what the
/// kernel allows itself of ICMP errors). What was found is put back on removal.
const GLOBAL_SETTINGS: [(&str, &str); 2] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
];

/// The same where networks carry IPv6, until none does.
const FORWARDING6: &str = "net/ipv6/conf/all/forwarding";

/// Settings of each bridge of ours: ports answer on the loopback too; a client's way back may be another one (2: loose,
/// which wins over a strict setting of the namespace); no redirects.
const BRIDGE_SETTINGS: [(&str, &str); 3] = [
    ("route_localnet", "1"),
    ("rp_filter", "2"),
    ("send_redirects", "0"),
];

/// Settings of each bridge and VXLAN device of ours of IPv6: whatever new links have on this node, these have addresses and
/// neighbours of it.
const LINK_SETTINGS6: [(&str, &str); 1] = [("disable_ipv6", "0")];

/// Whether and from whom a link takes routes that routers advertise: 1 only on hosts, 2 on routers too.
const TAKES_ROUTES: &str = "accept_ra";

/// The path of a link's setting.
fn setting(version: Version, link: &str, name: &str) -> String {
    let version = match version {
        Version::V4 => "ipv4",
        Version::V6 => "ipv6",
    };
    format!("net/{version}/conf/{link}/{name}")
}

/// The settings that have a bearing on what is wanted, as paths below `/proc/sys`: those of the namespace, of our links, and of
/// those through which others say something.
pub(super) fn settings_of(kernel: &Kernel) -> Vec<String> {
    let global = GLOBAL_SETTINGS.map(|(path, _)| path.to_owned());
    let links = kernel.links.iter();
    let of_links = links.flat_map(|(link, found)| {
        let is_bridge = found.kind == LinkKind::Bridge;
        let own = BRIDGE_SETTINGS.iter().filter(move |_| is_bridge);
        let own = own.map(|(name, _)| setting(Version::V4, link, name));
        let other = LINK_SETTINGS6.map(|(name, _)| setting(Version::V6, link, name));
        own.chain(other)
    });
    let uplinks = kernel.uplinks.iter();
    let uplinks = uplinks.map(|link| setting(Version::V6, link, TAKES_ROUTES));
    let all = global.into_iter().chain([FORWARDING6.to_owned()]);
    all.chain(of_links).chain(uplinks).collect()
}

/// Whether a setting goes with one of our links, and not with what was found before us.
pub(super) fn is_of_ours(path: &str) -> bool {
    path.split('/').nth(3).is_some_and(is_ours)
}

/// Whether it is one of IPv6.
pub(super) fn is_of_ipv6(path: &str) -> bool {
    path.starts_with("net/ipv6/")
}

/// Those that can be as they were found before: a link may have gone with its own.
pub(super) fn restored<'a>(
    found: &Kernel,
    originals: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    let is_there = |path: &String| found.settings.contains_key(path);
    originals.iter().filter(move |(path, _)| is_there(path))
}

/// What settings should be, where these links are ours; `originals` are those that were found before the first that is ours.
pub(super) fn settings(
    state: &State,
    links: &BTreeMap<String, Link>,
    found: &Kernel,
    originals: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let mut settings: Vec<(String, &str)> = Vec::new();
    let global = GLOBAL_SETTINGS.iter();
    settings.extend(global.map(|(path, value)| ((*path).to_owned(), *value)));
    for (vni, network) in &state.networks {
        let bridge = bridge_name(*vni);
        for (name, value) in BRIDGE_SETTINGS {
            settings.push((setting(Version::V4, &bridge, name), value));
        }
        // One that somebody else's number keeps away has no VXLAN device.
        let own = [bridge, tunnel_name(*vni)];
        let is_there = |link: &&String| network.subnet6.is_some() && links.contains_key(*link);
        for link in own.iter().filter(is_there) {
            let wanted = LINK_SETTINGS6.iter();
            settings.extend(wanted.map(|(name, value)| (setting(Version::V6, link, name), *value)));
        }
    }
    if state.carries_ipv6() {
        settings.push((FORWARDING6.to_owned(), "1"));
        // A node that becomes a router forgets its own: those that it had are listened to as before.
        let is_host = found.settings.get(FORWARDING6).is_some_and(|is| is == "0");
        let advertised = found.advertised.iter().filter(|_| is_host);
        let paths = advertised.map(|link| setting(Version::V6, link, TAKES_ROUTES));
        let taken = paths.filter(|path| found.settings.get(path).is_some_and(|is| is == "1"));
        settings.extend(taken.map(|path| (path, "2")));
    } else {
        let others = restored(found, originals).filter(|(path, _)| is_of_ipv6(path));
        settings.extend(others.map(|(path, value)| (path.clone(), value.as_str())));
    }
    let settings = settings.into_iter();
    settings
        .map(|(path, value)| (path, value.to_owned()))
        .collect()
}
