//! What is known of a node's data plane: what its agent has programmed, which networks its engine has, and what is wrong.
//!
//! It is this connection's own and starts empty: what runs goes on without it, and what is to start waits until the agent
//! has said something. Pure.

use super::feed::Numbers;
use crate::api::allocation::Vni;
use crate::api::name::Scoped;
use crate::api::status::{Condition, Found, FoundNetwork, Stranger, Truth, Underlay};
use crate::api::subnet::{Cidr, Cidr6, Dual};
use crate::api::time::Timestamp;
use crate::api::uid::TaskId;
use crate::api::unit::Incarnation;
use crate::dataplane::agent::Report;
use crate::dataplane::state::State;
use crate::runtime::view::DATAPLANE_READY;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Reason: the engine does not take a network.
pub const REFUSED: &str = "NetworkRefused";

/// A network that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The subnet that it was made with.
    pub subnet: String,
    /// The subnet of IPv6 that it was made with.
    pub subnet6: Option<Cidr6>,
    /// The part of it that the engine gives out by itself; none: nothing.
    pub block: Option<Cidr>,
    /// The store's life in which it was made.
    pub incarnation: Incarnation,
}

impl Made {
    /// Its two subnets; none: it was made without IPv6.
    pub fn dual(&self) -> Option<Dual> {
        Some(Dual {
            subnet: self.subnet.parse().ok()?,
            subnet6: self.subnet6?,
        })
    }
}

/// What is known of a node's data plane.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    /// The last state that the kernel was said to show.
    programmed: Option<Arc<State>>,
    refused: BTreeMap<Vni, String>,
    made: BTreeMap<Vni, Made>,
    /// Containers of others in those.
    strangers: Vec<Stranger>,
    trouble: Option<(&'static str, String)>,
    /// What the agent said of the node last.
    underlay: Option<Underlay>,
    /// Tasks that wait for it to become another.
    waiting: BTreeSet<TaskId>,
    /// Counts what changed, so that nobody who looked before waits for what came since.
    changes: u64,
    /// Whether the node needs one; not known at first: what was said of it stays.
    is_wanted: Option<bool>,
}

impl Plane {
    /// What an address in a network waits for on this node; nothing: it may be used.
    pub fn lacks(&self, vni: Vni, name: &Scoped, address: Ipv4Addr) -> Result<&Made, String> {
        if let Some(why) = self.refused.get(&vni) {
            return Err(format!("network {name} cannot be on this node: {why}"));
        }
        let network = self
            .programmed
            .as_ref()
            .and_then(|state| state.networks.get(&vni));
        let is_known = network.is_some_and(|network| network.tasks.contains_key(&address));
        let because = || match &self.trouble {
            Some((_, why)) => format!(": {why}"),
            None => String::new(),
        };
        if !is_known {
            let way = "the node's agent has not yet programmed the way to";
            return Err(format!("{way} {address} in network {name}{}", because()));
        }
        let made = self.made.get(&vni);
        made.ok_or_else(|| format!("its engine does not have network {name} yet{}", because()))
    }

    /// The address of IPv6 that goes with an address in a network, where the engine's has IPv6 as the programmed one has. One
    /// that the engine keeps from before, because somebody is in it, may have none or another: it takes no such address.
    pub fn address6(&self, vni: Vni, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let network = self.programmed.as_ref()?.networks.get(&vni)?;
        let made = self.made.get(&vni)?;
        let is_as_programmed = made.subnet6 == network.subnet6;
        network.version6(address).filter(|_| is_as_programmed)
    }

    /// How much has changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A task waits for more changes than there were when it was looked at; false: there are more already.
    pub fn wait(&mut self, task: &TaskId, seen: u64) -> bool {
        self.changes == seen && {
            self.waiting.insert(task.clone());
            true
        }
    }

    /// Those who waited, once something has changed.
    pub fn changed(&mut self) -> BTreeSet<TaskId> {
        self.changes += 1;
        std::mem::take(&mut self.waiting)
    }

