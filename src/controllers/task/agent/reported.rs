//! What agents report, as metrics.

use crate::api::name::NodeName;
use crate::dataplane::agent::Report;
use crate::metrics::Metrics;
use crate::metrics::list::{self, Family};

/// What one conversation with an agent adds to the metrics; the node's gauges go when it ends.
pub(super) struct Reported<'a> {
    metrics: &'a Metrics,
    node: &'a NodeName,
    /// What was said last; nothing yet: what was counted before this conversation nobody knows.
    last: Option<Report>,
}

impl<'a> Reported<'a> {
    pub(super) fn new(metrics: &'a Metrics, node: &'a NodeName) -> Self {
        Self {
            metrics,
            node,
            last: None,
        }
    }

    /// Takes what the agent says.
    pub(super) fn hear(&mut self, report: &Report) {
        if let Some(before) = &self.last {
            for (family, label, more) in increases(before, report) {
                self.metrics.add(family, &[label], more);
            }
        }
        if let Some(tracked) = report.connections {
            let node = [self.node.as_str()];
            let set = |family, value: u64| self.metrics.set(family, &node, value as f64);
            set(&list::CONNECTIONS, tracked.count);
            set(&list::CONNECTIONS_LIMIT, tracked.limit);
        }
        self.last = Some(report.clone());
    }
}

impl Drop for Reported<'_> {
    fn drop(&mut self) {
        for family in [&list::CONNECTIONS, &list::CONNECTIONS_LIMIT] {
            self.metrics.forget(family, &[self.node.as_str()]);
        }
    }
}

/// What was counted between two reports, by family and label.
fn increases<'a>(before: &Report, after: &'a Report) -> Vec<(&'static Family, &'a str, u64)> {
    let drift = after.drift.iter().map(|(kind, count)| {
        let known = before.drift.get(kind).copied();
        (&list::DATAPLANE_DRIFT, kind.as_str(), known, *count)
    });
    let queries = after.names.queries.iter().map(|(kind, count)| {
        let known = before.names.queries.get(kind).copied();
        (&list::DNS_QUERIES, kind.as_str(), known, *count)
    });
    let (old, new) = (&before.names, &after.names);
    let outcomes = [
        ("forwarded", old.forwarded, new.forwarded),
        ("failed", old.failed, new.failed),
        ("refused", old.refused, new.refused),
    ];
    let outcomes = outcomes.into_iter();
    let outcomes = outcomes.map(|(word, old, new)| (&list::DNS_OUTCOMES, word, Some(old), new));
    let all = drift.chain(queries).chain(outcomes);
    let more = all.map(|(family, label, known, count)| {
        // Below what is known: it started again, and counts from nothing.
        let more = count.checked_sub(known.unwrap_or(0)).unwrap_or(count);
        (family, label, more)
    });
    more.filter(|(_, _, more)| *more > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::connections::Tracked;

    fn report(drift: u64, queries: u64, failed: u64) -> Report {
        let mut report = Report::default();
        report.drift.insert("rule".into(), drift);
        report.names.queries.insert("a".into(), queries);
        report.names.failed = failed;
        report
    }

    #[test]
    fn what_was_counted_since_the_last_report_is_added_and_a_new_start_counts_from_nothing() {
        let metrics = Metrics::new();
        let node = NodeName::from("n1");
        let mut reported = Reported::new(&metrics, &node);
        reported.hear(&report(5, 10, 0));
        reported.hear(&report(7, 13, 1));
        reported.hear(&report(1, 13, 1));
        let text = metrics.render();
        for line in [
            r#"skep_dataplane_drift_total{kind="rule"} 3"#,
            r#"skep_dns_queries_total{kind="a"} 3"#,
            r#"skep_dns_outcomes_total{outcome="failed"} 1"#,
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        assert!(!text.contains(r#"outcome="refused""#), "{text}");
    }

    #[test]
    fn a_nodes_gauges_go_with_the_conversation() {
        let metrics = Metrics::new();
        let node = NodeName::from("n1");
        let mut reported = Reported::new(&metrics, &node);
        let connections = Some(Tracked {
            count: 120,
            limit: 262_144,
        });
        reported.hear(&Report {
            connections,
            ..Report::default()
        });
        let shown = r#"skep_dataplane_connections{node="n1"} 120"#;
        assert!(metrics.render().contains(shown));
        drop(reported);
        assert!(!metrics.render().contains("node="));
    }
}
