//! Names, asked as tasks ask them: over UDP and TCP, of the agent at their gateway.

use super::cluster::{BLUE, Cluster, GREEN, at, container, inside, outside};
use super::namespace::Namespace;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use skep::api::unit::Port;
use skep::dataplane::dns::names::{Names, ServiceNames, TaskName};
use skep::dataplane::probe::{Asked, Outcome, Probe};
use skep::dataplane::state::Vni;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

/// Longer than the agent asks others.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long what is silent is listened to.
const SHORT: Duration = Duration::from_millis(700);

/// The text that does not fit into a datagram.
const LONG: usize = 3_000;

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn by_datagram(
    from: &Namespace,
    to: Ipv4Addr,
    question: &[u8],
    patience: Duration,
) -> io::Result<Message> {
    let socket = from.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect(at(to, 53))?;
    socket.send(question)?;
    let mut buffer = [0; 4_096];
    let length = socket.recv(&mut buffer)?;
    Ok(Message::from_vec(&buffer[..length]).unwrap())
}

fn by_stream(from: &Namespace, to: Ipv4Addr, questions: &[Vec<u8>]) -> io::Result<Vec<Message>> {
    let mut stream = from.within(|| TcpStream::connect(at(to, 53)))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answers = Vec::new();
    for question in questions {
        write_framed(&mut stream, question)?;
        answers.push(Message::from_vec(&read_framed(&mut stream)?).unwrap());
    }
    Ok(answers)
}

fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, message].concat())
}

fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// What an answer says, in words.
fn said(answer: &Message) -> String {
    let code = answer.metadata.response_code;
    if code != ResponseCode::NoError {
        return format!("{code:?}");
    }
    let mut words: Vec<String> = answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    words.sort();
    let cut = if answer.metadata.truncation {
        "cut "
    } else {
        ""
    };
    format!("{cut}{}", words.join(" "))
}

/// What a task is told.
fn told(cluster: &Cluster, vni: Vni, last: u8, kind: RecordType, name: &str) -> String {
    let task = cluster.task(inside(vni, last));
    let answer = by_datagram(task, inside(vni, 1), &query(name, kind), PATIENCE);
    let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
    said(&answer)
}

/// The resolver of the nodes' site: it knows two names, says nothing to a third, and that there is no other.
fn site(cluster: &Cluster) -> Namespace {
    let space = Namespace::new();
    cluster.plug(&space, outside(53));
    let (udp, tcp) = space.within(|| {
        let any = (Ipv4Addr::UNSPECIFIED, 53);
        (
            UdpSocket::bind(any).unwrap(),
            TcpListener::bind(any).unwrap(),
        )
    });
    thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            if let Some(answer) = site_answer(&buffer[..length]) {
                let is_long = answer
                    .answers
                    .iter()
                    .any(|record| record.record_type() == RecordType::TXT);
                let answer = if is_long { answer.truncate() } else { answer };
                // A client that is gone does not matter.
                let _ = udp.send_to(&answer.to_vec().unwrap(), from);
            }
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            while let Ok(question) = read_framed(&mut stream) {
                let Some(answer) = site_answer(&question) else {
                    break;
                };
                if write_framed(&mut stream, &answer.to_vec().unwrap()).is_err() {
                    break;
                }
            }
        }
    });
    space
}

