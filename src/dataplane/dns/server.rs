//! Sockets on the gateway addresses, and the limits of what is done at once.

use super::answer::{Answer, answer};
use super::book::Book;
use super::counts::{Counts, NamesReport, Outcome};
use super::forward::{self, Reply, forward};
use super::message::{Read, Request, Transport, read};
use super::names::Names;
use super::resolvers::resolvers;
use crate::dataplane::address::{Cidr, Cidr6};
use crate::dataplane::shared::Shared as Held;
use crate::dataplane::state::{Network, State, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// The port of DNS.
const PORT: u16 = 53;

/// The largest question by datagram.
const DATAGRAM: usize = 4_096;

/// Questions that wait for the node's resolvers at once, a socket each.
const FORWARDS: usize = 512;

/// Those of them from one asker: one that floods takes no other's turn.
const FORWARDS_EACH: usize = 64;

/// Connections at once.
const STREAMS: usize = 128;

/// How long a connection may say nothing (RFC 7766 asks for seconds).
const IDLE: Duration = Duration::from_secs(10);

/// Questions over one connection.
const QUESTIONS: usize = 256;

/// Answers on the gateway addresses of a node, as long as it lives.
pub struct Server {
    shared: Arc<Shared>,
    resolv_conf: PathBuf,
    listeners: BTreeMap<Ipv4Addr, Listener>,
    unserved: BTreeMap<Ipv4Addr, String>,
    /// What the book was made from.
    made_from: Option<Source>,
}

/// What a book and its resolvers are made from. A state's revision is no part of it: most revisions change no name, and a
/// state that was written by hand may change one under the same.
struct Source {
    names: Names,
    /// The networks; only [`Named`] of them counts.
    networks: Networks,
    /// The text of the file of resolvers.
    resolv_conf: String,
}

impl Source {
    fn new(state: &State, resolv_conf: String) -> Self {
        Self {
            names: state.names.clone(),
            networks: state.networks.clone(),
            resolv_conf,
        }
    }

    /// Whether another one would be the same.
    fn is_of(&self, state: &State, resolv_conf: &str) -> bool {
        self.resolv_conf == resolv_conf
            && named(&self.networks).eq(named(&state.networks))
            && self.names == state.names
    }
}

type Networks = BTreeMap<Vni, Held<Network>>;

/// What a book has of a network.
#[derive(PartialEq, Eq)]
struct Named<'a> {
    vni: Vni,
    subnet: Cidr,
    gateway: Ipv4Addr,
    subnet6: Option<Cidr6>,
    addresses6: &'a BTreeMap<Ipv4Addr, Ipv6Addr>,
    is_internal: bool,
}

fn named(networks: &Networks) -> impl Iterator<Item = Named<'_>> {
    networks.iter().map(|(vni, network)| Named {
        vni: *vni,
        subnet: network.subnet,
        gateway: network.gateway,
        subnet6: network.subnet6,
        addresses6: &network.addresses6,
        is_internal: network.internal,
    })
}

/// What all sockets need.
struct Shared {
    known: RwLock<Arc<Known>>,
    counts: Counts,
    forwards: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Forwards of each asker.
    by_asker: RwLock<BTreeMap<IpAddr, usize>>,
    turn: AtomicUsize,
}

/// What is known at a moment.
#[derive(Default)]
struct Known {
    book: Book,
    resolvers: Vec<SocketAddr>,
}

/// The tasks that serve an address; they end with it.
struct Listener(AbortHandle, AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
        self.1.abort();
    }
}

