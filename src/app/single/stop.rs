//! Ends the `skep up` that has a data directory.

use super::home::{Denied, Home};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How long it may take: a manager's last writes, and the store's.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Asks process `holder` to end, and gives the directory that it had.
pub(super) async fn stop(path: &Path, holder: Option<u32>) -> Result<Home, String> {
    let unknown = || {
        format!(
            "it is not known which process has {}: end it",
            path.display()
        )
    };
    let holder = holder.ok_or_else(unknown)?;
    let pid = i32::try_from(holder).ok().and_then(Pid::from_raw);
    // A handle on the process, before it is looked at: its id cannot become another's meanwhile.
    let process = pidfd_open(pid.ok_or_else(unknown)?, PidfdFlags::empty());
    if let Ok(process) = process
        && has_open(holder, &path.join("lock"))
    {
        pidfd_send_signal(process, Signal::TERM)
            .map_err(|error| format!("cannot end process {holder}: {error}"))?;
    }
    let freed = tokio::time::timeout(DEADLINE, async {
        loop {
            match Home::take(path) {
                Ok(home) => return Ok(home),
                Err(Denied::Taken(_)) => tokio::time::sleep(LOOK).await,
                Err(Denied::Failed(why)) => return Err(why),
            }
        }
    });
    let overdue = |_| format!("process {holder} does not end: end it, and run this again");
    freed.await.map_err(overdue)?
}

/// Whether a process has this file open: the id in it is then its own, and not one of another machine or container.
fn has_open(process: u32, file: &Path) -> bool {
    let Ok(wanted) = fs::metadata(file) else {
        return false;
    };
    let files = fs::read_dir(format!("/proc/{process}/fd"));
    let mut open = files.into_iter().flatten().flatten();
    open.any(|entry| {
        fs::metadata(entry.path())
            .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
    })
}
