//! The kernel that this process runs on, in the network namespace that it was opened in.

use super::legacy::Legacy;
use super::{Error, Host, fast_path, listeners};
use crate::dataplane::address::Version;
use crate::dataplane::connections::{Connection, Tracked};
use crate::dataplane::constants::{MARK, MARK_MASK, RULE_BEHIND, RULE_PAST, TABLE};
use crate::dataplane::kernel::{
    Action, Forwarding, Kernel, Link, LinkKind, Other, Route, Rule, is_ours,
};
use crate::dataplane::netlink::message::Message;
use crate::dataplane::netlink::route::{self, kind};
use crate::dataplane::netlink::socket::{Family as Protocol, Socket};
use crate::dataplane::netlink::{self, conntrack};
use crate::dataplane::nftables::decode::{self, Listed};
use crate::dataplane::nftables::ruleset::{Family, Ruleset, Set, Table, TableName};
use crate::dataplane::nftables::{answers, encode, guest};
use crate::dataplane::plan::Operation;
use crate::dataplane::settings::settings_of;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;

/// The kernel.
#[derive(Debug)]
pub struct Linux {
    route: Socket,
    filter: Socket,
    legacy: Vec<Legacy>,
    /// The indexes of links as they were seen last.
    indexes: BTreeMap<String, u32>,
    has_fast_path: bool,
}

impl Linux {
    /// The kernel, for the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel has no netlink.
    pub fn open() -> Result<Self, Error> {
        let mut filter = Socket::open(Protocol::Netfilter, 0)?;
        Ok(Self {
            route: Socket::open(Protocol::Route, 0)?,
            has_fast_path: fast_path::is_there(&mut filter),
            filter,
            legacy: Legacy::open()?,
            indexes: BTreeMap::new(),
        })
    }

    /// The same as one that hands no frames on from link to link.
    #[must_use]
    pub fn on_bridges(self) -> Self {
        let has_fast_path = false;
        Self {
            has_fast_path,
            ..self
        }
    }

    /// The links by index.
    fn links(&mut self) -> Result<BTreeMap<u32, route::Listed>, Error> {
        let mut links = BTreeMap::new();
        self.route
            .dump("list links", &route::list_links(), |_, body| {
                if let Some(link) = route::link(body) {
                    links.insert(link.index, link);
                }
            })?;
        let named = links.values().map(|link| (link.name.clone(), link.index));
        self.indexes = named.collect();
        Ok(links)
    }

    /// The index of a link.
    fn index(&self, name: &str) -> Result<u32, Error> {
        let found = self.indexes.get(name).copied();
        found.ok_or_else(|| Error::NoLink(name.to_owned()))
    }

    fn list_addresses(&mut self, names: &Names, kernel: &mut Kernel) -> Result<(), Error> {
        let mut found = Vec::new();
        for version in versions(kernel.has_ipv6) {
            let list = route::list(kind::GET_ADDRESS, version);
            self.route.dump("list addresses", &list, |_, body| {
                found.extend(route::listed_address(body))
            })?;
        }
        for (index, subnet) in found {
            let Some(found) = names.get(&index) else {
                continue;
            };
            if is_ours(&found.name) {
                kernel.addresses.insert((found.name.clone(), subnet));
            } else {
                kernel.others.insert(Other {
                    link: found.name.clone(),
                    is_bridge: found.is_bridge,
                    subnet,
                    mtu: found.mtu,
                });
            }
        }
        Ok(())
    }

    fn list_neighbours(&mut self, names: &Names, kernel: &mut Kernel) -> Result<(), Error> {
        let ours = |index: u32| Some(names.get(&index)?.name.clone()).filter(|name| is_ours(name));
        for version in versions(kernel.has_ipv6) {
            let list = route::list(kind::GET_NEIGHBOUR, version);
            self.route.dump("list neighbours", &list, |_, body| {
                if let Some((index, address, mac)) = route::neighbour(body)
                    && let Some(name) = ours(index)
                {
                    kernel.neighbours.insert((name, address), mac);
                }
            })?;
        }
        let list = route::list_forwarding();
        let (ports, stations) = (&kernel.hairpins, &mut kernel.stations);
        let forwarding = &mut kernel.forwarding;
        self.route
            .dump("list forwarding entries", &list, |_, body| {
                let named = |index: u32| Some(names.get(&index)?.name.clone());
                if let Some((index, mac, place, target)) = route::forwarding(body)
                    && let Some(link) = named(index)
                    && (is_ours(&link) || mac.is_of_container() && ports.contains_key(&link))
                {
                    forwarding.insert(Forwarding { link, mac, place }, target);
                }
                if let Some((index, mac, master)) = route::station(body)
                    && let (Some(port), Some(bridge)) = (named(index), ours(master))
                    && ports.contains_key(&port)
                {
                    stations.insert((bridge, mac), port);
                }
            })?;
        Ok(())
    }

