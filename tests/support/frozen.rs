//! Waiting until a process that was sent SIGSTOP stands still.

use std::time::Duration;

/// Returns once every thread of the process is stopped: the signal is only on its way when `kill` returns, and a thread on
/// another processor may answer one more request meanwhile.
///
/// # Panics
/// It does not stand still within ten seconds.
pub(crate) fn wait(pid: u32, name: &str) {
    for _ in 0..10_000 {
        if is_frozen(pid) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{name} does not stand still");
}

/// Whether every thread is stopped: state `T` in `/proc/<pid>/task/<tid>/stat`, behind the name in parentheses.
fn is_frozen(pid: u32) -> bool {
    let threads =
        std::fs::read_dir(format!("/proc/{pid}/task")).expect("the child is not waited for yet");
    let mut states = threads.flatten().map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let behind_name = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.trim_start().to_owned());
        behind_name.is_some_and(|rest| rest.starts_with(['T', 't']))
    });
    states.all(|is_stopped| is_stopped)
}
