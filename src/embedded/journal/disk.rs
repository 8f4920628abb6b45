//! The door to a directory on a disk: the few operations that the journal needs, each of which may fail.
//!
//! [`super::real::RealDisk`] is a directory; [`super::faulty::FaultyDisk`] is one that loses what was not synced.
//! What a call has done is certain to outlive a loss of power only after [`File::sync`] (contents and length of the file)
//! or [`Disk::sync_directory`] (which names there are and which file each means).

use std::io;

/// One directory.
pub trait Disk: Send + Sync + 'static {
    /// How people know it: its path.
    fn place(&self) -> String;

    /// Takes the directory for this process alone, until the returned value is dropped or the process ends.
    ///
    /// # Errors
    /// The lock could not be asked for; that another has it is no error but [`Lock::Taken`].
    fn lock(&self) -> io::Result<Lock>;

    /// The names of the files, in no order.
    ///
    /// # Errors
    /// It cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// It is not there or cannot be opened.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Makes an empty file, which only its owner may read.
    ///
    /// # Errors
    /// It is there already, or cannot be made.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name; one that has it already is replaced.
    ///
    /// # Errors
    /// It could not be done.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// It is not there or could not be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable what was created, renamed and removed.
    ///
    /// # Errors
    /// It is not certain to be durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// How a lock was answered.
pub enum Lock {
    /// It is held as long as this value lives.
    Held(Box<dyn Send + Sync>),
    /// A process has it, if known with its number.
    Taken(Option<u32>),
}

/// One file.
pub trait File: Send {
    /// How many bytes it has.
    ///
    /// # Errors
    /// It cannot be said.
    fn length(&self) -> io::Result<u64>;

    /// Reads up to as many bytes as `into` holds; gives how many, fewer only at the end of the file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes`, and makes the file longer where it needs to be.
    ///
    /// # Errors
    /// Not all was written; any part may have been. `StorageFull`: there is no space.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Takes space for `length` bytes, which are zero where nothing was written.
    ///
    /// # Errors
    /// There is no space.
    fn allocate(&mut self, length: u64) -> io::Result<()>;

    /// Cuts the file off, or makes it longer with zeros.
    ///
    /// # Errors
    /// It could not be done.
    fn set_length(&mut self, length: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    ///
    /// # Errors
    /// It is not certain what of them is, and calling it again will not tell.
    fn sync(&mut self) -> io::Result<()>;
}

/// Whether an error says that there is no space, on the disk or in the user's share of it.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
