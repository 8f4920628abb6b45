//! One run of a scenario: undisturbed, or with one trick.

use super::points::Point;
use super::state::{State, differs, state};
use crate::probe::{Moment, Probe};
use crate::run::runtime;
use crate::scenarios::Scenario;
use skep::app::manager::CONTROLLERS;
use skep::sim::check::Broken;
use skep::sim::world::{Role, World};
use std::time::Duration;

/// Every scenario is one seed: what differs between its runs is the trick.
const SEED: u64 = 1;

/// Of every engine call.
const LATENCY: Duration = Duration::from_millis(20);

/// So long nothing is written once all is done.
const QUIET: Duration = Duration::from_secs(30);

/// So long the trick and what follows it directly may take: a lease, a view that comes late and is then held.
pub(super) const TRICK: Duration = Duration::from_secs(30);

/// In so much virtual time after the last deed the end is reached: longer than any backoff and hold.
const BOUND: Duration = Duration::from_secs(1_800);

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) moments: Vec<Moment>,
    /// Revisions of the store at the begin and at the end.
    pub(crate) revisions: (i64, i64),
    pub(crate) state: State,
    pub(crate) broken: Option<Broken>,
    pub(crate) trace: Vec<String>,
    pub(crate) simulated: Duration,
}

/// Plays a scenario. Without a point it ends when nothing is written any more; with one, when the state is the expected
/// one and stays so.
pub(crate) fn play(scenario: &Scenario, is_whole: bool, trick: Option<(&Point, &State)>) -> Played {
    runtime(SEED).block_on(async {
        let mut run = Run::new(scenario, is_whole, trick.map(|(point, _)| point.clone()));
        let result = run
            .play(scenario, trick.map(|(_, expected)| expected))
            .await;
        if let (Err(broken), None) = (&result, run.world.court.broken()) {
            run.world.court.accuse(broken.clone());
        }
        Played {
            moments: run.probe.moments(),
            revisions: (run.begun, run.world.store.revision().0),
            state: run.state(),
            broken: run.world.court.broken(),
            trace: run.world.court.trace(),
            simulated: run.world.court.elapsed(),
        }
    })
}

/// A run under way.
pub(super) struct Run {
    pub(super) world: World,
    pub(super) probe: Probe,
    pub(super) point: Option<Point>,
    /// The processes by name, in the order of their places in the world.
    pub(super) processes: Vec<&'static str>,
    /// The store's revision when the scenario began.
    pub(super) begun: i64,
    /// Containers may have lost their records with the store.
    pub(super) has_unclaimed: bool,
    /// Nobody starts managers that end by themselves.
    pub(super) is_moving: bool,
}

impl Run {
    fn new(scenario: &Scenario, is_whole: bool, point: Option<Point>) -> Self {
        let mut world = World::new(SEED, LATENCY);
        for node in 1..=scenario.nodes {
            world.add_node(node);
        }
        Self {
            probe: Probe::new(world.store.clone()),
            world,
            point,
            processes: match is_whole {
                true => vec!["manager"],
                false => CONTROLLERS.to_vec(),
            },
            begun: 0,
            has_unclaimed: false,
            is_moving: false,
        }
    }

    async fn play(&mut self, scenario: &Scenario, expected: Option<&State>) -> Result<(), Broken> {
        let has_past = !scenario.before.is_empty();
        if !has_past {
            self.begin();
        }
        self.start();
        for deed in &scenario.before {
            self.act(deed).await?;
        }
        if has_past {
            self.quiet().await?;
            self.begin();
        }
        let begin = self.world.court.elapsed();
        for (at, deed) in &scenario.deeds {
            self.pass_until(begin + Duration::from_secs(*at)).await?;
            self.act(deed).await?;
        }
        match expected {
            None => self.quiet().await,
            Some(expected) => self.arrive(expected).await,
        }
    }

    fn start(&mut self) {
        for process in &self.processes {
            let controllers = CONTROLLERS.into_iter().filter(|name| name == process);
            self.world.add_manager(Role {
                controllers: controllers.collect(),
                network: Default::default(),
                hook: Some(self.probe.hook(process)),
            });
        }
    }

    /// From here on all is counted.
    fn begin(&mut self) {
        self.begun = self.world.store.revision().0;
        self.world.court.note("probe", "the scenario begins");
        let trick = self.point.as_ref().and_then(|point| point.at.clone());
        self.probe.begin(trick);
    }

    pub(super) async fn pass(&mut self, time: Duration) -> Result<(), Broken> {
        self.pass_until(self.world.court.elapsed() + time).await
    }

    /// Lets time pass; what a trick asks for is done in its moment.
    async fn pass_until(&mut self, until: Duration) -> Result<(), Broken> {
        loop {
            if !self.is_moving {
                self.world.revive().await;
            }
            self.verdict()?;
            let left = until.saturating_sub(self.world.court.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            let struck = tokio::select! {
                biased;
                () = self.probe.struck() => true,
                () = tokio::time::sleep(left.min(Duration::from_secs(1))) => false,
            };
            if struck {
                self.follow_up();
            }
        }
    }

    fn state(&self) -> State {
        state(&self.world, self.has_unclaimed)
    }

    /// What was broken so far, if anything.
    fn verdict(&self) -> Result<(), Broken> {
        self.world.court.broken().map_or(Ok(()), Err)
    }

    /// Waits until nothing is written for long.
    async fn quiet(&mut self) -> Result<(), Broken> {
        let end = self.world.court.elapsed() + BOUND;
        while self.world.court.elapsed() < end {
            let before = self.world.store.revision();
            self.pass(QUIET).await?;
            if self.world.store.revision() == before {
                return Ok(());
            }
        }
        Err(Broken::new("the store becomes quiet", "it does not".into()))
    }

    /// Waits until the state is the expected one and stays so.
    async fn arrive(&mut self, expected: &State) -> Result<(), Broken> {
        self.pass(TRICK).await?;
        self.afterwards().await?;
        if self.probe.is_waiting() {
            let what = "the run ended before the point was met".into();
            return Err(Broken::new("one seed is one trace", what));
        }
        let end = self.world.court.elapsed() + BOUND;
        let mut unlike = String::new();
        let mut pause = Duration::from_secs(2);
        while self.world.court.elapsed() < end {
            self.pass(pause).await?;
            // What is not there soon takes a hold or a backoff.
            pause = (pause * 3 / 2).min(QUIET);
            let before = self.world.store.revision();
            unlike = match differs(&self.state(), expected) {
                Some(how) => how,
                None => {
                    self.pass(QUIET).await?;
                    let is_quiet = self.world.store.revision() == before;
                    match differs(&self.state(), expected) {
                        None if is_quiet => return Ok(()),
                        None => "the store is still written to".into(),
                        Some(how) => how,
                    }
                }
            };
        }
        Err(Broken::new("the end is the reference run's", unlike))
    }
}
