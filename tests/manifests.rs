//! Every example in `manifests/` is what it says: objects that are accepted, whose normalised form reads back.

use skep::api::manifest::{parse_documents, parse_value};
use skep::api::yaml_text;
use std::path::{Path, PathBuf};

#[test]
fn every_example_is_accepted_and_reads_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut objects = 0;
    for path in files(&folder) {
        let file = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        for manifest in parse_documents(&text, &file) {
            let manifest = manifest.unwrap_or_else(|problems| {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                panic!("{}", lines.join("\n"))
            });
            let stored = parse_value(&manifest.key, manifest.text.as_bytes());
            assert_eq!(stored.as_ref(), Ok(&manifest), "{file}");
            let shown = yaml_text::write(&manifest.spec.to_value());
            let again = parse_value(&manifest.key, shown.as_bytes()).map(|again| again.spec);
            assert_eq!(again, Ok(manifest.spec), "{file}: {shown}");
            objects += 1;
        }
    }
    assert!(objects >= 12, "only {objects} objects");
}

/// The files in a folder and in those below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("manifests/");
    let paths = entries.map(|entry| entry.expect("a file").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
