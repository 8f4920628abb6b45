//! Clients and servers: everybody says who it is and who it thinks it talks to.

use super::namespace::Namespace;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket, sockopt,
};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

/// Long enough that only what never comes misses it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait for what must not come.
const SHORT: Duration = Duration::from_millis(700);

/// What a server said: its name and whom it saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    /// The server.
    pub(crate) name: String,
    /// Its client.
    pub(crate) client: IpAddr,
    /// Its client's port.
    pub(crate) port: u16,
}

fn answer(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    let name = words.next()?.to_owned();
    let client: SocketAddr = words.next()?.parse().ok()?;
    Some(Answer {
        name,
        client: client.ip().to_canonical(),
        port: client.port(),
    })
}

/// Serves TCP and UDP of both versions on a port until the program ends: each line or datagram is answered.
pub(crate) fn serve(namespace: &Namespace, name: &str, port: u16) {
    let (tcp, udp) = namespace.within(|| {
        let any = (Ipv6Addr::UNSPECIFIED, port);
        (
            TcpListener::bind(any).unwrap(),
            UdpSocket::bind(any).unwrap(),
        )
    });
    let called = name.to_owned();
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let called = called.clone();
            thread::spawn(move || converse(&stream, &called));
        }
    });
    let called = name.to_owned();
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let text = format!("{called} {from} {length}");
            // A client that is gone does not matter.
            let _ = udp.send_to(text.as_bytes(), from);
        }
    });
}

fn converse(stream: &TcpStream, name: &str) {
    let Ok(client) = stream.peer_addr() else {
        return;
    };
    let lines = BufReader::new(stream).lines();
    for _ in lines.map_while(Result::ok) {
        let mut out = stream;
        if writeln!(out, "{name} {client}").is_err() {
            return;
        }
    }
}

/// A conversation over TCP.
pub(crate) struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    pub(crate) fn open(from: &Namespace, to: SocketAddr) -> io::Result<Self> {
        let stream = from.within(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        Ok(Self::over(stream))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Says something and returns the answer.
    pub(crate) fn ask(&mut self) -> io::Result<Answer> {
        writeln!(self.stream.get_mut(), "who")?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        answer(&line).ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))
    }
}

/// Asks over a new connection.
pub(crate) fn tcp(from: &Namespace, to: SocketAddr) -> io::Result<Answer> {
    Talk::open(from, to)?.ask()
}

/// Whether a new connection is dropped without a word.
pub(crate) fn is_silent(from: &Namespace, to: SocketAddr) -> bool {
    let result = from.within(|| TcpStream::connect_timeout(&to, SHORT));
    result.is_err_and(|error| error.kind() == ErrorKind::TimedOut)
}

/// Asks with a datagram of `length` bytes; the answer, and how many bytes the server got.
pub(crate) fn udp(from: &Namespace, to: SocketAddr, length: usize) -> io::Result<(Answer, usize)> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let asker = from.within(|| UdpSocket::bind((any, 0)))?;
    asker.connect(to)?;
    ask_udp(&asker, length)
}

/// Asks from a socket that stays.
pub(crate) fn ask_udp(asker: &UdpSocket, length: usize) -> io::Result<(Answer, usize)> {
    asker.set_read_timeout(Some(SHORT))?;
    let mut buffer = [0; 1 << 10];
    let mut last = io::Error::from(ErrorKind::TimedOut);
    // The first ones may be lost to the discovery of the path's largest packet.
    for _ in 0..20 {
        if let Err(error) = asker.send(&vec![b'x'; length]) {
            if error.kind() == ErrorKind::ConnectionRefused {
                return Err(error);
            }
            last = error;
            continue;
        }
        match asker.recv(&mut buffer) {
            Ok(got) => {
                let text = String::from_utf8_lossy(&buffer[..got]).into_owned();
                let size = text
                    .split_whitespace()
                    .nth(2)
                    .and_then(|size| size.parse().ok());
                return answer(&text)
                    .zip(size)
                    .ok_or_else(|| ErrorKind::InvalidData.into());
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether a ping is answered.
pub(crate) fn ping(from: &Namespace, to: IpAddr) -> bool {
    // An echo request, its answer, and where that begins in what is received: of IPv4 behind the header of 20 bytes.
    let (family, protocol, request, reply, start) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0, 20),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129, 0),
    };
    from.within(|| {
        let icmp = socket(family, SocketType::RAW, Some(protocol)).expect("root pings");
        sockopt::set_socket_timeout(&icmp, sockopt::Timeout::Recv, Some(SHORT)).unwrap();
        let target = SocketAddr::new(to, 0);
        // With a number of its own in it.
        for number in 1..=10_u8 {
            let mut packet = [request, 0, 0, 0, 0x53, 0x6b, 0, number];
            // Of IPv6 the kernel puts it, as addresses are part of it.
            let sum = checksum(&packet).to_be_bytes();
            packet[2..4].copy_from_slice(&sum);
            let mut buffer = [0; 256];
            if sendto(&icmp, &packet, SendFlags::empty(), &target).is_err() {
                continue;
            }
            while let Ok((length, _)) = recv(&icmp, &mut buffer[..], RecvFlags::empty()) {
                let found = buffer[..length].get(start..).unwrap_or_default();
                if found.len() >= 8 && found[0] == reply && found[4..8] == packet[4..8] {
                    return true;
                }
            }
        }
        false
    })
}

fn checksum(packet: &[u8]) -> u16 {
    let words = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}
