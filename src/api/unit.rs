//! Quantities with their units in the type: memory, CPUs, periods, ports, counters.
//!
//! Reading and printing are inverse: what is printed reads back to the same value.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::time::Duration;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A revision of the store: etcd's counter of writes, 1 and up; 0 means none.
    Revision(i64)
);
number!(
    /// How often the normalised spec of an object changed, from 1.
    Generation(u64)
);
number!(
    /// Counts the lives of a store: raised by every rewind, restore and copy, from 1.
    Incarnation(u64)
);
number!(
    /// The create revision of the key that gives the right to write (an election or shard key).
    Term(i64)
);
number!(
    /// The number of a service's revision, from 1.
    RevisionNumber(u64)
);
number!(
    /// A lease's id in the store.
    LeaseId(i64)
);
number!(
    /// A port, 1 to 65535.
    Port(u16)
);

/// An amount of memory or disk in bytes.
///
/// Reads `64MiB`, `64Mi`, `64m` (binary, as Docker's lower case is), `1024`, `1024b`; refuses `64M` and `64MB`,
/// which mean 64,000,000 to some and 67,108,864 to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// An amount of processor time in billionths of a CPU, Docker's unit. Reads `0.25` and `250m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoCpus(pub u64);

/// A length of time, at millisecond resolution. Reads `5s`, `1m30s`, `250ms`, `2h`; a bare number only as `0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

const BINARY: [(&str, u64); 6] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
];

impl Bytes {
    /// Reads an amount; the error says what is wrong and what would be right.
    ///
    /// # Errors
    /// The text is no amount, is ambiguous, or exceeds 2^64 - 1 bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text);
        let factor = match unit {
            "" | "b" | "B" => 1,
            "k" | "Ki" | "KiB" | "kib" => 1 << 10,
            "m" | "Mi" | "MiB" | "mib" => 1 << 20,
            "g" | "Gi" | "GiB" | "gib" => 1 << 30,
            "t" | "Ti" | "TiB" | "tib" => 1u64 << 40,
            "p" | "Pi" | "PiB" | "pib" => 1 << 50,
            "K" | "KB" | "kB" | "kb" => return Err(ambiguous(number, unit, "Ki", 1_000, 1 << 10)),
            "M" | "MB" | "mb" => return Err(ambiguous(number, unit, "Mi", 1_000_000, 1 << 20)),
            "G" | "GB" | "gb" => return Err(ambiguous(number, unit, "Gi", 1_000_000_000, 1 << 30)),
            "T" | "TB" | "tb" => {
                return Err(ambiguous(number, unit, "Ti", 1_000_000_000_000, 1 << 40));
            }
            _ => {
                return Err(format!(
                    "`{text}` is no amount of memory: write 64MiB, 64Mi or a number of bytes"
                ));
            }
        };
        scaled(number, factor).map(Self).ok_or_else(|| {
            format!("`{text}` is no amount of memory: write 64MiB, 64Mi or a number of bytes")
        })
    }
}

impl NanoCpus {
    /// Reads an amount.
    ///
    /// # Errors
    /// The text is no amount or finer than a billionth.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text);
        let factor = match unit {
            "" => 1_000_000_000,
            "m" => 1_000_000,
            _ => return Err(format!("`{text}` is no number of CPUs: write 0.25 or 250m")),
        };
        scaled(number, factor)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no number of CPUs: write 0.25 or 250m"))
    }
}

impl Period {
    /// Whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads a length of time.
    ///
    /// # Errors
    /// The text is not a sequence of numbers with units, or finer than a millisecond.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no length of time: write 5s, 1m30s or 250ms");
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut total = 0u64;
        while !rest.is_empty() {
            let digits = rest.len()
                - rest
                    .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                    .len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len()
                - tail
                    .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                    .len();
            let (unit, tail) = tail.split_at(letters);
            let factor = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(wrong()),
            };
            let millis = scaled(number, factor).ok_or_else(wrong)?;
            total = total.checked_add(millis).ok_or_else(wrong)?;
            rest = tail;
        }
        if text.is_empty() {
            Err(wrong())
        } else {
            Ok(Self(Duration::from_millis(total)))
        }
    }

    /// Whether the period is zero.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

