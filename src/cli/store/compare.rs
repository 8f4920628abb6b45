//! What would be another after a restore: objects that go, come back or change, and the tasks and containers that this
//! concerns. Pure.

use super::super::kinds::title;
use super::super::print::short;
use super::super::tasks::{self, Named};
use super::super::text;
use crate::api::name::ObjectKey;
use crate::api::uid::TaskId;
use crate::runtime::cache::{Cache, Stored};
use std::collections::BTreeMap;

/// Lines for people, none if nothing would be another: `+` comes back, `-` goes, `~` changes.
pub(super) fn compare(present: &Cache, backup: &Cache) -> Vec<String> {
    let mut lines = whose(present, backup);
    lines.extend(objects(present, backup));
    lines.extend(scales(present, backup));
    lines.extend(tasks_of(present, backup));
    lines
}

fn whose(present: &Cache, backup: &Cache) -> Vec<String> {
    let id = |cache: &Cache| cache.cluster.as_ref().map(|record| record.id.clone());
    match (id(present), id(backup)) {
        (Some(now), Some(then)) if now != then => vec![format!(
            "! the store holds cluster {now}, the backup is of cluster {then}: containers of {now} are left alone from then on"
        )],
        (Some(now), None) => vec![format!(
            "! the backup is of no cluster; the store holds {now}"
        )],
        _ => Vec::new(),
    }
}

fn objects(present: &Cache, backup: &Cache) -> Vec<String> {
    let gone = present
        .users
        .keys()
        .filter(|key| !backup.users.contains_key(*key));
    let mut lines: Vec<String> = gone.map(|key| format!("- {} goes", title(key))).collect();
    for (key, then) in &backup.users {
        let line = match present.users.get(key) {
            None => Some(format!("+ {} comes back", title(key))),
            Some(now) => change(key, now, then),
        };
        lines.extend(line);
    }
    lines
}

fn change(key: &ObjectKey, now: &Stored<Vec<u8>>, then: &Stored<Vec<u8>>) -> Option<String> {
    if now.value == then.value {
        return None;
    }
    let name = title(key);
    let both = (
        text::meaning(key, &now.value),
        text::meaning(key, &then.value),
    );
    Some(match both {
        (Ok(now), Ok(then)) => match text::changes(&now, &then).as_slice() {
            [] => format!("~ {name}: its text, not what it means"),
            changes => format!("~ {name}: {}", text::summary(changes)),
        },
        (Err(_), _) | (_, Err(_)) => format!("~ {name}: one of both texts cannot be read"),
    })
}

fn scales(present: &Cache, backup: &Cache) -> Vec<String> {
    let said = |stored: Option<&Stored<Vec<u8>>>| {
        let value = stored.map(|stored| String::from_utf8_lossy(&stored.value).trim().to_owned());
        value.unwrap_or_else(|| "nothing".into())
    };
    let names: std::collections::BTreeSet<_> =
        present.scales.keys().chain(backup.scales.keys()).collect();
    let changed = names.into_iter().filter_map(|service| {
        let now = said(present.scales.get(service));
        let then = said(backup.scales.get(service));
        (now != then).then(|| format!("~ scale of service {service}: {now} -> {then}"))
    });
    changed.collect()
}

/// Tasks that live in one of both only.
fn tasks_of(present: &Cache, backup: &Cache) -> Vec<String> {
    let (now, then) = (live(present), live(backup));
    let mut lines = Vec::new();
    for (id, task) in &now {
        if then.contains_key(id) {
            continue;
        }
        let fate = match backup.services.contains_key(task.service) {
            true => {
                "its record is made anew where the service asks for its slot, else it runs on and is reported"
            }
            false => "it runs on and is reported; `skep reap` removes it",
        };
        lines.push(format!(
            "- task {} is not in the backup: {fate}",
            described(task)
        ));
    }
    for (id, task) in &then {
        if !now.contains_key(id) {
            lines.push(format!(
                "+ task {} of the backup has ended since: it ends again, and a new one takes its slot where the service asks for it",
                described(task)
            ));
        }
    }
    lines
}

fn live(cache: &Cache) -> BTreeMap<TaskId, Named<'_>> {
    let all = tasks::all(cache, None).into_iter();
    let live = all.filter(|task| task.view.is_live());
    live.map(|task| (task.view.task.id.clone(), task)).collect()
}

fn described(task: &Named<'_>) -> String {
    let container = task
        .view
        .status
        .and_then(|status| status.container.as_ref());
    let container = container.map(|id| format!("container {}", short(id.as_str())));
    let node = task.view.node.map(|node| format!("on {node}"));
    let words: Vec<String> = container.into_iter().chain(node).collect();
    match words.is_empty() {
        true => task.name(),
        false => format!("{} ({})", task.name(), words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::memory::Memory;

    fn cache(keys: &[(&str, &str)]) -> Cache {
        let store = Memory::new();
        for (key, value) in keys {
            store.put(&format!("/skep/{key}"), *value);
        }
        let mut cache = Cache::default();
        cache.replace("/skep/", &store.dump("/skep/"), store.revision());
        assert!(cache.broken.is_empty(), "{:?}", cache.broken);
        cache
    }

    fn check(present: &[(&str, &str)], backup: &[(&str, &str)], expected: &[&str]) {
        let lines = compare(&cache(present), &cache(backup));
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn every_object_that_would_be_another_is_named() {
        let web = "services/default/web";
        let two = "{replicas: 2, template: {container: 'a:1'}}";
        let three = "{replicas: 3, template: {container: 'a:1'}}";
        check(&[(web, two)], &[(web, two)], &[]);
        check(&[(web, two)], &[], &["- service default/web goes"]);
        check(&[], &[(web, two)], &["+ service default/web comes back"]);
        check(
            &[(web, two)],
            &[(web, three)],
            &["~ service default/web: spec.replicas"],
        );
        let spaced = "{replicas: 2, template: {container: 'a:1'}} # two";
        check(
            &[(web, two)],
            &[(web, spaced)],
            &["~ service default/web: its text"],
        );
        let scale = "scale/default/web";
        check(
            &[(scale, "2")],
            &[(scale, "5")],
            &["~ scale of service default/web: 2 -> 5"],
        );
    }

    #[test]
    fn tasks_that_only_one_side_knows_are_named() {
        let task = |id: &str| {
            let key = format!("tasks/default/web/{id}");
            let value = format!(
                r#"{{"id":"{id}","service":"0000000000000000000000009","revision":1,"slot":{{"replica":1}},"desired":"running","createdAt":"2026-01-02T03:04:05.000Z"}}"#
            );
            (key, value)
        };
        let (old, new) = (
            task("0000000000000000000000001"),
            task("0000000000000000000000002"),
        );
        check(
            &[(&new.0, &new.1)],
            &[(&old.0, &old.1)],
            &[
                "- task web.1 is not in the backup",
                "+ task web.1 of the backup",
            ],
        );
    }
}
