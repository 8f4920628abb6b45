//! Where `skep up` keeps its state, so that other verbs find its store.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What `skep up` writes there for other verbs: where its store is. The same as `.skep/config.yaml`.
pub const CONFIG: &str = "config.yaml";

/// The directory without a flag: `SKEP_DATA_DIR`, `$XDG_DATA_HOME/skep`, `~/.local/share/skep`; none: there is no home.
pub fn default(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| {
        let text = environment.get(name).filter(|text| !text.is_empty());
        text.map(PathBuf::from)
    };
    // The rules of these directories: a path that is not absolute does not count.
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let home = || set("HOME").map(|home| home.join(".local/share"));
    set("SKEP_DATA_DIR").or_else(|| Some(data.or_else(home)?.join("skep")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Option<&str>) {
        let environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(default(&environment), expected.map(PathBuf::from));
    }

    #[test]
    fn the_nearest_variable_names_the_directory() {
        let (own, data, home) = (
            ("SKEP_DATA_DIR", "/own"),
            ("XDG_DATA_HOME", "/data"),
            ("HOME", "/me"),
        );
        check(&[own, data, home], Some("/own"));
        check(&[data, home], Some("/data/skep"));
        check(&[home], Some("/me/.local/share/skep"));
        check(
            &[("XDG_DATA_HOME", "relative"), home],
            Some("/me/.local/share/skep"),
        );
        check(&[("XDG_DATA_HOME", ""), ("HOME", "")], None);
        check(&[], None);
    }
}
