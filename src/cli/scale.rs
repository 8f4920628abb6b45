//! `skep scale`: edits `replicas` in the user's text where it stands, else says it beside the manifest.

use super::converge;
use super::error::Error;
use super::kinds::{self, title};
use super::session::Session;
use super::text::{self, Meaning};
use super::write::{self, Guarded};
use crate::api::key::Key;
use crate::api::manifest::Spec;
use crate::api::name::{DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::api::service::Mode;
use crate::api::unit::Period;
use crate::runtime::cache::Cache;

/// Arguments of `skep scale`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// NAME REPLICAS, NAME=REPLICAS..., or NAME... with --replicas; also service/NAME
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
    /// How many
    #[arg(long)]
    pub replicas: Option<u32>,
    /// Only if there are so many asked for now
    #[arg(long, value_name = "REPLICAS")]
    pub current_replicas: Option<u32>,
    /// The namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// Wait until they are there
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = super::period)]
    pub timeout: Period,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let wanted = wanted(&args)?;
    let cache = session.snapshot().await?;
    let mut writes = Vec::new();
    let mut lines = Vec::new();
    for (key, replicas) in &wanted {
        let (before, change) = decide(session, &cache, key, *replicas)?;
        if let Some(expected) = args.current_replicas.filter(|expected| *expected != before) {
            return Err(Error::refused(format!(
                "{}: {before} replicas are asked for, not {expected}: nothing was written",
                title(key)
            )));
        }
        lines.push(match &change {
            Some(_) => format!("{} scaled ({before} -> {replicas})", title(key)),
            None => format!("{} unchanged ({before})", title(key)),
        });
        writes.extend(change.into_iter().flatten());
    }
    let revision = match writes.is_empty() {
        true => cache.revision,
        false => write::commit(session, &writes).await?,
    };
    lines
        .iter()
        .try_for_each(|line| session.terminal.line(line))?;
    if args.wait {
        let keys = wanted.into_iter().map(|(key, _)| key).collect();
        converge::wait(session, keys, revision, args.timeout.0).await?;
    }
    Ok(())
}

fn wanted(args: &Args) -> Result<Vec<(ObjectKey, u32)>, Error> {
    let one = |text: &String| {
        let (name, own) = match text.split_once('=') {
            Some((name, number)) => {
                let number = number.parse().map_err(|_| {
                    Error::Usage(format!("`{text}`: `{number}` is no number of replicas"))
                })?;
                (name, Some(number))
            }
            None => (text.as_str(), None),
        };
        let name = name.rsplit('/').next().unwrap_or(name);
        let replicas = own.or(args.replicas).ok_or_else(|| {
            Error::Usage(format!(
                "how many? write `skep scale {name} 3` or --replicas 3"
            ))
        })?;
        Ok((
            kinds::object(Kind::Service, &args.namespace, name),
            replicas,
        ))
    };
    // `scale web 5`; with --replicas a second word is a service, even one of digits.
    if let ([name, number], None) = (args.services.as_slice(), args.replicas)
        && !name.contains('=')
        && number.parse::<u32>().is_ok()
    {
        return Ok(vec![one(&format!("{name}={number}"))?]);
    }
    if let ([name, number], None) = (args.services.as_slice(), args.replicas)
        && number.parse::<f64>().is_ok()
    {
        return Err(Error::Usage(format!(
            "`{number}` is no number of replicas for {name}"
        )));
    }
    args.services.iter().map(one).collect()
}

/// How many are asked for now, and the writes that change it; none: nothing to change.
fn decide(
    session: &Session,
    cache: &Cache,
    key: &ObjectKey,
    replicas: u32,
) -> Result<(u32, Option<Vec<Guarded>>), Error> {
    let Some(stored) = cache.users.get(key) else {
        return Err(Error::refused(format!("there is no {}", title(key))));
    };
    let meaning = text::meaning(key, &stored.value).map_err(|problem| {
        let message = format!(
            "the stored value of {} cannot be read: {problem}",
            title(key)
        );
        Error::advised(message, "put it right with `skep apply -f`")
    })?;
    let in_manifest = in_manifest(key, &meaning)?;
    let scale = Key::Scale(key.scoped());
    let in_force = || cache.services.get(&key.scoped())?.spec.replicas;
    let before = in_manifest
        .or_else(|| text::scaled(cache, key))
        .or_else(in_force)
        .unwrap_or(1);
    if before == replicas {
        return Ok((before, None));
    }
    let user = session.key(&Key::User(key.clone()));
    let writes = match in_manifest {
        Some(_) => vec![Guarded {
            key: user,
            value: Some(text::with_replicas(&stored.value, replicas).map_err(Error::refused)?),
            read: Some(stored.mod_revision),
        }],
        None => vec![Guarded {
            key: session.key(&scale),
            value: Some(replicas.to_string().into_bytes()),
            read: cache.mod_revision(&scale),
        }],
    };
    Ok((before, Some(writes)))
}

/// The replicas that the manifest names.
fn in_manifest(key: &ObjectKey, meaning: &Meaning) -> Result<Option<u32>, Error> {
    match &meaning.spec {
        Spec::Service(spec) => match spec.mode {
            Mode::Replicated | Mode::ReplicatedJob => Ok(spec.replicas),
            Mode::Global | Mode::GlobalJob => Err(Error::refused(format!(
                "{} is global: it has one task on each node",
                title(key)
            ))),
        },
        Spec::Node(_) | Spec::Network(_) => Err(Error::refused("only services have replicas")),
    }
}
