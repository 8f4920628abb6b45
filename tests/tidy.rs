//! The rules of the house that a compiler does not check: layers, purity, shape, sizes, names.
//!
//! There is no list of exceptions. Where a rule is wrong, the rule changes here, with its reason.
//!
//! Tests (`tests.rs`, `*_tests.rs`, and what follows `mod tests {` in a file, which stands last) may reach up and wait:
//! layers and purity bind the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The top-level modules by layer, lowest first. A module uses lower layers, and others of its own without a cycle.
const LAYERS: &[&[&str]] = &[
    &["api", "planted"],
    &["store", "embedded", "engine", "metrics", "spawn"],
    &["runtime"],
    &["controllers", "dataplane"],
    &["cli", "gateway"],
    &["app", "sim"],
];

/// The files that each controller's folder has.
const CONTROLLER: [&str; 5] = ["mod.rs", "snapshot.rs", "plan.rs", "status.rs", "tests.rs"];

/// What pure code does not say: waiting, clocks, the outside world, chance.
const IMPURE: &[&str] = &[
    "async",
    "await",
    "tokio",
    "futures",
    "Instant",
    "SystemTime",
    "Clock",
    "now()",
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::io",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "rustix",
    "rand",
    "getrandom",
    "println",
    "eprintln",
    "tracing",
];

/// A file of ours with its path from the package's folder.
struct File {
    path: String,
    text: String,
}

impl File {
    /// The folder and file names of its path.
    fn parts(&self) -> Vec<&str> {
        self.path.split('/').collect()
    }

    /// Whether it holds only tests.
    fn is_test(&self) -> bool {
        let name = self.parts().pop().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs") || self.path.contains("/tests/")
    }

    /// Its code without tests, comments and literals.
    fn code(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        let code = code_of(&self.text);
        code.split("mod tests {").next().unwrap_or_default().into()
    }
}

/// The package's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under a folder, sorted; those that are not text are left out.
fn files(folder: &str) -> Vec<File> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).ok()?;
        let path = path.strip_prefix(root()).ok()?.to_str()?.to_owned();
        Some(File { path, text })
    };
    paths.into_iter().filter_map(read).collect()
}

/// All Rust files under a folder.
fn rust(folder: &str) -> Vec<File> {
    let mut files = files(folder);
    files.retain(|file| file.path.ends_with(".rs"));
    files
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) {
    // What is built, kept by git, or made by `make up` is not ours to judge.
    const FOREIGN: [&str; 4] = ["target", ".git", ".skep", "bin"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if FOREIGN.contains(&name.as_ref()) {
        return;
    }
    if !path.is_dir() {
        found.push(path.into());
        return;
    }
    for entry in fs::read_dir(path).expect("a folder of ours can be read") {
        walk(&entry.expect("it can be listed").path(), found);
    }
}

/// The text with comments and the insides of string and character literals left out.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            raw_string(rest)
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped.max(1)..];
    }
    code
}

/// The length of the raw string that `text` begins with; of a raw identifier, 2.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 2;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    text[start..]
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len())
}

/// The length of the string literal that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the character literal that `text` begins with; of a lifetime's quote, 1.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(1, |at| at + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Every path that the code names after `crate::`, one for each name of a group at its first level.
fn crate_paths(code: &str) -> BTreeSet<Vec<String>> {
    let mut paths = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        if is_word(code[..at].chars().next_back()) {
            continue;
        }
        for path in heads(&code[at + found.len()..]) {
            paths.insert(path);
        }
    }
    paths
}

/// The first two names of a path, or of each path of a group in braces.
fn heads(text: &str) -> Vec<Vec<String>> {
    let Some(group) = text.strip_prefix('{') else {
        let names = text
            .split("::")
            .take(2)
            .map(word)
            .take_while(|name| !name.is_empty());
        return vec![names.collect()];
    };
    let mut depth = 1;
    let mut items = vec![String::new()];
    for char in group.chars() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => items.push(String::new()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if let Some(item) = items.last_mut().filter(|_| char != ',') {
            item.push(char);
        }
    }
    items
        .iter()
        .flat_map(|item| heads(item.trim_start()))
        .collect()
}