    /// Whether the node needs one at all.
    pub fn want(&mut self, is_wanted: bool) {
        if !is_wanted {
            *self = Self {
                changes: self.changes,
                waiting: std::mem::take(&mut self.waiting),
                ..Self::default()
            };
        }
        self.is_wanted = Some(is_wanted);
    }

    /// What the agent says, and the state that it was sent last.
    pub fn hear(&mut self, report: &Report, sent: &Arc<State>) {
        self.refused.clone_from(&report.refused);
        self.underlay = Some(Underlay {
            mtu: report.underlay_mtu,
            addresses6: report.addresses6.clone(),
            occupied: report
                .occupied
                .union(&report.health_closed)
                .copied()
                .collect(),
        });
        let trouble = report.trouble.clone().map(|why| ("AgentTrouble", why));
        // That the engine refuses a network is another's trouble: it stands until the engine takes all.
        if trouble.is_some() || self.trouble.as_ref().map(|(reason, _)| *reason) != Some(REFUSED) {
            self.trouble = trouble;
        }
        if report.programmed == Some(sent.revision) {
            self.programmed = Some(sent.clone());
        }
    }

    /// Whether a state is what the kernel was said to show.
    pub fn is_at(&self, state: &State) -> bool {
        let programmed = self.programmed.as_ref();
        programmed.is_some_and(|programmed| programmed.revision == state.revision)
    }

    /// What stands in the way.
    pub fn fail(&mut self, reason: &'static str, why: String) {
        self.trouble = Some((reason, why));
    }

    /// The engine has taken all networks.
    pub fn took_all(&mut self) {
        self.trouble.take_if(|(reason, _)| *reason == REFUSED);
    }

    /// The networks that the engine has.
    pub fn made(&self) -> &BTreeMap<Vni, Made> {
        &self.made
    }

    /// Those that were made in another life of the store than this one.
    pub fn of_other_lives(&self, incarnation: Incarnation) -> Vec<FoundNetwork> {
        let others = self.made.iter().filter_map(|(vni, made)| {
            let subnet = made.subnet.parse().ok()?;
            (made.incarnation != incarnation).then(|| FoundNetwork {
                name: made.name.clone(),
                incarnation: made.incarnation,
                vni: *vni,
                subnet,
                subnet6: made.subnet6,
                block: made.block,
            })
        });
        others.collect()
    }

    /// Containers of others in the engine's networks, as it listed them last.
    pub fn strangers(&self) -> &[Stranger] {
        &self.strangers
    }

    /// These are the containers of others, as the engine lists them now; says whether that is news.
    pub fn attached(&mut self, mut strangers: Vec<Stranger>) -> bool {
        strangers.sort();
        strangers.truncate(Found::STRANGERS);
        let is_news = self.strangers != strangers;
        self.strangers = strangers;
        is_news
    }

    /// The networks that the node cannot have, and why.
    pub fn refused(&self) -> &BTreeMap<Vni, String> {
        &self.refused
    }

    /// These are the networks that the engine has.
    pub fn found(&mut self, made: BTreeMap<Vni, Made>) {
        self.made = made;
    }

    /// The engine has a network, or has it no more.
    pub fn set_made(&mut self, vni: Vni, made: Option<Made>) {
        match made {
            Some(made) => self.made.insert(vni, made),
            None => self.made.remove(&vni),
        };
    }

    /// Networks that the engine still lacks.
    pub fn lacking(&self) -> BTreeSet<Vni> {
        let programmed = self.programmed.iter().flat_map(|state| &state.networks);
        let lacks = |vni: &Vni| !self.made.contains_key(vni) && !self.refused.contains_key(vni);
        programmed
            .map(|(vni, _)| *vni)
            .filter(|vni| lacks(vni))
            .collect()
    }

