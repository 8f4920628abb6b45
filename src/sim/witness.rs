//! What happens to containers, told to whoever watches the simulation at the very moment that it happens. Pure.

use crate::engine::Container;
use std::sync::Arc;

/// Something that happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It was made.
    Created,
    /// It runs.
    Started,
    /// It ended because somebody asked the engine to stop it.
    Stopped,
    /// It ended by itself, or by the hand of the test.
    Ended,
    /// It is gone because somebody asked the engine to remove it.
    Removed,
    /// The test's hand removed it.
    Lost,
}

impl Happening {
    /// The word in traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "creates",
            Self::Started => "starts",
            Self::Stopped => "stops",
            Self::Ended => "sees the end of",
            Self::Removed => "removes",
            Self::Lost => "has lost",
        }
    }
}

/// Hears of each happening, with the engine's name and the container as it is then. Must not call the engine.
pub type Witness = Arc<dyn Fn(&str, Happening, &Container) + Send + Sync>;