    fn list_routes(
        &mut self,
        version: Version,
        names: &Names,
        kernel: &mut Kernel,
    ) -> Result<(), Error> {
        let list = route::list(kind::GET_ROUTE, version);
        self.route.dump("list routes", &list, |_, body| {
            if let Some(index) = route::advertised(body)
                && let Some(link) = names.get(&index).map(|found| found.name.clone())
            {
                kernel.advertised.insert(link);
            }
            if let Some((table, to, gateway, index)) = route::route(body)
                && table & MARK_MASK == MARK
            {
                let link = names
                    .get(&index)
                    .map(|found| found.name.clone())
                    .unwrap_or_default();
                kernel.routes.insert((table, to), Route { gateway, link });
            } else if let Some((to, index)) = route::way(body) {
                let link = names.get(&index).map(|found| found.name.clone());
                let link = link.unwrap_or_default();
                if !is_ours(&link) {
                    kernel.ways.insert((to, link));
                }
            }
        })?;
        let list = route::list(kind::GET_RULE, version);
        self.route.dump("list rules", &list, |_, body| {
            kernel.rules.extend(route::rule(body).filter(is_our_rule));
        })?;
        Ok(())
    }

    fn list_tables(&mut self) -> Result<Ruleset, Error> {
        let mut ruleset = Ruleset::new();
        for family in Family::ALL {
            let mut is_there = false;
            let list = decode::list(family, Listed::Tables, &[]);
            self.filter.dump("list tables", &list, |_, body| {
                is_there |= decode::name(body, 1) == TABLE
            })?;
            if is_there {
                let name = TABLE.to_owned();
                let table = self.list_table(family)?;
                ruleset.insert(TableName { family, name }, table);
            }
        }
        Ok(ruleset)
    }

    fn list_table(&mut self, family: Family) -> Result<Table, Error> {
        let mut table = Table::default();
        let list = decode::list(family, Listed::Chains, &[]);
        self.filter.dump("list chains", &list, |_, body| {
            if decode::name(body, 1) == TABLE {
                table.chains.extend([decode::chain(body)]);
            }
        })?;
        let list = decode::list(family, Listed::Rules, &[TABLE]);
        self.filter.dump("list rules", &list, |_, body| {
            let listed = decode::rule(body);
            if let Some(chain) = table.chains.get_mut(&listed.chain)
                && decode::name(body, 1) == TABLE
            {
                chain.rules.push(listed.rule);
            }
        })?;
        let list = decode::list(family, Listed::Sets, &[TABLE]);
        self.filter.dump("list sets", &list, |_, body| {
            table.sets.extend([decode::set(body)])
        })?;
        let own = |(_, set): &(&String, &mut Set)| !set.shape.is_dynamic();
        for (name, set) in table.sets.iter_mut().filter(own) {
            let list = decode::list(family, Listed::Elements, &[TABLE, name]);
            let mut raw = Vec::new();
            self.filter.dump("list elements", &list, |_, body| {
                raw.extend(decode::elements(body))
            })?;
            set.elements = decode::joined(set.shape, raw);
        }
        Ok(table)
    }

    /// Chains of Docker's that are there.
    fn list_guests(&mut self, version: Version, kernel: &mut Kernel) -> Result<(), Error> {
        let family = Family::of(version);
        let mut chains = Vec::new();
        let list = decode::list(family, Listed::Chains, &[]);
        self.filter.dump("list chains", &list, |_, body| {
            chains.push((decode::name(body, 1), decode::name(body, 3)));
        })?;
        let is_there = |chain: &guest::Chain| {
            let name = (chain.table().to_owned(), chain.name().to_owned());
            chains.contains(&name)
        };
        for chain in guest::Chain::ALL.into_iter().filter(is_there) {
            let list = decode::list(family, Listed::Rules, &[chain.table(), chain.name()]);
            let mut rules = Vec::new();
            self.filter.dump("list rules", &list, |_, body| {
                if decode::name(body, 1) == chain.table() && decode::name(body, 2) == chain.name() {
                    rules.push(decode::rule(body));
                }
            })?;
            let found = guest::find(chain, &rules);
            kernel.guests.insert((version, chain), found);
        }
        Ok(())
    }