    /// What its agent says of the node; until it has said something, what was said before.
    pub fn underlay(&self, before: Option<&Underlay>) -> Option<Underlay> {
        match self.is_wanted {
            Some(false) => None,
            Some(true) | None => self.underlay.clone().or_else(|| before.cloned()),
        }
    }

    /// How it stands, for people; nothing where the node needs none.
    pub fn condition(
        &self,
        numbers: &Numbers,
        before: &[Condition],
        now: Timestamp,
    ) -> Option<Condition> {
        let named = |vni: &Vni| match numbers.get(vni) {
            Some(name) => name.to_string(),
            None => vni.0.to_string(),
        };
        let refused = self.refused.iter();
        let refused: Vec<_> = refused
            .map(|(vni, why)| format!("{}: {why}", named(vni)))
            .collect();
        let (truth, reason, message) = match (&self.trouble, &self.programmed) {
            (Some((reason, why)), _) => (Truth::False, *reason, why.clone()),
            (None, Some(_)) if !refused.is_empty() => {
                (Truth::False, "NetworksRefused", refused.join("; "))
            }
            (None, Some(_)) => (
                Truth::True,
                "Programmed",
                "its agent programs its networks".into(),
            ),
            (None, None) => (
                Truth::Unknown,
                "Pending",
                "its agent has not said anything yet".into(),
            ),
        };
        match self.is_wanted {
            None => before
                .iter()
                .find(|said| said.kind == DATAPLANE_READY)
                .cloned(),
            Some(false) => None,
            Some(true) => Some(Condition::new(
                before,
                now,
                DATAPLANE_READY,
                truth,
                reason,
                message,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::state::StateRevision;
    use crate::dataplane::state_tests::example;

    fn name() -> Scoped {
        Scoped::new("default", "front")
    }

    /// An address of the example, with its network.
    fn subject() -> (Arc<State>, Vni, Ipv4Addr) {
        let state = example();
        let (vni, network) = state.networks.iter().next().unwrap();
        let (vni, address) = (*vni, *network.tasks.keys().next().unwrap());
        (Arc::new(state), vni, address)
    }

    #[test]
    fn an_address_may_be_used_once_it_is_programmed_and_the_engine_has_its_network() {
        let (state, vni, address) = subject();
        let mut plane = Plane::default();
        let lacks = |plane: &Plane| plane.lacks(vni, &name(), address).cloned();
        assert!(lacks(&plane).unwrap_err().contains("not yet programmed"));
        let mut report = Report {
            programmed: Some(StateRevision(state.revision.0 + 7)),
            ..Report::default()
        };
        plane.hear(&report, &state);
        assert!(lacks(&plane).is_err(), "that is another state");
        report.programmed = Some(state.revision);
        plane.hear(&report, &state);
        assert!(lacks(&plane).unwrap_err().contains("engine does not have"));
        assert!(plane.lacking().contains(&vni));
        let made = Made {
            id: "id".into(),
            name: "front".into(),
            subnet: "10.100.1.0/24".into(),
            subnet6: "fd00:1::/64".parse().ok(),
            block: Some("10.100.1.128/29".parse().unwrap()),
            incarnation: Incarnation(1),
        };
        plane.set_made(vni, Some(made.clone()));
        assert_eq!(lacks(&plane), Ok(made));
        let made_block = plane.made()[&vni].block;
        assert_eq!(plane.of_other_lives(Incarnation(1)), []);
        let kept = FoundNetwork {
            name: "front".into(),
            incarnation: Incarnation(1),
            vni,
            subnet: "10.100.1.0/24".parse().unwrap(),
            subnet6: "fd00:1::/64".parse().ok(),
            block: made_block,
        };
        assert_eq!(plane.of_other_lives(Incarnation(2)), [kept]);
        report.refused.insert(vni, "it overlaps eth0".into());
        plane.hear(&report, &state);
        assert!(lacks(&plane).unwrap_err().contains("overlaps eth0"));
    }

    #[test]
    fn an_address_of_ipv6_is_asked_for_where_the_engines_network_has_the_programmed_subnet() {
        let (state, vni, address) = subject();
        let mut state = State::clone(&state);
        let network = state.networks.get_mut(&vni).unwrap();
        network.subnet6 = Some("fd00:1::/64".parse().unwrap());
        let expected = network.version6(address);
        assert!(expected.is_some());
        let state = Arc::new(state);
        let mut plane = Plane::default();
        let report = Report {
            programmed: Some(state.revision),
            ..Report::default()
        };
        plane.hear(&report, &state);
        assert_eq!(plane.address6(vni, address), None, "there is no network");
        for (made, expected) in [
            (Some("fd00:1::/64"), expected),
            (Some("fd00:2::/64"), None),
            (None, None),
        ] {
            let made = Made {
                id: "id".into(),
                name: "front".into(),
                subnet: "10.100.1.0/24".into(),
                subnet6: made.map(|text| text.parse().unwrap()),
                block: None,
                incarnation: Incarnation(1),
            };
            plane.set_made(vni, Some(made));
            assert_eq!(plane.address6(vni, address), expected);
        }
    }

    #[test]
    fn who_looked_before_a_change_does_not_wait_for_it() {
        let mut plane = Plane::default();
        let task = TaskId::from("t");
        let seen = plane.changes();
        assert!(plane.wait(&task, seen));
        assert_eq!(plane.changed(), [task.clone()].into());
        assert!(!plane.wait(&task, seen));
        assert_eq!(plane.changed(), BTreeSet::new());
    }

    #[test]
    fn what_was_said_of_the_node_stays_until_the_agent_says_something_else() {
        let (state, ..) = subject();
        let before = Underlay {
            mtu: Some(9_000),
            ..Underlay::default()
        };
        let mut plane = Plane::default();
        assert_eq!(plane.underlay(None), None);
        assert_eq!(plane.underlay(Some(&before)), Some(before.clone()));
        plane.want(true);
        let report = Report {
            underlay_mtu: Some(1_500),
            ..Report::default()
        };
        plane.hear(&report, &state);
        let said = plane.underlay(Some(&before));
        assert_eq!(said.and_then(|said| said.mtu), Some(1_500));
        plane.want(false);
        assert_eq!(plane.underlay(Some(&before)), None);
    }

    #[test]
    fn the_condition_says_what_is_wrong_and_nothing_where_nothing_is_wanted() {
        let (state, vni, _) = subject();
        let mut plane = Plane::default();
        let numbers = Numbers::from([(vni, name())]);
        let said = |plane: &Plane| {
            let condition = plane.condition(&numbers, &[], Timestamp(1));
            condition.map(|said| format!("{}/{}", said.status.as_str(), said.reason))
        };
        assert_eq!(said(&plane), None);
        plane.want(true);
        assert_eq!(said(&plane).as_deref(), Some("Unknown/Pending"));
        plane.fail("AgentUnreachable", "no answer".into());
        assert_eq!(said(&plane).as_deref(), Some("False/AgentUnreachable"));
        let mut report = Report {
            programmed: Some(state.revision),
            ..Report::default()
        };
        plane.hear(&report, &state);
        assert_eq!(said(&plane).as_deref(), Some("True/Programmed"));
        report.refused.insert(vni, "no".into());
        plane.hear(&report, &state);
        assert_eq!(said(&plane).as_deref(), Some("False/NetworksRefused"));
        // What the engine refuses is not mended by what the agent says: no back and forth in the store.
        plane.fail(REFUSED, "its name is taken".into());
        plane.hear(&Report::default(), &state);
        assert_eq!(said(&plane).as_deref(), Some("False/NetworkRefused"));
        plane.took_all();
        assert_ne!(said(&plane).as_deref(), Some("False/NetworkRefused"));
        plane.want(false);
        assert_eq!(said(&plane), None);
    }
}
