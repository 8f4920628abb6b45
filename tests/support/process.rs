//! Programs that a test starts, signals and ends: `skep` itself, etcd.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How many lines of a program's output are shown when a test fails.
const TAIL: usize = 60;

/// A running program; dropped, it is killed, and its last lines are printed if the test failed.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output appended to `DIR/NAME.log`.
    pub(crate) fn start<S: AsRef<OsStr>>(
        name: &str,
        program: impl AsRef<OsStr>,
        arguments: &[S],
        dir: &Path,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(name, command, dir)
    }

    /// Starts this package's `skep` with its output in `DIR/NAME.log`. Settings of the caller's shell do not reach it.
    pub(crate) fn skep<S: AsRef<OsStr>>(name: &str, arguments: &[S], dir: &Path) -> Self {
        Self::spawn(name, skep(arguments), dir)
    }

    /// Starts a command that the caller prepared (variables, directory).
    pub(crate) fn spawn(name: &str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap_or_else(|error| panic!("cannot write {log:?}: {error}"));
        let errors = output
            .try_clone()
            .expect("an open file has a second handle");
        let child = command
            .env("SKEP_TEST_OWNER", owner())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        Self {
            name: name.into(),
            child,
            log,
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// How it ended; none: it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `kill -STOP`: it keeps its connections and leases, and does nothing.
    ///
    /// Returns once each of its threads stands: the signal is only on its way when the call returns, and a thread on
    /// another processor may answer one more request meanwhile.
    ///
    /// # Panics
    /// It does not stand still within ten seconds.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        super::frozen::wait(self.child.id(), &self.name);
    }

    /// `kill -CONT`.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// `kill -TERM`, and waits until it has ended.
    ///
    /// # Panics
    /// It did not end within `deadline`.
    pub(crate) async fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let what = format!("{} ends after SIGTERM", self.name);
        super::wait::until(deadline, &what, async || self.ended()).await
    }

    /// All that it printed so far.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines that it printed.
    pub(crate) fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id fits");
        let pid = Pid::from_raw(id).expect("a process id is not 0");
        // The child is not yet waited for where it has ended, so the id cannot be another process's.
        kill_process(pid, signal)
            .unwrap_or_else(|error| panic!("cannot signal {} ({id}): {error}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- last lines of {} ---\n{}\n---", self.name, self.tail());
        }
    }
}

/// A command line of this package's `skep`, without the store settings of the caller's shell.
pub(crate) fn skep<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SKEP_") || text.starts_with("ETCDCTL_") {
            command.env_remove(&name);
        }
    }
    command
}

/// This process as `ID-START`: the id alone may be another process's by the time that somebody looks.
///
/// What a test starts carries it (a label, a variable), so that `scripts/clean-tests` finds what a killed run left.
pub(crate) fn owner() -> String {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the system has /proc");
    // The name in parentheses may hold spaces; the start is the 20th word after it.
    let words = stat.rsplit_once(')').map_or("", |(_, words)| words);
    let start = words.split_whitespace().nth(19).unwrap_or("0");
    format!("{}-{start}", std::process::id())
}