    /// The message for an operation on an entry: those that come by the thousand.
    fn entry(&self, operation: &Operation) -> Result<Option<Message>, Error> {
        Ok(Some(match operation {
            Operation::PutForwarding(key, target) => {
                let index = self.index(&key.link)?;
                route::put_forwarding(index, key.mac, *target, !is_ours(&key.link))
            }
            Operation::DeleteForwarding(key) => {
                route::delete_forwarding(self.index(&key.link)?, key.mac, key.place)
            }
            Operation::PutNeighbour(link, address, mac) => {
                route::put_neighbour(self.index(link)?, *address, *mac)
            }
            Operation::DeleteNeighbour(link, address) => {
                route::delete_neighbour(self.index(link)?, *address)
            }
            _ => return Ok(None),
        }))
    }

    fn change_entries(&mut self, messages: Vec<Message>) -> Result<(), Error> {
        let doing = "change neighbours and forwarding entries";
        Ok(self.route.requests(doing, messages)?)
    }

    fn put_link(&mut self, name: &str, link: &Link) -> Result<(), Error> {
        let index = self.index(name)?;
        let bridge = match &link.bridge {
            Some(bridge) => self.index(bridge)?,
            None => 0,
        };
        self.route.request(
            &format!("change the link {name}"),
            route::set_link(index, link, bridge),
        )?;
        if bridge != 0 {
            let switch = route::set_port(index, route::LEARNING, link.is_learned_from);
            self.route
                .request(&format!("change the port {name}"), switch)?;
        }
        Ok(())
    }
}

/// What addresses, neighbours and routes have to know of their links, by index.
type Names = BTreeMap<u32, Named>;

struct Named {
    name: String,
    is_bridge: bool,
    mtu: u32,
}

fn is_our_rule(rule: &Rule) -> bool {
    match rule.action {
        Action::Table(table) => table & MARK_MASK == MARK,
        Action::Goto(to) => rule.priority == RULE_PAST && to == RULE_BEHIND,
        Action::Nothing => rule.priority == RULE_BEHIND,
    }
}

/// The one link of every namespace that leads nowhere else.
const LOOPBACK: &str = "lo";

/// What belongs to the links: ours, and the ports of ours.
fn sort(links: BTreeMap<u32, route::Listed>, kernel: &mut Kernel) -> Names {
    let named = |listed: &route::Listed| Named {
        name: listed.name.clone(),
        is_bridge: listed.link.kind == LinkKind::Bridge,
        mtu: listed.mtu,
    };
    let names: Names = links
        .values()
        .map(|listed| (listed.index, named(listed)))
        .collect();
    for listed in links.into_values() {
        let parent = names.get(&listed.parent).map(|found| found.name.clone());
        if parent.is_none() && !is_ours(&listed.name) && listed.name != LOOPBACK {
            kernel.uplinks.insert(listed.name.clone());
        }
        if is_ours(&listed.name) {
            let link = Link {
                bridge: parent,
                ..listed.link
            };
            kernel.indexes.insert(listed.name.clone(), listed.index);
            kernel.links.insert(listed.name, link);
        } else if let LinkKind::Tunnel(tunnel) = listed.link.kind {
            kernel.rivals.insert(listed.name, tunnel);
        } else if let (Some(hairpin), Some(bridge)) =
            (listed.hairpin, parent.filter(|name| is_ours(name)))
        {
            kernel.indexes.insert(listed.name.clone(), listed.index);
            kernel.ports.insert(listed.name.clone(), bridge);
            kernel.hairpins.insert(listed.name, hairpin);
        }
    }
    names
}

/// Whether the kernel has IPv6: one that was started without it (`ipv6.disable`) has no settings of it.
fn has_ipv6() -> bool {
    file("net/ipv6/conf").is_dir()
}

/// The versions that there are. A kernel without IPv6 refuses some of the questions about it, and answers others as if they were
/// about everything.
fn versions(has_ipv6: bool) -> impl Iterator<Item = Version> {
    let all = Version::ALL.into_iter();
    all.filter(move |version| *version == Version::V4 || has_ipv6)
}

/// Where a setting is.
fn file(path: &str) -> std::path::PathBuf {
    Path::new("/proc/sys").join(path)
}

fn read_settings(kernel: &mut Kernel) {
    for path in settings_of(kernel) {
        // One that cannot be read is not as it should be: writing it says why.
        if let Ok(value) = std::fs::read_to_string(file(&path)) {
            kernel.settings.insert(path, value.trim().to_owned());
        }
    }
}

