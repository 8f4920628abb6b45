//! What is answered to whom: from the names, the question, and the address that it comes from. Pure.

use super::book::{Book, Entry, View};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most addresses in one answer: what a client tries in turn has an end, and a message of 64 KiB holds them.
const MOST: usize = 1_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Addresses of IPv4.
    A,
    /// Addresses of IPv6.
    Aaaa,
    /// The name of an address.
    Ptr,
    /// Ports.
    Srv,
    /// Whatever there is.
    Any,
    /// A whole zone: nobody gets one.
    Transfer,
    /// Anything else.
    Other,
}

/// A question: a name in lower case without the dot at its end, and what is asked for. A name that could not be ours (of
/// other signs than letters, digits, `-` and `_`) is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name.
    pub name: Option<String>,
    /// What is asked for.
    pub kind: Kind,
    /// Whether it is about the Internet; other classes are nobody's.
    pub is_internet: bool,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An address of the name that was asked for.
    Address(IpAddr),
    /// The name of the address that was asked for.
    Name(String),
    /// A port at a name, with the addresses of that name.
    Port(u16, String, Ipv4Addr, Option<Ipv6Addr>),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These; none: the name exists, and has nothing of what is asked for.
    Records(Vec<Record>),
    /// There is no such name.
    NoName,
    /// It is not ours to answer: the node's resolvers are asked.
    Forward,
    /// This asker, or this question, gets no answer.
    Refused,
}

/// What is answered to who asks from `asker`. Answers of several records begin with another one for each `turn`.
pub fn answer(book: &Book, asker: Ipv4Addr, question: &Question, turn: usize) -> Answer {
    let Some(view) = book.view(asker) else {
        return Answer::Refused;
    };
    if !question.is_internet || question.kind == Kind::Transfer {
        return Answer::Refused;
    }
    let name = question.name.as_deref();
    let ours = name.and_then(|name| own(book, &view, name, question.kind));
    match ours {
        Some(Answer::Records(mut records)) => {
            if !records.is_empty() {
                let first = turn % records.len();
                records.rotate_left(first);
            }
            records.truncate(MOST);
            Answer::Records(records)
        }
        Some(answer) => answer,
        None if view.has_way_out => Answer::Forward,
        None => Answer::NoName,
    }
}

/// The answer about what is ours; `None`: it is not.
fn own(book: &Book, view: &View, name: &str, kind: Kind) -> Option<Answer> {
    if let Some(address) = reversed(name) {
        return of_address(book, view, address, kind);
    }
    if let Some(entry) = book.find(view, name) {
        return Some(Answer::Records(addresses(book, view, entry, kind)));
    }
    if name.starts_with('_') {
        return of_port(book, view, name, kind);
    }
    // What only a service's tasks could be called. All other names below a service's may be somebody else's: there is
    // nothing wrong with a service that is called `com`.
    let (first, rest) = name.split_once('.')?;
    let is_slot = first.bytes().all(|byte| byte.is_ascii_digit());
    let entry = book.find(view, rest)?;
    (is_slot && entry.has_tasks()).then_some(Answer::NoName)
}

/// The addresses of a name. Those of IPv6 are the ones that go with those of IPv4, so both are of one network.
fn addresses(book: &Book, view: &View, entry: &Entry, kind: Kind) -> Vec<Record> {
    let own = entry.addresses(view);
    let network = book.network(view, entry);
    let version6 = || own.iter().filter_map(|own| network?.version6(*own));
    let version6 = || version6().map(|address| Record::Address(address.into()));
    let version4 = || own.iter().map(|own| Record::Address((*own).into()));
    match kind {
        Kind::A => version4().collect(),
        Kind::Aaaa => version6().collect(),
        Kind::Any => version4().chain(version6()).collect(),
        Kind::Ptr | Kind::Srv | Kind::Transfer | Kind::Other => Vec::new(),
    }
}

/// The address of `4.3.2.1.in-addr.arpa`, or of an address of IPv6 as `1.0.0.0.` and so on to `.d.f.ip6.arpa` (RFC 3596, 2.5).
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let [a, b, c, d] = digits.parse::<Ipv4Addr>().ok()?.octets();
        return Some(Ipv4Addr::new(d, c, b, a).into());
    }
    let mut labels = name.strip_suffix(".ip6.arpa")?.split('.');
    let number = (0..32).try_fold(0, |number, place| {
        let label = labels.next().filter(|label| label.len() == 1)?;
        let digit = u128::from_str_radix(label, 16).ok()?;
        Some(number | digit << (place * 4))
    })?;
    let is_whole = labels.next().is_none();
    is_whole.then(|| Ipv6Addr::from(number).into())
}

fn of_address(book: &Book, view: &View, address: IpAddr, kind: Kind) -> Option<Answer> {
    match book.name_of(view, address) {
        Some(name) => Some(Answer::Records(match kind {
            Kind::Ptr | Kind::Any => vec![Record::Name(name.to_owned())],
            Kind::A | Kind::Aaaa | Kind::Srv | Kind::Transfer | Kind::Other => Vec::new(),
        })),
        // Nobody else knows who has an address of ours.
        None => book.holds(address).then_some(Answer::NoName),
    }
}

/// `_http._tcp.web`: where each of the addresses of `web` serves what is called so.
fn of_port(book: &Book, view: &View, name: &str, kind: Kind) -> Option<Answer> {
    let mut labels = name.splitn(3, '.');
    let (port, protocol, rest) = (labels.next()?, labels.next()?, labels.next()?);
    // `_dmarc.example.com` is no port of a service that is called `com`.
    if !matches!(protocol, "_tcp" | "_udp") {
        return None;
    }
    let entry = book.find(view, rest)?;
    let Some(port) = entry.port(&format!("{port}.{protocol}")) else {
        return Some(Answer::NoName);
    };
    let network = book.network(view, entry);
    let at = |address: Ipv4Addr| {
        let name = book.name_of(view, address.into())?.to_owned();
        let version6 = network.and_then(|network| network.version6(address));
        Some(Record::Port(port.0, name, address, version6))
    };
    Some(Answer::Records(match kind {
        Kind::Srv | Kind::Any => entry.addresses(view).into_iter().filter_map(at).collect(),
        Kind::A | Kind::Aaaa | Kind::Ptr | Kind::Transfer | Kind::Other => Vec::new(),
    }))
}
