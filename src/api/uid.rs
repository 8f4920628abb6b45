//! Identifiers: uids of objects and ids of tasks, 25 characters of base36 as Swarm's.
//!
//! Planners copy and compare thousands of them: they are [`Text`].
//!
//! Pure: [`Ids`] derives identifiers from a seed that the caller drew from the clock door, so a planner that
//! names new tasks stays a function of its arguments.

use super::text::Text;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Length of every identifier: 25 base36 digits hold 128 random bits (SwarmKit's `identity` package).
pub const LENGTH: usize = 25;

/// So many digits of base36 fit into 64 bits: processors divide those at once, and 128 bits in a loop.
const WORD: usize = 12;

/// 36 to the power of [`WORD`].
const WORDS: u128 = 36u128.pow(12);

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Text);

        impl $name {
            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
    };
}

identifier!(
    /// The identity of a service, node, network or cluster: random, given once, at acceptance.
    Uid
);
identifier!(
    /// The identity of one task, and the end of its container's name.
    TaskId
);
identifier!(
    /// A container's id as its engine gave it (64 hexadecimal digits).
    ContainerId
);

/// Whether `text` has the shape of a uid or task id.
pub fn is_identifier(text: &str) -> bool {
    text.len() == LENGTH
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

/// A deterministic source of identifiers.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: u128,
    drawn: u64,
}

impl Ids {
    /// Starts a sequence; equal seeds give equal sequences.
    pub fn from_seed(seed: u128) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next object uid.
    pub fn uid(&mut self) -> Uid {
        Uid(self.next())
    }

    /// The next task id.
    pub fn task(&mut self) -> TaskId {
        TaskId(self.next())
    }

    fn next(&mut self) -> Text {
        let mut hasher = Sha256::new();
        hasher.update(self.seed.to_be_bytes());
        hasher.update(self.drawn.to_be_bytes());
        self.drawn += 1;
        let digest = hasher.finalize();
        let mut number = digest[..16]
            .iter()
            .fold(0u128, |n, byte| n << 8 | u128::from(*byte));
        let mut digits = [b'0'; LENGTH];
        for digits in digits.rchunks_mut(WORD) {
            let mut word = (number % WORDS) as u64;
            number /= WORDS;
            for digit in digits.iter_mut().rev() {
                *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(word % 36) as usize];
                word /= 36;
            }
        }
        String::from_utf8_lossy(&digits).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_shape_and_do_not_repeat() {
        let mut ids = Ids::from_seed(7);
        let first = ids.uid();
        assert_eq!(
            first.as_str(),
            "01epbuhehyr70wd5m57gp5p57",
            "one seed, one sequence"
        );
        assert!(is_identifier(first.as_str()), "{first}");
        assert_ne!(first.as_str(), ids.task().as_str());
        assert_eq!(Ids::from_seed(7).uid(), first);
    }
}
