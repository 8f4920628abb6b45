//! A kernel in memory, with the manners of a real one that plans must respect.
//!
//! What belongs to a link goes with it; a new hardware address takes even permanent neighbours along; nothing can be put
//! on a link that is not there, and nothing that is there can be made again.

use super::{Error, Host};
use crate::dataplane::address::Version;
use crate::dataplane::connections::{Connection, Tracked};
use crate::dataplane::kernel::{Kernel, Link, Place};
use crate::dataplane::netlink;
use crate::dataplane::nftables::apply::{Misfit, apply};
use crate::dataplane::nftables::diff::{Change, Step};
use crate::dataplane::nftables::ruleset::Family;
use crate::dataplane::plan::Operation;
use crate::dataplane::xtables::Standing;
use rustix::io::Errno;

/// A kernel in memory, which has IPv6 unless it is told otherwise.
#[derive(Clone, Debug)]
pub struct Memory {
    /// What it holds.
    pub kernel: Kernel,
    /// Connections that it tracks.
    pub tracked: Vec<Connection>,
    /// Operations that it still does before it refuses everything; `None`: it never does.
    pub budget: Option<usize>,
    /// How often it was looked at.
    pub looks: usize,
}

impl Default for Memory {
    fn default() -> Self {
        let kernel = Kernel {
            has_ipv6: true,
            ..Kernel::default()
        };
        Self {
            kernel,
            tracked: Vec::new(),
            budget: None,
            looks: 0,
        }
    }
}

fn refused(doing: &str, errno: Errno) -> Error {
    let doing = doing.to_owned();
    netlink::Error { doing, errno }.into()
}

fn exists(doing: &str, is_there: bool) -> Result<(), Error> {
    match is_there {
        true => Err(refused(doing, Errno::EXIST)),
        false => Ok(()),
    }
}

impl Host for Memory {
    fn look(&mut self) -> Result<Kernel, Error> {
        self.looks += 1;
        Ok(self.kernel.clone())
    }

    fn act(&mut self, operation: &Operation) -> Result<(), Error> {
        if let Some(left) = &mut self.budget {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| refused("go on", Errno::INTR))?;
        }
        let kernel = &mut self.kernel;
        match operation {
            Operation::Tables(changes) => return tables(kernel, changes),
            // What packets put is not kept.
            Operation::Remember(..) => {}
            Operation::AddLink(name, link) => return add_link(kernel, name, link),
            Operation::SetLink(name, link) => return set_link(kernel, name, link),
            Operation::DeleteLink(name) => {
                has(kernel, name)?;
                kernel.forget(name);
            }
            Operation::AddAddress(link, address) => {
                has(kernel, link)?;
                let is_new = kernel.addresses.insert((link.clone(), *address));
                return exists("add an address", !is_new);
            }
            Operation::DeleteAddress(link, address) => {
                kernel.addresses.remove(&(link.clone(), *address));
            }
            Operation::PutForwarding(key, target) => {
                let own = kernel.links.get(&key.link);
                let is_port = kernel.hairpins.contains_key(&key.link);
                if own.is_none() && !is_port {
                    return Err(Error::NoLink(key.link.clone()));
                }
                let is_alone = own.is_some_and(|own| own.bridge.is_none());
                if key.place == Place::Bridge && is_alone {
                    return Err(refused("put an entry of a bridge", Errno::INVAL));
                }
                kernel.forwarding.insert(key.clone(), *target);
            }
            Operation::DeleteForwarding(key) => {
                kernel.forwarding.remove(key);
            }
            Operation::PutNeighbour(link, address, mac) => {
                has(kernel, link)?;
                kernel.neighbours.insert((link.clone(), *address), *mac);
            }
            Operation::DeleteNeighbour(link, address) => {
                kernel.neighbours.remove(&(link.clone(), *address));
            }
            Operation::PutRoute(table, to, route) => {
                let link = kernel.links.get(&route.link);
                let link = link.ok_or_else(|| Error::NoLink(route.link.clone()))?;
                if !link.is_up {
                    return Err(refused("put a route", Errno::NETDOWN));
                }
                kernel.routes.insert((*table, *to), route.clone());
            }
            Operation::DeleteRoute(table, to, _) => {
                kernel.routes.remove(&(*table, *to));
            }
            Operation::AddRule(rule) => {
                let is_new = kernel.rules.insert(*rule);
                return exists("add a rule", !is_new);
            }
            Operation::DeleteRule(rule) => {
                kernel.rules.remove(rule);
            }
            Operation::Set(path, value) => {
                kernel.settings.insert(path.clone(), value.clone());
            }
            Operation::Legacy(version, is_wanted) => {
                if let Some(standing) = kernel.legacy.get_mut(version) {
                    *standing = match is_wanted {
                        true => Standing::InPlace,
                        false => Standing::Missing,
                    };
                }
            }
            Operation::SetHairpin(port) => {
                kernel.hairpins.insert(port.clone(), true);
            }
        }
        Ok(())
    }

    fn connections(&mut self) -> Result<Vec<Connection>, Error> {
        Ok(self.tracked.clone())
    }

    fn tracked(&mut self) -> Option<Tracked> {
        Some(Tracked {
            count: self.tracked.len() as u64,
            limit: 262_144,
        })
    }

    fn cut(&mut self, connection: &Connection) -> Result<(), Error> {
        self.tracked.retain(|tracked| tracked != connection);
        Ok(())
    }
}

