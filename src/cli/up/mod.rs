//! What `skep up` shows while it runs: a live view where a person looks, else a line for each change.
//!
//! It reads along: the cache that the manager of this process fills, and the events beside it. It writes nothing to the
//! store. The running itself is `app`'s.

#[cfg(test)]
mod fixture;
mod lines;
mod log;
mod news;
mod picture;
mod screen;
mod view;

pub use log::Log;
pub use picture::Place;

use super::error::Error;
use super::session::Session;
use super::tasks;
use super::terminal::Terminal;
use crate::api::cluster::Event;
use crate::api::name::Kind;
use crate::runtime::shared::SharedCache;
use picture::Picture;
use screen::Screen;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// At most ten pictures a second.
const REST: Duration = Duration::from_millis(100);

/// Ages are renewed so often.
const TICK: Duration = Duration::from_secs(1);

/// What is shown.
pub struct Shown {
    /// Where this `skep up` is.
    pub place: Place,
    /// What the manager of this process knows.
    pub cache: Arc<SharedCache>,
    /// Warnings of this process; shown by the live view alone.
    pub log: Log,
    /// Whether a person looks: the live view.
    pub is_live: bool,
}

/// Whether a live view makes sense: a terminal that can move its cursor.
pub fn is_live(terminal: &Terminal, environment: &BTreeMap<String, String>) -> bool {
    let kind = environment.get("TERM").map_or("", String::as_str);
    terminal.is_interactive() && !matches!(kind, "" | "dumb")
}

/// Says where it is, where no view says so all the time.
pub fn begin(session: &Session, place: &Place) {
    let Place { store, data, .. } = place;
    let text = format!("{} skep up, store {store}, data {data}", session.now());
    // An output that is gone is found by the first change.
    let _ = session.terminal.line(&text);
}

/// Shows the cluster until `stop` turns true.
pub async fn show(session: Session, shown: Shown, stop: watch::Receiver<bool>) {
    let (sender, news) = watch::channel(Vec::new());
    let following = tokio::spawn(news::follow(session.clone(), sender));
    let outcome = match shown.is_live {
        true => live(&session, &shown, news, stop).await,
        false => lines(&session, &shown, news, stop).await,
    };
    following.abort();
    if let Err(error) = outcome {
        // The output is gone: what runs goes on without it.
        tracing::warn!(error = error.chain(), "nothing can be shown any more");
    }
}

/// What is said after the end: how many containers go on.
pub fn farewell(session: &Session, cache: &SharedCache) {
    let running = cache.read(|cache| {
        let tasks = tasks::all(cache, None);
        let runs = |task: &&tasks::Named<'_>| {
            task.view.is_live()
                && task
                    .view
                    .status
                    .is_some_and(|status| status.container.is_some())
        };
        tasks.iter().filter(runs).count()
    });
    session.terminal.note(&view::farewell(running));
}

/// The manifest of the node that `skep up` adds: this machine's engine.
///
/// # Errors
/// The URL or a name is not one that a node may have.
pub fn node(name: &str, engine: &str, manager: &str) -> Result<String, String> {
    let manifest = super::node::plain(name, engine, manager);
    let key = super::kinds::object(Kind::Node, "", name);
    super::text::placeless(&key, &manifest)?;
    Ok(manifest)
}

type News = watch::Receiver<Vec<Event>>;

fn picture(shown: &Shown, news: &News) -> Picture {
    Picture {
        events: news.borrow().clone(),
        warnings: shown.log.lines(),
        ..shown.cache.read(Picture::of)
    }
}

async fn live(
    session: &Session,
    shown: &Shown,
    mut news: News,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let screen = Screen::open(&session.terminal)?;
    let mut progress = shown.cache.follow();
    let mut resized = signal(SignalKind::window_change()).ok();
    loop {
        let lines = view::frame(
            &picture(shown, &news),
            &shown.place,
            session.now(),
            screen.size(),
            session.terminal.has_colour(),
        );
        screen.show(&lines)?;
        tokio::time::sleep(REST).await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = progress.changed() => {}
            Ok(()) = news.changed() => {}
            () = next(&mut resized) => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn lines(
    session: &Session,
    shown: &Shown,
    mut news: News,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut progress = shown.cache.follow();
    let mut before = Picture::default();
    // What happened before this start was told then. A store that does not answer is no reason to wait for it.
    let _ = tokio::time::timeout(TICK, news.changed()).await;
    before.events = news.borrow_and_update().clone();
    loop {
        let after = picture(shown, &news);
        for line in lines::changes(&before, &after) {
            session
                .terminal
                .line(&format!("{} {line}", session.now()))?;
        }
        before = after;
        tokio::time::sleep(REST).await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = progress.changed() => {}
            Ok(()) = news.changed() => {}
        }
    }
}
