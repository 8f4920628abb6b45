//! What stays on bridges, and how connections live through a change of that.

use super::cluster::{BLUE, Cluster, Form, at, inside};
use super::namespace::Namespace;
use super::traffic::{Talk, tcp};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use skep::dataplane::connections::Connection;
use skep::dataplane::host::{Host, Linux};
use skep::dataplane::kernel::tunnel_name;
use skep::dataplane::state::NodeIndex;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Two nodes with a task each, of which the second is a service.
fn pair(form: Form, bridges_call_iptables: bool) -> (Cluster, Ipv4Addr) {
    let mut cluster = Cluster::of(form, 2, bridges_call_iptables, false);
    cluster.start(BLUE, 11, 1);
    cluster.start(BLUE, 21, 2);
    let service = cluster.serve(BLUE, 200, &[21]);
    cluster.settle();
    cluster.hand_on();
    (cluster, service)
}

/// The connections to an address that a node's kernel tracks.
fn tracked(cluster: &Cluster, index: u16, to: Ipv4Addr) -> Vec<Connection> {
    let all = cluster.node(index).space.within(|| {
        let mut kernel = Linux::open().unwrap();
        kernel.connections().unwrap()
    });
    let is_to = |one: &Connection| one.target == to && one.protocol == 6;
    all.into_iter().filter(is_to).collect()
}

#[test]
fn what_tasks_say_to_each_other_passes_routers_only_where_it_must() {
    let (client, server) = (inside(BLUE, 11), inside(BLUE, 21));
    for (form, direct, translated) in [
        (Form::Lifted, [1, 1], [1, 1]),
        (Form::Bridged, [0, 0], [1, 0]),
        (Form::Fast, [0, 0], [1, 0]),
    ] {
        for (to_service, expected) in [(false, direct), (true, translated)] {
            let (cluster, service) = pair(form, false);
            let to = if to_service { service } else { server };
            let answer = tcp(cluster.task(client), at(to, 80)).unwrap();
            assert_eq!(answer.client, client);
            let seen = [1, 2].map(|node| tracked(&cluster, node, server).len());
            assert_eq!(seen, expected, "{form:?}, to {to}");
        }
    }
}

/// A connection of which only the server speaks.
struct Silent {
    client: TcpStream,
    server: TcpStream,
}

impl Silent {
    fn open(cluster: &Cluster, to: Ipv4Addr, listener: &TcpListener) -> Self {
        let task = cluster.task(inside(BLUE, 11));
        let port = listener.local_addr().unwrap().port();
        let client = task.within(|| TcpStream::connect(at(to, port))).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (server, _) = listener.accept().unwrap();
        Self { client, server }
    }

    fn hears(&mut self) {
        self.server.write_all(b"x").unwrap();
        let heard = self.client.read_exact(&mut [0]);
        heard.expect("the client hears what the server says first");
    }
}

#[test]
fn connections_survive_when_frames_begin_to_stay_on_bridges_and_when_they_end() {
    for bridges_call_iptables in [false, true] {
        survive(Form::Bridged, bridges_call_iptables, "bridge");
    }
}

#[test]
fn connections_survive_when_frames_begin_to_go_from_link_to_link_and_when_they_end() {
    for bridges_call_iptables in [false, true] {
        survive(Form::Fast, bridges_call_iptables, "netdev");
    }
}

/// `family` has the table that tells which frames do not pass the router.
fn survive(form: Form, bridges_call_iptables: bool, family: &str) {
    let (mut cluster, service) = pair(form, bridges_call_iptables);
    let network = cluster.wanted.networks.get_mut(&BLUE).unwrap();
    network.bridged.clear();
    cluster.settle();
    let (client, server) = (inside(BLUE, 11), inside(BLUE, 21));
    let listener = cluster
        .task(server)
        .within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9_000)))
        .unwrap();
    let addresses = [server, service];
    let mut silent = addresses.map(|to| Silent::open(&cluster, to, &listener));
    let mut talks = addresses.map(|to| Talk::open(cluster.task(client), at(to, 80)).unwrap());
    let first = talks.each_mut().map(|talk| talk.ask().unwrap());
    for is_bridged in [true, false, true] {
        let network = cluster.wanted.networks.get_mut(&BLUE).unwrap();
        network.bridged = match is_bridged {
            true => network.tasks.keys().copied().collect(),
            false => Default::default(),
        };
        cluster.settle();
        cluster.hand_on();
        silent.iter_mut().for_each(Silent::hears);
        assert_eq!(talks.each_mut().map(|talk| talk.ask().unwrap()), first);
        for to in addresses {
            tcp(cluster.task(client), at(to, 80)).unwrap();
        }
    }
    // By hand all that was remembered is forgotten; the agent asks the kernel for it.
    let before = cluster.node(1).drift("nftables");
    let gone = format!("nft delete table {family} skep");
    cluster.node(1).space.run(&gone);
    cluster.nodes[0].until("mends its table", |report| {
        report.drift.get("nftables").copied().unwrap_or(0) > before && report.trouble.is_none()
    });
    silent.iter_mut().for_each(Silent::hears);
    assert_eq!(talks.each_mut().map(|talk| talk.ask().unwrap()), first);
}