impl Server {
    /// One that serves nothing yet. The file says which resolvers the node asks; it is read again with every call of
    /// [`Server::serve`].
    pub fn new(resolv_conf: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                known: RwLock::default(),
                counts: Counts::default(),
                forwards: Arc::new(Semaphore::new(FORWARDS)),
                streams: Arc::new(Semaphore::new(STREAMS)),
                by_asker: RwLock::default(),
                turn: AtomicUsize::new(0),
            }),
            resolv_conf,
            listeners: BTreeMap::new(),
            unserved: BTreeMap::new(),
            made_from: None,
        }
    }

    /// Answers by this state from now on, on the gateways of its networks but the refused ones. An address that is not
    /// there yet, or not free, is tried again with the next call.
    pub fn serve(&mut self, state: &State, refused: &BTreeMap<Vni, String>) {
        let networks = state.networks.iter();
        let there = networks.filter(|(vni, _)| !refused.contains_key(vni));
        let gateways: BTreeSet<Ipv4Addr> = there.map(|(_, network)| network.gateway).collect();
        let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let made_from = self.made_from.as_ref();
        if !made_from.is_some_and(|source| source.is_of(state, &text)) {
            let book = Book::new(state);
            let resolvers = resolvers(&text, book.gateways());
            *locked(&self.shared.known) = Arc::new(Known { book, resolvers });
            self.made_from = Some(Source::new(state, text));
        }
        self.listeners.retain(|address, listener| {
            let is_alive = !listener.0.is_finished() && !listener.1.is_finished();
            is_alive && gateways.contains(address)
        });
        self.unserved.clear();
        for address in gateways {
            if self.listeners.contains_key(&address) {
                continue;
            }
            match listen(address, &self.shared) {
                Ok(listener) => drop(self.listeners.insert(address, listener)),
                Err(error) => drop(self.unserved.insert(address, error.to_string())),
            }
        }
    }

    /// Answers nobody any more.
    pub fn stop(&mut self) {
        self.listeners.clear();
        self.unserved.clear();
        self.made_from = None;
    }

    /// What was asked, and where nothing listens.
    pub fn report(&self) -> NamesReport {
        NamesReport {
            unserved: self.unserved.clone(),
            ..self.shared.counts.report()
        }
    }
}

/// A lock that nobody holds for longer than an assignment: one that was poisoned is as good.
fn locked<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Binds at once, so that it is known whether an address is served.
fn listen(address: Ipv4Addr, shared: &Arc<Shared>) -> io::Result<Listener> {
    let udp = std::net::UdpSocket::bind((address, PORT))?;
    udp.set_nonblocking(true)?;
    let udp = Arc::new(UdpSocket::from_std(udp)?);
    let tcp = std::net::TcpListener::bind((address, PORT))?;
    tcp.set_nonblocking(true)?;
    let tcp = TcpListener::from_std(tcp)?;
    let datagrams = tokio::spawn(datagrams(udp, address, shared.clone()));
    let streams = tokio::spawn(streams(tcp, address, shared.clone()));
    Ok(Listener(datagrams.abort_handle(), streams.abort_handle()))
}

/// Who asks: from a loopback address it is the node itself, which is told what the gateway's network is (`skep netcheck`).
fn seen_as(asker: SocketAddr, gateway: Ipv4Addr) -> IpAddr {
    match asker.ip() {
        address if address.is_loopback() => IpAddr::V4(gateway),
        address => address,
    }
}

async fn datagrams(socket: Arc<UdpSocket>, gateway: Ipv4Addr, shared: Arc<Shared>) {
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // Those that are done.
        while waiting.try_join_next().is_some() {}
        // An error is about an answer before, to somebody who is gone.
        let Ok((length, asker)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let bytes = &buffer[..length];
        match shared.decide(bytes, seen_as(asker, gateway), Transport::Udp) {
            Decision::Nothing => {}
            // Who does not take it asks again.
            Decision::Say(reply) => drop(socket.send_to(&reply, asker).await),
            Decision::Ask(request, turn) => {
                let (bytes, socket, shared) = (bytes.to_vec(), socket.clone(), shared.clone());
                waiting.spawn(async move {
                    let reply = shared.ask(&bytes, &request, Transport::Udp, turn).await;
                    if let Some(reply) = reply {
                        drop(socket.send_to(&reply, asker).await);
                    }
                });
            }
        }
    }
}

