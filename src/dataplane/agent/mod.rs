//! The agent of a node: makes its kernel what the state says, keeps it so, and counts what it had to mend.
//!
//! It knows nothing but the state that it was given, and needs nobody: with the manager gone it goes on with what it has,
//! and after a crash or a reboot it begins with the last state on disk ([`Directory`]). Every pass looks at the whole kernel
//! and plans anew, so it can be killed between any two operations. Only where a state leads to another by nothing but
//! entries, the kernel is taken for what it was found to be last: the look that tells of drift comes after, with the next audit.
//!
//! Deliberately absent: where states come from, when to look again, and waiting for either: `app/agent.rs`.

#[cfg(test)]
mod backends_tests;
mod directory;
#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod fast_path_tests;
#[cfg(test)]
mod ipv6_tests;
mod protocol;
#[cfg(test)]
mod tests;

pub use directory::{Directory, Error as DirectoryError};
pub use protocol::{Authority, Order, Report};

use super::backends;
use super::connections::{Tracked, is_stale, may_be_stale};
use super::dns::counts::NamesReport;
use super::fast_path::Stations;
use super::host::{self, Host};
use super::kernel::Kernel;
use super::nftables::late::part;
use super::plan::{Operation, plan};
use super::settings::{is_of_ipv6, is_of_ours, restored};
use super::state::{self, PublishedKey, State, StateRevision};
use super::wanted::{own_addresses6, underlay_mtu, wanted};
use std::collections::{BTreeMap, BTreeSet};

/// How often one pass looks again: others change the kernel too, some changes of ours show only afterwards, and links are made
/// before what goes by their numbers.
const ATTEMPTS: usize = 6;

/// What the agent could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The order makes no sense.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The kernel does not become what it should be, and refuses nothing: somebody works against us.
    #[error("after {ATTEMPTS} passes there is still something to do: {0}")]
    Unsettled(&'static str),
}

impl Error {
    /// Whether the same may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Host(error) => error.is_retryable(),
            Self::Directory(error) => error.is_retryable(),
            Self::State(error) => error.is_retryable(),
            Self::Unsettled(_) => true,
        }
    }
}

/// The agent.
pub struct Agent<H> {
    host: H,
    directory: Option<Directory>,
    state: Option<State>,
    /// Settings of the whole namespace as they were before us.
    originals: BTreeMap<String, String>,
    /// The kernel when it was found in order, with what was done since; `None`: it has to be looked at.
    seen: Option<Kernel>,
    /// The ports that frames were handed straight to when it was looked at last.
    stations: Stations,
    report: Report,
}

