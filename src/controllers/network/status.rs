//! Conditions of networks, and of services as far as networks and ports go.

use super::ipam::Standing;
use super::ports;
use super::snapshot::{Network, Refusing, Service};
use crate::api::accepted::{AcceptedNetwork, AcceptedService};
use crate::api::name::NodeName;
use crate::api::network::NetworkSpec;
use crate::api::port_range::compact;
use crate::api::service::{
    Attachment, EndpointMode, PortMode, ServicePort, ServiceSpec, SessionAffinity,
};
use crate::api::status::{Condition, Status, Truth};
use crate::runtime::accept::{Acceptance, Context};
use crate::runtime::allocations::Numbers;
use crate::runtime::joins;
use std::collections::BTreeSet;

/// The controller's name in status keys.
pub(super) const CONTROLLER: &str = "network";

/// Condition of a network: it has a number on the wire and a subnet.
const ALLOCATED: &str = "Allocated";
/// How many nodes that cannot have a network are named: the first says what to look for.
const NODES_NAMED: usize = 3;
/// Condition of a network, while it is False: tasks and services find an address in it.
const ADDRESSES_LEFT: &str = "AddressesLeft";
/// Reason: numbers are on their way.
const PENDING: &str = "Pending";
/// Reason: nodes have it, or are about to.
const PROVIDED: &str = "Provided";
/// Reason: a node that needs it has something of its own in the way.
const REFUSED: &str = "NodesRefuse";
/// Condition of a network: it exists on the nodes that need it.
const AVAILABLE: &str = "Available";
/// Condition of an attachable network: containers that are no tasks can join it on every node.
const ATTACHABLE: &str = "Attachable";
/// Condition of a network, while it is False: it has all that it asks for.
const COMPLETE: &str = "Complete";
/// Condition of a service: the overlay networks that it asks for are provided.
const NETWORKS_READY: &str = "NetworksReady";
/// Condition of a service: the ingress ports that it asks for are open.
const PORTS_READY: &str = "PortsReady";
/// Reason: asked for, and this version does not do it.
const NOT_PROVIDED: &str = "NotProvided";
/// Reason: asked for together with something that leaves no room for it.
const NO_NETWORK: &str = "NoNetwork";
/// Reason: a network that it joins is not there.
const NETWORKS_LACKING: &str = "NetworksLacking";
/// How many nodes are named on which ports stay closed: enough to begin with.
const MOST_NODES: usize = 5;
/// Reason: not asked for.
const NOT_NEEDED: &str = "NotNeeded";

/// The status of a network; none if there is nothing to speak of.
pub(super) fn network(
    acceptance: &Acceptance<NetworkSpec>,
    context: &Context<'_>,
    standing: Option<&Standing>,
    snapshot: &Network<'_>,
) -> Option<Status> {
    let accepted = acceptance.condition.clone()?;
    let record = acceptance.record.get();
    let available = record.map(|_| {
        let (truth, reason, message) = available(standing, snapshot.refusing.as_ref());
        Condition::new(
            context.before,
            context.now,
            AVAILABLE,
            truth,
            reason,
            message,
        )
    });
    let left = standing.and_then(|standing| addresses_left(standing, context));
    let blocks = snapshot.blocks.as_ref();
    let attachable = blocks.map(|(without, is_left)| {
        let (truth, reason, message) = attachable(without, *is_left);
        let before = context.before;
        Condition::new(before, context.now, ATTACHABLE, truth, reason, message)
    });
    let allocated = standing.map(|standing| allocated(standing, context));
    let lacking = record.and_then(|record| without(&record.spec, context));
    Some(Status {
        uid: record.map(|record| record.uid.clone()),
        observed_generation: record.map(|record| record.generation),
        conditions: [
            Some(accepted),
            allocated,
            left,
            available,
            attachable,
            lacking,
        ]
        .into_iter()
        .flatten()
        .collect(),
        ..Status::default()
    })
}

/// What a network asks for and goes without; nothing where that is nothing.
fn without(spec: &NetworkSpec, context: &Context<'_>) -> Option<Condition> {
    let asked = [
        (
            spec.encrypted,
            "encrypted (packets between nodes can be read on their way)",
        ),
        (!spec.options.is_empty(), "options"),
    ];
    let asked = asked.into_iter().filter(|(is_asked, _)| *is_asked);
    let asked: Vec<&str> = asked.map(|(_, what)| what).collect();
    let message = format!(
        "this version does not provide {}: the network is without",
        asked.join(", ")
    );
    (!asked.is_empty()).then(|| {
        Condition::new(
            context.before,
            context.now,
            COMPLETE,
            Truth::False,
            NOT_PROVIDED,
            message,
        )
    })
}

