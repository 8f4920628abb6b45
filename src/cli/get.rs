//! `skep get`: lists objects, tasks, revisions, endpoints and events from one consistent snapshot; `-w` goes on with what changes.

use super::endpoints::{self, Endpoints};
use super::error::Error;
use super::events;
use super::kinds::{self, Resource, Target};
use super::object;
use super::print::{self, Columns};
use super::selector::Selector;
use super::session::Session;
use super::table::{self, Shape};
use super::tasks::{self, Named};
use crate::api::name::{Kind, ObjectKey, Scoped};
use crate::api::task::ServiceRevision;
use crate::api::time::Timestamp;
use crate::runtime::cache::{Cache, Stored};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Arguments of `skep get`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// KIND [NAME...] or KIND/NAME...; several kinds separated by commas
    #[arg(required = true, value_name = "KIND [NAME]")]
    pub targets: Vec<String>,
    /// How to print it
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
    /// Go on with what changes
    #[arg(short, long)]
    pub watch: bool,
    /// Only objects with these labels: a=b, a!=b, a, !a, a in (x,y)
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    pub selector: String,
    /// The namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// No header line
    #[arg(long)]
    pub no_headers: bool,
}

/// How `get` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names only.
    Name,
}

/// Something that is listed.
struct Item {
    /// `services/default/web`: what it is called everywhere.
    name: String,
    row: Vec<String>,
    value: Value,
}

/// Everything of one kind that was asked for.
struct Listing {
    header: Vec<&'static str>,
    items: Vec<Item>,
    /// What was asked for by name and is not there.
    missing: Vec<String>,
}

struct View<'a> {
    cache: &'a Cache,
    args: &'a Args,
    selector: &'a Selector,
    now: Timestamp,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let selector = Selector::parse(&args.selector).map_err(Error::Usage)?;
    let targets = merged(kinds::targets(&args.targets)?);
    if let [
        Target {
            resource: Resource::Event,
            ..
        },
    ] = targets.as_slice()
    {
        return events::list(session, &args).await;
    }
    let cache = session.snapshot().await?;
    let listings = look(session, &cache, &args, &selector, &targets)?;
    print_all(session, &args, &targets, &listings)?;
    let missing: Vec<&str> = listings
        .iter()
        .flat_map(|listing| &listing.missing)
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let text = missing.join(", no ");
        return Err(Error::refused(format!("there is no {text}")));
    }
    match args.watch {
        true => watch(session, cache, &args, &selector, &targets, &listings).await,
        false => Ok(()),
    }
}

/// `svc/a svc/b` is one listing of two names.
fn merged(targets: Vec<Target>) -> Vec<Target> {
    let mut merged: Vec<Target> = Vec::new();
    for target in targets {
        match merged
            .iter_mut()
            .find(|known| known.resource == target.resource)
        {
            Some(known) => known.names.extend(target.names),
            None => merged.push(target),
        }
    }
    merged
}

fn look(
    session: &Session,
    cache: &Cache,
    args: &Args,
    selector: &Selector,
    targets: &[Target],
) -> Result<Vec<Listing>, Error> {
    let view = View {
        cache,
        args,
        selector,
        now: session.now(),
    };
    targets.iter().map(|target| view.listing(target)).collect()
}

