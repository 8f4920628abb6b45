//! Images made on the spot: no registry is needed.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The image of [`busybox`]: a shell and small servers in 2 MB, that runs until it is stopped.
pub(crate) const BUSYBOX: &str = "skep-test:1";

/// What links to busybox in the image.
const APPLETS: [&str; 12] = [
    "sh", "sleep", "true", "false", "cat", "echo", "env", "httpd", "nc", "wget", "touch", "kill",
];

/// Writes an image tar (as `docker save` does) with a static busybox to `dir`, for `docker load` on any engine.
///
/// # Panics
/// The machine has no static busybox.
pub(crate) fn busybox(dir: &Path) -> PathBuf {
    let program = std::fs::read("/bin/busybox")
        .expect("cannot read /bin/busybox: apt install busybox-static");
    let path = dir.join("skep-test.tar");
    std::fs::write(
        &path,
        image(BUSYBOX, &["/bin/sleep", "1000000"], layer(&program)),
    )
    .expect("the temporary directory takes the image");
    path
}

/// The one layer: `/bin/busybox`, its links, and `/tmp`.
fn layer(busybox: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "bin/busybox", busybox, 0o755);
    for applet in APPLETS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .expect("a tar in memory takes every entry");
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o1777);
    tar.append_data(&mut header, "tmp/", std::io::empty())
        .expect("a tar in memory takes every entry");
    tar.into_inner().expect("a tar in memory ends")
}

/// An image of one layer, in the format of `docker save`.
pub(crate) fn image(name: &str, command: &[&str], layer: Vec<u8>) -> Vec<u8> {
    let config = serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
    })
    .to_string();
    let config_name = format!("{}.json", sha256(config.as_bytes()));
    let manifest = serde_json::json!([
        {"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}
    ])
    .to_string();

    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, &config_name, config.as_bytes(), 0o644);
    append(&mut tar, "layer.tar", &layer, 0o644);
    append(&mut tar, "manifest.json", manifest.as_bytes(), 0o644);
    tar.into_inner().expect("a tar in memory ends")
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, path, bytes)
        .expect("a tar in memory takes every entry");
}

/// The machine's architecture in Docker's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes every write");
            text
        })
}
