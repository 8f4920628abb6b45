//! What a node is asked to try, to find out whether its data plane leads where it should: the questions and answers of
//! `skep agent --probe`, a line of JSON each. Pure.

use super::address::Version;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One thing to try. An agent that does not know one of them says so, and tries none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// A connection of TCP, closed at once.
    Connect(SocketAddr),
    /// The addresses of IPv4 of a name, asked from the resolver at a network's gateway.
    Resolve(Ipv4Addr, String),
    /// Its addresses of IPv6, asked from the same one.
    Resolve6(Ipv4Addr, String),
}

/// All that is to be tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// How long each may take, in milliseconds.
    pub patience_ms: u64,
    /// What.
    pub probes: Vec<Probe>,
}

/// What came of one, in the order in which they were asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Somebody took the connection.
    Connected,
    /// Somebody is there, and takes none.
    Refused,
    /// Nobody answered in time.
    Silent,
    /// The name has these addresses.
    Addresses(BTreeSet<IpAddr>),
    /// It could not be tried, or was answered with an error.
    Failed(String),
}

impl Outcome {
    /// Whether a packet went there and another one came back.
    pub fn is_reached(&self) -> bool {
        match self {
            Self::Connected | Self::Refused => true,
            Self::Silent | Self::Addresses(_) | Self::Failed(_) => false,
        }
    }
}

/// The datagram that asks for the addresses of a name.
///
/// # Errors
/// It is no name.
pub fn question(name: &str, version: Version, id: u16) -> Result<Vec<u8>, String> {
    let name = Name::from_utf8(format!("{name}.")).map_err(|error| error.to_string())?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let kind = match version {
        Version::V4 => RecordType::A,
        Version::V6 => RecordType::AAAA,
    };
    message.add_query(Query::query(name, kind));
    message.to_vec().map_err(|error| error.to_string())
}

/// What an answer says; `None`: it belongs to another question.
pub fn answered(bytes: &[u8], id: u16) -> Option<Outcome> {
    let message = Message::from_vec(bytes).ok()?;
    if message.metadata.id != id || message.metadata.message_type != MessageType::Response {
        return None;
    }
    let addresses = message
        .answers
        .iter()
        .filter_map(|record| match record.data {
            RData::A(address) => Some(IpAddr::from(address.0)),
            RData::AAAA(address) => Some(address.0.into()),
            _ => None,
        });
    Some(match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Outcome::Addresses(addresses.collect()),
        code => Outcome::Failed(code.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, AAAA};

    #[test]
    fn an_answer_is_read_if_it_is_to_the_question() {
        let bytes = question("web.default", Version::V4, 7).unwrap();
        let mut message = Message::from_vec(&bytes).unwrap();
        assert_eq!(answered(&bytes, 7), None, "that is the question");
        let name = message.queries[0].name.clone();
        assert_eq!(message.queries[0].query_type, RecordType::A);
        assert_eq!(name.to_string(), "web.default.");
        message.metadata.message_type = MessageType::Response;
        let address = Ipv4Addr::new(10, 0, 0, 7);
        message.add_answer(Record::from_rdata(name.clone(), 5, RData::A(A(address))));
        let bytes = message.to_vec().unwrap();
        let own = IpAddr::from(address);
        assert_eq!(answered(&bytes, 7), Some(Outcome::Addresses([own].into())));
        let other = address.to_ipv6_mapped();
        message.add_answer(Record::from_rdata(name, 5, RData::AAAA(AAAA(other))));
        let both = [own, other.into()].into();
        assert_eq!(
            answered(&message.to_vec().unwrap(), 7),
            Some(Outcome::Addresses(both))
        );
        assert_eq!(answered(&bytes, 8), None);
        message.metadata.response_code = ResponseCode::Refused;
        let refused = answered(&message.to_vec().unwrap(), 7);
        assert!(matches!(refused, Some(Outcome::Failed(_))), "{refused:?}");
        let asked = Message::from_vec(&question("web", Version::V6, 7).unwrap()).unwrap();
        assert_eq!(asked.queries[0].query_type, RecordType::AAAA);
    }

    #[test]
    fn what_an_agent_may_not_know_stands_apart_from_what_each_knows() {
        let asked = |probe: &Probe| serde_json::to_string(probe).unwrap();
        let connect = |to: &str| Probe::Connect(to.parse().unwrap());
        let gateway = Ipv4Addr::new(10, 1, 0, 1);
        for (probe, expected) in [
            (connect("10.1.0.7:80"), r#"{"connect":"10.1.0.7:80"}"#),
            (connect("[fd00::7]:80"), r#"{"connect":"[fd00::7]:80"}"#),
            (
                Probe::Resolve(gateway, "web".into()),
                r#"{"resolve":["10.1.0.1","web"]}"#,
            ),
            (
                Probe::Resolve6(gateway, "web".into()),
                r#"{"resolve6":["10.1.0.1","web"]}"#,
            ),
        ] {
            assert_eq!(asked(&probe), expected);
            assert_eq!(serde_json::from_str::<Probe>(expected).unwrap(), probe);
        }
        let said = Outcome::Addresses(["10.1.0.7".parse().unwrap()].into());
        let text = serde_json::to_string(&said).unwrap();
        assert_eq!(text, r#"{"addresses":["10.1.0.7"]}"#);
        let later = r#"{"patienceMs":1,"probes":[{"resolve6":["10.1.0.1","web"]},{"later":1}]}"#;
        let error = serde_json::from_str::<Asked>(later)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown variant `later`"), "{error}");
    }
}