/// The identifier that a text begins with.
fn word(text: &str) -> String {
    text.chars()
        .take_while(|char| is_word(Some(*char)))
        .collect()
}

fn is_word(char: Option<char>) -> bool {
    char.is_some_and(|char| char.is_alphanumeric() || char == '_')
}

/// The layer of a top-level module; none: it is not one of ours.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Reports every violation at once.
fn none_of(rule: &str, violations: Vec<String>) {
    assert!(
        violations.is_empty(),
        "{rule}:\n  {}\n",
        violations.join("\n  ")
    );
}

#[test]
fn every_module_has_a_layer() {
    let of_file = |file: &File| file.parts()[1].trim_end_matches(".rs").to_owned();
    let mut modules: Vec<_> = rust("src").iter().map(of_file).collect();
    modules.dedup();
    modules.retain(|name| layer(name).is_none() && name != "lib" && name != "main");
    none_of("not in the list of layers in tests/tidy.rs", modules);
}

#[test]
fn a_file_uses_lower_layers_only() {
    let mut violations = Vec::new();
    for file in rust("src") {
        let Some(own) = layer(file.parts()[1]) else {
            continue;
        };
        for path in crate_paths(&file.code()) {
            if path
                .first()
                .and_then(|module| layer(module))
                .is_some_and(|used| used > own)
            {
                violations.push(format!("{} uses crate::{}", file.path, path.join("::")));
            }
        }
    }
    none_of("a file uses lower layers only", violations);
}

#[test]
fn modules_of_one_layer_do_not_use_each_other_in_a_circle() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust("src") {
        let own = file.parts()[1].to_owned();
        for path in crate_paths(&file.code()) {
            let used = path.first().cloned().unwrap_or_default();
            if used != own && layer(&used).is_some() && layer(&used) == layer(&own) {
                uses.entry(own.clone()).or_default().insert(used);
            }
        }
    }
    // Whoever can be reached from itself is in a circle.
    let reaches_itself = |start: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(next) = open.pop() {
            open.extend(
                uses.get(next)
                    .into_iter()
                    .flatten()
                    .filter(|name| seen.insert(*name)),
            );
        }
        seen.contains(start)
    };
    let circles: Vec<_> = uses
        .keys()
        .filter(|name| reaches_itself(name))
        .cloned()
        .collect();
    none_of("modules of one layer in a circle", circles);
}

/// The folders of controllers.
fn controllers() -> BTreeSet<String> {
    let files = rust("src");
    let folders = files
        .iter()
        .map(File::parts)
        .filter(|parts| parts.len() > 3 && parts[1] == "controllers");
    folders.map(|parts| parts[2].to_owned()).collect()
}

#[test]
fn controllers_never_use_each_other() {
    let names = controllers();
    let mut violations = Vec::new();
    for file in rust("src") {
        let parts = file.parts();
        if parts.len() < 4 || parts[1] != "controllers" {
            continue;
        }
        let code = file.code();
        for path in crate_paths(&code) {
            if path[0] == "controllers" && path.get(1).is_some_and(|name| name != parts[2]) {
                violations.push(format!("{} uses crate::{}", file.path, path.join("::")));
            }
        }
        for other in names.iter().filter(|name| *name != parts[2]) {
            // From any depth: the last `super` of a chain of two or more may be the folder of controllers.
            if code.contains(&format!("super::super::{other}::")) {
                violations.push(format!("{} uses super::super::{other}", file.path));
            }
        }
    }
    none_of(
        "what two controllers share stands in api/ or runtime/",
        violations,
    );
}

