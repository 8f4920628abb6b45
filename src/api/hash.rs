//! The hash of what a task is made from: equal hashes mean that a task need not be replaced.
//!
//! SHA-256 over canonical JSON (sorted keys, no spaces) of the template and the host ports, without the fields that
//! equal their default, so that a field that a later version adds changes no hash. Left out: `restart`, `placement`
//! and `onNodeLost`, which replace nothing, and a port's name.

use super::container::Container;
use super::default::fill_template;
use super::service::{PortMode, ServicePort, Template};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The fields of a template that a change of does not replace tasks.
const KEPT: [&str; 3] = ["restart", "placement", "onNodeLost"];

/// The hash, 64 hexadecimal digits. Of `ports` only those of mode `host` count, in any order.
pub fn template_hash(template: &Template, ports: &[ServicePort]) -> String {
    let mut whole = to_value(template);
    remove_defaults(&mut whole, &to_value(&plain_template()));
    if let Value::Object(fields) = &mut whole {
        for field in KEPT {
            fields.remove(field);
        }
        let ports = host_ports(ports);
        if !ports.is_empty() {
            fields.insert("hostPorts".to_owned(), Value::Array(ports));
        }
    }
    let mut canonical = String::new();
    write_canonical(&whole, &mut canonical);
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(canonical.as_bytes()) {
        // Writing to a string does not fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

fn to_value(template: &Template) -> Value {
    serde_json::to_value(template).expect("a template has only text keys and finite numbers")
}

/// A template of which every field is left out.
fn plain_template() -> Template {
    let mut template = Template {
        container: Container::default(),
        networks: None,
        secrets: Vec::new(),
        configs: Vec::new(),
        restart: Default::default(),
        placement: Default::default(),
        on_node_lost: Default::default(),
        force_update: 0,
    };
    fill_template(&mut template);
    template
}

fn host_ports(ports: &[ServicePort]) -> Vec<Value> {
    let mut ports: Vec<_> = ports
        .iter()
        .filter(|port| port.mode == PortMode::Host)
        .map(|port| {
            (
                port.target.0,
                port.protocol,
                port.host_ip,
                port.published.map(|p| p.0),
            )
        })
        .collect();
    ports.sort_unstable();
    ports
        .into_iter()
        .map(|(target, protocol, address, published)| {
            json!([target, protocol.as_str(), address, published])
        })
        .collect()
}

fn remove_defaults(value: &mut Value, default: &Value) {
    let (Value::Object(fields), Value::Object(defaults)) = (value, default) else {
        return;
    };
    for (name, default) in defaults {
        if let Some(field) = fields.get_mut(name) {
            remove_defaults(field, default);
        }
        if fields.get(name) == Some(default) {
            fields.remove(name);
        }
    }
}

/// Sorted keys whatever the order of `Map` is: that depends on a feature which any dependency may switch on.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => write_object(fields, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

fn write_object(fields: &Map<String, Value>, text: &mut String) {
    let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
    text.push('{');
    for (index, (name, field)) in sorted.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::String(name.clone()).to_string());
        text.push(':');
        write_canonical(field, text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(template: Value, ports: Value) -> String {
        let mut template: Template = serde_json::from_value(template).expect("a template");
        let before = template.clone();
        fill_template(&mut template);
        let ports: Vec<ServicePort> = ports
            .as_array()
            .expect("ports")
            .iter()
            .flat_map(|text| {
                let written = super::super::shorthand::port(text.as_str().expect("text"));
                written
                    .and_then(super::super::port_range::each)
                    .expect("port")
            })
            .collect();
        let filled = template_hash(&template, &ports);
        assert_eq!(
            template_hash(&before, &ports),
            filled,
            "a default that is written out counts"
        );
        filled
    }

    fn web(container: Value) -> String {
        hash(json!({"container": container}), json!([]))
    }

    #[test]
    fn a_hash_never_changes_between_versions() {
        // If this fails, an update of skep would replace every container of every user.
        assert_eq!(
            web(json!("nginx:1.27")),
            "ae89d2b1a2dc326bb31216dec7ec9b7ac57d8a839041fe194753570bd31b972b"
        );
    }

    #[test]
    fn what_replaces_tasks_changes_the_hash() {
        let plain = web(json!("nginx:1.27"));
        assert_ne!(web(json!("nginx:1.28")), plain);
        assert_ne!(
            web(json!({"image": "nginx:1.27", "env": {"A": "b"}})),
            plain
        );
        assert_ne!(
            web(json!({"image": "nginx:1.27", "stopGracePeriod": "11s"})),
            plain
        );
        let with = |field: &str, value: Value| {
            hash(json!({"container": "nginx:1.27", field: value}), json!([]))
        };
        assert_ne!(with("networks", json!([])), plain);
        assert_ne!(with("forceUpdate", json!(1)), plain);
        let ports = |ports: Value| hash(json!({"container": "nginx:1.27"}), ports);
        assert_ne!(ports(json!(["host:8080:80"])), plain);
        assert_ne!(
            ports(json!(["host:8080:80"])),
            ports(json!(["host:8081:80"]))
        );
    }

    #[test]
    fn what_replaces_nothing_does_not() {
        let plain = web(json!("nginx:1.27"));
        assert_eq!(
            web(json!({"image": "nginx:1.27", "pullPolicy": "missing", "env": {}})),
            plain
        );
        assert_eq!(
            web(json!({"image": "nginx:1.27", "stopGracePeriod": "10s"})),
            plain
        );
        let with = |field: &str, value: Value| {
            hash(json!({"container": "nginx:1.27", field: value}), json!([]))
        };
        assert_eq!(with("restart", json!({"condition": "none"})), plain);
        assert_eq!(
            with("placement", json!({"constraints": ["node.role == worker"]})),
            plain
        );
        assert_eq!(with("onNodeLost", json!("wait")), plain);
        let ports = |ports: Value| hash(json!({"container": "nginx:1.27"}), ports);
        assert_eq!(ports(json!(["8080:80"])), plain);
        let (one, other) = (
            json!(["host:1:80", "host:2:81"]),
            json!(["host:2:81", "host:1:80"]),
        );
        assert_eq!(ports(one), ports(other));
    }
}