impl Host for Linux {
    fn look(&mut self) -> Result<Kernel, Error> {
        let mut kernel = Kernel {
            has_ipv6: has_ipv6(),
            has_fast_path: self.has_fast_path,
            ..Kernel::default()
        };
        let links = self.links()?;
        let names = sort(links, &mut kernel);
        self.list_addresses(&names, &mut kernel)?;
        self.list_neighbours(&names, &mut kernel)?;
        for version in versions(kernel.has_ipv6) {
            self.list_routes(version, &names, &mut kernel)?;
            self.list_guests(version, &mut kernel)?;
        }
        read_settings(&mut kernel);
        kernel.tables = self.list_tables()?;
        for legacy in &self.legacy {
            let standing = legacy.look()?;
            let standing = standing.map(|standing| (legacy.version(), standing));
            kernel.legacy.extend(standing);
        }
        kernel.listeners = listeners::read();
        Ok(kernel)
    }

    fn act(&mut self, operation: &Operation) -> Result<(), Error> {
        let (doing, message) = match operation {
            Operation::Tables(changes) => {
                let batch = encode::batch(changes);
                return Ok(self.filter.batch("change nf_tables", &batch)?);
            }
            Operation::Remember(family, within) => {
                let changes = answers::remembered(&self.connections()?, *family, within);
                let batch = encode::batch(&changes);
                return Ok(self.filter.batch("remember connections", &batch)?);
            }
            Operation::AddLink(name, link) => {
                self.route.request(
                    &format!("make the link {name}"),
                    route::add_link(name, link),
                )?;
                self.links()?;
                return self.put_link(name, link);
            }
            Operation::SetLink(name, link) => return self.put_link(name, link),
            Operation::Set(path, value) => {
                return std::fs::write(file(path), value).map_err(|source| Error::Setting {
                    path: path.clone(),
                    source,
                });
            }
            Operation::Legacy(version, is_wanted) => {
                let mut all = self.legacy.iter();
                let legacy = all.find(|legacy| legacy.version() == *version);
                return legacy.map_or(Ok(()), |legacy| legacy.mend(*is_wanted));
            }
            Operation::DeleteLink(name) => ("delete a link", route::delete_link(self.index(name)?)),
            Operation::AddAddress(link, address) => (
                "add an address",
                route::set_address(self.index(link)?, *address, true),
            ),
            Operation::DeleteAddress(link, address) => (
                "delete an address",
                route::set_address(self.index(link)?, *address, false),
            ),
            Operation::PutForwarding(..)
            | Operation::DeleteForwarding(_)
            | Operation::PutNeighbour(..)
            | Operation::DeleteNeighbour(..) => {
                let message = self.entry(operation)?;
                return self.change_entries(message.into_iter().collect());
            }
            Operation::PutRoute(table, to, route) => {
                let through = (route.gateway, self.index(&route.link)?);
                ("put a route", route::set_route(*table, *to, through, true))
            }
            Operation::DeleteRoute(table, to, route) => {
                let through = (route.gateway, self.index(&route.link)?);
                (
                    "delete a route",
                    route::set_route(*table, *to, through, false),
                )
            }
            Operation::AddRule(rule) => ("add a rule", route::set_rule(rule, true)),
            Operation::DeleteRule(rule) => ("delete a rule", route::set_rule(rule, false)),
            Operation::SetHairpin(port) => (
                "change a port",
                route::set_port(self.index(port)?, route::HAIRPIN, true),
            ),
        };
        Ok(self.route.request(doing, message)?)
    }

    fn act_all(&mut self, operations: &[Operation]) -> Result<(), Error> {
        let mut row = Vec::new();
        for operation in operations {
            match self.entry(operation)? {
                Some(message) => row.push(message),
                None => {
                    self.change_entries(std::mem::take(&mut row))?;
                    self.act(operation)?;
                }
            }
        }
        self.change_entries(row)
    }

    fn connections(&mut self) -> Result<Vec<Connection>, Error> {
        let mut found = Vec::new();
        for version in versions(has_ipv6()) {
            let list = conntrack::list(version);
            self.filter.dump("list connections", &list, |_, body| {
                found.extend(conntrack::connection(body));
            })?;
        }
        Ok(found)
    }

    fn tracked(&mut self) -> Option<Tracked> {
        let read = |name: &str| {
            let text = std::fs::read_to_string(file(&format!("net/netfilter/{name}"))).ok()?;
            text.trim().parse().ok()
        };
        Some(Tracked {
            count: read("nf_conntrack_count")?,
            limit: read("nf_conntrack_max")?,
        })
    }

    fn cut(&mut self, connection: &Connection) -> Result<(), Error> {
        match self
            .filter
            .request("forget a connection", conntrack::delete(connection))
        {
            Err(netlink::Error {
                errno: Errno::NOENT,
                ..
            }) => Ok(()),
            result => Ok(result?),
        }
    }
}
