//! Tables as the kernel lists them: made here, and one that was captured from a kernel.

use super::*;
use crate::dataplane::netlink::message::{text, u16_at, u32_at};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The chains of hooks, with the kernel's numbers of these.
const HOOKED: [(&str, usize); 3] = [("INPUT", 1), ("FORWARD", 2), ("OUTPUT", 3)];

/// What a rule is made of: as it is, before offsets are known.
struct Part {
    bytes: Vec<u8>,
    /// The chain that it goes on in.
    jump: Option<String>,
}

fn part(addresses: &[(usize, &[u8])], matches: &[u8], name: &str, data: &[u8]) -> Part {
    let target = 112 + matches.len();
    let data_size = data.len().next_multiple_of(8);
    let mut bytes = vec![0; 112];
    for (at, value) in addresses {
        bytes[*at..at + value.len()].copy_from_slice(value);
    }
    bytes[88..90].copy_from_slice(&(target as u16).to_ne_bytes());
    bytes[90..92].copy_from_slice(&((target + 32 + data_size) as u16).to_ne_bytes());
    bytes.extend(matches);
    bytes.extend(extended(name, 0, data));
    Part { bytes, jump: None }
}

/// A match or a target.
fn extended(name: &str, revision: u8, data: &[u8]) -> Vec<u8> {
    let size = 32 + data.len().next_multiple_of(8);
    let mut bytes = (size as u16).to_ne_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.resize(31, 0);
    bytes.push(revision);
    bytes.extend(data);
    bytes.resize(size, 0);
    bytes
}

fn connmark(mark: u32, mask: u32) -> Vec<u8> {
    let data = [&mark.to_ne_bytes()[..], &mask.to_ne_bytes(), &[0; 4]].concat();
    extended("connmark", 1, &data)
}

/// A rule in the words of these tests.
fn rule_of(word: &str) -> Part {
    let accept = (-2_i32).to_ne_bytes();
    // A protocol: what every rule that is not for all packets has here.
    let tcp: &[(usize, &[u8])] = &[(80, &6_u16.to_ne_bytes())];
    let to = |chain: &str, addresses: &[(usize, &[u8])]| Part {
        jump: Some(chain.to_owned()),
        ..part(addresses, &[], "", &[0; 4])
    };
    match word {
        "ours" => part(&[], &connmark(0x6400_0000, 0xff00_0000), "", &accept),
        "ours-of-tcp" => part(tcp, &connmark(0x6400_0000, 0xff00_0000), "", &accept),
        "another-mark" => part(&[], &connmark(0x6500_0000, 0xff00_0000), "", &accept),
        "accept" => part(tcp, &[], "", &accept),
        "return" => part(&[], &[], "", &(-5_i32).to_ne_bytes()),
        "foreign" => part(&[], &extended("odd", 3, b"match me"), "ODD", b"and do so"),
        // It only counts, and goes on behind itself.
        "counts" => to("+", tcp),
        _ => match word.split_once('>').expect("a jump") {
            ("", chain) => to(chain, &[]),
            (_, chain) => to(chain, tcp),
        },
    }
}

/// A table: `FORWARD: >A; A: return; DOCKER-USER:`. Those of hooks come first and have a policy.
fn table(words: &str) -> Table {
    let chains: Vec<(&str, Vec<&str>)> = words
        .split("; ")
        .map(|chain| {
            let (name, rules) = chain.split_once(':').expect("a chain");
            (name, rules.split_whitespace().collect())
        })
        .collect();
    let mut parts = Vec::new();
    let (mut starts, mut policies) = (BTreeMap::new(), BTreeMap::new());
    let error = |name: &str| {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(30, 0);
        part(&[], &[], "ERROR", &padded)
    };
    for (name, rules) in &chains {
        if !HOOKED.iter().any(|(hooked, _)| hooked == name) {
            parts.push(error(name));
        }
        starts.insert((*name).to_owned(), parts.len());
        parts.extend(rules.iter().map(|word| rule_of(word)));
        policies.insert(*name, parts.len());
        parts.push(rule_of("return"));
    }
    parts.push(error("ERROR"));
    let mut offsets = vec![0_u32];
    for part in &parts {
        offsets.push(offsets[offsets.len() - 1] + part.bytes.len() as u32);
    }
    let mut info = b"filter".to_vec();
    info.resize(32, 0);
    info.extend(14_u32.to_ne_bytes());
    for places in [
        HOOKED.map(|(name, _)| starts[name]),
        HOOKED.map(|(name, _)| policies[name]),
    ] {
        let [input, forward, output] = places.map(|place| offsets[place]);
        let words = [u32::MAX, input, forward, output, u32::MAX];
        info.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }
    info.extend((parts.len() as u32).to_ne_bytes());
    info.extend(offsets[parts.len()].to_ne_bytes());
    let info = Info::parse(&info).expect("it has all words");
    let mut listing = info.listing();
    listing.truncate(40);
    for (place, part) in parts.iter().enumerate() {
        let start = listing.len();
        listing.extend(&part.bytes);
        let target = match part.jump.as_deref() {
            Some("+") => offsets[place + 1],
            Some(chain) => offsets[starts[chain]],
            None => continue,
        };
        listing[start + 144..start + 148].copy_from_slice(&target.to_ne_bytes());
    }
    Table::parse(Version::V4, info, &listing).expect("it is whole")
}

