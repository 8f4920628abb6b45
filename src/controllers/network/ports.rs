//! Who has which published port: the ledger below `allocations/ports/`. Pure.
//!
//! A port that names its number gets that one, or is refused with who has it; one that leaves it out gets one that nobody
//! asks for. TCP and UDP are apart. A port on one address of nodes and the same port on all meet under different keys: that
//! nobody has both rests on there being one pass at a time, as with subnets.
//!
//! # What else has ports on a node
//!
//! *Ports of mode host.* What services ask for by number is known: such a number is nobody's here, and once it is given
//! out here the scheduler puts no task that wants it on any node. What a task holds on its own node, also a number that its
//! engine chose, is left to it there (`state.rs`): it may have come before the other was known.
//! *Programs of the node itself* keep their ports: agents look for them, and a node leaves out a published port on which one
//! listens there (`dataplane/wanted.rs`), which `PortsReady` says. A number that is chosen is no program's on any node.

use super::ipam::{Refused, claims, spread};
use super::joins;
use crate::api::accepted::AcceptedService;
use crate::api::allocation::{Allocation, Item, Owner};
use crate::api::key::Key;
use crate::api::name::Scoped;
use crate::api::port_range::compact;
use crate::api::published::{CHOSEN, PublishedKey};
use crate::api::service::{PortMode, Protocol, ServicePort};
use crate::api::unit::Port;
use crate::planted::{Bug, planted};
use crate::runtime::allocations::Space;
use crate::runtime::cache::Cache;
use crate::runtime::plan::{Plan, Step};
use crate::runtime::published::{Asked, asked, given, health};
use crate::runtime::runs::Runs;
use crate::runtime::view;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How a published port stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has this number.
    Has(PublishedKey),
    /// It will get one.
    Pending,
    /// It gets none as things are.
    Refused(Refused),
}

/// The ports of mode host that services ask for by number, with the address of each and who asks.
type Hosts<'a> = BTreeMap<(Protocol, Port), Vec<(Option<IpAddr>, &'a Scoped)>>;

/// What is given out, what this pass gives out beside it, and what services ask for in mode host.
struct Ledger<'a> {
    cache: &'a Cache,
    hosts: Hosts<'a>,
    taken: BTreeMap<Protocol, Runs>,
    claims: BTreeMap<PublishedKey, Owner>,
}

/// A port that has no number yet.
struct Lacking<'a> {
    service: &'a Scoped,
    owner: Owner,
    wants: Wants<'a>,
}

/// What it is for.
#[derive(Clone, Copy)]
enum Wants<'a> {
    /// A port of the service.
    Port(&'a ServicePort),
    /// The one that tells of its health.
    Health(PublishedKey),
}

impl Wants<'_> {
    fn is_named(self) -> bool {
        match self {
            Self::Port(port) => port.published.is_some(),
            Self::Health(_) => true,
        }
    }
}

