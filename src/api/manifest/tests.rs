//! What users read when their text is wrong, and what round trips.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn key(text: &str) -> ObjectKey {
    match crate::api::key::Key::parse(text) {
        Some(crate::api::key::Key::User(key)) => key,
        other => panic!("{text}: {other:?}"),
    }
}

fn put(text: &str) -> Result<Manifest, Vec<Problem>> {
    parse_value(&key("services/default/web"), text.as_bytes())
}

fn service(text: &str) -> ServiceSpec {
    match put(text)
        .unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
        .spec
    {
        Spec::Service(spec) => *spec,
        other => panic!("{other:?}"),
    }
}

/// The problems of a value under `services/default/web`, without the file.
fn refused(text: &str) -> Vec<String> {
    let problems = put(text).expect_err(text);
    let plain = |problem: &Problem| {
        let line = problem.to_string();
        line.trim_start_matches("services/default/web").to_owned()
    };
    problems.iter().map(plain).collect()
}

#[test]
fn the_short_form_of_the_readme_is_a_service() {
    let spec = service(r#"{replicas: 3, template: {container: "nginx:1.27"}, ports: ["8080:80"]}"#);
    assert_eq!(spec.replicas, Some(3));
    assert_eq!(spec.template.container.image, "nginx:1.27");
    assert_eq!(spec.ports[0].published.map(|port| port.0), Some(8080));
    assert_eq!(spec.template.networks, None);
}

#[test]
fn shorthands_mean_their_long_forms() {
    let check = |short: &str, long: &str| assert_eq!(service(short), service(long), "{short}");
    let with = |fields: &str| format!("template: {{container: {{image: i, {fields}}}}}");
    check(
        &with("command: sh -c 'a b'"),
        &with("command: [sh, -c, a b]"),
    );
    check(
        &with("env: [A=1.10, B=x=y]"),
        &with("env: {A: 1.10, B: x=y}"),
    );
    check(&with("env: {A: 1.10}"), &with("env: {A: \"1.10\"}"));
    check(
        &with("user: 1000, groups: [44]"),
        &with("user: \"1000\", groups: [\"44\"]"),
    );
    check(
        &with("healthcheck: {test: curl -f x}"),
        &with("healthcheck: {test: [CMD-SHELL, curl -f x]}"),
    );
    check(
        &with("mounts: [\"data:/d:ro\"]"),
        &with("mounts: [{type: volume, source: data, target: /d, readOnly: true}]"),
    );
    check(&with("env: , mounts: "), &with(""));
    check(
        "template: {container: i, networks: [a]}",
        "template: {container: {image: i}, networks: [{name: a}]}",
    );
    let ports = |ports: &str| format!("template: {{container: i}}\nports: {ports}");
    check(&ports("[22:22, 80]"), &ports("[\"22:22\", \"80\"]"));
    check(
        &ports("[host:8080:80/udp]"),
        &ports("[{target: 80, published: 8080, protocol: udp, mode: host}]"),
    );
    assert_eq!(
        service("template: {container: i, networks: []}")
            .template
            .networks,
        Some(vec![])
    );
}

#[test]
fn problems_say_where_and_what() {
    let check = |text: &str, lines: &[&str]| assert_eq!(refused(text), lines, "{text}");
    check("garbage: [", &[":1:10: this is no YAML: `[` is not closed"]);
    check(
        "replicas: three\ntemplate: {container: i}",
        &[":1:11: replicas: expected a whole number, found \"three\""],
    );
    check(
        "replicas: -1\ntemplate: {container: i}",
        &[":1:11: replicas: expected a whole number from 0 to 4294967295, found -1"],
    );
    check(
        "replcias: 3\ntemplate: {container: i}",
        &[":1:1: replcias: unknown field: did you mean `replicas`?"],
    );
    check(
        "template:\n  container:\n    image: i\n    env:\n      DEBUG: true\n",
        &[
            ":5:14: template.container.env.DEBUG: unquoted `true` is a boolean to some readers and text to others: write \"true\"",
        ],
    );
    check(
        "template: {container: {image: i, env: [A=1, A=2]}}",
        &[":1:39: template.container.env: `A` is set twice"],
    );
    check(
        "template: {container: {image: i, volumes: [x]}}",
        &[":1:34: template.container.volumes: unknown field: did you mean `mounts`?"],
    );
    check(
        "template:\n  container: i\n  sidecars: [{image: j}]\nautoscale: {max: 3}",
        &[
            ":3:3: template.sidecars: not provided yet: leave it out, a later version knows it",
            ":4:1: autoscale: not provided yet: leave it out, a later version knows it",
        ],
    );
    check(
        "template: {init: [{image: j}], container: {image: i, init: true}}\njob: {}\nsuspend: true\ndependsOn: [db]",
        &[
            ":1:12: template.init: not provided yet: leave it out, a later version knows it",
            ":2:1: job: not provided yet: leave it out, a later version knows it",
            ":3:1: suspend: not provided yet: leave it out, a later version knows it",
            ":4:1: dependsOn: not provided yet: leave it out, a later version knows it",
        ],
    );
    check(
        "template: {container: {image: 5}}",
        &[":1:31: template.container.image: expected text, found 5: write \"5\""],
    );
    check(
        "template: {container: i}\nmode: globl",
        &[
            ":2:7: mode: expected one of replicated, global, replicated-job, global-job, found \"globl\"",
        ],
    );
    check(
        "template: {container: {image: i, resources: {limits: {memory: 64M}}}}",
        &[
            ":1:63: template.container.resources.limits.memory: `64M` is ambiguous: 64000000 bytes to some, 67108864 to others; write 64Mi or the number of bytes",
        ],
    );
    check(
        "template: {container: {image: i, tty: yes}}",
        &[":1:39: template.container.tty: expected true or false, found \"yes\""],
    );
    check(
        "template: {container: i}\nreplicas: \"3\"",
        &[":2:11: replicas: expected a whole number, found \"3\": write it without quotes"],
    );
    check(
        "template: {container: i}\nports: [{targt: 80, hostIP: x}]",
        &[
            ":2:10: ports[0].targt: unknown field: did you mean `target`?",
            ":2:29: ports[0].hostIP: expected an IP address",
        ],
    );
    check("replicas: 3", &[":1:1: `template` is missing"]);
    check("template: {}", &[":1:11: template: `container` is missing"]);
    check(
        "template: {container: {}}",
        &[":1:23: template.container.image: is missing: write an image's name, such as nginx:1.27"],
    );
    check(
        "template: {container: i}\nports: [\"80x\"]",
        &[
            ":2:9: ports[0]: `80x` is no port: write \"80\", \"8080:80\", \"8080:80/udp\", \"8080-8082:80-82\" or \"host:8080:80\"",
        ],
    );
    check(
        "template: {container: i}\nports: [8080:80, 8080:81]",
        &[":2:18: ports[1].published: 8080/tcp is published by ports[0] too"],
    );
    check(
        "template: {container: i}\nports: [8080-8082:80, 9000:90, 9000:91]",
        &[":2:32: ports[2].published: 9000/tcp is published by ports[1] too"],
    );
    check(
        "template: {container: i}\nports: [{target: 80-82, published: 8080-8081}]",
        &[
            ":2:9: ports[0]: 2 published ports cannot lead to 3 ports: write as many, or one that all lead to",
        ],
    );
    check(
        "template: {container: i}\nports: [{target: 80-82, name: http}]",
        &[":2:9: ports[0]: a name belongs to one port, and this is a range: leave `name` out"],
    );
    check(
        "template: {container: i}\nports: [1000-1999:80, 3000:80, 4000-4001:80]",
        &[":2:8: ports: ranges of more than 1000 ports in all"],
    );
    check(
        "template: {container: i}\nports: [{target: x}]",
        &[":2:18: ports[0].target: `x` is no port: write 80, or a range such as \"80-82\""],
    );
    check(
        "[]",
        &[":1:1: expected a manifest, a mapping with apiVersion, kind, metadata and spec"],
    );
    check("", &[": the value is empty"]);
    check(
        "a: 1\n---\nb: 2",
        &[": the value holds 2 documents, a key holds one: put each under its own key"],
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "replicas: x\ntemplate:\n  container:\n    image: i\n    tyt: true\n    env: {A: on}\nports:\n- 80x\n- 81\n- {target: y}\n";
    let lines = refused(text);
    let paths: Vec<&str> = lines
        .iter()
        .map(|line| line.split(": ").nth(1).unwrap_or_default())
        .collect();
    assert_eq!(
        paths,
        [
            "replicas",
            "template.container.tyt",
            "template.container.env.A",
            "ports[0]",
            "ports[2].target"
        ],
        "{lines:#?}"
    );
    let text = "mode: global\nreplicas: 1\ntemplate: {container: {image: i, labels: {dev.skep.task: x}}, placement: {constraints: [x]}}";
    assert_eq!(refused(text).len(), 3);
}

#[test]
fn a_value_agrees_with_its_key() {
    let check = |metadata: &str, kind: &str, line: Option<&str>| {
        let text = format!(
            "apiVersion: skep.dev/v1\nkind: {kind}\nmetadata: {metadata}\nspec: {{template: {{container: i}}}}"
        );
        match (put(&text), line) {
            (Ok(manifest), None) => assert_eq!(manifest.key, key("services/default/web")),
            (Err(_), Some(line)) => assert_eq!(refused(&text), [line], "{text}"),
            (other, _) => panic!("{text}: {other:?}"),
        }
    };
    check("{}", "Service", None);
    check("{name: web, namespace: default}", "Service", None);
    check(
        "{name: web2}",
        "Service",
        Some(":3:18: metadata.name: says \"web2\", its key says \"web\""),
    );
    check(
        "{namespace: shop}",
        "Service",
        Some(":3:23: metadata.namespace: says \"shop\", its key says \"default\""),
    );
    check(
        "{}",
        "Node",
        Some(":2:7: kind: the manifest is a Node, its key is for a Service"),
    );
    check(
        "{}",
        "Servic",
        Some(":2:7: kind: there is no kind \"Servic\": did you mean `Service`?"),
    );
    check(
        "{nam: web}",
        "Service",
        Some(":3:12: metadata.nam: unknown field: did you mean `name`?"),
    );
}

#[test]
fn what_skep_shows_can_be_applied_as_it_is() {
    let text = "apiVersion: skep.dev/v1\nkind: Service\nmetadata: {name: web, uid: abc, generation: 4, resourceVersion: \"17\", creationTimestamp: x, labels: {a: 1.10}}\nspec: {template: {container: i}}\nstatus: {conditions: [1, 2]}\n";
    let manifest = put(text).expect("a manifest");
    assert_eq!(manifest.resource_version, Some(Revision(17)));
    assert_eq!(manifest.metadata.labels["a"], "1.10");
    let wrong = text.replace("\"17\"", "seventeen");
    assert_eq!(
        refused(&wrong),
        [":3:65: metadata.resourceVersion: expected a revision, found \"seventeen\""]
    );
}

#[test]
fn files_hold_several_documents_and_name_them() {
    let text = "apiVersion: skep.dev/v1\nkind: Node\nmetadata: {name: n1}\nspec: {engine: unix:///var/run/docker.sock}\n---\nreplicas: 3\n---\napiVersion: skep.dev/v2\nkind: Network\nmetadata: {name: -x}\n";
    let found = parse_documents(text, "web.yaml");
    assert_eq!(found.len(), 3);
    assert_eq!(
        found[0].as_ref().map(|manifest| manifest.key.to_string()),
        Ok("nodes/n1".into())
    );
    let lines = |index: usize| -> Vec<String> {
        found[index]
            .as_ref()
            .expect_err("refused")
            .iter()
            .map(Problem::to_string)
            .collect()
    };
    assert!(
        lines(1)[0].starts_with("web.yaml:6:1 (document 2): `apiVersion`, `kind`"),
        "{:?}",
        lines(1)
    );
    assert_eq!(
        lines(2)[0],
        "web.yaml:8:13 (document 3): apiVersion: expected skep.dev/v1, found \"skep.dev/v2\""
    );
    assert!(lines(2)[1].starts_with("web.yaml:10:18 (document 3): metadata.name: `-x` is no name"));
}

#[test]
fn each_document_keeps_its_own_text() {
    let node = |name: &str| {
        format!(
            "apiVersion: skep.dev/v1\nkind: Node # {name}\nmetadata: {{name: {name}}}\nspec: {{engine: unix:///x}}\n"
        )
    };
    let texts = |text: &str| -> Vec<String> {
        let found = parse_documents(text, "nodes.yaml");
        found
            .into_iter()
            .map(|manifest| manifest.expect(text).text)
            .collect()
    };
    let (a, b) = (node("a"), node("b"));
    assert_eq!(
        texts(&format!("# head\n---\n{a}")),
        [format!("# head\n---\n{a}")]
    );
    assert_eq!(texts(&format!("{a}---\n{b}")), [a.clone(), b.clone()]);
    assert_eq!(
        texts(&format!("# head\n---\n{a}---\n# nothing\n--- # x\n{b}")),
        [a, format!(" # x\n{b}")]
    );
}

#[test]
fn bytes_that_are_no_manifest_are_refused() {
    let key = key("services/default/web");
    let line = |value: &[u8]| parse_value(&key, value).expect_err("refused")[0].to_string();
    assert_eq!(
        line(b"a\xff"),
        "services/default/web: the value is no UTF-8 text: byte 2 is wrong"
    );
    let large = vec![b' '; MAX_BYTES + 1];
    assert_eq!(
        line(&large),
        "services/default/web: 524289 bytes are more than the 524288 that a manifest may have"
    );
}

#[test]
fn a_problem_quotes_little_of_a_long_text() {
    let long = "ä".repeat(100_000);
    for text in [
        format!("replicas: {long}\ntemplate: {{container: i}}"),
        format!("{long}: 3\ntemplate: {{container: i}}"),
        format!("template: {{container: i}}\nports: [{long}]"),
    ] {
        let line = &refused(&text)[0];
        assert!(line.chars().count() < 1000, "{}", line.len());
    }
}

#[test]
fn the_normalised_form_reads_back() {
    let text = include_str!("../../../manifests/everything.yaml");
    for manifest in parse_documents(text, "everything.yaml") {
        let manifest = manifest.expect("a manifest");
        let json = manifest.spec.to_value();
        let yaml = crate::api::yaml_text::write(&json);
        for text in [json.to_string(), yaml] {
            let again = parse_value(&manifest.key, text.as_bytes());
            assert_eq!(
                again.map(|again| again.spec),
                Ok(manifest.spec.clone()),
                "{text}"
            );
        }
        let Spec::Service(spec) = manifest.spec else {
            panic!("a service")
        };
        let record: ServiceSpec = serde_json::from_value(json).expect("a record");
        assert_eq!(record, *spec);
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,8}",
        "\\PC{0,6}",
        Just("true".into()),
        Just("1.10".into()),
        Just("".into()),
        Just("~".into())
    ]
}

prop_compose! {
    fn specs()(
        replicas in proptest::option::of(0u32..1000),
        env in proptest::collection::btree_map("[A-Z_]{1,5}", text(), 0..4),
        labels in proptest::collection::btree_map("[a-z.]{1,5}", text(), 0..4),
        args in proptest::collection::vec(text(), 0..4),
        working_dir in proptest::option::of(text()),
        cpus in 0u64..4_000_000_000,
        memory in (6u64 << 20)..(1 << 40),
        delay in 0u64..100_000_000,
        ratio in 0.0f64..=1.0,
    ) -> serde_json::Value {
        let mut spec = json!({
            "template": {"container": {
                "image": "nginx", "env": env, "labels": labels, "args": args,
                "resources": {"limits": {
                    "cpus": crate::api::unit::NanoCpus(cpus), "memory": crate::api::unit::Bytes(memory),
                }},
            }},
            "update": {
                "delay": crate::api::unit::Period(std::time::Duration::from_millis(delay)),
                "maxFailureRatio": ratio,
            },
        });
        if let Some(replicas) = replicas {
            spec["replicas"] = json!(replicas);
        }
        if let Some(directory) = working_dir {
            spec["template"]["container"]["workingDir"] = json!(directory);
        }
        spec
    }
}

proptest! {
    #[test]
    fn a_spec_is_the_same_from_json_yaml_and_its_record(value in specs()) {
        let record: ServiceSpec = serde_json::from_value(value).expect("a record");
        let mut filled = record;
        default::fill(&mut filled);
        let json = serde_json::to_string(&filled).expect("JSON");
        prop_assert_eq!(&service(&json), &filled);
        prop_assert_eq!(&serde_json::from_str::<ServiceSpec>(&json).expect("a record"), &filled);
        let value = serde_json::to_value(&filled).expect("JSON");
        let yaml = crate::api::yaml_text::write(&value);
        prop_assert_eq!(&service(&yaml), &filled, "{}", yaml);
        let other = serde_yaml::to_string(&filled).expect("YAML");
        // The library writes YAML 1.1, to which these break lines, and leaves these words without quotes.
        let breaks = other.contains(['\u{85}', '\u{2028}', '\u{2029}']);
        let words = ["yes", "no", "on", "off"];
        let is_word = |text: &String| words.contains(&text.to_ascii_lowercase().as_str());
        let container = &filled.template.container;
        let mut texts = container.env.values().chain(container.labels.values()).chain(&container.args);
        if !breaks && !texts.any(is_word) {
            prop_assert_eq!(&service(&other), &filled, "{}", other);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_value(&key("services/default/web"), &bytes);
    }

    #[test]
    fn a_manifest_with_a_wound_is_read_or_refused(at in 0usize..2000, byte in any::<u8>()) {
        let mut bytes = include_bytes!("../../../manifests/everything.yaml").to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        for problem in parse_value(&key("services/default/everything"), &bytes).err().unwrap_or_default() {
            prop_assert!(!problem.message.is_empty());
        }
    }
}
