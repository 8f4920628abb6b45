//! Which engine versions and etcd releases this machine has, by `tests/fleet/images/build`.
//!
//! Whatever is not there is told on standard error and in `$SKEP_NOT_COVERED` (a file that `make test` prints last).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// What became of one name: ready, or why not.
type Results = BTreeMap<String, Result<String, String>>;

/// The engine versions of a fleet, oldest first. Their images are `skep-node:VERSION`.
pub(crate) const VERSIONS: [&str; 3] = ["20.10", "26.1", "28.5"];

/// The engine versions that boot on this machine, oldest first.
///
/// # Panics
/// None does.
pub(crate) fn engine_versions() -> Vec<&'static str> {
    static NODES: OnceLock<Results> = OnceLock::new();
    let results = NODES.get_or_init(|| build("nodes"));
    let versions: Vec<&str> = VERSIONS
        .into_iter()
        .filter(|version| matches!(results.get(&format!("skep-node:{version}")), Some(Ok(_))))
        .collect();
    assert!(
        !versions.is_empty(),
        "no node image boots on this machine: {results:#?}"
    );
    versions
}

/// Whether this machine has the etcd of this series (`3.4`, `3.5`).
pub(crate) fn has_etcd(series: &str) -> bool {
    static ETCD: OnceLock<Results> = OnceLock::new();
    matches!(
        ETCD.get_or_init(|| build("etcd"))
            .get(&format!("etcd-{series}")),
        Some(Ok(_))
    )
}

/// Tells that something is not covered on this machine.
pub(crate) fn not_covered(name: &str, reason: &str) {
    static FILE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let line = format!("not covered: {name}: {reason}");
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("SKEP_NOT_COVERED") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .unwrap_or_else(|error| panic!("cannot write to {path:?}: {error}"));
    }
}

/// Runs the build script and reads its results.
fn build(what: &str) -> Results {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/images/build");
    let output = Command::new(&script)
        .arg(what)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {script:?}: {error}"));
    assert!(
        output.status.success(),
        "{script:?} {what} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let results: Results = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(result)
        .collect();
    for (name, result) in &results {
        match result {
            Ok(detail) => eprintln!("ready: {name}: {detail}"),
            Err(reason) => not_covered(name, reason),
        }
    }
    results
}

/// One line of results: `ready: NAME: DETAIL` or `not covered: NAME: REASON`. The name may hold a colon, no space.
fn result(line: &str) -> Option<(String, Result<String, String>)> {
    let (kind, rest) = line.split_once(": ")?;
    let (name, text) = rest.split_once(": ")?;
    match kind {
        "ready" => Some((name.into(), Ok(text.into()))),
        "not covered" => Some((name.into(), Err(text.into()))),
        _ => None,
    }
}