impl<H: Host> Agent<H> {
    /// An agent with what its directory remembers; without one it remembers nothing.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn new(host: H, directory: Option<Directory>) -> Result<Self, Error> {
        let (state, originals) = match &directory {
            Some(directory) => (directory.state()?, directory.originals()?),
            None => (None, BTreeMap::new()),
        };
        Ok(Self {
            host,
            directory,
            state,
            originals,
            seen: None,
            stations: Stations::default(),
            report: Report::default(),
        })
    }

    /// What there is to say.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The state that it has; nothing: none yet.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Takes what there is to say of names.
    pub fn note_names(&mut self, names: NamesReport) {
        self.report.names = names;
    }

    /// Takes where health should be told and cannot.
    pub fn note_health(&mut self, closed: BTreeSet<PublishedKey>) {
        self.report.health_closed = closed;
    }

    /// The kernel that it works on.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// Follows an order; what comes of it is in the report.
    pub fn follow(&mut self, order: Order) {
        let change = match &order {
            Order::Delta(delta) => serde_json::to_vec(delta).ok(),
            Order::State(_) | Order::Remove => None,
        };
        let next = match (order, &self.state) {
            (Order::State(state), _) => state.check().map(|()| *state),
            (Order::Delta(delta), Some(state)) => state.after(delta),
            (Order::Delta(delta), None) => Err(state::Error::Gap {
                from: delta.from,
                at: StateRevision(0),
            }),
            (Order::Remove, _) => return self.leave(),
        };
        match next {
            Ok(state) => {
                self.report.needs_state = false;
                self.report.removed = false;
                let before = self.state.replace(state);
                match before.is_some_and(|before| self.advance(&before)) {
                    true => self.conclude_kept(Ok(()), change.as_deref()),
                    false => self.renew(),
                }
            }
            Err(error) => {
                self.report.needs_state = error.is_retryable();
                self.report.trouble = Some(error.to_string());
            }
        }
    }

    /// Says that an order could not be read; the state in force stays.
    pub fn refuse(&mut self, why: String) {
        self.report.trouble = Some(why);
    }

    /// Programs the state that it has, and keeps it on disk.
    pub fn renew(&mut self) {
        let done = self.converge(false);
        self.conclude_kept(done, None);
    }

    /// Keeps the state, also where something of it could not be done: what is tried again is this one, not the one before. Of one
    /// that was kept but for its last change only that is written.
    fn conclude_kept(&mut self, done: Result<(), Error>, change: Option<&[u8]>) {
        let kept = self.keep(change);
        self.conclude(done.and(kept));
    }

    /// Leads from one state to the next by the kernel as it was seen; false: that takes a look at it.
    fn advance(&mut self, before: &State) -> bool {
        let (Some(mut seen), Some(state)) = (self.seen.take(), self.state.clone()) else {
            return false;
        };
        // What is not as the state says for reasons of the node's takes the whole.
        let is_as_said = self.report.refused.is_empty() && self.report.occupied.is_empty();
        let few = is_as_said.then(|| backends::changes(before, &state, &seen));
        if let Some(changes) = few.flatten() {
            if !backends::note(&changes, &mut seen.tables) {
                return false;
            }
            let (first, late) = part(changes);
            for changes in [first, late].into_iter().filter(|some| !some.is_empty()) {
                if self.host.act(&Operation::Tables(changes)).is_err() {
                    return false;
                }
            }
            if may_be_stale(before, &state) && self.cut(Some(&state)).is_err() {
                return false;
            }
            self.seen = Some(seen);
            return true;
        }
        let wanted = wanted(&state, &seen, &self.originals);
        let operations = plan(&seen, &wanted.kernel);
        let is_enough = operations.iter().all(Operation::is_entry);
        if !is_enough || self.host.act_all(&operations).is_err() {
            return false;
        }
        if may_be_stale(before, &state) && self.cut(wanted.state.as_ref()).is_err() {
            return false;
        }
        self.report.refused = wanted.refused;
        self.stations = wanted.stations;
        let guests = seen.guests;
        self.seen = Some(Kernel {
            guests,
            ..wanted.kernel
        });
        true
    }

    /// Looks whether the kernel is still what it should be, and mends what is not.
    pub fn audit(&mut self) {
        let is_drift = self.state.as_ref().map(|state| state.revision) == self.report.programmed;
        let done = self.converge(is_drift);
        self.report.connections = self.host.tracked().map(Tracked::to_two_digits);
        self.conclude(done);
    }

    /// Takes away all that is ours, and puts back the settings that it found.
    ///
    /// # Errors
    /// The kernel or the directory refused: the same again goes on.
    pub fn remove(&mut self) -> Result<(), Error> {
        self.seen = None;
        for _ in 0..ATTEMPTS {
            let found = self.host.look()?;
            let settings = restored(&found, &self.originals);
            let settings = settings.map(|(path, value)| (path.clone(), value.clone()));
            let nothing = Kernel {
                settings: settings.collect(),
                ..Kernel::default()
            };
            let operations = plan(&found, &nothing);
            if operations.is_empty() {
                if let Some(directory) = &self.directory {
                    directory.clear()?;
                }
                return Ok(());
            }
            for operation in &operations {
                self.host.act(operation)?;
            }
        }
        Err(Error::Unsettled("something of ours comes back"))
    }

    fn leave(&mut self) {
        let removed = self.remove();
        if removed.is_ok() {
            self.state = None;
            self.originals.clear();
        }
        self.conclude(removed);
        self.report.removed = self.report.trouble.is_none();
    }

    fn conclude(&mut self, done: Result<(), Error>) {
        match done {
            Ok(()) => {
                self.report.trouble = None;
                self.report.programmed = self.state.as_ref().map(|state| state.revision);
            }
            Err(error) => self.report.trouble = Some(explain(&error)),
        }
    }

    fn keep(&mut self, change: Option<&[u8]>) -> Result<(), Error> {
        let (Some(directory), Some(state)) = (&mut self.directory, &self.state) else {
            return Ok(());
        };
        if !change.is_some_and(|change| directory.keep_change(change)) {
            directory.keep_state(state)?;
        }
        Ok(())
    }

    /// Passes until there is nothing to do.
    fn converge(&mut self, is_drift: bool) -> Result<(), Error> {
        self.seen = None;
        let Some(state) = self.state.clone() else {
            return Ok(());
        };
        let mut last = "";
        for attempt in 0..ATTEMPTS {
            let found = self.host.look()?;
            let wanted = wanted(&state, &found, &self.originals);
            let refused = std::mem::replace(&mut self.report.refused, wanted.refused.clone());
            // What others left room for is made for the first time.
            let is_drift = is_drift && refused == wanted.refused;
            self.report.underlay_mtu = underlay_mtu(&state, &found);
            self.report.addresses6 = own_addresses6(&state, &found);
            // That a program began or ended to listen changes what should be, not what is.
            let is_drift = is_drift && wanted.occupied == self.report.occupied;
            self.report.occupied = wanted.occupied.clone();
            // Nor that a task's port became known, or went with it.
            let is_drift = is_drift && wanted.stations == self.stations;
            self.stations.clone_from(&wanted.stations);
            let operations = plan(&found, &wanted.kernel);
            let Some(operation) = operations.last() else {
                if attempt > 0 || !is_drift {
                    self.cut(wanted.state.as_ref())?;
                }
                self.seen = Some(found);
                return self.forget_originals(wanted.state.as_ref());
            };
            last = operation.kind();
            self.note_originals(&found, &wanted.kernel)?;
            for operation in &operations {
                // What one pass leaves for the next was counted by the first; a port that joined is no drift.
                let is_news = matches!(operation, Operation::SetHairpin(_));
                if is_drift && attempt == 0 && !is_news {
                    *self
                        .report
                        .drift
                        .entry(operation.kind().to_owned())
                        .or_default() += 1;
                }
            }
            if let Err(error) = self.host.act_all(&operations) {
                // A link that went meanwhile took what it had along; others make and take links as they like.
                if self.host.look()?.indexes == found.indexes {
                    return Err(error.into());
                }
            }
        }
        Err(Error::Unsettled(last))
    }

    /// Cuts the connections that lead to nobody: after new ones no longer go there.
    fn cut(&mut self, state: Option<&State>) -> Result<(), Error> {
        let Some(state) = state else {
            return Ok(());
        };
        for connection in self.host.connections()? {
            if is_stale(&connection, state) {
                self.host.cut(&connection)?;
            }
        }
        Ok(())
    }

    /// Forgets how settings of IPv6 were once no network carries it and they are so again: from then on they are others'.
    fn forget_originals(&mut self, state: Option<&State>) -> Result<(), Error> {
        let before = self.originals.len();
        if !state.is_some_and(State::carries_ipv6) {
            self.originals.retain(|path, _| !is_of_ipv6(path));
        }
        match &self.directory {
            Some(directory) if self.originals.len() < before => {
                Ok(directory.keep_originals(&self.originals)?)
            }
            _ => Ok(()),
        }
    }

    /// Remembers the settings of the namespace as they were, before the first is changed.
    fn note_originals(&mut self, found: &Kernel, wanted: &Kernel) -> Result<(), Error> {
        let changed = wanted.settings.keys();
        let new = changed.filter(|path| !is_of_ours(path) && !self.originals.contains_key(*path));
        let new = new.filter_map(|path| Some((path.clone(), found.settings.get(path)?.clone())));
        let new: Vec<(String, String)> = new.collect();
        if new.is_empty() {
            return Ok(());
        }
        self.originals.extend(new);
        if let Some(directory) = &self.directory {
            directory.keep_originals(&self.originals)?;
        }
        Ok(())
    }
}

/// An error with its causes.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
