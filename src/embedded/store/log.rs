//! The door [`Log`]: where the store keeps its changes. The journal is one; tests have others.

use crate::embedded::change::Change;

/// A durable list of changes. Calls block; the commit thread makes them.
pub trait Log: Send + 'static {
    /// Makes changes durable, all or none of them, in order.
    ///
    /// # Errors
    /// None of them is durable, or none will be played back.
    fn append(&mut self, changes: &[Change]) -> Result<(), LogError>;

    /// Whether the disk failed in a way that leaves open what is durable: nothing is taken until a snapshot has begun it anew.
    fn is_closed(&self) -> bool;

    /// Whether the log has grown so long that a snapshot in its place would be much shorter.
    fn wants_snapshot(&self) -> bool;

    /// Puts these changes, the whole store as of the last append, in place of all that was appended.
    ///
    /// # Errors
    /// The log is as it was before.
    fn snapshot(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<(), LogError>;

    /// Bytes on disk.
    fn size(&self) -> u64;
}

/// Why the log could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LogError {
    /// What the disk said.
    pub message: String,
    /// Whether the disk is full.
    pub full: bool,
}

impl LogError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        true
    }
}