impl<'a> Ledger<'a> {
    fn new(cache: &'a Cache) -> Self {
        let mut hosts: Hosts<'a> = BTreeMap::new();
        for (name, service) in &cache.services {
            for port in &service.spec.ports {
                if let (PortMode::Host, Some(published)) = (port.mode, port.published) {
                    let hosts = hosts.entry((port.protocol, published)).or_default();
                    hosts.push((port.host_ip, name));
                }
            }
        }
        Self {
            cache,
            hosts,
            taken: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }

    /// The number for a port.
    fn find(&mut self, lacking: &Lacking<'_>) -> Result<PublishedKey, Standing> {
        let port = match lacking.wants {
            Wants::Health(key) => return self.named(key, &lacking.owner),
            Wants::Port(port) => port,
        };
        match asked(port) {
            Asked::NotProvided(what) => {
                let message = format!(
                    "port {} asks for {what}, which this version does not provide",
                    port.target
                );
                Err(Standing::Refused(Refused::new("NotProvided", message)))
            }
            Asked::Number(key) => self.named(key, &lacking.owner),
            Asked::Any(protocol, address) => {
                self.any(protocol, address, lacking.service, port.target)
            }
        }
    }

    /// The number that the user gave.
    fn named(&self, key: PublishedKey, owner: &Owner) -> Result<PublishedKey, Standing> {
        let taken = |message| Err(Standing::Refused(Refused::new("PortTaken", message)));
        let allocations = &self.cache.allocations;
        let meeting = allocations.meeting(key);
        let owner_of = |other: &PublishedKey| {
            let stored = allocations.get(&Item::Port(*other));
            stored.map(|stored| &stored.owner)
        };
        let is_own = |other: &&PublishedKey| owner_of(other) == Some(owner);
        if let Some(other) = meeting.iter().find(|other| !is_own(other)) {
            return taken(match owner_of(other) {
                Some(owner) => whose(key, *other, owner),
                None => format!(
                    "{} is held by the key allocations/{}, which cannot be read",
                    shown(key),
                    Item::Port(*other)
                ),
            });
        }
        // What it has itself and asks for no more goes first.
        if !meeting.is_empty() {
            return Err(Standing::Pending);
        }
        let mut claims = self.claims.iter();
        if let Some((other, owner)) = claims.find(|(other, _)| other.meets(&key)) {
            return taken(whose(key, *other, owner));
        }
        let hosts = self.hosts.get(&(key.protocol, key.port));
        let mut hosts = hosts.into_iter().flatten();
        match hosts.find(|(address, _)| key.meets_host(*address)) {
            Some((_, name)) => taken(format!(
                "{} is opened by service {name} on the nodes of its tasks (mode host)",
                shown(key)
            )),
            None => Ok(key),
        }
    }

    /// A number that nobody has or asks for, from a place on that the service's name gives: made anew it has the same.
    fn any(
        &mut self,
        protocol: Protocol,
        address: Option<IpAddr>,
        service: &Scoped,
        target: Port,
    ) -> Result<PublishedKey, Standing> {
        let (first, last) = (u32::from(*CHOSEN.start()), u32::from(*CHOSEN.end()));
        let identity = format!("{service}/{target}");
        let start = first + spread(&identity) % (last - first + 1);
        let runs = self.runs(protocol);
        let after = runs.next_free(start, last, 1);
        let found = after.or_else(|| runs.next_free(first, start, 1));
        let port = found.and_then(|number| u16::try_from(number).ok());
        let none = || {
            let message = format!(
                "all ports from {first} to {last} are taken: name one for port {target} with `published`"
            );
            Standing::Refused(Refused::new("PortsExhausted", message))
        };
        let port = Port(port.ok_or_else(none)?);
        Ok(PublishedKey {
            protocol,
            port,
            address,
        })
    }

    fn runs(&mut self, protocol: Protocol) -> &mut Runs {
        let taken = self.cache.allocations.taken(&Space::Ports(protocol));
        let hosts = self.hosts.keys().filter(|(of, _)| *of == protocol);
        self.taken.entry(protocol).or_insert_with(|| {
            let mut runs = taken.cloned().unwrap_or_default();
            hosts.for_each(|(_, port)| runs.take(port.0.into(), port.0.into()));
            for port in occupied(self.cache, protocol) {
                runs.take(port.0.into(), port.0.into());
            }
            runs
        })
    }

    fn claim(&mut self, key: PublishedKey, owner: &Owner) {
        let number = key.port.0.into();
        self.runs(key.protocol).take(number, number);
        self.claims.insert(key, owner.clone());
    }
}

/// The ports that programs of any node listen on, as far as agents say so.
fn occupied(cache: &Cache, protocol: Protocol) -> impl Iterator<Item = Port> {
    let said = cache
        .nodes
        .keys()
        .filter_map(|node| view::underlay(cache, node));
    let occupied = said.flat_map(|said| &said.occupied);
    occupied
        .filter(move |key| key.protocol == protocol)
        .map(|key| key.port)
}

/// `8080/tcp`, `192.0.2.1:53/udp`.
pub(super) fn shown(key: PublishedKey) -> String {
    compact([key.to_show()]).concat()
}

fn whose(key: PublishedKey, other: PublishedKey, owner: &Owner) -> String {
    match key == other {
        true => format!("{} is published by {owner}", shown(key)),
        false => format!("{} meets {} of {owner}", shown(key), shown(other)),
    }
}

/// What a service asks for, with what it was given of it: its ports in their order, then the one that tells of its health.
fn all<'a>(
    cache: &Cache,
    name: &Scoped,
    service: &'a AcceptedService,
) -> Vec<(Wants<'a>, Option<PublishedKey>)> {
    let given = given(&cache.allocations, name, service).into_iter();
    let ports = given.map(|(port, has)| (Wants::Port(port), has));
    let owner = joins::service_owner(name, service);
    let health = health(&service.spec).map(|key| {
        let mut items = cache.allocations.of(&owner);
        let has = items.any(|item| *item == Item::Port(key));
        (Wants::Health(key), has.then_some(key))
    });
    ports.chain(health).collect()
}

