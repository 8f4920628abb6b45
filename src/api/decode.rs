//! The shorthands of manifests: what a field may look like beside its long form.
//!
//! Each function stands in a `deserialize_with` of the types and reads the same from users' text (`de.rs`) and from the
//! JSON of records: the normalised form always reads back. Errors inside keep their path, because every long form is
//! decoded by the deserializer itself and never from a copy.

use super::container::{Container, FileReference, Mount};
use super::de::{TEXT, from_node};
use super::node::EngineSpec;
use super::port_range::{self, PortRange};
use super::service::{Attachment, ServicePort};
use super::yaml::{Node, Value};
use super::{shell, shorthand};
use serde::de::{
    self, DeserializeOwned, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Whether a value is its type's default (left out when written).
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field that takes text of any look: numbers keep their source text, booleans are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Text, D::Error> {
                d.deserialize_any(self)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_newtype_struct(TEXT, Any)
    }
}

/// A share, to a billionth. Readers of JSON may be off in a float's last bit, so that without rounding a record would not
/// equal the spec that it was written from.
pub(super) fn share<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(d)?;
    Ok((share * 1e9).round() / 1e9)
}

pub(super) fn texts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<Text>::deserialize(d)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

pub(super) fn optional_text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(d)?.map(|text| text.0))
}

pub(super) fn text_map<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let map = BTreeMap::<String, Text>::deserialize(d)?;
    Ok(map.into_iter().map(|(key, text)| (key, text.0)).collect())
}

/// A list, or a line that is split as a shell would.
pub(super) fn words<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    list_or_line(
        d,
        shell::split,
        "a list of words, or a line that is split as a shell would",
    )
}

/// A list as Docker has it, or a shell line.
pub(super) fn health_test<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let line = |line: &str| Ok(vec!["CMD-SHELL".to_owned(), line.to_owned()]);
    list_or_line(d, line, "[CMD, ...], [CMD-SHELL, line], or a shell line")
}

fn list_or_line<'de, D: Deserializer<'de>>(
    d: D,
    split: fn(&str) -> Result<Vec<String>, String>,
    expected: &'static str,
) -> Result<Vec<String>, D::Error> {
    struct ListOrLine(fn(&str) -> Result<Vec<String>, String>, &'static str);
    impl<'de> Visitor<'de> for ListOrLine {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }

        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }

        fn visit_str<E: de::Error>(self, line: &str) -> Result<Vec<String>, E> {
            (self.0)(line).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut words = Vec::new();
            while let Some(Text(word)) = items.next_element()? {
                words.push(word);
            }
            Ok(words)
        }
    }
    d.deserialize_any(ListOrLine(split, expected))
}

/// `{NAME: value}` or `[NAME=value]`.
pub(super) fn environment<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Variables;
    impl<'de> Visitor<'de> for Variables {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a mapping of NAME: value or a list of NAME=value")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            text_map(MapAccessDeserializer::new(map))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut variables = BTreeMap::new();
            while let Some(Variable(name, value)) = items.next_element()? {
                if variables.contains_key(&name) {
                    return Err(de::Error::custom(format!("`{name}` is set twice")));
                }
                variables.insert(name, value);
            }
            Ok(variables)
        }
    }
    d.deserialize_any(Variables)
}

struct Variable(String, String);

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Text(line) = Text::deserialize(d)?;
        let Some((name, value)) = line.split_once('=') else {
            return Err(de::Error::custom(format!(
                "expected NAME=value, found {line:?}: a node has no environment to take it from"
            )));
        };
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}

/// A type with a short form: one text instead of the mapping.
trait Short: DeserializeOwned {
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Result<Self, String>;
}

/// A value in its short or its long form.
struct Either<T>(T);

impl<'de, T: Short> Deserialize<'de> for Either<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Forms<T>(PhantomData<T>);
        impl<'de, T: Short> Visitor<'de> for Forms<T> {
            type Value = Either<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Either<T>, E> {
                T::from_text(text).map(Either).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Either<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Either<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Either)
            }
        }
        d.deserialize_any(Forms(PhantomData))
    }
}

