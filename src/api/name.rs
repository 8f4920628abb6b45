//! Names and references of objects.

use super::text::Text;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The namespace of objects whose manifest names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The kinds that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A replicated or global set of tasks.
    Service,
    /// A Docker Engine.
    Node,
    /// An overlay network.
    Network,
}

impl Kind {
    /// Every kind, in the order that `api-resources` lists them.
    pub const ALL: [Self; 3] = [Self::Service, Self::Node, Self::Network];

    /// The word in manifests (`kind: Service`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Node => "Node",
            Self::Network => "Network",
        }
    }

    /// The word in keys and on the command line.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Node => "nodes",
            Self::Network => "networks",
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::Service | Self::Network => true,
            Self::Node => false,
        }
    }

    /// The kind with this plural.
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// The kind that people mean on the command line, in any case: `service`, `services`, `svc`, `no`, `net` ...
    pub fn from_user(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "service" | "services" | "svc" => Some(Self::Service),
            "node" | "nodes" | "no" => Some(Self::Node),
            "network" | "networks" | "net" => Some(Self::Network),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names one object of a namespaced kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scoped {
    /// The namespace.
    pub namespace: Text,
    /// The name within it.
    pub name: Text,
}

impl Scoped {
    /// A reference from its two parts.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Scoped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A node's name: a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(Text);

impl NodeName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for NodeName {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for NodeName {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Names one object that people write: kind, namespace where the kind has one, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for kinds without one.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// A service.
    pub fn service(service: &Scoped) -> Self {
        Self {
            kind: Kind::Service,
            namespace: service.namespace.to_string(),
            name: service.name.to_string(),
        }
    }

    /// A network.
    pub fn network(network: &Scoped) -> Self {
        Self {
            kind: Kind::Network,
            namespace: network.namespace.to_string(),
            name: network.name.to_string(),
        }
    }

    /// A node.
    pub fn node(node: &NodeName) -> Self {
        Self {
            kind: Kind::Node,
            namespace: String::new(),
            name: node.as_str().to_owned(),
        }
    }

    /// Namespace and name together.
    pub fn scoped(&self) -> Scoped {
        Scoped::new(&self.namespace, &self.name)
    }

    /// The name as a node's.
    pub fn node_name(&self) -> NodeName {
        NodeName::from(self.name.as_str())
    }
}

/// `services/default/web`, `nodes/n1`: the tail of the object's key.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.is_namespaced() {
            true => write!(f, "{}/{}/{}", self.kind.plural(), self.namespace, self.name),
            false => write!(f, "{}/{}", self.kind.plural(), self.name),
        }
    }
}

/// Whether `name` may name a service, network or namespace: Swarm's rule
/// `[A-Za-z0-9]([-_]*[A-Za-z0-9]+)*`, at most 63 characters.
pub fn is_object_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| inner(*b))
}

/// Whether `name` may name a node: a DNS name, labels of up to 63 characters, 253 in all.
pub fn is_node_name(name: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= 63
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_name_kinds_as_they_like() {
        for (word, kind) in [
            ("svc", Kind::Service),
            ("Services", Kind::Service),
            ("no", Kind::Node),
            ("node", Kind::Node),
            ("net", Kind::Network),
        ] {
            assert_eq!(Kind::from_user(word), Some(kind), "{word}");
        }
        assert_eq!(Kind::from_user("pods"), None);
    }

    #[test]
    fn names_follow_the_rule_of_swarm_and_of_dns() {
        for name in ["web", "Web_1", "a--b", "1"] {
            assert!(is_object_name(name), "{name}");
        }
        for name in ["", "-web", "web-", "a.b", "a b", "ä", &"a".repeat(64)] {
            assert!(!is_object_name(name), "{name}");
        }
        assert!(is_node_name("n1.example.org") && !is_node_name("n1..org") && !is_node_name("-n1"));
    }
}
