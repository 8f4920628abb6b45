//! What the log says of a store that is away, and what is told to the end.

use crate::world::World;
use skep::api::name::{ObjectKey, Scoped};
use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;
use std::time::Duration;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The lines that are logged on this thread. The subscriber is the whole process's: one that belongs to a thread misses
/// what another thread, which has none, logs first.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::INFO)
                .with_ansi(false)
                .with_writer(|| Self)
                .init();
        });
        Self
    }

    /// The lines with this word that were logged since the last call.
    fn take(&self, word: &str) -> Vec<String> {
        let bytes = LINES.take();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| line.contains(word));
        lines.map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_one_line_then_one_a_minute_and_one_when_it_is_back() {
    let log = Log::start();
    let world = World::start(2).await;
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    world.quiet().await;
    assert_eq!(log.take("WARN"), Vec::<String>::new());

    world.line("m1").set_up(false);
    world.pass(Duration::from_secs(30)).await;
    let lines = log.take("WARN");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("the store is away"), "{lines:#?}");

    world.pass(Duration::from_secs(300)).await;
    let lines = log.take("WARN");
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let is_reminder = |line: &String| line.contains("the store is still away");
    assert!(lines.iter().all(is_reminder), "{lines:#?}");

    world.line("m1").set_up(true);
    world.pass(Duration::from_secs(30)).await;
    let lines = log.take("the store is back");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let (_, seconds) = lines[0].split_once("seconds=").unwrap();
    let seconds: f64 = seconds.split(' ').next().unwrap().parse().unwrap();
    assert!((330.0..340.0).contains(&seconds), "{lines:#?}");
    world.settled().await;
    assert_eq!(log.take("WARN"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_last_events_of_a_manager_that_stops_are_written() {
    let mut world = World::start(1).await;
    world.quiet().await;
    world.put("services/default/web", "garbage: [");
    let web = ObjectKey::service(&Scoped::new("default", "web"));
    // In steps much shorter than the recorder's courtesy.
    while world.condition(&web, "service", "Accepted").is_none() {
        world.pass(Duration::from_millis(1)).await;
    }
    let is_told = |world: &World| {
        let events = world.events();
        events
            .iter()
            .any(|event| event.object == "services/default/web")
    };
    assert!(!is_told(&world), "it lets other writes go first");
    world.stop("m1").await;
    assert!(is_told(&world), "{:#?}", world.events());
}
