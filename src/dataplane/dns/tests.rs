//! Names in words: who asks what, and what is said; and that whatever arrives, nothing panics.

use super::answer::{Answer, Kind, Question, Record, answer};
use super::book::Book;
use super::message::{Read, Transport, is_answer, is_cut, query, read};
use crate::api::allocation::Vni;
use crate::dataplane::state::State;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// Three networks of two namespaces. `web` is on blue and green with three tasks, of which one is on both; `db` on green only,
/// without a virtual address; `cache` on red, which is internal; `idle` on blue without a task.
fn state() -> State {
    let text = r#"{
        "revision": 7, "node": 1, "members": {"1": "172.31.0.11"},
        "networks": {
            "1": {"subnet": "10.1.1.0/24", "gateway": "10.1.1.1", "mtu": 1450, "nodes": [1],
                "tasks": {"10.1.1.11": 1, "10.1.1.12": 1, "10.1.1.13": 1, "10.1.1.14": 1}},
            "2": {"subnet": "10.1.2.0/24", "gateway": "10.1.2.1", "mtu": 1450, "nodes": [1],
                "tasks": {"10.1.2.13": 1, "10.1.2.21": 1, "10.1.2.22": 1}},
            "3": {"subnet": "10.1.3.0/24", "gateway": "10.1.3.1", "mtu": 1450, "internal": true, "nodes": [1],
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
                Record::Port(port, name, address) => format!("{name}:{port}={address}"),
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
    let tasks = "shop_db.n1.d.shop:5432=10.1.2.21 shop_db.n2.example.com.e.shop:5432=10.1.2.22";
    check("10.1.2.21", &[("SRV _sql._tcp.db", tasks)]);
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

fn message(name: &str, kind: RecordType, payload: Option<u16>) -> (Vec<u8>, Message) {
    let bytes = query(name, kind, payload);
    let said = reply(&bytes, ASKER, Transport::Udp).expect("it is answered");
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
        base in 0..4usize,
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
        first in "(web|db|idle|cache|www|store|tasks.web|1.web|3.web|tasks.db|tasks.cache|_http._tcp.web|_sql._tcp.db)",
        rest in "(|.shop|.lab)",
        kind in prop::sample::select(vec![Kind::A, Kind::Any, Kind::Srv]),
    ) {
        let book = Book::new(&state());
        let name = Some(format!("{first}{rest}"));
        let question = Question { name, kind, is_internet: true };
        let Answer::Records(records) = answer(&book, asker, &question, 0) else {
            return Ok(());
        };
        let [_, _, own, last] = asker.octets();
        for record in records {
            let address = match record {
                Record::Address(address) | Record::Port(_, _, address) => address,
                Record::Name(_) => continue,
            };
            let third = address.octets()[2];
            let is_on_both = last == 13 && own < 3 && third < 3;
            prop_assert!(third == own || is_on_both, "{asker} hears {address}");
        }
    }
}
