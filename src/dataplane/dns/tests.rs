//! Names in words: who asks what, and what is said; and that whatever arrives, nothing panics.

use super::answer::{Answer, Kind, Question, Record, answer};
use super::book::Book;
use super::message::{Read, Transport, is_answer, is_cut, query, read};
use crate::api::allocation::Vni;
use crate::dataplane::state::State;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Three networks of two namespaces; green and red carry IPv6. `web` is on blue and green with three tasks, of which one is on
/// both; `db` on green only, without a virtual address; `cache` on red, which is internal; `idle` on blue without a task; `guest`,
/// a container of others, on green, and there it has another address of IPv6 than goes with that of IPv4.
fn state() -> State {
    let text = r#"{
        "revision": 7, "node": 1, "members": {"1": "172.31.0.11"},
        "networks": {
            "1": {"subnet": "10.1.1.0/24", "gateway": "10.1.1.1", "mtu": 1450, "nodes": [1],
                "tasks": {"10.1.1.11": 1, "10.1.1.12": 1, "10.1.1.13": 1, "10.1.1.14": 1}},
            "2": {"subnet": "10.1.2.0/24", "gateway": "10.1.2.1", "subnet6": "fd00:2::/64", "mtu": 1450, "nodes": [1],
                "tasks": {"10.1.2.13": 1, "10.1.2.21": 1, "10.1.2.22": 1, "10.1.2.23": 1},
                "addresses6": {"10.1.2.23": "fd00:2::8:1"}},
            "3": {"subnet": "10.1.3.0/24", "gateway": "10.1.3.1", "subnet6": "fd00:3::/64", "mtu": 1450,
                "internal": true, "nodes": [1],
                "tasks": {"10.1.3.31": 1}}
        },
        "names": {
            "namespaces": {"1": "shop", "2": "shop", "3": "Lab"},
            "askers": {"10.1.1.13": [1, 2], "10.1.2.13": [1, 2]},
            "services": {
                "Web.shop": {
                    "networks": {"1": "10.1.1.100", "2": "10.1.2.100"},
                    "aliases": {"1": ["www", "idle"]},
                    "ports": {"http/tcp": 80},
                    "tasks": {
                        "shop_Web.1.a": {"slot": "1", "addresses": {"1": "10.1.1.11"}},
                        "shop_Web.2.b": {"slot": "2", "addresses": {"1": "10.1.1.12"}},
                        "shop_Web.3.c": {"slot": "3", "addresses": {"1": "10.1.1.13", "2": "10.1.2.13"}}
                    }
                },
                "db.shop": {
                    "networks": {"2": null}, "isRoundRobin": true,
                    "aliases": {"2": ["store"]},
                    "ports": {"sql/tcp": 5432},
                    "tasks": {
                        "shop_db.n1.d": {"slot": "n1", "addresses": {"2": "10.1.2.21"}},
                        "shop_db.n2.example.com.e": {"slot": "n2.example.com", "addresses": {"2": "10.1.2.22"}}
                    }
                },
                "c0ffee.shop": {
                    "networks": {"2": null}, "isRoundRobin": true,
                    "aliases": {"2": ["guest"]},
                    "tasks": {"c0ffee": {"slot": "n1", "addresses": {"2": "10.1.2.23"}}}
                },
                "idle.shop": {"networks": {"1": "10.1.1.101"}, "aliases": {"1": ["www"]}},
                "late.shop": {"networks": {"1": null}},
                "cache.Lab": {"networks": {"3": "10.1.3.100"},
                    "tasks": {"Lab_cache.1.f": {"slot": "1", "addresses": {"3": "10.1.3.31"}}}}
            }
        }
    }"#;
    let state: State = serde_json::from_str(text).expect("it reads");
    assert_eq!(state.check(), Ok(()));
    state
}

fn kind(word: &str) -> Kind {
    match word {
        "A" => Kind::A,
        "AAAA" => Kind::Aaaa,
        "PTR" => Kind::Ptr,
        "SRV" => Kind::Srv,
        "ANY" => Kind::Any,
        "AXFR" => Kind::Transfer,
        _ => Kind::Other,
    }
}

