//! The picture where nobody looks at a screen: a line for each thing that changed. Pure.

use super::picture::{Node, Picture, Service};
use crate::api::cluster::Event;

/// What is new in `after`, in lines.
pub(super) fn changes(before: &Picture, after: &Picture) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, node) in &after.nodes {
        // How many tasks it has is told by their services.
        let told = |node: &Node| (node.status.clone(), node.message.clone());
        if before.nodes.get(name).map(told) != Some(told(node)) {
            lines.push(reason(
                format!("node {name} {}", node.status),
                &node.message,
            ));
        }
    }
    for (name, service) in &after.services {
        if before.services.get(name) != Some(service) {
            lines.push(self::service(name, service));
        }
    }
    let gone = before
        .nodes
        .keys()
        .filter(|name| !after.nodes.contains_key(*name));
    lines.extend(gone.map(|name| format!("node {name} gone")));
    let gone = before
        .services
        .keys()
        .filter(|name| !after.services.contains_key(*name));
    lines.extend(gone.map(|name| format!("service {name} gone")));
    let new = after
        .events
        .iter()
        .filter(|event| !before.events.contains(event));
    lines.extend(new.map(event));
    lines
}

fn service(name: &str, service: &Service) -> String {
    let Service {
        wanted,
        running,
        ready,
        status,
        message,
    } = service;
    let text =
        format!("service {name} {status}, wanted {wanted}, running {running}, ready {ready}");
    reason(text, message)
}

fn event(event: &Event) -> String {
    format!(
        "event {} {:?} {}: {}",
        event.object, event.severity, event.reason, event.message
    )
}

fn reason(text: String, why: &str) -> String {
    match why.is_empty() {
        true => text,
        false => format!("{text}: {}", crate::cli::print::one_line(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::up::fixture;

    #[test]
    fn a_change_is_a_line_and_nothing_else_is() {
        let full = fixture::picture();
        let first = changes(&Picture::default(), &full);
        assert_eq!(
            first,
            [
                "node local ready",
                "node n2 down: cannot connect to the engine at tcp://n2:2376",
                "service shop/api waiting, wanted 2, running 1, ready 0: no suitable node: 1 of 2 lacks resources",
                "service web ready, wanted 3, running 3, ready 3",
                "event services/default/web Normal Created: 3 tasks for revision 1",
                "event nodes/n2 Warning NodeDown: cannot connect",
            ]
        );
        assert_eq!(changes(&full, &full), Vec::<String>::new());

        let mut less = full.clone();
        less.services.remove("web");
        less.nodes.remove("n2");
        assert_eq!(changes(&full, &less), ["node n2 gone", "service web gone"]);

        let mut busier = full.clone();
        if let Some(node) = busier.nodes.get_mut("local") {
            node.tasks = 9;
        }
        assert_eq!(changes(&full, &busier), Vec::<String>::new());
    }
}
