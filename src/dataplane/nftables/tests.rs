//! Rulesets: what is written reads back, and what leads from one to another.

use super::decode::{self, ListedRule, joined};
use super::diff::{Step, diff};
use super::elements::ruleset;
use super::encode::batch;
use super::expression::{Expression, Verdict, body, connmark, counter, verdict};
use super::guest::{self, Found, find, mend};
use super::ruleset::{Element, Rule, Ruleset};
use super::tables::name;
use crate::dataplane::address::{Mac, Version};
use crate::dataplane::fast_path::FastPath;
use crate::dataplane::netlink::message::{HEADER, Message};
use crate::dataplane::state_tests::dual_example;
use std::collections::BTreeMap;

fn tables() -> Ruleset {
    let state = dual_example();
    let path = FastPath {
        bridge: "skep4097".into(),
        links: ["skepx4097".into(), "veth1".into()].into(),
        exits: ["skepx4097".into(), "veth1".into(), "veth2".into()].into(),
        tunnel: "skepx4097".into(),
        here: [(Mac([2, 66, 10, 100, 1, 11]), 7)].into(),
        away: [(Mac([2, 66, 10, 100, 1, 21]), 8)].into(),
    };
    let paths = state.networks.keys().map(|vni| (*vni, path.clone()));
    ruleset(
        &state,
        &["172.17.0.1/16".parse().expect("a subnet")],
        Some(&paths.collect()),
    )
}

/// What the kernel would list of what a batch puts: it gives back elements as it was given them.
fn read_back(messages: &[Message]) -> (BTreeMap<String, decode::Listing>, Vec<ListedRule>) {
    let mut sets: BTreeMap<String, decode::Listing> = BTreeMap::new();
    let mut rules = Vec::new();
    for message in messages {
        match message.kind & 0xff {
            9 => {
                let (name, set) = decode::set(&message.body);
                sets.entry(name).or_insert((set, Vec::new()));
            }
            12 => {
                let listing = sets.get_mut(&decode::name(&message.body, 2));
                let (_, raw) = listing.expect("a set comes before its elements");
                raw.extend(decode::elements(&message.body));
            }
            6 => rules.push(decode::rule(&message.body)),
            _ => {}
        }
    }
    (sets, rules)
}

#[test]
fn what_is_written_reads_back() {
    let wanted = tables();
    for (table, whole) in &wanted {
        let one = Ruleset::from([(table.clone(), whole.clone())]);
        let (sets, rules) = read_back(&batch(&diff(&Ruleset::new(), &one)));
        assert_eq!(sets.len(), whole.sets.len());
        for (name, (set, raw)) in sets {
            assert_eq!(set.shape, whole.sets[&name].shape, "{name}");
            assert_eq!(joined(set.shape, raw), whole.sets[&name].elements, "{name}");
        }
        let listed: Vec<&Rule> = rules.iter().map(|listed| &listed.rule).collect();
        let put: Vec<&Rule> = whole
            .chains
            .values()
            .flat_map(|chain| &chain.rules)
            .collect();
        assert_eq!(listed, put);
        assert!(rules.iter().all(|listed| !listed.body.is_empty()));
    }
}

#[test]
fn many_elements_are_several_messages() {
    let mut wanted = tables();
    for table in wanted.values_mut() {
        if let Some(set) = table.sets.get_mut(name::VIRTUAL) {
            let key = |number: u32| (number.to_be_bytes().to_vec(), Element::Member);
            set.elements = (0..10_000).map(key).collect();
        }
    }
    let messages = batch(&diff(&tables(), &wanted));
    assert!(messages.len() > 4, "{} messages", messages.len());
    for message in &messages {
        assert!(
            message.body.len() + HEADER < 65_536,
            "an attribute would overflow"
        );
    }
}

#[test]
fn the_same_needs_nothing_and_another_shape_is_made_anew() {
    let wanted = tables();
    assert_eq!(diff(&wanted, &wanted), []);
    let gone = diff(&wanted, &Ruleset::new());
    assert!(gone.iter().all(|change| change.step == Step::DeleteTable));
    assert_eq!(gone.len(), 4);
    let mut other = wanted.clone();
    let chain = other
        .values_mut()
        .find_map(|table| table.chains.get_mut("forward"));
    let hook = chain.and_then(|chain| chain.hook.as_mut());
    hook.expect("it has one").priority = 7;
    let anew = diff(&other, &wanted);
    assert_eq!(anew[0].step, Step::DeleteTable);
    assert_eq!(anew[1].step, Step::AddTable);
}

