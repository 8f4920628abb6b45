//! What the pass may see: nodes with what is used of them, and the tasks that wait, by what they ask for. Pure.

use crate::api::accepted::AcceptedService;
use crate::api::allocation::Item;
use crate::api::constraint::Constraint;
use crate::api::container::Reservations;
use crate::api::name::{NodeName, Scoped};
use crate::api::published::PublishedKey;
use crate::api::service::Placement;
use crate::api::task::{Binding, Desired, HostPort, ServiceRevision, Task, TaskState};
use crate::api::time::Timestamp;
use crate::api::uid::{TaskId, Uid};
use crate::api::unit::{Bytes, NanoCpus, RevisionNumber};
use crate::planted::{Bug, planted};
use crate::runtime::cache::Cache;
use crate::runtime::home::{Home, Homes};
use crate::runtime::view::{self, NodeView};
use std::collections::BTreeMap;
use std::time::Duration;

/// A node with what is used of it.
pub(super) struct Candidate<'a> {
    /// The node.
    pub(super) node: NodeView<'a>,
    /// Processor time and memory for tasks: what the engine has, less what is kept from tasks; none while unknown.
    pub(super) allocatable: Option<(NanoCpus, Bytes)>,
    /// Held by tasks that were not seen stopped.
    pub(super) used: Reservations,
    /// Host ports held, with the task that holds each.
    pub(super) ports: BTreeMap<HostPort, TaskId>,
    /// Tasks that were not seen stopped.
    pub(super) tasks: u32,
    /// Per service: its tasks here that are wanted and have not ended.
    pub(super) of_service: BTreeMap<Uid, Vec<TaskId>>,
    /// Per service revision: tasks that failed here.
    pub(super) failed: BTreeMap<(Uid, RevisionNumber), u32>,
}

/// What the tasks of one service revision ask for.
pub(super) struct Request<'a> {
    /// The service.
    pub(super) service: &'a AcceptedService,
    /// The revision.
    pub(super) revision: &'a ServiceRevision,
    /// The constraints, read.
    pub(super) constraints: Vec<Constraint>,
    /// Host ports with a number.
    pub(super) ports: Vec<HostPort>,
    /// One of them that every node answers on for a service, with the service: no node has room for it.
    pub(super) published: Option<(HostPort, String)>,
}

impl Request<'_> {
    /// What is kept for each task.
    pub(super) fn reservations(&self) -> &Reservations {
        &self.revision.template.container.resources.reservations
    }

    /// Where tasks may run: as the service says now, whatever the revision said.
    pub(super) fn placement(&self) -> &Placement {
        &self.service.spec.template.placement
    }
}

/// Failures older than this say nothing about a node any more: an engine that was restarted is as good as any (SwarmKit
/// watches as long).
const REMEMBERED: Duration = Duration::from_secs(300);

/// A task that waits.
pub(super) struct Pending<'a> {
    /// Its service's name.
    pub(super) name: &'a Scoped,
    /// What is wanted.
    pub(super) task: &'a Task,
    /// The node that its container was found on, where there is one.
    pub(super) home: Option<NodeName>,
}

