//! What a change makes of a table. Pure.

use super::diff::Step;
use super::ruleset::{Chain, Set, Table};
use rustix::io::Errno;
use std::collections::BTreeMap;

/// Does one step in a table; those that make tables, delete them, or are about Docker's chains do nothing in it.
///
/// # Errors
/// What it is about is not there, or there already, in the words of the kernel.
pub(in crate::dataplane) fn apply(table: &mut Table, step: &Step) -> Result<(), Errno> {
    let exists = |is_there: bool| match is_there {
        true => Err(Errno::EXIST),
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
            let chain = table.chains.get_mut(name).ok_or(Errno::NOENT)?;
            chain.rules.clear();
        }
        Step::DeleteChain(name) => {
            table.chains.remove(name).ok_or(Errno::NOENT)?;
        }
        Step::AppendRule(name, rule) => {
            let chain = table.chains.get_mut(name).ok_or(Errno::NOENT)?;
            chain.rules.push(rule.clone());
        }
        Step::AddSet(name, shape) => {
            exists(table.sets.contains_key(name))?;
            let (shape, elements) = (*shape, BTreeMap::new());
            table.sets.insert(name.clone(), Set { shape, elements });
        }
        Step::DeleteSet(name) => {
            table.sets.remove(name).ok_or(Errno::NOENT)?;
        }
        Step::AddElements(name, _, new) => {
            let set = table.sets.get_mut(name).ok_or(Errno::NOENT)?;
            exists(new.keys().any(|key| set.elements.contains_key(key)))?;
            set.elements.extend(new.clone());
        }
        Step::DeleteElements(name, _, gone) => {
            let set = table.sets.get_mut(name).ok_or(Errno::NOENT)?;
            for key in gone.keys() {
                set.elements.remove(key).ok_or(Errno::NOENT)?;
            }
        }
        Step::AddTable | Step::DeleteTable | Step::PrependRule(..) | Step::DeleteRule(..) => {}
    }
    Ok(())
}
