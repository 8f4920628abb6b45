//! A small image for tests, made on the spot: no registry is asked.

use skep::engine::Engine;
use skep::engine::image::{Entry, Image};

/// The name of the image.
pub(crate) const BUSYBOX: &str = "skep-test/busybox:1";

/// Where Debian's package `busybox-static` puts the program.
const PROGRAM: &str = "/usr/bin/busybox";

/// The commands that tests use; each is a link to the one program.
const APPLETS: [&str; 37] = [
    "[", "basename", "cat", "chmod", "cp", "date", "dd", "df", "echo", "env", "false", "grep",
    "head", "hostname", "httpd", "id", "ip", "kill", "ls", "mkdir", "mount", "nc", "nproc",
    "nslookup", "printf", "ps", "pwd", "rm", "sh", "sleep", "stat", "stty", "touch", "true", "tty",
    "wc", "wget",
];

/// The image as bytes of a tar.
///
/// # Panics
/// The static busybox is not installed.
pub(crate) fn tar() -> Vec<u8> {
    let program = std::fs::read(PROGRAM).unwrap_or_else(|error| {
        panic!("{PROGRAM}: {error}; tests make their image of it: install busybox-static")
    });
    let file = |bytes: &[u8], mode| Entry::File {
        bytes: bytes.to_vec(),
        mode,
    };
    let mut image = Image {
        name: BUSYBOX.into(),
        architecture: skep::engine::image::go_architecture(std::env::consts::ARCH).into(),
        command: vec!["sh".into()],
        env: vec!["PATH=/bin".into()],
        ..Image::default()
    };
    let entries = &mut image.entries;
    entries.insert("bin/busybox".into(), file(&program, 0o755));
    entries.insert(
        "etc/passwd".into(),
        file(b"root:x:0:0:root:/:/bin/sh\n", 0o644),
    );
    entries.insert("etc/group".into(), file(b"root:x:0:\n", 0o644));
    for directory in ["tmp", "proc", "sys", "dev", "data"] {
        entries.insert(directory.into(), Entry::Directory);
    }
    for applet in APPLETS {
        let target = "busybox".into();
        entries.insert(format!("bin/{applet}"), Entry::Link { target });
    }
    image.tar()
}

/// Writes the image to `dir`, for `docker load` on any engine.
///
/// # Panics
/// The directory does not take it.
#[allow(dead_code, reason = "each test binary takes the part that it needs")]
pub(crate) fn busybox(dir: &std::path::Path) -> std::path::PathBuf {
    let path = dir.join("skep-test.tar");
    std::fs::write(&path, tar()).expect("the temporary directory takes the image");
    path
}

/// Puts the image on an engine; loading it again changes nothing.
///
/// # Panics
/// The engine does not take it.
#[allow(dead_code, reason = "each test binary takes the part that it needs")]
pub(crate) async fn load(engine: &dyn Engine) {
    if engine.image(BUSYBOX).await.is_ok() {
        return;
    }
    engine
        .load(tar())
        .await
        .expect("the engine loads the test image");
}
