//! `skep events`: what happened, the latest last. Events live beside the prefix, so this lists and watches its own.

use super::error::Error;
use super::get;
use super::print;
use super::session::Session;
use super::table::{self, Shape};
use crate::api::cluster::Event;
use crate::api::key::event_prefix;
use crate::api::name::DEFAULT_NAMESPACE;
use crate::api::unit::Revision;
use crate::store::{self, WatchEvent, WatchRequest};
use futures::StreamExt;
use serde_json::json;
use std::time::Duration;

/// Arguments of `skep events`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only of this object (services/default/web, web, nodes/n1)
    #[arg(value_name = "OBJECT")]
    pub object: Option<String>,
    /// Go on with what happens
    #[arg(short, long)]
    pub watch: bool,
    /// The namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How to print it
    #[arg(short, long, value_enum)]
    pub output: Option<get::Output>,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let prefix = event_prefix(&session.prefix);
    let (events, revision) = all(session).await?;
    let shown: Vec<Event> = events
        .into_iter()
        .filter(|event| is_wanted(event, &args))
        .collect();
    print_all(session, &shown, args.output)?;
    if !args.watch {
        if shown.is_empty() {
            session.terminal.note("no events");
        }
        return Ok(());
    }
    watch(session, &args, prefix, revision).await
}

/// `get events` is the same.
pub(super) async fn list(session: &Session, args: &get::Args) -> Result<(), Error> {
    let args = Args {
        object: None,
        watch: args.watch,
        namespace: args.namespace.clone(),
        all_namespaces: args.all_namespaces,
        output: args.output,
    };
    run(session, args).await
}

/// All events, the latest last; those that do not parse are left out.
pub(super) async fn all(session: &Session) -> Result<(Vec<Event>, Revision), Error> {
    let (kvs, revision) = session.list(&event_prefix(&session.prefix)).await?;
    let mut events: Vec<Event> = kvs
        .iter()
        .filter_map(|kv| serde_json::from_slice(&kv.value).ok())
        .collect();
    events.sort_by_key(|event| event.last);
    Ok((events, revision))
}

/// Whether an event is about an object: the object itself or, of a service, one of its tasks.
pub(super) fn is_about(event: &Event, object: &str) -> bool {
    let tasks = object
        .strip_prefix("services/")
        .map(|rest| format!("tasks/{rest}/"));
    event.object == object || tasks.is_some_and(|tasks| event.object.starts_with(&tasks))
}

fn is_wanted(event: &Event, args: &Args) -> bool {
    let parts: Vec<&str> = event.object.split('/').collect();
    let is_here = match parts.as_slice() {
        [_, namespace, _, ..] => args.all_namespaces || *namespace == args.namespace,
        _ => true,
    };
    let is_it = args.object.as_deref().is_none_or(|object| {
        let service = format!("services/{}/{object}", args.namespace);
        is_about(event, object) || is_about(event, &service) || parts.last() == Some(&object)
    });
    is_here && is_it
}

fn print_all(
    session: &Session,
    events: &[Event],
    output: Option<get::Output>,
) -> Result<(), Error> {
    let shape = Shape {
        wide: output == Some(get::Output::Wide),
        namespaces: false,
    };
    match output {
        Some(get::Output::Json) => {
            let list = json!({"apiVersion": "skep.dev/v1", "kind": "List", "items": events});
            session.terminal.line(&print::json(&list))
        }
        Some(get::Output::Yaml) => {
            let texts: Vec<String> = events.iter().map(|e| print::yaml(&json!(e))).collect();
            session.terminal.write(texts.join("---\n").as_bytes())
        }
        Some(get::Output::Name) => events
            .iter()
            .try_for_each(|event| session.terminal.line(&event.object)),
        Some(get::Output::Wide) | None if events.is_empty() => Ok(()),
        Some(get::Output::Wide) | None => {
            let now = session.now();
            let rows: Vec<_> = events
                .iter()
                .map(|e| table::event_row(e, now, shape))
                .collect();
            session
                .terminal
                .line(&print::table(&table::event_header(shape), &rows))
        }
    }
}

async fn watch(
    session: &Session,
    args: &Args,
    prefix: String,
    from: Revision,
) -> Result<(), Error> {
    let mut reached = from;
    let mut is_said = false;
    loop {
        let start = Revision(reached.0 + 1);
        let request = WatchRequest {
            prefix: prefix.clone(),
            start,
        };
        match session.kv.watch(request).await {
            Ok(mut stream) => {
                while let Some(Ok(batch)) = stream.next().await {
                    is_said = false;
                    reached = reached.max(batch.revision);
                    for event in batch.events {
                        print_event(session, args, &event)?;
                    }
                }
            }
            Err(store::Error::Compacted { oldest, .. }) => {
                session.terminal.note("some events are compacted away");
                reached = reached.max(Revision(oldest.0.max(all(session).await?.1.0)));
            }
            Err(error) if error.is_retryable() => {
                if !std::mem::replace(&mut is_said, true) {
                    session.terminal.note(&format!("{error}: trying again"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn print_event(session: &Session, args: &Args, event: &WatchEvent) -> Result<(), Error> {
    let WatchEvent::Put(kv) = event else {
        return Ok(());
    };
    let Ok(event) = serde_json::from_slice::<Event>(&kv.value) else {
        return Ok(());
    };
    if !is_wanted(&event, args) {
        return Ok(());
    }
    match args.output {
        Some(get::Output::Json) => session.terminal.line(&json!(event).to_string()),
        Some(get::Output::Yaml) => session
            .terminal
            .write(format!("---\n{}", print::yaml(&json!(event))).as_bytes()),
        Some(get::Output::Name) => session.terminal.line(&event.object),
        Some(get::Output::Wide) | None => {
            let shape = Shape {
                wide: args.output.is_some(),
                namespaces: false,
            };
            let row = table::event_row(&event, session.now(), shape);
            session.terminal.line(&print::table(&[], &[row]))
        }
    }
}
