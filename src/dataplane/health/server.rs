//! The sockets on which health is told: HTTP, one answer for each connection, whatever is asked for.

use super::Answer;
use crate::api::service::Protocol;
use crate::api::unit::Port;
use crate::dataplane::state::PublishedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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

/// What is said, by the last call of [`Server::serve`].
type Answers = Arc<RwLock<Arc<BTreeMap<Port, Answer>>>>;

/// Answers on the ports that tell of health, as long as it lives.
pub struct Server {
    answers: Answers,
    streams: Arc<Semaphore>,
    listeners: BTreeMap<Port, Listener>,
    closed: BTreeSet<Port>,
}

/// The task that serves a port; it ends with it.
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
            .retain(|port, listener| ports.contains(port) && !listener.0.is_finished());
        self.closed.clear();
        for port in ports {
            if self.listeners.contains_key(&port) {
                continue;
            }
            match listen(port, self.answers.clone(), self.streams.clone()) {
                Ok(listener) => drop(self.listeners.insert(port, listener)),
                Err(_) => drop(self.closed.insert(port)),
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

/// Binds at once, so that it is known whether a port is served.
fn listen(port: Port, answers: Answers, streams: Arc<Semaphore>) -> io::Result<Listener> {
    let socket = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.0))?;
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    let task = tokio::spawn(accept(socket, port, answers, streams));
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

    async fn ask(port: Port) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.0))
            .await
            .unwrap();
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
        let said = ask(port).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        let body = r#"{"service":"default/web","serves":true,"tasks":1,"localTasks":0}"#;
        assert!(said.ends_with(&format!("\r\n\r\n{body}\n")), "{said}");
        server.serve([(port, told(false))].into());
        assert!(ask(port).await.starts_with("HTTP/1.1 503 "));
    }
}