#[test]
fn every_controller_has_the_five_files() {
    let missing = |name: &String| {
        let folder = root().join("src/controllers").join(name);
        CONTROLLER
            .into_iter()
            .filter(|file| !folder.join(file).exists())
            .map(|file| format!("src/controllers/{name}/{file}"))
            .collect::<Vec<_>>()
    };
    none_of("missing", controllers().iter().flat_map(missing).collect());
}

/// Whether a file has to be pure.
fn is_pure(file: &File) -> bool {
    let parts = file.parts();
    let name = parts[parts.len() - 1];
    let by_name = ["plan.rs", "snapshot.rs", "status.rs", "container.rs"];
    let in_api = parts[1] == "api";
    let in_controller = parts[1] == "controllers" || parts[1] == "dataplane";
    let alone = [
        "src/controllers/network/",
        "src/dataplane/dns/",
        "src/dataplane/nftables/",
        "src/dataplane/address.rs",
        "src/dataplane/connections.rs",
        "src/dataplane/constants.rs",
        "src/dataplane/delta.rs",
        "src/dataplane/kernel.rs",
        "src/dataplane/netlink/conntrack.rs",
        "src/dataplane/netlink/message.rs",
        "src/dataplane/netlink/route.rs",
        "src/dataplane/state.rs",
        "src/dataplane/wanted.rs",
        "src/embedded/answer.rs",
        "src/embedded/backup.rs",
        "src/embedded/change.rs",
        "src/embedded/check.rs",
        "src/embedded/door.rs",
        "src/embedded/fault.rs",
        "src/embedded/hash.rs",
        "src/embedded/history.rs",
        "src/embedded/lease.rs",
        "src/embedded/mvcc.rs",
        "src/embedded/read.rs",
        "src/embedded/refusal.rs",
        "src/embedded/replay.rs",
        "src/embedded/request.rs",
        "src/embedded/txn.rs",
        "src/embedded/server/authority.rs",
        "src/embedded/server/convert.rs",
        "src/embedded/server/fragment.rs",
        "src/embedded/store/quota.rs",
        "src/embedded/journal/codec.rs",
        "src/embedded/journal/faulty_file.rs",
        "src/embedded/journal/frame.rs",
        "src/embedded/journal/inventory.rs",
        "src/embedded/journal/names.rs",
        "src/embedded/journal/progress.rs",
        "src/embedded/journal/report.rs",
        "src/cli/print.rs",
        "src/cli/store/carried.rs",
        "src/cli/store/compare.rs",
        "src/cli/store/document.rs",
        "src/cli/store/life.rs",
        "src/runtime/allocations.rs",
        "src/runtime/joins.rs",
        "src/runtime/plan.rs",
        "src/runtime/published.rs",
        "src/runtime/runs.rs",
    ];
    let does = parts.contains(&"dns") && ["forward.rs", "server.rs"].contains(&name);
    let in_rules = !does && alone.iter().any(|one| file.path.starts_with(one));
    in_api
        || in_rules
        || (in_controller && (by_name.contains(&name) || parts.contains(&"container")))
}

#[test]
fn pure_files_are_pure() {
    let mut violations = Vec::new();
    for file in rust("src").iter().filter(|file| is_pure(file)) {
        let code = file.code();
        for word in IMPURE {
            let whole = code.match_indices(word).any(|(at, found)| {
                let before = code[..at].chars().next_back();
                let after = code[at + found.len()..].chars().next();
                !is_word(before) && (word.ends_with(')') || !is_word(after))
            });
            if whole {
                violations.push(format!("{}: {word}", file.path));
            }
        }
    }
    none_of(
        "pure code has no waiting, clock, input or chance",
        violations,
    );
}