fn said(answer: &Answer) -> String {
    match answer {
        Answer::Records(records) => {
            let words = records.iter().map(|record| match record {
                Record::Address(address) => address.to_string(),
                Record::Name(name) => name.clone(),
                Record::Port(port, name, address, None) => format!("{name}:{port}={address}"),
                Record::Port(port, name, address, Some(other)) => {
                    format!("{name}:{port}={address}+{other}")
                }
            });
            words.collect::<Vec<_>>().join(" ")
        }
        Answer::NoName => "no such name".into(),
        Answer::Forward => "forward".into(),
        Answer::Refused => "refused".into(),
    }
}

fn ask(asker: &str, question: &str, turn: usize) -> String {
    let (word, name) = question.split_once(' ').expect("a kind and a name");
    let question = Question {
        name: Some(name.to_owned()),
        kind: kind(word),
        is_internet: true,
    };
    let book = Book::new(&state());
    said(&answer(
        &book,
        asker.parse().expect("an address"),
        &question,
        turn,
    ))
}

#[track_caller]
fn check(asker: &str, lines: &[(&str, &str)]) {
    for (question, expected) in lines {
        assert_eq!(
            &ask(asker, question, 0),
            expected,
            "{asker} asks {question}"
        );
    }
}

#[test]
fn a_task_is_told_what_is_on_its_network() {
    check(
        "10.1.1.11",
        &[
            ("A web", "10.1.1.100"),
            ("A web.shop", "10.1.1.100"),
            ("ANY web", "10.1.1.100"),
            ("A tasks.web", "10.1.1.11 10.1.1.12 10.1.1.13"),
            ("A tasks.web.shop", "10.1.1.11 10.1.1.12 10.1.1.13"),
            ("A 2.web", "10.1.1.12"),
            ("A 2.web.shop", "10.1.1.12"),
            ("A shop_web.3.c", "10.1.1.13"),
            ("A shop_web.3.c.shop", "10.1.1.13"),
            // What a service is called is nobody's alias; an alias of two is both's.
            ("A idle", "10.1.1.101"),
            ("A www", "10.1.1.100 10.1.1.101"),
            // It is there, and has no such thing.
            ("AAAA web", ""),
            ("MX web", ""),
            ("AAAA tasks.web", ""),
            ("A tasks.idle", ""),
            ("A late", ""),
            // Below a service's name only numbers could be its own.
            ("A 4.web", "no such name"),
            ("AAAA 4.web.shop", "no such name"),
            ("A 4.www", "forward"),
            ("A mail.web", "forward"),
            // Of other networks and namespaces nothing is known.
            ("A db", "forward"),
            ("A store", "forward"),
            ("A shop_db.n1.d", "forward"),
            ("A cache.lab", "forward"),
            ("A example.com", "forward"),
            ("A web.lab", "forward"),
            ("A com", "forward"),
            ("AXFR web", "refused"),
            ("AXFR example.com", "refused"),
        ],
    );
}

#[test]
fn a_task_on_two_networks_sees_both_and_the_one_that_it_asks_from_first() {
    let both = [
        ("A db", "10.1.2.21 10.1.2.22"),
        ("A n2.example.com.db", "10.1.2.22"),
        ("A idle", "10.1.1.101"),
        ("A store.shop", "10.1.2.21 10.1.2.22"),
    ];
    check("10.1.1.13", &both);
    check("10.1.2.13", &both);
    check(
        "10.1.1.13",
        &[("A web", "10.1.1.100"), ("A 3.web", "10.1.1.13")],
    );
    check(
        "10.1.2.13",
        &[("A web", "10.1.2.100"), ("A 3.web", "10.1.2.13")],
    );
    // A task of green alone sees of web what is on green.
    check(
        "10.1.2.21",
        &[
            ("A web", "10.1.2.100"),
            ("A tasks.web", "10.1.2.13"),
            ("A 1.web", "no such name"),
            ("A idle", "forward"),
        ],
    );
}

