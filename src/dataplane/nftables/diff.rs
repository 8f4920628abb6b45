//! From one ruleset to another. Pure.

use super::ruleset::{Chain, Element, Hook, Rule, Ruleset, Shape, Table, TableName};
use std::collections::BTreeMap;

/// One change of a batch, in the table that stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A table is made.
    AddTable,
    /// It goes, with all that is in it.
    DeleteTable,
    /// A chain is made.
    AddChain(String, Option<Hook>),
    /// All rules of a chain go.
    EmptyChain(String),
    /// A chain goes; nothing may lead to it.
    DeleteChain(String),
    /// A rule is put behind the last of a chain.
    AppendRule(String, Rule),
    /// A rule is put before the first of a chain.
    PrependRule(String, Rule),
    /// A rule goes, by its handle.
    DeleteRule(String, u64),
    /// A set or map is made.
    AddSet(String, Shape),
    /// It goes; no rule may use it.
    DeleteSet(String),
    /// Elements come.
    AddElements(String, Shape, BTreeMap<Vec<u8>, Element>),
    /// Elements go.
    DeleteElements(String, Shape, BTreeMap<Vec<u8>, Element>),
}

/// A change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In which table.
    pub table: TableName,
    /// What changes there.
    pub step: Step,
}

/// The changes that make `wanted` of `found`, in an order in which the kernel takes them; none: it is so.
///
/// Tables that are not in `wanted` go. A table of another shape (a set's types, a chain's hook) is made anew.
pub(in crate::dataplane) fn diff(found: &Ruleset, wanted: &Ruleset) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |table: &TableName, steps: Vec<Step>| {
        let table = table.clone();
        changes.extend(steps.into_iter().map(|step| Change {
            table: table.clone(),
            step,
        }));
    };
    for table in found.keys().filter(|table| !wanted.contains_key(table)) {
        add(table, vec![Step::DeleteTable]);
    }
    let empty = Table::default();
    for (name, table) in wanted {
        match found.get(name) {
            None => {
                add(name, vec![Step::AddTable]);
                add(name, between(&empty, table));
            }
            Some(present) if is_other_shape(present, table) => {
                add(name, vec![Step::DeleteTable, Step::AddTable]);
                add(name, between(&empty, table));
            }
            Some(present) => add(name, between(present, table)),
        }
    }
    changes
}

/// Whether a table has to be made anew.
pub(in crate::dataplane) fn is_other_shape(found: &Table, wanted: &Table) -> bool {
    let mut sets = wanted.sets.iter();
    let mut chains = wanted.chains.iter();
    let other_set = sets.any(|(name, set)| {
        let present = found.sets.get(name);
        present.is_some_and(|present| present.shape != set.shape)
    });
    let other_chain = chains.any(|(name, chain)| {
        let present = found.chains.get(name);
        present.is_some_and(|present| present.hook != chain.hook)
    });
    other_set || other_chain
}

/// The steps within a table: what is used comes before what uses it, and goes after it.
fn between(found: &Table, wanted: &Table) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, set) in &wanted.sets {
        if !found.sets.contains_key(name) {
            steps.push(Step::AddSet(name.clone(), set.shape));
        }
    }
    for (name, chain) in &wanted.chains {
        if !found.chains.contains_key(name) {
            steps.push(Step::AddChain(name.clone(), chain.hook.clone()));
        }
    }
    let rules = |name| wanted.chains.get(name).map(|chain: &Chain| &chain.rules);
    for (name, chain) in &found.chains {
        if !chain.rules.is_empty() && rules(name) != Some(&chain.rules) {
            steps.push(Step::EmptyChain(name.clone()));
        }
    }
    elements(found, wanted, &mut steps);
    for (name, chain) in &wanted.chains {
        let present = found.chains.get(name).map(|chain| &chain.rules);
        if present != Some(&chain.rules) {
            let put = |rule: &Rule| Step::AppendRule(name.clone(), rule.clone());
            steps.extend(chain.rules.iter().map(put));
        }
    }
    let gone = found
        .chains
        .keys()
        .filter(|name| !wanted.chains.contains_key(*name));
    steps.extend(gone.cloned().map(Step::DeleteChain));
    let gone = found
        .sets
        .keys()
        .filter(|name| !wanted.sets.contains_key(*name));
    steps.extend(gone.cloned().map(Step::DeleteSet));
    steps
}

/// What leaves sets and maps, then what enters them: a key whose value changes does both.
fn elements(found: &Table, wanted: &Table, steps: &mut Vec<Step>) {
    let none = BTreeMap::new();
    for (name, present) in &found.sets {
        let kept = wanted.sets.get(name).map_or(&none, |set| &set.elements);
        let gone = missing(&present.elements, kept);
        if !gone.is_empty() {
            steps.push(Step::DeleteElements(name.clone(), present.shape, gone));
        }
    }
    for (name, set) in &wanted.sets {
        let present = found.sets.get(name).map_or(&none, |set| &set.elements);
        let new = missing(&set.elements, present);
        if !new.is_empty() {
            steps.push(Step::AddElements(name.clone(), set.shape, new));
        }
    }
}

/// The elements of `all` that are not the same in `others`.
fn missing(
    all: &BTreeMap<Vec<u8>, Element>,
    others: &BTreeMap<Vec<u8>, Element>,
) -> BTreeMap<Vec<u8>, Element> {
    let differs = |(key, element): &(&Vec<u8>, &Element)| others.get(*key) != Some(*element);
    let own = |(key, element): (&Vec<u8>, &Element)| (key.clone(), element.clone());
    all.iter().filter(differs).map(own).collect()
}
