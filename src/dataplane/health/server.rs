//! The sockets on which health is told: HTTP, one answer for each connection, whatever is asked for.
//!
//! Each port has one for IPv4 and one for IPv6, so that neither is missing where the other is not to be had: a kernel may have no IPv6,
//! and a program of the node may listen on one of the two.

use super::Answer;
use crate::api::service::Protocol;
use crate::api::unit::Port;
use crate::dataplane::state::PublishedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Connections at once, to all ports.
const STREAMS: usize = 128;

/// How long a question and its answer may take: load balancers ask every few seconds and wait no longer.
const IDLE: Duration = Duration::from_secs(5);

/// The longest question that is read: what headers commonly may be at most.
const QUESTION: u64 = 8 << 10;

/// How long nobody is accepted after the kernel refused to accept one (too many files are open).
const REST: Duration = Duration::from_millis(100);

/// Where each port is served.
const EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// Connections that wait for being accepted, of each socket: as many as are accepted at once.
const WAITING: u32 = 128;

/// What is said, by the last call of [`Server::serve`].
type Answers = Arc<RwLock<Arc<BTreeMap<Port, Answer>>>>;

/// Answers on the ports that tell of health, as long as it lives.
pub struct Server {
    answers: Answers,
    streams: Arc<Semaphore>,
    listeners: BTreeMap<SocketAddr, Listener>,
    closed: BTreeSet<Port>,
}

/// The task that serves a socket; it ends with it.
struct Listener(AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            answers: Answers::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            listeners: BTreeMap::new(),
            closed: BTreeSet::new(),
        }
    }
}

impl Server {
    /// Says this from now on. A port that is not free is tried again with the next call.
    pub fn serve(&mut self, answers: BTreeMap<Port, Answer>) {
        let ports: BTreeSet<Port> = answers.keys().copied().collect();
        let mut said = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        *said = Arc::new(answers);
        drop(said);
        self.listeners
            .retain(|at, listener| ports.contains(&Port(at.port())) && !listener.0.is_finished());
        self.closed.clear();
        let everywhere = |port: Port| EVERYWHERE.map(|address| SocketAddr::new(address, port.0));
        for at in ports.into_iter().flat_map(everywhere) {
            if self.listeners.contains_key(&at) {
                continue;
            }
            match listen(at, self.answers.clone(), self.streams.clone()) {
                Ok(listener) => drop(self.listeners.insert(at, listener)),
                Err(error) if is_missed(at, &error) => drop(self.closed.insert(Port(at.port()))),
                Err(_) => {}
            }
        }
    }

    /// The ports that are somebody else's on this node.
    pub fn closed(&self) -> BTreeSet<PublishedKey> {
        let key = |port: &Port| PublishedKey {
            protocol: Protocol::Tcp,
            port: *port,
            address: None,
        };
        self.closed.iter().map(key).collect()
    }
}

/// Whether a socket that cannot be had is missed. One of IPv6 is if somebody else has it: there are nodes without IPv6.
fn is_missed(at: SocketAddr, error: &io::Error) -> bool {
    at.is_ipv4() || error.kind() == io::ErrorKind::AddrInUse
}

/// Binds at once, so that it is known whether a port is served.
fn listen(at: SocketAddr, answers: Answers, streams: Arc<Semaphore>) -> io::Result<Listener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    // Connections that ended a moment ago hold no port.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    let socket = socket.listen(WAITING)?;
    let task = tokio::spawn(accept(socket, Port(at.port()), answers, streams));
    Ok(Listener(task.abort_handle()))
}

async fn accept(socket: TcpListener, port: Port, answers: Answers, streams: Arc<Semaphore>) {
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            sleep(REST).await;
            continue;
        };
        // Who comes when all places are taken is hung up on: a check that fails is asked again.
        let Ok(place) = streams.clone().try_acquire_owned() else {
            continue;
        };
        let answers = answers.clone();
        tokio::spawn(async move {
            let _ = timeout(IDLE, answer(stream, port, &answers)).await;
            drop(place);
        });
    }
}

/// Reads a question to its end, and says what there is to say now.
async fn answer(mut stream: TcpStream, port: Port, answers: &Answers) -> io::Result<()> {
    let mut question = Vec::new();
    let (reader, mut writer) = stream.split();
    let mut reader = reader.take(QUESTION);
    while !question.windows(4).any(|end| end == b"\r\n\r\n") {
        if reader.read_buf(&mut question).await? == 0 {
            break;
        }
    }
    let said = {
        let answers = answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(&port).map(response)
    };
    if let Some(said) = said {
        writer.write_all(said.as_bytes()).await?;
    }
    writer.shutdown().await
}

fn response(answer: &Answer) -> String {
    let status = match answer.serves {
        true => "200 OK",
        false => "503 Service Unavailable",
    };
    let body = serde_json::to_string(answer).expect("an answer has only text keys") + "\n";
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(serves: bool) -> Answer {
        Answer {
            service: "default/web".into(),
            serves,
            tasks: usize::from(serves),
            local_tasks: 0,
            closed: BTreeSet::new(),
        }
    }

    async fn ask(address: impl Into<IpAddr>, port: Port) -> String {
        let at = SocketAddr::new(address.into(), port.0);
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn what_is_told_changes_and_a_port_that_is_taken_is_tried_again() {
        let other = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = Port(other.local_addr().unwrap().port());
        let mut server = Server::default();
        server.serve([(port, told(true))].into());
        let closed: Vec<Port> = server.closed().iter().map(|key| key.port).collect();
        assert_eq!(closed, [port]);
        drop(other);
        server.serve([(port, told(true))].into());
        assert!(server.closed().is_empty());
        let said = ask(Ipv4Addr::LOCALHOST, port).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        let body = r#"{"service":"default/web","serves":true,"tasks":1,"localTasks":0}"#;
        assert!(said.ends_with(&format!("\r\n\r\n{body}\n")), "{said}");
        server.serve([(port, told(false))].into());
        let said = ask(Ipv4Addr::LOCALHOST, port).await;
        assert!(said.starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn it_is_told_over_ipv6_too_and_over_ipv4_alone_where_somebody_else_has_that() {
        let other = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
            .expect("this test needs IPv6 on the loopback");
        let port = Port(other.local_addr().unwrap().port());
        let mut server = Server::default();
        server.serve([(port, told(true))].into());
        let closed: Vec<Port> = server.closed().iter().map(|key| key.port).collect();
        assert_eq!(closed, [port]);
        let said = ask(Ipv4Addr::LOCALHOST, port).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        drop(other);
        server.serve([(port, told(false))].into());
        assert!(server.closed().is_empty());
        for address in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let said = ask(address, port).await;
            assert!(said.starts_with("HTTP/1.1 503 "), "{address}: {said}");
        }
        server.serve(BTreeMap::new());
        let again = |address: IpAddr| async move {
            // The task that has the socket ends a moment later.
            while TcpListener::bind((address, port.0)).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        for address in EVERYWHERE {
            let ended = timeout(Duration::from_secs(60), again(address)).await;
            assert!(ended.is_ok(), "{address} is still served");
        }
    }

    #[test]
    fn a_kernel_without_ipv6_misses_no_socket() {
        let error = io::Error::from_raw_os_error;
        let [version4, version6] = EVERYWHERE.map(|address| SocketAddr::new(address, 80));
        for absent in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
            assert!(!is_missed(version6, &error(absent)));
            assert!(is_missed(version4, &error(absent)));
        }
        assert!(is_missed(version6, &error(libc::EADDRINUSE)));
    }
}
