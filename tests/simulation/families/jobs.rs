//! The reference runs, and all runs that follow from them.

use super::family::Family;
use super::play::{Played, play};
use super::points::{Act, Point, points};
use super::state::{State, running};
use crate::pool;
use crate::scenarios::walks::{Walk, alone, walks};
use crate::scenarios::{self, Scenario};

/// The reference runs of a scenario.
struct Reference {
    scenario: Scenario,
    apart: Played,
    whole: Played,
}

impl Reference {
    fn of(scenario: Scenario) -> Self {
        Self {
            apart: play(&scenario, false, None),
            whole: play(&scenario, true, None),
            scenario,
        }
    }

    fn played(&self, family: Family) -> &Played {
        match family.is_whole() {
            true => &self.whole,
            false => &self.apart,
        }
    }

    /// What is wrong with a run that nothing disturbed.
    fn fault(&self) -> Option<String> {
        let name = self.scenario.name;
        [&self.apart, &self.whole].into_iter().find_map(|played| {
            let end = running(&played.state);
            match &played.broken {
                Some(broken) => Some(format!("{name}: {}: {}", broken.rule, broken.what)),
                None if end != self.scenario.end => Some(format!(
                    "{name} ends with {end:?} and not with {:?}",
                    self.scenario.end
                )),
                None => None,
            }
        })
    }
}

/// All reference runs.
pub(super) struct References {
    scenarios: Vec<Reference>,
    walks: Vec<Walk>,
    /// The ends of walks.
    alone: Vec<State>,
}

/// One run that is to be played.
pub(super) struct Job<'a> {
    pub(super) scenario: &'a Scenario,
    expected: &'a State,
    pub(super) point: Point,
    /// Which of its family's points in its scenario.
    pub(super) number: usize,
}

impl References {
    /// Plays those of one scenario or of all, on all processors.
    ///
    /// # Errors
    /// An undisturbed run that breaks a rule, or does not end as its scenario says.
    pub(super) fn play(only: Option<&str>) -> Result<Self, String> {
        let is_wanted = |name: &str| only.is_none_or(|only| only == name);
        let mut all = scenarios::all();
        all.retain(|scenario| is_wanted(scenario.name));
        let scenarios = pool::each(&all, |scenario| Reference::of(scenario.clone()));
        if let Some(fault) = scenarios.iter().find_map(Reference::fault) {
            return Err(format!("undisturbed, {fault}"));
        }
        let (mut ends, mut walks) = (alone(), walks());
        if !is_wanted(WALKS) {
            ends.clear();
            walks.clear();
        }
        let ends = pool::each(&ends, |scenario| play(scenario, true, None));
        let broken = ends.iter().find_map(|played| played.broken.as_ref());
        if let Some(broken) = broken {
            return Err(format!(
                "a manifest alone: {}: {}",
                broken.rule, broken.what
            ));
        }
        Ok(Self {
            scenarios,
            walks,
            alone: ends.into_iter().map(|played| played.state).collect(),
        })
    }

    /// The scenarios whose families were played.
    pub(super) fn scenarios(&self) -> impl Iterator<Item = &Scenario> {
        self.scenarios.iter().map(|reference| &reference.scenario)
    }

    /// Every point of every family.
    pub(super) fn jobs(&self) -> Vec<Job<'_>> {
        let mut jobs = Vec::new();
        for reference in &self.scenarios {
            for family in Family::ALL {
                let played = reference.played(family);
                let points = points(family, &reference.scenario, played);
                let numbered = points.into_iter().enumerate();
                jobs.extend(numbered.map(|(number, point)| Job {
                    scenario: &reference.scenario,
                    expected: &played.state,
                    point,
                    number,
                }));
            }
        }
        let walks = self.walks.iter().enumerate();
        jobs.extend(walks.map(|(number, walk)| Job {
            scenario: &walk.walk,
            expected: &self.alone[walk.end],
            point: Point {
                family: Family::Walk,
                at: None,
                what: walk.name.clone(),
                act: Act::None,
            },
            number,
        }));
        jobs
    }
}

/// The scenario of all walks.
const WALKS: &str = "walks";

impl Job<'_> {
    pub(super) fn play(&self) -> Played {
        let is_whole = self.point.family.is_whole();
        play(self.scenario, is_whole, Some((&self.point, self.expected)))
    }
}