fn list<'de, T: Short, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    let items = Vec::<Either<T>>::deserialize(d)?;
    Ok(items.into_iter().map(|item| item.0).collect())
}

impl Short for Container {
    const EXPECTED: &'static str = "an image's name, or a mapping with `image`";

    fn from_text(image: &str) -> Result<Self, String> {
        Ok(Self {
            image: image.to_owned(),
            ..Self::default()
        })
    }
}

impl Short for EngineSpec {
    const EXPECTED: &'static str =
        "a URL such as unix:///var/run/docker.sock, or a mapping with `url`";

    fn from_text(url: &str) -> Result<Self, String> {
        Ok(Self {
            url: url.to_owned(),
            tls: None,
        })
    }
}

impl Short for ServicePort<PortRange> {
    const EXPECTED: &'static str = "a port such as \"8080:80\", or a mapping with `target`";

    fn from_text(text: &str) -> Result<Self, String> {
        shorthand::port(text)
    }
}

impl Short for Mount {
    const EXPECTED: &'static str =
        "a mount such as \"data:/var/lib/data\", or a mapping with `type` and `target`";

    fn from_text(text: &str) -> Result<Self, String> {
        shorthand::mount(text)
    }
}

impl Short for Attachment {
    const EXPECTED: &'static str = "a network's name, or a mapping with `name`";

    fn from_text(name: &str) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            aliases: Vec::new(),
        })
    }
}

impl Short for FileReference {
    const EXPECTED: &'static str = "a name, or a mapping with `source`";

    fn from_text(source: &str) -> Result<Self, String> {
        Ok(Self {
            source: source.to_owned(),
            target: None,
            mode: None,
        })
    }
}

pub(super) fn container<'de, D: Deserializer<'de>>(d: D) -> Result<Container, D::Error> {
    Either::deserialize(d).map(|either| either.0)
}

pub(super) fn engine<'de, D: Deserializer<'de>>(d: D) -> Result<EngineSpec, D::Error> {
    Either::deserialize(d).map(|either| either.0)
}

/// What is written as one port: a range is several.
struct Ports(Vec<ServicePort>);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let written: Either<ServicePort<PortRange>> = Either::deserialize(d)?;
        port_range::each(written.0)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

pub(super) fn ports<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<ServicePort>, D::Error> {
    struct Lines;
    impl<'de> Visitor<'de> for Lines {
        type Value = Vec<ServicePort>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Self::Value, A::Error> {
            let (mut ports, mut of_ranges) = (Vec::new(), 0);
            while let Some(Ports(line)) = lines.next_element()? {
                of_ranges += if line.len() > 1 { line.len() } else { 0 };
                if of_ranges > port_range::MOST {
                    let message = format!("ranges of more than {} ports in all", port_range::MOST);
                    return Err(de::Error::custom(message));
                }
                ports.extend(line);
            }
            Ok(ports)
        }
    }
    d.deserialize_seq(Lines)
}

/// For each port of a list the line in which it is written, as `ports[LINE]`: a range is one.
pub fn port_lines(ports: Option<&Node>) -> Vec<usize> {
    let Some(Value::Sequence(lines)) = ports.map(|ports| &ports.value) else {
        return Vec::new();
    };
    let counts = lines
        .iter()
        .map(|line| from_node::<Ports>(line).map_or(1, |ports| ports.0.len()));
    let of_line = |(line, count)| std::iter::repeat_n(line, count);
    counts.enumerate().flat_map(of_line).collect()
}

pub(super) fn mounts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Mount>, D::Error> {
    list(d)
}

pub(super) fn file_references<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Vec<FileReference>, D::Error> {
    list(d)
}

pub(super) fn attachments<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<Vec<Attachment>>, D::Error> {
    let items = Option::<Vec<Either<Attachment>>>::deserialize(d)?;
    Ok(items.map(|items| items.into_iter().map(|item| item.0).collect()))
}