#[test]
fn addresses_have_names_and_ports_have_places() {
    check(
        "10.1.1.11",
        &[
            ("PTR 100.1.1.10.in-addr.arpa", "web.shop"),
            ("PTR 12.1.1.10.in-addr.arpa", "shop_web.2.b.shop"),
            ("A 12.1.1.10.in-addr.arpa", ""),
            // One that does not serve, one of another network, the gateway, and one of somebody else.
            ("PTR 14.1.1.10.in-addr.arpa", "no such name"),
            ("PTR 21.2.1.10.in-addr.arpa", "no such name"),
            ("PTR 1.1.1.10.in-addr.arpa", "no such name"),
            ("PTR 8.8.8.8.in-addr.arpa", "forward"),
            ("PTR 8.8.8.in-addr.arpa", "forward"),
            ("PTR 08.1.1.10.in-addr.arpa", "forward"),
            ("SRV _http._tcp.web", "web.shop:80=10.1.1.100"),
            ("SRV _http._tcp.2.web", "no such name"),
            ("SRV _http._udp.web", "no such name"),
            ("A _http._tcp.web", ""),
            ("SRV _sql._tcp.db", "forward"),
            ("SRV _http._tcp.example.com", "forward"),
            // Not the port of a service that happens to be called as the end of it.
            ("A _dmarc.mail.web", "forward"),
            ("SRV web", ""),
        ],
    );
    let tasks = "shop_web.1.a.shop:80=10.1.1.11 shop_web.2.b.shop:80=10.1.1.12 shop_web.3.c.shop:80=10.1.1.13";
    check("10.1.1.11", &[("SRV _http._tcp.tasks.web", tasks)]);
    let tasks = "shop_db.n1.d.shop:5432=10.1.2.21+fd00:2::15 shop_db.n2.example.com.e.shop:5432=10.1.2.22+fd00:2::16";
    check("10.1.2.21", &[("SRV _sql._tcp.db", tasks)]);
}

/// The name below which an address of IPv6 has its name.
fn nibbles(address: &str) -> String {
    let address: Ipv6Addr = address.parse().expect("an address");
    let digits: String = address
        .segments()
        .map(|word| format!("{word:04x}"))
        .concat();
    let labels: Vec<String> = digits.chars().rev().map(String::from).collect();
    format!("{}.ip6.arpa", labels.join("."))
}

#[test]
fn addresses_of_version_6_go_with_those_of_version_4_in_the_networks_that_carry_it() {
    check(
        "10.1.2.21",
        &[
            ("AAAA web", "fd00:2::64"),
            ("AAAA web.shop", "fd00:2::64"),
            ("AAAA tasks.web", "fd00:2::d"),
            ("AAAA 3.web", "fd00:2::d"),
            ("AAAA store", "fd00:2::15 fd00:2::16"),
            ("AAAA shop_db.n1.d", "fd00:2::15"),
            ("ANY db", "10.1.2.21 10.1.2.22 fd00:2::15 fd00:2::16"),
            ("ANY web", "10.1.2.100 fd00:2::64"),
            // What engines gave a container of others.
            ("A guest", "10.1.2.23"),
            ("AAAA guest", "fd00:2::8:1"),
            ("AAAA c0ffee", "fd00:2::8:1"),
            ("AAAA n3.db", "forward"),
            ("AAAA 9.web", "no such name"),
            ("AAAA tasks.cache", "forward"),
            ("SRV _http._tcp.web", "web.shop:80=10.1.2.100+fd00:2::64"),
            ("AAAA _http._tcp.web", ""),
        ],
    );
    // On both, asked from blue: of the network that the name's addresses are of.
    check(
        "10.1.1.13",
        &[
            ("AAAA web", ""),
            ("AAAA 3.web", ""),
            ("ANY web", "10.1.1.100"),
            ("SRV _http._tcp.web", "web.shop:80=10.1.1.100"),
            ("AAAA db", "fd00:2::15 fd00:2::16"),
            ("AAAA idle", ""),
        ],
    );
    check(
        "10.1.2.13",
        &[("AAAA web", "fd00:2::64"), ("AAAA idle", "")],
    );
    check("10.1.3.31", &[("AAAA cache", "fd00:3::64")]);
    // They ask from their addresses of IPv4.
    let asked = |name: &str, turn| ask("10.1.2.21", &format!("AAAA {name}"), turn);
    assert_eq!(asked("db", 1), "fd00:2::16 fd00:2::15");
}