/// What is asked of the kernel, in the same words, and the offsets checked on the way.
fn show(table: &Table) -> String {
    let bytes = table.replacement();
    let word = |at: usize| u32_at(&bytes, at).expect("it is as long");
    let (count, size) = (word(36) as usize, word(40) as usize);
    let block = &bytes[96..];
    assert_eq!(block.len(), size);
    let mut chains: BTreeMap<usize, String> = BTreeMap::new();
    let mut policies = Vec::new();
    for (name, hook) in HOOKED {
        chains.insert(word(44 + 4 * hook) as usize, name.to_owned());
        policies.push(word(64 + 4 * hook) as usize);
    }
    let mut entries = Vec::new();
    let mut at = 0;
    while at < size {
        let (target, next) = (
            u16_at(block, at + 88).unwrap(),
            u16_at(block, at + 90).unwrap(),
        );
        let target = at + usize::from(target);
        let next = at + usize::from(next);
        let kind = text(&block[target + 2..target + 31]);
        if kind == "ERROR" {
            chains.insert(next, text(&block[target + 32..]));
        }
        entries.push((at, target, next, kind));
        at = next;
    }
    assert_eq!(entries.len(), count);
    assert_eq!(chains.remove(&size).as_deref(), Some("ERROR"));
    let mut shown = String::new();
    for (index, (at, target, next, kind)) in entries.iter().enumerate() {
        if let Some(chain) = chains.get(at) {
            let _ = write!(shown, "; {chain}:");
        }
        let is_end = policies.contains(at)
            || entries
                .get(index + 1)
                .is_some_and(|next| next.3 == "ERROR" && kind != "ERROR");
        if is_end || kind == "ERROR" {
            continue;
        }
        let matches = text(&block[at + 114..at + 143]);
        let tcp = block[at + 80] == 6;
        let verdict = u32_at(block, target + 32).unwrap() as i32;
        let mark = (*target > at + 112).then(|| u32_at(block, at + 144).unwrap());
        let said = match (kind.as_str(), matches.as_str(), verdict) {
            ("ODD", "odd", _) => "foreign".to_owned(),
            ("", "connmark", -2) if mark != Some(MARK) => "another-mark".to_owned(),
            ("", "connmark", -2) if tcp => "ours-of-tcp".to_owned(),
            ("", "connmark", -2) => "ours".to_owned(),
            ("", _, -2) => "accept".to_owned(),
            ("", _, -5) => "return".to_owned(),
            ("", _, to) if to as usize == *next => "counts".to_owned(),
            ("", _, to) => {
                let chain = &chains[&(to as usize)];
                format!("{}>{chain}", if tcp { "tcp" } else { "" })
            }
            other => panic!("{other:?}"),
        };
        let _ = write!(shown, " {said}");
    }
    shown.trim_start_matches("; ").to_owned()
}

/// What becomes of a table where our rule is wanted, and of that where it is not any more.
fn check(before: &str, standing: Standing, with: &str, without: &str) {
    let mut table = table(before);
    assert_eq!(show(&table), before, "it is read as it was written");
    assert_eq!(find(&table), Some(standing), "{before}");
    mend(&mut table, true);
    assert_eq!(show(&table), with);
    assert_eq!(find(&table), Some(Standing::InPlace), "{with}");
    let again = table.clone();
    mend(&mut table, true);
    assert_eq!(table, again, "what is in place stays");
    mend(&mut table, false);
    assert_eq!(show(&table), without);
    assert_eq!(find(&table), Some(Standing::Missing), "{without}");
}

#[test]
fn the_rule_comes_first_and_everything_behind_it_moves() {
    let before = "INPUT: counts accept; FORWARD: >DOCKER-USER >DOCKER counts tcp>LAST; OUTPUT:; DOCKER: >LAST; \
                  DOCKER-USER: foreign >LAST return; LAST: counts foreign >DOCKER";
    let with = before.replace("USER: foreign", "USER: ours foreign");
    check(before, Standing::Missing, &with, before);
    let empty = "INPUT:; FORWARD: >DOCKER-USER; OUTPUT:; DOCKER-USER:";
    let with = "INPUT:; FORWARD: >DOCKER-USER; OUTPUT:; DOCKER-USER: ours";
    check(empty, Standing::Missing, with, empty);
    check(with, Standing::InPlace, with, empty);
}

#[test]
fn one_that_is_displaced_or_doubled_becomes_the_first_and_only_one() {
    let chain =
        |rules: &str| format!("INPUT:; FORWARD:; OUTPUT:; DOCKER-USER:{rules}; A: >DOCKER-USER");
    let (with, without) = (chain(" ours return"), chain(" return"));
    for rules in [" return ours", " ours return ours", " ours ours return"] {
        check(&chain(rules), Standing::Displaced, &with, &without);
    }
    // What only looks like ours is somebody's.
    let others = " ours-of-tcp another-mark return";
    let with = chain(&format!(" ours{others}"));
    check(&chain(others), Standing::Missing, &with, &chain(others));
}

