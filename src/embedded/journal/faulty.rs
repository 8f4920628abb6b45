//! [`FaultyDisk`]: a disk in memory that does all that a real one may do to whoever trusts it too much.
//!
//! What was not synced is dropped, torn at sectors of 512 bytes, and kept out of order when the power goes: each sector,
//! length, name and removal for itself. A sync that fails loses some of what it should have kept, although it can still
//! be read, and a later sync does not bring it back. Chance comes from a seed.

use super::disk::{Disk, File, Lock};
use super::faulty_file::{Inode, SECTOR};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation is done in part, and nothing works any more until [`FaultyDisk::restart`].
    Stop,
    /// There is no space; part of a write was done.
    NoSpace,
    /// The device fails; part of a write was done, and part of what a sync should have kept is lost.
    Failure,
}

/// What a restart finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The process was killed: all that it wrote.
    Killed,
    /// The power was lost, and with it everything that was not synced.
    PowerLostNothingKept,
    /// The power was lost, though all was written by then.
    PowerLostAllKept,
    /// The power was lost, and of what was not synced chance kept some.
    PowerLost,
}

/// A change of a name.
#[derive(Clone, Debug)]
enum Naming {
    Set(String, u64),
    Moved(String, String, u64),
    Gone(String),
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<Naming>,
    planned: Option<(u64, Fault)>,
    capacity: Option<u64>,
    operations: u64,
    made: u64,
    chance: u64,
    life: u64,
    is_down: bool,
    locked_by: Option<u32>,
}

/// The disk; clones are the same one.
#[derive(Clone, Debug)]
pub struct FaultyDisk(Arc<Mutex<State>>);