async fn streams(listener: TcpListener, gateway: Ipv4Addr, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = listener.accept().await;
        let permit = shared.streams.clone().try_acquire_owned();
        match (accepted, permit) {
            (Ok((stream, asker)), Ok(permit)) => {
                let shared = shared.clone();
                open.spawn(async move {
                    let _permit = permit;
                    // It ends however it ends: the asker sees it.
                    drop(converse(stream, seen_as(asker, gateway), &shared).await);
                });
            }
            // Too many, or no descriptor is left: those that are open end within seconds.
            (Ok(_), Err(_)) => {}
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(mut stream: TcpStream, asker: IpAddr, shared: &Arc<Shared>) -> io::Result<()> {
    for _ in 0..QUESTIONS {
        let bytes = timeout(IDLE, forward::read(&mut stream)).await??;
        let reply = match shared.decide(&bytes, asker, Transport::Tcp) {
            Decision::Nothing => return Ok(()),
            Decision::Say(reply) => Some(reply),
            Decision::Ask(request, turn) => {
                shared.ask(&bytes, &request, Transport::Tcp, turn).await
            }
        };
        let Some(reply) = reply else {
            return Ok(());
        };
        timeout(IDLE, forward::write(&mut stream, &reply)).await??;
    }
    Ok(())
}

/// What is done about a message.
enum Decision {
    /// Nothing.
    Nothing,
    /// This is said.
    Say(Vec<u8>),
    /// The node's resolvers are asked, while this turn lasts.
    Ask(Box<Request>, Turn),
}

/// A place among the questions that wait.
struct Turn {
    _permit: OwnedSemaphorePermit,
    asker: IpAddr,
    shared: Arc<Shared>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut by_asker = locked(&self.shared.by_asker);
        if let Some(count) = by_asker.get_mut(&self.asker) {
            *count -= 1;
            if *count == 0 {
                by_asker.remove(&self.asker);
            }
        }
    }
}

impl Shared {
    fn known(&self) -> Arc<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    fn decide(self: &Arc<Self>, bytes: &[u8], asker: IpAddr, transport: Transport) -> Decision {
        let request = match read(bytes) {
            Read::Request(request) => request,
            Read::Reply(reply) => {
                self.counts.ask(None);
                return Decision::Say(reply);
            }
            Read::Nothing => {
                self.counts.ask(None);
                return Decision::Nothing;
            }
        };
        self.counts.ask(Some(request.question.kind));
        let known = self.known();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let answer = match asker {
            IpAddr::V4(asker) => answer(&known.book, asker, &request.question, turn),
            IpAddr::V6(_) => Answer::Refused,
        };
        match answer {
            Answer::Forward => match self.take_turn(asker) {
                Some(turn) => Decision::Ask(request, turn),
                None => {
                    self.counts.note(Outcome::Failed);
                    request.failure().map_or(Decision::Nothing, Decision::Say)
                }
            },
            answer => {
                if answer == Answer::Refused {
                    self.counts.note(Outcome::Refused);
                }
                let reply = request.answer(&answer, transport);
                reply.map_or(Decision::Nothing, Decision::Say)
            }
        }
    }

    /// A place among the questions that wait; `None`: there are too many.
    fn take_turn(self: &Arc<Self>, asker: IpAddr) -> Option<Turn> {
        let permit = self.forwards.clone().try_acquire_owned().ok()?;
        let mut by_asker = locked(&self.by_asker);
        let count = by_asker.entry(asker).or_default();
        if *count >= FORWARDS_EACH {
            return None;
        }
        *count += 1;
        Some(Turn {
            _permit: permit,
            asker,
            shared: self.clone(),
        })
    }

    /// What the node's resolvers say to a request.
    async fn ask(
        &self,
        bytes: &[u8],
        request: &Request,
        transport: Transport,
        turn: Turn,
    ) -> Option<Vec<u8>> {
        let known = self.known();
        let said = forward(bytes, &known.resolvers, transport).await;
        drop(turn);
        self.counts.note(match said {
            Some(_) => Outcome::Forwarded,
            None => Outcome::Failed,
        });
        match said {
            Some(Reply::Whole(reply)) => Some(reply),
            Some(Reply::TooLong) => request.too_long(),
            None => request.failure(),
        }
    }
}
