//! What a node is asked to try, to find out whether its data plane leads where it should: the questions and answers of
//! `skep agent --probe`, a line of JSON each. Pure.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

/// One thing to try.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// A connection of TCP, closed at once.
    Connect(SocketAddrV4),
    /// The addresses of a name, asked from the resolver at a network's gateway.
    Resolve(Ipv4Addr, String),
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
    Addresses(BTreeSet<Ipv4Addr>),
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
pub fn question(name: &str, id: u16) -> Result<Vec<u8>, String> {
    let name = Name::from_utf8(format!("{name}.")).map_err(|error| error.to_string())?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::A));
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
            RData::A(address) => Some(address.0),
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
    use hickory_proto::rr::rdata::A;

    #[test]
    fn an_answer_is_read_if_it_is_to_the_question() {
        let bytes = question("web.default", 7).unwrap();
        let mut message = Message::from_vec(&bytes).unwrap();
        assert_eq!(answered(&bytes, 7), None, "that is the question");
        let name = message.queries[0].name.clone();
        assert_eq!(name.to_string(), "web.default.");
        message.metadata.message_type = MessageType::Response;
        let address = Ipv4Addr::new(10, 0, 0, 7);
        message.add_answer(Record::from_rdata(name, 5, RData::A(A(address))));
        let bytes = message.to_vec().unwrap();
        assert_eq!(
            answered(&bytes, 7),
            Some(Outcome::Addresses([address].into()))
        );
        assert_eq!(answered(&bytes, 8), None);
        message.metadata.response_code = ResponseCode::Refused;
        let refused = answered(&message.to_vec().unwrap(), 7);
        assert!(matches!(refused, Some(Outcome::Failed(_))), "{refused:?}");
    }
}
