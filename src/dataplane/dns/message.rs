//! Messages of DNS: a question out of bytes, an answer into bytes. Pure; whatever arrives, nothing panics.

use super::answer::{Answer, Kind, Question, Record};
#[cfg(test)]
use hickory_proto::op::MessageType;
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record as Resource, RecordType};
use std::net::IpAddr;

/// How long an answer about ours may be kept, in seconds: what left is asked for no longer than connections take to end.
const TTL: u32 = 5;

/// What fits into a datagram without a word about more (RFC 1035), and what is sent at most: larger ones are lost in
/// fragments (the number of the DNS Flag Day of 2020).
const DATAGRAM: (u16, u16) = (512, 1_232);

/// How a message comes, and with that how much fits into its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
}

/// A message that asks something.
#[derive(Clone, Debug)]
pub struct Request {
    message: Message,
    /// What it asks.
    pub question: Question,
}

/// What bytes are.
#[derive(Clone, Debug)]
pub enum Read {
    /// A message that asks something.
    Request(Box<Request>),
    /// Not to be understood: this is said.
    Reply(Vec<u8>),
    /// Nothing that is ever answered.
    Nothing,
}

/// Reads a message.
pub fn read(bytes: &[u8]) -> Read {
    // Id, flags; an answer is never answered.
    let [first, second, flags, ..] = bytes else {
        return Read::Nothing;
    };
    if bytes.len() < 12 || flags & 0x80 != 0 {
        return Read::Nothing;
    }
    let id = u16::from_be_bytes([*first, *second]);
    let op_code = OpCode::from_u8((flags >> 3) & 0xf);
    let refuse =
        |code| bytes_of(&Message::error_msg(id, op_code, code)).map_or(Read::Nothing, Read::Reply);
    if op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    // One question, and no answers beside it.
    if bytes[4..8] != [0, 1, 0, 0] {
        return refuse(ResponseCode::FormErr);
    }
    match Message::from_vec(bytes) {
        Ok(message) => match message.queries.first() {
            Some(query) => {
                let question = question(query);
                Read::Request(Box::new(Request { message, question }))
            }
            None => refuse(ResponseCode::FormErr),
        },
        Err(_) => refuse(ResponseCode::FormErr),
    }
}

fn question(query: &Query) -> Question {
    let kind = match query.query_type {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::PTR => Kind::Ptr,
        RecordType::SRV => Kind::Srv,
        RecordType::ANY => Kind::Any,
        RecordType::AXFR | RecordType::IXFR => Kind::Transfer,
        _ => Kind::Other,
    };
    Question {
        name: plain(&query.name),
        kind,
        is_internet: query.query_class == DNSClass::IN || query.query_class == DNSClass::ANY,
    }
}

/// The name as text, if it could be one of ours.
fn plain(name: &Name) -> Option<String> {
    let mut labels = Vec::new();
    for label in name.iter() {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let label = std::str::from_utf8(label).ok()?;
        labels.push(
            label
                .bytes()
                .all(|byte| is_plain(&byte))
                .then(|| label.to_ascii_lowercase())?,
        );
    }
    (!labels.is_empty()).then(|| labels.join("."))
}

impl Request {
    /// The answer in bytes; [`Answer::Forward`] is for others to say.
    pub fn answer(&self, answer: &Answer, transport: Transport) -> Option<Vec<u8>> {
        let code = match answer {
            Answer::Records(_) => ResponseCode::NoError,
            Answer::NoName => ResponseCode::NXDomain,
            Answer::Refused => ResponseCode::Refused,
            Answer::Forward => ResponseCode::ServFail,
        };
        let mut reply = self.reply(code);
        reply.metadata.authoritative = code != ResponseCode::Refused;
        if let Answer::Records(records) = answer {
            for record in records {
                self.add(&mut reply, record);
            }
        }
        self.fitting(&reply, transport)
    }

    /// That the answer does not fit: it has to be asked for over TCP.
    pub fn too_long(&self) -> Option<Vec<u8>> {
        bytes_of(&self.reply(ResponseCode::NoError).truncate())
    }

    /// That whoever knows could not be asked.
    pub fn failure(&self) -> Option<Vec<u8>> {
        bytes_of(&self.reply(ResponseCode::ServFail))
    }

    fn reply(&self, code: ResponseCode) -> Message {
        let asked = &self.message.metadata;
        let mut reply = Message::error_msg(asked.id, asked.op_code, code);
        reply.metadata.recursion_desired = asked.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_queries(self.message.queries.iter().cloned());
        if self.message.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM.1);
            reply.set_edns(edns);
        }
        reply
    }

    /// A record is left out if what it names is no name of DNS.
    fn add(&self, reply: &mut Message, record: &Record) {
        let Some(asked) = self.message.queries.first().map(|query| query.name.clone()) else {
            return;
        };
        let resource = |name: Name, data: RData| Resource::from_rdata(name, TTL, data);
        match record {
            Record::Address(address) => {
                reply.add_answer(resource(asked, address_data(*address)));
            }
            Record::Name(name) => {
                if let Some(name) = full(name) {
                    reply.add_answer(resource(asked, RData::PTR(PTR(name))));
                }
            }
            Record::Port(port, name, version4, version6) => {
                if let Some(name) = full(name) {
                    let data = RData::SRV(SRV::new(0, 1, *port, name.clone()));
                    reply.add_answer(resource(asked, data));
                    let addresses = [Some((*version4).into()), version6.map(IpAddr::from)];
                    for address in addresses.into_iter().flatten() {
                        reply.add_additional(resource(name.clone(), address_data(address)));
                    }
                }
            }
        }
    }

    /// The bytes of a reply. Where it does not fit it is told without addresses that nobody asked for, and where that does not
    /// either it is cut: only what was asked for says that there is more (RFC 2181, 9).
    fn fitting(&self, reply: &Message, transport: Transport) -> Option<Vec<u8>> {
        let (least, most) = DATAGRAM;
        let limit = match (transport, &self.message.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => least,
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(least, most),
        };
        let fits = |reply: &Message| {
            let bytes = bytes_of(reply);
            bytes.filter(|bytes| bytes.len() <= usize::from(limit))
        };
        let asked_for = || {
            let mut reply = reply.clone();
            reply.additionals.clear();
            fits(&reply)
        };
        let bytes = fits(reply).or_else(asked_for);
        bytes.or_else(|| bytes_of(&reply.truncate()))
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn full(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{name}.")).ok()
}

fn bytes_of(message: &Message) -> Option<Vec<u8>> {
    message.to_vec().ok()
}

/// Whether bytes are the answer to a request that was sent on: the same id and question.
pub fn is_answer(request: &[u8], answer: &[u8]) -> bool {
    let (Some(asked), Some(said)) = (question_of(request), answer.get(..12)) else {
        return false;
    };
    let is_reply = said[2] & 0x80 != 0 && said[..2] == request[..2];
    // Servers that refuse may leave the question out.
    let is_bare = said[4..6] == [0, 0] && said[3] & 0xf != 0;
    let repeated = answer.get(12..12 + asked.len());
    is_reply && (is_bare || repeated.is_some_and(|said| said.eq_ignore_ascii_case(asked)))
}

/// The bytes of a request's question.
fn question_of(request: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    loop {
        match usize::from(*request.get(at)?) {
            0 => return request.get(12..at + 5),
            length if length < 64 => at += length + 1,
            // A pointer has nothing to point to yet.
            _ => return None,
        }
    }
}

/// Whether an answer says that it was cut.
pub fn is_cut(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

#[cfg(test)]
pub(super) fn query(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    bytes_of(&message).expect("it is short")
}