/// Whether containers of others can join an attachable network on every node.
fn attachable(without: &BTreeSet<NodeName>, is_left: bool) -> (Truth, &'static str, String) {
    if without.is_empty() {
        let message = "containers that are no tasks join it on every node: docker run --network";
        return (Truth::True, PROVIDED, message.into());
    }
    if is_left {
        let message = "nodes are about to be given addresses for containers that are no tasks";
        return (Truth::Unknown, PENDING, message.into());
    }
    let nodes = some_of(without.iter().map(ToString::to_string), ", ");
    let message = format!(
        "no addresses are left to give to these nodes for containers that are no tasks, which cannot join there: {nodes}; \
        make the network anew with a larger subnet"
    );
    (Truth::False, "BlocksExhausted", message)
}

/// The first of many nodes, and how many more there are.
fn some_of(nodes: impl ExactSizeIterator<Item = String>, between: &str) -> String {
    let more = match nodes.len().saturating_sub(NODES_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let shown: Vec<String> = nodes.take(NODES_NAMED).collect();
    format!("{}{more}", shown.join(between))
}

/// Whether nodes can have a network. `refusing`: those that cannot; none where networks are not realised.
fn available(
    standing: Option<&Standing>,
    refusing: Option<&Refusing>,
) -> (Truth, &'static str, String) {
    let Some(refusing) = refusing else {
        let message = "overlay networks are accepted and not realised here: managers are started without --networks, \
            and tasks join their engine's bridge";
        return (Truth::False, NOT_PROVIDED, message.into());
    };
    match standing {
        Some(Standing::Has(..)) if !refusing.is_empty() => {
            (Truth::False, REFUSED, refused(refusing))
        }
        Some(Standing::Has(..)) => (
            Truth::True,
            PROVIDED,
            "a node has it from its first task in it on, and every node where a published port leads to it".into(),
        ),
        Some(Standing::Pending(_)) | None => {
            (Truth::Unknown, PENDING, "it has no number yet".into())
        }
        Some(Standing::Refused(_) | Standing::Fixed(_)) => (
            Truth::False,
            "NotAllocated",
            "it has no number: Allocated says why".into(),
        ),
    }
}

/// Which nodes cannot have a network, and why; of many the first.
fn refused(refusing: &Refusing) -> String {
    let nodes = refusing.iter().map(|(node, why)| format!("{node}: {why}"));
    format!(
        "tasks on these nodes wait, and others do not reach them there: {}",
        some_of(nodes, "; ")
    )
}

/// The status of a network that was deleted and is in use.
pub(super) fn held(
    record: &AcceptedNetwork,
    snapshot: &Network<'_>,
    context: &Context<'_>,
    standing: &Standing,
) -> Status {
    let users: Vec<String> = snapshot.users.iter().map(ToString::to_string).collect();
    let mut inside = Vec::new();
    if !users.is_empty() {
        inside.push(format!("tasks of {}", users.join(", ")));
    }
    if !snapshot.strangers.is_empty() {
        inside.push(some_of(snapshot.strangers.iter().cloned(), ", "));
    }
    let message = format!(
        "deleted; it goes once nobody is in it, as are {}",
        inside.join("; ")
    );
    let said = Condition::new(
        context.before,
        context.now,
        "Accepted",
        Truth::False,
        "InUse",
        message,
    );
    Status {
        uid: Some(record.uid.clone()),
        observed_generation: Some(record.generation),
        conditions: vec![said, allocated(standing, context)],
        ..Status::default()
    }
}

/// That a network is full; nothing while it is not.
fn addresses_left(standing: &Standing, context: &Context<'_>) -> Option<Condition> {
    let Standing::Has(Numbers { subnet, .. }, false) = standing else {
        return None;
    };
    let (first, last) = subnet.hosts();
    let message = format!(
        "all {} addresses of {subnet} are taken: what gets none has to wait",
        last - first + 1
    );
    Some(Condition::new(
        context.before,
        context.now,
        ADDRESSES_LEFT,
        Truth::False,
        "AddressesExhausted",
        message,
    ))
}

/// What a network has, in words.
fn given(numbers: &Numbers) -> String {
    let Numbers {
        vni,
        subnet,
        subnet6,
    } = numbers;
    let gateway = subnet.gateway();
    let of_ipv4 = format!("VNI {}, subnet {subnet}, gateway {gateway}", vni.0);
    match subnet6 {
        Some(subnet6) => format!("{of_ipv4}, IPv6 subnet {subnet6}"),
        None => of_ipv4,
    }
}

/// What a network has, or why it has nothing.
fn allocated(standing: &Standing, context: &Context<'_>) -> Condition {
    let (truth, reason, message) = match standing {
        Standing::Has(numbers, _) => (Truth::True, ALLOCATED, given(numbers)),
        Standing::Pending(why) => (Truth::Unknown, PENDING, (*why).to_owned()),
        Standing::Refused(why) | Standing::Fixed(why) => {
            (Truth::False, why.reason, why.message.clone())
        }
    };
    Condition::new(
        context.before,
        context.now,
        ALLOCATED,
        truth,
        reason,
        message,
    )
}

/// The network's part of a service's status.
pub(super) fn service(
    snapshot: &Service<'_>,
    accepted: &AcceptedService,
    before: Option<&Status>,
) -> Status {
    let (ports, now) = (snapshot.ports.as_deref(), snapshot.now.wall);
    let before = before
        .filter(|status| status.uid.as_ref() == Some(&accepted.uid))
        .map_or(&[][..], |status| &status.conditions);
    let said = |kind, (status, reason, message): (Truth, &str, String)| {
        Condition::new(before, now, kind, status, reason, message)
    };
    Status {
        uid: Some(accepted.uid.clone()),
        observed_generation: Some(accepted.generation),
        conditions: vec![
            said(NETWORKS_READY, networks(&accepted.spec, snapshot)),
            said(PORTS_READY, self::ports(&accepted.spec, ports, snapshot)),
        ],
        ..Status::default()
    }
}

fn networks(spec: &ServiceSpec, snapshot: &Service<'_>) -> (Truth, &'static str, String) {
    let named = spec.template.networks.as_ref();
    if let Some(lacking) = &snapshot.lacking {
        return realised(joins::attachments(named), lacking, snapshot.outside);
    }
    let names: Vec<&str> = named
        .into_iter()
        .flatten()
        .map(|network| network.name.as_str())
        .collect();
    match names.is_empty() {
        true if spec.endpoint_mode == EndpointMode::Dnsrr => (
            Truth::False,
            NOT_PROVIDED,
            "endpointMode dnsrr needs names, which are there where managers are started with --networks".into(),
        ),
        // Networks that were left out mean the namespace's own, which nobody asked for by name: nothing is missing.
        true => not_needed(),
        false => {
            let message = format!(
                "overlay networks are not realised here: managers are started without --networks, and tasks join their \
                engine's bridge instead of {}",
                names.join(", ")
            );
            (Truth::False, NOT_PROVIDED, message)
        }
    }
}

fn not_needed() -> (Truth, &'static str, String) {
    (
        Truth::True,
        NOT_NEEDED,
        "no overlay network is asked for".into(),
    )
}

/// Where overlays are realised: whether tasks can join those that they name.
fn realised(
    joined: &[Attachment],
    lacking: &[String],
    outside: usize,
) -> (Truth, &'static str, String) {
    if joined.is_empty() {
        return not_needed();
    }
    if !lacking.is_empty() {
        return (Truth::False, NETWORKS_LACKING, lacking.join("; "));
    }
    if outside > 0 {
        let message = format!(
            "{outside} of its tasks run outside its networks, as they were started before managers realised networks: \
            nothing leads to them until they are replaced (a higher template.forceUpdate replaces all)"
        );
        return (Truth::False, "TasksOutside", message);
    }
    let names: Vec<&str> = joined.iter().map(|network| network.name.as_str()).collect();
    let message = format!(
        "tasks join {}; one that waits says for what, and DataplaneReady of its node why",
        names.join(", ")
    );
    (Truth::True, PROVIDED, message)
}

fn ports(
    spec: &ServiceSpec,
    given: Option<&[ports::Standing]>,
    snapshot: &Service<'_>,
) -> (Truth, &'static str, String) {
    // An engine takes such a port, opens nothing and says nothing.
    if has_no_network(spec) && !spec.ports.is_empty() {
        let message = "`networks: []` leaves the tasks without a network, so none of the ports opens: leave networks out";
        return (Truth::False, NO_NETWORK, message.into());
    }
    if let Some(lacking) = given.and_then(lacking) {
        return lacking;
    }
    let has = |given: &[ports::Standing]| -> Vec<String> {
        let has = given.iter().filter_map(|standing| match standing {
            ports::Standing::Has(key) => Some(*key),
            ports::Standing::Pending | ports::Standing::Refused(_) => None,
        });
        compact(has.map(|key| key.to_show()))
    };
    let ingress = given.map_or_else(|| written(spec), has);
    let is_sticky = spec.session_affinity == SessionAffinity::ClientIp;
    match (ingress.is_empty(), &snapshot.lacking) {
        (true, None) if is_sticky => (
            Truth::False,
            NOT_PROVIDED,
            "sessionAffinity clientIP needs an address or a port that leads to several tasks, which are there where managers \
            are started with --networks"
                .into(),
        ),
        (true, _) => (
            Truth::True,
            NOT_NEEDED,
            "no ingress port is asked for".into(),
        ),
        (false, None) => {
            let message = format!(
                "ingress ports are not realised here: managers are started without --networks, and {} stay closed; mode host \
                opens ports on the tasks' nodes",
                ingress.join(", ")
            );
            (Truth::False, NOT_PROVIDED, message)
        }
        (false, Some(lacking)) => open(&ingress, lacking, snapshot),
    }
}

/// Where overlays are realised: whether nodes answer on ports that were given out.
fn open(
    ingress: &[String],
    lacking: &[String],
    snapshot: &Service<'_>,
) -> (Truth, &'static str, String) {
    if !lacking.is_empty() {
        return (Truth::False, NETWORKS_LACKING, lacking.join("; "));
    }
    if !snapshot.is_programmed {
        let message = format!(
            "{} stay closed: no node's agent has programmed anything yet, and DataplaneReady of the nodes says why",
            ingress.join(", ")
        );
        return (Truth::False, "NoAgent", message);
    }
    let closed = &snapshot.reach.closed;
    if !closed.is_empty() {
        let shown = closed.iter().take(MOST_NODES);
        let shown: Vec<String> = shown.map(|(node, why)| format!("{node}: {why}")).collect();
        let more = match closed.len().saturating_sub(MOST_NODES) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let message = format!(
            "nodes lead {} to its tasks, but not all: {}{more}",
            ingress.join(", "),
            shown.join("; ")
        );
        return (Truth::False, "Partial", message);
    }
    let message = format!(
        "nodes whose DataplaneReady is True lead {} to its tasks",
        ingress.join(", ")
    );
    (Truth::True, PROVIDED, message)
}

/// The ingress ports as the user wrote them.
fn written(spec: &ServiceSpec) -> Vec<String> {
    let ports = spec.ports.iter();
    let ingress = ports.filter(|port| port.mode == PortMode::Ingress);
    let text = |port: &ServicePort| {
        let published = port.published.unwrap_or(port.target);
        format!("{published}/{}", port.protocol.as_str())
    };
    ingress.map(text).collect()
}

/// What ports lack their number, where some do.
fn lacking(given: &[ports::Standing]) -> Option<(Truth, &'static str, String)> {
    let refused = given.iter().filter_map(|standing| match standing {
        ports::Standing::Refused(refused) => Some(refused),
        ports::Standing::Has(_) | ports::Standing::Pending => None,
    });
    let refused: Vec<_> = refused.collect();
    if let Some(first) = refused.first() {
        let messages: Vec<&str> = refused.iter().map(|one| one.message.as_str()).collect();
        return Some((Truth::False, first.reason, messages.join("; ")));
    }
    let is_pending = given.contains(&ports::Standing::Pending);
    let message = "numbers are about to be given out";
    is_pending.then(|| (Truth::Unknown, PENDING, message.into()))
}

fn has_no_network(spec: &ServiceSpec) -> bool {
    let networks = spec.template.networks.as_ref();
    networks.is_some_and(|networks| networks.is_empty())
}