impl<'a> Candidate<'a> {
    fn new(node: NodeView<'a>) -> Self {
        let reserved = &node.accepted.value.spec.reserved;
        let allocatable = node.engine.map(|engine| {
            (
                NanoCpus(engine.cpus.0.saturating_sub(reserved.cpus.0)),
                Bytes(engine.memory.0.saturating_sub(reserved.memory.0)),
            )
        });
        Self {
            node,
            allocatable,
            used: Reservations::default(),
            ports: BTreeMap::new(),
            tasks: 0,
            of_service: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Counts a binding in.
    pub(super) fn hold(&mut self, binding: &Binding, is_wanted: bool) {
        let reserved = &binding.reserved;
        self.used.cpus.0 = self.used.cpus.0.saturating_add(reserved.cpus.0);
        self.used.memory.0 = self.used.memory.0.saturating_add(reserved.memory.0);
        for (name, amount) in &reserved.generic {
            *self.used.generic.entry(name.clone()).or_default() += amount;
        }
        for port in &binding.host_ports {
            self.ports.insert(port.clone(), binding.task.clone());
        }
        self.tasks += 1;
        if is_wanted {
            let tasks = self.of_service.entry(binding.service.clone()).or_default();
            tasks.push(binding.task.clone());
        }
    }

    /// How many tasks of the service are wanted here, the one that is being replaced left out.
    pub(super) fn count(&self, service: &Uid, replaced: Option<&TaskId>) -> u32 {
        let tasks = self.of_service.get(service).map_or(&[][..], Vec::as_slice);
        let count = match replaced {
            // The ordinary case, asked per waiting task and node.
            None => tasks.len(),
            Some(replaced) => tasks.iter().filter(|task| *task != replaced).count(),
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// A binding by its key.
pub(super) type Bound<'a> = (&'a NodeName, &'a TaskId);

/// The place of a node among all.
pub(super) fn place(candidates: &[Candidate<'_>], node: &NodeName) -> Option<usize> {
    let found = candidates.binary_search_by(|one| one.node.name.cmp(node));
    found.ok()
}

/// All nodes with what is used of them, in order of their names: a pass knows a node by its place here. And the bindings
/// that have outlived their tasks.
pub(super) fn candidates(cache: &Cache, now: Timestamp) -> (Vec<Candidate<'_>>, Vec<Bound<'_>>) {
    let mut outlived = Vec::new();
    let nodes = view::nodes(cache).into_iter();
    let mut candidates: Vec<Candidate<'_>> = nodes.map(Candidate::new).collect();
    let mut place = 0;
    for ((node, id), binding) in &cache.bindings {
        // Both are in order of the nodes' names.
        while candidates
            .get(place)
            .is_some_and(|one| one.node.name < *node)
        {
            place += 1;
        }
        let here = candidates.get_mut(place);
        let here = here.filter(|one| one.node.name == *node);
        let facets = cache.facets(id);
        let task = facets
            .and_then(|facets| facets.task.as_ref())
            .map(|(_, task)| &*task.value);
        if has_outlived(binding, task, here.as_deref()) {
            outlived.push((node, id));
        }
        let Some(candidate) = here else {
            continue;
        };
        let status = facets
            .and_then(|facets| facets.status_on(node))
            .map(|status| &*status.value)
            .filter(|status| status.service == binding.value.service);
        match status {
            Some(status) if status.state.is_terminal() => {
                if now.since(status.since) < REMEMBERED {
                    count_failure(candidate, binding, task, status.state);
                }
            }
            Some(_) | None => {
                let is_wanted = task.is_some_and(|task| task.desired <= Desired::Running);
                if is_wanted || !planted(Bug::FreesEarly) {
                    candidate.hold(binding, is_wanted);
                }
            }
        }
    }
    (candidates, outlived)
}

/// Whether a binding is one whose task's record is gone, or whose node is and whose task was given up. While the task is
/// still wanted the binding of a lost node stays: without it the task would look as if it had never been bound, and would
/// move.
fn has_outlived(binding: &Binding, task: Option<&Task>, node: Option<&Candidate<'_>>) -> bool {
    let is_home = || node.is_some_and(|one| *one.node.uid() == binding.node);
    match task {
        None => true,
        Some(_) if planted(Bug::MovesTheLost) => !node.is_some_and(|one| one.node.is_schedulable()),
        Some(task) => task.desired >= Desired::Shutdown && !is_home(),
    }
}

fn count_failure(
    candidate: &mut Candidate<'_>,
    binding: &Binding,
    task: Option<&Task>,
    state: TaskState,
) {
    if let (Some(task), TaskState::Failed | TaskState::Rejected) = (task, state)
        // Not for what its node did to it.
        && !matches!(task.reason.as_deref(), Some("NodeLost" | "Drained"))
    {
        let key = (binding.service.clone(), task.revision);
        *candidate.failed.entry(key).or_default() += 1;
    }
}

/// The tasks that wait, the longest waiting first. A task whose container was found is bound whatever is wanted of it:
/// nobody stops or removes the container before.
pub(super) fn pending<'a>(cache: &'a Cache, candidates: &[Candidate<'a>]) -> Vec<Pending<'a>> {
    let homes = Homes::new(cache, candidates.iter().map(|one| &one.node));
    let mut pending: Vec<Pending<'_>> = cache
        .all_facets()
        .filter(|facets| facets.binding.is_none())
        .filter_map(|facets| facets.task.as_ref())
        .filter_map(|(name, task)| {
            let home = match homes.of(task) {
                Home::On(node) => Some(node.clone()),
                Home::Anywhere if task.desired <= Desired::Running => None,
                // Its service gives up what may be on any node.
                Home::Anywhere | Home::Unknown => return None,
            };
            let task = &task.value;
            Some(Pending { name, task, home })
        })
        .collect();
    pending.sort_by(|a, b| {
        let (one, other) = (a.task, b.task);
        (one.created_at, &one.slot, a.name, &one.id).cmp(&(
            other.created_at,
            &other.slot,
            b.name,
            &other.id,
        ))
    });
    pending
}

/// What the tasks of a revision ask for; none where the service or the revision is not there.
pub(super) fn request<'a>(cache: &'a Cache, pending: &Pending<'a>) -> Option<Request<'a>> {
    let service = cache.services.get(pending.name)?;
    let revision = cache
        .revisions
        .get(&(pending.task.service.clone(), pending.task.revision))?;
    if service.value.uid != pending.task.service || service.value.deleted_at.is_some() {
        return None;
    }
    let constraints = service
        .value
        .spec
        .template
        .placement
        .constraints
        .iter()
        .filter_map(|text| Constraint::parse(text).ok())
        .collect();
    let ports = revision
        .value
        .host_ports
        .iter()
        .filter_map(|port| {
            Some(HostPort {
                published: port.published?,
                protocol: port.protocol,
                host_ip: port.host_ip,
                target: port.target,
            })
        })
        .collect::<Vec<_>>();
    let published = ports.iter().find_map(|port| {
        let owner = publisher(cache, port)?;
        Some((port.clone(), owner))
    });
    Some(Request {
        service: &service.value,
        revision: &revision.value,
        constraints,
        ports,
        published,
    })
}

/// Who has a port on the addresses of all nodes that meets a host port.
fn publisher(cache: &Cache, port: &HostPort) -> Option<String> {
    // Whatever its address: one of IPv6 meets what is open on all.
    let anywhere = PublishedKey {
        protocol: port.protocol,
        port: port.published,
        address: None,
    };
    let meeting = cache.allocations.meeting(anywhere).into_iter();
    let mut meeting = meeting.filter(|key| key.meets_host(port.host_ip));
    let owner = |key| {
        let given = cache.allocations.get(&Item::Port(key))?;
        Some(given.owner.to_string())
    };
    meeting.find_map(owner)
}