fn site_answer(question: &[u8]) -> Option<Message> {
    let asked = Message::from_vec(question).unwrap();
    let query = asked.queries[0].clone();
    let mut answer = Message::response(asked.metadata.id, OpCode::Query);
    answer.add_query(query.clone());
    let record = |data| Record::from_rdata(query.name.clone(), 60, data);
    match query.name.to_ascii().as_str() {
        "example.test." => {
            answer.add_answer(record(RData::A(A(Ipv4Addr::new(198, 51, 100, 7)))));
        }
        "long.test." => {
            let texts = vec!["x".repeat(250); LONG / 250];
            answer.add_answer(record(RData::TXT(TXT::new(texts))));
        }
        "silent.test." => return None,
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    Some(answer)
}

fn task(slot: &str, addresses: &[(Vni, u8)]) -> (String, TaskName) {
    let addresses = addresses
        .iter()
        .map(|(vni, last)| (*vni, inside(*vni, *last)));
    let task = TaskName {
        slot: slot.into(),
        addresses: addresses.collect(),
    };
    (format!("shop_web.{slot}.id{slot}"), task)
}

/// `web` is on blue with a task on each of two nodes, `db` on green with one; a resolver of the site behind one that is gone,
/// and behind ourselves.
fn shop() -> (Cluster, Namespace) {
    let mut cluster = Cluster::new(2, false);
    let site = site(&cluster);
    for node in &cluster.nodes {
        let text = format!(
            "nameserver {}\nnameserver {}\nnameserver {}\n",
            inside(BLUE, 1),
            outside(99),
            outside(53)
        );
        std::fs::write(node.resolv_conf(), text).unwrap();
    }
    cluster.start(BLUE, 11, 1);
    cluster.start(BLUE, 21, 2);
    cluster.start(GREEN, 12, 1);
    cluster.serve(BLUE, 200, &[11, 21]);
    let web = ServiceNames {
        networks: [(BLUE, Some(inside(BLUE, 200)))].into(),
        ports: [("http/tcp".to_owned(), Port(80))].into(),
        tasks: [task("1", &[(BLUE, 11)]), task("2", &[(BLUE, 21)])].into(),
        ..ServiceNames::default()
    };
    let db = ServiceNames {
        networks: [(GREEN, None)].into(),
        is_round_robin: true,
        tasks: [task("3", &[(GREEN, 12)])].into(),
        ..ServiceNames::default()
    };
    let namespaces = [BLUE, GREEN].map(|vni| (vni, "shop".to_owned()));
    cluster.wanted.names = Names {
        namespaces: namespaces.into(),
        services: [
            ("web.shop".to_owned(), web.into()),
            ("db.shop".to_owned(), db.into()),
        ]
        .into_iter()
        .collect(),
        ..Names::default()
    };
    cluster.settle();
    (cluster, site)
}

#[test]
fn who_asks_is_told_what_is_on_its_networks_on_every_node_over_udp_and_tcp() {
    let (mut cluster, _site) = shop();
    use RecordType::{A, AAAA, PTR, SRV};
    let both = "10.100.1.11 10.100.1.21";
    for (vni, last, kind, name, expected) in [
        (BLUE, 11, A, "web.", "10.100.1.200"),
        (BLUE, 21, A, "web.", "10.100.1.200"),
        (BLUE, 21, A, "WEB.Shop.", "10.100.1.200"),
        (BLUE, 11, A, "tasks.web.", both),
        (BLUE, 21, A, "1.web.", "10.100.1.11"),
        (BLUE, 21, A, "shop_web.1.id1.", "10.100.1.11"),
        (BLUE, 11, A, "3.web.", "NXDomain"),
        (BLUE, 11, AAAA, "web.", ""),
        (
            BLUE,
            11,
            PTR,
            "21.1.100.10.in-addr.arpa.",
            "shop_web.2.id2.shop.",
        ),
        (BLUE, 11, PTR, "12.2.100.10.in-addr.arpa.", "NXDomain"),
        (BLUE, 11, SRV, "_http._tcp.web.", "0 1 80 web.shop."),
        (BLUE, 11, A, "db.", "NXDomain"),
        (GREEN, 12, A, "db.", "10.100.2.12"),
        (GREEN, 12, A, "web.shop.", "NXDomain"),
    ] {
        let told = told(&cluster, vni, last, kind, name);
        assert_eq!(told, expected, "{last} of {vni:?} asks {kind} {name}");
    }
    let asks = [
        query("tasks.web.", A),
        query("9.web.", A),
        query("web.", AAAA),
    ];
    let answers = by_stream(cluster.task(inside(BLUE, 21)), inside(BLUE, 1), &asks).unwrap();
    let answers: Vec<String> = answers.iter().map(said).collect();
    assert_eq!(answers, [both, "NXDomain", ""]);
    // A container of the engine's own bridge, and the node itself from another address, are nobody's.
    let stranger = container(cluster.node(1), 7);
    let answer = by_datagram(&stranger, inside(BLUE, 1), &query("web.shop.", A), PATIENCE);
    assert_eq!(said(&answer.unwrap()), "Refused");
    // Who is on its way out is asked for no more once the agents have said that they know.
    let service = cluster.wanted.names.services.get_mut("web.shop").unwrap();
    service.tasks.remove("shop_web.1.id1");
    cluster.settle();
    for last in [11, 21] {
        assert_eq!(told(&cluster, BLUE, last, A, "tasks.web."), "10.100.1.21");
        assert_eq!(told(&cluster, BLUE, last, A, "1.web."), "NXDomain");
    }
    let report = cluster.nodes[0].until("counts what is asked", |report| {
        report.names.queries.get("ptr") == Some(&2) && report.names.refused == 1
    });
    assert!(report.names.unserved.is_empty(), "{report:?}");
}

#[test]
fn the_node_itself_tries_connections_and_names_and_says_what_came_of_it() {
    let (cluster, _site) = shop();
    let node = cluster.node(1);
    let probes = vec![
        Probe::Connect(at(inside(BLUE, 11), 80)),
        Probe::Connect(at(inside(BLUE, 21), 80)),
        Probe::Connect(at(inside(BLUE, 21), 81)),
        Probe::Connect(at(inside(BLUE, 77), 80)),
        Probe::Resolve(inside(BLUE, 1), "tasks.web.shop".into()),
        Probe::Resolve(inside(BLUE, 1), "db".into()),
        Probe::Resolve(inside(GREEN, 1), "db".into()),
    ];
    let asked = Asked {
        patience_ms: 5_000,
        probes,
    };
    let outcomes = node.probe(&asked);
    let addresses =
        |all: &[Ipv4Addr]| Outcome::Addresses(all.iter().map(|one| (*one).into()).collect());
    assert_eq!(
        outcomes[..3],
        [Outcome::Connected, Outcome::Connected, Outcome::Refused]
    );
    assert!(!outcomes[3].is_reached(), "{:?}", outcomes[3]);
    let expected = [
        addresses(&[inside(BLUE, 11), inside(BLUE, 21)]),
        addresses(&[]),
        addresses(&[inside(GREEN, 12)]),
    ];
    assert_eq!(outcomes[4..], expected);
}

#[test]
fn what_is_not_ours_is_asked_of_the_nodes_resolvers_and_a_dead_one_is_passed_over() {
    let (mut cluster, _site) = shop();
    use RecordType::{A, TXT};
    assert_eq!(told(&cluster, BLUE, 11, A, "example.test."), "198.51.100.7");
    assert_eq!(
        told(&cluster, GREEN, 12, A, "example.test."),
        "198.51.100.7"
    );
    assert_eq!(told(&cluster, BLUE, 21, A, "nothing.test."), "NXDomain");
    // What does not fit comes over TCP.
    assert_eq!(told(&cluster, BLUE, 11, TXT, "long.test."), "cut ");
    let long = by_stream(
        cluster.task(inside(BLUE, 11)),
        inside(BLUE, 1),
        &[query("long.test.", TXT)],
    );
    assert!(said(&long.unwrap()[0]).len() >= LONG);
    // Whom nobody answers is told so, before engines stop waiting; others are answered meanwhile.
    let task = cluster.task(inside(BLUE, 11));
    let asked = task
        .within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .unwrap();
    asked.connect(at(inside(BLUE, 1), 53)).unwrap();
    asked.send(&query("silent.test.", A)).unwrap();
    assert_eq!(told(&cluster, BLUE, 11, A, "web."), "10.100.1.200");
    asked
        .set_read_timeout(Some(Duration::from_secs(4)))
        .unwrap();
    let mut buffer = [0; 512];
    let length = asked.recv(&mut buffer).unwrap();
    assert_eq!(
        said(&Message::from_vec(&buffer[..length]).unwrap()),
        "ServFail"
    );
    cluster.nodes[0].until("counts what it asks others", |report| {
        report.names.forwarded >= 3 && report.names.failed == 1
    });
    // Without a resolver outside there is no name outside.
    std::fs::write(
        cluster.node(1).resolv_conf(),
        format!("nameserver {}\n", inside(GREEN, 1)),
    )
    .unwrap();
    cluster.settle();
    assert_eq!(told(&cluster, BLUE, 11, A, "example.test."), "ServFail");
    assert_eq!(told(&cluster, BLUE, 21, A, "example.test."), "198.51.100.7");
}

#[test]
fn names_come_and_go_with_networks_and_a_killed_agent_answers_again_from_its_disk() {
    let (mut cluster, _site) = shop();
    let ask = |cluster: &Cluster, vni: Vni, last: u8, patience: Duration| {
        let task = cluster.task(inside(vni, last));
        let answer = by_datagram(
            task,
            inside(vni, 1),
            &query("tasks.web.", RecordType::A),
            patience,
        );
        answer.map(|answer| said(&answer))
    };
    let both = "10.100.1.11 10.100.1.21";
    cluster.nodes[0].kill();
    let silence = ask(&cluster, BLUE, 11, SHORT);
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(ask(&cluster, BLUE, 21, PATIENCE).unwrap(), both);
    cluster.nodes[0].start_alone();
    cluster.nodes[0].until("does not serve", |report| {
        report.programmed.is_some() && report.names.unserved.is_empty()
    });
    assert_eq!(ask(&cluster, BLUE, 11, PATIENCE).unwrap(), both);
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    // A network that goes takes its address along, and is served again once it is back.
    let green = cluster.wanted.networks.remove(&GREEN).unwrap();
    let names = cluster.wanted.names.clone();
    cluster.wanted.names.namespaces.remove(&GREEN);
    for service in cluster.wanted.names.services.values_mut() {
        *service = service.of(|vni| *vni != GREEN).into();
    }
    cluster.settle();
    let node = &cluster.node(1).space;
    let listeners = |node: &Namespace| node.run("cat /proc/net/udp /proc/net/tcp");
    let listens = |node: &Namespace, vni: Vni| {
        let [a, b, c, d] = inside(vni, 1).octets();
        let address = format!("{d:02X}{c:02X}{b:02X}{a:02X}:0035");
        listeners(node).matches(&address).count()
    };
    assert_eq!((listens(node, BLUE), listens(node, GREEN)), (2, 0));
    cluster.wanted.networks.insert(GREEN, green);
    cluster.wanted.names = names;
    cluster.settle();
    let node = &cluster.node(1).space;
    assert_eq!((listens(node, BLUE), listens(node, GREEN)), (2, 2));
    assert_eq!(ask(&cluster, BLUE, 11, PATIENCE).unwrap(), both);
    // Removed, it leaves nothing that listens.
    cluster.nodes[0].remove();
    let node = &cluster.node(1).space;
    assert_eq!((listens(node, BLUE), listens(node, GREEN)), (0, 0));
}