#[test]
fn tasks_of_a_manager_begin_where_a_simulation_can_stop_them() {
    let mut violations = Vec::new();
    let is_of_managers = |file: &&File| {
        let folders = ["src/store/", "src/runtime/", "src/controllers/"];
        folders.iter().any(|folder| file.path.starts_with(folder))
            || file.path == "src/app/manager.rs"
    };
    for file in rust("src").iter().filter(is_of_managers) {
        let code = file.code();
        let by_itself = code.contains("tokio::spawn");
        let in_sets = code.split(".spawn(").skip(1);
        let mut bare = in_sets.filter(|rest| !rest.trim_start().starts_with("part("));
        if by_itself || bare.next().is_some() {
            violations.push(file.path.clone());
        }
    }
    none_of(
        "a task begins by spawn::task, or in a set as spawn::part",
        violations,
    );
}

/// The rules of `src/rules.md`: their names, and the tests that each names.
fn rules() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join("src/rules.md")).expect("the rules are there");
    let mut rules = BTreeMap::new();
    for part in text
        .split("\n\n")
        .filter_map(|part| part.strip_prefix("**"))
    {
        let name = part.split([' ', '*']).next().unwrap_or_default();
        let (_, shown) = part.split_once("\nShown by: ").unwrap_or_default();
        let tests = shown.split('`').skip(1).step_by(2);
        rules.insert(name.to_owned(), tests.map(str::to_owned).collect());
    }
    rules
}

#[test]
fn every_rule_names_tests_that_exist() {
    let mut code = String::new();
    for file in rust("src").iter().chain(&rust("tests")) {
        code += &file.text;
    }
    let is_test = |name: &str| {
        let at = code.find(&format!("fn {name}("));
        // The attribute stands above it, within the same item.
        at.is_some_and(|at| {
            let before = code[..at].trim_end_matches(|char| char != '\n').trim_end();
            before.ends_with(']')
        })
    };
    let rules = rules();
    let counts = [('I', 4), ('S', 10), ('C', 9), ('N', 6), ('K', 2)];
    let expected = counts
        .into_iter()
        .flat_map(|(letter, count)| (1..=count).map(move |number| format!("{letter}{number}")));
    let mut violations = Vec::new();
    for rule in expected {
        match rules.get(&rule).map(Vec::as_slice) {
            None => violations.push(format!("{rule} is not there")),
            Some([]) => violations.push(format!("{rule} names no test")),
            Some(tests) => violations.extend(
                tests
                    .iter()
                    .filter(|test| !is_test(test))
                    .map(|test| format!("{rule} names {test}, which is no test")),
            ),
        }
    }
    none_of("src/rules.md", violations);
}

#[test]
fn what_is_named_as_a_rule_is_one() {
    let rules = rules();
    let mut violations = Vec::new();
    for file in rust("src").iter().chain(&rust("tests")) {
        for (at, found) in file.text.match_indices("rule ") {
            let name = word(&file.text[at + found.len()..]);
            let is_like_one = name.len() > 1
                && name.starts_with(|char: char| char.is_ascii_uppercase())
                && name[1..].chars().all(|char| char.is_ascii_digit());
            if is_like_one && !rules.contains_key(&name) {
                violations.push(format!("{}: rule {name}", file.path));
            }
        }
    }
    none_of("not in src/rules.md", violations);
}

#[test]
fn files_stay_small() {
    let mut files = rust("src");
    files.extend(rust("tests"));
    let mut sizes: Vec<_> = files
        .iter()
        .map(|file| (file.text.lines().count(), &file.path))
        .collect();
    sizes.sort();
    let (median, _) = sizes[sizes.len() / 2];
    let (ninth, _) = sizes[sizes.len() * 9 / 10];
    let large = sizes.iter().filter(|(lines, _)| *lines > 800);
    none_of(
        "above 800 lines",
        large
            .map(|(lines, path)| format!("{path}: {lines}"))
            .collect(),
    );
    let what = "lines of the file in the middle, and of that above nine in ten";
    assert!(median <= 200 && ninth <= 400, "{what}: {median} {ninth}");
}