#[test]
fn the_jump_goes_before_those_to_the_engines_own_chains() {
    let end = "; OUTPUT: >DOCKER-USER; DOCKER: return; DOCKER-USER: ours; A:";
    let table = |forward: &str| format!("INPUT: >A; FORWARD:{forward}{end}");
    let none = |forward: &str| table(forward).replace(" ours", "");
    let moved = " >DOCKER-USER >A counts >DOCKER tcp>DOCKER-USER";
    for displaced in [
        " >A counts >DOCKER >DOCKER-USER tcp>DOCKER-USER",
        " >A counts >DOCKER >DOCKER-USER tcp>DOCKER-USER >DOCKER-USER",
    ] {
        check(
            &table(displaced),
            Standing::Displaced,
            &table(moved),
            &none(moved),
        );
    }
    // Behind rules of others, before conditional jumps, or taken away: as it should be, or somebody's wish.
    for kept in [
        " >A >DOCKER-USER >DOCKER",
        " tcp>DOCKER >DOCKER-USER",
        " >DOCKER",
        "",
    ] {
        check(&table(kept), Standing::InPlace, &table(kept), &none(kept));
    }
}

#[test]
fn a_table_without_the_chain_is_left_alone() {
    let words = "INPUT:; FORWARD: accept; OUTPUT:; DOCKER: return";
    let mut table = table(words);
    assert_eq!(find(&table), None);
    mend(&mut table, true);
    assert_eq!(show(&table), words);
}

#[test]
fn what_is_put_into_an_empty_chain_of_a_hook_stands_before_its_policy() {
    let mut table = table("INPUT:; FORWARD:; OUTPUT:; A: >DOCKER-USER; DOCKER-USER:");
    let forward = table.hook(FORWARD).unwrap();
    table.insert(forward.start, rule(Version::V4));
    let expected = "INPUT:; FORWARD: ours; OUTPUT:; A: >DOCKER-USER; DOCKER-USER:";
    assert_eq!(show(&table), expected);
}

#[test]
fn rules_keep_what_they_have_counted() {
    let mut table =
        table("INPUT:; FORWARD: >DOCKER >DOCKER-USER; OUTPUT:; DOCKER:; DOCKER-USER: return ours");
    let count = table.room().len() / 16;
    let of = |place: u64| [place.to_ne_bytes(), (100 * place).to_ne_bytes()].concat();
    let counted: Vec<u8> = (1..=count as u64).flat_map(of).collect();
    mend(&mut table, true);
    let carried = table.carried(&counted);
    assert_eq!(u32_at(&carried, 32), Some(count as u32));
    let packets: Vec<u64> = carried[40..]
        .chunks(16)
        .map(|one| u64::from_ne_bytes(*one.first_chunk().unwrap()))
        .collect();
    // The jump has changed places with another, our rule is new, and that which stood behind it is gone.
    assert_eq!(packets, [1, 3, 2, 4, 5, 6, 7, 8, 0, 9, 11, 12]);
}

#[test]
fn what_is_cut_off_or_leads_nowhere_is_not_taken_for_a_table() {
    let whole = captured();
    let (info, listing) = whole.split_at(84);
    let info = Info::parse(info).unwrap();
    assert!(Table::parse(Version::V4, info, listing).is_some());
    for length in 0..listing.len() {
        assert!(
            Table::parse(Version::V4, info, &listing[..length]).is_none(),
            "{length}"
        );
    }
    for at in 40..listing.len() {
        let mut damaged = listing.to_vec();
        damaged[at] ^= 0xff;
        // Whatever it says, reading it ends.
        if let Some(mut table) = Table::parse(Version::V4, info, &damaged) {
            let _ = find(&table);
            mend(&mut table, true);
            let _ = table.replacement();
        }
    }
}

/// What a kernel 6.18 said of filters as an engine 26 makes them, with a rule of an administrator's, and listed.
fn captured() -> &'static [u8] {
    include_bytes!("captured")
}

#[test]
#[cfg(target_endian = "little")]
fn a_kernels_own_table_is_changed_in_one_place_and_back() {
    let (info, listing) = captured().split_at(84);
    let info = Info::parse(info).unwrap();
    let mut table = Table::parse(Version::V4, info, listing).unwrap();
    assert_eq!(table.replacement()[96..], listing[40..]);
    assert_eq!(find(&table), Some(Standing::Missing));
    mend(&mut table, true);
    assert_eq!(find(&table), Some(Standing::InPlace));
    let replacement = table.replacement();
    assert_eq!(replacement.len(), 96 + listing.len() - 40 + 200);
    let chain = table.chain(DOCKER_USER).unwrap();
    assert_eq!(chain.len(), 3);
    mend(&mut table, false);
    assert_eq!(table.replacement()[96..], listing[40..]);
}
