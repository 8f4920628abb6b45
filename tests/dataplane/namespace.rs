//! Network namespaces.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A network namespace; it goes with this value, and with this program.
pub(crate) struct Namespace {
    /// `cat`, which holds the namespace and ends when its input does.
    holder: Child,
}

impl Namespace {
    /// A new one, with its loopback switched on.
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) runs, as root");
        // It answers from inside.
        let input = holder.stdin.as_mut().expect("it was piped");
        writeln!(input, "in").expect("cat reads");
        let output = holder.stdout.as_mut().expect("it was piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "in\n", "unshare needs root");
        let namespace = Self { holder };
        namespace.ip("link set lo up");
        namespace
    }

    /// The process that `ip link set netns` names it by.
    pub(crate) fn id(&self) -> u32 {
        self.holder.id()
    }

    /// Does something inside.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&path);
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program inside and returns what it says.
    ///
    /// # Panics
    /// It fails.
    pub(crate) fn run(&self, line: &str) -> String {
        let (done, said) = self.attempt(line);
        assert!(done, "{line}: {said}");
        said
    }

    /// As [`Namespace::run`]; says whether it succeeded.
    pub(crate) fn attempt(&self, line: &str) -> (bool, String) {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        let output = self.within(move || command.output());
        let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// `ip`.
    pub(crate) fn ip(&self, line: &str) -> String {
        self.run(&format!("ip {line}"))
    }

    /// Sets a value below `/proc/sys/net`.
    pub(crate) fn set(&self, path: &str, value: &str) {
        let file = format!("/proc/sys/net/{path}");
        self.within(|| std::fs::write(&file, value))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// The value below `/proc/sys/net`.
    pub(crate) fn get(&self, path: &str) -> String {
        let file = format!("/proc/sys/net/{path}");
        let value = self.within(|| std::fs::read_to_string(&file));
        value
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .trim()
            .to_owned()
    }

    /// A cable: `own` in here, `other` in `there`, both switched on.
    pub(crate) fn cable(&self, own: &str, there: &Self, other: &str) {
        let peer = there.id();
        self.ip(&format!(
            "link add {own} type veth peer name {other} netns {peer}"
        ));
        self.ip(&format!("link set {own} up"));
        there.ip(&format!("link set {other} up"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // An error means that it has ended before.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn enter(path: &str) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("root may enter it");
}
