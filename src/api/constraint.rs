//! Placement constraints: `node.labels.disk == ssd`, `node.role != manager`.
//!
//! As in Swarm, values are compared without case and a label that a node does not have differs from every value.
//! Beyond Swarm, `x86_64` and `amd64` are one architecture, and so are `aarch64` and `arm64`: engines say one, images
//! the other. Deliberately absent: patterns, `node.ip`.

use super::nearest::suggestion;
use std::collections::BTreeMap;
use std::fmt;

/// What constraints know of a node.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The node's uid.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its host's name; empty while unknown.
    pub hostname: &'a str,
    /// `worker` or `manager`.
    pub role: &'a str,
    /// Its operating system (`linux`); empty while unknown.
    pub os: &'a str,
    /// Its architecture (`x86_64`); empty while unknown.
    pub arch: &'a str,
    /// Labels of the node's manifest.
    pub node_labels: &'a BTreeMap<String, String>,
    /// Labels of the engine's configuration.
    pub engine_labels: &'a BTreeMap<String, String>,
}

/// One condition on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    subject: Subject,
    equal: bool,
    value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Id,
    Name,
    Hostname,
    Role,
    Os,
    Arch,
    NodeLabel(String),
    EngineLabel(String),
}

const SUBJECTS: [(&str, Subject); 6] = [
    ("node.id", Subject::Id),
    ("node.name", Subject::Name),
    ("node.hostname", Subject::Hostname),
    ("node.role", Subject::Role),
    ("node.platform.os", Subject::Os),
    ("node.platform.arch", Subject::Arch),
];

impl Constraint {
    /// Reads `SUBJECT == VALUE` or `SUBJECT != VALUE`.
    ///
    /// # Errors
    /// There is no operator, the subject is unknown, or the value is empty; the text says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (subject, equal, value) = match (text.split_once("=="), text.split_once("!=")) {
            (Some((left, _)), Some((subject, value))) if subject.len() < left.len() => {
                (subject, false, value)
            }
            (Some((subject, value)), _) => (subject, true, value),
            (None, Some((subject, value))) => (subject, false, value),
            (None, None) => {
                return Err(format!(
                    "`{text}` is no constraint: write \"node.labels.disk == ssd\" or \"node.role != manager\""
                ));
            }
        };
        let value = value.trim();
        if value.is_empty() || value.starts_with('=') {
            return Err(format!(
                "`{text}` compares with nothing: write a value behind the operator"
            ));
        }
        Ok(Self {
            subject: Subject::parse(subject.trim())?,
            equal,
            value: value.to_owned(),
        })
    }

    /// Whether a node with these facts satisfies the constraint.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let actual = match &self.subject {
            Subject::Id => Some(facts.id),
            Subject::Name => Some(facts.name),
            Subject::Hostname => Some(facts.hostname),
            Subject::Role => Some(facts.role),
            Subject::Os => Some(facts.os),
            Subject::Arch => {
                let same = architecture(facts.arch) == architecture(&self.value);
                return same == self.equal;
            }
            Subject::NodeLabel(label) => facts.node_labels.get(label).map(String::as_str),
            Subject::EngineLabel(label) => facts.engine_labels.get(label).map(String::as_str),
        };
        actual.is_some_and(|actual| actual.eq_ignore_ascii_case(&self.value)) == self.equal
    }
}

impl Subject {
    fn parse(text: &str) -> Result<Self, String> {
        let label = |prefix: &str| text.strip_prefix(prefix).filter(|label| is_label(label));
        if let Some(label) = label("node.labels.") {
            return Ok(Self::NodeLabel(label.to_owned()));
        }
        if let Some(label) = label("engine.labels.") {
            return Ok(Self::EngineLabel(label.to_owned()));
        }
        match SUBJECTS.into_iter().find(|(name, _)| *name == text) {
            Some((_, subject)) => Ok(subject),
            None => {
                let mut names: Vec<&str> = SUBJECTS.iter().map(|(name, _)| *name).collect();
                names.extend(["node.labels.NAME", "engine.labels.NAME"]);
                Err(format!(
                    "nodes have no `{text}`: {}",
                    suggestion(text, &names)
                ))
            }
        }
    }
}

/// Whether `text` is what a preference spreads over: `node.labels.NAME` or `engine.labels.NAME`.
pub fn is_label_reference(text: &str) -> bool {
    matches!(
        Subject::parse(text),
        Ok(Subject::NodeLabel(_) | Subject::EngineLabel(_))
    )
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    !text.is_empty() && text.bytes().all(inner)
}

fn architecture(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::NodeLabel(label) => write!(f, "node.labels.{label}")?,
            Subject::EngineLabel(label) => write!(f, "engine.labels.{label}")?,
            plain => {
                let name = SUBJECTS.iter().find(|(_, subject)| subject == plain);
                f.write_str(name.map_or("", |(name, _)| name))?;
            }
        }
        write!(
            f,
            " {} {}",
            if self.equal { "==" } else { "!=" },
            self.value
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node n1 on host h1, worker, linux on x86_64, disk=ssd, engine label rack=7.
    fn check(text: &str, holds: bool) {
        let node_labels = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
        let engine_labels = BTreeMap::from([("rack".to_owned(), "7".to_owned())]);
        let facts = Facts {
            id: "0000000000000000000000abc",
            name: "n1",
            hostname: "h1",
            role: "worker",
            os: "linux",
            arch: "x86_64",
            node_labels: &node_labels,
            engine_labels: &engine_labels,
        };
        let constraint = Constraint::parse(text).expect(text);
        assert_eq!(constraint.holds(&facts), holds, "{text}");
        assert_eq!(
            Constraint::parse(&constraint.to_string()),
            Ok(constraint),
            "{text}"
        );
    }

    #[test]
    fn constraints_hold_as_in_swarm() {
        check("node.id == 0000000000000000000000abc", true);
        check("node.name==n1", true);
        check("node.hostname != h1", false);
        check("node.role == Worker", true);
        check("node.role != manager", true);
        check("node.platform.os == windows", false);
        check("node.platform.arch == amd64", true);
        check("node.platform.arch != X86_64", false);
        check("node.labels.disk == SSD", true);
        check("node.labels.zone == a", false);
        check("node.labels.zone != a", true);
        check("engine.labels.rack == 7", true);
        check("node.labels.disk != a==b", true);
    }

    #[test]
    fn what_is_no_constraint_says_what_would_be() {
        let check = |text: &str, hint: &str| {
            let message = Constraint::parse(text).expect_err(text);
            assert!(message.contains(hint), "{text}: {message}");
        };
        check("node.role", "is no constraint");
        check("node.rol == worker", "did you mean `node.role`?");
        check("node.labels. == x", "node.labels.NAME");
        check("node.role ==", "compares with nothing");
        check("node.role = worker", "is no constraint");
        check("", "is no constraint");
    }
}
