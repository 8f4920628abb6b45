//! Points in time as objects carry them: milliseconds, written as RFC 3339 in UTC.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::time::Duration;

/// A wall-clock time in milliseconds since the Unix epoch.
///
/// For display and for delays only: a time that another machine stored may delay an action, never hasten it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time `delay` later.
    pub fn after(self, delay: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this time is; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339, as engines and records write it.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|time| Self(time.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Reads the text where it stands: every record has a time or two, and none is kept.
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                let time = Timestamp::parse(text);
                time.ok_or_else(|| E::custom(format!("not an RFC 3339 time: {text}")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_others_write_and_refuses_what_is_no_time() {
        let time = Timestamp(1_767_225_600_120);
        for text in [
            "2026-01-01T00:00:00.120Z",
            "2026-01-01T00:00:00.12Z",
            "2026-01-01T01:00:00.120456789+01:00",
        ] {
            assert_eq!(Timestamp::parse(text), Some(time), "{text}");
        }
        for text in [
            "",
            "2026-02-30T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01T00:00:00.0000",
            "2026-01-0aT00:00:00.000Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_with_its_milliseconds() {
        for time in [0, 1, 951_782_400_999, 1_767_225_600_120].map(Timestamp) {
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(json.len(), 26, "{json}");
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        }
    }
}