impl View<'_> {
    fn shape(&self) -> Shape {
        Shape {
            wide: self.args.output == Some(Output::Wide),
            namespaces: self.args.all_namespaces,
        }
    }

    fn namespace(&self) -> Option<&str> {
        (!self.args.all_namespaces).then_some(self.args.namespace.as_str())
    }

    fn listing(&self, target: &Target) -> Result<Listing, Error> {
        match target.resource {
            Resource::Object(kind) => self.objects(kind, &target.names),
            Resource::Task => self.tasks(&target.names),
            Resource::Revision => self.revisions(&target.names),
            Resource::Endpoints => Ok(self.endpoints(&target.names)),
            Resource::Event => Err(Error::Usage("get events by themselves".into())),
        }
    }

    fn objects(&self, kind: Kind, names: &[String]) -> Result<Listing, Error> {
        let keys: Vec<ObjectKey> = object::keys(self.cache, kind)
            .into_iter()
            .filter(|key| !kind.is_namespaced() || self.is_here(&key.namespace))
            .filter(|key| names.is_empty() || names.contains(&key.name))
            .filter(|key| self.is_selected(key))
            .collect();
        let missing: Vec<String> = names
            .iter()
            .filter(|name| !keys.iter().any(|key| key.name == **name))
            .map(|name| kinds::title(&kinds::object(kind, &self.args.namespace, name)))
            .collect();
        let missing = match self.selector.is_empty() {
            true => missing,
            false => Vec::new(),
        };
        let shape = self.shape();
        let items = keys.iter().map(|key| Item {
            name: key.to_string(),
            row: table::row(self.cache, key, self.now, shape),
            value: object::manifest(self.cache, key),
        });
        Ok(Listing {
            header: table::header(kind, shape),
            items: items.collect(),
            missing,
        })
    }

    fn tasks(&self, names: &[String]) -> Result<Listing, Error> {
        let mut found = Vec::new();
        match names.is_empty() {
            true => found.extend(tasks::all(self.cache, self.namespace())),
            false => {
                for name in names {
                    found.extend(tasks::named(self.cache, self.namespace(), name)?);
                }
            }
        }
        let shape = self.shape();
        let items = found
            .iter()
            .filter(|task| self.is_selected(&ObjectKey::service(task.service)))
            .map(|task| Item {
                name: format!("tasks/{}/{}", task.service, task.view.task.id),
                row: table::task_row(task, self.now, shape),
                value: task_value(task),
            });
        Ok(Listing {
            header: table::task_header(shape),
            items: items.collect(),
            missing: Vec::new(),
        })
    }

    fn revisions(&self, names: &[String]) -> Result<Listing, Error> {
        let mut items = Vec::new();
        for (service, accepted) in &self.cache.services {
            let wanted = names.is_empty() || names.iter().any(|name| service.name == *name);
            if wanted && self.is_here(&service.namespace) {
                let revisions = self.cache.revisions_of(&accepted.uid);
                items.extend(revisions.map(|revision| self.revision(service, revision)));
            }
        }
        let mut header = vec!["SERVICE", "REVISION", "IMAGE", "CAUSE", "AGE"];
        if self.args.all_namespaces {
            header.insert(0, "NAMESPACE");
        }
        Ok(Listing {
            header,
            items,
            missing: Vec::new(),
        })
    }

    fn revision(&self, service: &Scoped, revision: &Stored<ServiceRevision>) -> Item {
        let mut row = vec![
            service.name.to_string(),
            revision.number.to_string(),
            revision.template.container.image.clone(),
            revision.cause.clone(),
            print::age(self.now, revision.created_at),
        ];
        if self.args.all_namespaces {
            row.insert(0, service.namespace.to_string());
        }
        Item {
            name: format!("revisions/{}/{}", revision.service, revision.number),
            row,
            value: json!({
                "apiVersion": "skep.dev/v1", "kind": "ServiceRevision",
                "metadata": {"name": format!("{}-{}", service.name, revision.number), "namespace": service.namespace},
                "spec": revision.value.as_ref(),
            }),
        }
    }

    fn endpoints(&self, names: &[String]) -> Listing {
        let shape = self.shape();
        let services = self.cache.services.iter();
        let found: Vec<Endpoints<'_>> = services
            .filter(|(name, _)| self.is_here(&name.namespace))
            .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| name.name == *wanted))
            .map(|(name, service)| Endpoints::of(self.cache, name, service))
            .filter(|endpoints| self.is_selected(&endpoints.object()))
            .collect();
        let items = found.iter().map(|endpoints| Item {
            name: endpoints.called(),
            row: endpoints.row(self.now, shape),
            value: endpoints.value(),
        });
        let is_missing = |name: &&String| {
            self.selector.is_empty() && !found.iter().any(|one| one.object().name == **name)
        };
        let missing = names.iter().filter(is_missing);
        let missing = missing.map(|name| format!("service {}/{name}", self.args.namespace));
        Listing {
            header: endpoints::header(shape),
            missing: missing.collect(),
            items: items.collect(),
        }
    }

    fn is_here(&self, namespace: &str) -> bool {
        self.namespace().is_none_or(|wanted| wanted == namespace)
    }

    fn is_selected(&self, key: &ObjectKey) -> bool {
        self.selector.is_empty()
            || self
                .selector
                .matches(&object::annotated(self.cache, key).labels)
    }
}

/// A task as an object: what is wanted, where, and what was seen.
pub(super) fn task_value(task: &Named<'_>) -> Value {
    let record = task.view.task;
    json!({
        "apiVersion": "skep.dev/v1",
        "kind": "Task",
        "metadata": {
            "name": record.id, "namespace": task.service.namespace,
            "creationTimestamp": record.created_at,
            "resourceVersion": record.mod_revision.to_string(),
        },
        "service": task.service.name,
        "spec": record.value.as_ref(),
        "node": task.view.node,
        "state": task.view.state.as_str(),
        "status": task.view.status.map(|status| status.value.as_ref()),
    })
}

