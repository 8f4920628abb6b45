//! Images made on the spot, without a registry: a tar in the format of `docker save`, for `Engine::load`.
//!
//! Pure: bytes in, bytes out, and the same bytes for the same input, so that loading an image twice changes nothing.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;

/// When every image and file in it was made: images of the same content have to be the same image.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// What stands in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// Its mode (`0o755`).
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: String,
    },
}

/// An image of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its name with tag.
    pub name: String,
    /// The processor in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// Files by path without leading slash; directories above them come by themselves.
    pub entries: BTreeMap<String, Entry>,
    /// The entrypoint.
    pub entrypoint: Vec<String>,
    /// The arguments.
    pub command: Vec<String>,
    /// Environment variables as `NAME=value`.
    pub env: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The name of the image that holds this version of skep.
pub fn name(version: &str) -> String {
    format!("skep:{version}")
}

/// The image that holds one static binary of skep and nothing else.
///
/// `architecture` is Go's word or Rust's (`x86_64`).
pub fn skep(binary: Vec<u8>, version: &str, architecture: &str) -> Image {
    let labels = [
        ("org.opencontainers.image.title", "skep"),
        ("org.opencontainers.image.version", version),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
    ];
    let file = Entry::File {
        bytes: binary,
        mode: 0o755,
    };
    Image {
        name: name(version),
        architecture: go_architecture(architecture).to_owned(),
        entries: [
            ("skep".to_owned(), file),
            ("tmp".to_owned(), Entry::Directory),
        ]
        .into(),
        entrypoint: vec!["/skep".into()],
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..Image::default()
    }
}

/// Go's word for an architecture, which images carry.
pub fn go_architecture(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Image {
    /// The tar that `docker load` reads: `manifest.json`, the configuration, and one layer.
    pub fn tar(&self) -> Vec<u8> {
        let layer = self.layer();
        let digest = hex(&layer);
        let config = self.config(&digest).to_string().into_bytes();
        let config_name = format!("{}.json", hex(&config));
        let layer_name = format!("{digest}/layer.tar");
        let manifest = json!([{
            "Config": config_name, "RepoTags": [self.name], "Layers": [layer_name],
        }]);
        let file = |bytes| Entry::File { bytes, mode: 0o644 };
        archive([
            (config_name.as_str(), &file(config)),
            (layer_name.as_str(), &file(layer)),
            ("manifest.json", &file(manifest.to_string().into_bytes())),
        ])
    }

    fn layer(&self) -> Vec<u8> {
        let mut all: BTreeMap<&str, &Entry> = BTreeMap::new();
        for (path, entry) in &self.entries {
            let above = path.match_indices('/').map(|(end, _)| &path[..end]);
            for directory in above {
                all.entry(directory).or_insert(&Entry::Directory);
            }
            all.insert(path, entry);
        }
        archive(all)
    }

    fn config(&self, layer_digest: &str) -> Value {
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": EPOCH,
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.command,
                "Env": self.env,
                "Labels": self.labels,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
            "history": [{"created": EPOCH, "created_by": "skep"}],
        })
    }
}

/// The names of the images in a tar of `docker save`; empty: none, or not such a tar.
pub fn names(tar: &[u8]) -> Vec<String> {
    let Some(manifest) = read(tar, "manifest.json") else {
        return Vec::new();
    };
    let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    let images = manifest.as_array().into_iter().flatten();
    images
        .flat_map(|image| image["RepoTags"].as_array().into_iter().flatten())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

fn read(tar: &[u8], path: &str) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        if entry.path().ok()?.to_str() == Some(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).ok()?;
            return Some(bytes);
        }
    }
    None
}

fn archive<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Entry)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        let written = match entry {
            Entry::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                builder.append_data(&mut header, format!("{path}/"), &[][..])
            }
            Entry::File { bytes, mode } => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(*mode);
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, path, bytes.as_slice())
            }
            Entry::Link { target } => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                builder.append_link(&mut header, path, target)
            }
        };
        written.expect("paths of images are relative, and memory takes every write");
    }
    builder.into_inner().expect("memory takes every write")
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tar_holds_what_load_reads_and_is_the_same_each_time() {
        let image = skep(b"binary".to_vec(), "1.2.3", "x86_64");
        let tar = image.tar();
        assert_eq!(tar, image.tar());
        assert_eq!(names(&tar), ["skep:1.2.3"]);

        let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
        let manifest = json(read(&tar, "manifest.json").unwrap());
        let config = json(read(&tar, manifest[0]["Config"].as_str().unwrap()).unwrap());
        let layer = read(&tar, manifest[0]["Layers"][0].as_str().unwrap()).unwrap();
        assert_eq!(config["architecture"], "amd64");
        assert_eq!(config["config"]["Entrypoint"], json!(["/skep"]));
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{}", hex(&layer))
        );
        assert_eq!(read(&layer, "skep").unwrap(), b"binary");
    }

    #[test]
    fn directories_above_a_file_come_by_themselves() {
        let link = Entry::Link {
            target: "busybox".into(),
        };
        let image = Image {
            entries: [("usr/local/bin/sh".to_owned(), link)].into(),
            ..Image::default()
        };
        let layer = image.layer();
        let mut archive = tar::Archive::new(layer.as_slice());
        let paths: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            paths,
            ["usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/sh"]
        );
    }

    #[test]
    fn what_is_no_tar_names_no_image() {
        assert!(names(b"garbage").is_empty());
    }
}
