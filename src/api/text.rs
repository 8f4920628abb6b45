//! Text of names and identifiers: short text is kept in place, longer text is shared.
//!
//! Keys of ordered maps are made of it, and thousands of them are compared and copied while a large service starts. Kept in
//! place, a comparison follows no pointer and a copy takes nothing from the allocator. All identifiers of skep's making and
//! most names fit; what does not (container ids, long names) counts a reference for each copy.
//!
//! Libraries for such text keep 23 (smol_str) or 24 bytes (compact_str) in place: one too few for an identifier.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What fits in place: with its length and the mark of its form it makes 32 bytes.
const PLACE: usize = 30;

/// Immutable text that is cheap to copy and to compare.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(Form);

/// A text has one form only, by its length: forms of equal texts are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// The rest is zero.
    InPlace { length: u8, bytes: [u8; PLACE] },
    /// Longer than [`PLACE`].
    Shared(Arc<str>),
}

impl Text {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::InPlace { .. } => {
                std::str::from_utf8(self.as_bytes()).expect("it was made from text")
            }
            Form::Shared(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::InPlace { length, bytes } => &bytes[..usize::from(*length)],
            Form::Shared(text) => text.as_bytes(),
        }
    }

    fn in_place(text: &str) -> Option<Self> {
        let length = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; PLACE];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Self(Form::InPlace { length, bytes }))
    }
}

impl Ord for Text {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Zeros after the end put a text before all that it begins, as they should; the length tells it from one that
            // ends in zeros itself.
            (
                Form::InPlace { length, bytes },
                Form::InPlace {
                    length: other_length,
                    bytes: other_bytes,
                },
            ) => words(bytes)
                .cmp(&words(other_bytes))
                .then(length.cmp(other_length)),
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

/// The bytes as numbers that are ordered as they are: the last begins within the one before. A few numbers are compared
/// faster than the bytes by a call, and identifiers differ in the first.
fn words(bytes: &[u8; PLACE]) -> [u64; 4] {
    let word = |first: usize| {
        let word = bytes[first..].first_chunk().copied();
        u64::from_be_bytes(word.unwrap_or_default())
    };
    [word(0), word(8), word(16), word(PLACE - 8)]
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::in_place(text).unwrap_or_else(|| Self(Form::Shared(text.into())))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::in_place(&text).unwrap_or_else(|| Self(Form::Shared(text.into())))
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(&*text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        other == self
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        other == self
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::from(text))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Text, E> {
                Ok(Text::from(text))
            }
        }
        deserializer.deserialize_str(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::hash_map::DefaultHasher;
    use std::hash::{Hash, Hasher};

    fn hash(text: &Text) -> u64 {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn takes_no_more_than_its_place() {
        assert_eq!(size_of::<Text>(), 32);
        assert!(Text::in_place(&"a".repeat(PLACE)).is_some());
        assert!(Text::in_place(&"a".repeat(PLACE + 1)).is_none());
        assert!(Text::in_place(&"a".repeat(300)).is_none());
    }

    #[test]
    fn every_byte_counts() {
        let of = |bytes: &[u8]| Text::from(std::str::from_utf8(bytes).unwrap());
        for place in 0..PLACE + 4 {
            let mut text = vec![b'b'; PLACE + 4];
            text.truncate(place.max(PLACE - 1) + 1);
            let middle = of(&text);
            text[place] = b'a';
            assert!(of(&text) < middle, "{place}");
            text[place] = b'c';
            assert!(of(&text) > middle, "{place}");
        }
    }

    proptest! {
        /// Lengths on both sides of the border, beginnings of each other, and zeros within.
        #[test]
        fn compares_as_text_does(a in "[\0aä]{0,24}", b in "[\0aä]{0,24}", tail in "[\0a]{0,40}") {
            let longer = format!("{a}{tail}");
            for (one, other) in [(&a, &b), (&a, &longer), (&b, &longer), (&a, &a)] {
                let (left, right) = (Text::from(one), Text::from(other.clone()));
                prop_assert_eq!(left.cmp(&right), one.cmp(other));
                prop_assert_eq!(left == right, one == other);
                prop_assert!(one != other || hash(&left) == hash(&right));
                prop_assert_eq!(left.as_str(), one.as_str());
                prop_assert!(left == *one.as_str() && *one == left);
                prop_assert_eq!(left.to_string(), one.clone());
                let json = serde_json::to_string(&left).unwrap();
                prop_assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), left);
            }
        }
    }
}
