//! Managers as processes that are killed and frozen at random moments: another takes over, and nothing is doubled, lost or
//! repeated.

use super::history::History;
use super::world::{SLEEP, World, until_soon};
use crate::support::fleet::Transport;
use skep::api::cluster::Holder;
use std::time::Duration;

/// The two.
const NAMES: [&str; 2] = ["m1", "m2"];

#[tokio::test]
async fn managers_are_killed_and_frozen_at_random_moments() {
    let mut world = World::new("managers", 3, Transport::Plain).await;
    for name in NAMES {
        start(&mut world, name);
    }
    world.nodes_are_ready().await;
    let mut chance = Chance::new();
    let history = History::start(&world, "managers").await;
    world.put_service("web", &spec(2, SLEEP)).await;
    world.settled("web", 2).await;

    let mut replicas = 2;
    for _ in 0..5 {
        replicas += 3;
        kill_during_scale_up(&mut world, &history, &mut chance, replicas).await;
    }
    world.passed("kill -9 of the leader between creates and starts, five times");

    freeze(&mut world, &history, replicas + 3).await;
    replicas += 3;

    world.put_service("web", &spec(6, SLEEP)).await;
    world.settled("web", 6).await;
    kill_during_change(&mut world, &history, &mut chance, replicas + 6).await;

    adoption(&mut world, &history).await;
}

/// Each has a directory, so that one that was killed need not wait for its own lease.
fn start(world: &mut World, name: &'static str) {
    let dir = world.fleet.dir().join(format!("state-{name}"));
    let dir = dir.to_str().expect("a temporary path is text").to_owned();
    world.start_manager(name, &["--state-dir", &dir]);
}

fn spec(replicas: usize, container: &str) -> String {
    format!(
        "{{replicas: {replicas}, update: {{monitor: 0s}}, template: {{container: {container}}}}}"
    )
}

/// Who works on the engines.
async fn leader(world: &World) -> &'static str {
    until_soon("somebody leads", async || {
        let holder: Holder = world.record("shards/000").await?;
        NAMES.into_iter().find(|name| *name == holder.manager)
    })
    .await
}

/// Waits until somebody else works on the engines: the lease of the one that is gone has to end first.
async fn taken_over(world: &World, from: &str) {
    until_soon("the other one leads", async || {
        (leader(world).await != from).then_some(())
    })
    .await;
}

/// The leader dies shortly after it made the first of three containers.
async fn kill_during_scale_up(
    world: &mut World,
    history: &History,
    chance: &mut Chance,
    replicas: usize,
) {
    let name = leader(world).await;
    let seen = history.of("web").len();
    world.put_service("web", &spec(replicas, SLEEP)).await;
    until_soon("the first container is made", async || {
        (history.of("web").len() > seen).then_some(())
    })
    .await;
    tokio::time::sleep(chance.below(Duration::from_millis(400))).await;
    world.kill_manager(name);
    // The other one goes on by itself.
    world.settled("web", replicas).await;
    taken_over(world, name).await;
    start(world, name);
    history.nothing_doubled("web");
    assert_eq!(history.starts("web"), replicas, "each replica started once");
}

/// A leader that sleeps beyond its lease finds its writes refused when it wakes, and does nothing twice.
async fn freeze(world: &mut World, history: &History, replicas: usize) {
    let name = leader(world).await;
    let seen = history.of("web").len();
    world.put_service("web", &spec(replicas, SLEEP)).await;
    until_soon("the first container is made", async || {
        (history.of("web").len() > seen).then_some(())
    })
    .await;
    world.manager(name).freeze();
    let settled = world.settled("web", replicas).await;
    taken_over(world, name).await;
    let before = world.manager(name).output().len();
    world.manager(name).thaw();
    until_soon("the sleeper finds its lease lost", async || {
        world.manager(name).output()[before..]
            .contains("the lease is lost")
            .then_some(())
    })
    .await;
    // It stands for election again: whatever it had in hand is behind it by then.
    until_soon("the sleeper stands for election again", async || {
        let holders = world.records::<Holder>("/skep/election/service/").await;
        let is_back = holders.values().any(|holder| holder.manager == name);
        is_back.then_some(())
    })
    .await;
    assert_eq!(world.settled("web", replicas).await, settled);
    history.nothing_doubled("web");
    assert_eq!(history.starts("web"), replicas, "each replica started once");
    world.passed("a leader frozen beyond its lease");
}

/// Leaders die again and again while a change of the template goes from task to task.
async fn kill_during_change(
    world: &mut World,
    history: &History,
    chance: &mut Chance,
    expected: usize,
) {
    let other = SLEEP.replace("'1000000'", "'2000000'");
    world.put_service("web", &spec(6, &other)).await;
    for _ in 0..3 {
        let name = leader(world).await;
        let starts = history.starts("web");
        until_soon("the change goes on", async || {
            let now = history.starts("web");
            (now > starts || now == expected).then_some(())
        })
        .await;
        tokio::time::sleep(chance.below(Duration::from_millis(600))).await;
        world.kill_manager(name);
        start(world, name);
    }
    let object = "services/default/web";
    until_soon("the change is complete", async || {
        let condition = world.condition(object, "service", "Progressing").await?;
        let running = world.containers("web").await;
        let is_new = running
            .iter()
            .filter(|one| one.is_running)
            .all(|one| one.revision == "2");
        (condition.reason == "Complete" && is_new).then_some(())
    })
    .await;
    world.settled("web", 6).await;
    history.nothing_doubled("web");
    assert_eq!(
        history.starts("web"),
        expected,
        "each task was replaced once"
    );
    world.passed("kill -9 of the leader during a change, three times");
}

/// Without a manager everything goes on; whoever comes next takes it up as it is.
async fn adoption(world: &mut World, history: &History) {
    let before = world.settled("web", 6).await;
    let changes = history.changes("web");
    world.kill_manager("m1");
    world.stop_manager("m2").await;
    start(world, "m2");
    until_soon("the new one leads", async || {
        let log = world.manager("m2").output();
        let started = log.rfind("manager started")?;
        let drives = log[started..].matches("drives the engine").count();
        (drives == 3).then_some(())
    })
    .await;
    assert_eq!(world.settled("web", 6).await, before);
    // It acts at once on what is new, so it has looked at what is old.
    world.put_service("new", &spec(1, SLEEP)).await;
    world.settled("new", 1).await;
    assert_eq!(world.settled("web", 6).await, before, "the same containers");
    assert_eq!(history.changes("web"), changes, "nothing was done to them");
    world.passed("managers that restart adopt what runs");
}

/// Random waits from a seed that is printed; `SKEP_TEST_SEED` gives one again.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let given = std::env::var("SKEP_TEST_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            // Differs from run to run, and can be given again: that is all that is asked of it.
            let owner = crate::support::process::owner();
            owner.bytes().fold(17, |seed: u64, byte| {
                seed.wrapping_mul(131).wrapping_add(byte.into())
            })
        });
        eprintln!("SKEP_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// A time below `most`.
    fn below(&mut self, most: Duration) -> Duration {
        // Marsaglia's xorshift: enough to spread moments.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.0 % most)
    }
}