fn has(kernel: &Kernel, link: &str) -> Result<(), Error> {
    match kernel.links.contains_key(link) {
        true => Ok(()),
        false => Err(Error::NoLink(link.to_owned())),
    }
}

fn add_link(kernel: &mut Kernel, name: &str, link: &Link) -> Result<(), Error> {
    exists("add a link", kernel.links.contains_key(name))?;
    if let Some(bridge) = &link.bridge {
        has(kernel, bridge)?;
    }
    kernel.links.insert(name.to_owned(), link.clone());
    // Unlike a real one it gives a name the same number again.
    let number = |number: u32, byte: u8| number.wrapping_mul(31).wrapping_add(byte.into());
    let index = name.bytes().fold(1, number);
    kernel.indexes.insert(name.to_owned(), index);
    Ok(())
}

fn set_link(kernel: &mut Kernel, name: &str, link: &Link) -> Result<(), Error> {
    let present = kernel.links.get(name);
    let present = present.ok_or_else(|| Error::NoLink(name.to_owned()))?;
    if present.kind != link.kind {
        return Err(refused("change what a link is", Errno::OPNOTSUPP));
    }
    if present.mac != link.mac || !present.is_up {
        kernel.neighbours.retain(|(of, _), _| of != name);
        kernel.routes.retain(|_, route| route.link != name);
    }
    if present.bridge != link.bridge {
        kernel
            .forwarding
            .retain(|key, _| key.link != name || key.place != Place::Bridge);
    }
    kernel.links.insert(name.to_owned(), link.clone());
    Ok(())
}

/// All changes or none.
fn tables(kernel: &mut Kernel, changes: &[Change]) -> Result<(), Error> {
    let mut next = kernel.tables.clone();
    for Change { table, step } in changes {
        if let Step::AddChain(_, Some(hook)) = step
            && let Some(device) = &hook.device
            && !kernel.indexes.contains_key(device)
        {
            return Err(missing());
        }
        match step {
            Step::AddTable => {
                next.entry(table.clone()).or_default();
            }
            Step::DeleteTable => {
                next.remove(table).ok_or_else(missing)?;
            }
            Step::PrependRule(..) | Step::DeleteRule(..) => guests(kernel, table.family, step),
            _ => {
                let table = next.get_mut(table).ok_or_else(missing)?;
                apply(table, step).map_err(|misfit| match misfit {
                    Misfit::Exists => refused("change tables", Errno::EXIST),
                    Misfit::Missing => missing(),
                })?;
            }
        }
    }
    kernel.tables = next;
    Ok(())
}

fn missing() -> Error {
    refused("change tables", Errno::NOENT)
}

/// The handle of a rule of ours that was put into one of Docker's chains.
const HANDLE: u64 = 1;

/// Docker's chains are not kept whole: only what there is of ours.
fn guests(kernel: &mut Kernel, family: Family, step: &Step) {
    let of_family = |((version, _), _): &(&(Version, _), _)| Family::of(*version) == family;
    for ((_, chain), found) in kernel.guests.iter_mut().filter(of_family) {
        match step {
            Step::PrependRule(name, _) if name == chain.name() => found.first = Some(HANDLE),
            Step::DeleteRule(name, handle) if name == chain.name() => {
                found.others.retain(|other| other != handle);
                found.first = found.first.filter(|first| first != handle);
            }
            _ => {}
        }
    }
}
