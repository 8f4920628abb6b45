//! Label selectors: `a=b`, `a!=b`, `a`, `!a`, `a in (x,y)`, `a notin (x,y)`, separated by commas. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// All requirements have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    label: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
}

impl Test {
    /// Whether its values can be values of labels: no signs that belong to the selector.
    fn is_readable(&self) -> bool {
        match self {
            Self::Exists | Self::Missing => true,
            Self::In(values) | Self::NotIn(values) => values
                .iter()
                .all(|value| value.is_empty() || is_label(value)),
        }
    }
}

impl Selector {
    /// Reads a selector; the empty one selects everything.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        parts(text)
            .into_iter()
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .map(|part| requirement(&part))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether an object with these labels is selected.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.label);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }

    /// Whether it selects everything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits at commas outside parentheses.
fn parts(text: &str) -> Vec<String> {
    let mut depth = 0u32;
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c, depth) {
            (',', 0) => parts.push(String::new()),
            _ => parts.last_mut().expect("begins with one").push(c),
        }
    }
    parts
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let made = |label: &str, test: Test| match is_label(label.trim()) && test.is_readable() {
        true => Ok(Requirement {
            label: label.trim().to_owned(),
            test,
        }),
        false => Err(format!(
            "`{text}` is no selector: write a=b, a!=b, a, !a or a in (x,y)"
        )),
    };
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    if let Some((label, value)) = text.split_once("!=") {
        made(label, Test::NotIn(one(value)))
    } else if let Some((label, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        made(label, Test::In(one(value)))
    } else if let Some(label) = text.strip_prefix('!') {
        made(label, Test::Missing)
    } else if let Some((label, values)) = text.split_once(" notin ") {
        made(label, Test::NotIn(set(text, values)?))
    } else if let Some((label, values)) = text.split_once(" in ") {
        made(label, Test::In(set(text, values)?))
    } else {
        made(text, Test::Exists)
    }
}

fn set(text: &str, values: &str) -> Result<BTreeSet<String>, String> {
    values
        .trim()
        .strip_prefix('(')
        .and_then(|values| values.strip_suffix(')'))
        .map(|values| values.split(',').map(|v| v.trim().to_owned()).collect())
        .ok_or_else(|| format!("`{text}` is no selector: write a in (x,y)"))
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "()=!,".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, yes: &[&str], no: &[&str]) {
        let selector = Selector::parse(selector).unwrap();
        let labels = |text: &&str| -> BTreeMap<String, String> {
            text.split_whitespace()
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect()
        };
        for text in yes {
            assert!(selector.matches(&labels(text)), "{selector:?} on {text}");
        }
        for text in no {
            assert!(!selector.matches(&labels(text)), "{selector:?} on {text}");
        }
    }

    #[test]
    fn selects_by_all_requirements() {
        check("", &["", "a=b"], &[]);
        check("a=b", &["a=b c=d"], &["", "a=c"]);
        check("a==b", &["a=b"], &["a=c"]);
        check("a!=b", &["", "a=c"], &["a=b"]);
        check("a", &["a=x"], &["b=x"]);
        check("!a", &["b=x"], &["a=x"]);
        check("a in (x, y),b", &["a=y b=1"], &["a=z b=1", "a=x"]);
        check("a notin (x,y)", &["a=z", ""], &["a=x"]);
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for text in ["a in x", "=b", "a=(", "a=b=c", "a b", "in (x)("] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
