//! Points in time as objects carry them: milliseconds, written as RFC 3339 in UTC.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
        // What records hold is read far more often than anything else.
        Self::parse_own(text).or_else(|| {
            let time = text.parse::<jiff::Timestamp>().ok()?;
            Some(Self(time.as_millisecond()))
        })
    }

    /// Reads what [`Timestamp::own`] writes; none for everything else, whatever it may mean.
    fn parse_own(text: &str) -> Option<Self> {
        let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
        let mut fields = [0_i64; 7];
        let mut field = 0;
        for (byte, like) in text.iter().zip(b"0000-00-00T00:00:00.000Z") {
            match like {
                b'0' if byte.is_ascii_digit() => {
                    fields[field] = fields[field] * 10 + i64::from(byte - b'0');
                }
                _ if byte == like && *like != b'0' => field += 1,
                _ => return None,
            }
        }
        let [year, month, day, hour, minute, second, milli] = fields;
        // Days that only some months have are left to the general reader.
        let is_plain = year >= 1970
            && (1..=12).contains(&month)
            && (1..=28).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        is_plain.then_some(Self(seconds * 1_000 + milli))
    }

    /// `2026-01-02T03:04:05.006Z`; none outside the years 1970 to 9999.
    fn own(self) -> Option<[u8; 24]> {
        const END: i64 = 253_402_300_800_000;
        if !(0..END).contains(&self.0) {
            return None;
        }
        let (year, month, day) = date(self.0 / 86_400_000);
        let seconds = self.0 / 1_000 % 86_400;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |last: usize, mut number: i64| {
            let digits = text[..=last].iter_mut().rev();
            for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
                *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        };
        put(3, year);
        put(6, month);
        put(9, day);
        put(12, seconds / 3_600);
        put(15, seconds / 60 % 60);
        put(18, seconds % 60);
        put(22, self.0 % 1_000);
        Some(text)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years begin in March, so that the day that only some have comes
/// last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - EPOCH
}

/// Days from the first of March of the year 0 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// The date so many days after 1970-01-01: year, month, day.
fn date(days: i64) -> (i64, i64, i64) {
    /// Days of 400 years.
    const ERA: i64 = 146_097;
    let days = days + EPOCH;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (day * 5 + 2) / 153;
    let day = day - (month * 153 + 2) / 5 + 1;
    let year = era * 400 + year;
    match month {
        10 | 11 => (year + 1, month - 9, day),
        _ => (year, month + 3, day),
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.own() {
            return f.write_str(&String::from_utf8_lossy(&text));
        }
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.own() {
            Some(text) => serializer.serialize_str(&String::from_utf8_lossy(&text)),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text)
                    .ok_or_else(|| E::custom(format!("not an RFC 3339 time: {text}")))
            }
        }
        deserializer.deserialize_str(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn general(time: Timestamp) -> String {
        let time = jiff::Timestamp::from_millisecond(time.0).expect("a time that it knows");
        format!("{time:.3}")
    }

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
    fn every_day_of_four_centuries_has_its_date() {
        for day in 0..146_097 {
            let time = Timestamp(day * 86_400_000);
            assert_eq!(time.to_string(), general(time));
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        }
    }

    proptest! {
        #[test]
        fn writes_and_reads_as_the_general_form_does(time in -100_000_000_000_000_i64..253_402_214_400_000) {
            let time = Timestamp(time);
            prop_assert_eq!(time.to_string(), general(time));
            prop_assert_eq!(Timestamp::parse(&general(time)), Some(time));
            let json = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        }
    }
}
