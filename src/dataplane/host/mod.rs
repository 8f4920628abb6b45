//! The door [`Host`]: a node's kernel.
//!
//! [`Linux`] is the real one, over netlink, for the network namespace that it was opened in; [`Memory`] is one in memory
//! with the same manners, for tests and the simulator. Calls return within milliseconds and wait for nobody, so they are
//! not asynchronous.

mod error;
mod events;
mod fast_path;
mod legacy;
mod linux;
mod listeners;
mod memory;

pub use error::Error;
pub use events::Events;
pub use linux::Linux;
pub use memory::Memory;

use super::connections::{Connection, Tracked};
use super::kernel::Kernel;
use super::plan::Operation;

/// A node's kernel.
pub trait Host: Send {
    /// What is there.
    ///
    /// # Errors
    /// The kernel could not be read.
    fn look(&mut self) -> Result<Kernel, Error>;

    /// Does one thing.
    ///
    /// # Errors
    /// The kernel refused it: nothing of it was done.
    fn act(&mut self, operation: &Operation) -> Result<(), Error>;

    /// Does one thing after another; what is of one kind in a row may be told in one go.
    ///
    /// # Errors
    /// The kernel refused one: all before it were done, those behind it may not be.
    fn act_all(&mut self, operations: &[Operation]) -> Result<(), Error> {
        for operation in operations {
            self.act(operation)?;
        }
        Ok(())
    }

    /// The connections that it tracks.
    ///
    /// # Errors
    /// They could not be read.
    fn connections(&mut self) -> Result<Vec<Connection>, Error>;

    /// How many connections it tracks; nothing: it does not say.
    fn tracked(&mut self) -> Option<Tracked>;

    /// Forgets a connection; one that is gone already is no error.
    ///
    /// # Errors
    /// The kernel refused it.
    fn cut(&mut self, connection: &Connection) -> Result<(), Error>;
}