#[test]
fn addresses_of_version_6_have_names() {
    for (address, expected) in [
        ("fd00:2::64", "web.shop"),
        ("fd00:2::15", "shop_db.n1.d.shop"),
        ("fd00:2::8:1", "c0ffee.shop"),
        // Which would go with the stranger's of IPv4; one beyond those, the gateway's, one of a network that it is not on.
        ("fd00:2::17", "no such name"),
        ("fd00:2::1:0:0:d", "no such name"),
        ("fd00:2::1", "no such name"),
        ("fd00:3::1f", "no such name"),
        ("fd00:1::64", "forward"),
        ("2001:db8::1", "forward"),
    ] {
        let said = |kind: &str| ask("10.1.2.21", &format!("{kind} {}", nibbles(address)), 0);
        assert_eq!(said("PTR"), expected, "{address}");
        assert_eq!(said("ANY"), expected, "{address}");
        let other = match expected {
            "no such name" | "forward" => expected,
            _ => "",
        };
        assert_eq!(said("AAAA"), other, "{address}");
    }
    let whole = nibbles("fd00:2::64");
    for other in [
        // A part of the subnet, a label too many, and labels that are no digits.
        whole[2..].to_owned(),
        format!("0.{whole}"),
        format!("+{}", &whole[1..]),
        format!("04{}", &whole[1..]),
        whole.replacen("4.6.", "46.", 1),
        whole.replacen("ip6", "ip7", 1),
        "ip6.arpa".to_owned(),
    ] {
        assert_eq!(
            ask("10.1.2.21", &format!("PTR {other}"), 0),
            "forward",
            "{other}"
        );
    }
}

#[test]
fn who_is_internal_only_hears_of_nothing_else_and_strangers_of_nothing() {
    check(
        "10.1.3.31",
        &[
            ("A cache", "10.1.3.100"),
            ("A cache.lab", "10.1.3.100"),
            ("A example.com", "no such name"),
            ("A web.shop", "no such name"),
        ],
    );
    for stranger in ["172.17.0.2", "192.0.2.1", "127.0.0.1"] {
        check(
            stranger,
            &[("A web.shop", "refused"), ("A example.com", "refused")],
        );
    }
}

#[test]
fn answers_begin_with_another_address_each_time() {
    let firsts: Vec<String> = (0..4)
        .map(|turn| {
            let all = ask("10.1.1.11", "A tasks.web", turn);
            all.split(' ').next().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(firsts, ["10.1.1.11", "10.1.1.12", "10.1.1.13", "10.1.1.11"]);
}

/// What is said to bytes from an asker, in bytes.
fn reply(bytes: &[u8], asker: Ipv4Addr, transport: Transport) -> Option<Vec<u8>> {
    let book = Book::new(&state());
    match read(bytes) {
        Read::Request(request) => {
            let answer = answer(&book, asker, &request.question, 0);
            request.answer(&answer, transport)
        }
        Read::Reply(reply) => Some(reply),
        Read::Nothing => None,
    }
}

const ASKER: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 11);

/// One on green, which carries IPv6.
const ASKER6: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 21);

fn message(name: &str, kind: RecordType, payload: Option<u16>) -> (Vec<u8>, Message) {
    message_to(ASKER, name, kind, payload)
}

fn message_to(
    asker: Ipv4Addr,
    name: &str,
    kind: RecordType,
    payload: Option<u16>,
) -> (Vec<u8>, Message) {
    let bytes = query(name, kind, payload);
    let said = reply(&bytes, asker, Transport::Udp).expect("it is answered");
    assert!(is_answer(&bytes, &said));
    let message = Message::from_vec(&said).expect("it reads");
    (said, message)
}

