//! What was found when a journal was opened. Pure.

use std::fmt;

/// What was found when a journal was opened. People should be told all of it that [`Report::is_clean`] is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many changes were read.
    pub changes: u64,
    /// The torn end of the last write before a crash; it was not acknowledged.
    pub cut: Option<Cut>,
    /// What salvage let go of; only where it was asked for.
    pub salvaged: Option<Salvaged>,
}

/// The end of the journal that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where the part begins that was not read.
    pub offset: u64,
    /// How many bytes it has, without the zeros after it.
    pub bytes: u64,
    /// What is wrong with it.
    pub reason: &'static str,
    /// The file beside it that has a copy; none: it could not be written, and the bytes go with the next snapshot.
    pub saved_as: Option<String>,
}

/// What salvage let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// The file that is damaged.
    pub file: String,
    /// Where the damage begins: all before it was kept.
    pub offset: u64,
    /// What is wrong there.
    pub reason: &'static str,
    /// The files beside it that hold what was let go: the damaged one and those after it.
    pub set_aside: Vec<String>,
}

impl Report {
    /// Whether everything was as an orderly end leaves it.
    pub fn is_clean(&self) -> bool {
        self.cut.is_none() && self.salvaged.is_none()
    }

    /// The same with the directory before the names of files.
    pub(super) fn within(mut self, place: &str) -> Self {
        let cut = self.cut.iter_mut().flat_map(|cut| {
            let copy = cut.saved_as.iter_mut();
            std::iter::once(&mut cut.file).chain(copy)
        });
        let salvaged = self.salvaged.iter_mut().flat_map(|salvaged| {
            let copies = salvaged.set_aside.iter_mut();
            std::iter::once(&mut salvaged.file).chain(copies)
        });
        for name in cut.chain(salvaged) {
            *name = format!("{place}/{name}");
        }
        self
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            offset,
            bytes,
            reason,
            saved_as,
        } = self;
        write!(
            f,
            "{bytes} bytes of a write that was not acknowledged were cut off {file} at byte {offset} ({reason})"
        )?;
        match saved_as {
            Some(copy) => write!(f, "; a copy is {copy}"),
            None => write!(f, "; no copy could be written"),
        }
    }
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            offset,
            reason,
            set_aside,
        } = self;
        write!(
            f,
            "what was acknowledged after byte {offset} of {file} ({reason}) is no longer in the store; it is in {}",
            set_aside.join(", ")
        )
    }
}
