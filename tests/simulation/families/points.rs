//! The points of a reference run at which a family can play its trick.

use super::family::Family;
use super::play::Played;
use crate::probe::{Kind, Moment, Place, Trick};
use crate::scenarios::Scenario;
use std::fmt;

/// One run of a family.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) family: Family,
    /// Where, and what there is at that place.
    pub(crate) at: Option<(Place, Trick)>,
    pub(crate) what: String,
    /// What whoever drives the run does.
    pub(crate) act: Act,
}

/// What whoever drives a run does about a trick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing: the probe has done all.
    None,
    /// A process that died is followed by another.
    Restart(&'static str),
    /// A backup of this revision is restored at the end.
    Backup(i64),
    /// Somebody makes a container by this name.
    Occupy { node: u64, name: String },
    /// A user puts this, and deletes it later.
    Put { key: &'static str, value: String },
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what: String = self.what.chars().take(200).collect();
        match &self.at {
            Some((place, _)) => write!(f, "{place} ({what})"),
            None => f.write_str(&what),
        }
    }
}

/// All points of a family in a reference run, in the order in which they are met.
pub(crate) fn points(family: Family, scenario: &Scenario, reference: &Played) -> Vec<Point> {
    let moments = &reference.moments;
    match family {
        Family::Crash | Family::CrashWhole => at(family, moments, |moment| {
            matches!(moment.place.kind, Kind::Write | Kind::Order)
                .then(|| (Trick::Die, Act::Restart(moment.place.process)))
        }),
        Family::Stale => at(family, moments, |moment| {
            (moment.place.kind == Kind::Batch).then_some((Trick::Late, Act::None))
        }),
        Family::Restart => at(family, moments, |moment| {
            (moment.place.kind == Kind::Batch)
                .then_some((Trick::DieAndLag, Act::Restart(moment.place.process)))
        }),
        Family::Lost => events(family, moments, Trick::Drop),
        Family::Missed => at(family, moments, |moment| {
            let is_delete = moment.changes.iter().any(|change| change.is_delete);
            (moment.place.kind == Kind::Batch && is_delete)
                .then_some((Trick::Miss(None), Act::None))
        }),
        Family::Merged => merged(moments),
        Family::Twice => at(family, moments, |moment| {
            matches!(moment.place.kind, Kind::Batch | Kind::Event)
                .then_some((Trick::Twice, Act::None))
        }),
        Family::Swapped => swapped(moments),
        Family::Joined => at(family, moments, |moment| {
            (moment.place.kind == Kind::Batch).then_some((Trick::Join, Act::None))
        }),
        Family::Backup => backups(reference.revisions),
        Family::Reused => reused(moments, scenario),
        Family::Walk => Vec::new(),
    }
}

fn point(family: Family, moment: &Moment, trick: Trick, act: Act) -> Point {
    let on = match moment.node.as_str() {
        "" => String::new(),
        node => format!(" on {node}"),
    };
    Point {
        family,
        at: Some((moment.place.clone(), trick)),
        what: format!("{}{on}", moment.what),
        act,
    }
}

fn at(
    family: Family,
    moments: &[Moment],
    trick: impl Fn(&Moment) -> Option<(Trick, Act)>,
) -> Vec<Point> {
    let of = |moment| {
        let (trick, act) = trick(moment)?;
        Some(point(family, moment, trick, act))
    };
    moments.iter().filter_map(of).collect()
}

fn events(family: Family, moments: &[Moment], trick: Trick) -> Vec<Point> {
    at(family, moments, |moment| {
        (moment.place.kind == Kind::Event).then(|| (trick.clone(), Act::None))
    })
}

/// Pairs of changes of one key, as one process sees them; pairs between the same two batches are one point.
fn merged(moments: &[Moment]) -> Vec<Point> {
    let mut points = Vec::new();
    for (index, first) in moments.iter().enumerate() {
        let is_view = |moment: &&Moment| {
            moment.place.kind == Kind::Batch && moment.place.process == first.place.process
        };
        let mut met = Vec::new();
        for change in first.changes.iter().filter(|_| is_view(&first)) {
            let changes_it =
                |moment: &&Moment| moment.changes.iter().any(|later| later.key == change.key);
            let second = moments[index + 1..].iter().filter(is_view).find(changes_it);
            let Some(second) = second.filter(|second| !met.contains(&second.place.ordinal)) else {
                continue;
            };
            met.push(second.place.ordinal);
            let trick = Trick::Miss(Some(change.key.clone()));
            let mut point = point(Family::Merged, first, trick, Act::None);
            point.what = format!("{change} until batch {}", second.place.ordinal);
            points.push(point);
        }
    }
    points
}

/// Events that have a successor from the same engine.
fn swapped(moments: &[Moment]) -> Vec<Point> {
    let is_event = |moment: &&Moment| moment.place.kind == Kind::Event;
    let has_successor = |index: usize, moment: &Moment| {
        let mut later = moments[index + 1..].iter().filter(is_event);
        later.any(|later| later.node == moment.node)
    };
    let all = moments.iter().enumerate();
    all.filter(|(index, moment)| is_event(moment) && has_successor(*index, moment))
        .map(|(_, moment)| point(Family::Swapped, moment, Trick::Swap, Act::None))
        .collect()
}

/// Every revision of the scenario.
fn backups((begin, end): (i64, i64)) -> Vec<Point> {
    let backup = |revision| Point {
        family: Family::Backup,
        at: None,
        what: format!("a backup of r{revision}"),
        act: Act::Backup(revision),
    };
    (begin.max(2)..end).map(backup).collect()
}

/// What is given free: the names of containers, the names of objects that were deleted for good, host ports.
fn reused(moments: &[Moment], scenario: &Scenario) -> Vec<Point> {
    let names = at(Family::Reused, moments, |moment| {
        let name = moment.what.strip_prefix("remove ")?.to_owned();
        let node = moment.node.trim_start_matches("tcp://n");
        let node = node.trim_end_matches(":2375").parse().ok()?;
        Some((Trick::Tell, Act::Occupy { node, name }))
    });
    let mut all = names;
    for (key, value) in scenario.deleted() {
        // Once its controller has seen that it is gone, up to the last trace of it.
        let name = key.rsplit('/').next().unwrap_or(key);
        let is_of = |moment: &&Moment| {
            let is_write = moment.place.kind == Kind::Write;
            is_write
                && moment
                    .changes
                    .iter()
                    .any(|change| change.key.contains(name))
        };
        let of: Vec<Moment> = moments.iter().filter(is_of).cloned().collect();
        all.extend(at(Family::Reused, &of, |_| {
            let value = value.clone();
            Some((Trick::Tell, Act::Put { key, value }))
        }));
    }
    if let Some(value) = &scenario.rival {
        all.extend(at(Family::Reused, moments, |moment| {
            let value = value.clone();
            let key = "services/default/rival";
            moment
                .what
                .starts_with("stop ")
                .then_some((Trick::Tell, Act::Put { key, value }))
        }));
    }
    all
}
