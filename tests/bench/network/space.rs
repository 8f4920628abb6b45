//! Network namespaces of nodes and containers: traffic runs in threads of the benchmark that enter them.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

/// A network namespace of somebody else's.
#[derive(Clone)]
pub(super) struct Space {
    file: PathBuf,
}

impl Space {
    /// The one of a process of this machine.
    pub(super) fn of(process: &str) -> Self {
        let file = format!("/proc/{process}/ns/net").into();
        Self { file }
    }

    /// The one of a process as the process of a container numbers it: a container within that container.
    pub(super) fn inside(container: &str, process: &str) -> Self {
        let inside = Path::new("/proc").join(container).join("root");
        let file = inside.join(format!("proc/{process}/ns/net"));
        Self { file }
    }

    /// Does something in it, and waits for the end.
    ///
    /// # Panics
    /// It cannot be entered.
    pub(super) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            let done = inside.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Takes the calling thread into it, for good.
    fn enter(&self) {
        let file = File::open(&self.file);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter it");
    }
}