#[test]
fn a_rule_that_another_put_between_ours_is_thrown_out() {
    let wanted = tables();
    let mut found = wanted.clone();
    for table in found.values_mut() {
        if let Some(chain) = table.chains.get_mut("forward") {
            let (tag, body) = (String::new(), Vec::new());
            chain.rules.insert(1, Rule { tag, body });
        }
    }
    let mut steps: BTreeMap<_, Vec<Step>> = BTreeMap::new();
    for change in diff(&found, &wanted) {
        steps.entry(change.table).or_default().push(change.step);
    }
    assert_eq!(steps.len(), 2, "both versions have such a chain");
    for steps in steps.values() {
        assert_eq!(steps[0], Step::EmptyChain("forward".into()));
        assert!(
            steps[1..]
                .iter()
                .all(|step| matches!(step, Step::AppendRule(name, _) if name == "forward"))
        );
    }
}

#[test]
fn our_rule_is_the_first_of_dockers_chain_and_the_only_one_of_ours() {
    for chain in [guest::Chain::DockerUser, guest::Chain::DockerBridges] {
        let put = |found: &Found| mend(Version::V6, chain, found, true);
        let mut ours: Vec<ListedRule> = read_back(&batch(&put(&Found::default()))).1;
        let ours = ours.pop().expect("it is put");
        let at = |handle, rule: &ListedRule| ListedRule {
            handle,
            ..rule.clone()
        };
        let foreign = ListedRule {
            rule: Rule {
                tag: String::new(),
                body: Vec::new(),
            },
            body: Vec::new(),
            ..ours.clone()
        };
        let listed = [at(5, &foreign), at(6, &ours), at(7, &foreign)];
        let displaced = find(chain, &listed);
        assert_eq!(
            displaced,
            Found {
                first: None,
                others: vec![6]
            }
        );
        let steps: Vec<Step> = put(&displaced)
            .into_iter()
            .map(|change| change.step)
            .collect();
        assert_eq!(steps[0], Step::DeleteRule(chain.name().into(), 6));
        assert!(matches!(steps[1], Step::PrependRule(..)));
        let fine = find(chain, &listed[1..]);
        assert_eq!(
            fine,
            Found {
                first: Some(6),
                others: Vec::new()
            }
        );
        assert_eq!(put(&fine), []);
        let gone: Vec<Step> = mend(Version::V6, chain, &fine, false)
            .into_iter()
            .map(|change| change.step)
            .collect();
        assert_eq!(gone, [Step::DeleteRule(chain.name().into(), 6)]);
    }
}

#[test]
fn the_jump_to_dockers_chain_is_put_before_those_to_its_own_and_nowhere_else() {
    let chain = guest::Chain::Forward;
    let user = [counter(), verdict(&Verdict::Jump("DOCKER-USER"))];
    let own = [
        counter(),
        verdict(&Verdict::Jump("DOCKER-ISOLATION-STAGE-1")),
    ];
    let administrators = [
        connmark(1, 1),
        counter(),
        verdict(&Verdict::Jump("DOCKER-SHOP")),
    ];
    let listed = |handle: u64, expressions: [Expression; 2]| ListedRule {
        chain: chain.name().into(),
        handle,
        rule: Rule {
            tag: String::new(),
            body: Vec::new(),
        },
        body: body(expressions),
    };
    let (user, own) = (listed(5, user), listed(6, own));
    let first = ListedRule {
        body: body(administrators),
        ..listed(4, [counter(), counter()])
    };
    let fine = find(chain, &[first.clone(), user.clone(), own.clone()]);
    assert_eq!((fine.first, fine.others.len()), (Some(5), 0));
    assert_eq!(mend(Version::V4, chain, &fine, true), []);
    let behind = find(chain, &[first, own.clone(), user]);
    let steps = mend(Version::V4, chain, &behind, true).into_iter();
    let steps: Vec<Step> = steps.map(|change| change.step).collect();
    assert_eq!(steps[0], Step::DeleteRule("FORWARD".into(), 5));
    assert!(matches!(&steps[1], Step::PrependRule(to, _) if to == "FORWARD"));
    assert_eq!(steps.len(), 2);
    // Without a network it is the engine's, in any place; and where there is none, none is made.
    assert_eq!(mend(Version::V4, chain, &behind, false), []);
    assert_eq!(mend(Version::V6, chain, &fine, false), []);
    assert_eq!(mend(Version::V4, chain, &find(chain, &[own]), true), []);
}