fn print_all(
    session: &Session,
    args: &Args,
    targets: &[Target],
    listings: &[Listing],
) -> Result<(), Error> {
    let items = || listings.iter().flat_map(|listing| &listing.items);
    let single = matches!(targets, [target] if target.names.len() == 1) && items().count() == 1;
    let whole = || match items().next() {
        Some(item) if single => item.value.clone(),
        _ => {
            let values: Vec<&Value> = items().map(|item| &item.value).collect();
            json!({"apiVersion": "skep.dev/v1", "kind": "List", "items": values})
        }
    };
    match args.output {
        Some(Output::Json) => session.terminal.line(&print::json(&whole())),
        // A list is a stream of documents, so that it can be applied as it is.
        Some(Output::Yaml) => {
            let texts: Vec<String> = items().map(|item| print::yaml(&item.value)).collect();
            session.terminal.write(texts.join("---\n").as_bytes())
        }
        Some(Output::Name) => items().try_for_each(|item| session.terminal.line(&item.name)),
        Some(Output::Wide) | None => tables(session, args, targets, listings),
    }
}

fn tables(
    session: &Session,
    args: &Args,
    targets: &[Target],
    listings: &[Listing],
) -> Result<(), Error> {
    let filled: Vec<&Listing> = listings
        .iter()
        .filter(|list| !list.items.is_empty())
        .collect();
    let is_missing = listings.iter().any(|listing| !listing.missing.is_empty());
    if filled.is_empty() && !args.watch && !is_missing {
        let has_namespace = |target: &Target| match target.resource {
            Resource::Object(kind) => kind.is_namespaced(),
            Resource::Task | Resource::Event | Resource::Revision | Resource::Endpoints => true,
        };
        let place = match !args.all_namespaces && targets.iter().any(has_namespace) {
            true => format!(" in namespace {}", args.namespace),
            false => String::new(),
        };
        session.terminal.note(&format!("nothing found{place}"));
    }
    for (index, listing) in filled.into_iter().enumerate() {
        if index > 0 {
            session.terminal.line("")?;
        }
        let rows: Vec<Vec<String>> = listing.items.iter().map(|item| item.row.clone()).collect();
        let header: &[&str] = if args.no_headers {
            &[]
        } else {
            &listing.header
        };
        session.terminal.line(&print::table(header, &rows))?;
    }
    Ok(())
}

/// Prints what changes, an object at a time. An age alone is no change.
async fn watch(
    session: &Session,
    cache: Cache,
    args: &Args,
    selector: &Selector,
    targets: &[Target],
    first: &[Listing],
) -> Result<(), Error> {
    let mut shown = contents(first);
    let mut columns: Vec<Columns> = first.iter().map(Listing::columns).collect();
    let mut follow = session.follow(cache);
    loop {
        follow.changed().await?;
        // A task whose name is gone is a change like others here.
        let listings = match look(session, &follow.cache, args, selector, targets) {
            Ok(listings) => listings,
            Err(Error::Refused { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let present = contents(&listings);
        for (index, listing) in listings.iter().enumerate() {
            for item in &listing.items {
                if shown.get(&item.name).map(|(_, value, _)| value) != Some(&item.value) {
                    print_item(session, args, item, &mut columns[index])?;
                }
            }
        }
        for (name, (index, value, row)) in &shown {
            if !present.contains_key(name) {
                let mut row = row.clone();
                row.push("(gone)".into());
                let item = Item {
                    name: name.clone(),
                    row,
                    value: value.clone(),
                };
                print_item(session, args, &item, &mut columns[*index])?;
            }
        }
        shown = present;
    }
}

impl Listing {
    fn columns(&self) -> Columns {
        let rows: Vec<Vec<String>> = self.items.iter().map(|item| item.row.clone()).collect();
        Columns::of(&self.header, &rows)
    }
}

/// What is shown, with the listing in which it stands.
fn contents(listings: &[Listing]) -> BTreeMap<String, (usize, Value, Vec<String>)> {
    let items = listings
        .iter()
        .enumerate()
        .flat_map(|(index, listing)| listing.items.iter().map(move |item| (index, item)));
    items
        .map(|(index, item)| {
            let shown = (index, item.value.clone(), item.row.clone());
            (item.name.clone(), shown)
        })
        .collect()
}

fn print_item(
    session: &Session,
    args: &Args,
    item: &Item,
    columns: &mut Columns,
) -> Result<(), Error> {
    match args.output {
        Some(Output::Json) => session.terminal.line(&item.value.to_string()),
        Some(Output::Yaml) => session
            .terminal
            .write(format!("---\n{}", print::yaml(&item.value)).as_bytes()),
        Some(Output::Name) => session.terminal.line(&item.name),
        Some(Output::Wide) | None => session.terminal.line(&columns.row(&item.row)),
    }
}
