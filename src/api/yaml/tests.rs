//! Places, refusals, aliases, and texts that nobody would write.

use super::*;
use proptest::prelude::*;

fn one(text: &str) -> Node {
    let mut documents = parse(text);
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).expect(text)
}

fn refused(text: &str) -> String {
    match parse(text).pop() {
        Some(Err(errors)) => errors[0].to_string(),
        other => panic!("{text:?} gave {other:?}"),
    }
}

/// Each plain or quoted scalar's span holds exactly its source.
fn check_spans(text: &str, node: &Node) {
    match &node.value {
        Value::Scalar { text: value, plain } if *plain => {
            assert_eq!(&text[node.start.offset..node.end], value);
        }
        Value::Scalar { .. } => {
            let source = &text[node.start.offset..node.end];
            assert!(
                source.starts_with(['"', '\'']) && source.ends_with(['"', '\'']),
                "{source}"
            );
        }
        Value::Sequence(items) => items.iter().for_each(|item| check_spans(text, item)),
        Value::Mapping(entries) => {
            for entry in entries {
                let source = text[entry.start.offset..entry.end].trim_matches('"');
                assert_eq!(source, entry.key);
                check_spans(text, &entry.value);
            }
        }
    }
}

#[test]
fn every_value_knows_its_place() {
    for text in [
        "replicas: 3 # three\ntemplate:\n  container: nginx\n",
        "{replicas: 3, template: {container: \"nginx:1.27\"}, ports: [8080:80]}",
        "{\n\t\"replicas\": 3,\n\t\"a\": [1, 2]\n}\n",
        "größe: 'ä ö'\nnächste: ü\nliste:\n- eins\n- zwei\n",
        "a: 1\r\nb:\r\n  c: \"x\"\r\n  d: 5   \r\n",
        "\u{feff}a: b\nc: 4",
        "---\na: 1\n...\n",
    ] {
        check_spans(text, &one(text));
    }
    let node = one("a: 1\nb:\n  c: x\n");
    let b = node.entry("b").expect("b");
    let c = b.value.entry("c").expect("c");
    assert_eq!((c.start.line, c.start.column), (3, 3));
    assert_eq!((c.value.start.line, c.value.start.column), (3, 6));
}

#[test]
fn what_is_ambiguous_or_broken_is_refused_with_its_place() {
    assert_eq!(
        refused("a: 1\nb: 2\na: 3\n"),
        "line 3, column 1: `a` stands here a second time, first in line 1"
    );
    assert!(
        refused("garbage: [").starts_with("line 1, column"),
        "{}",
        refused("garbage: [")
    );
    assert!(refused("a: !!binary xyz").contains("the tag `!!binary` is not supported"));
    assert!(refused("a: !mine xyz").contains("the tag `!mine` is not supported"));
    let many = parse(&"a: 1\n".repeat(1000)).pop().and_then(Result::err);
    assert_eq!(
        many.map(|errors| errors.len()),
        Some(super::build::MAX_ERRORS)
    );
    assert!(refused("a: \0\nb: 1").contains("control character"));
    assert!(refused("[a]: 1").contains("has to be text"));
    assert!(refused("a: &a [*a]").contains("part of what it stands for"));
    assert!(refused("<<: 5").contains("merges a mapping"));
    assert!(refused(&"[".repeat(80)).contains("nest deeper"));
    assert!(refused(&"- ".repeat(80)).contains("nest deeper"));
    // The parser itself gives up on these, before memory or the stack does.
    assert!(!refused(&"[".repeat(100_000)).is_empty());
    assert!(!refused(&"- ".repeat(100_000)).is_empty());
    assert!(refused("a: *nobody").contains("anchor"));
}

#[test]
fn aliases_and_merges_stand_for_their_values() {
    let node = one("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\n");
    let text = |path: [&str; 2]| {
        let value = &node.entry(path[0]).expect("entry").value;
        match &value.entry(path[1]).expect("field").value.value {
            Value::Scalar { text, .. } => text.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(text(["b", "q"]), "2");
    assert_eq!(text(["c", "q"]), "3");
    assert_eq!(text(["c", "p"]), "1");
}

#[test]
fn a_billion_laughs_are_not_laughed() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let last = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![last; 9].join(", "));
    }
    assert!(refused(&text).contains("too large"));
}

#[test]
fn documents_without_content_are_left_out() {
    assert_eq!(parse("").len(), 0);
    assert_eq!(parse("# only a comment\n").len(), 0);
    assert_eq!(parse("---\na: 1\n---\n---\nb: 2\n").len(), 2);
    let broken = parse("a: 1\n---\nb: [\n");
    assert!(broken[0].is_ok() && broken[1].is_err());
    let first_broken = parse("a: 1\na: 1\n---\nb: 2\n");
    assert!(first_broken[0].is_err() && first_broken[1].is_ok());
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC{0,60}") {
        parse(&text);
    }

    #[test]
    fn any_soup_of_syntax_parses_or_is_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@ \\n\\tab1ä~<.]{0,60}") {
        for node in parse(&text).into_iter().flatten() {
            prop_assert!(node.end <= text.len() && text.is_char_boundary(node.start.offset));
        }
    }
}