/// How the published ports of a service stand, in their order, and last the one that tells of its health.
pub(super) fn standing(cache: &Cache, name: &Scoped, service: &AcceptedService) -> Vec<Standing> {
    let given = all(cache, name, service);
    let mut ledger = None;
    let stands = given.into_iter().map(|(wants, has)| match has {
        Some(key) => Standing::Has(key),
        None if view::is_adopting(cache) => Standing::Pending,
        None => {
            let lacking = Lacking {
                service: name,
                owner: joins::service_owner(name, service),
                wants,
            };
            let ledger = ledger.get_or_insert_with(|| Ledger::new(cache));
            let found = ledger.find(&lacking);
            found.map_or_else(|standing| standing, |_| Standing::Pending)
        }
    });
    stands.collect()
}

/// Gives out the numbers that published ports lack, and takes back those that nobody asks for any more.
pub(super) fn plan(cache: &Cache) -> Plan {
    let mut plan = Plan::default();
    // What the store lost is adopted first: until then nothing is known to be free, or to be nobody's (rule S6).
    if view::is_adopting(cache) {
        return plan;
    }
    plan.is_unordered = true;
    let mut lacking = Vec::new();
    let mut kept = BTreeSet::new();
    for (name, service) in &cache.services {
        for (wants, has) in all(cache, name, service) {
            kept.extend(has);
            match has {
                Some(key) if wants.is_named() => name_it(cache, key, &mut plan),
                Some(_) => {}
                None if service.deleted_at.is_some() => {}
                None => lacking.push(Lacking {
                    service: name,
                    owner: joins::service_owner(name, service),
                    wants,
                }),
            }
        }
    }
    take_back(cache, &kept, &mut plan);
    // Numbers that somebody names are nobody's choice.
    lacking.sort_by_key(|lacking| !lacking.wants.is_named());
    let mut ledger = Ledger::new(cache);
    for lacking in lacking {
        if let Ok(key) = ledger.find(&lacking) {
            ledger.claim(key, &lacking.owner);
            plan.push(claim(key, &lacking));
        }
    }
    plan
}

/// A number that was chosen and is named by now is not the next one's that is to be chosen.
fn name_it(cache: &Cache, key: PublishedKey, plan: &mut Plan) {
    let item = Item::Port(key);
    if let Some(stored) = cache.allocations.get(&item)
        && stored.target.is_some()
    {
        let named = Allocation {
            target: None,
            ..stored.value.as_ref().clone()
        };
        let key = Key::Allocation(item);
        let step = Step::default().if_unchanged(cache, key.clone());
        plan.push(step.put(key, &named));
    }
}

fn take_back(cache: &Cache, kept: &BTreeSet<PublishedKey>, plan: &mut Plan) {
    let nobodys = cache.allocations.ports();
    let nobodys = nobodys.filter(|(key, _)| !kept.contains(key) && !planted(Bug::KeepsNumbers));
    for (key, _) in nobodys {
        let key = Key::Allocation(Item::Port(key));
        plan.push(Step::default().if_unchanged(cache, key.clone()).delete(key));
    }
}

fn claim(key: PublishedKey, lacking: &Lacking<'_>) -> Step {
    let item = Item::Port(key);
    let step = match lacking.wants {
        Wants::Health(_) => claims(&[item], &lacking.owner),
        Wants::Port(port) if port.published.is_some() => claims(&[item], &lacking.owner),
        Wants::Port(port) => {
            let value = Allocation {
                owner: lacking.owner.clone(),
                released: false,
                target: Some(port.target),
            };
            let key = Key::Allocation(item);
            Step::default().put(key.clone(), &value).if_missing(key)
        }
    };
    let everywhere = PublishedKey {
        address: None,
        ..key
    };
    match key.address {
        Some(_) => step.if_missing(Key::Allocation(Item::Port(everywhere))),
        None => step,
    }
}
