//! Ranges of ports as people write them: `8080-8082:80-82` is three ports, and `30000-30010:80` eleven that all lead to one.
//! Pure.
//!
//! A range is Swarm's: each port of it is published (Compose without Swarm takes any one of a range that leads to a single
//! port). A record names each port alone; a range is only how it is written and shown.

use super::service::ServicePort;
use super::unit::Port;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::net::IpAddr;

/// How many ports the ranges of a service may be: each is a key in the ledger, and on every node an element of a map for each
/// task; and a few characters must not become a record that no store takes.
pub const MOST: usize = 1_000;

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Reads `80` or `80-82`; none for what is no port, or ends before it begins.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| is_number && *number > 0)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some(Self { first, last })
    }

    fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Of a range the port at this place, else the only one.
    fn at(self, place: usize) -> Port {
        let place = if self.count() == 1 { 0 } else { place };
        Port(u16::try_from(usize::from(self.first) + place).unwrap_or(self.last))
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = PortRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, or a range such as \"8080-8082\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PortRange, E> {
                let wrong = || E::custom("expected a port from 1 to 65535");
                let number = u16::try_from(number).map_err(|_| wrong())?;
                // Zero is refused with everything else that may not be said.
                Ok(PortRange {
                    first: number,
                    last: number,
                })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortRange, E> {
                let wrong =
                    || format!("`{text}` is no port: write 80, or a range such as \"80-82\"");
                PortRange::parse(text).ok_or_else(|| E::custom(wrong()))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// Each port of what may be a range.
///
/// # Errors
/// The two ranges do not fit, or what belongs to one port is given to several.
pub fn each(written: ServicePort<PortRange>) -> Result<Vec<ServicePort>, String> {
    let (target, published) = (written.target, written.published);
    let count = match published {
        Some(published) if target.count() > 1 && published.count() != target.count() => {
            return Err(format!(
                "{} published ports cannot lead to {} ports: write as many, or one that all lead to",
                published.count(),
                target.count()
            ));
        }
        Some(published) => published.count(),
        None => target.count(),
    };
    if count > 1 && written.name.is_some() {
        return Err("a name belongs to one port, and this is a range: leave `name` out".into());
    }
    let port = |place| ServicePort {
        name: written.name.clone(),
        target: target.at(place),
        published: published.map(|published| published.at(place)),
        protocol: written.protocol,
        mode: written.mode,
        host_ip: written.host_ip,
        source: written.source,
        locality: written.locality,
    };
    // One more than may be says as much as all of them.
    Ok((0..count.min(MOST + 1)).map(port).collect())
}

/// How an address stands before a port: `192.0.2.1:`, `[2001:db8::1]:`; nothing where it is all addresses.
pub fn before_port(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => format!("{address}:"),
        Some(IpAddr::V6(address)) => format!("[{address}]:"),
        None => String::new(),
    }
}

/// A port as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What stands before the numbers: an address, or nothing.
    pub before: String,
    /// The number that clients use; none: not known yet.
    pub published: Option<Port>,
    /// The port of the tasks; none: not shown.
    pub target: Option<Port>,
    /// What stands behind: the protocol.
    pub behind: String,
}

/// Texts for ports, those that follow each other in one: `8080-8082->80-82/tcp`, `30000-30010->80/tcp`, `8080-8082/tcp`.
pub fn compact(ports: impl IntoIterator<Item = Shown>) -> Vec<String> {
    let mut runs: Vec<(Shown, Shown)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((first, last)) if follows(first, last, &port) => *last = port,
            _ => runs.push((port.clone(), port)),
        }
    }
    runs.iter().map(|(first, last)| text(first, last)).collect()
}

/// Whether a port goes on where a run of ports is.
fn follows(first: &Shown, last: &Shown, next: &Shown) -> bool {
    let step = |one: Option<Port>, other: Option<Port>| match (one, other) {
        (Some(one), Some(other)) => Some(i32::from(other.0) - i32::from(one.0)),
        (None, None) => Some(0),
        (Some(_), None) | (None, Some(_)) => None,
    };
    let is_alike = (&last.before, &last.behind) == (&next.before, &next.behind);
    let target = step(last.target, next.target);
    // The second of a run says whether its targets move.
    let is_alone = first == last;
    let moves = step(first.target, last.target) != Some(0);
    let goes_on = is_alone || moves == (target == Some(1));
    is_alike
        && goes_on
        && matches!(target, Some(0 | 1))
        && step(last.published, next.published) == Some(1)
}

fn text(first: &Shown, last: &Shown) -> String {
    let range = |first: Option<Port>, last: Option<Port>| match (first, last) {
        (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
        (Some(only), _) => only.to_string(),
        (None, _) => "*".into(),
    };
    let target = first.target;
    let target = target.map(|_| format!("->{}", range(target, last.target)));
    let published = range(first.published, last.published);
    let (before, behind) = (&first.before, &first.behind);
    format!("{before}{published}{}{behind}", target.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ports: &[(u16, u16)], expected: &[&str]) {
        let known = |port: u16| Some(Port(port)).filter(|port| port.0 > 0);
        let shown = ports.iter().map(|(published, target)| Shown {
            before: String::new(),
            published: known(*published),
            target: known(*target),
            behind: "/tcp".into(),
        });
        assert_eq!(compact(shown), expected);
    }

    #[test]
    fn ports_that_follow_each_other_are_one_text() {
        check(&[], &[]);
        check(&[(8080, 80)], &["8080->80/tcp"]);
        check(&[(1, 80), (2, 81), (3, 82)], &["1-3->80-82/tcp"]);
        check(&[(1, 80), (2, 80), (3, 80)], &["1-3->80/tcp"]);
        check(&[(1, 80), (2, 80), (3, 81)], &["1-2->80/tcp", "3->81/tcp"]);
        check(
            &[(1, 80), (2, 81), (3, 81)],
            &["1-2->80-81/tcp", "3->81/tcp"],
        );
        check(&[(1, 80), (3, 81)], &["1->80/tcp", "3->81/tcp"]);
        check(&[(0, 80), (0, 81)], &["*->80/tcp", "*->81/tcp"]);
        check(&[(7, 0), (8, 0), (10, 0)], &["7-8/tcp", "10/tcp"]);
    }
}
