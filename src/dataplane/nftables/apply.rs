//! What a change makes of a table. Pure.

use super::diff::Step;
use super::ruleset::{Chain, Set, Table};
use std::collections::BTreeMap;

/// Why a step does not fit a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Misfit {
    /// What it makes is there already.
    Exists,
    /// What it is about is not there.
    Missing,
}

/// Does one step in a table; those that make tables, delete them, or are about Docker's chains do nothing in it.
///
/// # Errors
/// What it is about is not there, or there already.
pub(in crate::dataplane) fn apply(table: &mut Table, step: &Step) -> Result<(), Misfit> {
    let exists = |is_there: bool| match is_there {
        true => Err(Misfit::Exists),
        false => Ok(()),
    };
    match step {
        Step::AddChain(name, hook) => {
            exists(table.chains.contains_key(name))?;
            let hook = hook.clone();
            let rules = Vec::new();
            table.chains.insert(name.clone(), Chain { hook, rules });
        }
        Step::EmptyChain(name) => {
            let chain = table.chains.get_mut(name).ok_or(Misfit::Missing)?;
            chain.rules.clear();
        }
        Step::DeleteChain(name) => {
            table.chains.remove(name).ok_or(Misfit::Missing)?;
        }
        Step::AppendRule(name, rule) => {
            let chain = table.chains.get_mut(name).ok_or(Misfit::Missing)?;
            chain.rules.push(rule.clone());
        }
        Step::AddSet(name, shape) => {
            exists(table.sets.contains_key(name))?;
            let (shape, elements) = (*shape, BTreeMap::new());
            table.sets.insert(name.clone(), Set { shape, elements });
        }
        Step::DeleteSet(name) => {
            table.sets.remove(name).ok_or(Misfit::Missing)?;
        }
        Step::AddElements(name, _, new) => {
            let set = table.sets.get_mut(name).ok_or(Misfit::Missing)?;
            exists(new.keys().any(|key| set.elements.contains_key(key)))?;
            set.elements.extend(new.clone());
        }
        Step::DeleteElements(name, _, gone) => {
            let set = table.sets.get_mut(name).ok_or(Misfit::Missing)?;
            for key in gone.keys() {
                set.elements.remove(key).ok_or(Misfit::Missing)?;
            }
        }
        Step::AddTable | Step::DeleteTable | Step::PrependRule(..) | Step::DeleteRule(..) => {}
    }
    Ok(())
}