/// Connects from a port that may be in use for another connection.
fn connect_from(space: &Namespace, port: u16, to: SocketAddr) -> TcpStream {
    let stream = space.within(|| {
        let one = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&one, true).unwrap();
        sockopt::set_socket_timeout(&one, sockopt::Timeout::Send, Some(PATIENCE)).unwrap();
        bind(&one, &at(Ipv4Addr::UNSPECIFIED, port)).unwrap();
        connect(&one, &to).unwrap_or_else(|error| panic!("{to} from port {port}: {error}"));
        one
    });
    stream.into()
}

#[test]
fn a_direct_connection_may_have_the_ports_of_a_translated_one() {
    let forms = [Form::Bridged, Form::Fast].map(|form| [(form, false), (form, true)]);
    for (form, bridges_call_iptables) in forms.into_iter().flatten() {
        let (cluster, service) = pair(form, bridges_call_iptables);
        let (client, server) = (inside(BLUE, 11), inside(BLUE, 21));
        let task = cluster.task(client);
        let mut translated = Talk::over(connect_from(task, 33_333, at(service, 80)));
        let first = translated.ask().unwrap();
        assert_eq!((first.client, first.port), (client.into(), 33_333));
        let mut direct = Talk::over(connect_from(task, 33_333, at(server, 80)));
        let other = direct.ask().unwrap();
        assert_eq!(other.client, client);
        assert_ne!(other.port, 33_333, "two of the server's would be one");
        assert_eq!(translated.ask().unwrap(), first);
        assert_eq!(direct.ask().unwrap(), other);
    }
}

/// The packets that a node's tunnel of blue has taken in.
fn arrived(cluster: &Cluster, index: u16) -> u64 {
    let said = cluster.node(index).space.run("cat /proc/net/dev");
    let name = format!("{}:", tunnel_name(BLUE));
    let mut lines = said.lines().map(str::split_whitespace);
    let of_tunnel = lines.find_map(|mut words| (words.next() == Some(&name)).then_some(words));
    // Bytes, then packets.
    let packets = of_tunnel.and_then(|mut words| words.nth(1));
    packets.unwrap().parse().unwrap()
}

#[test]
fn nodes_that_take_each_other_for_a_tasks_do_not_send_its_frames_to_and_fro() {
    for form in [Form::Bridged, Form::Fast] {
        let (mut cluster, _) = pair(form, true);
        let lost = inside(BLUE, 31);
        let mut wanted = cluster.wanted.clone();
        wanted.revision.0 += 1;
        for (index, other) in [(1, 2), (2, 1)] {
            let network = wanted.networks.get_mut(&BLUE).unwrap();
            network.tasks.insert(lost, NodeIndex(other));
            network.bridged.insert(lost);
            cluster.node(index).program(&wanted);
        }
        for node in &mut cluster.nodes {
            node.wait(wanted.revision);
        }
        let before = [1, 2].map(|index| arrived(&cluster, index));
        cluster.task(inside(BLUE, 11)).within(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.send_to(b"x", at(lost, 80)).unwrap();
        });
        // Frames that go to and fro never end.
        let (mut after, mut looks) = (before, 0..40);
        loop {
            thread::sleep(Duration::from_millis(50));
            let now = [1, 2].map(|index| arrived(&cluster, index));
            let is_over = now == after && now != before;
            after = now;
            if is_over || looks.next().is_none() {
                break;
            }
        }
        let sent: u64 = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .sum();
        // Routers take one from its time to live each time: 64 at most, and a word back that it was too long.
        assert!((1..=80).contains(&sent), "{form:?}: {sent} frames");
    }
}