/// The functions of a formatted file outside its tests: name and lines.
fn functions(file: &File) -> Vec<(String, usize)> {
    if file.is_test() {
        return Vec::new();
    }
    let text = file.text.split("mod tests {").next().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter_map(|(start, line)| {
        let indent = line.len() - line.trim_start().len();
        let (before, after) = line.split_once("fn ")?;
        let is_start = before.split_whitespace().all(|word| {
            word.starts_with("pub") || ["async", "const", "in", "super)"].contains(&word)
        });
        (is_start && !line.ends_with(';')).then(|| (start, indent, word(after)))
    });
    let measured = starts.filter_map(|(start, indent, name)| {
        let end = format!("{}}}", " ".repeat(indent));
        let semicolon = lines[start..].iter().position(|line| line.ends_with(';'))?;
        let opening = lines[start..].iter().position(|line| line.ends_with('{'))?;
        // A signature of a trait has no body.
        let has_body = opening <= semicolon;
        let length = lines[start..].iter().position(|line| *line == end)? + 1;
        has_body.then_some((name, length))
    });
    measured.collect()
}

#[test]
fn functions_stay_small() {
    let mut all = Vec::new();
    for file in rust("src") {
        for (name, lines) in functions(&file) {
            all.push((lines, is_pure(&file), format!("{}: {name}", file.path)));
        }
    }
    all.sort();
    assert!(all.len() > 500, "only {} functions were found", all.len());
    let (ninth, ..) = all[all.len() * 90 / 100];
    let (longest_but_few, _, _) = all[all.len() * 99 / 100];
    let large = all.iter().filter(|(lines, pure, _)| *pure && *lines > 120);
    none_of(
        "above 120 lines in a pure file",
        large
            .map(|(lines, _, name)| format!("{name}: {lines}"))
            .collect(),
    );
    assert!(
        ninth <= 30,
        "one in ten functions has more than 30 lines: {ninth}"
    );
    assert!(
        longest_but_few <= 90,
        "one in a hundred functions has more than 90 lines: {longest_but_few}"
    );
}

#[test]
fn every_error_says_whether_a_repetition_may_help() {
    let mut violations = Vec::new();
    for file in rust("src") {
        let code = file.code();
        // One that stays in its module answers what its module asks, an exit code say.
        let public = |after: &&str| {
            let item = after.split_once('{').map_or("", |(head, _)| head);
            item.contains("pub enum") || item.contains("pub struct")
        };
        let errors = code
            .split("thiserror::Error")
            .skip(1)
            .filter(public)
            .count();
        let answers = code.matches("pub fn is_retryable(&self) -> bool").count();
        if answers < errors {
            violations.push(format!("{}: {errors} errors, {answers} answers", file.path));
        }
    }
    none_of("an error type without is_retryable", violations);
}