/// Splits `1.5GiB` into its number and its unit.
fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

fn ambiguous(number: &str, unit: &str, right: &str, decimal: u64, binary: u64) -> String {
    let reading =
        |factor| scaled(number, factor).map_or_else(|| "?".into(), |n: u64| n.to_string());
    format!(
        "`{number}{unit}` is ambiguous: {} bytes to some, {} to others; write {number}{right} or the number of bytes",
        reading(decimal),
        reading(binary),
    )
}

/// `number` times `factor`, exactly; none if that is no whole number.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || number.ends_with('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = fraction.trim_end_matches('0');
    let parts = match fraction.is_empty() {
        true => 0,
        false => {
            let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            let product =
                u128::from(fraction.parse::<u64>().ok()?).checked_mul(u128::from(factor))?;
            (product % scale == 0).then(|| u64::try_from(product / scale).ok())??
        }
    };
    whole.checked_mul(factor)?.checked_add(parts)
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = BINARY
            .into_iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(("", 1));
        f.pad(&format!("{}{unit}", self.0 / factor))
    }
}

impl fmt::Display for NanoCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let text = format!("{whole}.{rest:09}");
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let mut text = String::new();
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            let amount = match unit {
                "h" => millis / factor,
                _ => millis % (factor * 60) / factor,
            };
            if amount > 0 {
                text += &format!("{amount}{unit}");
            }
        }
        if !millis.is_multiple_of(1_000) {
            text += &format!("{}ms", millis % 1_000);
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

macro_rules! quantity {
    ($name:ident, $expected:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        $name::parse(&number.to_string()).map_err(E::custom)
                    }

                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
                        $name::parse(&number.to_string()).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

quantity!(Bytes, "an amount of memory such as 64MiB");
quantity!(NanoCpus, "a number of CPUs such as 0.25 or 250m");
quantity!(Period, "a length of time such as 5s or 1m30s");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_read_as_docker_writes_them() {
        let bytes =
            |text: &str, value: u64| assert_eq!(Bytes::parse(text), Ok(Bytes(value)), "{text}");
        bytes("64MiB", 64 << 20);
        bytes("64Mi", 64 << 20);
        bytes("64m", 64 << 20);
        bytes("1.5g", 3 << 29);
        bytes("1024", 1024);
        for text in [
            "64M",
            "64MB",
            "1GB",
            "1K",
            "",
            "x",
            "1.",
            "-1",
            "0.3b",
            "99999999999P",
        ] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
        assert_eq!(NanoCpus::parse("0.25"), NanoCpus::parse("250m"));
        assert!(NanoCpus::parse("1x").is_err());
        let period = |text: &str, millis: u64| {
            assert_eq!(
                Period::parse(text),
                Ok(Period(Duration::from_millis(millis))),
                "{text}"
            );
        };
        period("5s", 5_000);
        period("1m30s", 90_000);
        period("250ms", 250);
        period("1.5h", 5_400_000);
        period("0", 0);
        for text in ["", "5", "5d", "s", "1m30", "0.1ms"] {
            assert!(Period::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(number in any::<u64>(), millis in 0u64..u64::MAX / 1_000_000_000) {
            for number in [number, number >> 32, (number >> 34) << 20] {
                prop_assert_eq!(Bytes::parse(&Bytes(number).to_string()), Ok(Bytes(number)));
                prop_assert_eq!(NanoCpus::parse(&NanoCpus(number).to_string()), Ok(NanoCpus(number)));
            }
            let period = Period(Duration::from_millis(millis));
            prop_assert_eq!(Period::parse(&period.to_string()), Ok(period));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.a-zA-Z -]{0,24}") {
            let _ = (Bytes::parse(&text), NanoCpus::parse(&text), Period::parse(&text));
        }
    }
}
