//! The words of the command line for kinds, and `KIND NAME` or `KIND/NAME` read from arguments. Pure.

use super::error::Error;
use crate::api::name::{Kind, ObjectKey};

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    /// What users write.
    Object(Kind),
    /// Tasks.
    Task,
    /// Events.
    Event,
    /// Templates of services.
    Revision,
    /// Where services are reached.
    Endpoints,
}

/// A kind's words: plural first, and what `api-resources` says of it.
pub(super) struct Words {
    /// The kind.
    pub(super) resource: Resource,
    /// Plural, singular, short names.
    pub(super) words: &'static [&'static str],
    /// Who writes it.
    pub(super) writer: &'static str,
    /// Its key.
    pub(super) key: &'static str,
}

/// Every kind, in the order of `api-resources`.
pub(super) const ALL: [Words; 7] = [
    Words {
        resource: Resource::Object(Kind::Service),
        words: &["services", "service", "svc"],
        writer: "user",
        key: "services/<namespace>/<name>",
    },
    Words {
        resource: Resource::Object(Kind::Node),
        words: &["nodes", "node", "no"],
        writer: "user",
        key: "nodes/<name>",
    },
    Words {
        resource: Resource::Object(Kind::Network),
        words: &["networks", "network", "net"],
        writer: "user",
        key: "networks/<namespace>/<name>",
    },
    Words {
        resource: Resource::Task,
        words: &["tasks", "task"],
        writer: "service",
        key: "tasks/<namespace>/<service>/<id>",
    },
    Words {
        resource: Resource::Revision,
        words: &["revisions", "revision", "rev"],
        writer: "service",
        key: "revisions/<service-uid>/<n>",
    },
    Words {
        resource: Resource::Endpoints,
        words: &["endpoints", "endpoint", "ep"],
        writer: "(derived)",
        key: "-",
    },
    Words {
        resource: Resource::Event,
        words: &["events", "event", "ev"],
        writer: "all controllers",
        key: "(/skep-events/)<namespace>/<id>",
    },
];

impl Resource {
    /// The kind that a word means.
    pub(super) fn parse(word: &str) -> Result<Self, Error> {
        let lower = word.to_lowercase();
        ALL.iter()
            .find(|kind| kind.words.contains(&lower.as_str()))
            .map(|kind| kind.resource)
            .ok_or_else(|| {
                let known: Vec<_> = ALL.iter().map(|kind| kind.words[0]).collect();
                Error::Usage(format!("no kind `{word}`: there are {}", known.join(", ")))
            })
    }

    /// Its plural.
    pub(super) fn plural(self) -> &'static str {
        self.words()[0]
    }

    /// Its singular.
    pub(super) fn singular(self) -> &'static str {
        self.words()[1]
    }

    fn words(self) -> &'static [&'static str] {
        ALL.iter()
            .find(|kind| kind.resource == self)
            .map_or(&["", ""], |kind| kind.words)
    }
}

/// A kind and the names asked for; none: all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The kind.
    pub(super) resource: Resource,
    /// The names.
    pub(super) names: Vec<String>,
}

/// Reads `KIND[,KIND] [NAME...]` or `KIND/NAME...`.
pub(super) fn targets(arguments: &[String]) -> Result<Vec<Target>, Error> {
    let Some(first) = arguments.first() else {
        return Err(Error::Usage("say which kind, such as `services`".into()));
    };
    if arguments.iter().all(|argument| argument.contains('/')) {
        return arguments.iter().map(|argument| slashed(argument)).collect();
    }
    if let Some(odd) = arguments.iter().find(|argument| argument.contains('/')) {
        return Err(Error::Usage(format!(
            "`{odd}`: write either KIND NAME... or KIND/NAME..., not both"
        )));
    }
    // As with kubectl: what people look at most, not everything.
    let first = match first.as_str() {
        "all" => "services,nodes,networks,tasks",
        first => first,
    };
    first
        .split(',')
        .map(|word| {
            Ok(Target {
                resource: Resource::parse(word)?,
                names: arguments[1..].to_vec(),
            })
        })
        .collect()
}

fn slashed(argument: &str) -> Result<Target, Error> {
    let (kind, name) = argument.split_once('/').unwrap_or((argument, ""));
    Ok(Target {
        resource: Resource::parse(kind)?,
        names: vec![name.to_owned()],
    })
}

/// Reads names of objects that users write: `KIND NAME...` or `KIND/NAME...`.
pub(super) fn objects(arguments: &[String], namespace: &str) -> Result<Vec<ObjectKey>, Error> {
    let mut keys = Vec::new();
    for target in targets(arguments)? {
        let Resource::Object(kind) = target.resource else {
            return Err(Error::refused(format!(
                "{} are written by controllers, not by people: name a service, node or network",
                target.resource.plural()
            )));
        };
        if target.names.is_empty() {
            return Err(Error::Usage(format!(
                "which {}?",
                target.resource.singular()
            )));
        }
        let names = target.names.into_iter();
        keys.extend(names.map(|name| object(kind, namespace, &name)));
    }
    Ok(keys)
}

/// The reference of an object; the namespace counts only where the kind has one.
pub(super) fn object(kind: Kind, namespace: &str, name: &str) -> ObjectKey {
    let namespace = match kind.is_namespaced() {
        true => namespace,
        false => "",
    };
    ObjectKey {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// `service default/web`, `node n1`: an object in messages.
pub(super) fn title(key: &ObjectKey) -> String {
    let kind = Resource::Object(key.kind).singular();
    match key.kind.is_namespaced() {
        true => format!("{kind} {}/{}", key.namespace, key.name),
        false => format!("{kind} {}", key.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let arguments: Vec<String> = text.split_whitespace().map(Into::into).collect();
        objects(&arguments, "shop")
            .map(|keys| keys.iter().map(title).collect())
            .map_err(|error| error.chain())
    }

    #[test]
    fn both_forms_name_objects() {
        assert_eq!(
            read("svc web api").unwrap(),
            ["service shop/web", "service shop/api"]
        );
        assert_eq!(
            read("node/n1 Service/web").unwrap(),
            ["node n1", "service shop/web"]
        );
        assert!(read("svc").unwrap_err().contains("which service"));
        assert!(read("svc web/x").unwrap_err().contains("not both"));
        assert!(read("pods x").unwrap_err().contains("no kind `pods`"));
        assert!(
            read("task x")
                .unwrap_err()
                .contains("written by controllers")
        );
    }
}