#[test]
fn an_answer_repeats_the_question_as_it_was_written() {
    let (said, message) = message("wEb.Shop.", RecordType::A, None);
    assert_eq!(message.queries[0].name.to_ascii(), "wEb.Shop.");
    assert_eq!(message.answers[0].name.to_ascii(), "wEb.Shop.");
    assert_eq!(message.answers[0].ttl, 5);
    let flags = &message.metadata;
    assert!(flags.authoritative && flags.recursion_available && flags.recursion_desired);
    assert_eq!(message.edns, None);
    assert!(!is_cut(&said));
    let (_, none) = self::message("9.web.", RecordType::A, Some(4_096));
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(
        none.edns.as_ref().map(|edns| edns.max_payload()),
        Some(1_232)
    );
    let (_, empty) = self::message("web.", RecordType::AAAA, None);
    assert_eq!(empty.metadata.response_code, ResponseCode::NoError);
    assert!(empty.answers.is_empty());
    let (_, srv) = self::message("_http._tcp.web.", RecordType::SRV, None);
    assert_eq!(srv.answers[0].data.to_string(), "0 1 80 web.shop.");
    assert_eq!(
        srv.additionals[0].to_string(),
        "web.shop. 5 IN A 10.1.1.100"
    );
}

#[test]
fn addresses_of_version_6_are_told_in_records_of_their_own() {
    let shown = |records: &[hickory_proto::rr::Record]| {
        let shown = records.iter().map(ToString::to_string);
        shown.collect::<Vec<_>>()
    };
    let ask = |name: &str, kind| message_to(ASKER6, name, kind, None).1;
    let said = ask("Web.shop.", RecordType::AAAA);
    assert_eq!(shown(&said.answers), ["Web.shop. 5 IN AAAA fd00:2::64"]);
    let said = ask("web.", RecordType::ANY);
    let both = ["web. 5 IN A 10.1.2.100", "web. 5 IN AAAA fd00:2::64"];
    assert_eq!(shown(&said.answers), both);
    let said = ask("_http._tcp.web.", RecordType::SRV);
    let both = [
        "web.shop. 5 IN A 10.1.2.100",
        "web.shop. 5 IN AAAA fd00:2::64",
    ];
    assert_eq!(shown(&said.additionals), both);
    let name = format!("{}.", nibbles("fd00:2::64").to_uppercase());
    let said = ask(&name, RecordType::PTR);
    assert_eq!(said.answers[0].data.to_string(), "web.shop.");
    let said = ask(&format!("{}.", nibbles("fd00:2::ffff")), RecordType::PTR);
    assert_eq!(said.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn addresses_that_nobody_asked_for_give_way_to_what_was_asked_for() {
    let records = (0..12).map(|number| {
        let name = format!("shop_web.{number}.abcdefghijkl.shop");
        let last = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, number);
        Record::Port(80, name, Ipv4Addr::new(10, 1, 2, 21), Some(last))
    });
    let answer = Answer::Records(records.collect());
    let said = |payload| {
        let bytes = query("_http._tcp.tasks.web.", RecordType::SRV, payload);
        let Read::Request(request) = read(&bytes) else {
            panic!("it is a request");
        };
        let said = request
            .answer(&answer, Transport::Udp)
            .expect("it is answered");
        assert!(said.len() <= usize::from(payload.unwrap_or(512)));
        let message = Message::from_vec(&said).expect("it reads");
        (
            message.answers.len(),
            message.additionals.len(),
            is_cut(&said),
        )
    };
    assert_eq!(said(Some(1_232)), (12, 24, false));
    assert_eq!(said(Some(700)), (12, 0, false));
    assert_eq!(said(None), (0, 0, true));
}

#[test]
fn what_does_not_fit_is_cut_and_comes_over_tcp() {
    let mut state = state();
    let service = state
        .names
        .services
        .get_mut("Web.shop")
        .expect("it is there");
    for number in 0..100_u8 {
        let slot = number.to_string();
        let address = Ipv4Addr::new(10, 1, 1, 100 + number);
        let addresses = [(Vni(1), address)].into();
        let task = super::names::TaskName { slot, addresses };
        service.tasks.insert(format!("shop_Web.{number}.x"), task);
    }
    let book = Book::new(&state);
    for (payload, transport, is_whole) in [
        (None, Transport::Udp, false),
        (Some(1_232), Transport::Udp, false),
        (Some(65_535), Transport::Udp, false),
        (None, Transport::Tcp, true),
    ] {
        let bytes = query("tasks.web.", RecordType::A, payload);
        let Read::Request(request) = read(&bytes) else {
            panic!("it is a request");
        };
        let answer = answer(&book, ASKER, &request.question, 0);
        let said = request.answer(&answer, transport).expect("it is answered");
        let limit = usize::from(payload.unwrap_or(512).min(1_232));
        assert_eq!(is_cut(&said), !is_whole, "{payload:?} {transport:?}");
        assert!(is_whole || said.len() <= limit);
        assert!(is_answer(&bytes, &said));
    }
}

#[test]
fn what_is_no_question_is_told_so_or_nothing() {
    let good = query("web.", RecordType::A, None);
    let code = |bytes: &[u8]| {
        let said = reply(bytes, ASKER, Transport::Udp)?;
        Some(
            Message::from_vec(&said)
                .expect("it reads")
                .metadata
                .response_code,
        )
    };
    assert_eq!(code(&good), Some(ResponseCode::NoError));
    // An answer, and what is too short to have an id.
    let mut answer = good.clone();
    answer[2] |= 0x80;
    assert_eq!(code(&answer), None);
    assert_eq!(code(&good[..11]), None);
    assert_eq!(code(&[]), None);
    let mut update = good.clone();
    update[2] |= 5 << 3;
    assert_eq!(code(&update), Some(ResponseCode::NotImp));
    let mut two = good.clone();
    two[5] = 2;
    assert_eq!(code(&two), Some(ResponseCode::FormErr));
    assert_eq!(code(&good[..good.len() - 1]), Some(ResponseCode::FormErr));
    // A name that points to itself.
    let mut circle = good[..12].to_vec();
    circle.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(code(&circle), Some(ResponseCode::FormErr));
    // Kinds and classes that nobody knows are passed on, or refused.
    let mut unknown = good.clone();
    let end = unknown.len();
    unknown[end - 4..end - 2].copy_from_slice(&[0xff, 0x01]);
    assert_eq!(code(&unknown), Some(ResponseCode::NoError));
    let mut chaos = good;
    chaos[end - 1] = 3;
    assert_eq!(code(&chaos), Some(ResponseCode::Refused));
}

#[test]
fn only_the_answer_to_a_question_is_its_answer() {
    let asked = query("example.com.", RecordType::A, Some(1_232));
    let mut said = asked.clone();
    said[2] |= 0x80;
    assert!(is_answer(&asked, &said));
    assert!(!is_answer(&asked, &asked), "it is a question");
    let mut other = said.clone();
    other[1] ^= 1;
    assert!(!is_answer(&asked, &other), "another id");
    let mut other = query("example.org.", RecordType::A, None);
    other[2] |= 0x80;
    assert!(!is_answer(&asked, &other), "another question");
    let mut bare = said[..12].to_vec();
    bare[5] = 0;
    assert!(!is_answer(&asked, &bare), "no question, and no error");
    bare[3] |= 5;
    assert!(is_answer(&asked, &bare), "refused without a word");
}

fn askers() -> impl Strategy<Value = Ipv4Addr> {
    (0..5u8, 0..120u8).prop_map(|(third, last)| Ipv4Addr::new(10, 1, third, last))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_arrives_nothing_panics_and_nobody_is_told_more_than_fits(
        base in 0..6usize,
        changes in prop::collection::vec((0..90usize, any::<u8>()), 0..12),
        length in 0..120usize,
        tail in prop::collection::vec(any::<u8>(), 0..60),
        asker in askers(),
        is_udp in any::<bool>(),
    ) {
        let mut bytes = match base {
            0 => query("tasks.web.shop.", RecordType::A, Some(1_232)),
            1 => query("100.1.1.10.in-addr.arpa.", RecordType::PTR, None),
            2 => query("_http._tcp.web.", RecordType::SRV, Some(600)),
            3 => query("tasks.web.shop.", RecordType::AAAA, None),
            4 => query(&format!("{}.", nibbles("fd00:2::64")), RecordType::PTR, None),
            _ => Vec::new(),
        };
        for (at, byte) in changes {
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
        }
        bytes.extend(tail);
        bytes.truncate(length);
        let transport = if is_udp { Transport::Udp } else { Transport::Tcp };
        if let Some(said) = reply(&bytes, asker, transport) {
            prop_assert!(said.len() >= 12 && said[..2] == bytes[..2] && said[2] & 0x80 != 0);
            prop_assert!(!is_udp || said.len() <= 1_232);
            prop_assert!(Message::from_vec(&said).is_ok());
        }
        // As a resolver's answer it is no better.
        let asked = query("web.", RecordType::A, None);
        prop_assert!(!is_answer(&asked, &bytes) || bytes[..2] == asked[..2]);
        is_answer(&bytes, &asked);
    }

    #[test]
    fn nobody_hears_an_address_of_a_network_that_it_is_not_on(
        asker in askers(),
        first in "(web|db|idle|cache|www|store|guest|tasks.web|1.web|3.web|tasks.db|tasks.cache|_http._tcp.web|_sql._tcp.db)",
        rest in "(|.shop|.lab)",
        kind in prop::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Any, Kind::Srv]),
    ) {
        let book = Book::new(&state());
        let name = Some(format!("{first}{rest}"));
        let question = Question { name, kind, is_internet: true };
        let Answer::Records(records) = answer(&book, asker, &question, 0) else {
            return Ok(());
        };
        let [_, _, own, last] = asker.octets();
        for record in records {
            let addresses: Vec<IpAddr> = match record {
                Record::Address(address) => vec![address],
                Record::Port(_, _, address, other) => {
                    [address.into()].into_iter().chain(other.map(IpAddr::from)).collect()
                }
                Record::Name(_) => continue,
            };
            for address in addresses {
                let third = match address {
                    IpAddr::V4(address) => u16::from(address.octets()[2]),
                    IpAddr::V6(address) => address.segments()[1],
                };
                let own = u16::from(own);
                let is_on_both = last == 13 && own < 3 && third < 3;
                prop_assert!(third == own || is_on_both, "{asker} hears {address}");
            }
        }
    }

    #[test]
    fn addresses_of_version_6_are_those_that_go_with_those_of_version_4_and_lead_back_to_the_same_names(
        asker in askers(),
        first in "(web|db|idle|late|cache|www|store|guest|c0ffee|tasks.web|1.web|3.web|9.web|tasks.db|tasks.cache|com)",
        rest in "(|.shop|.lab)",
        turn in 0..5usize,
    ) {
        let state = state();
        let book = Book::new(&state);
        let told = |name: String, kind| {
            let question = Question { name: Some(name), kind, is_internet: true };
            answer(&book, asker, &question, turn)
        };
        let (one, other) = (told(format!("{first}{rest}"), Kind::A), told(format!("{first}{rest}"), Kind::Aaaa));
        let (Answer::Records(own), Answer::Records(others)) = (&one, &other) else {
            prop_assert_eq!(one, other, "whether there is such a name does not depend on what of it is asked for");
            return Ok(());
        };
        let expected = own.iter().filter_map(|record| match record {
            Record::Address(IpAddr::V4(address)) => state.version6(*address),
            _ => None,
        });
        let expected: Vec<Record> = expected.map(|address| Record::Address(address.into())).collect();
        prop_assert_eq!(others, &expected);
        for (own, other) in own.iter().zip(others) {
            let (Record::Address(IpAddr::V4(own)), Record::Address(IpAddr::V6(other))) = (own, other) else {
                panic!("{own:?} {other:?}");
            };
            let [a, b, c, d] = own.octets();
            let of_own = told(format!("{d}.{c}.{b}.{a}.in-addr.arpa"), Kind::Ptr);
            prop_assert!(matches!(&of_own, Answer::Records(names) if names.len() == 1));
            prop_assert_eq!(of_own, told(nibbles(&other.to_string()), Kind::Ptr));
        }
    }
}