#[test]
fn every_dependency_is_used_and_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the package's manifest");
    let sources =
        |folder: &str| -> String { rust(folder).iter().map(|file| &*file.text).collect() };
    let (src, tests) = (sources("src"), sources("tests"));
    let (mut section, mut is_said, mut violations) = ("", false, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let name = word(&line.replace('-', "_"));
        let is_one = section.ends_with("dependencies]") && !name.is_empty();
        if is_one && !is_said {
            violations.push(format!("{name}: no comment above it says why it is here"));
        }
        let path = format!("{name}::");
        let everywhere = section == "[dev-dependencies]" && tests.contains(&path);
        let derived = src.contains(&format!("#[{name}]")) || src.contains(&format!("{name}!"));
        if is_one && !src.contains(&path) && !everywhere && !derived {
            violations.push(format!("{name}: nothing uses it"));
        }
        // A comment speaks for the lines right below it.
        is_said = line.starts_with('#') || (is_said && !line.is_empty());
    }
    none_of("dependencies", violations);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // Written in two pieces, so that this file does not name them.
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let mut violations = Vec::new();
    for file in files(".") {
        for (number, line) in file.text.lines().enumerate() {
            // An absolute path begins there: what stands inside a longer one (a key of a test) is none.
            let begins = |at: usize| !is_word(line[..at].chars().next_back());
            let absolute = |place: &&str| line.match_indices(*place).any(|(at, _)| begins(at));
            if places.iter().any(absolute) {
                violations.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none_of("places of one machine", violations);
}

#[test]
fn the_readme_names_only_make_targets_that_exist() {
    let read = |name| fs::read_to_string(root().join(name)).expect("the package has it");
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    let mentioned = readme.match_indices("make ").filter_map(|(at, found)| {
        let is_command = matches!(readme[..at].chars().next_back(), Some('`' | '\n'));
        let text = &readme[at + found.len()..];
        let target: String = text
            .chars()
            .take_while(|char| is_word(Some(*char)) || *char == '-')
            .collect();
        (is_command && !makefile.contains(&format!("\n{target}:"))).then_some(target)
    });
    none_of("not in the Makefile", mentioned.collect());
}

#[test]
fn charts_name_only_metrics_of_the_list() {
    let known: BTreeSet<_> = skep::metrics::list::ALL
        .iter()
        .map(|family| family.name)
        .collect();
    let prefixes = [
        "skep_",
        "controller_runtime_",
        "workqueue_",
        "leader_election_",
    ];
    let mut used = 0;
    let mut violations = Vec::new();
    for file in files("charts") {
        for name in file.text.split(|char: char| !is_word(Some(char))) {
            if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            used += 1;
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or(name);
            if !known.contains(family) && !known.contains(name) {
                violations.push(format!("{}: {name}", file.path));
            }
        }
    }
    none_of("not in src/metrics/list.rs", violations);
    assert!(used > 0, "charts/ names no metric at all: is it empty?");
}

#[test]
fn every_planted_bug_is_planted_and_listed_and_nothing_else_knows_of_them() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("the package has it");
    let (home, table) = ("src/planted.rs", read("tests/simulation/mutants/README.md"));
    let mut sources = rust("src");
    sources.retain(|file| file.path != home);
    let code: String = sources.iter().map(File::code).collect();
    let is_shown = |bug: &String| {
        code.contains(&format!("planted(Bug::{bug})")) && table.contains(&format!("| {bug} |"))
    };
    let home = read(home);
    let lines = home.lines().filter(|line| line.contains(": \""));
    let bugs: Vec<String> = lines.map(|line| word(line.trim_start())).collect();
    assert!(bugs.len() >= 40, "only {} bugs were found", bugs.len());
    let mut violations: Vec<String> = bugs.into_iter().filter(|bug| !is_shown(bug)).collect();
    // Written in two pieces, so that this file does not name it.
    let feature = concat!("feature = \"", "planted\"");
    sources.extend(rust("tests"));
    sources.retain(|file| !file.path.starts_with("tests/simulation/mutants/"));
    let others = sources.iter().filter(|file| file.text.contains(feature));
    violations.extend(others.map(|file| file.path.clone()));
    none_of("planted nowhere, in no table, or beside them", violations);
}

#[test]
fn the_tour_runs_the_image_of_this_version() {
    let image = concat!("image: skep:", env!("CARGO_PKG_VERSION"));
    for file in files("manifests/tour") {
        assert!(
            file.text.contains(image),
            "{} does not say \"{image}\"",
            file.path
        );
    }
}

#[test]
fn the_reader_of_code_sees_through_literals_and_comments() {
    let code = code_of(
        "let a = \"async\"; // tokio\nlet b: &'a str = r#\"rand\"#; let c = '\"'; /* now() */ x",
    );
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>().join(" "),
        "let a = ; let b: & a str = ; let c = ; x"
    );
    let found = crate_paths("use crate::{api::key, store::{Kv, Error}}; crate::engine::Engine");
    let found: Vec<_> = found.iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["api::key", "engine::Engine", "store"]);
}
