//! Where the store is: flag, `SKEP_*`, `ETCDCTL_*`, the configuration file, the default.
//!
//! The configuration file describes one store: where a flag or variable names endpoints, nothing of it counts. It is
//! the nearest `.skep/config.yaml` from the current directory upwards, else the one that `skep up` wrote to its data
//! directory. That one counts whether `skep up` runs or not: whatever listens on etcd's usual port meanwhile may be
//! somebody else's, and commands that were meant for one store must not reach another.

use super::data_dir;
use crate::store::config::{StoreArgs, StoreConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file of a project, looked for from the current directory upwards.
const FILE: &str = ".skep/config.yaml";

/// Variables that name the endpoints.
const ENDPOINTS: [&str; 2] = ["SKEP_ENDPOINTS", "ETCDCTL_ENDPOINTS"];

/// The configuration file. Paths are relative to the directory that holds `.skep`, else to the file's own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    endpoints: Option<Endpoints>,
    prefix: Option<String>,
    cacert: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    user: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Endpoints {
    One(String),
    Many(Vec<String>),
}

/// Finds the settings.
///
/// # Errors
/// The configuration file is there and cannot be read, or the settings contradict each other.
pub fn resolve(
    args: &StoreArgs,
    environment: &BTreeMap<String, String>,
    directory: &Path,
) -> Result<StoreConfig, String> {
    let set = |name: &str| {
        environment
            .get(name)
            .filter(|text| !text.is_empty())
            .cloned()
    };
    let file = match file(args, environment, directory) {
        Some(path) => variables(&path)?,
        None => BTreeMap::new(),
    };
    // The last that is asked for is `ETCDCTL_*`: the file comes behind it.
    args.resolve(|name| {
        let behind = name
            .strip_prefix("ETCDCTL_")
            .and_then(|name| file.get(name).cloned());
        set(name).or(behind)
    })
    .map_err(|error| error.to_string())
}

/// The settings of the store of the `skep up` in a data directory; flags and variables say who we are to it.
///
/// # Errors
/// It has not said where its store is, or the settings contradict each other.
pub fn of_directory(
    args: &StoreArgs,
    environment: &BTreeMap<String, String>,
    data_dir: &Path,
) -> Result<StoreConfig, String> {
    let said = variables(&data_dir.join(data_dir::CONFIG))?;
    let args = StoreArgs {
        endpoints: said.get("ENDPOINTS").cloned(),
        ..args.clone()
    };
    args.resolve(|name| environment.get(name).cloned())
        .map_err(|error| error.to_string())
}

/// The configuration file that counts; none: a flag or variable names endpoints, or there is no file.
pub(super) fn file(
    args: &StoreArgs,
    environment: &BTreeMap<String, String>,
    directory: &Path,
) -> Option<PathBuf> {
    let set = |name: &&str| environment.get(*name).is_some_and(|text| !text.is_empty());
    if args.endpoints.is_some() || ENDPOINTS.iter().any(|name| set(name)) {
        return None;
    }
    let near = directory.ancestors().map(|base| base.join(FILE));
    let of_up = data_dir::default(environment).map(|path| path.join(data_dir::CONFIG));
    near.chain(of_up).find(|path| path.is_file())
}

/// What a configuration file says, by the variables' names without `SKEP_`.
fn variables(path: &Path) -> Result<BTreeMap<&'static str, String>, String> {
    let folder = path.parent().unwrap_or(path);
    // Paths in `.skep/config.yaml` begin beside `.skep`.
    let base = match path.ends_with(FILE) {
        true => folder.parent().unwrap_or(folder),
        false => folder,
    };
    let unreadable = |why: String| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let file: File = serde_yaml::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let at = |text: Option<String>| text.map(|text| absolute(base, &text));
    let values = [
        ("ENDPOINTS", file.endpoints.map(joined)),
        ("PREFIX", file.prefix),
        ("CACERT", at(file.cacert)),
        ("CERT", at(file.cert)),
        ("KEY", at(file.key)),
        ("USER", file.user),
    ];
    let set = values
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    Ok(set.collect())
}

fn absolute(base: &Path, path: &str) -> String {
    base.join(PathBuf::from(path)).display().to_string()
}

fn joined(endpoints: Endpoints) -> String {
    match endpoints {
        Endpoints::One(text) => text,
        Endpoints::Many(list) => list.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flag: &str, variables: &[(&str, &str)], file: &str, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::create_dir_all(directory.path().join(".skep")).unwrap();
        std::fs::write(directory.path().join(FILE), file).unwrap();
        let args = StoreArgs {
            endpoints: Some(flag.to_owned()).filter(|flag| !flag.is_empty()),
            ..StoreArgs::default()
        };
        let environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let found = resolve(&args, &environment, &below).unwrap();
        assert_eq!(
            format!("{} {}", found.endpoints.join(","), found.prefix),
            expected
        );
    }

    #[test]
    fn the_nearest_word_wins() {
        let skep = ("SKEP_ENDPOINTS", "s:1,s:2");
        let etcdctl = ("ETCDCTL_ENDPOINTS", "e:1");
        let file = "{endpoints: 'c:1', prefix: /other/}";
        check("f:1", &[skep, etcdctl], file, "http://f:1 /skep/");
        check("", &[skep, etcdctl], file, "http://s:1,http://s:2 /skep/");
        check("", &[etcdctl], file, "http://e:1 /skep/");
        check("", &[], file, "http://c:1 /other/");
        check(
            "",
            &[],
            "endpoints: ['c:1', 'c:2']",
            "http://c:1,http://c:2 /skep/",
        );
        check(
            "",
            &[("SKEP_ENDPOINTS", "")],
            "{}",
            "http://127.0.0.1:2379 /skep/",
        );
        check("", &[("SKEP_PREFIX", "/mine")], file, "http://c:1 /mine/");
    }

    #[test]
    fn what_skep_up_remembered_comes_behind_the_projects_file_and_before_the_default() {
        let (home, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = home.path().join("skep");
        let variable = home.path().display().to_string();
        let environment = BTreeMap::from([("XDG_DATA_HOME".to_owned(), variable)]);
        let found = || {
            let args = StoreArgs::default();
            let config = resolve(&args, &environment, project.path()).unwrap();
            config.endpoints.join(",")
        };
        assert_eq!(found(), "http://127.0.0.1:2379");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join(data_dir::CONFIG), "endpoints: ['127.0.0.1:2380']").unwrap();
        assert_eq!(found(), "http://127.0.0.1:2380");
        std::fs::create_dir_all(project.path().join(".skep")).unwrap();
        std::fs::write(project.path().join(FILE), "endpoints: ['127.0.0.1:2381']").unwrap();
        assert_eq!(found(), "http://127.0.0.1:2381");
    }
}