impl FaultyDisk {
    /// An empty disk without limit.
    pub fn new(seed: u64) -> Self {
        let chance = seed;
        Self(Arc::new(Mutex::new(State {
            chance,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations that change something were asked for.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets operation number `operation` (the first is 1) go wrong, once.
    pub fn plan(&self, operation: u64, fault: Fault) {
        self.state().planned = Some((operation, fault));
    }

    /// Takes back what was planned.
    pub fn heal(&self) {
        self.state().planned = None;
    }

    /// How many bytes all files may have together; none: no limit.
    pub fn limit(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// How many bytes all files have together.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Ends every open file and lock, and finds what is left.
    pub fn restart(&self, how: Restart) {
        self.state().restart(how);
    }

    /// What can be read of a file; none: it is not there.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.names.get(name)?;
        Some(state.inodes[inode].contents.clone())
    }

    /// Puts a file there, durably, whatever was there before: damage.
    pub fn put(&self, name: &str, contents: Vec<u8>) {
        let mut state = self.state();
        state.made += 1;
        let made = state.made;
        state.inodes.insert(made, Inode::durable(contents));
        state.names.insert(name.into(), made);
        state.durable.insert(name.into(), made);
    }
}

impl State {
    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn used(&self) -> u64 {
        let lengths = self
            .names
            .values()
            .map(|inode| self.inodes[inode].contents.len());
        lengths.sum::<usize>() as u64
    }

    /// Counts an operation; gives what is to go wrong with it.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        if self.is_down {
            return Err(io::Error::other("the machine is off"));
        }
        self.operations += 1;
        let now = self.operations;
        let fault = self.planned.take_if(|(operation, _)| *operation == now);
        let fault = fault.map(|(_, fault)| fault);
        self.is_down = fault == Some(Fault::Stop);
        Ok(fault)
    }

    /// An operation on names, which is done or not.
    fn naming(&mut self, naming: Naming) -> io::Result<()> {
        let fault = self.begin()?;
        let is_done = fault.is_none() || (fault == Some(Fault::Stop) && self.below(2) == 0);
        if is_done {
            apply(&mut self.names, &naming);
            self.pending.push(naming);
        }
        fault.map_or(Ok(()), |fault| Err(error(fault)))
    }

    fn inode(&self, name: &str) -> io::Result<u64> {
        let inode = self.names.get(name).copied();
        inode.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn restart(&mut self, how: Restart) {
        self.life += 1;
        self.is_down = false;
        self.planned = None;
        self.locked_by = None;
        if how == Restart::Killed {
            return;
        }
        for naming in std::mem::take(&mut self.pending) {
            if self.keeps(how) {
                apply(&mut self.durable, &naming);
            }
        }
        self.names = self.durable.clone();
        let mut inodes = std::mem::take(&mut self.inodes);
        for inode in inodes.values_mut() {
            inode.lose(|| self.keeps(how));
        }
        self.inodes = inodes;
    }

    fn keeps(&mut self, how: Restart) -> bool {
        match how {
            Restart::Killed | Restart::PowerLostAllKept => true,
            Restart::PowerLostNothingKept => false,
            Restart::PowerLost => self.below(2) == 0,
        }
    }
}

fn apply(names: &mut BTreeMap<String, u64>, naming: &Naming) {
    match naming {
        Naming::Set(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Naming::Moved(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        Naming::Gone(name) => {
            names.remove(name);
        }
    }
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Stop => io::Error::other("the machine went off"),
        Fault::NoSpace => io::ErrorKind::StorageFull.into(),
        Fault::Failure => io::Error::other("the device failed"),
    }
}

impl Disk for FaultyDisk {
    fn place(&self) -> String {
        "memory".into()
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut state = self.state();
        if let Some(holder) = state.locked_by {
            return Ok(Lock::Taken(Some(holder)));
        }
        state.locked_by = Some(std::process::id());
        let (disk, life) = (self.clone(), state.life);
        Ok(Lock::Held(Box::new(Held { disk, life })))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let state = self.state();
        let (inode, life) = (state.inode(name)?, state.life);
        let disk = self.clone();
        Ok(Box::new(FaultyFile { disk, inode, life }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.made += 1;
        let (inode, life) = (state.made, state.life);
        state.inodes.insert(inode, Inode::default());
        state.naming(Naming::Set(name.into(), inode))?;
        let disk = self.clone();
        Ok(Box::new(FaultyFile { disk, inode, life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(from)?;
        state.naming(Naming::Moved(from.into(), to.into(), inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.inode(name)?;
        state.naming(Naming::Gone(name.into()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.begin()?;
        if fault == Some(Fault::Stop) {
            return Err(error(Fault::Stop));
        }
        for naming in std::mem::take(&mut state.pending) {
            if fault.is_none() || state.below(2) == 0 {
                apply(&mut state.durable, &naming);
            } else {
                // Names are not forgotten as contents are: the next sync tries again.
                state.pending.push(naming);
            }
        }
        fault.map_or(Ok(()), |fault| Err(error(fault)))
    }
}

/// The lock, given back when it is dropped in the life in which it was taken.
struct Held {
    disk: FaultyDisk,
    life: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked_by = None;
        }
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    inode: u64,
    life: u64,
}

impl FaultyFile {
    /// Does something to the file unless it is of an earlier life.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.life != self.life || state.is_down {
            return Err(io::Error::other("the machine went off"));
        }
        act(&mut state)
    }

    /// Makes the file at least `end` long where there is space; gives how far there is.
    fn room(&self, state: &State, end: u64) -> u64 {
        let length = state.inodes[&self.inode].contents.len() as u64;
        let free = state
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used()));
        end.min(length.saturating_add(free))
    }
}

impl File for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.inodes[&self.inode].contents.len() as u64))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|state| {
            let contents = &state.inodes[&self.inode].contents;
            let from = contents.len().min(offset as usize);
            let count = into.len().min(contents.len() - from);
            into[..count].copy_from_slice(&contents[from..from + count]);
            Ok(count)
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let fault = state.begin()?;
            let end = offset + bytes.len() as u64;
            let mut fits = self.room(state, end).saturating_sub(offset) as usize;
            if fault.is_some() {
                // It came up to the end of some sector.
                let sectors = state.below((fits / SECTOR) as u64 + 2) as usize;
                let into = offset as usize % SECTOR;
                fits = fits.min((sectors * SECTOR).saturating_sub(into));
            }
            let inode = state.inodes.get_mut(&self.inode).expect("files stay");
            inode.write(offset as usize, &bytes[..fits]);
            match fault {
                Some(fault) => Err(error(fault)),
                None if fits < bytes.len() => Err(io::ErrorKind::StorageFull.into()),
                None => Ok(()),
            }
        })
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        self.set_length(length)
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.with(|state| {
            if let Some(fault) = state.begin()? {
                return Err(error(fault));
            }
            if self.room(state, length) < length {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let inode = state.inodes.get_mut(&self.inode).expect("files stay");
            inode.set_length(length as usize);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|state| {
            let fault = state.begin()?;
            let mut inode = state.inodes.remove(&self.inode).expect("files stay");
            match fault {
                None => inode.sync(|| true),
                // What became of it is decided at the restart.
                Some(Fault::Stop) => {}
                Some(Fault::NoSpace | Fault::Failure) => {
                    inode.fail_to_sync(|| state.below(2) == 0);
                }
            }
            state.inodes.insert(self.inode, inode);
            fault.map_or(Ok(()), |fault| Err(error(fault)))
        })
    }
}
